//! WebSockets of other Rust crates over real sockets, in both roles: tokio-tungstenite and fastwebsockets.
//! Those of other languages are in `tests/peers/websocket/interop.sh`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use duologue_tests::websocket::{Abilities, End, HUGE, check, killed, serve};
use duologue_tokio::websocket::CloseCode;
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, upgrade};
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as TheirFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode as TheirCode, Data, OpCode as OpCodeOfTheirs};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

const PATIENCE: Duration = Duration::from_secs(60);
const ABILITIES: Abilities = Abilities { deflate: false, fragments: true, fin: true, echoes_code: true };

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

async fn our_server() -> (SocketAddr, UnboundedReceiver<End>) {
    let (listener, address) = listen().await;
    let (ended, ends) = unbounded_channel();
    tokio::spawn(serve(listener, false, ended));
    (address, ends)
}

async fn next_end(ends: &mut UnboundedReceiver<End>) -> (CloseCode, &'static str, u64) {
    let end = timeout(PATIENCE, ends.recv()).await.expect("an end in time").expect("an end");
    (end.code, end.cause, end.messages)
}

fn huge() -> Bytes {
    Bytes::from((0..HUGE).map(|i| (i >> 5) as u8).collect::<Vec<_>>())
}

/// `close CODE because`, as a code.
fn wants_close(text: &str) -> Option<u16> {
    text.strip_prefix("close ").and_then(|rest| rest.split(' ').next()).and_then(|code| code.parse().ok())
}

fn config() -> Option<WebSocketConfig> {
    Some(WebSocketConfig::default().max_frame_size(Some(HUGE)).max_message_size(Some(HUGE)))
}

/// `fragments N`, as digits.
fn wants_fragments(text: &str) -> Option<Vec<Bytes>> {
    let count = text.strip_prefix("fragments ")?.parse::<u32>().ok()?;
    Some((0..count).map(|n| Bytes::from((n % 10).to_string())).collect())
}

/// The digits as frames of one text, the first and the last of which are told.
fn as_fragments(digits: Vec<Bytes>) -> impl Iterator<Item = (bool, bool, Bytes)> {
    let last = digits.len() - 1;
    digits.into_iter().enumerate().map(move |(n, digit)| (n == 0, n == last, digit))
}

fn tungstenite_fragments(digits: Vec<Bytes>) -> impl Iterator<Item = Message> {
    as_fragments(digits).map(|(first, last, digit)| {
        let opcode = OpCodeOfTheirs::Data(if first { Data::Text } else { Data::Continue });
        Message::Frame(TheirFrame::message(digit, opcode, last))
    })
}

async fn tungstenite_echo(stream: TcpStream) -> Result<(), Error> {
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, config()).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if let Some(code) = message.to_text().ok().filter(|_| message.is_text()).and_then(wants_close) {
            let frame = CloseFrame { code: TheirCode::from(code), reason: Utf8Bytes::from_static("because") };
            socket.close(Some(frame)).await?;
        } else if let Some(digits) = message.to_text().ok().and_then(wants_fragments) {
            for fragment in tungstenite_fragments(digits) {
                socket.send(fragment).await?;
            }
        } else if message == Message::text("fin") {
            socket.send(Message::text("last")).await?;
            socket.get_mut().shutdown().await?;
        } else if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn tungstenite_server(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        // How it ends is told at our side.
        tokio::spawn(async move { drop(tungstenite_echo(stream).await) });
    }
}

#[tokio::test]
async fn tungstenite_as_the_server() {
    let (listener, address) = listen().await;
    tokio::spawn(tungstenite_server(listener));
    let done = timeout(PATIENCE, check(address, ABILITIES)).await.expect("in time");
    assert_eq!(done.map(|done| done.len()), Ok(6));
}

#[tokio::test]
async fn tungstenite_as_the_client() {
    let (address, mut ends) = our_server().await;
    let url = format!("ws://{address}/x");
    let connect = || async {
        let connected = tokio_tungstenite::connect_async_with_config(&url, config(), true);
        timeout(PATIENCE, connected).await.expect("in time").expect("connected").0
    };
    let mut socket = connect().await;
    let all = [Message::text("h\u{fc} \u{1f600}"), Message::binary(vec![7; 65_536]), Message::binary(huge())];
    for message in all {
        socket.send(message.clone()).await.expect("sent");
        let echo = timeout(PATIENCE, socket.next()).await.expect("in time").expect("one").expect("an echo");
        assert!(echo == message, "another message came back");
    }
    socket.send(Message::text("fragments 12")).await.expect("sent");
    let whole = timeout(PATIENCE, socket.next()).await.expect("in time").expect("one").expect("a message");
    assert_eq!(whole, Message::text("012345678901"));
    for fragment in tungstenite_fragments(["\u{e9}", "", "t\u{e9}"].map(Bytes::from).to_vec()) {
        socket.send(fragment).await.expect("sent");
    }
    let whole = timeout(PATIENCE, socket.next()).await.expect("in time").expect("one").expect("a message");
    assert_eq!(whole, Message::text("\u{e9}t\u{e9}"));
    let frame = CloseFrame { code: TheirCode::from(4999), reason: Utf8Bytes::from_static("done") };
    socket.close(Some(frame)).await.expect("closed");
    assert_eq!(next_end(&mut ends).await, (CloseCode(4999), "peer-close", 5));

    let mut socket = connect().await;
    socket.send(Message::text("close 4321 because")).await.expect("sent");
    let close = timeout(PATIENCE, socket.next()).await.expect("in time").expect("one").expect("a message");
    let Message::Close(Some(frame)) = close else { panic!("not a Close: {close:?}") };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4321, "because"));
    while let Some(Ok(_)) = timeout(PATIENCE, socket.next()).await.expect("in time") {}
    assert_eq!(next_end(&mut ends).await, (CloseCode(4321), "local-close", 1));

    let mut socket = connect().await;
    socket.send(Message::text("a")).await.expect("sent");
    socket.get_mut().shutdown().await.expect("FIN");
    assert_eq!(next_end(&mut ends).await, (CloseCode::ABNORMAL, "peer-finished", 1));

    // Gone without a word, as after a crash.
    drop(connect().await);
    assert_eq!(next_end(&mut ends).await.0, CloseCode::ABNORMAL);
}

async fn fast_echo(upgrade: upgrade::UpgradeFut) -> Result<(), fastwebsockets::WebSocketError> {
    let mut socket = upgrade.await?;
    // It refuses what is as long as its limit.
    socket.set_max_message_size(HUGE + 1);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text => match wants_close(&String::from_utf8_lossy(&frame.payload)) {
                Some(code) => {
                    socket.write_frame(Frame::close(code, b"because")).await?;
                    while socket.read_frame().await?.opcode != OpCode::Close {}
                    return Ok(());
                }
                None if &*frame.payload == b"fin" => {
                    socket.write_frame(Frame::text(Payload::Borrowed(b"last"))).await?;
                    socket.into_inner().shutdown().await?;
                    return Ok(());
                }
                None => match wants_fragments(&String::from_utf8_lossy(&frame.payload)) {
                    Some(digits) => {
                        for (first, last, digit) in as_fragments(digits) {
                            let opcode = if first { OpCode::Text } else { OpCode::Continuation };
                            socket.write_frame(Frame::new(last, opcode, None, Payload::Borrowed(&digit))).await?;
                        }
                    }
                    None => socket.write_frame(frame).await?,
                },
            },
            OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn fast_upgrade(
    mut request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, fastwebsockets::WebSocketError> {
    let (response, upgraded) = upgrade::upgrade(&mut request)?;
    tokio::spawn(async move { drop(fast_echo(upgraded).await) });
    Ok(response)
}

async fn fast_server(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = hyper::service::service_fn(fast_upgrade);
        let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move { drop(served.with_upgrades().await) });
    }
}

#[tokio::test]
async fn fastwebsockets_as_the_server() {
    let (listener, address) = listen().await;
    tokio::spawn(fast_server(listener));
    let done = timeout(PATIENCE, check(address, ABILITIES)).await.expect("in time");
    assert_eq!(done.map(|done| done.len()), Ok(6));
}

struct Spawn;

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

async fn fast_connect(address: SocketAddr) -> FragmentCollector<TokioIo<hyper::upgrade::Upgraded>> {
    let stream = TcpStream::connect(address).await.expect("connected");
    let request = Request::builder()
        .uri(format!("http://{address}/x"))
        .header("Host", address.to_string())
        .header("Upgrade", "websocket")
        .header("Connection", "upgrade")
        .header("Sec-WebSocket-Key", fastwebsockets::handshake::generate_key())
        .header("Sec-WebSocket-Version", "13")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let opening = fastwebsockets::handshake::client(&Spawn, request, stream);
    let (mut socket, _) = timeout(PATIENCE, opening).await.expect("in time").expect("opened");
    socket.set_max_message_size(HUGE + 1);
    FragmentCollector::new(socket)
}

#[tokio::test]
async fn fastwebsockets_as_the_client() {
    let (address, mut ends) = our_server().await;
    let mut socket = fast_connect(address).await;
    let huge = huge();
    for data in [&b"hello"[..], &[7; 65_536], &huge] {
        socket.write_frame(Frame::binary(Payload::Borrowed(data))).await.expect("sent");
        let echo = timeout(PATIENCE, socket.read_frame()).await.expect("in time").expect("an echo");
        assert!(echo.opcode == OpCode::Binary && echo.payload == data, "another message came back");
    }
    // Fragments, cut inside a character.
    for (fin, opcode, data) in [(false, OpCode::Text, &b"h\xc3"[..]), (true, OpCode::Continuation, b"\xbc")] {
        socket.write_frame(Frame::new(fin, opcode, None, Payload::Borrowed(data))).await.expect("sent");
    }
    let echo = timeout(PATIENCE, socket.read_frame()).await.expect("in time").expect("an echo");
    assert!(echo.opcode == OpCode::Text && echo.payload == "h\u{fc}".as_bytes());
    socket.write_frame(Frame::text(Payload::Borrowed(b"fragments 12"))).await.expect("sent");
    let whole = timeout(PATIENCE, socket.read_frame()).await.expect("in time").expect("a message");
    assert!(whole.payload == &b"012345678901"[..]);
    socket.write_frame(Frame::close(4999, b"done")).await.expect("closed");
    assert_eq!(next_end(&mut ends).await, (CloseCode(4999), "peer-close", 5));

    let mut socket = fast_connect(address).await;
    socket.write_frame(Frame::text(Payload::Borrowed(b"close 4321 because"))).await.expect("sent");
    let close = timeout(PATIENCE, socket.read_frame()).await.expect("in time").expect("a Close");
    assert!(close.opcode == OpCode::Close && *close.payload == *[&4321_u16.to_be_bytes()[..], b"because"].concat());
    drop(socket);
    assert_eq!(next_end(&mut ends).await, (CloseCode(4321), "local-close", 1));

    let mut socket = fast_connect(address).await;
    socket.write_frame(Frame::text(Payload::Borrowed(b"a"))).await.expect("sent");
    let echo = timeout(PATIENCE, socket.read_frame()).await.expect("in time").expect("an echo");
    assert!(&*echo.payload == b"a");
    socket.into_inner().shutdown().await.expect("FIN");
    assert_eq!(next_end(&mut ends).await, (CloseCode::ABNORMAL, "peer-finished", 1));

    drop(fast_connect(address).await);
    assert_eq!(next_end(&mut ends).await.0, CloseCode::ABNORMAL);
}

/// What a process of its own is: the name of the peer, and for a client the server's address.
const VICTIM: &str = "DUOLOGUE_VICTIM";

/// The process that [`a_peer_whose_process_is_killed`] kills, in both roles. It says `ready` and its address.
async fn be_victim(what: String) {
    let (listener, own) = listen().await;
    let ready = || println!("\nready {own}");
    match what.split_once(' ') {
        None => {
            ready();
            if what == "tungstenite" { tungstenite_server(listener).await } else { fast_server(listener).await }
        }
        Some(("tungstenite", server)) => {
            let connected = tokio_tungstenite::connect_async(format!("ws://{server}/x")).await;
            let mut socket = connected.expect("connected").0;
            socket.send(Message::text("a")).await.expect("sent");
            while let Some(Ok(_)) = socket.next().await {
                ready();
            }
        }
        Some((_, server)) => {
            let mut socket = fast_connect(server.parse().expect("an address")).await;
            socket.write_frame(Frame::text(Payload::Borrowed(b"a"))).await.expect("sent");
            while socket.read_frame().await.is_ok() {
                ready();
            }
        }
    }
}

/// A process that does not outlive its test.
struct Victim(Child);

impl Victim {
    /// This program once more, as the peer, and its address, once it is ready.
    async fn start(what: String) -> (Self, SocketAddr) {
        let mut command = Command::new(std::env::current_exe().expect("our own path"));
        command.args(["--exact", "a_peer_whose_process_is_killed", "--nocapture", "--test-threads=1"]);
        let child = command.env(VICTIM, &what).stdout(Stdio::piped()).spawn().expect("a process");
        let mut victim = Self(child);
        let output = BufReader::new(victim.0.stdout.take().expect("its output"));
        let address = tokio::task::spawn_blocking(move || {
            let ready = |line: String| line.strip_prefix("ready ").and_then(|address| address.parse().ok());
            output.lines().map_while(Result::ok).find_map(ready)
        });
        let address = timeout(PATIENCE, address).await.unwrap_or_else(|_| panic!("{what} is never ready"));
        (victim, address.expect("no panic").unwrap_or_else(|| panic!("{what} ends")))
    }

    fn kill(&mut self) {
        // SIGKILL, to its own number.
        self.0.kill().expect("it runs");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_peer_whose_process_is_killed() {
    // It starts itself once more, as the peer.
    if let Ok(what) = std::env::var(VICTIM) {
        be_victim(what).await;
        panic!("nobody killed the victim");
    }
    for peer in ["tungstenite", "fastwebsockets"] {
        let (mut victim, address) = Victim::start(peer.into()).await;
        let end = timeout(PATIENCE, killed(address, || victim.kill())).await.expect("in time");
        assert!(matches!(end, Ok("peer-finished" | "peer-reset")), "{peer} as the server: {end:?}");

        let (address, mut ends) = our_server().await;
        let (mut victim, _) = Victim::start(format!("{peer} {address}")).await;
        assert!(ends.try_recv().is_err(), "{peer} as the client ends by the signal only");
        victim.kill();
        let (code, cause, messages) = next_end(&mut ends).await;
        assert_eq!((code, messages), (CloseCode::ABNORMAL, 1), "{peer} as the client");
        assert!(matches!(cause, "peer-finished" | "peer-reset"), "{peer} as the client: {cause}");
    }
}
