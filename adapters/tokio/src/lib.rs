#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "brpc")]
pub mod brpc;
mod clock;
#[cfg(feature = "http1")]
pub mod http1;
mod runtime;
#[cfg(feature = "streams")]
pub mod streams;
mod tcp;
#[cfg(feature = "rustls")]
mod tls;
mod transport;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use clock::Clock;
pub use duologue_async::{
    Adopt, AtLimit, ConnectError, Dial, DrainReport, Ends, NoTls, Options, PlainOrTls, PoolError, PoolOptions,
    PoolSetupError, Receipt, ReconnectEvent, ReconnectOptions, ReconnectSendError, SendError, ServerHandle,
    ServerStats, TlsError, ephemeral_ports, fault, set_tcp_options,
};
pub use runtime::Tokio;
pub use tcp::AsIs;
#[cfg(unix)]
pub use tcp::UnixPath;
#[cfg(feature = "rustls")]
pub use tls::{Rustls, TlsConnector, TlsStream, TlsTarget};
pub use transport::{ByteStream, StreamTransport};

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

/// A listening TCP server: accepting, limiting, draining. It does nothing until `serve` is polled.
///
/// ```no_run
/// use duologue_core::Event;
/// use duologue_core::framed::{Delimited, Framed};
/// use duologue_tokio::{Options, Served, Server};
///
/// # async fn example() -> std::io::Result<()> {
/// let server = Server::bind("127.0.0.1:7000", Options::new()).await?;
/// let handle = server.handle();
/// let running = tokio::spawn(server.serve(
///     |_peer| Framed::new(Delimited::lines(1024)),
///     |mut connection: Served<_>| async move {
///         while let Some(event) = connection.next_event().await {
///             if let Event::App(line) = event {
///                 if connection.send(line).await.is_err() {
///                     break;
///                 }
///             }
///         }
///     },
/// ));
/// // Later: no new connections, goodbye to the others, and a report of who did not leave in time.
/// handle.drain(std::time::Duration::from_secs(5));
/// let report = running.await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
pub type Server = duologue_async::Server<Tokio>;

/// A [`Connection`] from a [`Server`].
pub type Served<P> = duologue_async::Served<P, Tokio>;

/// A client that connects again whenever its connection ends; its senders survive that.
pub type Reconnecting<P> = duologue_async::Reconnecting<P, Tokio>;

/// Sends through a [`Reconnecting`] client; to be cloned for any number of tasks.
pub type ReconnectSender<P> = duologue_async::ReconnectSender<P, Tokio>;

/// Connections that are used again, to any number of targets.
pub type PoolClient<P> = duologue_async::PoolClient<P, Tokio>;

/// A [`Connection`] of a [`PoolClient`], until it is given back.
pub type Pooled<P> = duologue_async::Pooled<P, Tokio>;
