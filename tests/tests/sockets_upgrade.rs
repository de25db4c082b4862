//! HTTP/1.1 that becomes a WebSocket on the same socket: both of ours, one after the other.

use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Code, Event as SessionEvent, WhyNot};
use duologue_http1::http::{HeaderName, HeaderValue, StatusCode};
use duologue_http1::{Body, RequestHead, Response, Server, ServerCommand, ServerEvent, ServerSettings};
use duologue_tokio::websocket::{self, Command, Event, Role, ServerHandshake, Settings, WebSocket};
use duologue_tokio::{DrainReport, Options, Served, ServerHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

#[path = "../../protocols/websocket/tests/table/mod.rs"]
mod table;

use table::{REQUEST, masked, plain};

const PATIENCE: Duration = Duration::from_secs(10);

/// The answer to a request to upgrade, as HTTP says it, and the protocol that follows.
fn granted(request: &RequestHead) -> (Response, WebSocket) {
    let fields = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let head = websocket::handshake::RequestHead::new("GET", request.uri.path(), 1, fields);
    let accepted = ServerHandshake::new(Settings::new()).answer(&head).expect("a request in order");
    let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in accepted.headers() {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        response.headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    (response, WebSocket::upgraded(Role::Server, Settings::new(), accepted.deflate()))
}

/// Answers requests until one asks for a WebSocket, which then echoes up to its end.
async fn serve(mut http: Served<Server>) {
    let protocol = loop {
        let request = match http.next_event().await {
            Some(SessionEvent::App(ServerEvent::Request(request))) => request,
            Some(_) => continue,
            None => return,
        };
        if request.upgrade {
            let (response, protocol) = granted(&request);
            http.send(ServerCommand::Respond(response)).await.expect("sent");
            break protocol;
        }
        let body = Body::Full(Bytes::from_static(b"plain"));
        let response = Response { body, ..Response::new(StatusCode::OK) };
        http.send(ServerCommand::Respond(response)).await.expect("sent");
    };
    let mut socket = http.upgrade(|_| protocol).expect("open both ways, and nothing waits");
    while let Some(event) = socket.next_event().await {
        if let SessionEvent::App(Event::Text(text)) = event {
            socket.send(Command::Text(text)).await.expect("sent");
        }
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// The answers to [`GET`] and to the request of a WebSocket.
const ANSWERS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain\
    HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A server of HTTP, and what to ask it with.
async fn server() -> (tokio::task::JoinHandle<DrainReport>, ServerHandle, TcpStream) {
    let options = Options::new().config(Settings::new().config(Role::Server, Server::config()));
    let server = duologue_tokio::Server::bind("127.0.0.1:0", options).await.expect("a port");
    let (address, handle) = (server.local_addr().expect("an address"), server.handle());
    let serving = tokio::spawn(server.serve(|_| Server::new(ServerSettings::new()), serve));
    let stream = TcpStream::connect(address).await.expect("a connection");
    (serving, handle, stream)
}

#[tokio::test]
async fn a_connection_of_http_becomes_a_websocket_and_keeps_what_came_behind_the_request() {
    let (serving, handle, mut stream) = server().await;
    let frames = [masked(0x81, b"in one segment"), masked(0x88, b"")].concat();
    stream.write_all(&[GET, REQUEST.as_bytes(), &frames].concat()).await.expect("written");
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server ends").expect("read");
    let expected = [ANSWERS, &plain(0x81, b"in one segment"), &plain(0x88, b"")].concat();
    assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(&expected));
    drop(stream);
    handle.drain(PATIENCE);
    let report = timeout(PATIENCE, serving).await.expect("it ends").expect("no panic");
    assert!(report.left.is_empty(), "{report}");
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.open, stats.ended.total()), (1, 0, 1), "one connection, counted once");
}

#[tokio::test]
async fn a_server_that_drains_calls_what_its_connections_became() {
    let (serving, handle, mut stream) = server().await;
    stream.write_all(&[GET, REQUEST.as_bytes(), &masked(0x81, b"a")].concat()).await.expect("written");
    let mut answer = vec![0; ANSWERS.len() + plain(0x81, b"a").len()];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("answers").expect("read");
    assert_eq!(handle.stats().open, 1);
    handle.drain_with(Code(1001), PATIENCE);
    let close = plain(0x88, &1001_u16.to_be_bytes());
    let mut said = vec![0; close.len()];
    timeout(PATIENCE, stream.read_exact(&mut said)).await.expect("a goodbye").expect("read");
    assert_eq!(said, close, "going away");
    stream.write_all(&masked(0x88, &1001_u16.to_be_bytes())).await.expect("written");
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.expect("the end").expect("in order"), 0);
    drop(stream);
    let report = timeout(PATIENCE, serving).await.expect("it ends").expect("no panic");
    assert!(report.left.is_empty(), "{report}");
}

#[test]
fn a_thread_goes_on_with_another_protocol_too() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut stream = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(&[GET, REQUEST.as_bytes(), &masked(0x81, b"a"), &masked(0x88, b"")].concat()).expect("written");
    let (accepted, _) = listener.accept().expect("a connection");
    let answers = std::thread::spawn(move || {
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).map(|_| answers)
    });
    let options = Options::new().config(Settings::new().config(Role::Server, Server::config()));
    let protocol = Server::new(ServerSettings::new());
    let mut http = duologue_blocking::Connection::accept(accepted, protocol, &options).expect("limits");
    let mut protocol = None;
    while protocol.is_none() {
        let Some(SessionEvent::App(ServerEvent::Request(request))) = http.next_event() else { continue };
        let response = if request.upgrade {
            let (response, next) = granted(&request);
            protocol = Some(next);
            response
        } else {
            Response { body: Body::Full(Bytes::from_static(b"plain")), ..Response::new(StatusCode::OK) }
        };
        http.send(ServerCommand::Respond(response)).expect("sent");
    }
    let mut socket = http.upgrade(|_| protocol.expect("granted")).expect("open both ways, and nothing waits");
    while let Some(event) = socket.next_event() {
        if let SessionEvent::App(Event::Text(text)) = event {
            socket.send(Command::Text(text)).expect("sent");
        }
    }
    let answer = answers.join().expect("no panic").expect("the end");
    let expected = [ANSWERS, &plain(0x81, b"a"), &plain(0x88, b"")].concat();
    assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(&expected));
}

#[tokio::test]
async fn a_connection_that_cannot_be_upgraded_comes_back_and_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    let (accepted, _) = listener.accept().await.expect("a connection");
    let options = Options::new().config(Server::config());
    let protocol = Server::new(ServerSettings::new());
    let mut http = duologue_tokio::Connection::accept(accepted, protocol, &options).expect("limits");
    stream.write_all(GET).await.expect("written");
    // An event is there that nobody took.
    let has_message = |http: &duologue_tokio::Connection<Server>| http.session().has_message();
    timeout(PATIENCE, async {
        while !has_message(&http) {
            http.drive_during(tokio::task::yield_now()).await;
        }
    })
    .await
    .expect("a request");
    let upgraded = http.upgrade(|_| WebSocket::upgraded(Role::Server, Settings::new(), None));
    let (mut http, why) = *upgraded.expect_err("an event waits");
    assert_eq!(why, WhyNot::EventsWaiting);
    assert!(matches!(http.next_event().await, Some(SessionEvent::App(ServerEvent::Request(_)))));
    http.send(ServerCommand::Respond(Response::new(StatusCode::NO_CONTENT))).await.expect("sent");
    timeout(PATIENCE, http.flush()).await.expect("flushed");
    let mut answer = [0; 27];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").expect("read");
    assert_eq!(&answer, b"HTTP/1.1 204 No Content\r\n\r\n");
}
