//! A server that drains: what was asked is answered, and nothing else.

mod support;

use duologue_core::TimeoutReason;
use duologue_http1::http::StatusCode;
use duologue_http1::{Body, Response, ServerCommand, ServerSettings};
use support::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn settings() -> ServerSettings {
    ServerSettings::new()
}

fn with(status: StatusCode, body: Body) -> ServerCommand {
    ServerCommand::Respond(Response { body, ..Response::new(status) })
}

#[test]
fn a_drain_answers_what_was_asked_and_ends() {
    let mut session = server(settings());
    session.send(T0, ServerCommand::Drain).expect("accepted");
    written(&mut session, T0);
    assert!(finished(&session), "nothing was asked");
    let mut session = server(settings());
    feed(&mut session, T0, GET);
    messages(&mut session, T0);
    session.send(T0, ServerCommand::Drain).expect("accepted");
    assert_eq!(session.cause(), None);
    session.send(T0, ok("last")).expect("an answer");
    assert!(text(&mut session, T0).contains("connection: close"));
    assert!(finished(&session));
}

#[test]
fn an_empty_line_between_requests_is_no_request_that_a_drain_waits_for() {
    // Some clients send one after their content (RFC 9112, section 2.2).
    let mut session = server(settings());
    feed(&mut session, T0, &[GET, b"\r\n"].concat());
    messages(&mut session, T0);
    session.send(T0, ok("1")).expect("an answer");
    written(&mut session, T0);
    let deadline = session.interest().deadline.expect("a deadline");
    assert_eq!(deadline.reason, TimeoutReason::Protocol("keep-alive"), "it is idle");
    assert!(session.drain(T0));
    written(&mut session, T0);
    assert!(finished(&session), "nothing was asked");

    let mut session = server(settings());
    feed(&mut session, T0, &[GET, b"\r\n"].concat());
    messages(&mut session, T0);
    assert!(session.drain(T0));
    session.send(T0, ok("last")).expect("an answer");
    assert!(text(&mut session, T0).contains("connection: close"));
    assert!(finished(&session));
}

#[test]
fn a_drain_answers_all_that_was_asked_and_says_close_only_with_the_last() {
    // Two whole requests and a part of a third: that one is still taken, and nothing behind it.
    let mut session = server(settings());
    feed(&mut session, T0, &[GET, GET, &GET[..10]].concat());
    assert_eq!(messages(&mut session, T0).len(), 2);
    assert!(session.drain(T0), "it sees to the end itself");
    session.send(T0, ok("1")).expect("an answer");
    session.send(T0, ok("2")).expect("an answer");
    assert!(!text(&mut session, T0).contains("close"), "the third is still coming");
    feed(&mut session, T0, &[&GET[10..], GET].concat());
    assert_eq!(messages(&mut session, T0).len(), 1, "the fourth is nobody's");
    session.send(T0, ok("3")).expect("an answer");
    assert!(text(&mut session, T0).contains("connection: close"));
    assert!(finished(&session));

    let mut session = server(settings());
    feed(&mut session, T0, &[GET, GET].concat());
    messages(&mut session, T0);
    assert!(session.drain(T0));
    assert!(session.drain(T0), "asked again it is the same");
    session.send(T0, ok("1")).expect("an answer");
    session.send(T0, ok("2")).expect("an answer");
    let answers = text(&mut session, T0);
    assert_eq!((answers.matches("200 OK").count(), answers.matches("connection: close").count()), (2, 1));
    assert!(answers.ends_with("2") && finished(&session));
}

#[test]
fn a_drain_waits_for_an_answer_that_has_begun_and_leaves_another_protocol_alone() {
    let mut session = server(settings());
    feed(&mut session, T0, GET);
    messages(&mut session, T0);
    session.send(T0, streamed()).expect("an answer");
    assert!(session.drain(T0));
    session.send(T0, data("more")).expect("content");
    session.send(T0, ServerCommand::End(None)).expect("the end");
    assert!(text(&mut session, T0).ends_with("4\r\nmore\r\n0\r\n\r\n"));
    assert!(finished(&session));

    let mut session = server(settings());
    feed(&mut session, T0, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n<other>");
    messages(&mut session, T0);
    assert!(session.drain(T0));
    session.send(T0, with(StatusCode::SWITCHING_PROTOCOLS, Body::Empty)).expect("upgraded");
    assert!(!session.drain(T0), "it is not HTTP's to end");
    assert_eq!((session.cause(), session.buffered().0), (None, 7), "what came is still there");
}
