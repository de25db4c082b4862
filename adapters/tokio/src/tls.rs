//! TLS of tokio-rustls, dialled.

use std::fmt;

use duologue_async::{Dial, Options, fault};
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
