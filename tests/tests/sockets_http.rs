//! HTTP/1.1 on real sockets: a server that drains while it is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::Event;
use duologue_http1::{Body, Response, Server as Http, ServerCommand, ServerEvent, ServerSettings};
use duologue_tests::sockets::*;
use duologue_tokio::{DrainReport, Options, Served, Server, ServerHandle};
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
