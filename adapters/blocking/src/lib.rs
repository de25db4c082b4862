#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod connection;
#[cfg(feature = "http1")]
pub mod http1;
mod pooled;
mod reconnecting;
mod server;
mod split;
#[cfg(feature = "streams")]
pub mod streams;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use async_io::Async;
pub use duologue_async::{
    Adopt, AtLimit, ConnectError, Dial, DrainReport, Ends, NoTls, Options, PlainOrTls, PoolError, PoolOptions,
    PoolSetupError, Receipt, ReconnectEvent, ReconnectOptions, ReconnectSendError, SendError, ServerHandle,
    ServerStats, TlsError, ephemeral_ports,
};
#[cfg(unix)]
pub use duologue_futures_io::UnixPath;
pub use duologue_futures_io::{AsIs, ByteStream, Clock, StreamTransport, fault, set_tcp_options};
#[cfg(feature = "rustls")]
pub use duologue_futures_io::{Rustls, TlsConnector, TlsStream, TlsTarget};

pub use connection::StreamConnection;
pub use pooled::{PoolClient, Pooled};
pub use reconnecting::{ReconnectSender, Reconnecting};
pub use server::{Served, Server, Threads};
pub use split::{RecvHalf, SendHalf};

#[doc(no_inline)]
pub use duologue_core as core;

/// A TCP socket of the standard library, ready to be waited for together with a time-out.
pub type TcpStream = Async<std::net::TcpStream>;

/// A connection over TCP.
///
/// `Connection::connect(address, protocol, options)` dials, `Connection::accept(stream, protocol, &options)` takes a
/// connected `std::net::TcpStream` over.
pub type Connection<P> = StreamConnection<P, TcpStream>;

/// Waits on this thread. It sleeps in the system's poller or until another thread wakes it.
fn wait<F: Future>(future: F) -> F::Output {
    async_io::block_on(future)
}
