//! TLS over the sockets of the futures-io adapters: half-close by `close_notify` and FIN, and truncation without them.

use std::sync::Arc;

use bytes::Bytes;
use duologue_core::{Cause, Event};
use duologue_smol::{AsIs, Options, StreamConnection};
use duologue_tests::sockets::frames;
use futures_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use futures_rustls::{TlsAcceptor, TlsConnector};

fn configured() -> (TlsConnector, TlsAcceptor, ServerName<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let acceptor = TlsAcceptor::from(Arc::new(server.expect("a server configuration")));
    (TlsConnector::from(Arc::new(client)), acceptor, ServerName::try_from("localhost").expect("a name"))
}

macro_rules! on {
    ($runtime:ident, $run:path, $tcp:ty) => {
        mod $runtime {
            use super::*;

            /// Both ends of a TLS connection.
            macro_rules! pair {
                () => {{
                    let (connector, acceptor, name) = configured();
                    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                    let dialled = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                    let accepted = listener.accept().unwrap().0;
                    let (ours, theirs) = (<$tcp>::try_from(dialled).unwrap(), <$tcp>::try_from(accepted).unwrap());
                    futures_util::try_join!(connector.connect(name, ours), acceptor.accept(theirs)).unwrap()
                }};
            }

            #[test]
            fn half_close_in_both_orders_is_clean() {
                $run(async {
                    for client_first in [true, false] {
                        let (client, server) = pair!();
                        let mut client = StreamConnection::accept(AsIs(client), frames(), &Options::new()).unwrap();
                        let mut server = StreamConnection::accept(AsIs(server), frames(), &Options::new()).unwrap();
                        client.send(Bytes::from_static(b"from the client")).await.unwrap();
                        server.send(Bytes::from_static(b"from the server")).await.unwrap();
                        if client_first {
                            client.finish();
                        } else {
                            server.finish();
                        }
                        let (ours, theirs) = futures_util::join!(
                            async { (client.next_event().await, client.next_event().await, client.closed().await) },
                            async { (server.next_event().await, server.next_event().await, server.closed().await) },
                        );
                        assert_eq!(ours.0, Some(Event::App(Bytes::from_static(b"from the server"))));
                        assert_eq!(theirs.0, Some(Event::App(Bytes::from_static(b"from the client"))));
                        assert_eq!((ours.1, theirs.1), (Some(Event::PeerFinished), Some(Event::PeerFinished)));
                        let (first, second) = if client_first { (ours.2, theirs.2) } else { (theirs.2, ours.2) };
                        assert_eq!((first.cause, second.cause), (Cause::LocalFinished, Cause::PeerFinished));
                    }
                });
            }

            #[test]
            fn an_end_without_close_notify_is_truncation() {
                $run(async {
                    let (client, server) = pair!();
                    let mut server = StreamConnection::accept(AsIs(server), frames(), &Options::new()).unwrap();
                    client.get_ref().0.shutdown(std::net::Shutdown::Write).unwrap();
                    assert_eq!(server.closed().await.cause, Cause::Truncated { missing: None });
                });
            }
        }
    };
}

on!(on_smol, smol::block_on, smol::net::TcpStream);
on!(on_async_std, async_std::task::block_on, async_std::net::TcpStream);
