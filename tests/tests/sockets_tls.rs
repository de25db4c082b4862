//! Sessions over TLS: half-close by close_notify, and truncation without it.

use std::sync::Arc;

use bytes::Bytes;
use duologue_core::{Cause, Code, Event};
use duologue_tests::sockets::*;
use duologue_tokio::{AsIs, Options, StreamConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Both sides of TLS with a certificate made for it.
fn tls() -> (TlsConnector, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let acceptor = TlsAcceptor::from(Arc::new(server.expect("a server configuration")));
    (TlsConnector::from(Arc::new(client)), acceptor)
}

/// Two ends of a TLS connection: the dialling one first.
async fn tls_pair() -> (client::TlsStream<TcpStream>, server::TlsStream<TcpStream>) {
    let (connector, acceptor) = tls();
    let (dialled, accepted) = tcp_pair().await;
    let name = ServerName::try_from("localhost").expect("a name");
    let (client, server) =
        step("the TLS handshake", async { tokio::join!(connector.connect(name, dialled), acceptor.accept(accepted)) })
            .await;
    (client.expect("connected"), server.expect("accepted"))
}

#[tokio::test]
async fn half_close_in_both_orders_is_clean() {
    for client_first in [true, false] {
        let (client, server) = tls_pair().await;
        let mut client = StreamConnection::accept(AsIs(client), frames(), &Options::new()).unwrap();
        let mut server = StreamConnection::accept(AsIs(server), frames(), &Options::new()).unwrap();
        client.send(Bytes::from_static(b"from the client")).await.unwrap();
        server.send(Bytes::from_static(b"from the server")).await.unwrap();
        if client_first {
            client.finish()
        } else {
            server.finish()
        }
        let (ours, theirs) = step("both ends", async {
            tokio::join!(
                async { (client.next_event().await, client.next_event().await, client.closed().await) },
                async { (server.next_event().await, server.next_event().await, server.closed().await) },
            )
        })
        .await;
        assert_eq!(ours.0, Some(Event::App(Bytes::from_static(b"from the server"))));
        assert_eq!(theirs.0, Some(Event::App(Bytes::from_static(b"from the client"))));
        assert_eq!((ours.1, theirs.1), (Some(Event::PeerFinished), Some(Event::PeerFinished)));
        let (first, second) = if client_first { (ours.2, theirs.2) } else { (theirs.2, ours.2) };
        assert_eq!((first.cause, second.cause), (Cause::LocalFinished, Cause::PeerFinished));
    }
}

#[tokio::test]
async fn the_end_of_the_socket_without_close_notify_is_truncation() {
    let (client, server) = tls_pair().await;
    let mut server = StreamConnection::accept(AsIs(server), frames(), &Options::new()).unwrap();
    let mut client = client;
    step("writing", client.write_all(&frame(b"whole"))).await.unwrap();
    step("flushing", client.flush()).await.unwrap();
    // FIN on the socket, and nothing of TLS before it: somebody in between could have done that.
    let (mut socket, _) = client.into_inner();
    step("FIN", socket.shutdown()).await.unwrap();
    assert_eq!(step("the frame", server.next_event()).await, Some(Event::App(Bytes::from_static(b"whole"))));
    let closed = step("the end", server.closed()).await;
    assert_eq!(closed.cause, Cause::Truncated { missing: None });
}

#[tokio::test]
async fn close_notify_is_a_clean_end_and_ours_is_sent() {
    let (mut client, server) = tls_pair().await;
    let mut server = StreamConnection::accept(AsIs(server), frames(), &Options::new()).unwrap();
    step("close_notify", client.shutdown()).await.unwrap();
    let ending = tokio::spawn(async move { server.closed().await });
    let mut rest = Vec::new();
    // Without our close_notify this would be UnexpectedEof.
    step("our end", client.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(step("the end", ending).await.unwrap().cause, Cause::PeerFinished);
}

#[tokio::test]
async fn megabytes_both_ways_and_a_close() {
    let (client, server) = tls_pair().await;
    let mut client = StreamConnection::accept(AsIs(client), frames(), &Options::new()).unwrap();
    let mut server = StreamConnection::accept(AsIs(server), frames(), &Options::new()).unwrap();
    let echoing = tokio::spawn(async move {
        loop {
            match server.next_event().await {
                Some(Event::App(message)) => server.send(message).await.expect("sent"),
                Some(Event::Closed(closed)) => return closed,
                _ => {}
            }
        }
    });
    let (mut receiver, sender) = {
        for size in [1, 70_000] {
            step("sending", client.send(Bytes::from(vec![1; size]))).await.unwrap();
        }
        client.split()
    };
    let sending = tokio::spawn(async move {
        for i in 0..100_u8 {
            step("sending", sender.send(Bytes::from(vec![i; 50_000]))).await.expect("sent");
        }
        sender
    });
    let mut sizes = Vec::new();
    while sizes.len() < 102 {
        if let Some(Event::App(message)) = step("an echo", receiver.next_event()).await {
            assert!(message.iter().all(|b| *b == message[0]));
            sizes.push(message.len());
        }
    }
    assert_eq!(sizes[..3], [1, 70_000, 50_000]);
    let sender = step("the sender", sending).await.unwrap();
    sender.start_close(duologue_core::CloseIntent::Goodbye(Code(0)));
    assert_eq!(step("the end", receiver.closed()).await.cause, Cause::LocalClose(Code(0)));
    assert_eq!(step("the peer's end", echoing).await.unwrap().cause, Cause::PeerFinished);
}

#[tokio::test]
async fn a_dropped_connection_is_not_truncated_for_the_peer() {
    let (mut client, server) = tls_pair().await;
    let mut server = StreamConnection::accept(AsIs(server), frames(), &Options::new()).unwrap();
    server.try_send(Bytes::from_static(b"last")).unwrap();
    drop(server);
    let mut wire = Vec::new();
    step("reading", client.read_to_end(&mut wire)).await.unwrap();
    assert_eq!(parse(&wire).0, [b"last"]);
}

#[tokio::test]
async fn a_secure_websocket_talks_and_closes() {
    use duologue_tokio::websocket::{self, Command, Event as Told, ServerHandshake, Settings};

    let (connector, acceptor) = tls();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let handshake = ServerHandshake::new(Settings::new());
        let (mut socket, opened) = websocket::accept_stream(stream, handshake, &Options::new()).await.unwrap();
        assert_eq!(opened.target, "/secure");
        while let Some(event) = socket.next_event().await {
            if let Event::App(Told::Text(text)) = event {
                socket.send(Command::Text(text)).await.unwrap();
            }
        }
        socket.closed().await.cause
    });
    let uri = format!("wss://localhost:{port}/secure");
    let connecting = websocket::connect_tls(&uri, connector, Options::new());
    let (mut socket, _) = step("opening", connecting).await.expect("a secure WebSocket");
    socket.send(Command::text("hello")).await.unwrap();
    assert_eq!(step("the echo", socket.next_event()).await, Some(Event::App(Told::Text("hello".into()))));
    assert_eq!(step("closing", socket.close(Code(4000))).await.cause, Cause::LocalClose(Code(4000)));
    assert_eq!(step("the server", server).await.unwrap(), Cause::PeerClose(Code(4000)));
}

#[tokio::test]
async fn one_deadline_bounds_connecting_tls_and_the_opening() {
    use duologue_tokio::websocket::{self, OpenError};
    use std::time::{Duration, Instant};

    let within = Duration::from_millis(400);
    // Silent from the first byte on, or once TLS stands: two thirds of the time are gone by then.
    for silent_before_tls in [true, false] {
        let (connector, acceptor) = tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            if silent_before_tls {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                return;
            }
            tokio::time::sleep(within * 2 / 3).await;
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
        let start = Instant::now();
        let uri = format!("wss://localhost:{port}/");
        let connecting = websocket::connect_tls(&uri, connector, Options::new().connect_within(within));
        let Err(error) = step("the deadline", connecting).await else { panic!("there is nobody") };
        let doing = if silent_before_tls { "opening TLS" } else { "opening the protocol" };
        assert!(matches!(&error, OpenError::Connect(_)) && error.to_string().contains(doing), "{error}");
        assert!(start.elapsed() < within * 3 / 2, "one deadline, not one for each: {:?}", start.elapsed());
        step("the server", server).await.unwrap();
    }
}
