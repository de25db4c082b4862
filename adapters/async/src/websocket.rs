//! Opening WebSockets on any runtime, and everything of [`duologue_websocket`].
//!
//! Adapters name the transport and the clock away; see `duologue_tokio::websocket` for a worked example.

use std::sync::Arc;

use duologue_core::Event as SessionEvent;
use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::reconnect::BackoffError;
use thiserror::Error;

use crate::{
    Adopt, Carrier, ConnectError, Connection, Dial, Dialling, Options, ReconnectOptions, Reconnecting, Redial,
};

#[doc(inline)]
pub use duologue_websocket::*;

use duologue_websocket::handshake::{HandshakeError, Uri, UriError};

/// A WebSocket that did not come about. Nothing of it is left.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is none.
    #[error("not the address of a WebSocket: {0}")]
    Uri(#[from] UriError),
    /// What was to be asked cannot be asked; nothing was sent.
    #[error("not a request: {0}")]
    Request(#[source] HandshakeError),
    /// The pauses between attempts cannot work; nothing was tried.
    #[error(transparent)]
    Pauses(#[from] BackoffError),
    /// Connecting or the handshake failed.
    #[error(transparent)]
    Connect(#[from] ConnectError<Violation>),
}

impl OpenError {
    /// What was wrong with the handshake, if it was that: the status of a server that refused, for instance.
    #[must_use]
    pub fn handshake(&self) -> Option<&HandshakeError> {
        match self {
            Self::Request(error) => Some(error),
            Self::Connect(ConnectError::Closed(closed)) => match &closed.cause {
                duologue_core::Cause::Violation(Violation::Handshake(error)) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Where a `ws://` address leads, host and port, and the request for what it names.
///
/// # Errors
/// See [`OpenError`]; a `wss://` address is an error of the scheme here, for TLS is opened by who has the means.
pub fn plain(uri: &str) -> Result<((String, u16), ClientHandshake), OpenError> {
    leads_to(uri, false)
}

/// As [`plain`], of a `wss://` address: what answers there is TLS.
///
/// # Errors
/// See [`OpenError`]; a `ws://` address is an error of the scheme here.
pub fn secure(uri: &str) -> Result<((String, u16), ClientHandshake), OpenError> {
    leads_to(uri, true)
}

fn leads_to(uri: &str, secure: bool) -> Result<((String, u16), ClientHandshake), OpenError> {
    let uri = Uri::parse(uri)?;
    if uri.secure != secure {
        return Err(UriError::Scheme.into());
    }
    Ok(((uri.host, uri.port), ClientHandshake::new(uri.authority, uri.target)))
}

/// Connects to `address` and asks for a WebSocket, all within [`Options::connect_within`]. Gives the connection and what
/// was agreed on. The limits and the order of closing are widened to what the settings need.
///
/// # Errors
/// See [`OpenError`].
pub async fn connect<A, T, K>(
    address: A,
    handshake: ClientHandshake,
    options: Options,
) -> Result<(Connection<WebSocket, T, K>, Box<Opened>), OpenError>
where
    T: Dial<A, Clock = K>,
    K: Timekeeper + Clone,
{
    let options = fitted(options, handshake.current_settings(), Role::Client);
    let protocol = WebSocket::client(handshake).map_err(OpenError::Request)?;
    let mut connection = Connection::connect(address, protocol, options).await?;
    let opened = opened(&mut connection).await?;
    Ok((connection, opened))
}

/// As [`connect`], over a stream that is connected already: TLS, a proxy, memory. The handshake has
/// [`Timeouts::handshake`](duologue_core::Timeouts::handshake).
///
/// # Errors
/// See [`OpenError`].
pub async fn open<S, T, K>(
    stream: S,
    handshake: ClientHandshake,
    options: &Options,
) -> Result<(Connection<WebSocket, T, K>, Box<Opened>), OpenError>
where
    T: Adopt<S, Clock = K>,
    K: Timekeeper + Clone,
{
    let options = fitted(options.clone(), handshake.current_settings(), Role::Client);
    let protocol = WebSocket::client(handshake).map_err(OpenError::Request)?;
    let mut connection = Connection::accept(stream, protocol, &options).map_err(OpenError::Connect)?;
    let opened = opened(&mut connection).await?;
    Ok((connection, opened))
}

/// Waits for the request on a connected stream and answers it, within
/// [`Timeouts::handshake`](duologue_core::Timeouts::handshake). A request that is refused was answered when this fails.
///
/// # Errors
/// See [`OpenError`].
pub async fn accept<S, T, K>(
    stream: S,
    handshake: impl Into<Arc<ServerHandshake>>,
    options: &Options,
) -> Result<(Connection<WebSocket, T, K>, Box<Opened>), OpenError>
where
    T: Adopt<S, Clock = K>,
    K: Timekeeper + Clone,
{
    let handshake = handshake.into();
    let options = fitted(options.clone(), handshake.settings(), Role::Server);
    let mut connection = Connection::accept(stream, WebSocket::server(handshake), &options)?;
    let opened = opened(&mut connection).await?;
    Ok((connection, opened))
}

/// A client of `address` (`host:port`) that asks anew on every connection. Each brings [`Event::Opened`] first; only what
/// comes after it proves a connection useful, so that a server that opens and drops is not dialled at full speed.
///
/// # Errors
/// The request cannot be asked, or the pauses cannot work; nothing was tried. What fails later is an event.
pub fn reconnecting<R: Redial>(
    address: impl std::fmt::Display,
    handshake: ClientHandshake,
    options: ReconnectOptions,
) -> Result<Reconnecting<WebSocket, R>, OpenError> {
    let target: Arc<str> = address.to_string().into();
    reconnecting_by(address, move |protocol, options| R::connect(target.clone(), protocol, options), handshake, options)
}

/// As [`reconnecting`], where `dial` makes each connection: through TLS, a proxy. See [`Reconnecting::dialled_by`].
///
/// # Errors
/// As [`reconnecting`].
pub fn reconnecting_by<R: Carrier>(
    address: impl std::fmt::Display,
    dial: impl FnMut(WebSocket, Options) -> Dialling<WebSocket, R> + Send + 'static,
    handshake: ClientHandshake,
    mut options: ReconnectOptions,
) -> Result<Reconnecting<WebSocket, R>, OpenError> {
    options.connection = fitted(options.connection, handshake.current_settings(), Role::Client);
    let checked = handshake.checked().map_err(OpenError::Request)?;
    let client = Reconnecting::dialled_by(address, dial, move |_| checked.clone().into(), options)?;
    Ok(client.useful_if(|event| !matches!(event, Event::Opened(_))))
}

/// `options` with room for what the settings need, and the order of closing that RFC 6455 section 7.1.1 wants; see
/// [`Settings::config`].
#[must_use]
pub fn fitted(options: Options, settings: &Settings, role: Role) -> Options {
    let config = settings.config(role, (*options.config).clone());
    options.config(config)
}

/// The first event: what was agreed on. `Writable` may come before it.
async fn opened<T: Transport, K: Timekeeper>(
    connection: &mut Connection<WebSocket, T, K>,
) -> Result<Box<Opened>, ConnectError<Violation>> {
    loop {
        match connection.next_event().await {
            Some(SessionEvent::App(Event::Opened(opened))) => return Ok(opened),
            Some(SessionEvent::Closed(closed)) => return Err(ConnectError::Closed(closed)),
            Some(_) => {}
            None => return Err(ConnectError::Closed(connection.closed().await)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_lead_somewhere_and_those_of_tls_do_not() {
        let (address, handshake) = plain("ws://[::1]:9/x?y").expect("an address");
        assert_eq!((address, handshake.host()), ((String::from("::1"), 9), "[::1]:9"));
        assert!(matches!(plain("wss://h/"), Err(OpenError::Uri(UriError::Scheme))));
        assert!(matches!(plain("ws://h/#f"), Err(OpenError::Uri(UriError::Fragment))));
    }
}
