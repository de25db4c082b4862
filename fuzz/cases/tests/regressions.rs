//! What fuzzing found, one test each, named after what was wrong.

use bytes::{BufMut, Bytes};
use duologue_core::framed::{Delimited, Framed, OnTooLong};
use duologue_core::{Config, Event, Instant, Session};

/// The messages and the end of `bytes` and the FIN behind them; frames that are too long are skipped.
fn seen(framing: Delimited, bytes: &[u8]) -> (Vec<Bytes>, &'static str, u64) {
    let now = Instant::ORIGIN;
    let framed = Framed::new(framing).on_too_long(OnTooLong::Skip);
    let mut session = Session::new(framed, Config::new(), 0, now).expect("limits that fit");
    session.recv_buf().put_slice(bytes);
    session.received(now);
    session.received_eof(now);
    let (mut messages, mut end) = (Vec::new(), "nothing");
    while let Some(event) = session.poll_event(now) {
        match event {
            Event::App(message) => messages.push(message),
            Event::PeerFinished => end = "peer-finished",
            other => panic!("{other:?}"),
        }
    }
    let end = session.cause().map_or(end, |cause| cause.kind());
    (messages, end, session.protocol().skipped())
}

/// Target `framing`: the delimiter at the end of the stream could have been the beginning of a longer one, and the
/// frame that was skipped up to it was told as truncated.
#[test]
fn a_skipped_frame_ends_at_a_delimiter_that_could_have_become_longer() {
    let framing = Delimited::any(["\r", "\r\n"], 2).expect("delimiters that work");
    assert_eq!(seen(framing, b"ok\rtoo long\r"), (vec!["ok".into()], "peer-finished", 1));
}

/// The same, without a delimiter where the last frame needs none.
#[test]
fn a_skipped_last_frame_that_needs_no_delimiter_ends_with_the_stream() {
    let framing = Delimited::lines(2).last_frame_needs_delimiter(false);
    assert_eq!(seen(framing, b"ok\ntoo long"), (vec!["ok".into()], "peer-finished", 1));
}

/// Only the end of the stream told that the CR was payload and the frame too long: a violation, though such frames
/// were to be skipped.
#[test]
fn a_last_frame_that_the_end_makes_too_long_is_skipped_like_any_other() {
    let framing = Delimited::lines(2).last_frame_needs_delimiter(false);
    assert_eq!(seen(framing, b"ok\nab\r"), (vec!["ok".into()], "peer-finished", 1));
}

/// An empty message right behind another compressed one was refused: zlib does not flush twice, and made nothing.
#[test]
fn an_empty_compressed_message_after_another_is_sent() {
    let input = include_bytes!("../../regressions/websocket_deflate/an-empty-message-after-another");
    duologue_fuzz::websocket_deflate::run(input);
}

/// The HTTP parser takes a bare LF for a line's end, so a head that a proxy reads on in was over for it.
#[test]
fn a_status_line_that_ends_with_a_bare_lf_opens_nothing() {
    let input = include_bytes!("../../regressions/websocket_handshake/a-status-line-ended-by-a-bare-lf");
    duologue_fuzz::websocket_handshake::run(input);
}
