//! WebSockets over real sockets: the table of edge cases, byte for byte, and who ends TCP.

use std::sync::Arc;
use std::time::Duration;

use duologue_core::{Cause, Code, Event as SessionEvent};
use duologue_tokio::Options;
use duologue_tokio::websocket::{self, CloseCode, Command, Event, OpenError, ServerHandshake, Settings, Violation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

#[path = "../../protocols/websocket/tests/table/mod.rs"]
mod table;

use table::{REQUEST, RESPONSE, masked, plain, request_rows, rows};

const PATIENCE: Duration = Duration::from_secs(10);

/// How a served connection ended: the cause as text, and its close code.
type Ended = Result<(String, CloseCode), OpenError>;

/// Accepts one connection and echoes on it until it ends.
async fn echo_once(listener: TcpListener, handshake: ServerHandshake) -> Ended {
    let (stream, _) = listener.accept().await.expect("a connection");
    let (mut socket, _) = websocket::accept(stream, handshake, &Options::new()).await?;
    while let Some(event) = socket.next_event().await {
        let answer = match event {
            SessionEvent::App(Event::Text(text)) => Command::Text(text),
            SessionEvent::App(Event::Binary(data)) => Command::Binary(data),
            _ => continue,
        };
        // The peer may have closed meanwhile.
        let _ = socket.send(answer).await;
    }
    let closed = socket.closed().await;
    Ok((format!("{:?}", closed.cause), socket.session().protocol().close_code()))
}

async fn served(handshake: ServerHandshake) -> (TcpStream, tokio::task::JoinHandle<Ended>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(echo_once(listener, handshake));
    (TcpStream::connect(address).await.expect("a connection"), server)
}

async fn read_to_fin(stream: &mut TcpStream, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    read.unwrap_or_else(|_| panic!("{name}: no FIN")).unwrap_or_else(|e| panic!("{name}: {e}"));
    bytes
}

#[tokio::test]
async fn every_row_of_the_table_is_answered_exactly_and_the_server_ends_first() {
    for row in rows() {
        let (mut stream, server) = served(table::server()).await;
        stream.write_all(&[REQUEST.as_bytes(), &row.send].concat()).await.expect("written");
        if row.fin {
            stream.shutdown().await.expect("FIN");
        }
        // The end is read while ours is still open: the server closes TCP first.
        let answer = read_to_fin(&mut stream, row.name).await;
        let frames = answer.strip_prefix(RESPONSE.as_bytes()).expect("the upgrade is granted");
        assert_eq!(frames, row.answer, "{}", row.name);
        drop(stream);
        let (cause, code) = timeout(PATIENCE, server).await.expect("it ends").expect("no panic").expect("it opened");
        if row.fin {
            assert_eq!((cause.as_str(), code), ("PeerFinished", CloseCode::ABNORMAL), "{}", row.name);
        }
    }
}

#[tokio::test]
async fn every_request_is_judged_and_a_refusal_is_read_whole() {
    for (name, find, replace, status, field) in request_rows() {
        let (mut stream, server) = served(table::server()).await;
        let request = REQUEST.replacen(find, replace, 1);
        stream.write_all(request.as_bytes()).await.expect("written");
        if status == 101 {
            stream.write_all(&masked(0x88, &[0x03, 0xE8])).await.expect("written");
        }
        let answer = String::from_utf8_lossy(&read_to_fin(&mut stream, name).await).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(field), "{name}: {answer}");
        drop(stream);
        let ended = timeout(PATIENCE, server).await.expect("it ends").expect("no panic");
        match ended {
            Ok(_) => assert_eq!(status, 101, "{name}"),
            Err(error) => assert_eq!(error.handshake().map(|e| e.status()), Some(status), "{name}"),
        }
    }
}

#[tokio::test]
async fn a_client_is_told_why_it_was_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let guard = ServerHandshake::new(Settings::new()).guard(|request| {
        assert_eq!(request.target(), "/private?x=1");
        Err(websocket::Rejection::new(401, "who are you?").header("WWW-Authenticate", "Basic"))
    });
    let server = tokio::spawn(echo_once(listener, guard));
    let refused = websocket::connect(&format!("ws://{address}/private?x=1"), Options::new()).await;
    let error = refused.map(|_| ()).expect_err("refused");
    let websocket::handshake::HandshakeError::Status { status, head } = error.handshake().expect("by the handshake")
    else {
        panic!("{error}")
    };
    assert_eq!(*status, 401);
    assert!(String::from_utf8_lossy(head).contains("WWW-Authenticate: Basic\r\n"));
    assert!(timeout(PATIENCE, server).await.expect("it ends").expect("no panic").is_err());
}

#[tokio::test]
async fn clones_of_the_sender_talk_at_once_and_the_close_codes_are_told_on_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(echo_once(listener, ServerHandshake::new(Settings::new())));
    let (socket, opened) = websocket::connect(&format!("ws://{address}"), Options::new()).await.expect("open");
    assert_eq!((opened.target.as_str(), opened.subprotocol), ("/", None));
    let (mut recv, send) = socket.split();
    let writers: Vec<_> = (0..16)
        .map(|n| {
            let send = send.clone();
            tokio::spawn(async move {
                for i in 0..50 {
                    send.send(Command::text(format!("{n}:{i}"))).await.expect("sent");
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    while seen.len() < 800 {
        match timeout(PATIENCE, recv.next_event()).await.expect("an echo").expect("open") {
            SessionEvent::App(Event::Text(text)) => seen.push(text.as_str().to_owned()),
            other => panic!("{other:?}"),
        }
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 800, "each message once");
    send.start_close(duologue_core::CloseIntent::Goodbye(Code(4000)));
    let closed = timeout(PATIENCE, recv.closed()).await.expect("it ends");
    assert_eq!(closed.cause, Cause::<Violation>::LocalClose(Code(4000)));
    assert_eq!(closed.finished_first, Some(duologue_core::Side::Peer), "the server ends TCP first");
    let (cause, code) = timeout(PATIENCE, server).await.expect("it ends").expect("no panic").expect("open");
    assert_eq!((cause.as_str(), code), ("PeerClose(Code(4000))", CloseCode(4000)));
}

#[tokio::test]
async fn behind_somebody_elses_http_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        // Another parser has read exactly the head.
        let mut head = vec![0; REQUEST.len()];
        stream.read_exact(&mut head).await.expect("a head");
        let handshake = Arc::new(ServerHandshake::new(Settings::new()));
        let fields: [(&str, &[u8]); 5] = [
            ("host", b"h"),
            ("upgrade", b"websocket"),
            ("connection", b"Upgrade"),
            ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", b"13"),
        ];
        let request = websocket::handshake::RequestHead::new("GET", "/any", 1, fields);
        let accepted = handshake.answer(&request).expect("a request in order");
        stream.write_all(accepted.response().as_bytes()).await.expect("written");
        let protocol = websocket::WebSocket::upgraded(websocket::Role::Server, Settings::new(), accepted.deflate());
        let options = websocket::fitted(Options::new(), handshake.settings(), websocket::Role::Server);
        let mut socket = duologue_tokio::Connection::accept(stream, protocol, &options).expect("a connection");
        while let Some(event) = socket.next_event().await {
            if let SessionEvent::App(Event::Binary(data)) = event {
                socket.send(Command::Binary(data)).await.expect("sent");
            }
        }
    });
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let frames = [masked(0x82, b"behind"), masked(0x88, b"")].concat();
    stream.write_all(&[REQUEST.as_bytes(), &frames].concat()).await.expect("written");
    let answer = read_to_fin(&mut stream, "behind").await;
    assert_eq!(answer, [RESPONSE.as_bytes(), &plain(0x82, b"behind"), &plain(0x88, b"")].concat());
    drop(stream);
    timeout(PATIENCE, server).await.expect("it ends").expect("no panic");
}

/// What a client reads of its server, which was told to close by the peer's text.
async fn closed_by_a_server(options: Options) -> (TcpStream, tokio::task::JoinHandle<Cause<Violation>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let handshake = ServerHandshake::new(Settings::new());
        let (mut socket, _) = websocket::accept(stream, handshake, &options).await.expect("open");
        socket.start_close(duologue_core::CloseIntent::Goodbye(Code(1001)));
        socket.closed().await.cause
    });
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(REQUEST.as_bytes()).await.expect("written");
    (stream, server)
}

fn patient_with(timeouts: duologue_core::Timeouts) -> Options {
    Options::new().config(duologue_core::Config::new().timeouts(timeouts))
}

#[tokio::test]
async fn a_peer_that_never_answers_our_close_is_left_after_its_time() {
    let timeouts = duologue_core::Timeouts::new()
        .close_handshake(Some(Duration::from_millis(150)))
        .linger(Some(Duration::from_millis(150)));
    let (mut stream, server) = closed_by_a_server(patient_with(timeouts)).await;
    // It hears the Close and says messages instead of its own, for ever.
    let told = read_to_fin(&mut stream, "the server's end").await;
    assert_eq!(told, [RESPONSE.as_bytes(), &plain(0x88, &[0x03, 0xE9])].concat());
    let talking = async { while stream.write_all(&masked(0x82, b"and another thing")).await.is_ok() {} };
    let talking = timeout(PATIENCE, talking).await;
    assert!(talking.is_ok(), "the server let go, and the kernel tells who goes on");
    let cause = timeout(PATIENCE, server).await.expect("it ends").expect("no panic");
    assert_eq!(cause, Cause::LocalClose(Code(1001)));
}

#[tokio::test]
async fn a_peer_that_answers_our_close_and_never_finishes_is_left_after_its_time() {
    let timeouts = duologue_core::Timeouts::new().linger(Some(Duration::from_millis(150)));
    let (mut stream, server) = closed_by_a_server(patient_with(timeouts)).await;
    stream.write_all(&masked(0x88, &[0x03, 0xE9])).await.expect("written");
    let told = read_to_fin(&mut stream, "the server ends TCP first").await;
    assert_eq!(told, [RESPONSE.as_bytes(), &plain(0x88, &[0x03, 0xE9])].concat());
    // Our side stays open, and the server does not wait for it.
    let cause = timeout(PATIENCE, server).await.expect("it ends").expect("no panic");
    assert_eq!(cause, Cause::LocalClose(Code(1001)));
    drop(stream);
}

#[tokio::test]
async fn a_request_that_drips_in_ends_when_its_time_is_up_and_is_told_408() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let within = Duration::from_millis(300);
    let timeouts = duologue_core::Timeouts::new().handshake(Some(within)).linger(Some(Duration::from_millis(50)));
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let start = std::time::Instant::now();
        let handshake = ServerHandshake::new(Settings::new());
        let refused = websocket::accept(stream, handshake, &patient_with(timeouts)).await.map(|_| ());
        (refused, start.elapsed())
    });
    let (mut reading, mut writing) = TcpStream::connect(address).await.expect("a connection").into_split();
    let dripping = tokio::spawn(async move {
        for byte in REQUEST.bytes().cycle() {
            if byte == b'\n' || writing.write_all(&[byte]).await.is_err() {
                // Without its line ends the head is never whole.
                if byte != b'\n' {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut answer = Vec::new();
    // A reset may follow the answer: what drips in is not read any more.
    let _ = timeout(PATIENCE, reading.read_to_end(&mut answer)).await.expect("it ends");
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    let (refused, took) = timeout(PATIENCE, server).await.expect("it ends").expect("no panic");
    assert!(refused.is_err(), "half a request opens nothing");
    assert!(took >= within && took < within + Duration::from_secs(5), "a drip postpones nothing: {took:?}");
    timeout(PATIENCE, dripping).await.expect("it notices").expect("no panic");
}
