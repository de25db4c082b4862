//! Who waits on a stream or its connection and goes away is forgotten: a connection lives for weeks, and who asked it
//! something for a while must not stay in its memory until then.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use duologue_async::streams::{Mux, MuxOptions, MuxStream, MuxTask};
use duologue_async::{Connection, ManualClock, Pipe, pipe};
use duologue_core::driver::{Driver, Timekeeper};
use duologue_core::{Config, Session};
use duologue_yamux::{Role, Yamux, YamuxConfig};
use tokio::io::AsyncWrite;

struct Bell;

impl Wake for Bell {
    fn wake(self: Arc<Self>) {}
}

type Side = Mux<Yamux, Pipe, ManualClock>;
type Stream = MuxStream<Yamux, Pipe, ManualClock>;
type Driving = MuxTask<Yamux, Pipe, ManualClock>;

fn rig() -> ([Side; 2], [Driving; 2]) {
    let clock = ManualClock::new();
    let (near, far) = pipe(10_000);
    let side = |role, pipe| {
        let yamux = Yamux::new(role, YamuxConfig::new()).unwrap();
        let session = Session::new(yamux, Config::new(), 1, clock.now()).unwrap();
        let connection = Connection::from_driver(Driver::new(session, pipe, clock.clone()), Duration::from_secs(5));
        Mux::new(connection, MuxOptions::new())
    };
    let ((client, a), (server, b)) = (side(Role::Client, near), side(Role::Server, far));
    ([client, server], [a, b])
}

/// Polls a future once, as a task of its own, and tells the task's waker.
fn begun<F: Future>(future: std::pin::Pin<&mut F>) -> (Arc<Bell>, Poll<F::Output>) {
    let bell = Arc::new(Bell);
    let waker = Waker::from(Arc::clone(&bell));
    let polled = future.poll(&mut Context::from_waker(&waker));
    (bell, polled)
}

/// A wait that is polled and goes away leaves nothing behind.
fn goes_away<F: Future>(what: &str, future: F) {
    let mut future = Box::pin(future);
    let (bell, polled) = begun(future.as_mut());
    assert!(polled.is_pending(), "{what} waits");
    assert!(Arc::strong_count(&bell) > 1, "{what} is to be woken");
    drop(future);
    assert_eq!(Arc::strong_count(&bell), 1, "{what} went away");
}

/// A stream of which nothing more can be sent for the moment.
fn full(client: &Side, tasks: &mut [Driving; 2]) -> Stream {
    let (_, Poll::Ready(Ok(stream))) = begun(pin!(client.open())) else { panic!("there is a place") };
    // The server's side is never driven.
    let _ = begun(std::pin::Pin::new(&mut tasks[0]));
    let mut cx = Context::from_waker(Waker::noop());
    while stream.sender().poll_write(&mut cx, &[1; 10_000]).is_ready() {}
    stream
}

#[test]
fn who_waits_for_the_connection_and_goes_away_is_forgotten() {
    let ([client, _server], mut tasks) = rig();
    let _ = begun(std::pin::Pin::new(&mut tasks[0]));
    goes_away("accept", client.accept());
    goes_away("event", client.event());
    goes_away("closed", client.closed());
}

#[test]
fn who_waits_for_room_and_goes_away_is_forgotten() {
    let ([client, _server], mut tasks) = rig();
    let stream = full(&client, &mut tasks);
    goes_away("send", stream.send(Bytes::from(vec![1; 10_000])));
    let sender = stream.sender().clone();
    goes_away("send of a clone", async move { sender.send(Bytes::from(vec![1; 10_000])).await });
    // A byte stream has no future of its own: the handle is who waits.
    let mut sender = stream.sender().clone();
    goes_away("write", async move {
        std::future::poll_fn(|cx| AsyncWrite::poll_write(std::pin::Pin::new(&mut sender), cx, &[1; 100_000])).await
    });
}

#[test]
fn who_waits_beside_one_that_goes_away_is_still_woken() {
    let ([client, _server], mut tasks) = rig();
    let stream = full(&client, &mut tasks);
    let mut stays = pin!(stream.send(Bytes::from(vec![1; 10_000])));
    let (bell, polled) = begun(stays.as_mut());
    assert!(polled.is_pending());
    let waker = Waker::from(Arc::clone(&bell));
    {
        // In the same task, as a select would.
        let mut goes = pin!(stream.send(Bytes::from(vec![1; 10_000])));
        assert!(goes.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&bell), 2, "the other is still to be woken");
    // Polled anew by another task, it is that task's, and nobody else's.
    let (other, polled) = begun(stays.as_mut());
    assert!(polled.is_pending());
    assert_eq!((Arc::strong_count(&bell), Arc::strong_count(&other)), (1, 2));
}
