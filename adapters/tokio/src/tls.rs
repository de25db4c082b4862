//! TLS of tokio-rustls, dialled. Its twin is in `duologue-futures-io` (decision 0090).

use std::fmt;

use duologue_async::{
    Dial, OpenTls, Opening, Options, TlsError, fault, is_quiet_over_tls, opened, opening_failed, server_name,
};
use duologue_core::{FaultKind, Operation, TransportFault};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

pub use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;

use crate::clock::Clock;
use crate::transport::StreamTransport;

/// A TLS server to dial: over TCP, by its name.
#[derive(Clone)]
pub struct TlsTarget {
    host: String,
    port: u16,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl TlsTarget {
    /// A server at this host (a name, or an address without brackets) and port, whose certificate is for that host.
    ///
    /// # Errors
    /// The host can be no certificate's.
    pub fn new(host: impl Into<String>, port: u16, connector: TlsConnector) -> Result<Self, InvalidDnsNameError> {
        let host = host.into();
        Ok(Self { name: ServerName::try_from(host.clone())?, host, port, connector })
    }
}

impl fmt::Display for TlsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for TlsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsTarget").field(&format_args!("{self}")).finish()
    }
}

impl Dial<TlsTarget> for StreamTransport<TlsStream<TcpStream>> {
    type Clock = Clock;

    const DOING: &'static str = "connecting or opening TLS";

    fn clock() -> Clock {
        Clock::new()
    }

    async fn dial(target: TlsTarget, options: &Options) -> Result<Self, TransportFault> {
        let dialled = <StreamTransport<TcpStream> as Dial<String>>::dial(target.to_string(), options).await?;
        let gone = TransportFault::new(FaultKind::Other, Operation::Connect);
        let stream = dialled.into_stream().ok_or(gone)?;
        let secured = target.connector.connect(target.name, stream).await;
        secured.map(Self::new).map_err(|e| fault(&e, Operation::Connect))
    }
}

/// TLS of tokio-rustls over the runtime's TCP: what a [`PlainOrTls`](duologue_async::PlainOrTls) opens. Nothing holds one.
#[derive(Clone, Copy, Debug)]
pub enum Rustls {}

impl OpenTls<StreamTransport<TcpStream>> for Rustls {
    type Connector = TlsConnector;
    type Transport = StreamTransport<TlsStream<TcpStream>>;

    fn check_host(host: &str) -> Result<(), TlsError> {
        server_name(host).map(drop)
    }

    fn open(
        transport: StreamTransport<TcpStream>,
        host: String,
        connector: TlsConnector,
    ) -> Opening<Self::Transport, TlsError> {
        Box::pin(async move {
            let name = server_name(&host)?;
            let gone = TransportFault::new(FaultKind::Other, Operation::Connect);
            let stream =
                transport.into_stream().ok_or_else(|| TlsError::Transport { host: host.clone(), fault: gone })?;
            let stream = connector.connect(name, stream).await.map_err(|e| opening_failed(&host, &e))?;
            opened(&host, stream.get_ref().1)?;
            Ok(StreamTransport::new(stream))
        })
    }

    fn agreed(transport: &Self::Transport) -> Option<&[u8]> {
        transport.stream()?.get_ref().1.alpn_protocol()
    }

    fn is_quiet(transport: &mut Self::Transport) -> bool {
        transport.stream_mut().is_some_and(|stream| {
            let (socket, connection) = stream.get_mut();
            is_quiet_over_tls(connection, socket)
        })
    }
}
