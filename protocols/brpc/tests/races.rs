//! What crosses on the wire, and what ends between a request and its reply.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use duologue_brpc::{AcceptError, BrpcConfig, BrpcEvent, CallError, CallId, Reply, Role, code};
use duologue_core::streams::{StreamEnd, StreamEvent};
use duologue_core::{Code, Instant};

fn after(millis: u64) -> Instant {
    NOW.after(Duration::from_millis(millis))
}

fn sides(config: BrpcConfig) -> (Side, Side) {
    (Side::new(Role::Client, config), Side::new(Role::Server, config))
}

/// Every call has one end, however the session ends: here by its own response.
#[test]
fn a_call_whose_response_breaks_a_rule_fails_with_the_session() {
    // One stream was opened, and two are accepted.
    let (mut two, mut accepting) = sides(BrpcConfig::new());
    let both = vec![two.open(), two.open()];
    two.call(echo(1, both));
    exchange(&mut two, &mut accepting, usize::MAX);
    let request = accepting.request();
    accepting.session.protocol_mut(NOW).accept(request.id).unwrap();
    accepting.reply(Reply::ok(request.id, Bytes::new()));
    let too_many = all_output(&mut accepting.session);

    let (mut client, _server) = sides(BrpcConfig::new());
    let mine = client.open();
    client.call(echo(1, vec![mine]));
    all_output(&mut client.session);
    client.feed(&too_many);
    assert!(client.session.cause().is_some_and(|cause| !cause.is_orderly()), "{:?}", client.session.cause());
    assert_eq!(client.end_of(mine), [StreamEnd::Lost]);
    let failed = client.events.iter().filter(|event| matches!(event, BrpcEvent::CallFailed(..)));
    assert_eq!(failed.collect::<Vec<_>>(), [&BrpcEvent::CallFailed(CallId(1), CallError::Lost)]);
}

/// The bound on the wait for the peer's CLOSE is ours, the stream's deadline is the application's.
#[test]
fn a_deadline_of_the_applications_holds_after_the_peers_close() {
    let (mut client, mut server, mine, theirs) = connected(BrpcConfig::new(), 1);
    let (mine, theirs) = (mine[0], theirs[0]);
    server.send(theirs, "unread");
    client.with(mine, |stream| stream.set_deadline(Some(after(60_000))));
    client.with(mine, |stream| stream.finish());
    exchange(&mut client, &mut server, usize::MAX);
    // The server's CLOSE came; what it sent before was not taken.
    assert_eq!(server.end_of(theirs), [StreamEnd::Finished]);
    assert!(client.end_of(mine).is_empty());
    assert_eq!(client.with(mine, |stream| stream.deadline()), Some(after(60_000)));
    client.session.handle_timeout(after(60_000));
    client.pump();
    assert_eq!(client.end_of(mine), [StreamEnd::Deadline]);
}

#[test]
fn a_stream_without_a_deadline_has_none_after_the_peers_close() {
    let (mut client, mut server, mine, theirs) = connected(BrpcConfig::new(), 1);
    server.send(theirs[0], "unread");
    client.with(mine[0], |stream| stream.finish());
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.with(mine[0], |stream| stream.deadline()), None);
    // One that is set while the CLOSE is waited for holds as well.
    let (mut client, mut server, mine, theirs) = connected(BrpcConfig::new(), 1);
    server.send(theirs[0], "unread");
    client.with(mine[0], |stream| stream.finish());
    let close = all_output(&mut client.session);
    client.with(mine[0], |stream| stream.set_deadline(Some(after(5))));
    server.feed(&close);
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.with(mine[0], |stream| stream.deadline()), Some(after(5)));
}

/// A handler that resets its stream before it replies (L7, the other way to end): the client must not be told of a
/// stream that is no more.
#[test]
fn a_reset_from_the_handler_before_its_reply_is_not_lost() {
    for by_deadline in [false, true] {
        let (mut client, mut server) = sides(BrpcConfig::new());
        let mine = [client.open(), client.open()];
        client.call(echo(1, mine.to_vec()));
        exchange(&mut client, &mut server, usize::MAX);
        let request = server.request();
        let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap();
        if by_deadline {
            server.with(theirs[0], |stream| stream.set_deadline(Some(after(1))));
            server.session.handle_timeout(after(1));
        } else {
            server.with(theirs[0], |stream| stream.reset(Code(7)));
        }
        // Before the reply, and with it.
        exchange(&mut client, &mut server, usize::MAX);
        server.reply(Reply::ok(request.id, Bytes::new()));
        exchange(&mut client, &mut server, usize::MAX);
        assert_eq!(client.response().error_code, 0);
        assert_eq!(client.end_of(mine[0]).len(), 1, "by deadline: {by_deadline}; {:?}", client.events);
        client.send(mine[1], "the other one lives");
        exchange(&mut client, &mut server, usize::MAX);
        assert_eq!(server.take(theirs[1]), [b"the other one lives"]);
    }
}

#[test]
fn streams_that_found_no_place_at_the_server_are_never_heard_of() {
    let (mut client, _) = sides(BrpcConfig::new());
    let mut server = Side::new(Role::Server, BrpcConfig::new().streams(BrpcConfig::new().streams.max_local(2)));
    let mine = [client.open(), client.open(), client.open()];
    client.call(echo(1, mine.to_vec()));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    let refused = server.session.protocol_mut(NOW).accept(request.id);
    assert!(matches!(refused, Err(AcceptError::Open(_))), "{refused:?}");
    server.reply(Reply::error(request.id, code::ELIMIT, "no place"));
    exchange(&mut client, &mut server, usize::MAX);
    let ends = server.events.iter().filter(|event| matches!(event, BrpcEvent::Stream(StreamEvent::Closed(..))));
    assert_eq!(ends.count(), 0, "{:?}", server.events);
    assert!(mine.iter().all(|id| client.end_of(*id) == [StreamEnd::Refused]));
}

/// Streams that never belonged to a call have no late answer: remembering them would push out those that have.
#[test]
fn streams_that_were_never_offered_do_not_make_late_answers_forgotten() {
    let (mut client, mut server) = sides(BrpcConfig::new());
    let mine = [client.open(), client.open()];
    client.call(echo(1, mine.to_vec()));
    exchange(&mut client, &mut server, usize::MAX);
    assert!(client.session.send(NOW, duologue_brpc::BrpcCommand::Cancel(CallId(1))).is_ok());
    exchange(&mut client, &mut server, usize::MAX);
    for _ in 0..300 {
        let unused = client.open();
        client.with(unused, |stream| stream.reset(Code(0)));
        exchange(&mut client, &mut server, usize::MAX);
    }
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap();
    server.reply(Reply::ok(request.id, Bytes::new()));
    exchange(&mut client, &mut server, usize::MAX);
    for id in theirs {
        assert_eq!(server.end_of(id), [StreamEnd::PeerReset(Code(code::ECONNRESET))], "it is not left half open");
    }
}

/// Clients go on calling while a server drains or has too much to do: what is under way must not be lost by that.
#[test]
fn calls_that_are_turned_away_do_not_end_the_session_however_many_they_are() {
    for drains in [false, true] {
        let config = BrpcConfig::new().max_requests(1);
        let (mut client, mut server) = (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, config));
        client.call(echo(0, vec![]));
        exchange(&mut client, &mut server, usize::MAX);
        let under_way = server.request();
        if drains {
            assert!(server.session.drain(NOW));
        }
        let refusal = if drains { code::ELOGOFF } else { code::ELIMIT };
        for round in 0..50 {
            (1..=100).for_each(|n| client.call(echo(round * 100 + n, vec![])));
            exchange(&mut client, &mut server, usize::MAX);
            assert!((0..100).all(|_| client.response().error_code == refusal), "{:?}", server.session.cause());
        }
        server.reply(Reply::ok(under_way.id, "at last".into()));
        exchange(&mut client, &mut server, usize::MAX);
        assert_eq!(client.response().body, "at last");
    }
}
