//! HTTP/1.1 that becomes a WebSocket on the same socket: both of ours, one after the other.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::driver::Driver;
use duologue_core::{Event as SessionEvent, Session, WhyNot};
use duologue_http1::http::{HeaderName, HeaderValue, StatusCode};
use duologue_http1::{Body, RequestHead, Response, Server, ServerCommand, ServerEvent, ServerSettings};
use duologue_tokio::websocket::{self, Command, Event, Role, ServerHandshake, Settings, WebSocket};
use duologue_tokio::{Clock, Connection, Options, StreamTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

#[path = "../../protocols/websocket/tests/table/mod.rs"]
mod table;

use table::{REQUEST, masked, plain};

const PATIENCE: Duration = Duration::from_secs(10);

type Http = Driver<Server, StreamTransport<TcpStream>, Clock>;

async fn next_event(http: &mut Http) -> Option<SessionEvent<ServerEvent, duologue_http1::Violation>> {
    poll_fn(|cx| http.poll_event(cx)).await
}

fn respond(http: &mut Http, response: Response) {
    http.send(ServerCommand::Respond(response)).expect("there is room");
}

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
async fn serve(stream: TcpStream) {
    let config = Settings::new().config(Role::Server, Server::config());
    let clock = Clock::new();
    let session = Session::new(Server::new(ServerSettings::new()), config, 1, clock_now(&clock)).expect("limits");
    let mut http = Driver::new(session, StreamTransport::new(stream), clock);
    let protocol = loop {
        let Some(SessionEvent::App(ServerEvent::Request(request))) = next_event(&mut http).await else { continue };
        if !request.upgrade {
            let body = Body::Full(Bytes::from_static(b"plain"));
            respond(&mut http, Response { body, ..Response::new(StatusCode::OK) });
            continue;
        }
        let (response, protocol) = granted(&request);
        // Before it was granted the connection is HTTP's, and an upgrade gives it back.
        respond(&mut http, response);
        break protocol;
    };
    let driver = http.upgrade(|_| protocol).expect("open both ways, and nothing waits");
    let mut socket = Connection::from_driver(driver, Options::new().send_within);
    while let Some(event) = socket.next_event().await {
        if let SessionEvent::App(Event::Text(text)) = event {
            socket.send(Command::Text(text)).await.expect("sent");
        }
    }
}

fn clock_now(clock: &Clock) -> duologue_core::Instant {
    duologue_core::driver::Timekeeper::now(clock)
}

#[tokio::test]
async fn a_connection_of_http_becomes_a_websocket_and_keeps_what_came_behind_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move { serve(listener.accept().await.expect("a connection").0).await });
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let frames = [masked(0x81, b"in one segment"), masked(0x88, b"")].concat();
    let get = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    stream.write_all(&[&get[..], REQUEST.as_bytes(), &frames].concat()).await.expect("written");
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server ends").expect("read");
    let expected = [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain"[..],
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
          sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        &plain(0x81, b"in one segment"),
        &plain(0x88, b""),
    ];
    assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(&expected.concat()));
    drop(stream);
    timeout(PATIENCE, server).await.expect("it ends").expect("no panic");
}

#[tokio::test]
async fn a_driver_that_cannot_be_upgraded_comes_back_and_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    let (accepted, _) = listener.accept().await.expect("a connection");
    let clock = Clock::new();
    let session =
        Session::new(Server::new(ServerSettings::new()), Server::config(), 1, clock_now(&clock)).expect("limits");
    let mut http = Driver::new(session, StreamTransport::new(accepted), clock);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("written");
    // An event is there that nobody took.
    while !http.session().has_message() {
        timeout(PATIENCE, poll_fn(|cx| http.poll_progress(cx))).await.expect("a request");
    }
    let upgraded = http.upgrade(|_| WebSocket::upgraded(Role::Server, Settings::new(), None));
    let (mut http, why) = *upgraded.expect_err("an event waits");
    assert_eq!(why, WhyNot::EventsWaiting);
    assert!(matches!(next_event(&mut http).await, Some(SessionEvent::App(ServerEvent::Request(_)))));
    respond(&mut http, Response::new(StatusCode::NO_CONTENT));
    timeout(PATIENCE, poll_fn(|cx| http.poll_flush(cx))).await.expect("flushed");
    let mut answer = [0; 27];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").expect("read");
    assert_eq!(&answer, b"HTTP/1.1 204 No Content\r\n\r\n");
}
