//! The life of a connection on the client's side.

mod support;

use bytes::Bytes;
use duologue_core::framed::{Framed, Raw};
use duologue_core::{Cause, Event, FaultKind, Operation, SendError, TimeoutReason, TransportFault};
use duologue_http1::http::{Method, StatusCode};
use duologue_http1::{Body, ClientCommand, ClientEvent, ClientSettings, Limits, Request, Violation};
use support::*;

fn settings() -> ClientSettings {
    ClientSettings::new()
}

fn asked(method: &'static str, reply: &str) -> duologue_core::Session<duologue_http1::Client> {
    let mut session = client(settings());
    session.send(T0, ClientCommand::Request(request(method, "/", Body::Empty))).expect("a request");
    written(&mut session, T0);
    feed(&mut session, T0, reply.as_bytes());
    session
}

#[test]
fn a_request_is_framed_by_its_body() {
    let rows: Vec<(Vec<ClientCommand>, &str)> = vec![
        (vec![get("/a?b")], "GET /a?b HTTP/1.1\r\nhost: example.org\r\n\r\n"),
        (
            vec![ClientCommand::Request(request("POST", "/", Body::Empty))],
            "POST / HTTP/1.1\r\nhost: example.org\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            vec![ClientCommand::Request(request("PUT", "/", Body::Full(Bytes::from("hi"))))],
            "PUT / HTTP/1.1\r\nhost: example.org\r\ncontent-length: 2\r\n\r\nhi",
        ),
        (
            vec![
                ClientCommand::Request(request("POST", "/", Body::Stream)),
                ClientCommand::Data(Bytes::from("hi")),
                ClientCommand::End(None),
            ],
            "POST / HTTP/1.1\r\nhost: example.org\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
    ];
    for (commands, expected) in rows {
        let mut session = client(settings());
        for command in commands {
            session.send(T0, command).expect("accepted");
        }
        assert_eq!(text(&mut session, T0), expected);
    }
}

#[test]
fn requests_that_cannot_be_sent_come_back() {
    let refused = |request: Request| match client(settings()).send(T0, ClientCommand::Request(request)) {
        Err(SendError::Invalid { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    let build = duologue_http1::http::Request::builder;
    assert!(refused(Request::new(Method::GET, "/".parse().expect("a target"))).contains("Host"));
    assert!(refused(Request::new(Method::GET, "*".parse().expect("a target"))).contains("OPTIONS"));
    let expecting = build().uri("http://a/").header("expect", "100-continue").body(Body::Empty).expect("a request");
    assert!(refused(expecting.into()).contains("Expect"));
    let framed = build().uri("http://a/").header("content-length", "3").body(Body::Empty).expect("a request");
    assert!(refused(framed.into()).contains("written by the session"));
    // RFC 9110, section 9.3.8.
    let traced = build().method("TRACE").uri("http://a/").body(Body::Full("x".into())).expect("a request");
    assert!(refused(traced.into()).contains("TRACE"));
    let mut busy = client(settings());
    busy.send(T0, get("/")).expect("a request");
    assert!(matches!(busy.send(T0, get("/")), Err(SendError::Invalid { .. })));
}

#[test]
fn who_the_user_is_stays_at_home() {
    let mut session = client(settings());
    let uri = "http://user:secret@example.org:8080/".parse().expect("a URI");
    session.send(T0, ClientCommand::Request(Request::new(Method::GET, uri))).expect("a request");
    assert_eq!(text(&mut session, T0), "GET / HTTP/1.1\r\nhost: example.org:8080\r\n\r\n");
    let mut session = client(settings());
    let uri = "user:secret@example.org:443".parse().expect("a URI");
    session.send(T0, ClientCommand::Request(Request::new(Method::CONNECT, uri))).expect("a request");
    let head = "CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n";
    assert_eq!(text(&mut session, T0), head, "RFC 9112, section 3.2.3: a host and a port");
}

/// RFC 9112, section 3.2.1: where the path is empty, `/` is sent.
#[test]
fn a_query_without_a_path_stands_behind_a_slash() {
    for (uri, target) in [("http://a?x=1", "/?x=1"), ("http://a?", "/?"), ("http://a", "/"), ("http://a/?x", "/?x")] {
        let mut session = client(settings());
        let request = Request::new(Method::GET, uri.parse().expect("a URI"));
        session.send(T0, ClientCommand::Request(request)).expect("a request");
        assert_eq!(text(&mut session, T0), format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"), "{uri}");
    }
}

#[test]
fn responses_end_where_their_framing_says() {
    let rows: &[(&str, &str, &str, bool)] = &[
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true),
        ("GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", true),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n", "hi", true),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "", true),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", true),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "", true),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "", true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", "hi", false),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", false),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", "hi", true),
    ];
    for (method, reply, body, reusable) in rows {
        let mut session = asked(method, reply);
        let seen = responses(messages(&mut session, T0));
        assert_eq!(seen.len(), 1, "{reply:?}");
        assert_eq!((seen[0].body.as_slice(), seen[0].complete), (body.as_bytes(), true), "{reply:?}");
        assert_eq!(session.protocol().is_idle(), *reusable, "{reply:?}");
        written(&mut session, T0);
        assert_eq!(finished(&session), !reusable, "{reply:?}: a connection that ends is ended");
    }
}

#[test]
fn content_without_a_length_ends_with_the_connection() {
    let mut session = asked("GET", "HTTP/1.1 200 OK\r\n\r\nhalf");
    assert!(!responses(messages(&mut session, T0))[0].complete);
    assert!(!session.protocol().is_idle());
    session.received_eof(T0);
    assert_eq!(session.poll_event(T0), Some(Event::App(ClientEvent::End(None))));
    assert_eq!(session.poll_event(T0), Some(Event::PeerFinished));
    written(&mut session, T0);
    assert_eq!(session.cause(), Some(&Cause::PeerFinished));
}

#[test]
fn content_without_a_length_that_a_reset_ends_is_not_whole() {
    let mut session = asked("GET", "HTTP/1.1 200 OK\r\n\r\nhalf");
    let mut seen = messages(&mut session, T0);
    session.transport_failed(T0, TransportFault::new(FaultKind::Reset, Operation::Read));
    seen.extend(messages(&mut session, T0));
    assert!(!responses(seen)[0].complete);
    assert_eq!(session.cause(), Some(&Cause::PeerReset));
}

#[test]
fn a_response_that_is_cut_off_is_told_so() {
    for (reply, missing) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", Some(3)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", None),
        ("HTTP/1.1 200 OK\r\nContent-Len", None),
        ("", None),
    ] {
        let mut session = asked("GET", reply);
        messages(&mut session, T0);
        session.received_eof(T0);
        assert_eq!(session.cause(), Some(&Cause::Truncated { missing }), "{reply:?}");
    }
}

#[test]
fn what_nobody_asked_for_is_a_violation() {
    let mut session = client(settings());
    feed(&mut session, T0, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    messages(&mut session, T0);
    assert_eq!(violation(&session), Some(Violation::Unsolicited));
    // Content behind a response that has none: it would be the next one's.
    for (method, reply) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nhi"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nhi"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!"),
    ] {
        let mut session = asked(method, reply);
        assert_eq!(responses(messages(&mut session, T0)).len(), 1, "{reply:?}");
        assert_eq!(violation(&session), Some(Violation::Unsolicited), "{reply:?}");
    }
}

#[test]
fn responses_that_may_be_read_in_two_ways_are_refused() {
    for (reply, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", Violation::TwoLengths),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", Violation::ContentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Violation::UnknownCoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Violation::TransferEncoding),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", Violation::UnexpectedContent),
        ("HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\n", Violation::LineEnd),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Violation::Field),
        ("HTTP/2.0 200 OK\r\n\r\n", Violation::Version),
        ("SSH-2.0-OpenSSH\r\n\r\n", Violation::StartLine),
        ("HTTP/1.1 20 OK\r\n\r\n", Violation::StartLine),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Violation::Unsolicited),
    ] {
        let mut session = asked("GET", reply);
        messages(&mut session, T0);
        assert_eq!(violation(&session), Some(expected), "{reply:?}");
    }
}

#[test]
fn interim_responses_are_told_and_bounded() {
    let reply = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut session = asked("GET", reply);
    let seen = messages(&mut session, T0);
    assert!(matches!(&seen[..], [ClientEvent::Interim(hints), ClientEvent::Response(_)] if hints.status == 103));
    let mut session = asked("GET", &"HTTP/1.1 102 Processing\r\n\r\n".repeat(17));
    assert_eq!(messages(&mut session, T0).len(), 16);
    assert_eq!(violation(&session), Some(Violation::TooManyInterim { limit: 16 }));
}

fn expecting() -> ClientCommand {
    let mut request = request("POST", "/", Body::Sized(2));
    request.headers.insert("expect", duologue_http1::http::HeaderValue::from_static("100-continue"));
    ClientCommand::Request(request)
}

#[test]
fn content_waits_for_continue_but_not_for_ever() {
    let mut session = client(settings());
    session.send(T0, expecting()).expect("a request");
    written(&mut session, T0);
    assert_eq!(pass_deadline(&mut session), at(1000));
    assert_eq!(messages(&mut session, at(1000)), [ClientEvent::ContinueOverdue]);
    session.send(at(1000), ClientCommand::Data(Bytes::from("hi"))).expect("content");
    session.send(at(1000), ClientCommand::End(None)).expect("the end");
    assert!(text(&mut session, at(1000)).ends_with("hi"));
    // A final response instead ends the wait.
    let mut session = client(settings());
    session.send(T0, expecting()).expect("a request");
    written(&mut session, T0);
    feed(&mut session, T0, b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(responses(messages(&mut session, T0)).len(), 1);
    written(&mut session, T0);
    assert!(finished(&session));
}

#[test]
fn an_early_response_leaves_the_request_to_be_completed() {
    let mut session = client(settings());
    session.send(T0, ClientCommand::Request(request("POST", "/", Body::Stream))).expect("a request");
    feed(&mut session, T0, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(messages(&mut session, T0).len(), 1);
    assert!(!session.protocol().is_idle());
    session.send(T0, ClientCommand::End(None)).expect("the end");
    assert!(session.protocol().is_idle());
    session.send(T0, get("/")).expect("the next");
}

#[test]
fn a_server_that_does_not_answer_is_dead() {
    let waits = duologue_http1::Waits::new().response(Some(std::time::Duration::from_secs(20)));
    let mut session = client(settings().waits(waits));
    session.send(T0, get("/")).expect("a request");
    written(&mut session, T0);
    // Neither an interim response nor a byte now and then puts it off.
    feed(&mut session, at(10_000), b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200");
    messages(&mut session, at(10_000));
    let deadline = session.interest().deadline.expect("armed");
    assert_eq!((deadline.at, deadline.reason), (at(20_000), TimeoutReason::Request));
    session.handle_timeout(deadline.at);
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::Request)));
}

#[test]
fn an_upgrade_hands_over_the_unread_bytes() {
    let mut session = client(settings());
    let upgrade = duologue_http1::http::Request::builder()
        .uri("http://a/")
        .header("connection", "upgrade")
        .header("upgrade", "x")
        .body(Body::Empty)
        .expect("a request");
    session.send(T0, ClientCommand::Request(upgrade.into())).expect("a request");
    written(&mut session, T0);
    feed(&mut session, T0, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nnews");
    let seen = messages(&mut session, T0);
    assert!(matches!(&seen[..], [ClientEvent::Response(head)] if head.status == StatusCode::SWITCHING_PROTOCOLS));
    let mut session = session.upgrade(T0, |_| Framed::new(Raw::new(1024))).expect("upgraded");
    assert_eq!(messages(&mut session, T0), ["news"]);
}

#[test]
fn a_tunnel_begins_behind_the_head_whatever_it_says() {
    let mut session = client(settings());
    let request = Request::new(Method::CONNECT, "a:443".parse().expect("a target"));
    session.send(T0, ClientCommand::Request(request)).expect("a request");
    assert_eq!(text(&mut session, T0), "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n");
    feed(&mut session, T0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(messages(&mut session, T0).len(), 1);
    assert!(session.protocol().is_upgraded());
}

#[test]
fn a_body_too_long_is_refused() {
    let mut session = client(settings().limits(Limits::new().body(Some(3))));
    session.send(T0, get("/")).expect("a request");
    feed(&mut session, T0, b"HTTP/1.1 200 OK\r\n\r\nlong");
    messages(&mut session, T0);
    assert_eq!(violation(&session), Some(Violation::BodyTooLong { limit: 3 }));
}
