//! Server-sent events on real sockets: streams that are cut at any byte, and no event lost or told twice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use duologue_core::reconnect::Backoff;
use duologue_http1::http::{HeaderValue, Method, Uri};
use duologue_http1::{Request, sse};
use duologue_tests::sockets::*;
use duologue_tokio::ReconnectOptions;
use duologue_tokio::http1::{EventSource, EventSourceError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
async fn asked(stream: &mut TcpStream) -> (Option<String>, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(step("a request", stream.read_buf(&mut head)).await.expect("readable"), 0, "a whole request");
    }
    let head = String::from_utf8(head).expect("text");
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
/// with a reset in turn.
async fn cut_at_every_byte(listener: TcpListener, framing: Framing) {
    for bytes in 0.. {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let (id, _) = asked(&mut stream).await;
        let whole = answer(id.map_or(0, |id| id.parse().expect("a number")), framing);
        let _ = stream.write_all(&whole[..bytes.min(whole.len())]).await;
        if bytes % 2 == 1 {
            reset(stream);
        }
    }
}

#[tokio::test]
async fn a_stream_cut_at_every_byte_loses_no_event_and_tells_none_twice() {
    for framing in [Framing::Chunked, Framing::UntilClose] {
        let (listener, address) = listen().await;
        let server = tokio::spawn(cut_at_every_byte(listener, framing));
        let mut source = EventSource::new(uri(address), quick()).expect("a source").default_retry(Duration::ZERO);
        for number in 1..=EVENTS {
            let event = step("an event", source.next_event()).await.expect("a stream").expect("no end");
            assert_eq!(event.last_event_id, number.to_string());
            assert_eq!(event.data, format!("first {number}\nsecond"));
        }
        assert!(source.connections() > 150, "{} connections", source.connections());
        assert_eq!(source.last_event_id(), EVENTS.to_string());
        server.abort();
    }
}

#[tokio::test]
async fn it_asks_as_an_event_source_does_and_waits_as_long_as_the_server_says() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let (id, head) = asked(&mut stream).await;
        assert_eq!(id.as_deref(), Some("begin"), "{head}");
        assert!(
            head.starts_with("GET /events HTTP/1.1\r\n") && head.contains("accept: text/event-stream\r\n"),
            "{head}"
        );
        // A comment completes no event: the id stays.
        write(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\nretry: 300\n\n").await;
        drop(stream);
        let cut = Instant::now();
        let (mut stream, _) = listener.accept().await.expect("a client");
        let waited = cut.elapsed();
        assert_eq!(asked(&mut stream).await.0.as_deref(), Some("begin"));
        write(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\nid: z\n\n").await;
        drop(stream);
        let (mut stream, _) = listener.accept().await.expect("a client");
        assert_eq!(asked(&mut stream).await.0.as_deref(), Some("z"));
        write(&mut stream, b"HTTP/1.1 204 No Content\r\n\r\n").await;
        waited
    });
    let mut request = Request::new(Method::GET, uri(address));
    request.headers.insert(sse::LAST_EVENT_ID, HeaderValue::from_static("begin"));
    let mut source = EventSource::with_request(request, quick()).expect("a source");
    let event = step("an event", source.next_event()).await.expect("a stream").expect("no end");
    assert_eq!((event.name.as_str(), event.data.as_str(), event.last_event_id.as_str()), ("message", "x", "z"));
    let error = step("the end", source.next_event()).await.expect_err("204 is the end");
    assert_eq!(error, EventSourceError::Status { status: duologue_http1::http::StatusCode::NO_CONTENT });
    assert_eq!(step("nothing more", source.next_event()).await, Ok(None));
    let waited = step("the server", server).await.expect("no panic");
    assert!((Duration::from_millis(290)..STEP).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn what_is_no_stream_of_events_is_no_reason_to_try_again() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        asked(&mut stream).await;
        write(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi").await;
    });
    let mut source = EventSource::new(uri(address), quick()).expect("a source");
    assert_eq!(step("an error", source.next_event()).await, Err(EventSourceError::ContentType));
    assert_eq!(step("the end", source.next_event()).await, Ok(None));
    assert!(EventSource::new("https://a/".parse().expect("a URI"), quick()).is_err());
}

#[tokio::test]
async fn an_attempt_that_fails_is_not_repeated_before_the_servers_retry_time_either() {
    let (listener, address) = listen().await;
    drop(listener);
    let pause = Duration::from_secs(1000);
    let mut source = EventSource::new(uri(address), quick()).expect("a source").default_retry(pause);
    let waited = tokio::time::timeout(Duration::from_millis(300), source.next_event()).await;
    assert!(waited.is_err(), "there is nobody");
    assert_eq!(source.machine().failures(), 1, "one attempt, then the pause");
}
