//! What is refused, by whom, and with which words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duologue_async::http1::{EventSource, EventSourceSetupError, HttpClient, HttpError};
use duologue_async::{PoolError, ReconnectOptions, TlsError};
use duologue_core::pool::{Delivery, PoolConfig};
use duologue_http1::http::Method;
use duologue_http1::{ClientSettings, Request};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore, ServerConfig};

use super::peer::{STEP, peer};
use super::server::{accept, configured, secure};
use super::{Web, client, get, options, uri};
use duologue_tests::bounds::step;

/// What TLS was refused for; nothing was sent.
fn tls_error<T>(asked: Result<T, HttpError>) -> TlsError {
    let Err(error) = asked else { panic!("nobody may answer") };
    assert_eq!(error.delivery(), Delivery::NotSent);
    let HttpError::Pool(PoolError::Tls(error)) = error else { panic!("{error}") };
    error
}

/// A server that gets nothing but a handshake that fails; and why.
fn refusing(config: ServerConfig) -> (u16, std::thread::JoinHandle<Error>) {
    let config = Arc::new(config);
    let (address, server) = peer(move |listener| match secure(listener.accept().stream, &config) {
        Err(error) => error,
        Ok(mut peer) => panic!("it came as far as {:?}", peer.rest()),
    });
    (address.port(), server)
}

pub(crate) async fn a_certificate_for_another_name_is_refused_and_nothing_is_sent<C: Web>() {
    let (config, trusting) = configured(&["localhost"]);
    let (port, server) = refusing(config);
    let asking = client::<C>(trusting);
    let error = tls_error(get(&asking, &uri(format!("https://127.0.0.1:{port}/"))).await);
    let told = error.to_string();
    let TlsError::Certificate { host, why } = error else { panic!("{told}") };
    assert!(host == "127.0.0.1" && why.contains("not valid for name"), "{told}");
    assert!(server.join().expect("no panic").to_string().contains("alert"));
    // Nobody vouches for this one.
    let (config, _) = configured(&["localhost"]);
    let (port, server) = refusing(config);
    let distrustful = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let error = tls_error(get(&client::<C>(distrustful), &uri(format!("https://localhost:{port}/"))).await);
    assert!(matches!(&error, TlsError::Certificate { why, .. } if why.contains("UnknownIssuer")), "{error}");
    server.join().expect("no panic");
}

pub(crate) async fn what_cannot_be_asked_is_refused_before_anything_is_dialled<C: Web>() {
    let (_, trusting) = configured(&["localhost"]);
    let plain = HttpClient::<C>::new(ClientSettings::new(), options(1)).expect("a pool");
    let Err(HttpError::Target(why)) = get(&plain, &uri("https://localhost:1/")).await else { panic!("no connector") };
    assert!(why.contains("`rustls`") && why.contains("with_tls"), "{why}");
    assert_eq!(plain.pool().stats().dialled, 0);
    // Whoever asks the pool itself is told as well.
    let Err(error) = step::<C, _>("a refusal", plain.pool().acquire("https://localhost:1")).await else { panic!("no") };
    assert_eq!(error, PoolError::Tls(TlsError::NoConnector));

    let secure = client::<C>(trusting.clone());
    let error = tls_error(get(&secure, &uri("https://a..b/")).await);
    assert_eq!(error, TlsError::Name { host: "a..b".into() });
    let Err(HttpError::Target(_)) = get(&secure, &uri("ftp://localhost/")).await else { panic!("no scheme of ours") };

    let refused =
        EventSource::<C>::new(uri("https://localhost:1/"), ReconnectOptions::new()).expect_err("no connector");
    assert!(matches!(refused, EventSourceSetupError::Target(HttpError::Target(_))), "{refused}");
    let request = Request::new(Method::GET, uri("https://a..b/"));
    let refused = EventSource::<C>::with_tls(request, Arc::new(trusting).into(), ReconnectOptions::new());
    assert!(matches!(refused, Err(EventSourceSetupError::Tls(TlsError::Name { .. }))));
}

pub(crate) async fn another_protocol_by_alpn_is_refused<C: Web>() {
    let protocols = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    let rows: [(&[&str], &[&str], Option<&str>); 4] = [
        (&["h2", "http/1.1"], &["h2", "http/1.1"], Some("h2")),
        (&["http/1.1"], &["h2", "http/1.1"], None),
        (&[], &["h2", "http/1.1"], None),
        (&["h2"], &[], None),
    ];
    for (theirs, ours, refused) in rows {
        let (mut config, mut trusting) = configured(&["localhost"]);
        (config.alpn_protocols, trusting.alpn_protocols) = (protocols(theirs), protocols(ours));
        let config = Arc::new(config);
        let (address, server) = peer(move |listener| {
            let mut peer = accept(listener, &config);
            if refused.is_none() {
                peer.head();
                peer.answer("spoken");
            } else {
                assert_eq!(peer.rest().0, b"", "nothing was asked");
            }
        });
        let client = client::<C>(trusting);
        let asked = get(&client, &uri(format!("https://localhost:{}/", address.port()))).await;
        match refused {
            None => assert_eq!(asked.expect("an answer").0, "spoken"),
            Some(agreed) => {
                let error = tls_error(asked);
                let told = error.to_string();
                assert!(told.contains("http/1.1") && told.contains("alpn_protocols"), "{told}");
                let expected =
                    TlsError::Protocol { host: "localhost".into(), agreed: agreed.into(), wanted: "http/1.1" };
                assert_eq!(error, expected);
            }
        }
        server.join().expect("no panic");
    }
}

pub(crate) async fn a_handshake_that_fails_says_why<C: Web>() {
    // Nothing in common.
    let (mut config, mut trusting) = configured(&["localhost"]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    trusting.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (port, server) = refusing(config);
    let error = tls_error(get(&client::<C>(trusting), &uri(format!("https://localhost:{port}/"))).await);
    assert!(matches!(&error, TlsError::Handshake { why, .. } if why.contains("NoApplicationProtocol")), "{error}");
    server.join().expect("no panic");
    // No TLS at all, and nobody.
    let (address, server) = peer(|listener| {
        let mut plain = listener.accept();
        plain.say("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nno TLS here");
        drop(listener.accept());
    });
    let (_, trusting) = configured(&["localhost"]);
    let client = client::<C>(trusting);
    let target = uri(format!("https://localhost:{}/", address.port()));
    let error = tls_error(get(&client, &target).await);
    assert!(matches!(&error, TlsError::Handshake { host, .. } if host == "localhost"), "{error}");
    let error = tls_error(get(&client, &target).await);
    assert!(matches!(&error, TlsError::Transport { host, .. } if host == "localhost"), "{error}");
    server.join().expect("no panic");
}

pub(crate) async fn one_deadline_bounds_connecting_and_tls<C: Web>() {
    const WITHIN: Duration = Duration::from_millis(300);
    let (address, server) = peer(|listener| {
        let silent = listener.accept();
        // All that the client says is the beginning of a handshake.
        silent.rest().0
    });
    let (_, trusting) = configured(&["localhost"]);
    let pool = options(1).pool(PoolConfig::new().per_target(1).dial_within(WITHIN));
    let client = HttpClient::<C>::with_tls(ClientSettings::new(), Arc::new(trusting).into(), pool).expect("a pool");
    let start = Instant::now();
    let target = uri(format!("https://localhost:{}/", address.port()));
    let Err(HttpError::Pool(PoolError::Dial { why })) = get(&client, &target).await else { panic!("nobody answers") };
    assert!(why.contains("dial_within") || why.contains("opening TLS"), "{why}");
    assert!((WITHIN..STEP / 4).contains(&start.elapsed()), "{:?}", start.elapsed());
    drop(client);
    let said = server.join().expect("no panic");
    assert_eq!(said.first(), Some(&0x16), "{} bytes", said.len());
}
