//! WebSockets over TLS on every adapter: connecting, connecting again, and waits that are too long to be added to a clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use duologue_core::reconnect::Backoff;
use duologue_core::{Code, Event as SessionEvent};
use duologue_tokio::websocket::{self, ClientHandshake, Command, Event, ServerHandshake, Settings};
use duologue_tokio::{Options, ReconnectEvent, ReconnectOptions};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// What a whole test may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that the server ends by dropping them, before one that it keeps.
const DROPPED: u64 = 2;

/// A TLS server on a thread of its own. On each connection it answers one message; the first ones it drops after that. It
/// ends with the connection that was closed in order, or with the test's patience.
fn server() -> (SocketAddr, Arc<ClientConfig>, std::thread::JoinHandle<u64>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a server configuration")));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("not blocking");
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let serving = async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            for accepted in 1.. {
                let (stream, _) = listener.accept().await.expect("a connection");
                let stream = acceptor.accept(stream).await.expect("TLS");
                let handshake = ServerHandshake::new(Settings::new());
                let opened = websocket::accept_stream(stream, handshake, &Options::new()).await;
                let (mut socket, _) = opened.expect("a WebSocket");
                while let Some(event) = socket.next_event().await {
                    let SessionEvent::App(Event::Text(text)) = event else { continue };
                    socket.send(Command::Text(text)).await.expect("sent");
                    socket.flush().await;
                    if accepted <= DROPPED {
                        break;
                    }
                }
                if accepted > DROPPED {
                    return accepted;
                }
            }
            0
        };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, serving).await.expect("in time") })
    });
    (address, Arc::new(client), thread)
}

fn again() -> ReconnectOptions {
    ReconnectOptions::new().backoff(Backoff::new().initial(Duration::from_millis(5)))
}

/// The answers of all connections, and how many were lost.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    texts: Vec<String>,
    lost: u64,
}

/// Each connection says its number first. Expanded for each adapter, because a type's methods are futures or are not.
macro_rules! talk {
    ($client:ident, $next:expr) => {{
        let mut heard = Heard::default();
        while let Some(event) = $next {
            match event {
                ReconnectEvent::App { event: Event::Text(text), .. } => {
                    heard.texts.push(text.as_str().to_owned());
                    if heard.texts.len() as u64 > DROPPED {
                        $client.start_close(Code(1000));
                    }
                }
                ReconnectEvent::Lost { .. } => heard.lost += 1,
                ReconnectEvent::Failed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
        heard
    }};
}

fn expected() -> Heard {
    Heard { texts: ["1", "2", "3"].map(String::from).to_vec(), lost: DROPPED + 1 }
}

macro_rules! reconnects {
    ($test:ident, $adapter:ident, $connector:path, $run:expr) => {
        #[test]
        fn $test() {
            use $adapter::websocket;
            let (address, config, server) = server();
            let run: fn(std::pin::Pin<Box<dyn Future<Output = Heard>>>) -> Heard = $run;
            let heard = run(Box::pin(async move {
                let connector = <$connector>::from(config);
                let target = $adapter::TlsTarget::new("localhost", address.port(), connector).expect("a name");
                let handshake = ClientHandshake::new("localhost", "/");
                let client = websocket::reconnecting_tls(target, handshake, again()).expect("a client");
                let mut client = client.resubscribe(|generation| vec![Command::text(generation.0.to_string())]);
                talk!(client, client.next_event().await)
            }));
            assert_eq!(heard, expected());
            assert_eq!(server.join().expect("no panic"), DROPPED + 1);
        }
    };
}

fn on_tokio<T>(future: std::pin::Pin<Box<dyn Future<Output = T>>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await }).expect("in time")
}

reconnects!(tokio_connects_again, duologue_tokio, tokio_rustls::TlsConnector, on_tokio);
reconnects!(smol_connects_again, duologue_smol, futures_rustls::TlsConnector, |future| {
    smol::block_on(smol::future::or(future, async {
        smol::Timer::after(PATIENCE).await;
        panic!("not in time");
    }))
});
reconnects!(async_std_connects_again, duologue_async_std, futures_rustls::TlsConnector, |future| {
    async_std::task::block_on(async_std::future::timeout(PATIENCE, future)).expect("in time")
});

#[test]
fn threads_connect_again() {
    let (address, config, server) = server();
    let connector = futures_rustls::TlsConnector::from(config);
    let target = duologue_blocking::TlsTarget::new("localhost", address.port(), connector).expect("a name");
    let handshake = ClientHandshake::new("localhost", "/");
    let client = duologue_blocking::websocket::reconnecting_tls(target, handshake, again()).expect("a client");
    let mut client = client.resubscribe(|generation| vec![Command::text(generation.0.to_string())]);
    let heard = talk!(client, {
        let std::task::Poll::Ready(event) = client.next_event_within(PATIENCE) else { panic!("not in time") };
        event
    });
    assert_eq!(heard, expected());
    assert_eq!(server.join().expect("no panic"), DROPPED + 1);
}

#[test]
fn threads_connect_again_without_tls_too() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        for accepted in 1.. {
            let (stream, _) = listener.accept().expect("a connection");
            let handshake = ServerHandshake::new(Settings::new());
            let opened = duologue_blocking::websocket::accept(stream, handshake, &Options::new());
            let (mut socket, _) = opened.expect("a WebSocket");
            while let Some(event) = socket.next_event() {
                let SessionEvent::App(Event::Text(text)) = event else { continue };
                socket.send(Command::Text(text)).expect("sent");
                socket.flush();
                if accepted <= DROPPED {
                    break;
                }
            }
            if accepted > DROPPED {
                return;
            }
        }
    });
    let handshake = ClientHandshake::new("localhost", "/");
    let client = duologue_blocking::websocket::reconnecting(address, handshake, again()).expect("a client");
    let mut client = client.resubscribe(|generation| vec![Command::text(generation.0.to_string())]);
    let heard = talk!(client, {
        let std::task::Poll::Ready(event) = client.next_event_within(PATIENCE) else { panic!("not in time") };
        event
    });
    assert_eq!(heard, expected());
    server.join().expect("no panic");
}

/// `Duration::MAX` from now is no time that a clock can tell: it means that nobody wants to be told.
#[test]
fn a_wait_that_no_clock_can_tell_is_none() {
    let talk = |address: SocketAddr, config: Arc<ClientConfig>| async move {
        let uri = format!("wss://localhost:{}/", address.port());
        let connector = tokio_rustls::TlsConnector::from(config);
        let forever = Options::new().connect_within(Duration::MAX).send_within(Duration::MAX);
        let (mut socket, _) = websocket::connect_tls(&uri, connector, forever).await.expect("a WebSocket");
        socket.send(Command::text("1")).await.expect("sent");
        let event = socket.next_event().await;
        assert_eq!(event, Some(SessionEvent::App(Event::Text("1".into()))));
    };
    let (address, config, server) = server();
    on_tokio(Box::pin(async move {
        for _ in 0..=DROPPED {
            talk(address, Arc::clone(&config)).await;
        }
    }));
    assert_eq!(server.join().expect("no panic"), DROPPED + 1);
}

#[test]
fn an_address_of_the_other_scheme_is_refused_before_anything_is_dialled() {
    use duologue_tokio::websocket::OpenError;
    let config = trusting_nobody();
    on_tokio(Box::pin(async move {
        let connector = tokio_rustls::TlsConnector::from(config);
        let refused = websocket::connect_tls("ws://localhost:1/", connector, Options::new()).await;
        assert!(matches!(refused, Err(OpenError::Uri(websocket::handshake::UriError::Scheme))));
        let refused = websocket::connect("wss://localhost:1/", Options::new()).await;
        assert!(matches!(refused, Err(OpenError::Uri(websocket::handshake::UriError::Scheme))));
    }));
}

/// A client configuration that trusts nobody.
fn trusting_nobody() -> Arc<ClientConfig> {
    let client = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    Arc::new(client)
}
