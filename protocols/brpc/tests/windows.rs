//! Windows, feedback, and messages of the smallest sizes.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::*;
use duologue_brpc::wire::Prefix;
use duologue_brpc::{BrpcConfig, BrpcViolation, Reply, Role, code};
use duologue_core::streams::StreamEnd;
use duologue_core::{Cause, Code};

/// What the peer's FEEDBACK would be for is sent all the same, and none is asked for: bRPC's `max_buf_size` of 0.
#[test]
fn without_a_window_of_ours_no_feedback_comes_and_none_is_waited_for() {
    let streams = BrpcConfig::new().streams.send_window(64);
    let config = BrpcConfig::new().streams(streams).need_feedback(false);
    let (mut client, mut server) = (Side::new(Role::Client, config), Side::new(Role::Server, BrpcConfig::new()));
    let mine = client.open();
    client.call(echo(1, vec![mine]));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    assert_eq!(request.meta.stream_settings.as_ref().and_then(|s| s.need_feedback), Some(false));
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap()[0];
    server.reply(Reply::ok(request.id, Bytes::new()));
    exchange(&mut client, &mut server, usize::MAX);
    for n in 0..100_u8 {
        client.send(mine, vec![n; 64]);
        server.feed(&all_output(&mut client.session));
    }
    let taken = server.take(theirs);
    assert_eq!((taken.len(), taken.last()), (100, Some(&vec![99; 64])));
    assert!(all_output(&mut server.session).is_empty(), "nobody asked for feedback");
    // The other direction has its window, and its feedback.
    server.send(theirs, "answer");
    client.feed(&all_output(&mut server.session));
    assert_eq!(client.take(mine), [b"answer"]);
    assert_eq!(all_output(&mut client.session), Prefix::feedback(0, 0, 6).as_slice());
    // And the CLOSE goes behind what was sent.
    client.send(mine, "last");
    client.with(mine, |stream| stream.finish());
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs), [b"last"]);
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!((client.end_of(mine), server.end_of(theirs)), (vec![StreamEnd::Finished], vec![StreamEnd::Finished]));
}

/// An empty message is a message: its frame says that something happened. A reader that keeps up takes any number, at
/// once; one that does not has that stream reset, and only that.
#[test]
fn empty_messages_are_messages_and_what_stays_unread_is_bounded() {
    let streams = BrpcConfig::new().streams.recv_pieces(3_000);
    let (mut client, mut server, mine, theirs) = connected(BrpcConfig::new().streams(streams), 2);
    let empty = Prefix::data(0, 0, false, 0);
    for _ in 0..10 {
        (0..2_500).for_each(|_| server.feed(empty.as_slice()));
        assert_eq!(server.take(theirs[0]).len(), 2_500);
    }
    assert_eq!((server.session.cause(), server.end_of(theirs[0])), (None, vec![]));
    for _ in 0..3_001 {
        server.feed(empty.as_slice());
    }
    server.pump();
    let overrun = StreamEnd::LocalReset(Code(code::EOVERCROWDED as u32));
    assert_eq!((server.session.cause(), server.end_of(theirs[0])), (None, vec![overrun]));
    client.send(mine[1], "the other one lives");
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs[1]), [b"the other one lives"]);
}

/// A segment that is empty and ends nothing says nothing.
#[test]
fn empty_segments_without_an_end_are_bounded() {
    let (_client, mut server, _mine, _theirs) = connected(BrpcConfig::new(), 1);
    let nothing = Prefix::data(0, 0, true, 0);
    for n in 0..2_001 {
        assert_eq!(server.session.cause(), None, "{n}");
        server.feed(nothing.as_slice());
    }
    assert!(matches!(server.session.cause(), Some(Cause::Violation(BrpcViolation::Stream { .. }))));
}

/// A peer that fills its window with the smallest messages keeps to the rules: bytes bound what stays unread, not pieces.
#[test]
fn a_window_of_messages_of_one_byte_is_kept_unread() {
    const MESSAGES: usize = 200_000;
    let (_client, mut server, _mine, theirs) = connected(BrpcConfig::new(), 1);
    assert!(MESSAGES > BrpcConfig::new().streams.recv_pieces as usize);
    let message = [Prefix::data(0, 0, false, 1).as_slice(), b"x"].concat();
    let many = message.repeat(1_000);
    for _ in 0..MESSAGES / 1_000 {
        server.feed(&many);
    }
    assert_eq!((server.session.cause(), server.end_of(theirs[0])), (None, vec![]));
    assert_eq!(server.take(theirs[0]).len(), MESSAGES);
}
