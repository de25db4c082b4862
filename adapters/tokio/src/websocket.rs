//! WebSockets on tokio: client and server, alone or behind TLS.
//!
//! ```
//! use duologue_core::{Code, Event as SessionEvent};
//! use duologue_tokio::Options;
//! use duologue_tokio::websocket::{self, Command, Event, ServerHandshake, Settings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let server = tokio::spawn(async move {
//!     let (stream, _) = listener.accept().await?;
//!     let handshake = ServerHandshake::new(Settings::new());
//!     let (mut socket, opened) = websocket::accept(stream, handshake, &Options::new()).await?;
//!     assert_eq!(opened.target, "/chat");
//!     while let Some(event) = socket.next_event().await {
//!         if let SessionEvent::App(Event::Text(text)) = event {
//!             socket.send(Command::Text(text)).await?;
//!         }
//!     }
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! });
//!
//! let (mut socket, _) = websocket::connect(&format!("ws://{address}/chat"), Options::new()).await?;
//! socket.send(Command::text("hello")).await?;
//! let event = socket.next_event().await;
//! assert_eq!(event, Some(SessionEvent::App(Event::Text("hello".into()))));
//! let closed = socket.close(Code(1000)).await;
//! assert!(closed.cause.is_orderly());
//! # let _ = server.await?;
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use duologue_async::websocket as neutral;
use tokio::net::TcpStream;

use crate::{ByteStream, Clock, Options, StreamConnection, StreamTransport};

#[doc(inline)]
pub use duologue_async::websocket::*;

/// A WebSocket over TCP, or over another [`ByteStream`].
pub type WebSocketConnection<S = TcpStream> = StreamConnection<WebSocket, S>;

/// Connects to a `ws://` address. For `wss://`, subprotocols, header fields or compression see [`connect_to`] and
/// [`open`].
///
/// # Errors
/// See [`OpenError`]; a `wss://` address is an error of the scheme here.
pub async fn connect(uri: &str, options: Options) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
    let (address, handshake) = plain(uri)?;
    connect_to(address, handshake, options).await
}

/// Connects to `address` and asks for what `handshake` says.
///
/// # Errors
/// See [`OpenError`].
pub async fn connect_to<A: tokio::net::ToSocketAddrs>(
    address: A,
    handshake: ClientHandshake,
    options: Options,
) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
    neutral::connect::<A, StreamTransport<TcpStream>, Clock>(address, handshake, options).await
}

/// Asks for a WebSocket over a connected stream: TLS, a proxy, a Unix socket.
///
/// # Errors
/// See [`OpenError`].
pub async fn open<S: ByteStream>(
    stream: S,
    handshake: ClientHandshake,
    options: &Options,
) -> Result<(WebSocketConnection<S>, Box<Opened>), OpenError> {
    neutral::open::<_, StreamTransport<S>, Clock>(crate::AsIs(stream), handshake, options).await
}

/// A client that connects again whenever its connection ends; see [`Reconnecting`](crate::Reconnecting).
/// `address` is `host:port`.
///
/// # Errors
/// The request cannot be asked, or the pauses cannot work; nothing was tried. What fails later is an event.
pub fn reconnecting(
    address: impl std::fmt::Display,
    handshake: ClientHandshake,
    options: duologue_async::ReconnectOptions,
) -> Result<crate::Reconnecting<WebSocket>, OpenError> {
    neutral::reconnecting(address, handshake, options)
}

/// Waits for a request on an accepted TCP stream, and answers it.
///
/// # Errors
/// See [`OpenError`].
pub async fn accept(
    stream: TcpStream,
    handshake: impl Into<Arc<ServerHandshake>>,
    options: &Options,
) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
    neutral::accept::<_, StreamTransport<TcpStream>, Clock>(stream, handshake, options).await
}

/// As [`accept`], over any stream: TLS, a Unix socket.
///
/// # Errors
/// See [`OpenError`].
pub async fn accept_stream<S: ByteStream>(
    stream: S,
    handshake: impl Into<Arc<ServerHandshake>>,
    options: &Options,
) -> Result<(WebSocketConnection<S>, Box<Opened>), OpenError> {
    neutral::accept::<_, StreamTransport<S>, Clock>(crate::AsIs(stream), handshake, options).await
}

/// Connects to a `wss://` address over TLS: connecting, the TLS handshake and the opening all within
/// [`Options::connect_within`].
///
/// # Errors
/// See [`OpenError`]; what TLS refuses is a fault of the transport.
#[cfg(feature = "rustls")]
pub async fn connect_tls(
    uri: &str,
    tls: tokio_rustls::TlsConnector,
    options: Options,
) -> Result<(WebSocketConnection<tokio_rustls::client::TlsStream<TcpStream>>, Box<Opened>), OpenError> {
    use duologue_async::{ConnectError, Dial};
    use duologue_core::{FaultKind, Operation, TransportFault};

    let uri = handshake::Uri::parse(uri)?;
    if !uri.secure {
        return Err(handshake::UriError::Scheme.into());
    }
    let deadline = tokio::time::Instant::now() + options.connect_within;
    let timed_out = |doing| ConnectError::TimedOut { after: options.connect_within, doing };
    let failed = |error: &std::io::Error| ConnectError::Transport(crate::fault(error, Operation::Connect));
    let name = tokio_rustls::rustls::pki_types::ServerName::try_from(uri.host.clone())
        .map_err(|_| handshake::UriError::Host)?;
    let dialled = <StreamTransport<TcpStream> as Dial<_>>::dial((uri.host, uri.port), &options);
    let transport = tokio::time::timeout_at(deadline, dialled).await.map_err(|_| timed_out("connecting"))?;
    let stream = transport.map_err(ConnectError::Transport)?.into_stream();
    let stream = stream.ok_or(ConnectError::Transport(TransportFault::new(FaultKind::Other, Operation::Connect)))?;
    let secured = tokio::time::timeout_at(deadline, tls.connect(name, stream)).await;
    let stream = secured.map_err(|_| timed_out("opening TLS"))?.map_err(|e| failed(&e))?;
    let opening = open(stream, ClientHandshake::new(uri.authority, uri.target), &options);
    tokio::time::timeout_at(deadline, opening).await.map_err(|_| timed_out("opening the protocol"))?
}
