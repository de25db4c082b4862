//! A transport that fails while the session wants nothing of it: somebody must ask.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::buf::Limit;
use bytes::{BufMut, BytesMut};
use duologue_core::driver::{Driver, Timekeeper, Transport};
use duologue_core::framed::{Delimited, Framed};
use duologue_core::{
    Cause, Config, Event, FaultKind, Instant, Limits, OnPeerFinish, Operation, Release, Session, Timeouts,
    TransportFault,
};

/// Has something to read for ever, or the peer's FIN, and is asked whether it failed.
struct Asked<const WATCHED: bool> {
    fin: bool,
    fault: Rc<Cell<Option<TransportFault>>>,
    asked: Rc<Cell<u32>>,
    released: Rc<Cell<Option<Release>>>,
}

impl<const WATCHED: bool> Transport for Asked<WATCHED> {
    const WATCHED: bool = WATCHED;

    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        if self.fin {
            return Poll::Ready(Ok(0));
        }
        let n = buf.remaining_mut();
        buf.put_bytes(b'\n', n);
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        Poll::Pending
    }

    fn poll_shutdown_write(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        Poll::Ready(Ok(()))
    }

    fn poll_release(&mut self, _: &mut Context<'_>, how: Release) -> Poll<()> {
        self.released.set(Some(how));
        Poll::Ready(())
    }

    fn failure(&mut self) -> Option<TransportFault> {
        self.asked.set(self.asked.get() + 1);
        self.fault.take()
    }
}

/// A clock that is moved from outside, and remembers what it was last asked to wait for.
#[derive(Clone, Default)]
struct Clock {
    now: Rc<Cell<u64>>,
    alarm: Rc<Cell<Option<u64>>>,
}

impl Timekeeper for Clock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.get())
    }

    fn poll_until(&mut self, _: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.alarm.set(Some(at.as_nanos()));
        if at <= self.now() { Poll::Ready(()) } else { Poll::Pending }
    }
}

const SECOND: u64 = 1_000_000_000;

/// A session that wants nothing: nobody takes the lines that it was sent, or its peer has finished.
fn stalled<const WATCHED: bool>(fin: bool, timeouts: Timeouts) -> Driver<Framed<Delimited>, Asked<WATCHED>, Clock> {
    let config = Config::new().limits(Limits::new().recv_buffer(1 << 10)).timeouts(timeouts);
    let config = config.on_peer_finish(OnPeerFinish::KeepSending);
    let session =
        Session::new(Framed::new(Delimited::lines(80)), config, 1, Instant::ORIGIN).expect("limits that work");
    let transport = Asked { fin, fault: Rc::default(), asked: Rc::default(), released: Rc::default() };
    let mut driver = Driver::new(session, transport, Clock::default());
    if fin {
        assert!(matches!(driver.poll_event(&mut context()), Poll::Ready(Some(Event::PeerFinished))));
    }
    wait(&mut driver);
    let interest = driver.session().interest();
    assert!(!interest.read && !interest.write, "{driver:?}");
    driver
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Drives until nothing moves any more.
fn wait<const WATCHED: bool>(driver: &mut Driver<Framed<Delimited>, Asked<WATCHED>, Clock>) {
    for _ in 0..100 {
        if driver.poll_progress(&mut context()).is_pending() {
            return;
        }
    }
    panic!("it spins: {driver:?}");
}

fn reset() -> TransportFault {
    TransportFault::new(FaultKind::Reset, Operation::Read)
}

#[test]
fn who_neither_reads_nor_writes_hears_of_a_reset_within_a_second() {
    for fin in [false, true] {
        let mut driver = stalled::<true>(fin, Timeouts::none());
        let clock = driver.timekeeper().clone();
        let (fault, asked, released) = {
            let transport = driver.transport();
            (Rc::clone(&transport.fault), Rc::clone(&transport.asked), Rc::clone(&transport.released))
        };
        for second in 1..5 {
            assert_eq!((asked.get(), clock.alarm.get()), (second - 1, Some(u64::from(second) * SECOND)));
            clock.now.set(u64::from(second) * SECOND - 1);
            wait(&mut driver);
            assert_eq!(asked.get(), second - 1, "other wakers are no reason to ask");
            clock.now.set(u64::from(second) * SECOND);
            wait(&mut driver);
        }
        fault.set(Some(reset()));
        clock.now.set(5 * SECOND);
        wait(&mut driver);
        assert_eq!((driver.session().cause(), released.get()), (Some(&Cause::PeerReset), Some(Release::Abort)));
        let before = asked.get();
        // What came before it is still there.
        let lines = std::iter::from_fn(|| match driver.poll_event(&mut context()) {
            Poll::Ready(event) => event,
            Poll::Pending => panic!("no end"),
        });
        let events: Vec<_> = lines.collect();
        assert_eq!(events.len(), if fin { 1 } else { 1024 + 1 + 1 }, "one was decoded ahead");
        assert!(matches!(events.last(), Some(Event::Closed(closed)) if closed.cause == Cause::PeerReset));
        clock.now.set(9 * SECOND);
        wait(&mut driver);
        assert_eq!(asked.get(), before, "nobody asks after the end");
    }
}

#[test]
fn the_sessions_own_deadline_comes_all_the_same() {
    let idle = Timeouts::none().idle(Some(Duration::from_millis(2_500)));
    let mut driver = stalled::<true>(true, idle);
    let clock = driver.timekeeper().clone();
    let mut alarms = Vec::new();
    while driver.session().cause().is_none() && alarms.len() < 9 {
        let alarm = clock.alarm.get().expect("something is waited for");
        alarms.push(alarm);
        clock.now.set(alarm);
        wait(&mut driver);
    }
    assert_eq!(alarms, [SECOND, 2 * SECOND, 2 * SECOND + SECOND / 2]);
}

#[test]
fn nobody_asks_where_the_session_reads_or_the_transport_cannot_tell() {
    let mut driver = stalled::<true>(false, Timeouts::none());
    let clock = driver.timekeeper().clone();
    let asked = Rc::clone(&driver.transport().asked);
    clock.now.set(SECOND / 2);
    while let Poll::Ready(Some(_)) = driver.poll_event(&mut context()) {
        clock.now.set(clock.now.get() + SECOND / 100);
        if clock.now.get() > 9 * SECOND {
            break;
        }
    }
    assert_eq!(asked.get(), 0, "lines are taken, and so it reads now and then");

    let mut blind = stalled::<false>(false, Timeouts::none());
    let clock = blind.timekeeper().clone();
    assert_eq!(clock.alarm.get(), None, "nothing to wait for");
    clock.now.set(9 * SECOND);
    wait(&mut blind);
    assert_eq!((blind.transport().asked.get(), clock.alarm.get()), (0, None));
}
