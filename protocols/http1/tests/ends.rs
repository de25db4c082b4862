//! How sessions end when several ends meet, or the other side does nothing any more.

mod support;

use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, Event, FaultKind, Operation, TimeoutReason, TransportFault};
use duologue_http1::http::StatusCode;
use duologue_http1::{Body, Response, ServerCommand, ServerSettings};
use support::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A request waits for its answer, a part of the next is there, the client has finished: and then nothing can be answered
/// any more. Nobody is left to wait for.
#[test]
fn a_half_request_behind_one_that_cannot_be_answered_any_more_does_not_hold_the_end() {
    let mut session = server(ServerSettings::new());
    feed(&mut session, T0, &[GET, GET, &GET[..10]].concat());
    assert_eq!(messages(&mut session, T0).len(), 2);
    session.received_eof(T0);
    session.send(T0, ok("1")).expect("an answer");
    session.transport_failed(T0, TransportFault::new(FaultKind::BrokenPipe, Operation::Write));
    for _ in 0..4 {
        session.handle_timeout(T0);
        if session.interest().release.is_some() {
            session.released();
        }
    }
    let mut last = None;
    while let Some(event) = session.poll_event(T0) {
        last = Some(event);
    }
    let Some(Event::Closed(closed)) = last else { panic!("no end: {session:?}") };
    assert_eq!(closed.cause, Cause::PeerReset);
}

#[test]
fn a_client_that_does_not_read_its_answer_is_not_waited_for() {
    let mut session = server(ServerSettings::new());
    feed(&mut session, T0, GET);
    messages(&mut session, T0);
    session.send(T0, ok("an answer that nobody reads")).expect("an answer");
    // A byte is a 240th of a second's progress; after it there is none.
    session.transmitted(at(20_000), 1);
    assert_eq!(pass_deadline(&mut session), at(30_000).after(Duration::from_nanos(4_166_666)));
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::WriteStall)));
}

/// A reader that takes a byte just before each deadline keeps its connection for one wait, and not for ever.
#[test]
fn a_client_that_takes_its_answer_byte_by_byte_is_not_waited_for() {
    let mut session = server(ServerSettings::new());
    feed(&mut session, T0, GET);
    messages(&mut session, T0);
    session
        .send(T0, ok("an answer that is read one byte at a time, in the hope that this goes on for ever"))
        .expect("an answer");
    let mut now = 0;
    while session.cause().is_none() && now < 120_000 {
        now += 1_000;
        session.handle_timeout(at(now));
        if session.cause().is_none() {
            session.transmitted(at(now), 1);
        }
    }
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::WriteStall)), "after {now} ms");
    assert_eq!(now, 31_000, "29 bytes bought a part of a second");
}

/// A slow link is no attack, however long its answer is.
#[test]
fn a_client_that_keeps_a_modest_rate_is_waited_for_as_long_as_its_answer_takes() {
    let mut session = server(ServerSettings::new());
    feed(&mut session, T0, GET);
    messages(&mut session, T0);
    let begin = ServerCommand::Respond(Response { body: Body::Stream, ..Response::new(StatusCode::OK) });
    session.send(T0, begin).expect("an answer");
    let piece = Bytes::from(vec![7; 4_000]);
    // Ten hours of five seconds each; what was taken at once is no credit for later.
    for step in 1..7_200 {
        let now = at(step * 5_000);
        while session.send(now, ServerCommand::Data(piece.clone())).is_ok() {}
        session.handle_timeout(now);
        assert_eq!(session.cause(), None, "step {step}");
        session.transmitted(now, 1_200);
    }
    let last = at(7_199 * 5_000);
    assert_eq!(pass_deadline(&mut session), last.after(Duration::from_secs(30)));
}

/// Events that come once in a while are no slow answer: nothing is queued between them.
#[test]
fn a_stream_that_is_quiet_is_not_ended_by_the_rate() {
    let mut session = server(ServerSettings::new());
    feed(&mut session, T0, GET);
    messages(&mut session, T0);
    let begin = ServerCommand::Respond(Response { body: Body::Stream, ..Response::new(StatusCode::OK) });
    session.send(T0, begin).expect("an answer");
    for hour in 0..100 {
        let now = at(hour * 3_600_000);
        session.handle_timeout(now);
        assert_eq!(session.cause(), None, "hour {hour}");
        session.send(now, ServerCommand::Data(Bytes::from_static(b"data: tick\n\n"))).expect("an event");
        written(&mut session, now);
    }
}

/// Whether the end of a connection waits for the peer's, once `request` was answered and our FIN has gone. What `behind`
/// holds comes after the request was taken.
fn lingers(request: &[u8], behind: &[u8]) -> bool {
    let mut session = server(ServerSettings::new().requests(1));
    feed(&mut session, T0, request);
    messages(&mut session, T0);
    feed(&mut session, T0, behind);
    session.send(T0, ok("hi")).expect("an answer");
    written(&mut session, T0);
    assert!(finished(&session), "{}", request.escape_ascii());
    let lingers = session.interest().release.is_none();
    assert_eq!(session.interest().read, lingers);
    lingers
}

#[test]
fn a_client_that_promised_to_send_nothing_more_is_not_waited_for() {
    const OLD: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
    const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(!lingers(OLD, b""));
    assert!(!lingers(LAST, b""));
    // Who breaks the promise is heard out.
    assert!(lingers(&[OLD, b"\r\n"].concat(), b""));
    assert!(lingers(LAST, b"GET"));
    // Behind content old clients send an empty line that does not count.
    assert!(lingers(b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", b""));
    // The end was our wish: the client may have sent its next request meanwhile.
    assert!(lingers(GET, b""));
}

/// As many requests as fit wait behind one whose answer can never be sent: reading goes on, so that the end of the
/// connection is seen when it comes and not when the linger time is over.
#[test]
fn requests_that_wait_for_an_answer_which_cannot_be_sent_do_not_hold_the_end() {
    let mut session = server(ServerSettings::new());
    while session.interest().read {
        feed(&mut session, T0, GET);
        messages(&mut session, T0);
    }
    session.transport_failed(T0, TransportFault::new(FaultKind::Reset, Operation::Write));
    messages(&mut session, T0);
    assert!(session.interest().read, "there may be more to throw away, and an end: {session:?}");
    session.transport_failed(T0, TransportFault::new(FaultKind::Reset, Operation::Read));
    messages(&mut session, T0);
    assert!(session.interest().release.is_some(), "{session:?}");
    session.released();
    let Some(Event::Closed(closed)) = session.poll_event(T0) else { panic!("no end: {session:?}") };
    assert_eq!(closed.cause, Cause::PeerReset);
    assert!(closed.undelivered > 200 << 10, "what was thrown away is counted: {closed}");
}
