//! bRPC on async-std: calls and streams, client and server.

use crate::AsyncStd;

#[doc(inline)]
pub use duologue_async::brpc::*;

type Transport = <AsyncStd as duologue_async::Runtime>::Transport;
type Clock = <AsyncStd as duologue_async::Runtime>::Clock;

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
pub type BrpcServer = duologue_async::brpc::BrpcServer<AsyncStd>;

/// Drains a [`BrpcServer`] from elsewhere.
pub type BrpcServerHandle = duologue_async::brpc::BrpcServerHandle<AsyncStd>;
