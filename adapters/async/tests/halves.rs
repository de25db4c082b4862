//! The halves over a pipe in memory and a clock set by hand: order, fairness, time-outs, and drops at exact points.

mod by_hand;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use duologue_async::core::driver::Driver;
use duologue_async::core::framed::{Framed, LengthPrefixed};
use duologue_async::core::{Code, Config, Event, Instant, Limits, Session};
use duologue_async::{Connection, ManualClock, Pipe, SendError, pipe};
use futures_util::SinkExt;

use by_hand::Task;

type Frames = Framed<LengthPrefixed>;
type Piped = Connection<Frames, Pipe, ManualClock>;
type Bytes = bytes::Bytes;

/// What `send` waits in these tests.
const WITHIN: Duration = Duration::from_secs(5);
/// Bytes that the pipe holds each way, and that the queue holds.
const PIPE: usize = 16;
const QUEUE: usize = 32;

fn end(transport: Pipe, clock: &ManualClock, queue: usize) -> Piped {
    let config = Config::new().limits(Limits::new().recv_buffer(1024).send_buffer(queue));
    let protocol = Framed::new(LengthPrefixed::u32_be(1000));
    let session = Session::new(protocol, config, 1, Instant::ORIGIN).expect("the limits work");
    Connection::from_driver(Driver::new(session, transport, clock.clone()), WITHIN)
}

fn ends() -> (Piped, Piped, ManualClock) {
    let clock = ManualClock::new();
    let (a, b) = pipe(PIPE);
    (end(a, &clock, QUEUE), end(b, &clock, 4096), clock)
}

fn now<X>(future: impl Future<Output = X>) -> Option<X> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A message that fills the queue alone.
fn big(name: u8) -> Bytes {
    Bytes::from(vec![name; QUEUE - 4])
}

/// Takes everything that the peer can get now: the first byte of each message.
fn take(peer: &mut Piped) -> Vec<u8> {
    std::iter::from_fn(|| now(peer.next_event()).flatten())
        .filter_map(|event| match event {
            Event::App(message) => message.first().copied(),
            _ => None,
        })
        .collect()
}

#[test]
fn waiting_senders_are_served_in_the_order_they_came_whatever_they_need() {
    let (ours, mut peer, _clock) = ends();
    let (_receiver, sender) = ours.split();
    sender.try_send(big(b'0')).unwrap();
    let mut first = Task::new(sender.send(big(b'1')));
    let mut small = Task::new(sender.send(Bytes::from_static(b"2")));
    let mut third = Task::new(sender.send(big(b'3')));
    assert!(first.poll().is_none() && small.poll().is_none() && third.poll().is_none());
    // The small one would fit now and then; it does not overtake, and neither does who does not wait.
    let full = sender.try_send(Bytes::from_static(b"x")).unwrap_err();
    assert!(full.is_temporary());
    let mut got = Vec::new();
    let mut done = [false; 3];
    for _ in 0..40 {
        got.extend(take(&mut peer));
        for (task, done) in [&mut first, &mut small, &mut third].into_iter().zip(&mut done) {
            if !*done && task.rang() {
                *done = task.poll().is_some_and(|sent| sent.is_ok());
            }
        }
        let _ = now(sender.flush());
    }
    assert_eq!((got, done), (b"0123".to_vec(), [true; 3]));
}

#[test]
fn a_sender_that_goes_away_passes_its_wake_on() {
    let (ours, mut peer, _clock) = ends();
    let (_receiver, sender) = ours.split();
    sender.try_send(big(b'0')).unwrap();
    let mut first = Task::new(sender.send(big(b'1')));
    let mut second = Task::new(sender.send(big(b'2')));
    assert!(first.poll().is_none() && second.poll().is_none());
    // Room comes: the first is woken, and dropped without being polled.
    while !first.rang() {
        take(&mut peer);
        let _ = now(sender.flush());
    }
    drop(first);
    let mut got = Vec::new();
    let sent = (0..40).any(|_| {
        got.extend(take(&mut peer));
        second.rang() && second.poll().is_some()
    });
    assert!(sent, "the second was woken in its place");
    for _ in 0..9 {
        let _ = now(sender.flush());
        got.extend(take(&mut peer));
    }
    assert!(got.ends_with(b"2") && !got.contains(&b'1'));
}

#[test]
fn a_send_that_waits_too_long_gives_the_message_back_and_its_place_up() {
    let (ours, mut peer, clock) = ends();
    let (_receiver, sender) = ours.split();
    sender.try_send(big(b'0')).unwrap();
    let mut first = Task::new(sender.send(big(b'1')));
    assert!(first.poll().is_none());
    clock.advance(WITHIN / 2);
    let mut second = Task::new(sender.send(big(b'2')));
    assert!(first.poll().is_none() && second.poll().is_none());
    clock.advance(WITHIN / 2);
    assert!(first.rang(), "the deadline is its own, whoever drives");
    let timed_out = SendError::TimedOut { command: big(b'1'), waited: WITHIN };
    assert_eq!(first.poll(), Some(Err(timed_out)));
    let mut got = Vec::new();
    let sent = (0..40).any(|_| {
        got.extend(take(&mut peer));
        second.poll().is_some_and(|sent| sent.is_ok())
    });
    assert!(sent);
}

#[test]
fn the_end_wakes_every_waiter_and_gives_every_message_back() {
    let (ours, _peer, _clock) = ends();
    let (mut receiver, sender) = ours.split();
    sender.try_send(big(b'0')).unwrap();
    let mut waiting: Vec<_> = (1..6).map(|name| Task::new(sender.send(big(name)))).collect();
    let mut flushing = Task::new(sender.flush());
    assert!(waiting.iter_mut().all(|task| task.poll().is_none()));
    assert!(flushing.poll().is_none());
    receiver.abort(Code(1));
    assert!(flushing.rang());
    assert_eq!(flushing.poll(), Some(()));
    for (name, task) in (1..6).zip(&mut waiting) {
        assert!(task.rang(), "{name}");
        assert_eq!(task.poll().unwrap().unwrap_err().into_command(), big(name));
    }
    let closed = now(receiver.closed()).unwrap();
    assert_eq!(closed.unsent, 1);
    assert_eq!((now(receiver.closed()), sender.end()), (Some(closed.clone()), Some(closed)));
}

#[test]
fn who_waits_for_a_flush_is_woken_when_the_transport_takes_more() {
    let (ours, mut peer, _clock) = ends();
    let (_receiver, sender) = ours.split();
    sender.try_send(big(b'0')).unwrap();
    let mut flushing = Task::new(sender.flush());
    assert!(flushing.poll().is_none() && !flushing.rang());
    // What the pipe holds comes first; the rest is written when it is woken, and comes then.
    assert_eq!(take(&mut peer), b"");
    assert!(flushing.rang(), "there is room again");
    assert_eq!((flushing.poll(), take(&mut peer)), (Some(()), b"0".to_vec()));
}

#[test]
fn what_the_sink_accepted_and_had_no_room_for_is_not_lost() {
    let (mut ours, mut peer, _clock) = ends();
    for name in [b'1', b'2'] {
        assert!(now(std::future::poll_fn(|cx| ours.poll_ready_unpin(cx))).is_some_and(|ready| ready.is_ok()));
        ours.start_send_unpin(big(name)).unwrap();
    }
    // There is no room yet for the one that waits, and none before it.
    assert!(ours.try_send(Bytes::from_static(b"x")).is_err());
    let mut got = Vec::new();
    for _ in 0..9 {
        let _ = now(Connection::flush(&mut ours));
        got.extend(take(&mut peer));
    }
    assert_eq!(got, b"12");
}

#[test]
fn a_receiver_that_waits_is_woken_to_write_and_makes_up_for_it_when_it_goes_away() {
    let (ours, mut peer, _clock) = ends();
    let (mut receiver, sender) = ours.split();
    let mut waiting = Task::new(receiver.next_event());
    assert!(waiting.poll().is_none());
    sender.try_send(Bytes::from_static(b"a")).unwrap();
    assert!(waiting.rang(), "the message is left to the receiver");
    assert_eq!(take(&mut peer), b"");
    drop(waiting);
    assert_eq!(take(&mut peer), b"a");
    sender.try_send(Bytes::from_static(b"b")).unwrap();
    assert_eq!(take(&mut peer), b"b", "nobody waits: the sender writes");
    drop(receiver);
    sender.try_send(Bytes::from_static(b"c")).unwrap();
    assert_eq!(take(&mut peer), b"c");
}

#[test]
fn connection_send_waits_times_out_and_is_cancel_safe() {
    let (mut ours, mut peer, clock) = ends();
    ours.try_send(big(b'0')).unwrap();
    assert!(now(ours.send(big(b'1'))).is_none(), "dropped while it waits: nothing was queued");
    let mut sending = Task::new(ours.send(big(b'2')));
    assert!(sending.poll().is_none());
    clock.advance(WITHIN);
    assert!(sending.rang());
    assert_eq!(sending.poll(), Some(Err(SendError::TimedOut { command: big(b'2'), waited: WITHIN })));
    drop(sending);
    let mut sending = Task::new(ours.send(big(b'3')));
    let mut got = Vec::new();
    for _ in 0..40 {
        got.extend(take(&mut peer));
        if sending.poll().is_some() {
            break;
        }
    }
    drop(sending);
    for _ in 0..9 {
        let _ = now(ours.flush());
        got.extend(take(&mut peer));
    }
    assert_eq!(got, b"03");
}

#[test]
fn a_drop_with_everything_taken_finishes_and_with_something_left_resets() {
    let (mut ours, mut peer, _clock) = ends();
    ours.try_send(Bytes::from_static(b"fits")).unwrap();
    drop(ours);
    assert_eq!(now(peer.next_event()), Some(Some(Event::App(Bytes::from_static(b"fits")))));
    assert_eq!(now(peer.next_event()), Some(Some(Event::PeerFinished)));

    let (mut ours, mut peer, _clock) = ends();
    ours.try_send(big(b'0')).unwrap();
    drop(ours);
    let closed = now(peer.closed()).unwrap();
    assert!(!closed.cause.is_orderly() && !closed.peer_finished, "{closed}");
}
