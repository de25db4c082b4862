//! Connecting: one absolute deadline over everything, typed refusals, and a server that speaks first.

use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::{Cause, CloseIntent, Code, Config, Event, FaultKind, Limits, TimeoutReason, Timeouts};
use duologue_tests::sockets::*;
use duologue_tokio::{ConnectError, Connection, Options};
use tokio::io::AsyncReadExt;

const SHORT: Duration = Duration::from_millis(300);

fn in_time(start: Instant) {
    assert!((SHORT..SHORT * 10).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_listener_that_never_answers_the_opening_is_given_up_in_time() {
    let (listener, address) = listen().await;
    let start = Instant::now();
    let connecting = Connection::connect(address, Chat::new(true), Options::new().connect_within(SHORT));
    let error = step("connecting", connecting).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { after: SHORT, doing: "opening the protocol" }), "{error}");
    in_time(start);
    let (mut peer, _) = listener.accept().await.unwrap();
    let mut said = [0; 6];
    step("the opening", peer.read_exact(&mut said)).await.unwrap();
    assert_eq!(&said, b"HELLO\n");
    assert!(read_to_end(&mut peer).await.1.is_err(), "nothing of it is left: it was reset");
}

#[tokio::test]
async fn a_listener_that_talks_but_never_opens_does_not_move_the_deadline() {
    let (listener, address) = listen().await;
    let talking = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.expect("accepted");
        while tokio::io::AsyncWriteExt::write_all(&mut peer, b"half a li").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let start = Instant::now();
    let connecting = Connection::connect(address, Chat::new(true), Options::new().connect_within(SHORT));
    assert!(matches!(step("connecting", connecting).await, Err(ConnectError::TimedOut { .. })));
    in_time(start);
    step("the peer", talking).await.unwrap();
}

#[tokio::test]
async fn a_full_accept_queue_is_given_up_in_time() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: once the queue is full the system answers no more, like a black hole.
    let mut queued = Vec::new();
    while let Ok(connected) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
        queued.push(connected.unwrap());
    }
    let start = Instant::now();
    let connecting = Connection::connect(address, frames(), Options::new().connect_within(SHORT));
    let error = step("connecting", connecting).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { after: SHORT, doing: "connecting" }), "{error}");
    in_time(start);
}

#[tokio::test]
async fn a_refusal_is_typed() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = step("connecting", Connection::connect(address, frames(), Options::new())).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Transport(fault) if fault.kind == FaultKind::Refused), "{error}");
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn limits_that_cannot_work_are_refused_before_anything_is_dialled() {
    let (listener, address) = listen().await;
    let options = with_config(Config::new().limits(Limits::new().recv_buffer(10)));
    let error = step("connecting", Connection::connect(address, frames(), options)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Limits(_)), "{error}");
    assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none());
}

#[tokio::test]
async fn a_server_may_speak_first() {
    let (mut server, mut peer) = accepted(frames(), Options::new()).await;
    server.send(Bytes::from_static(b"welcome")).await.unwrap();
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"welcome"[..]));

    let (listener, address) = listen().await;
    let greeting = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.expect("accepted");
        write(&mut peer, &frame(b"welcome")).await;
        peer
    });
    let mut client = step("connecting", Connection::connect(address, frames(), Options::new())).await.unwrap();
    assert_eq!(message(&mut client).await, "welcome");
    drop(greeting);
}

/// Connects to a listener that says `lines` and then nothing.
async fn connect_to(
    lines: &'static str,
    options: Options,
) -> Result<Connection<Chat>, ConnectError<std::convert::Infallible>> {
    let (listener, address) = listen().await;
    let serving = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.expect("accepted");
        write(&mut peer, lines.as_bytes()).await;
        let _ = read_to_end(&mut peer).await;
    });
    let connected = step("connecting", Connection::connect(address, Chat::new(true), options)).await;
    if connected.is_err() {
        step("the peer", serving).await.expect("no panic");
    }
    connected
}

#[tokio::test]
async fn messages_that_come_before_the_session_is_open_are_kept_in_order() {
    let mut connection = connect_to("one\ntwo\nHI\nthree\n", Options::new()).await.unwrap();
    assert!(connection.session().is_established());
    for expected in ["one", "two", "three"] {
        let event = step("a line", connection.next_event()).await;
        assert_eq!(event, Some(Event::App(Bytes::from_static(expected.as_bytes()))));
    }
    // The same through the halves.
    let (mut receiver, _sender) = connect_to("one\ntwo\nHI\nthree\n", Options::new()).await.unwrap().split();
    for expected in ["one", "two", "three"] {
        let event = step("a line", receiver.next_event()).await;
        assert_eq!(event, Some(Event::App(Bytes::from_static(expected.as_bytes()))));
    }
}

#[tokio::test]
async fn messages_that_come_before_the_session_is_open_are_bounded() {
    let options = with_config(Config::new().limits(Limits::new().events(2)));
    let error = connect_to("one\ntwo\nthree\nHI\n", options).await.unwrap_err();
    assert!(matches!(error, ConnectError::TooManyEarlyEvents { limit: 2 }), "{error}");
}

#[tokio::test]
async fn an_end_while_opening_is_told_with_its_cause() {
    let error = connect_to("BYE\n", Options::new()).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Closed(closed) if closed.cause == Cause::PeerClose(Code(0))), "{error}");
    let options = with_timeouts(Timeouts::new().handshake(Some(SHORT)).linger(None));
    let error = connect_to("", options).await.unwrap_err();
    let expected = Cause::Timeout(TimeoutReason::Handshake);
    assert!(matches!(&error, ConnectError::Closed(closed) if closed.cause == expected), "{error}");
}

#[tokio::test]
async fn an_accepted_connection_opens_within_the_handshake_time_and_sends_wait_for_it() {
    let (mut connection, mut peer) = accepted(Chat::new(true), Options::new()).await;
    let opening = tokio::spawn(async move {
        step("sending", connection.send(Bytes::from_static(b"first"))).await.expect("sent");
        connection
    });
    let mut said = [0; 6];
    step("the opening", peer.read_exact(&mut said)).await.unwrap();
    write(&mut peer, b"HI\n").await;
    step("the command", peer.read_exact(&mut said)).await.unwrap();
    assert_eq!(&said, b"first\n");
    // And its goodbye: said, answered, and only then FIN.
    let mut connection = step("opening", opening).await.unwrap();
    connection.start_close(CloseIntent::Goodbye(Code(4)));
    let closing = tokio::spawn(async move { connection.closed().await });
    let mut said = [0; 4];
    step("the goodbye", peer.read_exact(&mut said)).await.unwrap();
    assert_eq!(&said, b"BYE\n");
    let early = tokio::time::timeout(Duration::from_millis(50), peer.read(&mut said)).await;
    assert!(early.is_err(), "no FIN before the answer");
    write(&mut peer, b"BYE\n").await;
    assert_eq!(step("our FIN", peer.read(&mut said)).await.unwrap(), 0);
    drop(peer);
    assert_eq!(step("the end", closing).await.unwrap().cause, Cause::LocalClose(Code(4)));
}

#[tokio::test]
async fn a_goodbye_dropped_while_it_waits_for_its_answer_ends_with_fin() {
    let (mut connection, mut peer) = dialled(Chat::new(false), Options::new()).await;
    connection.try_send(Bytes::from_static(b"last")).unwrap();
    connection.start_close(CloseIntent::Goodbye(Code(0)));
    assert!(tokio::time::timeout(Duration::from_millis(50), connection.next_event()).await.is_err());
    drop(connection);
    let (bytes, result) = read_to_end(&mut peer).await;
    assert_eq!((&bytes[..], result.is_ok()), (&b"last\nBYE\n"[..], true));
}

#[tokio::test]
async fn dropping_the_wait_for_a_connection_leaves_nothing() {
    let (listener, address) = listen().await;
    let connecting = Connection::connect(address, Chat::new(true), Options::new());
    assert!(tokio::time::timeout(Duration::from_millis(50), connecting).await.is_err());
    let (mut peer, _) = listener.accept().await.unwrap();
    let _ = read_to_end(&mut peer).await;
}
