//! Connections that nobody uses: what TLS says of itself is nothing, an end is one.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use duologue_async::http1::HttpClient;
use duologue_async::{PlainOrTls, Pooled};
use duologue_http1::http::Method;
use duologue_http1::{Client, ClientSettings, Request};

use tokio_rustls::rustls::ClientConfig;

use super::peer::{STEP, peer};
use super::quiet::arrived;
use super::server::{Secure, accept, configured};
use super::{Web, client, get, options, uri};
use duologue_tests::bounds::{pause, step};

/// Waits for what the pool's task notices.
async fn until<C: Web>(what: &str, mut holds: impl FnMut() -> bool) {
    step::<C, _>(what, async {
        while !holds() {
            pause::<C>(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Session tickets and new keys come while nobody uses the connection, and are no reason to let it go.
pub(crate) async fn what_tls_says_of_itself_loses_no_connection<C: Web>() {
    let (mut config, trusting) = configured(&["localhost"]);
    config.send_tls13_tickets = 4;
    let config = Arc::new(config);
    let (go, told) = mpsc::channel::<()>();
    let (said, heard) = mpsc::channel::<()>();
    let (address, server) = peer(move |listener| {
        let mut peer = accept(listener, &config);
        for number in 0..3 {
            // The tickets first, which waited; then keys.
            told.recv_timeout(STEP).expect("told");
            if number > 0 {
                peer.tls.refresh_traffic_keys().expect("TLS 1.3");
            }
            assert!(peer.tls.wants_write(), "there is something to say");
            peer.flush();
            said.send(()).expect("somebody waits");
            peer.head();
            peer.answer("late");
        }
        peer
    });
    // One connection: where there may be more, a warm one is dialled while this one is in use.
    let connector = Arc::new(trusting).into();
    let client = HttpClient::<C>::with_tls(ClientSettings::new(), connector, options(1)).expect("a pool");
    let target = uri(format!("https://localhost:{}/", address.port()));
    client.pool().keep_warm(&format!("https://localhost:{}", address.port()), 1);
    until::<C>("a connection", || client.pool().stats().idle == 1).await;
    for round in 0..3 {
        go.send(()).expect("the server waits");
        heard.recv_timeout(STEP).expect("it was said");
        if round < 2 {
            // Time for the pool's task to look at it; at last it is met when the connection is given out.
            pause::<C>(Duration::from_millis(100)).await;
        }
        let (content, _) = get(&client, &target).await.expect("an answer");
        assert_eq!(content, "late");
    }
    let stats = client.pool().stats();
    assert_eq!((stats.dialled, stats.stale, stats.unsolicited), (1, 0, 0), "{stats:?}");
    drop(server.join().expect("no panic"));
}

#[derive(Clone, Copy, Debug)]
enum Idle {
    Notified,
    Cut,
    Reset,
    Noise,
    /// Bytes that are no TLS.
    Garbage,
}

const ENDS: [Idle; 5] = [Idle::Notified, Idle::Cut, Idle::Reset, Idle::Noise, Idle::Garbage];

impl Idle {
    /// What is left of the peer must be kept: dropping it would say more.
    fn happens(self, mut peer: Secure) -> Option<Secure> {
        match self {
            Self::Notified => peer.notify(),
            Self::Cut => peer.cut(),
            Self::Reset => {
                socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).expect("set");
                return None;
            }
            Self::Noise => peer.say("?"),
            Self::Garbage => std::io::Write::write_all(&mut peer.stream, b"no TLS at all").expect("writable"),
        }
        Some(peer)
    }
}

/// Each connection is asked once, and ends in its own way when it is told to; one more ends nothing.
fn ending() -> (ClientConfig, std::net::SocketAddr, mpsc::Sender<()>, mpsc::Receiver<()>, std::thread::JoinHandle<()>) {
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (go, told) = mpsc::channel::<()>();
    let (done, happened) = mpsc::channel::<()>();
    let (address, server) = peer(move |listener| {
        let mut kept = Vec::new();
        for end in ENDS {
            let mut peer = accept(listener, &config);
            peer.head();
            peer.answer(&format!("{end:?}"));
            told.recv_timeout(STEP).expect("told");
            kept.extend(end.happens(peer));
            done.send(()).expect("somebody waits");
        }
        let mut peer = accept(listener, &config);
        peer.head();
        peer.answer("the last");
    });
    (trusting, address, go, happened, server)
}

pub(crate) async fn an_idle_connection_that_ends_is_replaced<C: Web>() {
    let (trusting, address, go, happened, server) = ending();
    let client = client::<C>(trusting);
    let target = uri(format!("https://localhost:{}/", address.port()));
    for (before, end) in ENDS.into_iter().enumerate() {
        let (content, response) = get(&client, &target).await.expect("an answer");
        assert_eq!((content, response.is_reused()), (format!("{end:?}"), false));
        until::<C>("an idle connection", || client.pool().stats().idle == 1).await;
        go.send(()).expect("the server waits");
        happened.recv_timeout(STEP).expect("it happened");
        // The pool's task notices by itself.
        until::<C>("no idle connection", || client.pool().stats().idle == 0).await;
        assert_eq!(client.pool().stats().dialled, before as u64 + 1);
    }
    assert_eq!(get(&client, &target).await.expect("an answer").0, "the last");
    server.join().expect("no panic");
    let stats = client.pool().stats();
    assert_eq!((stats.dialled, stats.stale), (ENDS.len() as u64 + 1, 0), "{stats:?}");
}

/// Nobody but the kernel knows of the end: neither the pool's task nor the runtime's reactor ran since. The request cannot be
/// repeated, so that a connection that is gone would be told.
#[test]
fn an_end_that_only_the_kernel_knows_of_is_seen_at_the_last_moment() {
    type Carrier = PlainOrTls<duologue_tokio::Tokio>;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (trusting, address, go, happened, server) = ending();
        let client = client::<Carrier>(trusting);
        let key = format!("https://localhost:{}", address.port());
        let target = uri(&key);
        for end in ENDS.map(|end| format!("{end:?}")).into_iter().chain(["the last".into()]) {
            let acquired = client.pool().acquire(&key);
            let connection = step::<Carrier, _>("a connection", acquired).await.expect("a connection");
            assert!(!connection.is_reused(), "before {end}");
            let same = descriptor(&connection);
            connection.release();
            let request = Request::new(Method::POST, target.clone());
            let mut response = step::<Carrier, _>("a head", client.request(request)).await.expect("an answer");
            let content = step::<Carrier, _>("its content", response.bytes(100)).await.expect("all of it");
            assert_eq!((content.as_ref(), response.is_reused()), (end.as_bytes(), true));
            // No await from here to the next request.
            if end != "the last" {
                go.send(()).expect("the server waits");
                happened.recv_timeout(STEP).expect("it happened");
                arrived(&same);
            }
        }
        server.join().expect("no panic");
        let stats = client.pool().stats();
        assert_eq!((stats.dialled, stats.stale), (ENDS.len() as u64 + 1, ENDS.len() as u64), "{stats:?}");
    });
}

/// As above, of what belongs to TLS alone.
#[test]
fn what_tls_says_of_itself_is_nothing_at_the_last_moment() {
    type Carrier = PlainOrTls<duologue_tokio::Tokio>;
    const REQUESTS: u64 = 4;
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (go, told) = mpsc::channel::<()>();
    let (address, server) = peer(move |listener| {
        let mut peer = accept(listener, &config);
        for _ in 0..REQUESTS {
            peer.head();
            peer.answer("again");
            told.recv_timeout(STEP).expect("told");
            peer.tls.refresh_traffic_keys().expect("TLS 1.3");
            peer.flush();
        }
        peer
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = client::<Carrier>(trusting);
        let key = format!("https://localhost:{}", address.port());
        let connection = step::<Carrier, _>("a connection", client.pool().acquire(&key)).await.expect("a connection");
        let same = descriptor(&connection);
        connection.release();
        for _ in 0..REQUESTS {
            let request = Request::new(Method::POST, uri(&key));
            let mut response = step::<Carrier, _>("a head", client.request(request)).await.expect("an answer");
            assert!(response.is_reused());
            assert_eq!(step::<Carrier, _>("its content", response.bytes(100)).await.expect("all of it"), "again");
            // No await from here to the next request.
            go.send(()).expect("the server waits");
            arrived(&same);
        }
        let stats = client.pool().stats();
        assert_eq!((stats.dialled, stats.stale, stats.reused), (1, 0, REQUESTS), "{stats:?}");
    });
    drop(server.join().expect("no panic"));
}

/// The socket beneath a connection, once more.
fn descriptor(connection: &Pooled<Client, PlainOrTls<duologue_tokio::Tokio>>) -> socket2::Socket {
    let PlainOrTls::Tls(tls) = connection.transport() else { panic!("https is TLS") };
    socket2::SockRef::from(tls.stream().expect("open").get_ref().0).try_clone().expect("a descriptor")
}
