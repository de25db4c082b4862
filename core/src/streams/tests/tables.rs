//! Every state of a stream against every call: a snapshot, and the tables themselves.

// A table of calls is more readable with the calls in place.
#![allow(clippy::type_complexity, clippy::unit_arg)]

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use super::*;

#[test]
fn every_transition_listed_is_the_one_taken_and_no_other_exists() {
    for (state, input) in
        StreamRecvState::ALL.iter().flat_map(|state| StreamRecvInput::ALL.iter().map(move |input| (state, input)))
    {
        let listed = StreamRecvState::TRANSITIONS.iter().find(|(from, by, _)| from == state && by == input);
        assert_eq!(state.on(*input), listed.map(|(_, _, to)| *to));
        assert!(!state.is_over() || listed.is_none(), "{state:?} is final");
    }
    for (state, input) in
        StreamSendState::ALL.iter().flat_map(|state| StreamSendInput::ALL.iter().map(move |input| (state, input)))
    {
        let listed = StreamSendState::TRANSITIONS.iter().find(|(from, by, _)| from == state && by == input);
        assert_eq!(state.on(*input), listed.map(|(_, _, to)| *to));
        assert!(!state.is_over() || listed.is_none(), "{state:?} is final");
    }
}

/// How a stream comes into a state: what is done to it after it was opened and both sides know it.
const STATES: &[(&str, fn(&mut Pair, StreamId, StreamId))] = &[
    ("open", |_, _, _| {}),
    ("unread", |p, _, b| {
        p.b.send(b, b"xyz");
        p.exchange();
    }),
    ("finished", |p, a, _| {
        p.a.at(a).finish();
        p.exchange();
    }),
    ("finishing", |p, a, _| {
        p.a.send(a, b"abc");
        p.a.at(a).finish();
    }),
    ("peer-finished", |p, _, b| {
        p.b.at(b).finish();
        p.exchange();
    }),
    ("peer-finished-unread", |p, _, b| {
        p.b.send(b, b"xyz");
        p.b.at(b).finish();
        p.exchange();
    }),
    ("not-reading", |p, a, _| {
        p.a.at(a).stop_reading(Code(5));
        p.exchange();
    }),
    ("stopped", |p, a, _| p.a.streams.peer_stopped(a, Code(6))),
    ("reset", |p, a, _| p.a.at(a).reset(Code(8))),
    ("peer-reset", |p, a, _| p.a.streams.peer_reset(T0, a, Code(9)).unwrap()),
    ("complete", |p, a, b| {
        p.a.at(a).finish();
        p.b.at(b).finish();
        p.exchange();
    }),
    ("lost", |p, _, b| {
        p.b.send(b, b"xyz");
        p.exchange();
        p.a.streams.end_all(StreamEnd::Lost);
    }),
];

const CALLS: &[(&str, fn(&mut Side, StreamId) -> String)] = &[
    ("send", |s, id| show(s.at(id).send(Bytes::from_static(b"abc")).map_err(|refused| refused.why))),
    ("write-empty", |s, id| show(s.at(id).write(b""))),
    ("finish", |s, id| show(s.at(id).finish())),
    ("reset", |s, id| show(s.at(id).reset(Code(1)))),
    ("recv", |s, id| show(s.at(id).recv(99))),
    ("release-too-much", |s, id| show(s.at(id).release(4))),
    ("stop", |s, id| show(s.at(id).stop_reading(Code(2)))),
    ("deadline-passed", |s, id| {
        s.at(id).set_deadline(Some(T0));
        show(s.streams.handle_timeout(T0))
    }),
    ("peer-data", |s, id| show(s.streams.received(T0, id, Payload::Borrowed(b"pq"), false))),
    ("peer-finish", |s, id| show(s.streams.peer_finished(id))),
    ("peer-reset", |s, id| show(s.streams.peer_reset(T0, id, Code(3)))),
    ("peer-stop", |s, id| show(s.streams.peer_stopped(id, Code(4)))),
    ("peer-refused", |s, id| show(s.streams.peer_refused(id))),
    ("granted", |s, id| show(s.streams.granted(T0, id, 9))),
    ("lost", |s, _| show(s.streams.end_all(StreamEnd::Lost))),
    ("closed", |s, _| show(s.streams.end_all(StreamEnd::LocalClose))),
];

fn show(value: impl core::fmt::Debug) -> String {
    format!("{value:?}")
}

fn table() -> String {
    let mut text = String::from("# What every call does to a stream in every state: result, states, orders, events\n");
    for (state, prepare) in STATES {
        let _ = writeln!(text, "\n## {state}");
        for (name, call) in CALLS {
            let config = StreamsConfig::new().stop(StopStyle::AtOnce);
            let mut pair = Pair::new(config);
            let (a, b) = pair.stream();
            prepare(&mut pair, a, b);
            pair.a.streams.handle_timeout(T0);
            let result = call(&mut pair.a, a);
            let states = pair.a.streams.get_mut(a).map(|stream| stream.states());
            pair.a.wire.clear();
            pair.a.order_all();
            let orders: Vec<_> = pair.a.wire.iter().collect();
            let events = pair.a.streams.ids().count();
            let told: Vec<_> = core::iter::from_fn(|| pair.a.streams.next_event()).take(50).collect();
            let closed = told.iter().filter(|event| matches!(event, StreamEvent::Closed(..))).count();
            assert!(closed <= 1, "{state}, {name}: {told:?}");
            let states = states.map_or_else(|| "gone".into(), |(recv, send)| format!("{recv:?}/{send:?}"));
            let _ = writeln!(text, "{name:17} {result} | {states} | {orders:?} | {told:?} | {events}");
        }
    }
    text
}

#[test]
fn what_every_call_does_in_every_state() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/streams/tests/table.txt");
    compare(path, &table());
}

#[test]
fn the_drawing_shows_the_tables() {
    let mut text = String::from(
        "# The two halves of a stream\n\nGenerated from the tables in `core/src/streams/state.rs` by \
         `UPDATE=1 cargo test -p duologue-core --lib streams`.\nWhat is not drawn changes nothing. A stream ends, with \
         one event, once both halves are over: `Finished` or `Closed`.\n",
    );
    let mut draw = |title: &str, lines: Vec<String>| {
        let _ = write!(text, "\n## {title}\n\n```mermaid\nstateDiagram-v2\n    [*] --> Open\n");
        for line in lines {
            let _ = writeln!(text, "    {line}");
        }
        let _ = writeln!(text, "    Finished --> [*]\n    Closed --> [*]\n```");
    };
    let recv = StreamRecvState::TRANSITIONS.iter().map(|(from, by, to)| format!("{from:?} --> {to:?}: {by:?}"));
    draw("Receiving", recv.collect());
    let send = StreamSendState::TRANSITIONS.iter().map(|(from, by, to)| format!("{from:?} --> {to:?}: {by:?}"));
    draw("Sending", send.collect());
    compare(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/stream-states.md"), &text);
}

fn compare(path: &str, text: &str) {
    extern crate std;
    // A copy of this crate alone has no docs to compare with.
    if std::path::Path::new(path).parent().is_none_or(|folder| !folder.exists()) {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == text, "{path} is not current; UPDATE=1 rewrites it, and the difference is to be read:\n{text}");
}
