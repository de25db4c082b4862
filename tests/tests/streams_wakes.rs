//! Who waits on a stream is woken, once, and nobody else is: tasks polled by hand over a pipe in memory.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use duologue_async::streams::{Mux, MuxOptions, MuxStream, MuxTask};
use duologue_async::{Connection, ManualClock, Pipe, pipe};
use duologue_core::driver::{Driver, Timekeeper};
use duologue_core::streams::{StreamEnd, StreamsConfig};
use duologue_core::{Code, Config, Session};
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
    let clock = ManualClock::new();
    let (near, far) = pipe(100_000);
    let side = |role, pipe| {
        let yamux = Yamux::new(role, YamuxConfig::new().streams(StreamsConfig::new().max_local(3))).unwrap();
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
        (|near, _| near.reset(Code(3)), Err(StreamEnd::PeerReset(Code(0)))),
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
