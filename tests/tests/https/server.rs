//! A TLS server that says byte for byte what a test wants, and when: rustls by hand, on plain threads and sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore, ServerConfig, ServerConnection};

use super::peer::{Listener, STEP};

/// A server's configuration with a certificate made for these names, and a client's that trusts it.
pub(crate) fn configured(names: &[&str]) -> (ServerConfig, ClientConfig) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (server.expect("a server configuration"), client)
}

/// A client, once the handshake is done.
pub(crate) struct Secure {
    pub(crate) tls: ServerConnection,
    pub(crate) stream: TcpStream,
    got: Vec<u8>,
}

/// How a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With `close_notify`.
    Notified,
    /// With a FIN alone.
    Cut,
    Reset,
}

/// Accepts the next client, over TLS.
pub(crate) fn accept(listener: &mut Listener, config: &Arc<ServerConfig>) -> Secure {
    secure(listener.accept().stream, config).expect("a handshake")
}

/// Opens TLS on what was accepted. What the server says of itself after the handshake (tickets) waits for the first
/// [`flush`](Secure::flush).
pub(crate) fn secure(stream: TcpStream, config: &Arc<ServerConfig>) -> Result<Secure, Error> {
    let mut tls = ServerConnection::new(Arc::clone(config)).expect("a configuration that works");
    let mut stream = stream;
    while tls.is_handshaking() {
        if tls.wants_write() {
            tls.write_tls(&mut stream).map_err(|e| Error::General(e.to_string()))?;
        } else if tls.read_tls(&mut stream).map_err(|e| Error::General(e.to_string()))? == 0 {
            return Err(Error::General("the client left".into()));
        } else if let Err(error) = tls.process_new_packets() {
            let _ = tls.write_tls(&mut stream);
            return Err(error);
        }
    }
    Ok(Secure { tls, stream, got: Vec::new() })
}

impl Secure {
    /// A request's head.
    pub(crate) fn head(&mut self) -> String {
        self.read_up_to(b"\r\n\r\n")
    }

    /// All that comes up to and with `end`; what is behind it stays for later.
    pub(crate) fn read_up_to(&mut self, end: &[u8]) -> String {
        let mut seen = 0;
        loop {
            if let Some(at) = self.got[seen..].windows(end.len()).position(|window| window == end) {
                let rest = self.got.split_off(seen + at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.got, rest)).expect("text");
            }
            seen = self.got.len().saturating_sub(end.len() - 1);
            assert_eq!(self.read(), None, "the client ended: {:?}", self.got.escape_ascii().to_string());
        }
    }

    /// All that comes up to the client's end, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.read() {
                return (std::mem::take(&mut self.got), end);
            }
        }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.tls.writer().write_all(text.as_bytes()).expect("room");
        self.flush();
    }

    /// An answer with this content.
    pub(crate) fn answer(&mut self, content: &str) {
        self.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len()));
    }

    /// Writes what TLS has to say.
    pub(crate) fn flush(&mut self) {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream).expect("writable");
        }
    }

    /// Says `close_notify`, and nothing else: the socket stays open.
    pub(crate) fn notify(&mut self) {
        self.tls.send_close_notify();
        self.flush();
    }

    /// FIN, with nothing of TLS before it: somebody in between could have done that.
    pub(crate) fn cut(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("a FIN");
    }

    /// Takes what came, reading if nothing did; tells the end if it has come. The handshake may have read more than its own.
    fn read(&mut self) -> Option<End> {
        let mut state = self.tls.process_new_packets().expect("TLS");
        if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() {
            match self.tls.read_tls(&mut self.stream) {
                Ok(0) => return Some(End::Cut),
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {
                    return Some(End::Reset);
                }
                Err(e) => panic!("reading, within {STEP:?}: {e}"),
            }
            state = self.tls.process_new_packets().expect("TLS");
        }
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        self.tls.reader().read_exact(&mut plain).expect("all that came");
        self.got.extend_from_slice(&plain);
        (plain.is_empty() && state.peer_has_closed()).then_some(End::Notified)
    }
}
