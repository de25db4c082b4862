//! bRPC for applications: calls and streams over one connection, from any number of tasks.
//!
//! A [`BrpcClient`] calls; clones share its connection. A [`BrpcServer`] serves a [`Router`]: each request becomes an
//! [`Exchange`] that runs in a task of its own, so that a slow one stops no other. Streams that a call opens are
//! [`MuxStream`]s of messages: send, receive, finish, deadlines, back-pressure; dropping one early resets it.
//!
//! No task works behind a client but the one that its connection is driven by, which the caller spawns.

mod client;
mod desk;
mod error;
mod exchange;
mod router;
mod server;

use duologue_core::driver::{Timekeeper, Transport};

use crate::Connection;
use crate::streams::{MuxOptions, MuxStream, MuxTask};

pub use client::{BrpcClient, PendingCall};
pub use duologue_brpc::{
    AcceptError, Brpc, BrpcConfig, BrpcError, Call, Checksum, Compression, ErrorCode, Request, Response, Role, Status,
    code, prost,
};
pub use error::RpcError;
pub use exchange::{Answer, BrpcConnection, Exchange, ReplyError};
pub use router::Router;
pub use server::{BrpcDrainReport, BrpcServer, BrpcServerHandle};

/// A stream of a call.
pub type BrpcStream<T, K> = MuxStream<Brpc, T, K>;

/// Drives a bRPC connection; spawn it.
pub type BrpcTask<T, K> = MuxTask<Brpc, T, K>;

/// The connection, and where what is no stream goes.
fn open<T: Transport, K: Timekeeper>(
    connection: Connection<Brpc, T, K>,
) -> (crate::streams::Mux<Brpc, T, K>, BrpcTask<T, K>, desk::Desk) {
    let desk = desk::Desk::default();
    let dropped = duologue_core::Code(code::ECONNRESET);
    let options = MuxOptions::new().dropped(dropped);
    let (mux, task) = crate::streams::Mux::with(connection, options, Some(Box::new(desk.clone())));
    (mux, task, desk)
}
