//! What hangs or leaks in the original implementation, one test for each (findings L1 to L9), and what else must never.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use duologue_brpc::wire::Prefix;
use duologue_brpc::{Brpc, BrpcCommand, BrpcConfig, BrpcEvent, Call, CallError, CallId, Reply, Role, code};
use duologue_core::streams::{Received, StreamEnd, StreamError, StreamEvent};
use duologue_core::{
    Cause, CloseIntent, Code, Config, FaultKind, Instant, Keepalive, Limits, Operation, Session, TimeoutReason,
    Timeouts, TransportFault,
};

fn after(millis: u64) -> Instant {
    NOW.after(Duration::from_millis(millis))
}

/// Streams connected whose window (64 bytes) is used up, with a writer that was refused.
fn starved() -> (Side, Side, duologue_core::streams::StreamId, duologue_core::streams::StreamId) {
    let config = BrpcConfig::new().streams(BrpcConfig::new().streams.send_window(64)).max_message(200);
    let (mut client, mut server, mine, theirs) = connected(config, 1);
    let mine = mine[0];
    while client.with(mine, |stream| stream.send(Bytes::from_static(&[7; 64]))).is_ok() {}
    let full = client.with(mine, |stream| stream.send(Bytes::from_static(&[7; 64]))).unwrap_err().why;
    assert!(matches!(full, StreamError::Full { .. }));
    exchange(&mut client, &mut server, usize::MAX);
    client.events.clear();
    assert!(!client.session.interest().write, "nothing is in flight");
    (client, server, mine, theirs[0])
}

fn woken(side: &Side, id: duologue_core::streams::StreamId) -> bool {
    side.events.contains(&BrpcEvent::Stream(StreamEvent::Writable(id)))
}

#[test]
fn l1_a_waiter_is_woken_by_our_own_close() {
    let (mut client, _server, mine, _) = starved();
    client.session.close(NOW, CloseIntent::Flush(Code(0)));
    // What waits for credit is flushed only within a bound.
    let at = client.session.interest().deadline.expect("a bound").at;
    client.session.handle_timeout(at);
    client.pump();
    assert!(woken(&client, mine));
    assert_eq!(client.end_of(mine), [StreamEnd::LocalClose]);
}

#[test]
fn l1_a_waiter_is_woken_by_a_reset_of_its_own_stream() {
    let (mut client, _server, mine, _) = starved();
    client.with(mine, |stream| stream.reset(Code(3)));
    client.pump();
    assert!(woken(&client, mine));
    assert_eq!(client.end_of(mine), [StreamEnd::LocalReset(Code(3))]);
}

#[test]
fn l2_a_waiter_is_woken_by_the_peers_close() {
    let (mut client, mut server, mine, theirs) = starved();
    server.with(theirs, |stream| stream.finish());
    exchange(&mut client, &mut server, usize::MAX);
    assert!(woken(&client, mine));
    // What came before is still to be taken.
    assert!(server.end_of(theirs).is_empty());
    assert!(!server.take(theirs).is_empty());
    server.pump();
    assert_eq!((client.end_of(mine), server.end_of(theirs)), (vec![StreamEnd::Finished], vec![StreamEnd::Finished]));
}

#[test]
fn l2_a_waiter_is_woken_by_the_peers_rst() {
    let (mut client, mut server, mine, theirs) = starved();
    server.with(theirs, |stream| stream.reset(Code(3)));
    exchange(&mut client, &mut server, usize::MAX);
    assert!(woken(&client, mine));
    assert_eq!(client.end_of(mine), [StreamEnd::PeerReset(Code(code::ECONNRESET))]);
}

#[test]
fn l2_a_waiter_is_woken_by_the_death_of_the_connection() {
    let (mut client, _server, mine, _) = starved();
    client.session.received_eof(NOW);
    client.pump();
    assert!(woken(&client, mine));
    assert_eq!(client.end_of(mine), [StreamEnd::Lost]);
}

#[test]
fn l2_a_waiter_is_woken_by_feedback() {
    let (mut client, mut server, mine, theirs) = starved();
    server.take(theirs);
    exchange(&mut client, &mut server, usize::MAX);
    assert!(woken(&client, mine));
}

fn watched(role: Role, timeouts: Timeouts) -> Side {
    let limits = Limits::new().send_buffer(64 << 10).recv_buffer(64 << 10);
    let config = Config::new().limits(limits).timeouts(timeouts);
    Side::of(Session::new(Brpc::new(role, BrpcConfig::new()).unwrap(), config, 7, NOW).unwrap())
}

fn accept_one(client: &mut Side, server: &mut Side) -> duologue_core::streams::StreamId {
    let mine = client.open();
    client.call(echo(1, vec![mine]));
    exchange(client, server, usize::MAX);
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap()[0];
    server.reply(Reply::ok(request.id, Bytes::new()));
    exchange(client, server, usize::MAX);
    theirs
}

#[test]
fn l3_a_server_that_pushes_into_a_black_hole_names_the_cause_within_its_bound() {
    let stall = Timeouts::none().write_stall(Some(Duration::from_secs(3)));
    let (mut client, mut server) = (Side::new(Role::Client, BrpcConfig::new()), watched(Role::Server, stall));
    let theirs = accept_one(&mut client, &mut server);
    // From here on the transport takes nothing.
    server.send(theirs, vec![1; 100_000]);
    let at = server.session.interest().deadline.expect("a bound").at;
    assert!(at <= after(3_000), "{at:?}");
    server.session.handle_timeout(at);
    server.pump();
    assert!(matches!(server.session.cause(), Some(Cause::Timeout(_))), "{:?}", server.session.cause());
    assert_eq!(server.end_of(theirs), [StreamEnd::Lost]);
}

#[test]
fn l4_a_client_with_bytes_in_flight_is_bounded_in_the_same_way() {
    let stall = Timeouts::none().write_stall(Some(Duration::from_secs(3)));
    let (mut client, mut server) = (watched(Role::Client, stall), Side::new(Role::Server, BrpcConfig::new()));
    client.call(echo(1, vec![]));
    let at = client.session.interest().deadline.expect("a bound").at;
    assert!(at <= after(3_000));
    client.session.handle_timeout(at);
    client.pump();
    assert!(client.events.contains(&BrpcEvent::CallFailed(CallId(1), CallError::Lost)));
    server.pump();
}

#[test]
fn l5_a_starved_stream_with_nothing_in_flight_ends_by_its_deadline() {
    let (mut client, mut server, mine, theirs) = starved();
    client.with(mine, |stream| stream.set_deadline(Some(after(500))));
    assert_eq!(client.session.interest().deadline.map(|d| d.at), Some(after(500)));
    client.session.handle_timeout(after(499));
    client.pump();
    assert!(client.end_of(mine).is_empty());
    client.session.handle_timeout(after(500));
    client.pump();
    assert_eq!(client.end_of(mine), [StreamEnd::Deadline]);
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.end_of(theirs), [StreamEnd::PeerReset(Code(code::ECONNRESET))]);
}

#[test]
fn l6_a_starved_stream_with_nothing_in_flight_ends_by_the_heartbeat() {
    let keepalive = Keepalive { quiet: Duration::from_secs(1), reply: Duration::from_secs(1) };
    let timeouts = Timeouts::none().keepalive(Some(keepalive));
    let (mut client, mut server) = (watched(Role::Client, timeouts), Side::new(Role::Server, BrpcConfig::new()));
    accept_one(&mut client, &mut server);
    client.session.handle_timeout(after(1_000));
    let probe = all_output(&mut client.session);
    assert_eq!(probe, Prefix::close(-1, i64::MIN).as_slice());
    // A peer that lives answers in its own words.
    server.feed(&probe);
    assert_eq!(all_output(&mut server.session), Prefix::rst(i64::MIN).as_slice());
    // This one does not.
    client.session.handle_timeout(after(2_001));
    client.pump();
    assert_eq!(client.session.cause(), Some(&Cause::Timeout(TimeoutReason::KeepaliveReply)));
}

#[test]
fn l6_probes_of_a_quiet_peer_cost_it_nothing_for_ever() {
    let mut server = Side::new(Role::Server, BrpcConfig::new());
    for n in 0..10_000 {
        // A second apart: the budget refills with time.
        let bytes = Prefix::close(-1, i64::MIN);
        let mut buf = server.session.recv_buf();
        bytes::BufMut::put_slice(&mut buf, bytes.as_slice());
        server.session.received(after(n * 1_000));
        all_output(&mut server.session);
    }
    assert_eq!(server.session.cause(), None);
}

#[test]
fn l7_a_close_from_the_handler_right_after_the_stream_opened_is_not_lost() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    let mine = client.open();
    client.call(echo(1, vec![mine]));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap()[0];
    server.send(theirs, "last words");
    server.with(theirs, |stream| stream.finish());
    server.reply(Reply::ok(request.id, Bytes::new()));
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.take(mine), [b"last words"]);
    client.pump();
    assert_eq!(client.end_of(mine), [StreamEnd::Finished]);
    assert_eq!(server.end_of(theirs), [StreamEnd::Finished], "the client's CLOSE came");
}

#[test]
fn l7_feedback_for_data_that_came_right_after_the_response_is_given() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    let mine = client.open();
    client.call(echo(1, vec![mine]));
    client.send(mine, "first");
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap()[0];
    server.reply(Reply::ok(request.id, Bytes::new()));
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs), [b"first"]);
    assert_eq!(all_output(&mut server.session), Prefix::feedback(0, 0, 5).as_slice());
}

#[test]
fn l8_a_close_that_is_never_mirrored_ends_within_its_bound() {
    let (mut client, mut server, mine, _) = connected_one();
    client.with(mine, |stream| stream.finish());
    assert_eq!(all_output(&mut client.session), Prefix::close(0, 0).as_slice());
    client.session.handle_timeout(after(10_000));
    client.pump();
    assert_eq!(client.end_of(mine), [StreamEnd::Deadline]);
    server.pump();
}

fn connected_one() -> (Side, Side, duologue_core::streams::StreamId, duologue_core::streams::StreamId) {
    let (client, server, mine, theirs) = connected(BrpcConfig::new(), 1);
    (client, server, mine[0], theirs[0])
}

#[test]
fn l9_a_consumer_that_never_reads_stops_neither_calls_nor_other_streams() {
    let (mut client, mut server, mine, theirs) = connected(BrpcConfig::new(), 2);
    for _ in 0..1_000 {
        if client.with(mine[0], |stream| stream.send(vec![1; 100_000].into())).is_err() {
            exchange(&mut client, &mut server, usize::MAX);
        }
    }
    // Nobody reads the first stream; its window is used up.
    client.send(mine[1], "beside it");
    client.call(echo(7, vec![]));
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs[1]), [b"beside it"]);
    let request = server.request();
    server.reply(Reply::ok(request.id, "fine".into()));
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.response().body, "fine");
    // And it goes on when somebody reads.
    assert!(server.take(theirs[0]).len() > 20);
    exchange(&mut client, &mut server, usize::MAX);
    assert!(!server.take(theirs[0]).is_empty());
}

#[test]
fn a_relative_deadline_cannot_be_passed_and_a_past_one_ends_the_stream_once() {
    // The original takes a moment of the wall clock where a span was meant, and spins. A call takes a span:
    let call = Call { timeout: Some(Duration::from_millis(100)), ..Call::default() };
    assert_eq!(call.timeout.map(|span| span.as_millis()), Some(100));
    // a stream takes a moment of the session's own clock, and one that passed is an end, not a wait that returns.
    let (mut client, _server, mine, _) = starved();
    client.with(mine, |stream| stream.set_deadline(Some(Instant::from_nanos(1))));
    client.session.handle_timeout(NOW);
    client.pump();
    assert_eq!(client.end_of(mine), [StreamEnd::Deadline]);
    all_output(&mut client.session);
    client.session.handle_timeout(after(1));
    client.pump();
    assert_eq!(client.end_of(mine).len(), 1);
    let armed = client.session.interest().deadline.map(|deadline| deadline.reason);
    assert!(!matches!(armed, Some(TimeoutReason::Protocol(_))), "{armed:?}");
}

#[test]
fn calls_that_wait_when_the_connection_dies_fail_each_once() {
    let mut client = Side::new(Role::Client, BrpcConfig::new());
    client.call(echo(1, vec![]));
    client.call(echo(2, vec![]));
    all_output(&mut client.session);
    client.session.received_eof(NOW);
    client.pump();
    let failed = |id| BrpcEvent::CallFailed(CallId(id), CallError::Lost);
    assert_eq!(client.events, [failed(1), failed(2)]);
}

#[test]
fn a_response_for_a_stream_that_was_reset_meanwhile_leaves_no_half_open_stream() {
    let (mut client, mut server) =
        (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()));
    let mine = [client.open(), client.open()];
    client.call(echo(1, mine.to_vec()));
    exchange(&mut client, &mut server, usize::MAX);
    client.with(mine[0], |stream| stream.reset(Code(1)));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap();
    server.reply(Reply::ok(request.id, Bytes::new()));
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.response().error_code, 0);
    assert_eq!(server.end_of(theirs[0]), [StreamEnd::PeerReset(Code(code::ECONNRESET))]);
    client.send(mine[1], "the other one lives");
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(server.take(theirs[1]), [b"the other one lives"]);
}

/// The original's blocked consumer keeps the broken socket, and with it every new stream to that server.
#[test]
fn l9_a_consumer_that_never_reads_does_not_keep_a_broken_connection() {
    let (mut client, mut server, mine, theirs) = connected_one();
    client.send(mine, "unread");
    server.feed(&all_output(&mut client.session));
    let fault = TransportFault::new(FaultKind::Reset, Operation::Read);
    server.session.transport_failed(NOW, fault);
    server.pump();
    assert!(server.session.interest().release.is_some(), "the socket is let go at once");
    assert_eq!(server.end_of(theirs), [StreamEnd::Lost]);
    let still = Received::Data { bytes: Bytes::from_static(b"unread"), ends: true };
    assert_eq!(server.with(theirs, |stream| stream.recv(usize::MAX)), still, "what came is there for whoever reads");
}

/// The kernel of a killed process ends its sockets as an orderly one does: what was left open tells them apart.
#[test]
fn a_peer_that_ends_with_streams_or_calls_open_did_not_end_in_order() {
    let cut = Some(Cause::Truncated { missing: None });
    let (mut client, mut server, mine, theirs) = connected_one();
    server.session.received_eof(NOW);
    server.pump();
    assert_eq!((server.session.cause().cloned(), server.end_of(theirs)), (cut.clone(), vec![StreamEnd::Lost]));
    client.call(echo(2, vec![]));
    client.with(mine, |stream| stream.reset(Code(1)));
    all_output(&mut client.session);
    client.session.received_eof(NOW);
    assert_eq!(client.session.cause().cloned(), cut);

    // The CLOSE came, and maybe ours did not go out yet: nothing is missing.
    let (mut client, mut server, mine, theirs) = connected_one();
    client.send(mine, "all of it");
    client.with(mine, |stream| stream.finish());
    let last = all_output(&mut client.session);
    server.feed(&last);
    server.session.received_eof(NOW);
    assert_eq!(server.take(theirs), [b"all of it"]);
    server.pump();
    assert!(!matches!(server.session.cause(), Some(Cause::Truncated { .. })), "{:?}", server.session.cause());
}

/// A frame's content is collected by the protocol, up to `max_body`: who drips it in holds that memory for its time only.
#[test]
fn a_call_that_drips_in_ends_when_its_time_is_up() {
    let mut client = session(Role::Client, BrpcConfig::new());
    let call = Call::new("example.EchoService", "Echo", Bytes::from(vec![7; 1_000]));
    client.send(NOW, BrpcCommand::Call(Box::new(call))).unwrap();
    let bytes = all_output(&mut client);
    let config = limits().timeouts(Timeouts::none().message(Some(Duration::from_secs(5))));
    let server = || Session::new(Brpc::new(Role::Server, BrpcConfig::new()).unwrap(), config.clone(), 7, NOW).unwrap();
    // After the header, inside the meta, inside the body.
    for begun in [1, 12, 20, 500] {
        let mut server = server();
        input(&mut server, &bytes[..begun]);
        let mut at = 0;
        for byte in &bytes[begun..] {
            at += 500;
            server.handle_timeout(after(at));
            if server.cause().is_some() {
                break;
            }
            input(&mut server, &[*byte]);
        }
        assert_eq!(
            (at, server.cause()),
            (5_000, Some(&Cause::Timeout(TimeoutReason::Message))),
            "{begun} bytes at first"
        );
    }
    let mut server = server();
    input(&mut server, &bytes[..500]);
    assert_eq!(server.interest().deadline.map(|deadline| deadline.at), Some(after(5_000)));
    input(&mut server, &bytes[500..]);
    assert_eq!(server.interest().deadline, None, "it is whole");
    input(&mut server, &bytes[..500]);
    assert!(server.poll_event(NOW).is_some() && server.interest().deadline.is_some(), "the next one has its own time");
}
