//! The functions that open WebSockets, written once for every asynchronous adapter.

/// Defines what the module `websocket` of an adapter has beside everything of `duologue_async::websocket`:
/// `WebSocketConnection`, `connect`, `connect_to`, `open`, `accept`, `accept_stream`, `reconnecting`; and with the adapter's
/// feature `rustls` `connect_tls`, `connect_tls_to`, `reconnecting_tls` and `SecureReconnecting`.
///
/// It is called with the runtime's TCP socket. The calling crate has at its root `ByteStream`, `StreamTransport`,
/// `StreamConnection`, `AsIs`, `Clock`, `Options` and `Reconnecting`; for TLS also `TlsConnector`, `TlsStream` and `TlsTarget`.
#[macro_export]
#[allow(clippy::crate_in_macro_def, reason = "the adapter's own types are meant")]
macro_rules! websocket_openings {
    ($tcp:ty) => {
        use std::sync::Arc;

        use $crate::websocket as neutral;

        #[doc(inline)]
        pub use $crate::websocket::*;

        /// A WebSocket over TCP, or over another [`ByteStream`](crate::ByteStream).
        pub type WebSocketConnection<S = $tcp> = crate::StreamConnection<WebSocket, S>;

        /// Connects to a `ws://` address. For header fields, subprotocols or compression see [`connect_to`]; for `wss://`
        /// see `connect_tls` (feature `rustls`), or open TLS first and then [`open`].
        ///
        /// # Errors
        /// See [`OpenError`]; a `wss://` address is an error of the scheme here.
        pub async fn connect(
            uri: &str,
            options: crate::Options,
        ) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
            let ((host, port), handshake) = plain(uri)?;
            connect_to((host.as_str(), port), handshake, options).await
        }

        /// Connects to `address`, a host and port or what else the runtime dials, and asks for what `handshake` says.
        ///
        /// # Errors
        /// See [`OpenError`].
        pub async fn connect_to<A>(
            address: A,
            handshake: ClientHandshake,
            options: crate::Options,
        ) -> Result<(WebSocketConnection, Box<Opened>), OpenError>
        where
            crate::StreamTransport<$tcp>: $crate::Dial<A, Clock = crate::Clock>,
        {
            neutral::connect::<A, crate::StreamTransport<$tcp>, crate::Clock>(address, handshake, options).await
        }

        /// Asks for a WebSocket over a connected stream: TLS, a proxy, a Unix socket.
        ///
        /// # Errors
        /// See [`OpenError`].
        pub async fn open<S: crate::ByteStream>(
            stream: S,
            handshake: ClientHandshake,
            options: &crate::Options,
        ) -> Result<(WebSocketConnection<S>, Box<Opened>), OpenError> {
            neutral::open::<_, crate::StreamTransport<S>, crate::Clock>(crate::AsIs(stream), handshake, options).await
        }

        /// Waits for a request on an accepted TCP stream, and answers it.
        ///
        /// # Errors
        /// See [`OpenError`].
        pub async fn accept(
            stream: $tcp,
            handshake: impl Into<Arc<ServerHandshake>>,
            options: &crate::Options,
        ) -> Result<(WebSocketConnection, Box<Opened>), OpenError> {
            neutral::accept::<_, crate::StreamTransport<$tcp>, crate::Clock>(stream, handshake, options).await
        }

        /// As [`accept`], over any stream: TLS, a Unix socket.
        ///
        /// # Errors
        /// See [`OpenError`].
        pub async fn accept_stream<S: crate::ByteStream>(
            stream: S,
            handshake: impl Into<Arc<ServerHandshake>>,
            options: &crate::Options,
        ) -> Result<(WebSocketConnection<S>, Box<Opened>), OpenError> {
            neutral::accept::<_, crate::StreamTransport<S>, crate::Clock>(crate::AsIs(stream), handshake, options).await
        }

        /// A client that connects again whenever its connection ends; see [`Reconnecting`](crate::Reconnecting).
        /// `address` is `host:port`.
        ///
        /// # Errors
        /// The request cannot be asked, or the pauses cannot work; nothing was tried. What fails later is an event.
        pub fn reconnecting(
            address: impl std::fmt::Display,
            handshake: ClientHandshake,
            options: $crate::ReconnectOptions,
        ) -> Result<crate::Reconnecting<WebSocket>, OpenError> {
            neutral::reconnecting(address, handshake, options)
        }

        /// Connects to a `wss://` address over TLS: connecting, the TLS handshake and the opening all within
        /// [`Options::connect_within`](crate::Options::connect_within).
        ///
        /// # Errors
        /// See [`OpenError`]; what TLS refuses is a fault of the transport.
        #[cfg(feature = "rustls")]
        pub async fn connect_tls(
            uri: &str,
            tls: crate::TlsConnector,
            options: crate::Options,
        ) -> Result<(WebSocketConnection<crate::TlsStream<$tcp>>, Box<Opened>), OpenError> {
            let ((host, port), handshake) = secure(uri)?;
            let target = crate::TlsTarget::new(host, port, tls).map_err(|_| handshake::UriError::Host)?;
            connect_tls_to(target, handshake, options).await
        }

        /// Connects to a TLS server and asks for what `handshake` says, in time as [`connect_tls`].
        ///
        /// # Errors
        /// See [`OpenError`].
        #[cfg(feature = "rustls")]
        pub async fn connect_tls_to(
            target: crate::TlsTarget,
            handshake: ClientHandshake,
            options: crate::Options,
        ) -> Result<(WebSocketConnection<crate::TlsStream<$tcp>>, Box<Opened>), OpenError> {
            neutral::connect::<_, crate::StreamTransport<crate::TlsStream<$tcp>>, crate::Clock>(
                target, handshake, options,
            )
            .await
        }

        /// A WebSocket client over TLS that connects again whenever its connection ends.
        #[cfg(feature = "rustls")]
        pub type SecureReconnecting = $crate::Reconnecting<WebSocket, crate::StreamTransport<crate::TlsStream<$tcp>>>;

        /// As [`reconnecting`], over TLS: each attempt dials, opens TLS and asks anew.
        ///
        /// # Errors
        /// As [`reconnecting`].
        #[cfg(feature = "rustls")]
        pub fn reconnecting_tls(
            target: crate::TlsTarget,
            handshake: ClientHandshake,
            options: $crate::ReconnectOptions,
        ) -> Result<SecureReconnecting, OpenError> {
            let address = target.to_string();
            type Secure = crate::StreamTransport<crate::TlsStream<$tcp>>;
            let dial = move |protocol, options| -> $crate::Dialling<WebSocket, Secure> {
                Box::pin(crate::StreamConnection::connect(target.clone(), protocol, options))
            };
            neutral::reconnecting_by(address, dial, handshake, options)
        }
    };
}
