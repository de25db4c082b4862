//! The life of a connection on the server's side.

mod support;

use std::time::Duration;

use bytes::Bytes;
use duologue_core::framed::{Framed, Raw};
use duologue_core::{Cause, Event, SendError, TimeoutReason};
use duologue_http1::http::{HeaderMap, HeaderValue, StatusCode, header};
use duologue_http1::{Body, Continue, Response, ServerCommand, ServerEvent, ServerSettings, Violation, Waits};
use support::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const UPLOAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome";
const EXPECTING: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

fn settings() -> ServerSettings {
    ServerSettings::new()
}

/// What a fresh server answers to `request` with these commands, and whether it then ends the connection.
fn answer(request: &[u8], commands: Vec<ServerCommand>) -> (String, bool) {
    let mut session = server(settings());
    feed(&mut session, T0, request);
    messages(&mut session, T0);
    for command in commands {
        session.send(T0, command).expect("accepted");
    }
    (text(&mut session, T0), finished(&session))
}

fn refused(request: &[u8], command: ServerCommand) -> &'static str {
    let mut session = server(settings());
    feed(&mut session, T0, request);
    messages(&mut session, T0);
    match session.send(T0, command.clone()) {
        Err(SendError::Invalid { command: back, why }) => {
            assert_eq!(back, command);
            assert_eq!(text(&mut session, T0), "", "a refused command leaves nothing");
            why
        }
        other => panic!("{other:?}"),
    }
}

fn with(status: StatusCode, body: Body) -> ServerCommand {
    ServerCommand::Respond(Response { body, ..Response::new(status) })
}

fn field(name: header::HeaderName, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
}

#[test]
fn a_response_is_framed_by_its_body() {
    let rows: Vec<(&[u8], Vec<ServerCommand>, &str, bool)> = vec![
        (GET, vec![ok("hi")], "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", false),
        (GET, vec![with(StatusCode::OK, Body::Empty)], "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        (
            GET,
            vec![with(StatusCode::OK, Body::Sized(4)), data("ab"), data("cd"), ServerCommand::End(None)],
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd",
            false,
        ),
        (
            GET,
            vec![streamed(), data("hello, world!!!!"), data(""), data("x"), ServerCommand::End(None)],
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nhello, world!!!!\r\n1\r\nx\r\n0\r\n\r\n",
            false,
        ),
        (
            GET,
            vec![streamed(), ServerCommand::End(Some(field(header::ETAG, "7")))],
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\netag: 7\r\n\r\n",
            false,
        ),
        // HEAD says what GET would, and sends none of it.
        (HEAD, vec![ok("hi")], "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", false),
        (
            HEAD,
            vec![with(StatusCode::OK, Body::Sized(4)), data("abcd"), ServerCommand::End(None)],
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n",
            false,
        ),
        (
            HEAD,
            vec![streamed(), data("abcd"), ServerCommand::End(None)],
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            false,
        ),
        (GET, vec![with(StatusCode::NO_CONTENT, Body::Empty)], "HTTP/1.1 204 No Content\r\n\r\n", false),
        (GET, vec![with(StatusCode::NOT_MODIFIED, Body::Empty)], "HTTP/1.1 304 Not Modified\r\n\r\n", false),
        (
            GET,
            vec![with(StatusCode::NOT_MODIFIED, Body::Full(Bytes::from("hi")))],
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n",
            false,
        ),
        // HTTP/1.0 knows no chunks: the end of the connection is the end of the content.
        (OLD, vec![ok("hi")], "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", true),
        (
            OLD,
            vec![streamed(), data("hi"), ServerCommand::End(None)],
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi",
            true,
        ),
        (
            b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            vec![ok("hi")],
            "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
            false,
        ),
        // Who wants to close, and who says it.
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            vec![ok("hi")],
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
            true,
        ),
        (
            GET,
            vec![ServerCommand::Respond(Response {
                headers: field(header::CONNECTION, "close"),
                ..Response::default()
            })],
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            true,
        ),
        // Interim responses.
        (
            GET,
            vec![ServerCommand::Interim(Response::new(StatusCode::from_u16(103).expect("103"))), ok("hi")],
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            false,
        ),
        (GET, vec![ServerCommand::Continue, ok("")], "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        (
            OLD,
            vec![ServerCommand::Interim(Response::new(StatusCode::from_u16(103).expect("103"))), ok("")],
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            true,
        ),
    ];
    for (request, commands, expected, ends) in rows {
        let what = format!("{} to {commands:?}", request.escape_ascii());
        assert_eq!(answer(request, commands), (expected.to_string(), ends), "{what}");
    }
}

#[test]
fn commands_that_would_break_the_protocol_come_back() {
    let framing =
        ServerCommand::Respond(Response { headers: field(header::CONTENT_LENGTH, "3"), ..Response::default() });
    assert!(refused(GET, framing).contains("written by the session"));
    let framing =
        ServerCommand::Respond(Response { headers: field(header::TRANSFER_ENCODING, "x"), ..Response::default() });
    assert!(refused(GET, framing).contains("written by the session"));
    assert!(refused(GET, with(StatusCode::NO_CONTENT, Body::Stream)).contains("no content"));
    assert!(refused(GET, with(StatusCode::RESET_CONTENT, Body::Sized(1))).contains("no content"));
    assert!(refused(GET, with(StatusCode::SWITCHING_PROTOCOLS, Body::Empty)).contains("Upgrade"));
    assert!(refused(GET, with(StatusCode::CONTINUE, Body::Empty)).contains("Interim"));
    assert!(refused(GET, ServerCommand::Interim(Response::default())).contains("1xx"));
    assert!(refused(b"", ok("hi")).contains("no request"));
    assert!(refused(GET, data("hi")).contains("no response"));
    assert!(refused(GET, ServerCommand::End(None)).contains("no response"));
    let mut session = server(settings());
    feed(&mut session, T0, GET);
    session.send(T0, with(StatusCode::OK, Body::Sized(3))).expect("a head");
    for (command, why) in
        [(data("four"), "more content"), (ServerCommand::End(None), "less content"), (ok("x"), "begun")]
    {
        let error = session.send(T0, command).expect_err("refused");
        assert!(error.to_string().contains(why), "{error}");
    }
    let forbidden = Some(field(header::CONTENT_LENGTH, "3"));
    let mut session = server(settings());
    feed(&mut session, T0, GET);
    session.send(T0, streamed()).expect("a head");
    assert!(session.send(T0, ServerCommand::End(forbidden)).is_err());
}

#[test]
fn pipelined_requests_are_answered_in_order_and_bounded() {
    let mut session = server(settings().pipelined(3));
    let stream: String = (0..10).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    feed(&mut session, T0, stream.as_bytes());
    let mut seen = requests(messages(&mut session, T0));
    assert_eq!(seen.len(), 3, "no more than may wait");
    for i in 0..10 {
        assert_eq!(seen[i].start, format!("GET /{i} HTTP/1.1"));
        session.send(T0, ok("x")).expect("an answer");
        seen.extend(requests(messages(&mut session, T0)));
        assert_eq!(seen.len(), (i + 4).min(10));
    }
    assert_eq!(text(&mut session, T0).matches("HTTP/1.1 200 OK").count(), 10);
}

#[test]
fn a_flood_of_pipelined_requests_is_back_pressure_and_no_error() {
    let mut session = server(settings().pipelined(2));
    let stream = GET.repeat(40_000);
    let fed = feed(&mut session, T0, &stream);
    assert!(fed < stream.len() && !session.interest().read, "the buffer is full, and nothing is read");
    // The application takes what there is and does not answer yet: the buffer fills again.
    let mut waiting = messages(&mut session, T0).len();
    let mut rest = &stream[fed..];
    rest = &rest[feed(&mut session, T0, rest)..];
    assert!(!session.interest().read && !session.interest().event, "all that is left to do is to answer");
    assert_eq!((waiting, session.cause()), (2, None));
    let mut answered = 0;
    for _ in 0..STEPS {
        waiting += messages(&mut session, T0).len();
        let done = waiting == 0;
        for _ in 0..std::mem::take(&mut waiting) {
            session.send(T0, ok("")).expect("an answer");
            answered += 1;
        }
        written(&mut session, T0);
        let n = feed(&mut session, T0, rest);
        rest = &rest[n..];
        if done && rest.is_empty() {
            break;
        }
    }
    // The last of them is the last that a connection may carry.
    assert_eq!(answered, 10_000);
    assert!(finished(&session));
}

#[test]
fn a_connection_carries_so_many_requests() {
    let mut session = server(settings().requests(2));
    feed(&mut session, T0, &GET.repeat(3));
    assert_eq!(messages(&mut session, T0).len(), 2);
    session.send(T0, ok("1")).expect("an answer");
    session.send(T0, ok("2")).expect("an answer");
    let out = text(&mut session, T0);
    assert_eq!(out.matches("connection: close").count(), 1, "{out}");
    assert!(out.ends_with("connection: close\r\ncontent-length: 1\r\n\r\n2"), "{out}");
    assert!(finished(&session));
    assert!(messages(&mut session, T0).is_empty(), "nothing after the last");
}

#[test]
fn a_client_that_half_closed_is_answered_all_the_same() {
    let mut session = server(settings());
    feed(&mut session, T0, &GET.repeat(2));
    session.received_eof(T0);
    let mut seen = 0;
    while let Some(event) = session.poll_event(T0) {
        seen += usize::from(matches!(event, Event::App(_)));
        if event == Event::PeerFinished {
            break;
        }
    }
    assert_eq!(seen, 2);
    session.send(at(1000), ok("1")).expect("answered after PeerFinished was taken");
    assert!(!finished(&session));
    session.send(at(2000), ok("2")).expect("and the second");
    assert!(text(&mut session, at(2000)).ends_with('2'));
    assert!(finished(&session), "with the last answer we finish too");
    assert_eq!(session.cause(), Some(&Cause::PeerFinished));
}

#[test]
fn requests_before_one_that_is_cut_off_are_answered_first() {
    let mut session = server(settings());
    feed(&mut session, T0, &[GET, b"GET /half"].concat());
    session.received_eof(T0);
    assert_eq!(messages(&mut session, T0).len(), 1);
    assert_eq!(session.cause(), None);
    session.send(T0, ok("whole")).expect("an answer");
    assert!(text(&mut session, T0).ends_with("whole"));
    assert_eq!(session.cause(), Some(&Cause::Truncated { missing: None }));
}

#[test]
fn a_body_that_is_cut_off_is_truncated_by_so_much() {
    let mut session = server(settings());
    feed(&mut session, T0, UPLOAD);
    session.received_eof(T0);
    messages(&mut session, T0);
    assert_eq!(session.cause(), Some(&Cause::Truncated { missing: Some(99_996) }));
}

#[test]
fn continue_is_said_by_the_server_or_by_the_application() {
    let mut session = server(settings());
    feed(&mut session, T0, EXPECTING);
    assert_eq!(text(&mut session, T0), "HTTP/1.1 100 Continue\r\n\r\n");
    feed(&mut session, T0, b"hello");
    messages(&mut session, T0);
    session.send(T0, ok("")).expect("an answer");
    assert!(!text(&mut session, T0).contains("close"));

    let manual = settings().continues(Continue::Manual);
    let mut session = server(manual);
    feed(&mut session, T0, EXPECTING);
    assert_eq!(text(&mut session, T0), "");
    let head = messages(&mut session, T0);
    assert!(matches!(&head[..], [ServerEvent::Request(head)] if head.expects_continue));
    session.send(T0, ServerCommand::Continue).expect("accepted");
    session.send(T0, ServerCommand::Continue).expect("once is enough");
    assert_eq!(text(&mut session, T0), "HTTP/1.1 100 Continue\r\n\r\n");

    // A refusal leaves open whether the content follows: the connection cannot be used on.
    let mut session = server(manual);
    feed(&mut session, T0, EXPECTING);
    session.send(T0, full(StatusCode::PAYLOAD_TOO_LARGE, "no")).expect("a refusal");
    feed(&mut session, T0, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(text(&mut session, T0).contains("connection: close\r\n"));
    assert_eq!(messages(&mut session, T0).len(), 1);
    assert!(finished(&session));
}

#[test]
fn pipelined_behind_another_request_continue_waits_for_its_turn() {
    let mut session = server(settings());
    feed(&mut session, T0, &[GET, EXPECTING].concat());
    messages(&mut session, T0);
    assert_eq!(text(&mut session, T0), "", "it would be taken for an answer to the first");
    session.send(T0, ok("1")).expect("an answer");
    assert!(text(&mut session, T0).ends_with("\r\n\r\n1HTTP/1.1 100 Continue\r\n\r\n"));
}

#[test]
fn an_early_answer_drains_what_is_left_within_a_bound() {
    // Little is left: the connection goes on.
    let mut session = server(settings().drain(100));
    feed(&mut session, T0, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n");
    session.send(T0, ok("early")).expect("an answer");
    assert!(!text(&mut session, T0).contains("close"));
    feed(&mut session, T0, &[&[b'x'; 50][..], GET].concat());
    assert_eq!(requests(messages(&mut session, T0)).len(), 2);
    session.send(T0, ok("next")).expect("an answer to the next");

    // Much is left, and it is known: the response says that it is the last.
    let mut session = server(settings().drain(100));
    feed(&mut session, T0, UPLOAD);
    session.send(T0, ok("early")).expect("an answer");
    assert!(text(&mut session, T0).contains("connection: close"));
    assert!(finished(&session));
    assert!(session.interest().read, "what still comes is thrown away, so that the answer is read");

    // It is not known, and too much: the connection ends when that is seen.
    let mut session = server(settings().drain(100));
    feed(&mut session, T0, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    session.send(T0, ok("early")).expect("an answer");
    assert!(!text(&mut session, T0).contains("close"));
    feed(&mut session, T0, b"65\r\n");
    feed(&mut session, T0, &[b'x'; 100]);
    messages(&mut session, T0);
    assert_eq!(session.cause(), None);
    feed(&mut session, T0, b"x");
    messages(&mut session, T0);
    assert_eq!(session.cause(), Some(&Cause::LocalClose(duologue_http1::DONE)));
}

#[test]
fn an_upgrade_hands_over_the_unread_bytes() {
    let request = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let mut session = server(settings());
    feed(&mut session, T0, &[&request[..], b"GET /first HTTP/1.1\r\n\r\n"].concat());
    let seen = messages(&mut session, T0);
    assert!(matches!(&seen[..], [ServerEvent::Request(head)] if head.upgrade), "{seen:?}");
    let switch = ServerCommand::Respond(Response {
        headers: field(header::UPGRADE, "x"),
        ..Response::new(StatusCode::SWITCHING_PROTOCOLS)
    });
    session.send(T0, switch).expect("accepted");
    assert!(session.protocol().is_upgraded());
    feed(&mut session, T0, b"more");
    assert!(messages(&mut session, T0).is_empty(), "it is no HTTP any more");
    assert_eq!(text(&mut session, T0), "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n");
    let mut session = session.upgrade(T0, |_| Framed::new(Raw::new(1024))).expect("upgraded");
    assert_eq!(messages(&mut session, T0), ["GET /first HTTP/1.1\r\n\r\nmore"]);
}

#[test]
fn a_refused_upgrade_goes_on_with_http() {
    let request = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let mut session = server(settings());
    feed(&mut session, T0, &[&request[..], GET].concat());
    assert_eq!(messages(&mut session, T0).len(), 1, "what follows waits for the verdict");
    session.send(T0, ok("no")).expect("refused by a plain answer");
    assert_eq!(messages(&mut session, T0).len(), 1);
}

#[test]
fn connect_becomes_a_tunnel_only_by_a_success() {
    let connect = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    let mut session = server(settings());
    feed(&mut session, T0, &[&connect[..], b"tls"].concat());
    messages(&mut session, T0);
    session.send(T0, with(StatusCode::OK, Body::Empty)).expect("a tunnel");
    assert_eq!(text(&mut session, T0), "HTTP/1.1 200 OK\r\n\r\n");
    assert!(session.protocol().is_upgraded());
    let mut session = server(settings());
    feed(&mut session, T0, &[&connect[..], GET].concat());
    messages(&mut session, T0);
    session.send(T0, full(StatusCode::FORBIDDEN, "no")).expect("refused");
    // What follows may be somebody else's bytes, sent ahead into the tunnel (RFC 9931).
    assert_eq!(messages(&mut session, T0), [], "nothing that follows is a request");
    assert!(text(&mut session, T0).contains("connection: close\r\n"));
    assert!(finished(&session));
}

#[test]
fn content_from_a_full_receive_buffer_can_be_sent_back() {
    let mut session = server(settings());
    feed(&mut session, T0, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    assert_eq!(messages(&mut session, T0).len(), 1);
    session.send(T0, streamed()).expect("an answer");
    let (fed, mut back) = (feed(&mut session, T0, &[7; 1_000_000]), 0);
    assert!(fed >= 200_000, "{fed} bytes waited");
    for _ in 0..STEPS {
        written(&mut session, T0);
        match session.poll_event(T0) {
            Some(Event::App(ServerEvent::Data(data))) => {
                back += data.len();
                session.send(T0, ServerCommand::Data(data)).expect("a queue that is empty takes any piece");
            }
            Some(Event::Writable) => {}
            other => {
                assert_eq!(other, None);
                break;
            }
        }
    }
    assert_eq!(back, fed);
}

#[test]
fn content_that_comes_does_not_prolong_an_earlier_answer() {
    let upload = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    let mut session = server(settings().waits(Waits::new().body(None)));
    feed(&mut session, T0, &[GET, upload].concat());
    messages(&mut session, T0);
    let due = session.interest().deadline.expect("the first answer is due");
    feed(&mut session, at(1000), b"abc");
    messages(&mut session, at(1000));
    assert_eq!(session.interest().deadline, Some(due));
}

/// Feeds one byte every `every` milliseconds until the session ends, and tells when that was and why.
fn drip(settings: ServerSettings, start: &[u8], every: u64) -> (u64, Option<Cause<Violation>>, String) {
    let mut session = server(settings);
    feed(&mut session, T0, start);
    messages(&mut session, T0);
    for i in 1..10_000 {
        let now = at(i * every);
        session.handle_timeout(now);
        if session.cause().is_some() {
            return (i * every, session.cause().cloned(), text(&mut session, now));
        }
        feed(&mut session, now, b"x");
        messages(&mut session, now);
    }
    panic!("one byte at a time keeps it alive");
}

#[test]
fn no_phase_is_prolonged_by_single_bytes() {
    let waits = Waits::new().head(Some(Duration::from_secs(10))).body(Some(Duration::from_secs(30)));
    let settings = settings().waits(waits);
    let (millis, cause, out) = drip(settings, b"GET /", 500);
    assert_eq!((millis, cause), (10_000, Some(Cause::Timeout(TimeoutReason::Protocol("request-head")))));
    assert!(out.starts_with("HTTP/1.1 408 "), "{out}");
    let (millis, cause, out) = drip(settings, UPLOAD, 500);
    assert_eq!((millis, cause), (30_500, Some(Cause::Timeout(TimeoutReason::Protocol("body")))));
    assert!(out.starts_with("HTTP/1.1 408 "), "{out}");
    let (millis, ..) = drip(settings.waits(waits.body_rate(0)), UPLOAD, 500);
    assert_eq!(millis, 30_000);
    let chunk = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n";
    let (millis, ..) = drip(settings, chunk, 500);
    assert_eq!(millis, 30_500, "a size that is announced prolongs nothing");
}

#[test]
fn each_phase_has_its_deadline_and_its_end() {
    // No request at all: closed without a word.
    let mut session = server(settings());
    assert_eq!(pass_deadline(&mut session), at(10_000));
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::Protocol("request-head"))));
    assert_eq!(text(&mut session, at(10_000)), "");
    // Between two requests.
    let mut session = server(settings());
    feed(&mut session, T0, GET);
    messages(&mut session, T0);
    session.send(at(1000), ok("1")).expect("an answer");
    text(&mut session, at(1000));
    assert_eq!(pass_deadline(&mut session), at(61_000));
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::Protocol("keep-alive"))));
    assert_eq!(text(&mut session, at(61_000)), "");
    // The application does not answer.
    let mut session = server(settings());
    feed(&mut session, T0, GET);
    messages(&mut session, T0);
    assert_eq!(pass_deadline(&mut session), at(120_000));
    assert!(text(&mut session, at(120_000)).starts_with("HTTP/1.1 503 "));
    // What is left after an early answer.
    let mut session = server(settings().drain(1 << 20));
    feed(&mut session, T0, UPLOAD);
    messages(&mut session, T0);
    session.send(at(1000), ok("early")).expect("an answer");
    text(&mut session, at(1000));
    assert_eq!(pass_deadline(&mut session), at(6000));
    assert_eq!(session.cause(), Some(&Cause::LocalClose(duologue_http1::DONE)));
}

#[test]
fn an_application_that_takes_no_events_does_not_time_the_peer_out() {
    let mut session = server(settings());
    feed(&mut session, T0, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfour");
    // The head waits to be taken; the whole content lies behind it.
    assert_eq!(pass_deadline(&mut session), at(30_000));
    assert_eq!(session.cause(), None);
    let seen = requests(messages(&mut session, at(60_000)));
    assert!(seen[0].complete && seen[0].body == b"four");
    // Once it takes them again the peer's time goes on.
    let mut session = server(settings());
    feed(&mut session, T0, UPLOAD);
    pass_deadline(&mut session);
    messages(&mut session, at(60_000));
    // The four bytes that were there already have bought four milliseconds.
    assert_eq!(pass_deadline(&mut session), at(90_000).after(Duration::from_nanos(4_000_000_000 / 1024)));
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::Protocol("body"))));
}

#[test]
fn a_violation_in_the_body_after_the_response_began_cannot_be_answered() {
    let mut session = server(settings());
    feed(&mut session, T0, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    messages(&mut session, T0);
    session.send(T0, streamed()).expect("a head");
    feed(&mut session, T0, b"zz\r\n");
    messages(&mut session, T0);
    assert_eq!(violation(&session), Some(Violation::Chunk));
    assert_eq!(text(&mut session, T0).matches("HTTP/1.1").count(), 1);
}

#[test]
fn who_closes_first_is_the_close_order() {
    use duologue_core::{CloseOrder, SendState, Session, Side};
    let asked = |order| {
        let config = duologue_http1::Server::config().close_order(order);
        let protocol = duologue_http1::Server::new(settings());
        let mut session = Session::new(protocol, config, 1, T0).expect("limits that work");
        feed(&mut session, T0, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        messages(&mut session, T0);
        session.send(T0, ok("hi")).expect("an answer");
        assert!(text(&mut session, T0).ends_with("hi"));
        session
    };
    let first = |session: &mut Session<duologue_http1::Server>| {
        session.received_eof(T0);
        written(session, T0);
        session.released();
        loop {
            match session.poll_event(T0) {
                Some(Event::Closed(closed)) => return closed.finished_first,
                Some(_) => {}
                None => panic!("no Closed"),
            }
        }
    };
    let mut local = asked(CloseOrder::LocalFirst);
    assert_eq!(local.states().1, SendState::Finished);
    assert_eq!(first(&mut local), Some(Side::Local));
    let mut peer = asked(CloseOrder::PeerFirst { within: Duration::from_secs(2) });
    assert_eq!(peer.states().1, SendState::Holding, "the client was asked to close, and has two seconds");
    assert_eq!(first(&mut peer), Some(Side::Peer));
    let mut silent = asked(CloseOrder::PeerFirst { within: Duration::from_secs(2) });
    assert_eq!(pass_deadline(&mut silent), at(2000));
    written(&mut silent, at(2000));
    assert!(finished(&silent));
}
