//! Who waits on a stream is woken, once, and nobody else is: tasks polled by hand over a pipe in memory.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::buf::Limit;
use bytes::{Bytes, BytesMut};
use duologue_async::streams::{Mux, MuxOptions, MuxStream, MuxTask};
use duologue_async::{Connection, ManualClock, Pipe, pipe};
use duologue_core::driver::{Driver, Timekeeper, Transport};
use duologue_core::streams::{AbuseBudget, StreamEnd, StreamsConfig};
use duologue_core::{Cause, Code, Config, Release, Session, TransportFault};
use duologue_yamux::{Role, Yamux, YamuxConfig};

/// Counts its wakes.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Task<X> {
    future: Pin<Box<dyn Future<Output = X>>>,
    bell: Arc<Bell>,
}

impl<X> Task<X> {
    fn new(future: impl Future<Output = X> + 'static) -> Self {
        Self { future: Box::pin(future), bell: Arc::default() }
    }

    fn poll(&mut self) -> Option<X> {
        let waker = Waker::from(Arc::clone(&self.bell));
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    /// Wakes since it was last asked.
    fn rings(&self) -> usize {
        self.bell.0.swap(0, Ordering::SeqCst)
    }
}

type Side = Mux<Yamux, Pipe, ManualClock>;
type Driving = Task<()>;
type Stream = MuxStream<Yamux, Pipe, ManualClock>;

struct Rig {
    client: Side,
    server: Side,
    tasks: [Driving; 2],
    clock: ManualClock,
}

fn rig() -> Rig {
    rig_with(StreamsConfig::new().max_local(3))
}

fn rig_with(streams: StreamsConfig) -> Rig {
    let clock = ManualClock::new();
    let (near, far) = pipe(100_000);
    let side = |role, pipe| {
        let yamux = Yamux::new(role, YamuxConfig::new().streams(streams)).unwrap();
        let session = Session::new(yamux, Config::new(), 1, clock.now()).unwrap();
        let connection = Connection::from_driver(Driver::new(session, pipe, clock.clone()), Duration::from_secs(5));
        Mux::new(connection, MuxOptions::new())
    };
    let drive = |task: MuxTask<Yamux, Pipe, ManualClock>| {
        Task::new(async move {
            let _ended = task.await;
            std::future::pending().await
        })
    };
    let ((client, a), (server, b)) = (side(Role::Client, near), side(Role::Server, far));
    Rig { client, server, tasks: [drive(a), drive(b)], clock }
}

impl Rig {
    /// Drives both connections until neither wants to be polled.
    fn settle(&mut self) {
        for task in &mut self.tasks {
            task.poll();
        }
        for _ in 0..10_000 {
            let mut rang = false;
            for task in &mut self.tasks {
                if task.rings() > 0 {
                    rang = true;
                    task.poll();
                }
            }
            if !rang {
                return;
            }
        }
        panic!("it spins");
    }

    fn joined(&mut self) -> (Stream, Stream) {
        let client = self.client.clone();
        let near = Task::new(async move { client.open().await.unwrap() }).poll().unwrap();
        self.settle();
        let server = self.server.clone();
        let far = Task::new(async move { server.accept().await.unwrap() }).poll().unwrap();
        (near, far)
    }
}

fn reading(mut stream: Stream) -> Task<(Result<Option<Bytes>, StreamEnd>, Stream)> {
    Task::new(async move { (stream.recv().await, stream) })
}

#[test]
fn data_wakes_its_reader_once_and_no_other() {
    let mut rig = rig();
    let (near, far) = rig.joined();
    let (_other_near, other_far) = rig.joined();
    let (mut reader, mut other) = (reading(far), reading(other_far));
    assert!(reader.poll().is_none() && other.poll().is_none());
    for _ in 0..5 {
        assert!(near.sender().poll_write(&mut Context::from_waker(Waker::noop()), b"abc").is_ready());
    }
    rig.settle();
    assert_eq!((reader.rings(), other.rings()), (1, 0), "five pieces, one wake");
    let (received, _far) = reader.poll().unwrap();
    assert_eq!(received.unwrap().unwrap(), "abcabcabcabcabc");
}

#[test]
fn each_way_to_end_wakes_the_reader_once() {
    type Act = fn(&Stream, &mut Rig);
    let ways: [(Act, Result<Option<Bytes>, StreamEnd>); 5] = [
        (|near, _| near.finish(), Ok(None)),
        (|near, _| near.reset(Code(3)), Err(StreamEnd::PeerReset(Code(3)))),
        (|_, rig| rig.client.abort(Code(0)), Err(StreamEnd::Lost)),
        (|_, rig| rig.server.abort(Code(0)), Err(StreamEnd::LocalClose)),
        (|_, rig| rig.tasks[1] = Task::new(std::future::pending()), Err(StreamEnd::LocalClose)),
    ];
    for (n, (act, expected)) in ways.into_iter().enumerate() {
        let mut rig = rig();
        let (near, far) = rig.joined();
        let mut reader = reading(far);
        assert!(reader.poll().is_none());
        rig.settle();
        assert_eq!(reader.rings(), 0, "way {n}");
        act(&near, &mut rig);
        rig.settle();
        assert_eq!(reader.rings(), 1, "way {n}");
        assert_eq!(reader.poll().unwrap().0, expected, "way {n}");
    }
}

#[test]
fn a_deadline_wakes_its_reader_once() {
    let mut rig = rig();
    let (near, _far) = rig.joined();
    near.sender().end_within(Some(Duration::from_secs(3)));
    let mut reader = reading(near);
    assert!(reader.poll().is_none());
    rig.settle();
    rig.clock.advance(Duration::from_secs(2));
    rig.settle();
    assert_eq!(reader.rings(), 0);
    rig.clock.advance(Duration::from_secs(1));
    rig.settle();
    assert_eq!(reader.rings(), 1);
    assert_eq!(reader.poll().unwrap().0, Err(StreamEnd::Deadline));
}

#[test]
fn an_opener_is_woken_once_when_a_place_is_free() {
    let mut rig = rig();
    let streams: Vec<_> = (0..3).map(|_| rig.joined()).collect();
    let client = rig.client.clone();
    let mut opener = Task::new(async move { client.open().await.is_ok() });
    assert_eq!(opener.poll(), None);
    rig.settle();
    assert_eq!(opener.rings(), 0);
    streams[0].0.reset(Code(0));
    rig.settle();
    assert_eq!(opener.rings(), 1);
    assert_eq!(opener.poll(), Some(true));
}

/// A pipe that is let go of only once somebody says so.
struct Sticky {
    pipe: Pipe,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: AtomicBool,
    waits: Mutex<Option<Waker>>,
}

impl Gate {
    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        if let Some(waker) = self.waits.lock().unwrap().take() {
            waker.wake();
        }
    }
}

impl Transport for Sticky {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        self.pipe.poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        self.pipe.poll_write(cx, slices)
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        self.pipe.poll_shutdown_write(cx)
    }

    fn poll_release(&mut self, cx: &mut Context<'_>, how: Release) -> Poll<()> {
        if !self.gate.open.load(Ordering::SeqCst) {
            *self.gate.waits.lock().unwrap() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.pipe.poll_release(cx, how)
    }
}

#[test]
fn who_waits_for_the_end_sees_it_though_the_task_was_dropped_before_the_transport_let_go() {
    let (clock, gate) = (ManualClock::new(), Arc::<Gate>::default());
    let (near, _far) = pipe(1000);
    let transport = Sticky { pipe: near, gate: Arc::clone(&gate) };
    let session =
        Session::new(Yamux::new(Role::Client, YamuxConfig::new()).unwrap(), Config::new(), 1, clock.now()).unwrap();
    let connection = Connection::from_driver(Driver::new(session, transport, clock), Duration::from_secs(5));
    let (mux, task) = Mux::new(connection, MuxOptions::new());
    let waiting = || {
        let mux = mux.clone();
        Task::new(async move { mux.closed().await.cause })
    };
    let mut closers = [waiting(), waiting()];
    assert!(closers.iter_mut().all(|closer| closer.poll().is_none()));
    drop(task);
    for closer in &mut closers {
        assert_eq!(closer.rings(), 1, "nobody drives for it any more");
        assert_eq!(closer.poll(), None, "the transport was not let go of");
    }
    gate.open();
    let cause = Cause::LocalAbort(MuxOptions::new().dropped);
    for (n, closer) in closers.iter_mut().enumerate().rev() {
        assert!(closer.rings() > 0, "closer {n}");
        assert_eq!(closer.poll(), Some(cause.clone()), "closer {n}");
    }
}

#[test]
fn streams_that_the_peer_took_back_before_they_were_accepted_leave_nothing() {
    let mut rig = rig();
    for _ in 0..20 {
        let client = rig.client.clone();
        let near = Task::new(async move { client.open().await.unwrap() }).poll().unwrap();
        rig.settle();
        near.reset(Code(0));
        drop(near);
        rig.settle();
    }
    let server = rig.server.clone();
    let mut acceptor = Task::new(async move { server.accept().await.map(|stream| stream.id()) });
    assert_eq!(acceptor.poll(), None, "there is nothing to accept");
    let client = rig.client.clone();
    let _near = Task::new(async move { client.open().await.unwrap() }).poll().unwrap();
    rig.settle();
    assert!(acceptor.rings() > 0 && acceptor.poll().is_some(), "the next one is");
}

#[test]
fn a_connection_that_had_ended_before_it_was_taken_over_tells_its_acceptors() {
    let clock = ManualClock::new();
    let (near, _far) = pipe(1000);
    let session =
        Session::new(Yamux::new(Role::Client, YamuxConfig::new()).unwrap(), Config::new(), 1, clock.now()).unwrap();
    let mut connection = Connection::from_driver(Driver::new(session, near, clock), Duration::from_secs(5));
    connection.abort(Code(3));
    let mut ending = Task::new(async move {
        while connection.next_event().await.is_some() {}
        connection
    });
    let (mux, task) = Mux::new(ending.poll().expect("it ends at once"), MuxOptions::new());
    let mut acceptor = Task::new(async move { mux.accept().await.is_none() });
    assert_eq!(acceptor.poll(), None);
    // Kept: dropping it would tell them as well.
    let mut task = Box::pin(task);
    assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!((acceptor.rings(), acceptor.poll()), (1, Some(true)));
}

fn opening(rig: &Rig) -> Task<Stream> {
    let client = rig.client.clone();
    Task::new(async move { client.open().await.unwrap() })
}

#[test]
fn ten_thousand_that_wait_for_three_places_are_each_woken_once_in_their_order() {
    const MANY: usize = 10_000;
    let abuse = AbuseBudget { burst: 100_000, ..AbuseBudget::default() };
    let mut rig = rig_with(StreamsConfig::new().max_local(3).abuse(abuse));
    let mut open: Vec<Stream> = Vec::new();
    let mut tasks: Vec<Option<Task<Stream>>> = (0..MANY).map(|_| Some(opening(&rig))).collect();
    let mut polls = 0;
    for task in &mut tasks {
        polls += 1;
        if let Some(stream) = task.as_mut().unwrap().poll() {
            open.push(stream);
            *task = None;
        }
    }
    assert_eq!((open.len(), polls), (3, MANY));
    let mut next = 3;
    while next < MANY {
        // A stream ends, and its place is free once that is on its way.
        drop(open.remove(0));
        rig.settle();
        // Only the next in line looks whether it is woken: whoever is woken out of order fails below.
        let task = tasks[next].as_mut().unwrap();
        assert!(task.rings() > 0, "{next} of {MANY} is not woken");
        polls += 1;
        open.push(task.poll().expect("a place"));
        tasks[next] = None;
        next += 1;
        assert_eq!(open.len(), 3);
        if next % 1000 == 0 {
            assert_eq!(tasks.iter().flatten().map(Task::rings).sum::<usize>(), 0, "nobody else was woken");
        }
    }
    assert_eq!(polls, 2 * MANY - 3);
}

#[test]
fn who_waits_for_a_place_and_goes_away_after_it_was_called_passes_it_on() {
    let mut rig = rig();
    let mut open: Vec<Stream> = (0..3).map(|_| opening(&rig).poll().unwrap()).collect();
    let (mut first, mut second, mut third) = (opening(&rig), opening(&rig), opening(&rig));
    assert!(first.poll().is_none() && second.poll().is_none());
    open.pop();
    rig.settle();
    assert_eq!((first.rings() > 0, second.rings()), (true, 0));
    assert!(third.poll().is_none(), "who comes now waits behind the others, though a place is free");
    drop(first);
    assert!(second.rings() > 0, "it was the first's until now");
    let _open = second.poll().expect("a place");
    assert_eq!(third.rings(), 0);
    open.pop();
    rig.settle();
    assert!(third.rings() > 0 && third.poll().is_some());
}

#[test]
fn everybody_who_waits_for_a_place_is_told_when_there_will_be_none() {
    let mut rig = rig();
    let _open: Vec<Stream> = (0..3).map(|_| opening(&rig).poll().unwrap()).collect();
    let wait = |rig: &Rig| {
        let client = rig.client.clone();
        Task::new(async move { client.open().await.map(drop) })
    };
    let (mut first, mut second) = (wait(&rig), wait(&rig));
    assert!(first.poll().is_none() && second.poll().is_none());
    rig.server.close(duologue_core::CloseIntent::Goodbye(Code(0)));
    rig.settle();
    for task in [&mut first, &mut second] {
        assert!(task.rings() > 0);
        assert!(matches!(task.poll(), Some(Err(_))));
    }
    assert!(matches!(wait(&rig).poll(), Some(Err(_))), "nor does who comes now wait");
}

/// As a socket does: nothing fits, so nothing is waited for. In streams of messages, an empty one is no end.
#[test]
fn reading_into_nothing_waits_for_nothing() {
    let mut rig = rig();
    let (near, mut far) = rig.joined();
    let mut cx = Context::from_waker(Waker::noop());
    let mut read = |stream: &mut Stream, into: &mut [u8]| {
        let mut into = tokio::io::ReadBuf::new(into);
        let polled = tokio::io::AsyncRead::poll_read(Pin::new(stream), &mut cx, &mut into);
        polled.map(|done| done.map(|()| into.filled().len()).map_err(|e| e.kind()))
    };
    assert_eq!(read(&mut far, &mut []), Poll::Ready(Ok(0)));
    assert_eq!(read(&mut far, &mut [0; 4]), Poll::Pending);
    near.finish();
    rig.settle();
    assert_eq!(read(&mut far, &mut [0; 4]), Poll::Ready(Ok(0)));
    near.reset(Code(1));
    rig.settle();
    assert_eq!(read(&mut far, &mut []), Poll::Ready(Ok(0)));
}

#[test]
fn everybody_who_waits_for_a_place_is_told_when_we_drain() {
    for drain in [|side: &Side| side.drain(), |side: &Side| side.try_send(duologue_yamux::YamuxCommand::Drain).unwrap()]
    {
        let mut rig = rig();
        let _open: Vec<Stream> = (0..3).map(|_| opening(&rig).poll().unwrap()).collect();
        let client = rig.client.clone();
        let mut waits = Task::new(async move { client.open().await.map(drop) });
        assert!(waits.poll().is_none());
        rig.settle();
        drain(&rig.client);
        rig.settle();
        assert!(waits.rings() > 0, "no stream ends for a long time");
        assert!(matches!(waits.poll(), Some(Err(_))));
    }
}
