//! The driver against transports that do anything a transport may do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::buf::Limit;
use bytes::{BufMut, Bytes, BytesMut};
use duologue_core::driver::{Driver, Timekeeper, Transport};
use duologue_core::framed::{Framed, Heartbeat, LengthPrefixed};
use duologue_core::{
    Cause, CloseIntent, Code, Config, Event, Instant, Release, Rng, Session, TimeoutReason, Timeouts, TransportFault,
};

type Protocol = Framed<LengthPrefixed>;

/// A transport whose every answer is drawn from a seed, or that never runs dry.
struct Scripted {
    incoming: VecDeque<u8>,
    /// What comes when `incoming` is empty: nothing, the peer's FIN, or this for ever.
    then: Then,
    written: Vec<u8>,
    rng: Option<Rng>,
    finished: bool,
    released: Option<Release>,
    log: Vec<&'static str>,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Silence,
    Fin,
    Flood(&'static [u8]),
}

impl Scripted {
    fn new(incoming: &[u8], then: Then) -> Self {
        let incoming = incoming.iter().copied().collect();
        Self { incoming, then, written: Vec::new(), rng: None, finished: false, released: None, log: Vec::new() }
    }

    /// How many of `n` bytes move now; none means that it is not ready.
    fn some_of(&mut self, n: usize) -> Option<usize> {
        match &mut self.rng {
            None => Some(n),
            Some(rng) => match rng.below(4) {
                0 => None,
                _ => Some(1 + rng.below(n.min(9) as u64) as usize).map(|k| k.min(n)),
            },
        }
    }
}

impl Transport for Scripted {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        assert!(buf.remaining_mut() > 0, "L12: a read without room would look like the peer's FIN");
        self.log.push("read");
        if let (true, Then::Flood(bytes)) = (self.incoming.is_empty(), self.then) {
            self.incoming.extend(bytes.iter().cycle().take(bytes.len() * 64));
        }
        if self.incoming.is_empty() {
            return if self.then == Then::Fin { Poll::Ready(Ok(0)) } else { Poll::Pending };
        }
        match self.some_of(self.incoming.len().min(buf.remaining_mut())) {
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(n) => {
                self.incoming.drain(..n).for_each(|byte| buf.put_u8(byte));
                Poll::Ready(Ok(n))
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        assert!(!self.finished, "L2: nothing is written after FIN");
        self.log.push("write");
        let all = slices.concat();
        assert!(!all.is_empty(), "a write without bytes was asked for");
        match self.some_of(all.len()) {
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(n) => {
                self.written.extend_from_slice(&all[..n]);
                Poll::Ready(Ok(n))
            }
        }
    }

    fn poll_shutdown_write(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        self.finished = true;
        Poll::Ready(Ok(()))
    }

    fn poll_release(&mut self, _cx: &mut Context<'_>, how: Release) -> Poll<()> {
        self.released = Some(how);
        Poll::Ready(())
    }
}

/// A clock in nanoseconds, moved by the test.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Timekeeper for Clock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn poll_until(&mut self, _cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.now() >= at { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn driver(protocol: Protocol, config: Config, transport: Scripted) -> (Driver<Protocol, Scripted, Clock>, Clock) {
    let clock = Clock::default();
    let session = Session::new(protocol, config, 7, clock.now()).expect("limits that fit");
    (Driver::new(session, transport, clock.clone()), clock)
}

fn frames() -> Protocol {
    Framed::new(LengthPrefixed::u32_be(1024))
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[..], payload].concat()
}

#[test]
fn a_flood_without_events_yields_after_a_bounded_number_of_rounds() {
    // Heartbeats are swallowed: there is input for ever and never an event.
    let protocol = frames().heartbeat(Heartbeat::new(Bytes::from_static(b"beat")));
    let (mut driver, _) = driver(protocol, Config::new(), Scripted::new(b"", Then::Flood(b"\0\0\0\x04beat")));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(driver.poll_event(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1, "it must wake itself, or it never goes on");
    assert!(driver.rounds() < 100, "{} rounds in one poll", driver.rounds());
}

#[test]
fn writing_is_not_starved_by_a_flood_of_reading() {
    let protocol = frames().heartbeat(Heartbeat::new(Bytes::from_static(b"beat")));
    let (mut driver, _) = driver(protocol, Config::new(), Scripted::new(b"", Then::Flood(b"\0\0\0\x04beat")));
    driver.send(Bytes::from_static(b"x")).unwrap();
    let _ = driver.poll_event(&mut Context::from_waker(Waker::noop()));
    assert_eq!(driver.transport().written, frame(b"x"));
    assert_eq!(driver.transport().log.iter().position(|step| *step == "write"), Some(0), "written in the first round");
}

#[test]
fn a_deadline_comes_under_a_flood() {
    let timeouts = Timeouts::none().write_stall(Some(Duration::from_secs(1)));
    let protocol = frames().heartbeat(Heartbeat::new(Bytes::from_static(b"beat")));
    let transport = Scripted::new(b"", Then::Flood(b"\0\0\0\x04beat"));
    /// Only reads ever move.
    struct Deaf(Scripted);
    impl Transport for Deaf {
        fn poll_read(
            &mut self,
            cx: &mut Context<'_>,
            buf: &mut Limit<&mut BytesMut>,
        ) -> Poll<Result<usize, TransportFault>> {
            self.0.poll_read(cx, buf)
        }
        fn poll_write(&mut self, _: &mut Context<'_>, _: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
            Poll::Pending
        }
        fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
            self.0.poll_shutdown_write(cx)
        }
        fn poll_release(&mut self, cx: &mut Context<'_>, how: Release) -> Poll<()> {
            self.0.poll_release(cx, how)
        }
    }
    let clock = Clock::default();
    let session = Session::new(protocol, Config::new().timeouts(timeouts), 7, clock.now()).unwrap();
    let mut driver = Driver::new(session, Deaf(transport), clock.clone());
    let mut cx = Context::from_waker(Waker::noop());
    driver.send(Bytes::from_static(b"never written")).unwrap();
    assert!(driver.poll_event(&mut cx).is_pending());
    clock.advance(Duration::from_secs(1));
    match driver.poll_event(&mut cx) {
        Poll::Ready(Some(Event::Closed(closed))) => {
            assert_eq!(closed.cause, Cause::Timeout(TimeoutReason::WriteStall));
            assert_eq!(closed.unsent, 1);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(driver.transport().0.released, Some(Release::Abort));
}

#[test]
fn after_a_long_sleep_of_the_process_what_the_peer_said_meanwhile_counts_first() {
    let beat = Heartbeat::new(Bytes::from_static(b"beat")).expect_within(Duration::from_secs(1));
    let incoming = frame(b"still here");
    let (mut driver, clock) = driver(frames().heartbeat(beat), Config::new(), Scripted::new(b"", Then::Silence));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(driver.poll_event(&mut cx).is_pending());
    // The laptop's lid was closed for an hour; the peer's bytes came just before it was opened.
    clock.advance(Duration::from_secs(3600));
    let (session, mut transport, clock) = driver.into_parts();
    transport.incoming.extend(incoming);
    let mut driver = Driver::new(session, transport, clock);
    match driver.poll_event(&mut cx) {
        Poll::Ready(Some(Event::App(message))) => assert_eq!(message, "still here"),
        other => panic!("{other:?}"),
    }
    assert!(driver.poll_event(&mut cx).is_pending(), "not taken for dead");
}

#[test]
fn any_legal_transport_gives_the_same_conversation() {
    let messages: Vec<Bytes> = (0..40_u8).map(|n| Bytes::from(vec![n; usize::from(n) * 3])).collect();
    let wire: Vec<u8> = messages.iter().flat_map(|m| frame(m)).collect();
    for seed in 0..500 {
        let mut transport = Scripted::new(&wire, Then::Fin);
        transport.rng = Some(Rng::new(seed));
        let (mut driver, _) = driver(frames(), Config::new(), transport);
        let mut cx = Context::from_waker(Waker::noop());
        for message in &messages {
            driver.send(message.clone()).unwrap();
        }
        let (mut received, mut finished, mut closed) = (Vec::new(), 0, None);
        for step in 0.. {
            assert!(step < 10_000, "seed {seed}: no end");
            match driver.poll_event(&mut cx) {
                Poll::Ready(Some(Event::App(message))) => received.push(message),
                Poll::Ready(Some(Event::PeerFinished)) => finished += 1,
                Poll::Ready(Some(Event::Closed(end))) => closed = Some(end),
                Poll::Ready(Some(Event::Writable)) | Poll::Pending => {}
                Poll::Ready(None) => break,
            }
        }
        let closed = closed.expect("a session ends with Closed");
        assert_eq!((&received, finished), (&messages, 1), "seed {seed}");
        assert_eq!((&closed.cause, closed.unsent), (&Cause::PeerFinished, 0), "seed {seed}");
        assert_eq!(driver.transport().written, wire, "seed {seed}");
        assert!(driver.transport().finished && driver.transport().released == Some(Release::Graceful));
    }
}

#[test]
fn a_close_is_carried_out_in_order_and_then_nothing_more_is_wanted() {
    let (mut driver, _) = driver(frames(), Config::new(), Scripted::new(b"", Then::Fin));
    driver.send(Bytes::from_static(b"last words")).unwrap();
    driver.close(CloseIntent::Goodbye(Code(3)));
    let mut cx = Context::from_waker(Waker::noop());
    match driver.poll_event(&mut cx) {
        Poll::Ready(Some(Event::Closed(closed))) => assert_eq!(closed.cause, Cause::LocalClose(Code(3))),
        other => panic!("{other:?}"),
    }
    assert!(matches!(driver.poll_event(&mut cx), Poll::Ready(None)));
    assert_eq!(driver.transport().written, frame(b"last words"));
    assert_eq!(driver.transport().released, Some(Release::Graceful));
    let steps = driver.transport().log.len();
    assert!(matches!(driver.poll_event(&mut cx), Poll::Ready(None)));
    assert_eq!(driver.transport().log.len(), steps, "L4: a released session wants nothing");
}
