#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod clock;
mod pool;
mod server;
mod tcp;
mod transport;

pub use clock::Clock;
pub use duologue_async::{Adopt, ConnectError, Dial, Options, SendError};
pub use server::{AtLimit, DrainReport, Served, Server, ServerHandle, ServerStats};
#[cfg(unix)]
pub use tcp::UnixPath;
pub use tcp::{AsIs, set_tcp_options};
pub use transport::{ByteStream, StreamTransport, fault};

#[doc(no_inline)]
pub use duologue_core as core;

/// A connection over TCP.
///
/// `Connection::connect(address, protocol, options)` dials, `Connection::accept(stream, protocol, &options)` takes a
/// connected stream over.
pub type Connection<P> = StreamConnection<P, tokio::net::TcpStream>;

/// A connection over any [`ByteStream`]: Unix sockets, TLS, memory. Hand streams over as [`AsIs`].
pub type StreamConnection<P, S> = duologue_async::Connection<P, StreamTransport<S>, Clock>;

/// The receiving half of a [`Connection`].
pub type RecvHalf<P, S = tokio::net::TcpStream> = duologue_async::RecvHalf<P, StreamTransport<S>, Clock>;

/// The sending half of a [`Connection`], to be cloned for any number of tasks.
pub type SendHalf<P, S = tokio::net::TcpStream> = duologue_async::SendHalf<P, StreamTransport<S>, Clock>;
