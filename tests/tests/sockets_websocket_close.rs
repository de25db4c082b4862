//! The ends of WebSockets over real sockets: with a full queue, inside a message, crossing each other, with bytes nobody
//! read; and what may come behind a Close.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{
    Cause, CloseIntent, Code, Config, Event as SessionEvent, Limits as Buffers, SendError, TimeoutReason, Timeouts,
};
use duologue_tokio::websocket::{
    self, ClientHandshake, CloseCode, Command, Event, Kind, Part, ServerHandshake, Settings, Violation, WebSocket,
    WebSocketConnection,
};
use duologue_tokio::{Options, Served, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[path = "../../protocols/websocket/tests/table/mod.rs"]
mod table;

use table::{REQUEST, RESPONSE, masked, plain};

const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of each message that fills a queue, and of that queue.
const MESSAGE: usize = 16 << 10;
const QUEUE: usize = 64 << 10;

type Ended = (Cause<Violation>, CloseCode);

/// A raw client of a server that does `work` once it is open; how the server ended.
async fn with_server<F>(options: Options, work: impl FnOnce(WebSocketConnection) -> F) -> (TcpStream, JoinHandle<Ended>)
where
    F: Future<Output = Ended> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let connecting = TcpStream::connect(listener.local_addr().expect("an address"));
    let (raw, accepted) = tokio::join!(connecting, listener.accept());
    let (mut raw, (stream, _)) = (raw.expect("a connection"), accepted.expect("a connection"));
    raw.write_all(REQUEST.as_bytes()).await.expect("written");
    let handshake = ServerHandshake::new(Settings::new().control_events(true));
    let (socket, _) =
        timeout(PATIENCE, websocket::accept(stream, handshake, &options)).await.expect("in time").expect("open");
    let server = tokio::spawn(work(socket));
    let mut head = vec![0; RESPONSE.len()];
    timeout(PATIENCE, raw.read_exact(&mut head)).await.expect("in time").expect("an answer");
    assert_eq!(head, RESPONSE.as_bytes());
    (raw, server)
}

async fn end(mut socket: WebSocketConnection) -> Ended {
    let closed = socket.closed().await;
    (closed.cause, socket.session().protocol().close_code())
}

async fn ended(server: JoinHandle<Ended>) -> Ended {
    timeout(PATIENCE, server).await.expect("it ends in time").expect("no panic")
}

async fn rest(raw: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, raw.read_to_end(&mut bytes)).await.expect("FIN in time").expect("FIN, and no reset");
    bytes
}

fn close(code: u16) -> Vec<u8> {
    plain(0x88, &code.to_be_bytes())
}

fn goodbye(code: u32) -> CloseIntent {
    CloseIntent::Goodbye(Code(code))
}

fn small_queue(timeouts: Timeouts) -> Options {
    let buffers = Buffers::new().send_buffer(QUEUE);
    Options::new().config(Config::new().limits(buffers).timeouts(timeouts))
}

/// Sends until the queue and the kernel's buffers are full, and stay full.
async fn fill(socket: &mut WebSocketConnection) -> u8 {
    let mut sent = 0_usize;
    loop {
        match socket.try_send(Command::Binary(Bytes::from(vec![sent as u8; MESSAGE]))) {
            Ok(()) => sent += 1,
            Err(SendError::Full { .. }) => {
                if timeout(Duration::from_millis(300), socket.next_event()).await.is_err() {
                    return sent as u8;
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_close_with_a_full_queue_comes_behind_everything_that_was_accepted() {
    let (filled, full) = tokio::sync::oneshot::channel();
    let (mut raw, server) = with_server(small_queue(Timeouts::new()), |mut socket| async move {
        let sent = fill(&mut socket).await;
        socket.start_close(goodbye(1001));
        filled.send(sent).expect("somebody listens");
        end(socket).await
    })
    .await;
    let sent = timeout(PATIENCE, full).await.expect("in time").expect("a number");
    let mut next = 0_u8;
    loop {
        let mut head = [0; 2];
        timeout(PATIENCE, raw.read_exact(&mut head)).await.expect("in time").expect("a header");
        if head[0] == 0x88 {
            break;
        }
        let mut frame = vec![0; 2 + MESSAGE];
        timeout(PATIENCE, raw.read_exact(&mut frame)).await.expect("in time").expect("a frame");
        assert_eq!(head, [0x82, 126]);
        assert!(frame[2..].iter().all(|b| *b == next), "message {next} is not the next one");
        next = next.wrapping_add(1);
    }
    assert_eq!(next, sent, "every accepted message, and no other");
    raw.write_all(&masked(0x88, &[0x03, 0xE9])).await.expect("written");
    assert_eq!(rest(&mut raw).await, [0x03, 0xE9], "the code, then FIN");
    drop(raw);
    assert_eq!(ended(server).await, (Cause::LocalClose(Code(1001)), CloseCode(1001)));
}

#[tokio::test]
async fn a_close_with_a_full_queue_ends_in_its_time_though_the_peer_reads_nothing() {
    let within = Duration::from_millis(300);
    let timeouts = Timeouts::new().close_handshake(Some(within)).flush(Some(within)).linger(Some(within));
    let (raw, server) = with_server(small_queue(timeouts), |mut socket| async move {
        fill(&mut socket).await;
        assert!(socket.session().buffered().1 <= QUEUE + (16 << 10), "the queue is bounded");
        socket.start_close(goodbye(1001));
        end(socket).await
    })
    .await;
    let (cause, code) = ended(server).await;
    assert!(matches!(cause, Cause::LocalClose(Code(1001)) | Cause::Timeout(TimeoutReason::Flush)), "{cause:?}");
    assert_eq!(code, CloseCode::ABNORMAL, "no Close came");
    drop(raw);
}

#[tokio::test]
async fn a_close_inside_our_own_message_ends_it_there() {
    let (mut raw, server) = with_server(Options::new(), |mut socket| async move {
        let part = Part { kind: Kind::Text, first: true, last: false, data: Bytes::from_static(b"begun") };
        socket.send(Command::Part(part)).await.expect("sent");
        socket.start_close(goodbye(1001));
        let late = Part { kind: Kind::Text, first: false, last: true, data: Bytes::from_static(b"late") };
        assert!(socket.send(Command::Part(late)).await.is_err(), "nothing follows a Close");
        end(socket).await
    })
    .await;
    raw.write_all(&masked(0x88, &[0x03, 0xE9])).await.expect("written");
    assert_eq!(rest(&mut raw).await, [plain(0x01, b"begun"), close(1001)].concat());
    drop(raw);
    assert_eq!(ended(server).await, (Cause::LocalClose(Code(1001)), CloseCode(1001)));
}

#[tokio::test]
async fn two_closes_that_cross_are_one_end() {
    let (mut raw, server) = with_server(Options::new(), |mut socket| async move {
        // Nothing reads before that.
        socket.start_close(goodbye(1001));
        end(socket).await
    })
    .await;
    raw.write_all(&masked(0x88, &[0x03, 0xE8])).await.expect("written");
    assert_eq!(rest(&mut raw).await, close(1001), "one Close, and FIN");
    drop(raw);
    assert_eq!(ended(server).await, (Cause::LocalClose(Code(1001)), CloseCode(1000)));
}

#[tokio::test]
async fn a_ping_behind_our_close_is_not_answered_and_messages_are_still_heard() {
    let (mut raw, server) = with_server(Options::new(), |mut socket| async move {
        socket.start_close(goodbye(1001));
        let mut heard = Vec::new();
        while let Some(event) = socket.next_event().await {
            if let SessionEvent::App(Event::Text(text)) = event {
                heard.push(text.as_str().to_owned());
            }
        }
        assert_eq!(heard, ["still here"]);
        end(socket).await
    })
    .await;
    let mut told = [0; 4];
    timeout(PATIENCE, raw.read_exact(&mut told)).await.expect("in time").expect("a Close");
    assert_eq!(told[..], close(1001));
    let frames = [masked(0x89, b"ping"), masked(0x81, b"still here"), masked(0x88, &[0x03, 0xE9])].concat();
    raw.write_all(&frames).await.expect("written");
    assert_eq!(rest(&mut raw).await, b"", "no pong, only FIN");
    drop(raw);
    assert_eq!(ended(server).await, (Cause::LocalClose(Code(1001)), CloseCode(1001)));
}

#[tokio::test]
async fn our_last_words_are_not_lost_to_what_we_did_not_read() {
    let (mut raw, server) = with_server(Options::new(), end).await;
    // A violation, and far more behind it than all buffers hold: with unread bytes a closing socket resets.
    let (mut reading, mut writing) = raw.split();
    let words = async {
        let mut bytes = Vec::new();
        // As slowly as somebody who writes first and reads later.
        tokio::time::sleep(Duration::from_millis(200)).await;
        timeout(PATIENCE, reading.read_to_end(&mut bytes)).await.expect("in time").expect("FIN, and no reset");
        bytes
    };
    let talk = async {
        writing.write_all(&plain(0x81, b"unmasked")).await.expect("written");
        writing.write_all(&vec![0; 8 << 20]).await.expect("the server drains what it does not want");
        writing.shutdown().await.expect("FIN");
    };
    let (words, ()) = timeout(PATIENCE, async { tokio::join!(words, talk) }).await.expect("in time");
    assert_eq!(words, close(1002));
    assert_eq!(ended(server).await, (Cause::Violation(Violation::Unmasked), CloseCode::ABNORMAL));
}

#[tokio::test]
async fn a_pong_for_another_ping_is_told_and_ends_nothing() {
    let (mut raw, server) = with_server(Options::new(), |mut socket| async move {
        socket.send(Command::Ping(Bytes::from_static(b"mine"))).await.expect("sent");
        let mut pongs = Vec::new();
        while let Some(event) = socket.next_event().await {
            if let SessionEvent::App(Event::Pong(pong)) = event {
                pongs.push(pong);
            }
        }
        assert_eq!(pongs, [&b"another"[..], b"", b"mine"]);
        end(socket).await
    })
    .await;
    let mut ping = [0; 6];
    timeout(PATIENCE, raw.read_exact(&mut ping)).await.expect("in time").expect("a ping");
    assert_eq!(ping[..], plain(0x89, b"mine"));
    let pongs = [masked(0x8A, b"another"), masked(0x8A, b""), masked(0x8A, b"mine"), masked(0x88, b"")].concat();
    raw.write_all(&pongs).await.expect("written");
    assert_eq!(rest(&mut raw).await, plain(0x88, b""));
    drop(raw);
    assert_eq!(ended(server).await, (Cause::PeerClose(Code(1005)), CloseCode::NO_STATUS));
}

#[tokio::test]
async fn a_client_hears_what_came_with_the_101_and_refuses_a_mask() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a request"));
        }
        let head = String::from_utf8(head).expect("a head is text");
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        // Somebody else's idea of the right answer.
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = RESPONSE.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &accept);
        let frames = [plain(0x81, b"with the 101"), masked(0x82, b"a server masks nothing")].concat();
        stream.write_all(&[answer.as_bytes(), &frames].concat()).await.expect("written");
        let mut told = [0; 8];
        stream.read_exact(&mut told).await.expect("a Close");
        // The client leaves it to us to end TCP first.
        stream.shutdown().await.expect("FIN");
        assert_eq!(rest(&mut stream).await, b"", "FIN behind its Close");
        told
    });
    let handshake = ClientHandshake::new(address.to_string(), "/");
    let connecting = websocket::connect_to(address, handshake, Options::new());
    let (mut socket, _) = timeout(PATIENCE, connecting).await.expect("in time").expect("open");
    let event = timeout(PATIENCE, socket.next_event()).await.expect("in time");
    assert!(
        matches!(&event, Some(SessionEvent::App(Event::Text(text))) if text.as_str() == "with the 101"),
        "{event:?}"
    );
    let (cause, code) = timeout(PATIENCE, end(socket)).await.expect("in time");
    assert_eq!((cause, code), (Cause::Violation(Violation::Masked), CloseCode::ABNORMAL));
    let told = timeout(PATIENCE, server).await.expect("in time").expect("no panic");
    let [first, second, key @ .., high, low] = &told[..] else { panic!("{told:?}") };
    assert_eq!((*first, *second, key.len()), (0x88, 0x82, 4));
    assert_eq!([high ^ key[0], low ^ key[1]], [0x03, 0xEA], "1002, masked");
}

#[tokio::test]
async fn a_server_that_drains_says_what_its_owner_chose() {
    for (code, told) in [(None, 1000_u16), (Some(Code(1001)), 1001)] {
        let server = Server::bind("127.0.0.1:0", Options::new()).await.expect("bound");
        let (address, handle) = (server.local_addr().expect("its address"), server.handle());
        let handshake = Arc::new(ServerHandshake::new(Settings::new()));
        let protocol = move |_| WebSocket::server(Arc::clone(&handshake));
        let serving = tokio::spawn(server.serve(protocol, |mut socket: Served<WebSocket>| async move {
            while socket.next_event().await.is_some() {}
        }));
        let mut raw = TcpStream::connect(address).await.expect("a connection");
        raw.write_all(REQUEST.as_bytes()).await.expect("written");
        let mut head = vec![0; RESPONSE.len()];
        timeout(PATIENCE, raw.read_exact(&mut head)).await.expect("in time").expect("an answer");
        match code {
            Some(code) => handle.drain_with(code, PATIENCE),
            None => handle.drain(PATIENCE),
        }
        let mut close = [0; 4];
        timeout(PATIENCE, raw.read_exact(&mut close)).await.expect("in time").expect("a Close");
        assert_eq!(close[..], plain(0x88, &told.to_be_bytes()));
        raw.write_all(&masked(0x88, &told.to_be_bytes())).await.expect("written");
        let report = timeout(PATIENCE, serving).await.expect("in time").expect("no panic");
        assert_eq!((report.open, report.ended), (1, 1), "{report}");
    }
}
