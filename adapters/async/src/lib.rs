#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "brpc")]
pub mod brpc;
mod connect;
mod connection;
mod error;
mod fault;
#[cfg(feature = "http1")]
pub mod http1;
mod hub;
#[cfg(feature = "streams")]
mod line;
mod open;
#[cfg(feature = "websocket")]
mod openings;
mod plain_or_tls;
pub mod pool;
mod pooled;
mod reconnecting;
mod redial;
mod send;
mod server;
mod socket;
mod split;
mod stream;
#[cfg(feature = "streams")]
pub mod streams;
mod testing;
mod tls;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use connect::{Adopt, Dial, Options};
pub use connection::Connection;
pub use error::{ConnectError, SendError};
pub use fault::{fault, unresolved};
pub use plain_or_tls::{ConnectorOf, DialTls, NoTls, OpenTls, Opening, PlainOrTls, Secured};
pub use pooled::{PoolClient, PoolError, PoolOptions, PoolSetupError, Pooled, ephemeral_ports};
pub use reconnecting::{
    Receipt, ReconnectEvent, ReconnectEventOf, ReconnectOptions, ReconnectSendError, ReconnectSender, Reconnecting,
};
pub use redial::{Carrier, Connecting, ConnectionOn, ConnectionOver, Dialling, PoolCarrier, Redial, SendProtocol};
pub use server::{AtLimit, Bind, DrainReport, Ends, Runtime, Served, Server, ServerHandle, ServerStats};
pub use socket::{
    failure, has_tcp_options, is_quiet, reset_on_drop, set_backlog, set_listener_options, set_tcp_options,
};
pub use split::{RecvHalf, SendHalf};
pub use testing::{ManualClock, Pipe, pipe};
pub use tls::TlsError;
#[cfg(feature = "rustls")]
pub use tls::{is_quiet_over_tls, opened, opening_failed, server_name};

#[doc(no_inline)]
pub use duologue_core as core;
