//! Server-sent events over TLS.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use duologue_async::ReconnectOptions;
use duologue_async::http1::EventSource;
use duologue_core::reconnect::Backoff;
use duologue_http1::Request;
use duologue_http1::http::Method;

use super::peer::{STEP, peer};
use super::server::{accept, configured, secure};
use super::{Web, uri};
use duologue_tests::bounds::{pause, step};

fn quick() -> ReconnectOptions {
    let backoff = Backoff::new().initial(Duration::from_micros(100)).cap(Duration::from_millis(1));
    ReconnectOptions::new().backoff(backoff.min_connect(STEP))
}

/// Two events on each connection, the second without its end; then the connection ends in one of four ways.
pub(crate) async fn a_stream_over_tls_goes_on_after_every_kind_of_end<C: Web>() {
    const CONNECTIONS: u64 = 12;
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (go_on, told) = mpsc::channel::<()>();
    let (address, server) = peer(move |listener| {
        let mut asked = Vec::new();
        for number in 1..=CONNECTIONS {
            let mut peer = accept(listener, &config);
            let head = peer.head();
            asked.push(head.lines().find_map(|line| line.strip_prefix("last-event-id: ")).map(String::from));
            peer.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
            let event = format!("id: {number}\nretry: 0\ndata: event {number}\n\nid: lost\ndata: never whole\n");
            peer.say(&format!("{:x}\r\n{event}\r\n", event.len()));
            // A reset takes what was not read yet with it.
            told.recv_timeout(STEP).expect("the event was told");
            match number % 4 {
                0 => peer.say("0\r\n\r\n"),
                1 => peer.notify(),
                2 => peer.cut(),
                _ => socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).expect("set"),
            }
            if number % 4 < 3 {
                peer.rest();
            }
        }
        asked
    });
    let request = Request::new(Method::GET, uri(format!("https://localhost:{}/events", address.port())));
    let source = EventSource::<C>::with_tls(request, Arc::new(trusting).into(), quick()).expect("a source");
    let mut source = source.default_retry(Duration::ZERO);
    for number in 1..=CONNECTIONS {
        let event = step::<C, _>("an event", source.next_event()).await.expect("a stream").expect("no end");
        assert_eq!((event.data, event.last_event_id), (format!("event {number}"), number.to_string()));
        go_on.send(()).expect("the server waits");
    }
    assert_eq!(source.connections(), CONNECTIONS);
    drop(source);
    let asked = server.join().expect("no panic");
    let expected: Vec<_> = (0..CONNECTIONS).map(|id| (id > 0).then(|| id.to_string())).collect();
    assert_eq!(asked, expected);
}

pub(crate) async fn an_event_source_says_why_tls_is_refused<C: Web>() {
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (address, server) = peer(move |listener| secure(listener.accept().stream, &config).is_err());
    let request = Request::new(Method::GET, uri(format!("https://127.0.0.1:{}/events", address.port())));
    let source = EventSource::<C>::with_tls(request, Arc::new(trusting).into(), quick()).expect("a source");
    let mut source = source.default_retry(Duration::from_secs(1000));
    let waiting = Box::pin(source.next_event());
    let soon = Box::pin(pause::<C>(Duration::from_millis(500)));
    assert!(
        matches!(futures_util::future::select(waiting, soon).await, futures_util::future::Either::Right(_)),
        "nothing comes"
    );
    let trouble = source.trouble().expect("it says why it waits");
    assert!(trouble.contains("the certificate of 127.0.0.1 was refused"), "{trouble}");
    assert!(server.join().expect("no panic"), "the client told the server too");
}
