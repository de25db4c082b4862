//! Server-sent events: the encoder against the parser, and the parser against the standard's rules.

use std::time::Duration;

use duologue_core::Instant;
use duologue_http1::sse::{self, Event, EventBuilder, Heartbeat, InvalidEvent, Parser, TooLong};
use proptest::prelude::*;

fn event(name: &str, data: &str, last_event_id: &str) -> Event {
    Event { name: name.into(), data: data.into(), last_event_id: last_event_id.into() }
}

fn parse(parser: &mut Parser, pieces: &[&[u8]]) -> Vec<Event> {
    let mut events = Vec::new();
    for piece in pieces {
        parser.feed(piece, |event| events.push(event)).expect("short enough");
    }
    events
}

fn whole_and_cut(stream: &[u8]) -> Vec<Event> {
    let whole = parse(&mut Parser::new(1024), &[stream]);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(parse(&mut Parser::new(1024), &bytes), whole, "byte by byte: {}", stream.escape_ascii());
    for size in 2..7 {
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        assert_eq!(parse(&mut Parser::new(1024), &pieces), whole, "by {size}: {}", stream.escape_ascii());
    }
    whole
}

#[test]
fn the_standards_examples_and_rules() {
    let message = |data| event("message", data, "");
    let rows: Vec<(&[u8], Vec<Event>)> = vec![
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", vec![message("YHOO\n+2\n10")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            vec![event("message", "first event", "1"), message("second event"), message(" third event")],
        ),
        // The last one is not complete.
        (b"data\n\ndata\ndata\n\ndata:", vec![message(""), message("\n")]),
        (b"data:test\n\ndata: test\n\n", vec![message("test"), message("test")]),
        // Line ends of all three kinds, and mixed.
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", vec![message("a"), message("b"), message("c")]),
        (b"data: a\r\n\n", vec![message("a")]),
        // The mark at the start, and only there; and what only looks like one.
        (b"\xef\xbb\xbfdata: a\n\n", vec![message("a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", vec![]),
        (b"\xef\xbbdata: a\n\ndata: b\n\n", vec![message("b")]),
        // Names.
        (b"event: add\ndata: 1\n\nevent: remove\n\ndata: 2\n\n", vec![event("add", "1", ""), message("2")]),
        // An id with NUL is ignored; one without data moves on all the same.
        (b"id: 1\0\ndata: a\n\n", vec![message("a")]),
        (b"id: 7\n\ndata: a\n\n", vec![event("message", "a", "7")]),
        (
            b"id: 7\ndata: a\n\ndata: b\n\nid:\ndata: c\n\n",
            vec![event("message", "a", "7"), event("message", "b", "7"), message("c")],
        ),
        // Unknown fields, fields without a colon, comments.
        (b"datas: x\nDATA: x\nfoo\n:data: x\ndata: a\n\n", vec![message("a")]),
        (b"\n\n\r\n", vec![]),
        (b"data: gr\xc3\xbcn \xff\n\n", vec![message("gr\u{fc}n \u{fffd}")]),
    ];
    for (stream, expected) in rows {
        assert_eq!(whole_and_cut(stream), expected, "{}", stream.escape_ascii());
    }
}

#[test]
fn the_retry_time_is_digits_only() {
    for (stream, wait) in [
        (&b"retry: 1500\n"[..], Some(1500)),
        (b"retry:0\n", Some(0)),
        (b"retry: 99999999999999999999999\n", Some(u64::MAX)),
        (b"retry: 1.5\n", None),
        (b"retry: -1\n", None),
        (b"retry: +1\n", None),
        (b"retry:\n", None),
        (b"retry: 1 \n", None),
        (b"retry:  1\n", None),
    ] {
        let mut parser = Parser::new(100);
        parse(&mut parser, &[stream]);
        assert_eq!(parser.retry(), wait.map(Duration::from_millis), "{}", stream.escape_ascii());
    }
}

#[test]
fn the_next_stream_goes_on_behind_the_last_event() {
    let mut parser = Parser::new(100);
    let seen = parse(&mut parser, &[b"retry: 50\nid: 1\ndata: a\n\nid: 2\ndata: lo"]);
    assert_eq!(seen, [event("message", "a", "1")]);
    assert_eq!(parser.last_event_id(), "1", "the second was not complete");
    let mut parser = parser.resume();
    assert_eq!((parser.last_event_id(), parser.retry()), ("1", Some(Duration::from_millis(50))));
    assert_eq!(parse(&mut parser, &[b"\xef\xbb\xbfdata: b\n\n"]), [event("message", "b", "1")]);
}

#[test]
fn an_event_has_a_bound_however_it_comes() {
    let endless = vec![b'x'; 101];
    assert_eq!(Parser::new(100).feed(&endless, |_| ()), Err(TooLong { limit: 100 }));
    let mut parser = Parser::new(100);
    let mut fed = 0;
    while parser.feed(b"data: 0123456789\n", |_| ()).is_ok() {
        fed += 1;
        assert!(fed < 20, "lines add up");
    }
    assert_eq!(fed, 9);
}

#[test]
fn what_would_be_read_as_something_else_is_refused() {
    assert_eq!(EventBuilder::new("").name("a\nb").encode(), Err(InvalidEvent::Name));
    assert_eq!(EventBuilder::new("").id("a\rb").encode(), Err(InvalidEvent::Id));
    assert_eq!(EventBuilder::new("").id("a\0b").encode(), Err(InvalidEvent::Id));
    assert_eq!(sse::comment("a\r\nb"), ": a\n: b\n\n");
    assert_eq!(sse::retry(Duration::from_secs(2)), "retry: 2000\n\n");
    let quiet = [sse::heartbeat(), sse::comment("data: x"), sse::retry(Duration::ZERO)].concat();
    assert_eq!(whole_and_cut(&quiet), []);
}

#[test]
fn a_heartbeat_is_due_after_silence() {
    let at = |seconds| Instant::ORIGIN.after(Duration::from_secs(seconds));
    let mut heartbeat = Heartbeat::new(Duration::from_secs(15), at(0));
    assert_eq!(heartbeat.due(), at(15));
    heartbeat.sent(at(10));
    assert_eq!(heartbeat.due(), at(25));
    heartbeat.sent(at(3));
    assert_eq!(heartbeat.due(), at(25), "time does not go back");
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed_however_it_is_cut(
        events in prop::collection::vec(("[a-z]{0,5}", "[a-z :\r\n\u{e4}\u{20ac}]{0,20}", prop::option::of("[a-z0-9 :]{0,5}")), 0..6),
        cuts in prop::collection::vec(1usize..9, 1..20),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        let mut last = String::new();
        for (name, data, id) in &events {
            let mut builder = EventBuilder::new(data).name(name);
            if let Some(id) = id {
                builder = builder.id(id);
                last.clone_from(id);
            }
            stream.extend(builder.encode().expect("valid"));
            stream.extend(sse::heartbeat());
            let name = if name.is_empty() { "message" } else { name };
            let data = data.replace("\r\n", "\n").replace('\r', "\n");
            expected.push(event(name, &data, &last));
        }
        let mut rest = &stream[..];
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        prop_assert_eq!(parse(&mut Parser::new(1024), &pieces), expected);
    }

    #[test]
    fn the_parser_takes_anything(stream in prop::collection::vec(prop::sample::select(b"data:id retry\r\n\0\xef\xbb\xbf1".to_vec()), 0..200)) {
        let mut whole = Vec::new();
        let _ = Parser::new(64).feed(&stream, |event| whole.push(event));
        let mut cut = Vec::new();
        let mut parser = Parser::new(64);
        for byte in &stream {
            if parser.feed(&[*byte], |event| cut.push(event)).is_err() {
                break;
            }
        }
        prop_assert_eq!(whole, cut);
    }
}

#[test]
fn an_id_is_bounded_because_every_event_has_a_copy() {
    let mut events = 0;
    let mut parser = Parser::new(1 << 20);
    let longest = [b"id: ", &[b'7'; sse::LONGEST_ID][..], b"\n"].concat();
    parser.feed(&[&longest[..], b"data\n\n"].concat(), |_| events += 1).expect("as long as an id may be");
    assert_eq!((events, parser.last_event_id().len()), (1, sse::LONGEST_ID));
    let longer = [b"id: ", &[b'7'; sse::LONGEST_ID + 1][..], b"\n"].concat();
    assert_eq!(parser.feed(&longer, |_| events += 1), Err(TooLong { limit: sse::LONGEST_ID }));
}
