//! WebSockets on threads: client and server, alone or behind TLS. Each call waits on the thread that makes it.

use std::sync::Arc;

use duologue_async::websocket as neutral;

use crate::{
    ByteStream, Clock, Options, ReconnectOptions, Reconnecting, StreamConnection, StreamTransport, TcpStream, wait,
};

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

/// A client that connects again whenever its connection ends; see [`Reconnecting`]. `address` is `host:port`.
///
/// # Errors
/// The request cannot be asked, or the pauses cannot work; nothing was tried. What fails later is an event.
pub fn reconnecting(
    address: impl std::fmt::Display,
    handshake: ClientHandshake,
    options: ReconnectOptions,
) -> Result<Reconnecting<WebSocket>, OpenError> {
    neutral::reconnecting(address, handshake, options).map(Reconnecting::from_inner)
}

/// Connects to a `wss://` address over TLS: connecting, the TLS handshake and the opening all within
/// [`Options::connect_within`].
///
/// # Errors
/// See [`OpenError`]; what TLS refuses is a fault of the transport.
#[cfg(feature = "rustls")]
pub fn connect_tls(
    uri: &str,
    tls: crate::TlsConnector,
    options: Options,
) -> Result<(WebSocketConnection<crate::TlsStream<TcpStream>>, Box<Opened>), OpenError> {
    let ((host, port), handshake) = secure(uri)?;
    let target = crate::TlsTarget::new(host, port, tls).map_err(|_| handshake::UriError::Host)?;
    connect_tls_to(target, handshake, options)
}

/// Connects to a TLS server and asks for what `handshake` says, in time as [`connect_tls`].
///
/// # Errors
/// See [`OpenError`].
#[cfg(feature = "rustls")]
pub fn connect_tls_to(
    target: crate::TlsTarget,
    handshake: ClientHandshake,
    options: Options,
) -> Result<(WebSocketConnection<crate::TlsStream<TcpStream>>, Box<Opened>), OpenError> {
    type Secure = StreamTransport<crate::TlsStream<TcpStream>>;
    let (inner, opened) = wait(neutral::connect::<_, Secure, Clock>(target, handshake, options))?;
    Ok((StreamConnection::from_inner(inner), opened))
}

/// A WebSocket client over TLS that connects again whenever its connection ends.
#[cfg(feature = "rustls")]
pub type SecureReconnecting = Reconnecting<WebSocket, StreamTransport<crate::TlsStream<TcpStream>>>;

/// As [`reconnecting`], over TLS: each attempt dials, opens TLS and asks anew.
///
/// # Errors
/// As [`reconnecting`].
#[cfg(feature = "rustls")]
pub fn reconnecting_tls(
    target: crate::TlsTarget,
    handshake: ClientHandshake,
    options: ReconnectOptions,
) -> Result<SecureReconnecting, OpenError> {
    type Secure = StreamTransport<crate::TlsStream<TcpStream>>;
    let address = target.to_string();
    let dial = move |protocol, options| -> duologue_async::Dialling<WebSocket, Secure> {
        Box::pin(duologue_async::Connection::connect(target.clone(), protocol, options))
    };
    neutral::reconnecting_by(address, dial, handshake, options).map(Reconnecting::from_inner)
}
