//! Calls and streams between two sessions of ours, and against frames made by hand.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use duologue_brpc::wire::Prefix;
use duologue_brpc::{
    AcceptError, BrpcCommand, BrpcConfig, BrpcError, BrpcEvent, BrpcViolation, Call, CallError, CallId, Checksum,
    Compression, Reply, Role, code,
};
use duologue_core::streams::{StreamEnd, StreamError, StreamsConfig};
use duologue_core::{Cause, Code};
use proptest::prelude::*;

#[test]
fn calls_are_answered_in_any_order_with_attachments_and_errors() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    for id in [-1, 0, i64::MAX] {
        client.call(Call { attachment: Bytes::from_static(b"raw"), ..echo(id, vec![]) });
    }
    exchange(&mut client, &mut server, 7);
    let requests: Vec<_> = (0..3).map(|_| server.request()).collect();
    assert_eq!(requests[0].attachment, "raw");
    assert_eq!(requests[0].body, &b"\x0a\x02hi"[..]);
    assert_eq!(requests[0].timeout, Some(Duration::from_secs(10)));
    server.reply(Reply::error(requests[2].id, code::ENOMETHOD, "no such method"));
    server.reply(Reply { attachment: Bytes::from_static(b"more"), ..Reply::ok(requests[0].id, "body".into()) });
    server.reply(Reply::ok(requests[1].id, Bytes::new()));
    exchange(&mut client, &mut server, 7);
    let responses: Vec<_> = (0..3).map(|_| client.response()).collect();
    assert_eq!((responses[0].id, responses[0].error_code), (CallId(i64::MAX), code::ENOMETHOD));
    assert_eq!(responses[0].error_text, "no such method");
    assert_eq!(
        (responses[1].id, &responses[1].body[..], &responses[1].attachment[..]),
        (CallId(-1), &b"body"[..], &b"more"[..])
    );
    assert_eq!(responses[2].id, CallId(0));
    assert_eq!(
        (client.session.protocol_mut(NOW).waiting(), server.session.protocol_mut(NOW).waiting()),
        ((0, 0), (0, 0))
    );
}

#[test]
fn bodies_are_compressed_and_checked_both_ways() {
    for compression in [Compression::None, Compression::Snappy, Compression::Gzip, Compression::Zlib] {
        let (mut client, mut server) =
            (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
        let body = Bytes::from(vec![7; 50_000]);
        let call = Call { body: body.clone(), compression, checksum: Checksum::Crc32c, ..echo(1, vec![]) };
        let sent = client.session.send(NOW, BrpcCommand::Call(Box::new(call)));
        let built_in = match compression {
            Compression::None => true,
            Compression::Snappy => cfg!(feature = "snappy"),
            Compression::Gzip => cfg!(feature = "gzip"),
            Compression::Zlib => cfg!(feature = "zlib"),
        };
        assert_eq!(sent.is_ok(), built_in, "{compression:?}");
        if !built_in {
            continue;
        }
        exchange(&mut client, &mut server, 999);
        let request = server.request();
        assert_eq!(request.body, body);
        server.reply(Reply { compression, checksum: Checksum::Crc32c, ..Reply::ok(request.id, body.clone()) });
        exchange(&mut client, &mut server, 999);
        assert_eq!(client.response().body, body);
    }
}

#[test]
fn a_body_whose_checksum_is_wrong_is_refused_by_the_server_and_unreadable_at_the_client() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    client.call(Call { checksum: Checksum::Crc32c, ..echo(1, vec![]) });
    client.call(echo(2, vec![]));
    let mut bytes = all_output(&mut client.session);
    let at = bytes.windows(2).position(|two| two == b"hi").unwrap();
    bytes[at] ^= 1;
    server.feed(&bytes);
    let request = server.request();
    server.reply(Reply { checksum: Checksum::Crc32c, ..Reply::ok(request.id, "sound".into()) });
    let mut bytes = all_output(&mut server.session);
    let at = bytes.windows(5).position(|five| five == b"sound").unwrap();
    bytes[at] ^= 1;
    client.feed(&bytes);
    assert_eq!(client.response().error_code, code::EREQUEST);
    assert!(matches!(&client.events[..], [BrpcEvent::CallFailed(CallId(2), CallError::Unreadable(_))]));
}

#[test]
fn a_call_times_out_by_a_typed_error_and_what_comes_late_is_reset() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    let mine = [client.open(), client.open()];
    client.call(Call { timeout: Some(Duration::from_millis(50)), ..echo(9, mine.to_vec()) });
    exchange(&mut client, &mut server, usize::MAX);
    client.session.handle_timeout(NOW.after(Duration::from_millis(49)));
    assert!(client.events.is_empty());
    client.session.handle_timeout(NOW.after(Duration::from_millis(50)));
    client.pump();
    assert!(client.events.contains(&BrpcEvent::CallFailed(CallId(9), CallError::Timeout)));
    let why = StreamEnd::LocalReset(Code(code::ERPCTIMEDOUT as u32));
    assert_eq!((client.end_of(mine[0]), client.end_of(mine[1])), (vec![why], vec![why]));
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap();
    server.reply(Reply::ok(request.id, Bytes::new()));
    exchange(&mut client, &mut server, usize::MAX);
    for id in theirs {
        assert_eq!(server.end_of(id), [StreamEnd::PeerReset(Code(code::ECONNRESET))], "nothing stays half open");
    }
    assert!(!client.events.iter().any(|event| matches!(event, BrpcEvent::Response(_))));
}

#[test]
fn a_part_of_a_millisecond_is_told_as_a_whole_one() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    for (id, micros, told) in [(1, 1, 1), (2, 99_001, 100), (3, 100_000, 100)] {
        client.call(Call { timeout: Some(Duration::from_micros(micros)), ..echo(id, vec![]) });
        exchange(&mut client, &mut server, 7);
        assert_eq!(server.request().timeout, Some(Duration::from_millis(told)), "0 would be no deadline at all");
    }
}

#[test]
fn what_a_server_pushes_behind_a_late_response_costs_its_streams_and_not_the_connection() {
    for forgotten in [true, false] {
        let (mut client, mut server) =
            (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
        let mine = [client.open(), client.open()];
        client.call(echo(9, mine.to_vec()));
        exchange(&mut client, &mut server, usize::MAX);
        client.with(mine[1], |stream| stream.reset(Code(3)));
        client.session.send(NOW, BrpcCommand::Cancel(CallId(9))).unwrap();
        if forgotten {
            exchange(&mut client, &mut server, usize::MAX);
        }
        let request = server.request();
        let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap();
        server.reply(Reply::ok(request.id, Bytes::new()));
        for id in &theirs {
            server.send(*id, "pushed at once");
            server.send(*id, "and again");
        }
        exchange(&mut client, &mut server, 5);
        for id in theirs {
            assert_eq!(server.end_of(id), [StreamEnd::PeerReset(Code(code::ECONNRESET))]);
        }
        client.call(echo(10, vec![]));
        exchange(&mut client, &mut server, usize::MAX);
        let request = server.request();
        server.reply(Reply::ok(request.id, Bytes::new()));
        exchange(&mut client, &mut server, usize::MAX);
        assert_eq!(client.response().id, CallId(10), "the connection goes on");
    }
}

#[test]
fn a_cancelled_call_resets_its_streams_and_leaves_nothing() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    let mine = client.open();
    client.call(echo(9, vec![mine]));
    client.session.send(NOW, BrpcCommand::Cancel(CallId(9))).unwrap();
    assert!(client.session.send(NOW, BrpcCommand::Cancel(CallId(9))).is_err());
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.end_of(mine), [StreamEnd::LocalReset(Code(0))]);
    assert_eq!(client.session.protocol_mut(NOW).waiting(), (0, 0));
}

#[test]
fn streams_that_the_server_does_not_accept_are_refused() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    let (ignored, failed) = (client.open(), client.open());
    client.call(echo(1, vec![ignored]));
    client.call(echo(2, vec![failed]));
    exchange(&mut client, &mut server, usize::MAX);
    let (first, second) = (server.request(), server.request());
    server.reply(Reply::ok(first.id, Bytes::new()));
    let accepted = server.session.protocol_mut(NOW).accept(second.id).unwrap();
    assert_eq!(server.session.protocol_mut(NOW).accept(second.id), Err(AcceptError::NoStreams));
    server.reply(Reply::error(second.id, code::ELIMIT, "busy"));
    assert_eq!(server.session.protocol_mut(NOW).accept(second.id), Err(AcceptError::Unknown));
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!((client.end_of(ignored), client.end_of(failed)), (vec![StreamEnd::Refused], vec![StreamEnd::Refused]));
    assert_eq!(server.end_of(accepted[0]), [StreamEnd::Refused]);
    assert_eq!((client.response().streams, client.response().error_code), (0, code::ELIMIT));
}

#[test]
fn what_is_sent_before_the_response_flows_behind_it_in_order() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    let mine = [client.open(), client.open()];
    client.call(echo(1, mine.to_vec()));
    for n in 0..10_u8 {
        client.send(mine[0], vec![n]);
        client.send(mine[1], vec![100 + n]);
    }
    exchange(&mut client, &mut server, 3);
    let request = server.request();
    assert_eq!(request.streams, 2);
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap();
    server.send(theirs[1], "early");
    assert!(all_output(&mut server.session).is_empty(), "nothing before the reply");
    server.reply(Reply::ok(request.id, Bytes::new()));
    exchange(&mut client, &mut server, 3);
    assert_eq!(server.take(theirs[0]), (0..10).map(|n| vec![n]).collect::<Vec<_>>());
    assert_eq!(server.take(theirs[1]), (100..110).map(|n| vec![n]).collect::<Vec<_>>());
    assert_eq!(client.take(mine[1]), [b"early"]);
}

#[test]
fn the_window_admits_one_overshooting_message_and_feedback_opens_it_again() {
    let config = BrpcConfig::new().streams(BrpcConfig::new().streams.send_window(64));
    let (mut client, mut server, mine, theirs) = connected(config, 1);
    for n in 0..5_u8 {
        client.send(mine[0], vec![n; 26]);
    }
    exchange(&mut client, &mut server, usize::MAX);
    // 26 and 52 are below 64; the third message begins there and is sent whole.
    assert_eq!(server.take(theirs[0]).len(), 3);
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs[0]).len(), 2);
    client.send(mine[0], vec![9; 100_000]);
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs[0]), [vec![9; 100_000]]);
}

#[test]
fn an_empty_message_behind_an_overshooting_one_waits_for_feedback_and_goes() {
    let config = BrpcConfig::new().streams(BrpcConfig::new().streams.send_window(64)).max_segment(300);
    let (mut client, mut server, mine, theirs) = connected(config, 1);
    client.send(mine[0], vec![1; 2165]);
    client.send(mine[0], "");
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs[0]), [vec![1; 2165]]);
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs[0]), [vec![0; 0]]);
}

#[test]
fn long_messages_go_in_segments_and_two_streams_share_the_connection() {
    let config = BrpcConfig::new().max_segment(1024).ahead(8 << 10);
    let (mut client, mut server, mine, theirs) = connected(config, 2);
    let long: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    client.send(mine[0], long.clone());
    client.send(mine[1], "short");
    let bytes = all_output(&mut client.session);
    let short = bytes.windows(5).position(|five| five == b"short").unwrap();
    assert!(short < 80_000, "the short message waits for the long one");
    server.feed(&bytes);
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!((server.take(theirs[0]), server.take(theirs[1])), (vec![long], vec![b"short".to_vec()]));
}

#[test]
fn a_peer_that_takes_no_data_gives_a_typed_error_and_the_stream_still_closes() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new().writable(false)), Side::new(Role::Server, BrpcConfig::new()));
    let mine = client.open();
    client.call(echo(1, vec![mine]));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap()[0];
    let refused = server.with(theirs, |stream| stream.send("x".into())).unwrap_err();
    assert_eq!(refused.why, StreamError::Stopped(Code(code::EBADF)));
    server.reply(Reply::ok(request.id, Bytes::new()));
    client.send(mine, "one way");
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs), [b"one way"]);
    server.with(theirs, |stream| stream.finish());
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!((client.end_of(mine), server.end_of(theirs)), (vec![StreamEnd::Finished], vec![StreamEnd::Finished]));
}

#[test]
fn data_for_an_unknown_stream_is_answered_by_an_rst_and_an_rst_by_nothing() {
    let mut server = Side::new(Role::Server, BrpcConfig::new());
    for id in [0, -1, i64::MIN + 1] {
        server.feed(&[Prefix::data(id, 5, false, 3).as_slice(), b"abc"].concat());
        assert_eq!(all_output(&mut server.session), Prefix::rst(5).as_slice());
        server.feed(Prefix::close(id, -1).as_slice());
        assert_eq!(all_output(&mut server.session), Prefix::rst(-1).as_slice());
        server.feed(Prefix::rst(id).as_slice());
        server.feed(Prefix::feedback(id, 7, 1).as_slice());
        assert!(all_output(&mut server.session).is_empty());
    }
    let (mut client, _server, mine, _theirs) = connected(BrpcConfig::new(), 1);
    client.feed(Prefix::rst(0).as_slice());
    assert!(all_output(&mut client.session).is_empty(), "an RST is never answered");
    assert_eq!(client.end_of(mine[0]), [StreamEnd::PeerReset(Code(code::ECONNRESET))]);
}

#[test]
fn close_is_mirrored_once_after_what_came_before_was_delivered() {
    let (mut client, mut server, mine, theirs) = connected(BrpcConfig::new(), 1);
    for n in 0..7_u8 {
        client.send(mine[0], vec![n]);
    }
    client.with(mine[0], |stream| stream.finish());
    server.feed(&all_output(&mut client.session));
    assert_eq!(all_output(&mut server.session), Prefix::close(0, 0).as_slice());
    assert_eq!(server.take(theirs[0]).len(), 7);
    // Behind its CLOSE the peer's data is for a stream that is no more.
    server.feed(&[Prefix::data(0, 0, false, 1).as_slice(), b"x"].concat());
    assert!(all_output(&mut server.session).ends_with(Prefix::rst(0).as_slice()));
    client.feed(Prefix::close(0, 0).as_slice());
    assert!(all_output(&mut client.session).is_empty(), "the mirrored CLOSE is not mirrored again");
    server.pump();
    assert_eq!(
        (client.end_of(mine[0]), server.end_of(theirs[0])),
        (vec![StreamEnd::Finished], vec![StreamEnd::Finished])
    );
}

#[test]
fn a_message_beyond_the_limit_resets_its_stream_only() {
    let small = BrpcConfig::new().max_message(1000);
    let (mut client, mut server) = (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, small));
    let mine = [client.open(), client.open()];
    client.call(echo(1, mine.to_vec()));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap();
    server.reply(Reply::ok(request.id, Bytes::new()));
    client.send(mine[0], vec![0; 1001]);
    client.send(mine[1], vec![1; 1000]);
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.end_of(theirs[0]), [StreamEnd::LocalReset(Code(code::EOVERCROWDED as u32))]);
    assert_eq!(client.end_of(mine[0]), [StreamEnd::PeerReset(Code(code::ECONNRESET))]);
    assert_eq!(server.take(theirs[1]), [vec![1; 1000]]);
    let refused = server.with(theirs[1], |stream| stream.send(vec![0; 1001].into())).unwrap_err();
    assert_eq!(refused.why, StreamError::TooLarge { len: 1001, limit: 1000 });
}

#[test]
fn limits_that_do_not_fit_each_other_are_refused() {
    let error = BrpcConfig::new().max_segment(1000).max_body(1000);
    let error = duologue_brpc::Brpc::new(Role::Client, error).unwrap_err();
    assert_eq!(error, BrpcError::Segment { segment: 1000, body: 1000 });
    let zero = BrpcConfig::new().streams(StreamsConfig::new().slots(0));
    assert!(matches!(duologue_brpc::Brpc::new(Role::Client, zero), Err(BrpcError::Streams(_))));
}

#[test]
fn requests_beyond_the_bound_are_answered_by_elimit() {
    let config = BrpcConfig::new().max_requests(1);
    let (mut client, mut server) = (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, config));
    let mine = client.open();
    client.call(echo(1, vec![]));
    client.call(echo(2, vec![mine]));
    exchange(&mut client, &mut server, usize::MAX);
    let turned_away = client.response();
    assert_eq!((turned_away.id, turned_away.error_code), (CallId(2), code::ELIMIT));
    assert_eq!(client.end_of(mine), [StreamEnd::Refused]);
    assert_eq!(server.request().id.0, 0);
}

#[test]
fn a_reply_that_the_peers_limits_refuse_is_refused_here() {
    let config = BrpcConfig::new().max_meta(200);
    let (mut client, mut server) = (Side::new(Role::Client, config), Side::new(Role::Server, config));
    client.call(echo(1, vec![]));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    let told = |len| BrpcCommand::Reply(Box::new(Reply::error(request.id, code::EINTERNAL, "x".repeat(len))));
    assert!(server.session.send(NOW, told(201)).is_err(), "its words are a part of the meta");
    server.session.send(NOW, told(100)).unwrap();
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.response().error_text.len(), 100);
}

#[test]
fn calls_whose_end_nobody_heard_of_count_among_those_that_wait() {
    let mut client = Side::new(Role::Client, BrpcConfig::new().max_calls(2));
    for round in 0..3 {
        let call = |id| Call { timeout: Some(Duration::from_millis(1)), ..echo(id, vec![]) };
        let accepted =
            (0..9).filter(|id| client.session.send(NOW, BrpcCommand::Call(Box::new(call(round * 9 + id)))).is_ok());
        assert_eq!(accepted.count(), if round == 0 { 2 } else { 0 }, "round {round}");
        client.session.handle_timeout(NOW.after(Duration::from_millis(1)));
        all_output(&mut client.session);
    }
    client.pump();
    assert_eq!(client.events.len(), 2);
    client.call(echo(99, vec![]));
}

#[test]
fn what_the_peer_may_not_do_is_told_apart() {
    let head =
        |magic: &[u8; 4], body: u32, meta: u32| [&magic[..], &body.to_be_bytes()[..], &meta.to_be_bytes()[..]].concat();
    let limit = 64 << 20;
    let cases = [
        (head(b"HULU", 0, 0), BrpcViolation::Magic(*b"HULU")),
        (head(b"PRPC", 3, 4), BrpcViolation::MetaBeyondBody { meta: 4, body: 3 }),
        (head(b"PRPC", limit + 1, 4), BrpcViolation::TooLarge { body: limit + 1, limit }),
        (head(b"PRPC", limit, limit), BrpcViolation::MetaTooLarge { meta: limit, limit: 64 << 10 }),
        (head(b"STRM", limit, 1025), BrpcViolation::MetaTooLarge { meta: 1025, limit: 1024 }),
        ([head(b"STRM", 1, 1), vec![0xff]].concat(), BrpcViolation::Meta),
        (head(b"STRM", 0, 0), BrpcViolation::Missing("stream_id")),
        (head(b"PRPC", 0, 0), BrpcViolation::WrongSide),
        (
            [head(b"PRPC", 4, 4), vec![0x0a, 0, 0x28, 1]].concat(),
            BrpcViolation::Attachment { attachment: 1, payload: 0 },
        ),
        ([head(b"PRPC", 4, 4), vec![0x0a, 0, 0x42, 0]].concat(), BrpcViolation::Missing("stream_settings.stream_id")),
    ];
    for (bytes, expected) in cases {
        let mut server = Side::new(Role::Server, BrpcConfig::new());
        server.feed(&bytes);
        assert_eq!(server.session.cause(), Some(&Cause::Violation(expected)), "{bytes:02x?}");
    }
    let (mut client, _server, _mine, _theirs) = connected(BrpcConfig::new(), 1);
    client.feed(Prefix::feedback(0, 0, 1).as_slice());
    assert!(matches!(client.session.cause(), Some(Cause::Violation(BrpcViolation::Stream { stream: 0, .. }))));
    let (mut client, _server, _mine, _theirs) = connected(BrpcConfig::new(), 1);
    client.feed(&[head(b"STRM", 4, 4), vec![0x08, 0, 0x18, 9]].concat());
    assert_eq!(client.session.cause(), Some(&Cause::Violation(BrpcViolation::FrameType(9, 0))));
}

#[test]
fn provoked_resets_are_bounded() {
    let mut server = Side::new(Role::Server, BrpcConfig::new());
    for _ in 0..5_000 {
        server.feed(Prefix::close(1, 2).as_slice());
        all_output(&mut server.session);
    }
    assert!(matches!(server.session.cause(), Some(Cause::Violation(BrpcViolation::Stream { .. }))));
}

#[test]
fn feedback_for_every_one_of_many_small_messages_is_no_abuse() {
    let (mut client, _server, mine, _theirs) = connected(BrpcConfig::new(), 1);
    for _ in 0..10_000 {
        client.send(mine[0], "a small message");
        all_output(&mut client.session);
    }
    for n in 1..=10_000 {
        client.feed(Prefix::feedback(0, 0, n * 15).as_slice());
    }
    assert_eq!(client.session.cause(), None);
    // What tells nothing new is bounded.
    for _ in 0..2_001 {
        client.feed(Prefix::feedback(0, 0, 150_000).as_slice());
    }
    assert!(matches!(client.session.cause(), Some(Cause::Violation(BrpcViolation::Stream { stream: 0, .. }))));
}

#[test]
fn feedback_for_a_stream_that_was_reset_meanwhile_is_no_abuse() {
    let (mut client, _server, mine, _theirs) = connected(BrpcConfig::new(), 1);
    for _ in 0..10_000 {
        client.send(mine[0], "a small message");
        all_output(&mut client.session);
    }
    client.with(mine[0], |stream| stream.reset(Code(1)));
    client.pump();
    all_output(&mut client.session);
    for n in 1..=10_000 {
        client.feed(Prefix::feedback(0, 0, n * 15).as_slice());
    }
    assert_eq!(client.session.cause(), None);
    for _ in 0..2_001 {
        client.feed(Prefix::feedback(77, 0, 1).as_slice());
    }
    assert!(client.session.cause().is_some(), "a stream that never was");
}

#[test]
fn a_message_that_comes_in_many_pieces_is_fed_back_at_its_end() {
    let (mut client, mut server, mine, theirs) = connected(BrpcConfig::new().max_segment(100), 1);
    client.send(mine[0], vec![1; 1000]);
    let bytes = all_output(&mut client.session);
    let mut told = Vec::new();
    for byte in &bytes {
        server.feed(std::slice::from_ref(byte));
        server.take(theirs[0]);
        told.extend(all_output(&mut server.session));
    }
    // What was consumed before its end came, and the rest.
    assert_eq!(told, [Prefix::feedback(0, 0, 999).as_slice(), Prefix::feedback(0, 0, 1000).as_slice()].concat());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// However the bytes are cut, the same comes out.
    #[test]
    fn chunking_changes_nothing(
        cuts in (1_usize..200, 1_usize..200), messages in proptest::collection::vec((0_usize..2, 0_usize..3000), 1..20),
    ) {
        let run = |cut: usize| {
            let (mut client, mut server, mine, theirs) = connected(BrpcConfig::new().max_segment(700), 2);
            (client.cut, server.cut) = (cut, cut);
            for (n, (stream, len)) in messages.iter().enumerate() {
                client.send(mine[*stream], vec![n as u8; *len]);
            }
            exchange(&mut client, &mut server, cut);
            [server.take(theirs[0]), server.take(theirs[1])]
        };
        let whole = run(usize::MAX);
        for (stream, came) in whole.iter().enumerate() {
            let sent = messages.iter().enumerate().filter(|(_, (s, _))| *s == stream);
            let sent: Vec<Vec<u8>> = sent.map(|(n, (_, len))| vec![n as u8; *len]).collect();
            prop_assert_eq!(came, &sent);
        }
        prop_assert_eq!(&whole, &run(cuts.0));
        prop_assert_eq!(&whole, &run(cuts.1));
    }

    /// No bytes make a session panic or go on for ever.
    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..300), stream: bool, meta in 0_u32..40) {
        let magic = if stream { b"STRM" } else { b"PRPC" };
        let head = [&magic[..], &(bytes.len() as u32).to_be_bytes()[..], &meta.to_be_bytes()[..]].concat();
        for role in [Role::Client, Role::Server] {
            let mut side = Side::new(role, BrpcConfig::new());
            side.feed(&[&head[..], &bytes[..]].concat());
            side.feed(&bytes);
            prop_assert!(all_output(&mut side.session).len() < 1 << 16);
        }
    }
}

/// A client's patience runs from when its request came, and not from when somebody had time for it.
#[test]
fn a_request_says_when_it_came() {
    let (mut client, mut server) = pair(BrpcConfig::new());
    let call = Call { timeout: Some(Duration::from_secs(1)), ..Call::new("a.Service", "Method", "") };
    client.send(NOW, BrpcCommand::Call(Box::new(call))).unwrap();
    let bytes = all_output(&mut client);
    assert_eq!(input(&mut server, &bytes), bytes.len());
    let Some(duologue_core::Event::App(BrpcEvent::Request(request))) =
        server.poll_event(NOW.after(Duration::from_secs(9)))
    else {
        panic!("no request: {server:?}")
    };
    assert_eq!((request.arrived, request.timeout), (NOW, Some(Duration::from_secs(1))));
}
