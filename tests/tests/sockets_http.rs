//! HTTP/1.1 on real sockets: a server that drains while it is asked, and the pooled client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::Event;
use duologue_core::pool::{Delivery, PoolConfig};
use duologue_http1::http::{Method, Uri};
use duologue_http1::{
    Body, ClientSettings, Request, Response, Server as Http, ServerCommand, ServerEvent, ServerSettings,
};
use duologue_tests::sockets::*;
use duologue_tokio::http1::{HttpClient, HttpError};
use duologue_tokio::{DrainReport, Options, PoolOptions, Served, Server, ServerHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Where handlers wait, each answer for a permit; and who came there.
struct Gate {
    permits: Semaphore,
    asked: AtomicUsize,
}

impl Gate {
    async fn is_asked(&self, times: usize) {
        until("a request", || self.asked.load(Ordering::Relaxed) == times).await;
    }
}

/// Answers each request once the gate lets it. With `deaf` it does nothing else meanwhile; otherwise it goes on listening.
async fn answer(mut connection: Served<Http>, gate: Arc<Gate>, deaf: bool) {
    while let Some(event) = connection.next_event().await {
        let Event::App(ServerEvent::Request(_)) = event else { continue };
        gate.asked.fetch_add(1, Ordering::Relaxed);
        if deaf {
            gate.permits.acquire().await.expect("open").forget();
        } else {
            tokio::select! {
                permit = gate.permits.acquire() => permit.expect("open").forget(),
                event = connection.next_event() => panic!("nothing comes before the answer: {event:?}"),
            }
        }
        let response = Response { body: Body::Full(Bytes::from_static(b"done")), ..Response::default() };
        if connection.send(ServerCommand::Respond(response)).await.is_err() {
            return;
        }
    }
}

async fn start(deaf: bool) -> (SocketAddr, ServerHandle, JoinHandle<DrainReport>, Arc<Gate>) {
    let server = Server::bind("127.0.0.1:0", Options::new().config(Http::config())).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    let gate = Arc::new(Gate { permits: Semaphore::new(0), asked: AtomicUsize::new(0) });
    let at_gate = Arc::clone(&gate);
    let handler = move |connection| answer(connection, Arc::clone(&at_gate), deaf);
    (address, handle, tokio::spawn(server.serve(|_| Http::new(ServerSettings::new()), handler)), gate)
}

async fn dial(address: SocketAddr) -> TcpStream {
    step("dialling", TcpStream::connect(address)).await.expect("connected")
}

/// What comes up to `end`.
async fn read_up_to(stream: &mut TcpStream, end: &str) -> String {
    let mut got = Vec::new();
    while !got.ends_with(end.as_bytes()) {
        assert_ne!(step("an answer", stream.read_buf(&mut got)).await.expect("readable"), 0, "{got:?}");
    }
    String::from_utf8(got).expect("text")
}

/// All that comes until the peer's FIN.
async fn rest(stream: &mut TcpStream) -> String {
    let (bytes, result) = read_to_end(stream).await;
    result.expect("ended in order");
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn a_request_in_flight_is_answered_during_a_drain_and_idle_connections_end() {
    for deaf in [true, false] {
        let (address, handle, running, gate) = start(deaf).await;
        let mut idle = dial(address).await;
        gate.permits.add_permits(1);
        write(&mut idle, GET).await;
        assert!(read_up_to(&mut idle, "done").await.starts_with("HTTP/1.1 200 OK\r\n"));
        let mut fresh = dial(address).await;
        let mut busy = dial(address).await;
        write(&mut busy, GET).await;
        until("the connections", || handle.stats().accepted == 3).await;
        // The handler has its request before the drain begins: one that is still in the kernel is nobody's.
        gate.is_asked(2).await;

        handle.drain(Duration::from_secs(1000));
        assert_eq!(rest(&mut idle).await, "", "an idle connection ends");
        assert_eq!(rest(&mut fresh).await, "", "and one that was never used");
        gate.permits.add_permits(1);
        let answer = rest(&mut busy).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ndone"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "deaf {deaf}: {answer}");
        for mut stream in [idle, fresh, busy] {
            stream.shutdown().await.expect("our FIN");
        }
        let report = step("the drain", running).await.expect("no panic");
        assert_eq!((report.open, report.ended, report.left.len()), (3, 3, 0), "{report}");
        assert_eq!(report.stats.ended.in_order, 3, "{report:?}");
    }
}

#[tokio::test]
async fn requests_sent_ahead_are_all_answered_and_the_last_says_close() {
    let (address, handle, running, gate) = start(true).await;
    let mut stream = dial(address).await;
    write(&mut stream, &GET.repeat(3)).await;
    gate.permits.add_permits(1);
    // The handler has answered the first, and is at the second.
    gate.is_asked(2).await;
    handle.drain(Duration::from_secs(1000));
    gate.permits.add_permits(2);
    let answers = rest(&mut stream).await;
    assert_eq!((answers.matches("200 OK").count(), answers.matches("connection: close").count()), (3, 1), "{answers}");
    drop(stream);
    assert_eq!(step("the drain", running).await.expect("no panic").ended, 1);
}

#[tokio::test]
async fn an_answer_that_never_comes_does_not_hold_a_drain_beyond_its_deadline() {
    let (address, handle, running, gate) = start(false).await;
    let mut stream = dial(address).await;
    let local = stream.local_addr().expect("an address");
    write(&mut stream, GET).await;
    gate.is_asked(1).await;
    let start = Instant::now();
    handle.drain(Duration::from_millis(300));
    let report = step("the drain", running).await.expect("no panic");
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&start.elapsed()));
    assert_eq!((report.open, report.ended, &report.left[..]), (1, 0, &[local][..]));
    let (bytes, result) = read_to_end(&mut stream).await;
    assert_eq!((bytes.len(), result.unwrap_err().kind()), (0, std::io::ErrorKind::ConnectionReset));
}

fn client(connections: u32) -> HttpClient {
    let pool = PoolOptions::new().pool(PoolConfig::new().per_target(connections)).acquire_within(STEP);
    HttpClient::new(ClientSettings::new(), pool).expect("a pool")
}

fn uri(address: SocketAddr, path: &str) -> Uri {
    format!("http://{address}{path}").parse().expect("a URI")
}

/// Answers with the request's content, in chunks, and with trailers never.
async fn echo(mut connection: Served<Http>) {
    while let Some(event) = connection.next_event().await {
        let command = match event {
            Event::App(ServerEvent::Request(head)) if head.body == duologue_http1::Incoming::Empty => {
                ServerCommand::Respond(Response::default())
            }
            Event::App(ServerEvent::Request(_)) => {
                ServerCommand::Respond(Response { body: Body::Stream, ..Response::default() })
            }
            Event::App(ServerEvent::Data(data)) => ServerCommand::Data(data),
            Event::App(ServerEvent::End(_)) => ServerCommand::End(None),
            _ => continue,
        };
        if connection.send(command).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_client_reuses_its_connections_whatever_the_content() {
    let server = Server::bind("127.0.0.1:0", Options::new().config(Http::config())).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    tokio::spawn(server.serve(|_| Http::new(ServerSettings::new()), echo));
    let client = client(4);
    let callers: Vec<_> = (0..8usize)
        .map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..25usize {
                    // From nothing to more than a send queue holds.
                    let content = Bytes::from(vec![(caller * 31 + n) as u8; n * n * 700]);
                    let body = if content.is_empty() { Body::Empty } else { Body::Full(content.clone()) };
                    let request = Request { body, ..Request::new(Method::POST, uri(address, "/")) };
                    let mut response = step("an answer", client.request(request)).await.expect("an answer");
                    assert_eq!(response.head().status, 200);
                    assert_eq!(step("its content", response.bytes(1 << 20)).await.expect("all of it"), content);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
    let stats = client.pool().stats();
    assert!(stats.dialled <= 4 && handle.stats().accepted == stats.dialled, "{stats:?}");
    assert_eq!((stats.granted, stats.reused), (200, 200 - stats.dialled));
}

#[tokio::test]
async fn an_upload_goes_on_while_its_answer_comes() {
    let server = Server::bind("127.0.0.1:0", Options::new().config(Http::config())).await.expect("bound");
    let address = server.local_addr().expect("its address");
    tokio::spawn(server.serve(|_| Http::new(ServerSettings::new()), echo));
    let client = client(1);
    // More than all buffers between us and the server hold: its answer begins long before the content ends.
    let content = Bytes::from(vec![3; 24 << 20]);
    for _ in 0..2 {
        let body = Body::Full(content.clone());
        let request = Request { body, ..Request::new(Method::POST, uri(address, "/")) };
        let mut response = step("an answer", client.request(request)).await.expect("an answer");
        let answer = step("its content", response.bytes(content.len())).await.expect("all of it");
        assert!(answer == content, "{} bytes came back", answer.len());
    }
    assert_eq!(client.pool().stats().dialled, 1, "complete in both directions, it is used again");
}

#[tokio::test]
async fn content_beyond_the_callers_bound_ends_the_connection_and_so_does_a_dropped_answer() {
    let server = Server::bind("127.0.0.1:0", Options::new().config(Http::config())).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    tokio::spawn(server.serve(|_| Http::new(ServerSettings::new()), echo));
    let client = client(1);
    let post =
        || Request { body: Body::Full(Bytes::from(vec![7; 10_000])), ..Request::new(Method::POST, uri(address, "/")) };
    let mut response = step("an answer", client.request(post())).await.expect("an answer");
    let error = step("its content", response.bytes(9_999)).await.expect_err("too long");
    assert!(matches!(error, HttpError::TooLong { limit: 9_999 }), "{error}");
    drop(step("an answer", client.request(post())).await.expect("a second answer"));
    let mut response = step("an answer", client.request(post())).await.expect("a third answer");
    assert_eq!(step("its content", response.bytes(10_000)).await.expect("all of it").len(), 10_000);
    assert_eq!((client.pool().stats().dialled, handle.stats().accepted), (3, 3));
}

/// Takes a request on each of `connections`, and closes without an answer; then answers all others.
async fn close_unanswered(connections: usize) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        for n in 0.. {
            let (mut stream, _) = listener.accept().await.expect("a client");
            read_up_to(&mut stream, "\r\n\r\n").await;
            if n >= connections {
                write(&mut stream, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_request_that_the_server_may_know_of_is_repeated_only_by_the_callers_word() {
    let address = close_unanswered(2).await;
    let error = step("a loss", client(1).get(uri(address, "/"))).await.expect_err("no answer");
    assert!(matches!(error, HttpError::Lost { delivery: Delivery::PossiblySent, .. }), "{error}");
    assert_eq!(error.delivery(), Delivery::PossiblySent);
    // One more loss, then the answer.
    let client = client(1).retry_idempotent(true);
    let response = step("an answer", client.get(uri(address, "/"))).await.expect("an answer");
    assert_eq!((response.head().status.as_u16(), client.pool().stats().dialled), (204, 2));

    let address = close_unanswered(1).await;
    let post = Request::new(Method::POST, uri(address, "/"));
    let error = step("a loss", client.request(post)).await.expect_err("POST is not idempotent");
    assert_eq!(error.delivery(), Delivery::PossiblySent);
    let address = close_unanswered(usize::MAX).await;
    let error = step("a loss", client.get(uri(address, "/"))).await.expect_err("it gives up");
    assert_eq!((error.delivery(), client.pool().stats().dialled), (Delivery::PossiblySent, 6));
}

#[tokio::test]
async fn an_answer_that_is_cut_is_told_and_an_early_one_stops_the_upload() {
    let (listener, address) = listen().await;
    let client = client(1);
    let asking = tokio::spawn({
        let client = client.clone();
        async move {
            let mut response = step("an answer", client.get(uri(address, "/"))).await.expect("a head");
            assert_eq!(step("a piece", response.chunk()).await.expect("a piece").as_deref(), Some(&b"half"[..]));
            step("the cut", response.chunk()).await.expect_err("a cut")
        }
    });
    let (mut stream, _) = step("a client", listener.accept()).await.expect("accepted");
    read_up_to(&mut stream, "\r\n\r\n").await;
    write(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
    drop(stream);
    assert!(matches!(asking.await.expect("no panic"), HttpError::Cut { .. }));

    let asking = tokio::spawn(async move {
        // More than all buffers of the loopback hold.
        let body = Body::Full(Bytes::from(vec![1; 64 << 20]));
        let request = Request { body, ..Request::new(Method::PUT, uri(address, "/")) };
        let response = step("an answer", client.request(request)).await.expect("an answer");
        (response.head().status.as_u16(), client.pool().stats().dialled)
    });
    let (mut stream, _) = step("a client", listener.accept()).await.expect("accepted");
    let begun = step("the request", stream.read(&mut [0; 1000])).await.expect("readable");
    assert!(begun > 0, "the request began");
    write(&mut stream, b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    assert_eq!(step("the answer", asking).await.expect("no panic"), (413, 2));
}

#[tokio::test]
async fn the_other_runtimes_have_the_same_client() {
    let server = Server::bind("127.0.0.1:0", Options::new().config(Http::config())).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    tokio::spawn(server.serve(|_| Http::new(ServerSettings::new()), echo));
    let post = move || Request {
        body: Body::Full(Bytes::from_static(b"hello")),
        ..Request::new(Method::POST, uri(address, "/"))
    };
    let on_threads = tokio::task::spawn_blocking(move || {
        let client =
            duologue_blocking::http1::HttpClient::new(ClientSettings::new(), PoolOptions::new()).expect("a pool");
        for _ in 0..3 {
            let mut response = client.request(post()).expect("an answer");
            assert_eq!(response.bytes(5).expect("its content"), "hello");
        }
        client.stats().dialled
    });
    let on_smol = tokio::task::spawn_blocking(move || {
        smol::block_on(async {
            let client =
                duologue_smol::http1::HttpClient::new(ClientSettings::new(), PoolOptions::new()).expect("a pool");
            for _ in 0..3 {
                let mut response = client.request(post()).await.expect("an answer");
                assert_eq!(response.bytes(5).await.expect("its content"), "hello");
            }
            client.pool().stats().dialled
        })
    });
    assert_eq!(step("threads", on_threads).await.expect("no panic"), 1);
    assert_eq!(step("smol", on_smol).await.expect("no panic"), 1);
    assert_eq!(handle.stats().accepted, 2);
}
