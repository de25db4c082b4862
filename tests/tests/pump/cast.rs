//! The sessions that the scenarios play with, and what is said to them.

use core::time::Duration;

use bytes::{BufMut, Bytes};
use duologue_core::framed::{Delimited, Framed};
use duologue_core::{
    Closed, Config, Event, FaultKind, Instant, Limits, Operation, Protocol, Session, TimeoutReason, TransportFault,
};

use super::{events, input};

pub(crate) type Lines = Framed<Delimited>;

pub(crate) const START: Instant = Instant::from_origin(Duration::from_secs(1));

pub(crate) fn at(seconds: u64) -> Instant {
    START.after(Duration::from_secs(seconds))
}

pub(crate) fn open<P: Protocol>(protocol: P, config: Config) -> Session<P> {
    Session::new(protocol, config, 1, START).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn lines(config: Config) -> Session<Lines> {
    open(Framed::new(Delimited::lines(100)), config)
}

pub(crate) fn small(send: usize) -> Config {
    Config::new().limits(Limits::new().send_buffer(send).control_reserve(16).recv_buffer(128).read_chunk(16))
}

pub(crate) fn say<P: Protocol<Command = Bytes>>(session: &mut Session<P>, text: &'static str) {
    let sent = session.send(START, Bytes::from_static(text.as_bytes()));
    assert!(sent.is_ok(), "{text} is accepted: {:?}", sent.err());
}

pub(crate) fn hear<P: Protocol>(session: &mut Session<P>, bytes: &[u8]) {
    assert_eq!(input(session, START, bytes), bytes.len(), "all of it is read");
}

pub(crate) fn texts<'e, V>(events: &'e [Event<Bytes, V>]) -> Vec<&'e str> {
    let text = |event: &'e Event<Bytes, V>| match event {
        Event::App(bytes) => core::str::from_utf8(bytes).ok(),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

/// Lets the session go and returns how it ended, which is told last and once.
pub(crate) fn ending<P: Protocol>(session: &mut Session<P>, now: Instant) -> Closed<P::Violation> {
    assert!(session.interest().release.is_some(), "{:?} wants to be released", session.states());
    session.released();
    let mut told = events(session, now);
    let Some(Event::Closed(closed)) = told.pop() else { panic!("Closed comes last") };
    assert!(told.iter().all(|event| !matches!(event, Event::Closed(_))), "Closed comes once");
    assert!(session.is_over());
    closed
}

/// Moves to the next deadline and tells its reason.
pub(crate) fn pass<P: Protocol>(session: &mut Session<P>) -> (Instant, TimeoutReason) {
    let Some(deadline) = session.interest().deadline else { panic!("a deadline is armed") };
    session.handle_timeout(deadline.at);
    (deadline.at, deadline.reason)
}

pub(crate) const fn fault(kind: FaultKind, operation: Operation) -> TransportFault {
    TransportFault::new(kind, operation)
}

/// As [`hear`], at some time and whatever is wanted.
pub(crate) fn hear_at<P: Protocol>(session: &mut Session<P>, now: Instant, bytes: &[u8]) {
    session.recv_buf().put_slice(bytes);
    session.received(now);
}
