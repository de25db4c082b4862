//! Requests and answers.

use std::sync::Arc;

use bytes::Bytes;
use duologue_async::PoolClient;
use duologue_async::http1::{HttpClient, HttpError};
use duologue_core::Cause;
use duologue_http1::http::Method;
use duologue_http1::{Body, Client, ClientSettings, Request};

use super::peer::peer;
use super::server::{End, accept, configured, secure};
use super::{Web, client, get, options, uri};
use duologue_tests::bounds::step;

pub(crate) async fn twenty_requests_go_over_one_connection<C: Web>() {
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (address, server) = peer(move |listener| {
        let mut peer = accept(listener, &config);
        for number in 0..20 {
            let head = peer.head();
            assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
            peer.answer(&format!("answer {number}"));
        }
        peer.rest().1
    });
    let client = client::<C>(trusting);
    let target = uri(format!("https://localhost:{}/a?b", address.port()));
    for number in 0..20 {
        let (content, response) = get(&client, &target).await.expect("an answer");
        assert_eq!((content, response.is_reused()), (format!("answer {number}"), number > 0));
    }
    let stats = client.pool().stats();
    assert_eq!((stats.dialled, stats.reused, stats.stale, stats.unsolicited), (1, 19, 0, 0), "{stats:?}");
    // The pool's end is one in order.
    client.pool().drain();
    let ended = server.join().expect("no panic");
    assert_eq!(ended, End::Notified);
}

pub(crate) async fn http_and_https_to_one_address_are_never_mixed<C: Web>() {
    const TLS: u8 = 0x16;
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (address, server) = peer(move |listener| {
        // Each connection says what it is by its first byte.
        let mut kinds = Vec::new();
        let mut served = Vec::new();
        for _ in 0..2 {
            let mut peer = listener.accept();
            let mut first = [0];
            assert_eq!(peer.stream.peek(&mut first).expect("readable"), 1);
            let is_tls = first == [TLS];
            kinds.push(is_tls);
            let config = Arc::clone(&config);
            served.push(std::thread::spawn(move || {
                if is_tls {
                    let mut peer = secure(peer.stream, &config).expect("a handshake");
                    for _ in 0..5 {
                        peer.head();
                        peer.answer("secret");
                    }
                } else {
                    for _ in 0..5 {
                        peer.head();
                        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npublic");
                    }
                }
            }));
        }
        for thread in served {
            thread.join().expect("no panic");
        }
        kinds
    });
    let client = client::<C>(trusting);
    for round in 0..5 {
        for (scheme, expected) in [("http", "public"), ("https", "secret")] {
            let target = uri(format!("{scheme}://localhost:{}/", address.port()));
            let (content, response) = get(&client, &target).await.expect("an answer");
            assert_eq!((content.as_str(), response.is_reused()), (expected, round > 0), "{scheme}");
        }
    }
    assert_eq!(server.join().expect("no panic"), [false, true]);
    assert_eq!(client.pool().stats().dialled, 2);
}

pub(crate) async fn content_goes_both_ways_at_length<C: Web>() {
    const LEN: usize = 3_000_000;
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (address, server) = peer(move |listener| {
        let mut peer = accept(listener, &config);
        peer.head();
        let content = peer.read_up_to(b"!");
        for piece in content.as_bytes().chunks(10_000) {
            if piece.len() == 10_000 && piece.as_ptr() == content.as_ptr() {
                peer.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()));
            }
            peer.say(std::str::from_utf8(piece).expect("text"));
        }
        peer
    });
    let content: String = (0..LEN).map(|n| char::from(b'a' + (n % 23) as u8)).chain(['!']).collect();
    let client = client::<C>(trusting);
    let mut request = Request::new(Method::POST, uri(format!("https://localhost:{}/", address.port())));
    request.body = Body::Full(Bytes::from(content.clone()));
    let mut response = step::<C, _>("a head", client.request(request)).await.expect("a head");
    let echo = step::<C, _>("its content", response.bytes(2 * LEN)).await.expect("all of it");
    assert!(echo == content.as_bytes(), "{} bytes came", echo.len());
    drop(server.join().expect("no panic"));
}

pub(crate) async fn content_up_to_the_end_is_whole_with_close_notify_and_cut_without<C: Web>() {
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (address, server) = peer(move |listener| {
        for whole in [true, false] {
            let mut peer = accept(listener, &config);
            peer.head();
            peer.say("HTTP/1.1 200 OK\r\n\r\nall there is");
            if whole {
                peer.notify();
            } else {
                peer.cut();
            }
            peer.rest();
        }
    });
    let client = client::<C>(trusting);
    let target = uri(format!("https://localhost:{}/", address.port()));
    let (content, _) = get(&client, &target).await.expect("an answer");
    assert_eq!(content, "all there is");
    let error = get(&client, &target).await.expect_err("somebody may have cut it");
    let HttpError::Cut { closed } = error else { panic!("{error}") };
    assert_eq!(closed.cause, Cause::Truncated { missing: None });
    server.join().expect("no panic");
    assert_eq!(client.pool().stats().dialled, 2);
}

pub(crate) async fn addresses_are_names_too<C: Web>() {
    let (config, trusting) = configured(&["127.0.0.1", "::1"]);
    let config = Arc::new(config);
    let client = client::<C>(trusting);
    for host in ["127.0.0.1", "[::1]"] {
        let Ok(listener) = std::net::TcpListener::bind(format!("{host}:0")) else {
            assert_eq!(host, "[::1]", "every machine has the other");
            continue;
        };
        let port = listener.local_addr().expect("its address").port();
        let config = Arc::clone(&config);
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            stream.set_read_timeout(Some(super::STEP)).expect("set");
            let mut peer = secure(stream, &config).expect("a handshake");
            let head = peer.head();
            peer.answer("found");
            (head, peer.tls.server_name().is_some())
        });
        let (content, _) = get(&client, &uri(format!("https://{host}:{port}/"))).await.expect("an answer");
        assert_eq!(content, "found");
        let (head, named) = server.join().expect("no panic");
        assert!(head.contains(&format!("\r\nhost: {host}:{port}\r\n")), "{head}");
        assert!(!named, "an address is no server name (RFC 6066, section 3)");
    }
}

pub(crate) async fn a_pool_of_ones_own_may_dial_tls_as_well<C: Web>() {
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (address, server) = peer(move |listener| {
        let mut peer = accept(listener, &config);
        for _ in 0..2 {
            peer.head();
            peer.answer("hello");
        }
    });
    let connector = C::Connector::from(Arc::new(trusting));
    let dial = move |target, protocol, options| C::connect(target, Some(connector.clone()), protocol, options);
    let made = |_: &str| Client::new(ClientSettings::new());
    let pool = PoolClient::<Client, C>::dialled_by(made, dial, options(1)).expect("a pool");
    let target = uri(format!("https://localhost:{}/", address.port()));
    let Err(HttpError::Target(_)) = get(&HttpClient::on(pool.clone()), &target).await else { panic!("nobody said so") };
    let client = HttpClient::on(pool).dials_https(true);
    for _ in 0..2 {
        assert_eq!(get(&client, &target).await.expect("an answer").0, "hello");
    }
    assert_eq!(client.pool().stats().dialled, 1);
    server.join().expect("no panic");
}
