#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "brpc")]
pub mod brpc;
#[cfg(feature = "http1")]
pub mod http1;
mod runtime;
#[cfg(feature = "streams")]
pub mod streams;
#[cfg(feature = "websocket")]
pub mod websocket;

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
pub use runtime::AsyncStd;

#[doc(no_inline)]
pub use duologue_core as core;

/// A connection over TCP.
///
/// `Connection::connect(address, protocol, options)` dials, `Connection::accept(stream, protocol, &options)` takes a
/// connected stream over.
pub type Connection<P> = StreamConnection<P, async_std::net::TcpStream>;

/// A connection over any [`ByteStream`]: Unix sockets, TLS, a stream of your own. Hand streams over as [`AsIs`].
pub type StreamConnection<P, S> = duologue_async::Connection<P, StreamTransport<S>, Clock>;

/// The receiving half of a [`Connection`].
pub type RecvHalf<P, S = async_std::net::TcpStream> = duologue_async::RecvHalf<P, StreamTransport<S>, Clock>;

/// The sending half of a [`Connection`], to be cloned for any number of tasks.
pub type SendHalf<P, S = async_std::net::TcpStream> = duologue_async::SendHalf<P, StreamTransport<S>, Clock>;

/// A listening TCP server. It does nothing until `serve` is polled.
pub type Server = duologue_async::Server<AsyncStd>;

/// A [`Connection`] from a [`Server`].
pub type Served<P> = duologue_async::Served<P, AsyncStd>;

/// A client that connects again whenever its connection ends; its senders survive that.
pub type Reconnecting<P> = duologue_async::Reconnecting<P, AsyncStd>;

/// Sends through a [`Reconnecting`] client; to be cloned for any number of tasks.
pub type ReconnectSender<P> = duologue_async::ReconnectSender<P, AsyncStd>;

/// Connections that are used again, to any number of targets.
pub type PoolClient<P> = duologue_async::PoolClient<P, AsyncStd>;

/// A [`Connection`] of a [`PoolClient`], until it is given back.
pub type Pooled<P> = duologue_async::Pooled<P, AsyncStd>;
