//! WebSockets on threads: client and server, alone or behind TLS. Each call waits on the thread that makes it.

use std::sync::Arc;

use duologue_async::websocket as neutral;

use crate::{ByteStream, Clock, Options, StreamConnection, StreamTransport, TcpStream, wait};

#[doc(inline)]
pub use duologue_async::websocket::*;

/// A WebSocket over TCP, or over another [`ByteStream`].
pub type WebSocketConnection<S = TcpStream> = StreamConnection<WebSocket, S>;

/// Connects to a `ws://` address. For header fields, subprotocols or compression see [`connect_to`]; for `wss://` open
/// TLS first, then see [`open`].
///
/// # Errors
/// See [`OpenError`]; a `wss://` address is an error of the scheme here.
pub fn connect(uri: &str, options: Options) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
    let ((host, port), handshake) = plain(uri)?;
    connect_to((&host, port), handshake, options)
}

/// Connects to a host and port and asks for what `handshake` says.
///
/// # Errors
/// See [`OpenError`].
pub fn connect_to(
    address: (&str, u16),
    handshake: ClientHandshake,
    options: Options,
) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
    let (inner, opened) =
        wait(neutral::connect::<(&str, u16), StreamTransport<TcpStream>, Clock>(address, handshake, options))?;
    Ok((StreamConnection::from_inner(inner), opened))
}

/// Asks for a WebSocket over a connected stream: TLS, a proxy, a Unix socket.
///
/// # Errors
/// See [`OpenError`].
pub fn open<S: ByteStream>(
    stream: S,
    handshake: ClientHandshake,
    options: &Options,
) -> Result<(WebSocketConnection<S>, Box<Opened>), OpenError> {
    let (inner, opened) = wait(neutral::open::<_, StreamTransport<S>, Clock>(crate::AsIs(stream), handshake, options))?;
    Ok((StreamConnection::from_inner(inner), opened))
}

/// Waits for a request on an accepted TCP stream, and answers it.
///
/// # Errors
/// See [`OpenError`].
pub fn accept(
    stream: std::net::TcpStream,
    handshake: impl Into<Arc<ServerHandshake>>,
    options: &Options,
) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
    let (inner, opened) = wait(neutral::accept::<_, StreamTransport<TcpStream>, Clock>(stream, handshake, options))?;
    Ok((StreamConnection::from_inner(inner), opened))
}

/// As [`accept`], over any stream: TLS, a Unix socket.
///
/// # Errors
/// See [`OpenError`].
pub fn accept_stream<S: ByteStream>(
    stream: S,
    handshake: impl Into<Arc<ServerHandshake>>,
    options: &Options,
) -> Result<(WebSocketConnection<S>, Box<Opened>), OpenError> {
    let (inner, opened) =
        wait(neutral::accept::<_, StreamTransport<S>, Clock>(crate::AsIs(stream), handshake, options))?;
    Ok((StreamConnection::from_inner(inner), opened))
}
