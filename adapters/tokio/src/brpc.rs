//! bRPC on tokio: calls and streams, client and server.
//!
//! ```
//! use std::time::Duration;
//!
//! use duologue_tokio::brpc::{Answer, Brpc, BrpcClient, BrpcConfig, BrpcServer, Call, Exchange, Role, Router};
//! use duologue_tokio::{Connection, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let router = Router::new()
//!     .method("example.EchoService", "Echo", |request| async move { Ok(Answer::new(request.body)) })
//!     .exchange("example.EchoService", "Streams", |exchange: Exchange| async move {
//!         let streams = exchange.accept().unwrap_or_default();
//!         let _ = exchange.reply(Ok(Answer::default())).await;
//!         for mut stream in streams {
//!             while let Ok(Some(message)) = stream.recv_message().await {
//!                 if stream.send(message).await.is_err() {
//!                     return;
//!                 }
//!             }
//!             stream.finish();
//!         }
//!     });
//! let server = BrpcServer::bind("127.0.0.1:0", Options::new(), BrpcConfig::new()).await?;
//! let (address, handle) = (server.local_addr()?, server.handle());
//! let serving = tokio::spawn(server.serve(router));
//!
//! let brpc = Brpc::new(Role::Client, BrpcConfig::new())?;
//! let connection = Connection::connect(address, brpc, Options::new()).await?;
//! let (client, task) = BrpcClient::new(connection);
//! tokio::spawn(task);
//! let response = client.call(Call::new("example.EchoService", "Echo", "hi")).await?;
//! assert_eq!(response.body, "hi");
//!
//! let (_, mut streams) = client.call_with_streams(Call::new("example.EchoService", "Streams", ""), 1).await?;
//! streams[0].send("over the stream".into()).await?;
//! assert_eq!(streams[0].recv_message().await?.as_deref(), Some(&b"over the stream"[..]));
//! streams[0].finish();
//!
//! handle.drain(Duration::from_secs(5));
//! assert_eq!(serving.await?.reset, 0);
//! # Ok(())
//! # }
//! ```

use crate::Tokio;

#[doc(inline)]
pub use duologue_async::brpc::*;

type Transport = <Tokio as duologue_async::Runtime>::Transport;
type Clock = <Tokio as duologue_async::Runtime>::Clock;

/// Calls over one connection; see [`duologue_async::brpc::BrpcClient`].
pub type BrpcClient<T = Transport> = duologue_async::brpc::BrpcClient<T, Clock>;

/// A call that was sent.
pub type PendingCall<T = Transport> = duologue_async::brpc::PendingCall<T, Clock>;

/// The requests of one connection.
pub type BrpcConnection<T = Transport> = duologue_async::brpc::BrpcConnection<T, Clock>;

/// One request, until it is replied to.
pub type Exchange<T = Transport> = duologue_async::brpc::Exchange<T, Clock>;

/// Handlers by service and method.
pub type Router<T = Transport> = duologue_async::brpc::Router<T, Clock>;

/// A stream of a call: messages both ways.
pub type BrpcStream<T = Transport> = duologue_async::brpc::BrpcStream<T, Clock>;

/// Drives a connection; spawn it.
pub type BrpcTask<T = Transport> = duologue_async::brpc::BrpcTask<T, Clock>;

/// A listening server.
pub type BrpcServer = duologue_async::brpc::BrpcServer<Tokio>;

/// Drains a [`BrpcServer`] from elsewhere.
pub type BrpcServerHandle = duologue_async::brpc::BrpcServerHandle<Tokio>;
