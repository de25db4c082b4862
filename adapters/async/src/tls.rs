//! Why TLS did not come about, and with the feature `rustls` what the adapters ask of it alike.

use duologue_core::TransportFault;
use thiserror::Error;

/// A connection that TLS was not opened on, or not as it was wanted. Nothing of the application was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Nobody said whom to trust.
    #[error("TLS needs a connector: enable the adapter's feature `rustls` and make the client by `with_tls`")]
    NoConnector,
    /// The host is neither a domain name nor an address.
    #[error("no certificate can be for the host {host:?}: it takes a domain name or an IP address")]
    Name {
        /// The host.
        host: String,
    },
    /// The server's certificate is for another host, expired, or from somebody whom the connector does not trust.
    #[error("the certificate of {host} was refused: {why}")]
    Certificate {
        /// The host.
        host: String,
        /// What is wrong with it, in rustls' words.
        why: String,
    },
    /// The server and the connector agreed on a protocol (ALPN, RFC 7301) that is not spoken here.
    #[error("{host} agreed to speak {agreed:?}, not {wanted:?}: offer no other in ClientConfig::alpn_protocols")]
    Protocol {
        /// The host.
        host: String,
        /// What was agreed on.
        agreed: String,
        /// What is spoken here.
        wanted: &'static str,
    },
    /// The TCP connection ended meanwhile.
    #[error("the connection to {host} ended while TLS was opened: {fault}")]
    Transport {
        /// The host.
        host: String,
        /// How it ended.
        fault: TransportFault,
    },
    /// Anything else that one side refused: a version, a missing client certificate.
    #[error("TLS with {host} failed: {why}")]
    Handshake {
        /// The host.
        host: String,
        /// What happened, in rustls' words.
        why: String,
    },
}

#[cfg(feature = "rustls")]
pub use with_rustls::{is_quiet_over_tls, opened, opening_failed, server_name};

#[cfg(feature = "rustls")]
mod with_rustls {
    use std::io;

    use duologue_core::Operation;
    use rustls::ClientConnection;
    use rustls::pki_types::ServerName;
    use socket2::{SockRef, Socket};

    use super::TlsError;
    use crate::fault;

    /// Reads of a connection that is to be found quiet. What a server says unasked after its handshake (session tickets,
    /// new keys) fits in one or two; who goes on and on is not quiet.
    const READS: usize = 8;

    /// The name that the certificate of `host` must be for: a domain name, or an address, in brackets or without.
    ///
    /// # Errors
    /// [`TlsError::Name`].
    pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match ServerName::try_from(bare) {
            Ok(name) => Ok(name.to_owned()),
            Err(_) => Err(TlsError::Name { host: host.into() }),
        }
    }

    /// What a handshake with `host` failed at.
    #[must_use]
    pub fn opening_failed(host: &str, error: &io::Error) -> TlsError {
        let host = host.into();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(why)) => TlsError::Certificate { host, why: why.to_string() },
            Some(error) => TlsError::Handshake { host, why: error.to_string() },
            None => TlsError::Transport { host, fault: fault(error, Operation::Connect) },
        }
    }

    /// Whether the handshake is over. With early data (0-RTT) it is not, and what is sent then may reach the server twice
    /// (RFC 8446, section 8): nothing here is made for that.
    ///
    /// # Errors
    /// [`TlsError::Handshake`].
    pub fn opened(host: &str, connection: &ClientConnection) -> Result<(), TlsError> {
        if connection.is_handshaking() {
            return Err(TlsError::Handshake { host: host.into(), why: "early data cannot be used here".into() });
        }
        Ok(())
    }

    /// Whether nothing waits to be read over TLS: no content, no `close_notify`, no FIN, no error; what this moment is with
    /// the kernel included. What belongs to TLS alone, session tickets for one, is taken in and is nothing.
    ///
    /// It reads from the socket itself and not through the runtime, which may not have heard yet of what is there already.
    #[must_use]
    pub fn is_quiet_over_tls<S>(connection: &mut ClientConnection, socket: &S) -> bool
    where
        for<'s> SockRef<'s>: From<&'s S>,
    {
        let socket = SockRef::from(socket);
        let mut socket: &Socket = &socket;
        for _ in 0..READS {
            let Ok(state) = connection.process_new_packets() else { return false };
            if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
                return false;
            }
            match connection.read_tls(&mut socket) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }
}
