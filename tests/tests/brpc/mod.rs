//! One suite for the bRPC handles of every adapter: a server and clients of ours over real sockets. Each test has a
//! bound in time. `brpc_*.rs` name the adapter.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

mod calls;
mod ends;
mod streams;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use duologue_async::brpc::{Answer, BrpcConfig, Call, ErrorCode, Status};
use duologue_async::brpc::{Brpc, BrpcDrainReport, Role};
use futures_channel::{mpsc as channel, oneshot};
use futures_util::FutureExt;
use futures_util::future::RemoteHandle;
use futures_util::lock::Mutex;

pub(crate) use crate::adapter::{BrpcClient, BrpcServer, BrpcServerHandle, BrpcStream, Exchange, Options, Router};

/// The longest that a test may take: a hang fails.
const BOUND: Duration = Duration::from_secs(40);

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

/// Lets the handlers of `test.Service/Wait` go on, one each, and tells that they wait.
pub(crate) struct Gate {
    pub(crate) waiting: channel::UnboundedReceiver<oneshot::Sender<()>>,
}

impl Gate {
    /// The next handler that waits.
    pub(crate) async fn next(&mut self) -> oneshot::Sender<()> {
        use futures_util::StreamExt;
        self.waiting.next().await.unwrap()
    }
}

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) handle: BrpcServerHandle,
    pub(crate) report: RemoteHandle<BrpcDrainReport>,
    pub(crate) gate: Gate,
    /// Streams that `Keep` accepted.
    pub(crate) kept: channel::UnboundedReceiver<Vec<BrpcStream>>,
}

pub(crate) async fn serve() -> Served {
    serve_with(Options::new(), BrpcConfig::new()).await
}

pub(crate) async fn serve_with(options: Options, config: BrpcConfig) -> Served {
    let (asks, waiting) = channel::unbounded();
    let (keeps, kept) = channel::unbounded();
    let server = BrpcServer::bind("127.0.0.1:0", options, config).await.unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    let report = spawn(server.serve(router(asks, keeps)));
    Served { address, handle, report, gate: Gate { waiting }, kept }
}

fn router(
    asks: channel::UnboundedSender<oneshot::Sender<()>>,
    keeps: channel::UnboundedSender<Vec<BrpcStream>>,
) -> Router {
    let (wait, expires, loses, keep) = (asks.clone(), asks.clone(), asks.clone(), asks);
    Router::new()
        .method("test.Service", "Echo", |request| async move {
            let answer = Answer::new(request.body).attachment(request.attachment);
            Ok(match request.meta.compress_type {
                Some(2) => answer.compression(duologue_async::brpc::Compression::Gzip),
                _ => answer.checksum(duologue_async::brpc::Checksum::Crc32c),
            })
        })
        .method("test.Service", "Fail", |_| async { Err(Status::new(ErrorCode::Other(77), "as asked")) })
        .method("test.Service", "Large", |_| async { Ok(Answer::new(vec![0; 4 << 20])) })
        .method("test.Service", "Panic", |_| async { panic!("a handler that panics") })
        .message("test.Service", "Twice", |n: u32| async move { Ok(n * 2) })
        .method("test.Service", "Wait", move |request| {
            let (go, gone) = oneshot::channel();
            wait.unbounded_send(go).unwrap();
            async move {
                let _ = gone.await;
                Ok(Answer::new(request.body))
            }
        })
        .exchange("test.Service", "Streams", |exchange: Exchange| async move {
            let streams = exchange.accept().unwrap();
            exchange.reply(Ok(Answer::default())).await.unwrap();
            let echoes = streams.into_iter().map(|stream| spawn(echo(stream)));
            futures_util::future::join_all(echoes).await;
        })
        .exchange("test.Service", "Keep", move |exchange: Exchange| {
            let keeps = keeps.clone();
            async move {
                let streams = exchange.accept().unwrap();
                exchange.reply(Ok(Answer::default())).await.unwrap();
                keeps.unbounded_send(streams).unwrap();
            }
        })
        .exchange("test.Service", "Expire", move |exchange: Exchange| {
            let expires = expires.clone();
            async move {
                exchange.expired().await;
                assert!(exchange.deadline().is_some());
                let (go, gone) = oneshot::channel();
                expires.unbounded_send(go).unwrap();
                let _ = gone.await;
            }
        })
        .exchange("test.Service", "Lose", move |exchange: Exchange| {
            let loses = loses.clone();
            async move {
                let (go, gone) = oneshot::channel();
                loses.unbounded_send(go).unwrap();
                exchange.lost().await;
                // Whoever gave the sender waits for this.
                drop(gone);
            }
        })
        .exchange("test.Service", "KeepLate", move |exchange: Exchange| {
            let keep = keep.clone();
            async move {
                let (go, gone) = oneshot::channel();
                keep.unbounded_send(go).unwrap();
                let mut streams = exchange.accept().unwrap();
                let _ = gone.await;
                exchange.reply(Ok(Answer::default())).await.unwrap();
                // Nobody wants them: the client gave the call up.
                assert!(streams[0].recv().await.is_err());
            }
        })
}

async fn echo(mut stream: BrpcStream) {
    while let Ok(Some(message)) = stream.recv_message().await {
        if stream.send(message).await.is_err() {
            return;
        }
    }
    stream.finish();
}

pub(crate) async fn connect(served: &Served) -> BrpcClient {
    connect_with(served, Options::new(), BrpcConfig::new()).await
}

pub(crate) async fn connect_with(served: &Served, options: Options, config: BrpcConfig) -> BrpcClient {
    let brpc = Brpc::new(Role::Client, config).unwrap();
    let connection = crate::adapter::Connection::connect(served.address, brpc, options).await.unwrap();
    let (client, task) = BrpcClient::new(connection);
    spawn(task).forget();
    client
}

pub(crate) fn call(method: &str, body: impl Into<Bytes>) -> Call {
    Call::new("test.Service", method, body)
}

/// What many tasks count together.
pub(crate) type Shared<X> = std::sync::Arc<Mutex<X>>;
