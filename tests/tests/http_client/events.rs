//! Server-sent events: streams that are cut at any byte, and no event lost or told twice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use duologue_async::ReconnectOptions;
use duologue_async::http1::{EventSource, EventSourceError, HttpCarrier};
use duologue_core::reconnect::Backoff;
use duologue_http1::http::{HeaderValue, Method, StatusCode, Uri};
use duologue_http1::{Request, sse};

use super::peer::{Peer, STEP, peer};
use super::{pause, step};

/// Events in all.
const EVENTS: u64 = 400;

fn quick() -> ReconnectOptions {
    let backoff = Backoff::new().initial(Duration::from_micros(100)).cap(Duration::from_millis(1));
    ReconnectOptions::new().backoff(backoff.min_connect(STEP))
}

fn uri(address: SocketAddr) -> Uri {
    format!("http://{address}/events").parse().expect("a URI")
}

/// The request's `Last-Event-ID`, and all of its head.
fn asked(peer: &mut Peer) -> (Option<String>, String) {
    let head = peer.head();
    let id = head.lines().find_map(|line| line.strip_prefix("last-event-id: ")).map(String::from);
    (id, head)
}

#[derive(Clone, Copy)]
enum Framing {
    Chunked,
    UntilClose,
}

/// The answer from the event after `id` on: head and content.
fn answer(id: u64, framing: Framing) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n".to_vec();
    out.extend_from_slice(match framing {
        Framing::Chunked => b"Transfer-Encoding: chunked\r\n\r\n",
        Framing::UntilClose => b"\r\n",
    });
    for number in id + 1..=EVENTS {
        let event = format!(": beat\r\nid: {number}\r\nretry: 0\ndata: first {number}\rdata: second\n\n");
        match framing {
            // The chunks do not end where events do.
            Framing::Chunked => {
                let (a, b) = event.split_at(event.len() / 3);
                out.extend_from_slice(format!("{:x}\r\n{a}\r\n{:x}\r\n{b}\r\n", a.len(), b.len()).as_bytes());
            }
            Framing::UntilClose => out.extend_from_slice(event.as_bytes()),
        }
    }
    out
}

/// Answers connection after connection, each with one byte more than the one before, and then cuts it: with a FIN and
/// with a reset in turn. What was told is never asked for again, and nothing is left out.
pub(crate) async fn a_stream_cut_at_every_byte_loses_no_event_and_tells_none_twice<R: HttpCarrier>() {
    for framing in [Framing::Chunked, Framing::UntilClose] {
        let (address, server) = peer(move |listener| {
            for bytes in 0.. {
                let mut peer = listener.accept();
                let (id, _) = asked(&mut peer);
                let id = id.map_or(0, |id| id.parse().expect("a number"));
                let whole = answer(id, framing);
                let cut = bytes.min(whole.len());
                let _ = std::io::Write::write_all(&mut peer.stream, &whole[..cut]);
                if bytes % 2 == 1 {
                    socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).expect("set");
                }
                if cut == whole.len() {
                    return;
                }
            }
        });
        let mut source = EventSource::<R>::new(uri(address), quick()).expect("a source").default_retry(Duration::ZERO);
        for number in 1..=EVENTS {
            let event = step::<R, _>("an event", source.next_event()).await.expect("a stream").expect("no end");
            assert_eq!(event.last_event_id, number.to_string());
            assert_eq!(event.data, format!("first {number}\nsecond"));
        }
        assert!(source.connections() > 150, "{} connections", source.connections());
        assert_eq!(source.last_event_id(), EVENTS.to_string());
        drop(source);
        server.join().expect("no panic");
    }
}

pub(crate) async fn it_asks_as_an_event_source_does_and_waits_as_long_as_the_server_says<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        let (id, head) = asked(&mut peer);
        assert_eq!(id.as_deref(), Some("begin"), "{head}");
        assert!(
            head.starts_with("GET /events HTTP/1.1\r\n") && head.contains("accept: text/event-stream\r\n"),
            "{head}"
        );
        // A comment completes no event: the id stays.
        peer.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\nretry: 300\n\n");
        drop(peer);
        let cut = Instant::now();
        let mut peer = listener.accept();
        let waited = cut.elapsed();
        assert_eq!(asked(&mut peer).0.as_deref(), Some("begin"));
        peer.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\nid: z\n\n");
        drop(peer);
        let mut peer = listener.accept();
        assert_eq!(asked(&mut peer).0.as_deref(), Some("z"));
        peer.say("HTTP/1.1 204 No Content\r\n\r\n");
        waited
    });
    let mut request = Request::new(Method::GET, uri(address));
    request.headers.insert(sse::LAST_EVENT_ID, HeaderValue::from_static("begin"));
    let mut source = EventSource::<R>::with_request(request, quick()).expect("a source");
    let event = step::<R, _>("an event", source.next_event()).await.expect("a stream").expect("no end");
    assert_eq!((event.name.as_str(), event.data.as_str(), event.last_event_id.as_str()), ("message", "x", "z"));
    let error = step::<R, _>("the end", source.next_event()).await.expect_err("204 is the end");
    assert_eq!(error, EventSourceError::Status { status: StatusCode::NO_CONTENT });
    assert_eq!(step::<R, _>("nothing more", source.next_event()).await, Ok(None));
    let waited = server.join().expect("no panic");
    assert!((Duration::from_millis(290)..STEP).contains(&waited), "{waited:?}");
}

pub(crate) async fn what_is_no_stream_of_events_is_no_reason_to_try_again<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        asked(&mut peer);
        // It goes on for long; who gave up does not keep it.
        peer.say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000000\r\n\r\nhi");
        peer.rest().0
    });
    let mut source = EventSource::<R>::new(uri(address), quick()).expect("a source");
    assert_eq!(step::<R, _>("an error", source.next_event()).await, Err(EventSourceError::ContentType));
    assert_eq!(step::<R, _>("the end", source.next_event()).await, Ok(None));
    assert!(EventSource::<R>::new("https://a/".parse().expect("a URI"), quick()).is_err());
    assert_eq!(server.join().expect("the connection ends while the source is there"), b"");
    drop(source);
}

/// A server that had not the whole request in time says so, and then either ends the connection or not.
pub(crate) async fn a_request_that_came_too_late_is_made_once_more<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut kept = Vec::new();
        for answer in [
            "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 408 Request Timeout\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
            "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/event-stream\r\n\r\ndata: no\n\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: yes\n\n",
        ] {
            let mut peer = listener.accept();
            assert_eq!(asked(&mut peer).0, None, "nothing was told yet");
            peer.say(answer);
            kept.push(peer);
        }
        kept
    });
    let mut source = EventSource::<R>::new(uri(address), quick()).expect("a source").default_retry(Duration::ZERO);
    let event = step::<R, _>("an event", source.next_event()).await.expect("a stream").expect("no end");
    assert_eq!((event.data.as_str(), source.connections(), source.trouble()), ("yes", 4, None));
    drop(server.join().expect("no panic"));
}

pub(crate) async fn who_waits_after_a_request_that_came_too_late_can_say_why<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        asked(&mut peer);
        peer.say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    let mut source =
        EventSource::<R>::new(uri(address), quick()).expect("a source").default_retry(Duration::from_secs(1000));
    let begun = Instant::now();
    while source.machine().failures() == 0 {
        assert!(begun.elapsed() < STEP, "the connection goes on: {source:?}");
        let waiting = Box::pin(source.next_event());
        let soon = Box::pin(pause::<R>(Duration::from_millis(20)));
        let told = futures_util::future::select(waiting, soon).await;
        assert!(matches!(told, futures_util::future::Either::Right(_)), "there is no event and no end");
    }
    let trouble = source.trouble().expect("it says why it waits");
    assert!(trouble.contains("408"), "{trouble}");
    server.join().expect("no panic");
}

pub(crate) async fn an_attempt_that_fails_is_not_repeated_before_the_servers_retry_time_either<R: HttpCarrier>() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let mut source =
        EventSource::<R>::new(uri(address), quick()).expect("a source").default_retry(Duration::from_secs(1000));
    let waiting = Box::pin(source.next_event());
    let soon = Box::pin(pause::<R>(Duration::from_millis(300)));
    assert!(
        matches!(futures_util::future::select(waiting, soon).await, futures_util::future::Either::Right(_)),
        "there is nobody"
    );
    assert_eq!(source.machine().failures(), 1, "one attempt, then the pause");
    let trouble = source.trouble().expect("it says why it waits");
    assert!(trouble.contains("connection refused"), "{trouble}");
}
