//! The five field cases on the bare core: `docs` tells where they come from. The same cases run on real sockets.

use core::time::Duration;

use bytes::Bytes;
use duologue_core::framed::{FrameError, FrameTooLong};
use duologue_core::{
    Cause, CloseIntent, CloseOrder, Code, Config, Event, FaultKind, Keepalive, Operation, Phase, RecvState, Release,
    SendError, SendState, Side, TimeoutReason, Timeouts,
};
use duologue_laws::Role;
use duologue_laws::subjects::{ChatProtocol, GreeterNote, GreeterProtocol};

mod pump;

use pump::cast::{START, at, ending, fault, hear, lines, open, pass, say, small, texts};
use pump::{events, input, output, pump};

// F1: push while the peer talks.

#[test]
fn f1_a_server_pushes_while_the_client_confirms_and_the_send_queue_is_full() {
    let mut server = lines(small(64));
    while server.send(START, Bytes::from_static(b"push")).is_ok() {}
    // Nothing is written for now, and yet every confirmation is heard, split and joined as it comes.
    hear(&mut server, b"confirm 1\nconf");
    hear(&mut server, b"irm 2\nconfirm 3\n");
    assert_eq!(texts(&events(&mut server, START)), ["confirm 1", "confirm 2", "confirm 3"]);
    assert!(server.interest().read && server.interest().write);
}

#[test]
fn f1_a_half_close_after_the_request_does_not_harm_the_reply() {
    let (mut client, mut server) = (lines(Config::new()), lines(Config::new()));
    say(&mut client, "request");
    client.finish(START);
    pump(&mut client, &mut server, START);
    assert_eq!(server.poll_event(START), Some(Event::App(Bytes::from_static(b"request"))));
    say(&mut server, "reply");
    assert_eq!(server.poll_event(START), Some(Event::PeerFinished));
    pump(&mut client, &mut server, START);
    assert_eq!(texts(&events(&mut client, START)), ["reply"]);
}

#[test]
fn f1_the_server_may_speak_first() {
    let mut server = lines(Config::new());
    say(&mut server, "220 ready");
    assert_eq!(output(&mut server, START).0, b"220 ready\n");
}

// F2: dead peer under a big stream.

#[test]
fn f2_a_peer_that_takes_no_bytes_is_found_by_the_write_stall() {
    let mut server = lines(Config::new());
    say(&mut server, "one of many gigabytes");
    assert_eq!(pass(&mut server), (at(30), TimeoutReason::WriteStall));
    let closed = ending(&mut server, at(30));
    assert_eq!(closed.cause, Cause::Timeout(TimeoutReason::WriteStall));
    assert_eq!((closed.unsent, closed.phase), (1, Phase::Open));
}

#[test]
fn f2_every_byte_that_is_taken_starts_the_write_stall_anew_and_looking_does_not() {
    let mut server = lines(Config::new().timeouts(Timeouts::new().keepalive(None)));
    say(&mut server, "abc");
    server.transmitted(at(20), 1);
    server.transmitted(at(25), 0);
    server.handle_timeout(at(26));
    let deadline = server.interest().deadline.map(|d| (d.at, d.reason));
    assert_eq!(deadline, Some((at(50), TimeoutReason::WriteStall)));
}

#[test]
fn f2_under_a_rate_a_byte_buys_its_share_and_haste_buys_no_credit() {
    let timeouts = Timeouts::none().write_stall(Some(Duration::from_secs(30))).write_rate(2);
    let mut server = lines(Config::new().timeouts(timeouts));
    let deadline = |server: &duologue_core::Session<_>| server.interest().deadline.map(|d| (d.at, d.reason));
    say(&mut server, "a text of many bytes, more than are taken here in the end");
    server.transmitted(at(10), 1);
    server.transmitted(at(20), 1);
    assert_eq!(deadline(&server), Some((at(31), TimeoutReason::WriteStall)));
    server.transmitted(at(20), 30);
    assert_eq!(deadline(&server), Some((at(46), TimeoutReason::WriteStall)));
    server.transmitted(at(20), 20);
    assert_eq!(deadline(&server), Some((at(50), TimeoutReason::WriteStall)), "no later than a whole wait from now");
}

#[test]
fn f2_a_peer_that_is_silent_with_nothing_in_flight_is_found_by_the_probe() {
    let keepalive = Keepalive { quiet: Duration::from_secs(10), reply: Duration::from_secs(5) };
    let config = Config::new().timeouts(Timeouts::none().keepalive(Some(keepalive)));
    let mut session = open(ChatProtocol::new(false), config);
    assert_eq!(pass(&mut session), (at(10), TimeoutReason::KeepaliveSend));
    assert_eq!(output(&mut session, at(10)).0, b"P\0");
    // An answer, of whatever kind, and it starts over.
    assert_eq!(input(&mut session, at(12), b"O\0"), 2);
    assert_eq!(pass(&mut session), (at(22), TimeoutReason::KeepaliveSend));
    let _ = output(&mut session, at(22));
    assert_eq!(pass(&mut session), (at(27), TimeoutReason::KeepaliveReply));
    assert_eq!(session.interest().release, Some(Release::Abort));
    assert_eq!(ending(&mut session, at(27)).cause, Cause::Timeout(TimeoutReason::KeepaliveReply));
}

#[test]
fn f2_who_only_pushes_and_shut_down_reading_finds_a_silent_peer_as_well() {
    let mut session = open(ChatProtocol::new(false), Config::new());
    session.shutdown_read(START);
    assert_eq!(pass(&mut session), (at(30), TimeoutReason::KeepaliveSend));
    let _ = output(&mut session, at(30));
    // The answer is thrown away, and heard all the same.
    assert_eq!(input(&mut session, at(31), b"O\0"), 2);
    assert_eq!(pass(&mut session), (at(61), TimeoutReason::KeepaliveSend));
    let _ = output(&mut session, at(61));
    assert_eq!(pass(&mut session), (at(76), TimeoutReason::KeepaliveReply));
}

#[test]
fn f2_what_was_accepted_before_a_close_is_flushed_or_counted() {
    let mut session = lines(Config::new());
    say(&mut session, "first");
    say(&mut session, "second");
    session.close(START, CloseIntent::Goodbye(Code(0)));
    session.transmitted(START, 8);
    assert_eq!(pass(&mut session), (at(30), TimeoutReason::Flush));
    let closed = ending(&mut session, at(30));
    assert_eq!((closed.cause, closed.unsent, closed.phase), (Cause::LocalClose(Code(0)), 1, Phase::Flushing));
}

// F3: TIME_WAIT.

#[test]
fn f3_peer_first_holds_our_fin_until_the_peers() {
    let order = CloseOrder::PeerFirst { within: Duration::from_secs(3) };
    let mut server = lines(Config::new().close_order(order));
    say(&mut server, "please close");
    server.close(START, CloseIntent::Goodbye(Code(0)));
    assert_eq!(output(&mut server, START), (b"please close\n".to_vec(), false));
    assert_eq!(server.states(), (RecvState::Discarding, SendState::Holding));
    server.received_eof(START);
    assert_eq!(output(&mut server, START), (Vec::new(), true));
    let closed = ending(&mut server, START);
    assert_eq!((closed.finished_first, closed.phase), (Some(Side::Peer), Phase::Complete));
}

#[test]
fn f3_peer_first_waits_only_so_long() {
    let order = CloseOrder::PeerFirst { within: Duration::from_secs(3) };
    let mut server = lines(Config::new().close_order(order));
    server.close(START, CloseIntent::Goodbye(Code(0)));
    assert_eq!(pass(&mut server), (at(3), TimeoutReason::PeerFirst));
    assert_eq!(output(&mut server, at(3)), (Vec::new(), true));
    assert_eq!(pass(&mut server), (at(5), TimeoutReason::Linger));
    assert_eq!(ending(&mut server, at(5)).finished_first, Some(Side::Local));
}

// F4: half-close, then keep receiving.

#[test]
fn f4_who_finished_goes_on_receiving_until_the_peers_end() {
    let mut client = lines(Config::new());
    say(&mut client, "last");
    client.finish(START);
    assert_eq!(output(&mut client, START), (b"last\n".to_vec(), true));
    hear(&mut client, b"one\ntwo\n");
    assert_eq!(texts(&events(&mut client, START)), ["one", "two"]);
    client.received_eof(START);
    assert_eq!(client.poll_event(START), Some(Event::PeerFinished));
    let closed = ending(&mut client, START);
    assert_eq!((closed.cause, closed.finished_first), (Cause::LocalFinished, Some(Side::Local)));
}

#[test]
fn f4_a_peer_that_finishes_first_ends_it_the_same_way() {
    let mut server = lines(Config::new());
    hear(&mut server, b"bye\n");
    server.received_eof(START);
    assert_eq!(server.states().0, RecvState::Draining, "a message before the end waits");
    assert_eq!(texts(&events(&mut server, START)), ["bye"]);
    assert_eq!(output(&mut server, START), (Vec::new(), true));
    let closed = ending(&mut server, START);
    assert_eq!((closed.cause, closed.finished_first), (Cause::PeerFinished, Some(Side::Peer)));
}

#[test]
fn f4_finish_cancel_and_loss_are_three_things_to_the_peer() {
    let mut finished = lines(Config::new());
    finished.finish(START);
    assert!(finished.interest().shutdown_write);
    let mut cancelled = lines(Config::new());
    cancelled.abort(START, Code(8));
    assert_eq!(cancelled.interest().release, Some(Release::Abort));
    assert_eq!(ending(&mut cancelled, START).cause, Cause::LocalAbort(Code(8)));
    let mut lost = lines(Config::new());
    lost.transport_failed(START, fault(FaultKind::Reset, Operation::Read));
    assert_eq!(ending(&mut lost, START).cause, Cause::PeerReset);
}

#[test]
fn f4_a_receiver_that_waits_for_a_silent_peer_ends_by_the_idle_time() {
    let mut client = lines(Config::new());
    client.finish(START);
    let _ = output(&mut client, START);
    assert_eq!(pass(&mut client), (at(300), TimeoutReason::Idle));
    assert_eq!(client.cause(), Some(&Cause::Timeout(TimeoutReason::Idle)));
}

// F5: writers against close.

#[test]
fn f5_sending_before_the_opening_after_finish_and_after_close_gives_the_message_back() {
    let message = || Bytes::from_static(b"m");
    let mut session = open(GreeterProtocol::new(Role::Client), Config::new());
    assert_eq!(session.send(START, message()), Err(SendError::NotOpen { command: message() }));
    hear(&mut session, b"HELO\n");
    assert_eq!(events(&mut session, START), [Event::Writable, Event::App(GreeterNote::Ready)]);
    assert_eq!(session.send(START, message()), Ok(()));
    session.finish(START);
    assert_eq!(session.send(START, message()), Err(SendError::Finished { command: message() }));
    session.close(START, CloseIntent::Goodbye(Code(0)));
    assert_eq!(session.send(START, message()), Err(SendError::Closed { command: message() }));
}

#[test]
fn f5_a_frame_without_its_end_mark_ends_at_exactly_the_limit() {
    let mut session = lines(Config::new());
    hear(&mut session, &[b'x'; 100]);
    assert_eq!(session.cause(), None);
    hear(&mut session, b"xx");
    let Some(Cause::Violation(FrameError::TooLong(FrameTooLong { limit, .. }))) = session.cause() else {
        panic!("{:?}", session.cause())
    };
    assert_eq!(*limit, 100);
}

#[test]
fn f5_the_first_cause_stands_whatever_comes_later() {
    let mut session = lines(Config::new());
    say(&mut session, "m");
    session.close(START, CloseIntent::Goodbye(Code(5)));
    session.transport_failed(START, fault(FaultKind::BrokenPipe, Operation::Write));
    session.transport_failed(START, fault(FaultKind::Reset, Operation::Read));
    session.abort(START, Code(6));
    let closed = ending(&mut session, START);
    assert_eq!((closed.cause, closed.unsent), (Cause::LocalClose(Code(5)), 1));
}
