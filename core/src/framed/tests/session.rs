//! `Framed` as the protocol of a session: what its options do.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::{BufMut, Bytes};

use super::super::*;
use crate::{
    Cause, CloseIntent, Code, Config, Delivery, Event, Instant, LimitExceeded, Limits, LimitsError, SendError, Session,
    TimeoutReason, Timeouts,
};

type Lines = Session<Framed<Delimited>>;

fn at(seconds: u64) -> Instant {
    Instant::from_origin(Duration::from_secs(seconds))
}

/// Nothing but what `Framed` does itself has a deadline.
fn config() -> Config {
    Config::new().timeouts(Timeouts::none())
}

fn session(framed: Framed<Delimited>) -> Lines {
    Session::new(framed, config(), 7, at(0)).unwrap()
}

fn lines(max_frame: usize) -> Framed<Delimited> {
    Framed::new(Delimited::lines(max_frame))
}

fn receive<F: Framing>(session: &mut Session<Framed<F>>, now: Instant, bytes: &[u8]) {
    session.recv_buf().put_slice(bytes);
    session.received(now);
}

fn messages<F: Framing>(session: &mut Session<Framed<F>>, now: Instant) -> Vec<Bytes> {
    core::iter::from_fn(|| session.poll_event(now))
        .filter_map(|event| if let Event::App(payload) = event { Some(payload) } else { None })
        .collect()
}

fn transmit<F: Framing>(session: &mut Session<Framed<F>>, now: Instant) -> Vec<u8> {
    let mut slices = [&[][..]; 8];
    let filled = session.transmit(&mut slices);
    let sent = slices[..filled].concat();
    session.transmitted(now, sent.len());
    sent
}

#[test]
fn frames_go_both_ways_and_an_impossible_one_comes_back() {
    let mut s = session(lines(8));
    receive(&mut s, at(1), b"one\r\ntwo\nthr");
    assert_eq!(messages(&mut s, at(1)), ["one", "two"]);
    receive(&mut s, at(2), b"ee\n");
    assert_eq!(messages(&mut s, at(2)), ["three"]);
    s.send(at(3), "four".into()).unwrap();
    assert!(matches!(s.send(at(3), "a\nb".into()), Err(SendError::Invalid { command, .. }) if command == "a\nb"));
    assert!(matches!(s.send(at(3), "longer than 8".into()), Err(SendError::Invalid { .. })));
    assert_eq!(transmit(&mut s, at(3)), b"four\n");
}

#[test]
fn frames_are_handled_and_answered_in_place() {
    let config = config().delivery(Delivery::InPlace);
    let mut s = Session::new(Framed::new(Marked::slip(8)), config, 7, at(0)).unwrap();
    receive(&mut s, at(1), &[0xC0, 1, 0xDB, 0xDC, 0xC0, 0xC0, 2, 0xC0]);
    let mut seen = Vec::new();
    let handled = s.handle(at(1), 16, 9, |payload, replies| {
        seen.push(payload.to_vec());
        replies.send(payload).unwrap();
    });
    assert_eq!((handled, seen), (2, [&[1, 0xC0][..], &[2]].map(<[u8]>::to_vec).to_vec()));
    assert_eq!(transmit(&mut s, at(1)), [1, 0xDB, 0xDC, 0xC0, 2, 0xC0]);
}

#[test]
fn heartbeats_and_frames_that_are_skipped_are_no_messages_however_they_are_delivered() {
    let framing = Delimited::new("\n", 3).unwrap();
    let framed = Framed::new(framing).heartbeat(Heartbeat::new("hb".into())).on_too_long(OnTooLong::Skip);
    for delivery in [Delivery::Owned, Delivery::InPlace] {
        let mut s = Session::new(framed.clone(), config().delivery(delivery), 7, at(0)).unwrap();
        let mut seen = Vec::new();
        for chunk in [&b"one\nhb\nfour\ntwo\nlonger"[..], b"xx\nsix\nhb\n"] {
            receive(&mut s, at(1), chunk);
            if delivery == Delivery::Owned {
                seen.extend(messages(&mut s, at(1)));
            } else {
                s.handle(at(1), 16, 9, |payload, _| seen.push(Bytes::copy_from_slice(payload)));
            }
        }
        assert_eq!(seen, ["one", "two", "six"], "{delivery:?}");
        assert_eq!(s.protocol().skipped(), 2);
    }
}

#[test]
fn a_buffer_without_room_for_the_longest_frame_is_refused() {
    let config = config().limits(Limits::new().recv_buffer(9));
    let refused = Session::new(lines(8), config.clone(), 7, at(0)).err();
    assert_eq!(refused, Some(LimitsError::FrameLargerThanBuffer { frame: 10, recv_buffer: 9 }));
    assert!(Session::new(lines(7), config, 7, at(0)).is_ok());
}

#[test]
fn the_longest_frame_fits_the_smallest_buffer() {
    let config = config().limits(Limits::new().recv_buffer(10));
    let mut s = Session::new(lines(8), config, 7, at(0)).unwrap();
    receive(&mut s, at(1), b"12345678\r");
    assert!(s.interest().read);
    receive(&mut s, at(1), b"\n");
    assert_eq!(messages(&mut s, at(1)), ["12345678"]);
}

#[test]
fn a_frame_that_is_too_long_closes_by_default() {
    let mut s = session(lines(3));
    receive(&mut s, at(1), b"one\nfour\nsix\n");
    assert_eq!(messages(&mut s, at(1)), ["one"]);
    let violation = FrameError::TooLong(FrameTooLong { limit: 3, buffered: 4 });
    assert_eq!(s.cause(), Some(&Cause::Violation(violation)));
}

#[test]
fn a_frame_that_is_too_long_can_be_skipped_without_being_buffered() {
    let config = config().limits(Limits::new().recv_buffer(5));
    let framed = lines(3).on_too_long(OnTooLong::Skip);
    let mut s = Session::new(framed, config, 7, at(0)).unwrap();
    receive(&mut s, at(1), b"ok\n");
    assert_eq!(messages(&mut s, at(1)), ["ok"]);
    for _ in 0..100 {
        receive(&mut s, at(1), b"xxxxx");
        assert!(s.interest().read);
        assert_eq!(s.buffered().0, 0, "the frame is thrown away as it comes");
    }
    receive(&mut s, at(2), b"\nyes\n");
    assert_eq!(messages(&mut s, at(2)), ["yes"]);
    assert_eq!((s.protocol().skipped(), s.cause()), (1, None));
    assert_eq!(transmit(&mut s, at(2)), b"");
}

#[test]
fn a_frame_that_is_too_long_can_be_answered_once() {
    let mut s = session(lines(3).on_too_long(OnTooLong::Answer("ERR".into())));
    receive(&mut s, at(1), b"four");
    receive(&mut s, at(1), b"teen");
    assert_eq!(transmit(&mut s, at(1)), b"ERR\n", "before it has ended");
    receive(&mut s, at(1), b"\nfive\nsix\n");
    assert_eq!(messages(&mut s, at(1)), ["six"]);
    assert_eq!(transmit(&mut s, at(1)), b"ERR\n");
    assert_eq!(s.protocol().skipped(), 2);
}

#[test]
fn answers_to_frames_that_are_too_long_are_bounded() {
    let config = config().limits(Limits::new().send_buffer(8).control_reserve(8));
    let mut s = Session::new(lines(3).on_too_long(OnTooLong::Answer("ERR".into())), config, 7, at(0)).unwrap();
    receive(&mut s, at(1), b"xxxx\nxxxx\nxxxx\nxxxx\n");
    assert_eq!(s.cause(), None);
    receive(&mut s, at(1), b"xxxx\n");
    assert!(matches!(s.cause(), Some(Cause::Limit(LimitExceeded::ControlReserve { .. }))));
}

#[test]
fn a_framing_that_cannot_skip_closes() {
    #[derive(Debug)]
    struct Never;
    impl Framing for Never {
        type Error = FrameError;
        fn find(&mut self, _: &mut [u8]) -> Result<Found, FrameError> {
            Ok(Found::TooLong(FrameTooLong { limit: 0, buffered: 1 }))
        }
        fn encoded_len(&self, _: &[u8]) -> Result<usize, &'static str> {
            Err("never")
        }
        fn encode(&mut self, _: Payload<'_>, _: &mut Writer<'_>) {}
        fn max_unit(&self) -> usize {
            1
        }
    }
    let mut s = Session::new(Framed::new(Never).on_too_long(OnTooLong::Skip), config(), 7, at(0)).unwrap();
    receive(&mut s, at(1), b"x");
    assert!(matches!(s.cause(), Some(Cause::Violation(FrameError::TooLong(_)))));
}

#[test]
fn the_stream_ends_clean_cut_off_or_with_a_last_frame() {
    let mut s = session(lines(8));
    receive(&mut s, at(1), b"one\ntw");
    s.received_eof(at(1));
    assert_eq!(messages(&mut s, at(1)), ["one"]);
    assert_eq!(s.cause(), Some(&Cause::Truncated { missing: None }));

    let open = Framed::new(Delimited::lines(8).last_frame_needs_delimiter(false));
    let mut s = session(open.clone());
    receive(&mut s, at(1), b"one\ntw");
    s.received_eof(at(1));
    assert_eq!(messages(&mut s, at(1)), ["one", "tw"]);

    let mut s = session(open.heartbeat(Heartbeat::new("hb".into())));
    receive(&mut s, at(1), b"one\nhb");
    s.received_eof(at(1));
    assert_eq!(s.poll_event(at(1)), Some(Event::App("one".into())));
    assert_eq!(s.poll_event(at(1)), Some(Event::PeerFinished), "a heartbeat is none the less one for being last");
}

#[test]
fn idle_fill_is_thrown_away_as_it_comes() {
    let config = config().limits(Limits::new().recv_buffer(16));
    let mut s = Session::new(Framed::new(Marked::hdlc(4)), config, 7, at(0)).unwrap();
    for _ in 0..100 {
        receive(&mut s, at(1), &[0x7E; 16]);
        assert_eq!(s.buffered().0, 0);
    }
    receive(&mut s, at(1), &[5, 0x7E]);
    assert_eq!(messages(&mut s, at(1)), [&[5][..]]);
}

#[test]
fn a_heartbeat_is_sent_after_silence_of_ours() {
    let heartbeat = Heartbeat::new("hb".into()).send_after(Duration::from_secs(10));
    let mut s = session(lines(8).heartbeat(heartbeat));
    assert_eq!(s.interest().deadline.map(|d| (d.at, d.reason)), Some((at(10), TimeoutReason::KeepaliveSend)));
    s.send(at(4), "x".into()).unwrap();
    assert_eq!(transmit(&mut s, at(4)), b"x\n");
    s.handle_timeout(at(10));
    assert!(!s.interest().write, "we spoke at 4");
    assert_eq!(s.interest().deadline.map(|d| d.at), Some(at(14)));
    s.handle_timeout(at(14));
    assert_eq!(transmit(&mut s, at(14)), b"hb\n");
    assert_eq!(s.interest().deadline.map(|d| d.at), Some(at(24)));
    // What the peer says does not keep us from speaking.
    receive(&mut s, at(20), b"hello\n");
    s.send(at(23), "y".into()).unwrap();
    s.handle_timeout(at(24));
    assert_eq!(transmit(&mut s, at(24)), b"y\n", "what is queued is as good as a heartbeat");
}

#[test]
fn a_peer_that_is_silent_is_dead_unless_it_cannot_be_heard() {
    let heartbeat = Heartbeat::new("hb".into()).expect_within(Duration::from_secs(10));
    let mut s = session(lines(8).heartbeat(heartbeat.clone()));
    receive(&mut s, at(4), b"hb\n");
    assert_eq!(messages(&mut s, at(4)), [""; 0], "heartbeats are not delivered");
    s.handle_timeout(at(10));
    assert_eq!((s.cause(), s.interest().deadline.map(|d| d.at)), (None, Some(at(14))));
    s.handle_timeout(at(14));
    assert_eq!(s.cause(), Some(&Cause::Timeout(TimeoutReason::KeepaliveReply)));

    let config = config().limits(Limits::new().recv_buffer(10));
    let mut s = Session::new(lines(8).heartbeat(heartbeat), config, 7, at(0)).unwrap();
    receive(&mut s, at(1), b"1\n2\n3\n4\n5\n");
    receive(&mut s, at(1), b"6\n");
    assert!(!s.interest().read, "nobody takes the messages");
    s.handle_timeout(at(10));
    s.handle_timeout(at(20));
    assert_eq!(s.cause(), None);
}

#[test]
fn heartbeats_are_delivered_on_request() {
    let mut s = session(lines(8).heartbeat(Heartbeat::new("hb".into()).deliver()));
    receive(&mut s, at(1), b"hb\nx\n");
    assert_eq!(messages(&mut s, at(1)), ["hb", "x"]);
}

#[test]
fn a_close_ends_the_heartbeat() {
    let heartbeat = Heartbeat::new("hb".into()).send_after(Duration::from_secs(1));
    let mut s = session(lines(8).heartbeat(heartbeat));
    s.close(at(1), CloseIntent::Goodbye(Code(0)));
    s.shutdown_done(at(1));
    s.handle_timeout(at(5));
    assert!(!s.interest().write);
}
