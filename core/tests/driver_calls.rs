//! The driver's calls one by one, over a transport that does what it is told.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::buf::Limit;
use bytes::{BufMut, Bytes, BytesMut};
use duologue_core::driver::{Driver, Timekeeper, Transport};
use duologue_core::framed::{Delimited, Framed};
use duologue_core::{
    Cause, CloseIntent, Code, Config, Delivery, Event, FaultKind, Instant, Operation, Release, Replies, Session,
    TimeoutReason, Timeouts, TransportFault,
};

#[derive(Default)]
struct Told {
    incoming: VecDeque<&'static [u8]>,
    /// Bytes that a write may still take.
    room: usize,
    written: Vec<u8>,
    /// How often FIN and release are not done yet.
    shutdown_waits: u32,
    release_waits: u32,
    release_sends_fin: bool,
    fin: bool,
    released: Option<Release>,
    read_fault: Option<TransportFault>,
    reads: u32,
    lent: u32,
    back: u32,
}

fn wait(times: &mut u32) -> bool {
    let waits = *times > 0;
    *times = times.saturating_sub(1);
    waits
}

impl Transport for Told {
    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        self.reads += 1;
        if let Some(fault) = self.read_fault.take() {
            return Poll::Ready(Err(fault));
        }
        let Some(bytes) = self.incoming.pop_front() else { return Poll::Pending };
        buf.put_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        let all = slices.concat();
        let n = all.len().min(self.room);
        if n == 0 {
            return Poll::Pending;
        }
        self.room -= n;
        self.written.extend_from_slice(&all[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_shutdown_write(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        if wait(&mut self.shutdown_waits) {
            return Poll::Pending;
        }
        self.fin = true;
        Poll::Ready(Ok(()))
    }

    fn poll_release(&mut self, _: &mut Context<'_>, how: Release) -> Poll<()> {
        if wait(&mut self.release_waits) {
            return Poll::Pending;
        }
        self.released = Some(how);
        Poll::Ready(())
    }

    fn release_sends_fin(&self) -> bool {
        self.release_sends_fin
    }

    fn take_buffer(&mut self) -> Option<BytesMut> {
        self.lent += 1;
        Some(BytesMut::with_capacity(256))
    }

    fn give_buffer(&mut self, buffer: BytesMut) {
        assert!(buffer.is_empty());
        self.back += 1;
    }
}

/// A clock that is moved from outside, and remembers what it was asked to wait for.
#[derive(Default)]
struct Clock {
    now: Rc<Cell<u64>>,
    looks: Cell<u64>,
    asked: Vec<Instant>,
}

impl Timekeeper for Clock {
    fn now(&self) -> Instant {
        self.looks.set(self.looks.get() + 1);
        Instant::from_nanos(self.now.get())
    }

    fn poll_until(&mut self, _: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.asked.push(at);
        if at <= self.now() { Poll::Ready(()) } else { Poll::Pending }
    }
}

type Lines = Driver<Framed<Delimited>, Told, Clock>;

fn driver(config: Config, transport: Told) -> Lines {
    let session = Session::new(Framed::new(Delimited::lines(80)), config, 1, Instant::ORIGIN);
    Driver::new(session.expect("limits that work"), transport, Clock::default())
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The same driver after its world changed.
fn changed(driver: Lines, change: impl FnOnce(&mut Told)) -> Lines {
    let (session, mut transport, clock) = driver.into_parts();
    change(&mut transport);
    Driver::new(session, transport, clock)
}

#[test]
fn flushing_is_done_when_nothing_is_queued_and_waits_while_the_transport_takes_nothing() {
    let mut cx = context();
    let mut d = driver(Config::new(), Told { incoming: [&b"news\n"[..]].into(), ..Told::default() });
    assert!(d.poll_flush(&mut cx).is_ready(), "nothing is queued");
    assert_eq!(d.transport().reads, 0, "and nothing was done for it");
    d.send(Bytes::from_static(b"abc")).unwrap();
    assert!(d.poll_flush(&mut cx).is_pending());
    assert_eq!(d.transport().written, b"");
    let mut d = changed(d, |transport| transport.room = 2);
    assert!(d.poll_flush(&mut cx).is_pending(), "a part is not all");
    let mut d = changed(d, |transport| transport.room = 9);
    assert!(d.poll_flush(&mut cx).is_ready());
    assert_eq!(d.transport().written, b"abc\n");
    assert_eq!(d.next_ready(), Some(Event::App(Bytes::from_static(b"news"))), "what came meanwhile is kept");
}

#[test]
fn progress_is_told_when_something_moved_in_any_direction() {
    let mut cx = context();
    let mut d = driver(Config::new(), Told { room: 9, ..Told::default() });
    assert!(d.poll_progress(&mut cx).is_pending());
    d.send(Bytes::from_static(b"abc")).unwrap();
    assert!(d.poll_progress(&mut cx).is_ready(), "output moved");
    assert!(d.poll_progress(&mut cx).is_pending());
    let mut d = changed(d, |transport| transport.incoming.push_back(b"x\n"));
    assert!(d.poll_progress(&mut cx).is_ready(), "input moved");
    assert_eq!(d.rounds(), 1, "one round each");
}

#[test]
fn writing_once_writes_and_does_nothing_else() {
    let mut d = driver(Config::new(), Told { room: 9, incoming: [&b"x\n"[..]].into(), ..Told::default() });
    d.poll_write_once(&mut context());
    d.send(Bytes::from_static(b"abc")).unwrap();
    d.poll_write_once(&mut context());
    assert_eq!((&d.transport().written[..], d.transport().reads), (&b"abc\n"[..], 0));
}

#[test]
fn buffers_are_lent_for_the_use_and_given_back_when_empty() {
    let mut cx = context();
    let mut d = driver(Config::new(), Told { room: 9, ..Told::default() });
    assert!(d.poll_event(&mut cx).is_pending());
    assert_eq!((d.transport().lent, d.transport().back), (1, 1), "for a read that brought nothing");
    d.send(Bytes::from_static(b"abc")).unwrap();
    assert_eq!((d.transport().lent, d.transport().back), (2, 1), "output is in it");
    d.poll_write_once(&mut cx);
    assert_eq!((d.transport().lent, d.transport().back), (2, 2));
    assert_eq!(d.session().wants_buffers(), (true, true), "idle, it holds none");
}

#[test]
fn fin_and_release_that_are_not_done_at_once_are_polled_again() {
    let mut cx = context();
    let waits = Told { shutdown_waits: 2, release_waits: 2, ..Told::default() };
    let mut d = driver(Config::new().timeouts(Timeouts::none()), waits);
    d.close(CloseIntent::Flush(Code(0)));
    for _ in 0..2 {
        assert!(d.poll_event(&mut cx).is_pending());
        assert!(!d.transport().fin);
    }
    for _ in 0..2 {
        assert!(d.poll_event(&mut cx).is_pending());
        assert!(d.transport().fin && d.transport().released.is_none());
    }
    assert!(matches!(d.poll_event(&mut cx), Poll::Ready(Some(Event::Closed(_)))));
    assert_eq!(d.transport().released, Some(Release::Graceful));
    assert!(matches!(d.poll_event(&mut cx), Poll::Ready(None)));
}

/// Only where nobody is listened to behind it: who lingers must have said that nothing more comes.
#[test]
fn a_fin_is_left_to_the_release_that_follows_it_at_once() {
    for (peer_finished, sends_fin, fin) in [(true, true, false), (true, false, true), (false, true, true)] {
        let mut cx = context();
        let incoming = peer_finished.then_some(&b""[..]).into_iter().collect();
        let mut d = driver(Config::new(), Told { incoming, release_sends_fin: sends_fin, ..Told::default() });
        if peer_finished {
            assert_eq!(d.poll_event(&mut cx), Poll::Ready(Some(Event::PeerFinished)));
        }
        d.close(CloseIntent::Flush(Code(0)));
        let polled = d.poll_event(&mut cx);
        let told = (d.transport().fin, d.transport().released);
        assert_eq!(told, (fin, peer_finished.then_some(Release::Graceful)), "{peer_finished} {sends_fin}");
        assert_eq!(polled.is_ready(), peer_finished);
    }
}

#[test]
fn a_fault_while_reading_ends_it_with_that_cause() {
    let fault = TransportFault::new(FaultKind::Unreachable, Operation::Read);
    let mut d = driver(Config::new(), Told { read_fault: Some(fault), ..Told::default() });
    match d.poll_event(&mut context()) {
        Poll::Ready(Some(Event::Closed(closed))) => assert_eq!(closed.cause, Cause::Transport(fault)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_alarm_that_comes_earlier_is_left_alone_and_looks_again_when_it_comes() {
    let mut cx = context();
    let idle = Timeouts::none().idle(Some(Duration::from_nanos(100)));
    let mut d = driver(Config::new().timeouts(idle), Told { room: 99, ..Told::default() });
    let now = Rc::clone(&d.timekeeper().now);
    let asked = |d: &Lines| d.timekeeper().asked.last().map(|at| at.as_nanos());
    assert!(d.poll_event(&mut cx).is_pending());
    assert_eq!(asked(&d), Some(100));

    now.set(60);
    d.send(Bytes::from_static(b"abc")).unwrap();
    assert!(d.poll_event(&mut cx).is_pending());
    assert!(d.poll_event(&mut cx).is_pending());
    assert_eq!(d.session().interest().deadline.map(|deadline| deadline.at.as_nanos()), Some(160));
    assert_eq!(asked(&d), Some(100), "traffic moves the deadline, and the alarm stays");

    now.set(100);
    assert!(d.poll_event(&mut cx).is_pending());
    assert_eq!((asked(&d), d.session().cause()), (Some(160), None), "it comes for nothing, and the real one is armed");

    now.set(159);
    assert!(d.poll_event(&mut cx).is_pending());
    assert_eq!(d.session().cause(), None, "not a nanosecond too early");
    now.set(160);
    let _ = d.poll_event(&mut cx);
    assert_eq!(d.session().cause(), Some(&Cause::Timeout(TimeoutReason::Idle)));
}

#[test]
fn a_deadline_that_comes_before_the_alarm_is_armed_instead() {
    let mut cx = context();
    let timeouts = Timeouts::none().idle(Some(Duration::from_nanos(100))).write_stall(Some(Duration::from_nanos(30)));
    let mut d = driver(Config::new().timeouts(timeouts), Told::default());
    let now = Rc::clone(&d.timekeeper().now);
    assert!(d.poll_event(&mut cx).is_pending());
    now.set(20);
    d.send(Bytes::from_static(b"abc")).unwrap();
    assert!(d.poll_event(&mut cx).is_pending());
    assert_eq!(d.timekeeper().asked.last().map(|at| at.as_nanos()), Some(50), "20 and the 30 of the stall");
    now.set(50);
    match d.poll_event(&mut cx) {
        Poll::Ready(Some(Event::Closed(closed))) => {
            assert_eq!((closed.cause, closed.unsent), (Cause::Timeout(TimeoutReason::WriteStall), 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_round_that_moves_arms_nothing_and_the_next_does() {
    let mut cx = context();
    let idle = Timeouts::none().idle(Some(Duration::from_nanos(100)));
    let told = Told { incoming: [&b"news\n"[..]].into(), ..Told::default() };
    let mut d = driver(Config::new().timeouts(idle), told);
    assert!(matches!(d.poll_event(&mut cx), Poll::Ready(Some(Event::App(_)))));
    assert!(d.timekeeper().asked.is_empty(), "nobody waits");
    assert!(d.poll_event(&mut cx).is_pending());
    assert_eq!(d.timekeeper().asked, [Instant::from_nanos(100)]);
}

#[test]
fn a_deadline_is_seen_though_input_never_pauses() {
    let mut cx = context();
    let message = Timeouts::none().message(Some(Duration::from_nanos(100)));
    let told = Told { incoming: [&b"a"[..]].into(), ..Told::default() };
    let mut d = driver(Config::new().timeouts(message), told);
    assert!(d.poll_event(&mut cx).is_pending());
    d.timekeeper().now.set(100);
    d.transport_mut().incoming = std::iter::repeat_n(&b"a"[..], 32).collect();
    let _ = d.poll_event(&mut cx);
    assert_eq!(d.session().cause(), Some(&Cause::Timeout(TimeoutReason::Message)));
    assert!(d.transport().incoming.len() >= 16, "it was seen in between");
}

#[test]
fn messages_that_wait_for_a_handler_are_no_event_and_no_end() {
    let told = Told { incoming: VecDeque::from([&b"one\ntwo\n"[..]]), ..Told::default() };
    let mut driver = driver(Config::new().delivery(Delivery::InPlace), told);
    assert!(driver.poll_event(&mut context()).is_pending(), "the message is there, for `poll_handle` only");
    assert!(driver.poll_event(&mut context()).is_pending());
    let mut seen = Vec::new();
    let handled =
        driver.poll_handle(&mut context(), 0, &mut |line: &[u8], _: &mut Replies<'_, '_, _>| seen.push(line.to_vec()));
    assert!(handled.is_pending());
    assert_eq!(seen, [b"one", b"two"]);
}

mod pauses {
    //! An application may do something else between any two calls: what it starts then starts then.

    use core::convert::Infallible;

    use duologue_core::{Cx, Fault, InPlace, Protocol, RecvBuf, Refusal, Refused, Step, TimeoutReason, TimerSet};

    use super::*;

    /// Every command, reply and received byte is a question whose answer is due in 100; `kept` ones go by `fill`.
    #[derive(Default)]
    struct Asks {
        kept: u32,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Answer;

    impl TimerSet for Answer {
        type Slots = [Option<Instant>; 1];
        const ALL: &'static [Self] = &[Self];

        fn index(self) -> usize {
            0
        }

        fn reason(self) -> TimeoutReason {
            TimeoutReason::Protocol("answer")
        }
    }

    impl Asks {
        fn ask(cx: &mut Cx<'_, Self>) {
            cx.tx.control(1).put_slice(b"?");
            cx.timers.set(Answer, cx.after(Duration::from_nanos(100)));
        }
    }

    impl Protocol for Asks {
        type Event = u8;
        type Command = ();
        type Timer = Answer;
        type Violation = Infallible;

        fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<u8>, Infallible> {
            let Some(&[byte]) = rx.first_chunk::<1>() else { return Ok(Step::NeedMore { hint: 1 }) };
            rx.advance(1);
            Self::ask(cx);
            Ok(Step::Event(byte))
        }

        fn command(&mut self, cx: &mut Cx<'_, Self>, (): ()) -> Result<(), Refused<()>> {
            Self::ask(cx);
            Ok(())
        }

        fn timer(&mut self, _: &mut Cx<'_, Self>, timer: Answer) -> Result<Step<u8>, Fault<Infallible>> {
            Err(Fault::Timeout(timer.reason()))
        }

        fn wants_fill(&self) -> bool {
            self.kept > 0
        }

        fn fill(&mut self, cx: &mut Cx<'_, Self>) {
            while self.kept > 0 {
                self.kept -= 1;
                Self::ask(cx);
            }
        }
    }

    impl InPlace for Asks {
        type View<'a> = u8;
        type Reply<'a> = ();

        fn decode_in_place(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<u8>, Infallible> {
            self.decode(cx, rx)
        }

        fn reply(&mut self, cx: &mut Cx<'_, Self>, (): ()) -> Result<(), Refusal> {
            Self::ask(cx);
            Ok(())
        }
    }

    type Asker = Driver<Asks, Told, Clock>;

    /// It has taken the first of three messages at 1 000 000, and its output waits for a transport that takes none.
    fn asker(delivery: Delivery) -> (Asker, Rc<Cell<u64>>) {
        let config = Config::new().timeouts(Timeouts::none()).delivery(delivery);
        let session = Session::new(Asks::default(), config, 1, Instant::ORIGIN).expect("limits that work");
        let told = Told { incoming: [&b"abc"[..]].into(), ..Told::default() };
        let mut driver = Driver::new(session, told, Clock::default());
        let now = Rc::clone(&driver.timekeeper().now);
        now.set(1_000_000);
        driver.send(()).expect("an open session");
        if delivery == Delivery::Owned {
            assert!(matches!(driver.poll_event(&mut context()), Poll::Ready(Some(Event::App(b'a')))));
        } else {
            assert!(driver.poll_progress(&mut context()).is_ready());
        }
        assert!(driver.session().buffered().1 > 0 && driver.session().has_event());
        (driver, now)
    }

    fn due(driver: &Asker) -> u64 {
        driver.session().interest().deadline.expect("a question is open").at.as_nanos()
    }

    #[test]
    fn a_command_after_an_event_and_a_pause() {
        let (mut driver, now) = asker(Delivery::Owned);
        now.set(2_000_000);
        driver.send(()).unwrap();
        assert_eq!(due(&driver), 2_000_100, "and not before the pause was over");
    }

    #[test]
    fn a_command_after_a_command_and_a_pause() {
        let (mut driver, now) = asker(Delivery::Owned);
        driver.send(()).unwrap();
        now.set(2_000_000);
        driver.send(()).unwrap();
        assert_eq!(due(&driver), 2_000_100);
    }

    #[test]
    fn a_reply_after_a_pause() {
        let (mut driver, now) = asker(Delivery::InPlace);
        now.set(2_000_000);
        driver.send_in_place(()).unwrap();
        assert_eq!(due(&driver), 2_000_100);
    }

    #[test]
    fn what_the_protocol_keeps_after_a_pause() {
        let (mut driver, now) = asker(Delivery::Owned);
        now.set(2_000_000);
        driver.protocol_mut().kept = 1;
        assert_eq!(due(&driver), 2_000_100);
    }

    #[test]
    fn a_message_taken_after_a_pause() {
        let (mut driver, now) = asker(Delivery::Owned);
        now.set(2_000_000);
        assert_eq!(driver.next_ready(), Some(Event::App(b'b')));
        assert_eq!(due(&driver), 2_000_100, "the third was decoded then");
    }

    #[test]
    fn messages_handled_after_a_pause() {
        let (mut driver, now) = asker(Delivery::InPlace);
        now.set(2_000_000);
        let mut seen = Vec::new();
        let polled = driver.poll_handle(&mut context(), 0, &mut |byte, replies: &mut Replies<'_, '_, Asks>| {
            seen.push(byte);
            replies.send(()).unwrap();
        });
        assert!(polled.is_pending());
        assert_eq!((&seen[..], due(&driver)), (&b"abc"[..], 2_000_100));
    }

    #[test]
    fn looking_at_what_the_protocol_keeps_costs_no_look_at_the_clock() {
        let (mut driver, _) = asker(Delivery::Owned);
        let before = driver.timekeeper().looks.get();
        assert_eq!(driver.protocol_mut().kept, 0);
        assert_eq!(driver.timekeeper().looks.get(), before);
        driver.protocol_mut().kept = 1;
        assert_eq!(driver.timekeeper().looks.get(), before + 1);
    }

    #[test]
    fn messages_that_time_means_nothing_to_are_sent_in_a_row_by_one_look_at_the_clock() {
        let mut d = driver(Config::new(), Told::default());
        let before = d.timekeeper().looks.get();
        for _ in 0..100 {
            d.send(Bytes::from_static(b"abc")).unwrap();
        }
        assert_eq!(d.timekeeper().looks.get(), before + 1);
    }
}
