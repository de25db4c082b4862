//! How sessions end when several ends meet.

mod support;

use duologue_core::{Cause, Event, FaultKind, Operation, TransportFault};
use duologue_http1::ServerSettings;
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
