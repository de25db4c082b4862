//! One suite for the stream handles of every adapter: two real sides, over sockets or in memory, with yamux between
//! them. Each test has a bound in time. `streams_*.rs` name the adapter.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

mod ends;
mod exchange;
mod waiting;

use std::sync::mpsc;
use std::time::Duration;

use duologue_core::Code;
use duologue_core::streams::StreamsConfig;
use duologue_yamux::{Role, Yamux, YamuxConfig};
use futures_util::FutureExt;
use futures_util::future::RemoteHandle;

pub(crate) use crate::adapter::{Mux, MuxStream, MuxTask};

/// The longest that a test may take: a hang fails.
const BOUND: Duration = Duration::from_secs(40);

/// The code by which the client's handles say that they were dropped.
pub(crate) const DROPPED: Code = Code(77);

pub(crate) type Side = Mux<Yamux>;
pub(crate) type Stream = MuxStream<Yamux>;
pub(crate) type Task = MuxTask<Yamux>;

/// Runs a test, and fails if it takes too long.
pub(crate) fn bounded<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        crate::adapter::run(test());
        let _ = done.send(());
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(BOUND) {
        panic!("the test hangs on {}", crate::adapter::NAME);
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs beside the test on the runtime; the handle waits for the result.
pub(crate) fn spawn<R: Send + 'static>(work: impl Future<Output = R> + Send + 'static) -> RemoteHandle<R> {
    let (work, handle) = work.remote_handle();
    crate::adapter::spawn(work);
    handle
}

pub(crate) fn yamux(role: Role, streams: StreamsConfig) -> Yamux {
    Yamux::new(role, YamuxConfig::new().streams(streams)).unwrap()
}

/// Two sides that nobody drives yet.
pub(crate) fn undriven(streams: StreamsConfig) -> ((Side, Task), (Side, Task)) {
    let [client, server] = crate::adapter::pair(yamux(Role::Client, streams), yamux(Role::Server, streams));
    (client, server)
}

/// Two sides, driven.
pub(crate) fn sides_with(streams: StreamsConfig) -> (Side, Side) {
    let ((client, of_client), (server, of_server)) = undriven(streams);
    spawn(of_client).forget();
    spawn(of_server).forget();
    (client, server)
}

pub(crate) fn sides() -> (Side, Side) {
    sides_with(StreamsConfig::new())
}

/// One stream, seen from both sides.
pub(crate) async fn joined(client: &Side, server: &Side) -> (Stream, Stream) {
    let ours = client.open().await.unwrap();
    ours.send(bytes::Bytes::from_static(b"!")).await.unwrap();
    let mut theirs = server.accept().await.unwrap();
    assert_eq!(theirs.recv().await.unwrap().as_deref(), Some(&b"!"[..]));
    (ours, theirs)
}

/// Everything up to the peer's finish.
pub(crate) async fn all(stream: &mut Stream) -> Vec<u8> {
    let mut got = Vec::new();
    while let Some(bytes) = stream.recv().await.unwrap() {
        got.extend_from_slice(&bytes);
    }
    got
}

pub(crate) fn pattern(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + n + (at >> 8)) as u8).collect()
}
