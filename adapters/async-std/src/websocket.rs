//! WebSockets on async-std: client and server, alone or behind TLS.

use std::sync::Arc;

use async_std::net::TcpStream;
use duologue_async::websocket as neutral;

use crate::{ByteStream, Clock, Options, StreamConnection, StreamTransport};

#[doc(inline)]
pub use duologue_async::websocket::*;

/// A WebSocket over TCP, or over another [`ByteStream`].
pub type WebSocketConnection<S = TcpStream> = StreamConnection<WebSocket, S>;

/// Connects to a `ws://` address. For header fields, subprotocols or compression see [`connect_to`]; for `wss://` open
/// TLS first, then see [`open`].
///
/// # Errors
/// See [`OpenError`]; a `wss://` address is an error of the scheme here.
pub async fn connect(uri: &str, options: Options) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
    let ((host, port), handshake) = plain(uri)?;
    connect_to((&host, port), handshake, options).await
}

/// Connects to a host and port and asks for what `handshake` says.
///
/// # Errors
/// See [`OpenError`].
pub async fn connect_to(
    address: (&str, u16),
    handshake: ClientHandshake,
    options: Options,
) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
    neutral::connect::<(&str, u16), StreamTransport<TcpStream>, Clock>(address, handshake, options).await
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
