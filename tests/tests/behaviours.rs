//! One behaviour per test, on the bare core: limits, endings, time and upgrades.

use core::time::Duration;

use bytes::Bytes;
use duologue_core::framed::{Delimited, Endian, Framed, Heartbeat, LengthPrefixed};
use duologue_core::{
    Cause, CloseIntent, Code, Config, Delivery, Event, FaultKind, LimitExceeded, Limits, Misuse, OnPeerFinish,
    Operation, Phase, RecvState, Release, SendError, SendState, Session, Side, TimeoutReason, Timeouts, WhyNot,
};
use duologue_laws::Role;
use duologue_laws::subjects::{ChatEvent, ChatProtocol, GreeterNote, GreeterProtocol};

mod pump;

use pump::cast::{START, at, ending, fault, hear, hear_at, lines, open, pass, say, small, texts};
use pump::{EventOf, events, output, pump, release};

// Writable and limits.

#[test]
fn writable_comes_once_when_the_refused_message_fits_and_not_before() {
    let mut session = lines(small(20));
    say(&mut session, "0123456789abcdef");
    let refused = session.send(START, Bytes::from_static(b"0123456789"));
    assert!(matches!(refused, Err(SendError::Full { need: 11, room: 3, .. })), "{refused:?}");
    session.transmitted(START, 7);
    assert!(!session.interest().event, "10 bytes are free, 11 are needed");
    session.transmitted(START, 1);
    assert_eq!(events(&mut session, START), [Event::Writable]);
    session.transmitted(START, 1);
    assert!(!session.interest().event, "told once");
}

#[test]
fn a_reply_refused_in_a_handler_brings_writable_as_well() {
    let mut session = lines(small(8).delivery(Delivery::InPlace));
    assert_eq!(session.send_in_place(START, b"123456"), Ok(()));
    hear(&mut session, b"question\n");
    session.handle(START, 0, 1, |_, replies| {
        assert!(matches!(replies.send(b"answer"), Err(SendError::Full { need: 7, room: 1, .. })));
    });
    let _ = output(&mut session, START);
    assert_eq!(session.poll_event(START), Some(Event::Writable));
}

#[test]
fn the_message_that_completes_the_opening_can_be_answered_in_place() {
    let config = Config::new().delivery(Delivery::InPlace);
    let mut session = open(GreeterProtocol::new(Role::Client), config);
    hear(&mut session, b"HELO\n");
    assert_eq!(session.handle(START, 0, 1, |_, _| {}), 0, "what opened the conversation was not taken yet");
    assert_eq!(events(&mut session, START), [Event::App(GreeterNote::Ready)]);
    assert_eq!(session.send_in_place(START, b"hi"), Ok(()));
    assert_eq!(output(&mut session, START).0, b"OK\n\x02hi");
}

#[test]
fn an_opening_in_place_needs_no_handler_and_frames_behind_it_wait_for_one() {
    for cut in 1..=7 {
        let config = Config::new().delivery(Delivery::InPlace);
        let mut session = open(GreeterProtocol::new(Role::Client), config);
        let (first, rest) = b"HELO\n\x01a".split_at(cut);
        hear(&mut session, first);
        let mut told = events(&mut session, START);
        hear(&mut session, rest);
        told.extend(events(&mut session, START));
        assert_eq!(told, [Event::App(GreeterNote::Ready)], "cut at {cut}");
        assert!(session.is_established());
        assert_eq!(session.send_in_place(START, b"hi"), Ok(()));
        let mut seen = 0;
        let mut see = |note: GreeterNote<&[u8]>| seen += usize::from(note == GreeterNote::Frame(&b"a"[..]));
        assert_eq!(session.handle(START, 0, 8, |note, _| see(note)), 1);
        assert_eq!(seen, 1, "the frame, in place");
        assert_eq!(output(&mut session, START).0, b"OK\n\x02hi");
    }
}

#[test]
fn an_opening_in_place_that_is_wrong_or_cut_off_ends_without_a_handler() {
    let open_in_place = || open(GreeterProtocol::new(Role::Client), Config::new().delivery(Delivery::InPlace));
    let mut session = open_in_place();
    hear(&mut session, b"HALLO\n");
    let _ = events(&mut session, START);
    assert_eq!(session.cause().map(Cause::kind), Some("violation"));
    let mut session = open_in_place();
    hear(&mut session, b"HEL");
    session.received_eof(START);
    let _ = events(&mut session, START);
    assert_eq!(session.cause().map(Cause::kind), Some("truncated"));
}

#[test]
fn a_handler_that_wants_room_for_replies_is_not_held_up_when_no_reply_is_possible() {
    let mut session = lines(small(8).delivery(Delivery::InPlace));
    assert_eq!(session.send_in_place(START, b"123456"), Ok(()));
    session.finish(START);
    hear(&mut session, b"one\ntwo\n");
    assert_eq!(session.handle(START, 8, 10, |_, _| {}), 2);
}

#[test]
fn a_message_that_never_fits_is_too_large_at_once() {
    let mut session = lines(small(20));
    let refused = session.send(START, Bytes::from_static(b"0123456789012345678901234"));
    assert!(matches!(refused, Err(SendError::TooLarge { need: 26, limit: 20, .. })), "{refused:?}");
    let _ = output(&mut session, START);
    assert!(!session.interest().event, "nothing to wait for");
}

#[test]
fn an_application_that_takes_nothing_stops_the_reading_and_its_clocks() {
    let mut session = lines(small(64));
    for _ in 0..32 {
        hear(&mut session, b"abc\n");
    }
    // One is decoded ahead; then the buffer is full and the peer is pushed back.
    hear(&mut session, b"abc\n");
    let interest = session.interest();
    assert!(!interest.read && interest.event && interest.deadline.is_none(), "{interest:?}");
    assert_eq!(events(&mut session, at(1_000)).len(), 33);
    let deadline = session.interest().deadline.map(|d| d.at);
    assert_eq!(deadline, Some(at(1_030)), "the peer's silence counts from now on");
}

#[test]
fn a_peer_that_asks_and_reads_no_answers_ends_with_a_limit() {
    let config = Config::new().limits(Limits::new().send_buffer(4).control_reserve(6));
    let mut session = open(ChatProtocol::new(false), config);
    hear(&mut session, b"P\0P\0P\0P\0P\0");
    assert_eq!(session.cause(), None);
    hear(&mut session, b"P\0");
    let limit = LimitExceeded::ControlReserve { need: 2, reserve: 6 };
    assert_eq!(ending(&mut session, START).cause, Cause::Limit(limit));
}

#[test]
fn events_of_timers_are_bounded_and_not_starved_by_a_peer_that_never_pauses() {
    let config = Config::new().limits(Limits::new().events(2)).timeouts(Timeouts::none());
    let mut session = open(ChatProtocol::new(true), config);
    hear(&mut session, b"D\x01aD\x01bD\x01c");
    let (now, _) = pass(&mut session);
    let told = events(&mut session, now);
    let text = |byte: &'static [u8]| Event::App(ChatEvent::Text(Bytes::from_static(byte)));
    assert_eq!(told, [text(b"a"), Event::App(ChatEvent::Tick), text(b"b"), text(b"c")]);
    for _ in 0..3 {
        let _ = pass(&mut session);
    }
    assert_eq!(session.cause(), Some(&Cause::Limit(LimitExceeded::Events { limit: 2 })));
}

// Endings.

#[test]
fn an_end_inside_a_frame_is_truncated_with_what_is_missing() {
    let mut session = open(Framed::new(LengthPrefixed::u32_be(100)), Config::new());
    hear(&mut session, b"\0\0\0\x05ab");
    session.received_eof(START);
    assert_eq!(session.cause(), Some(&Cause::Truncated { missing: Some(3) }));
    let _ = output(&mut session, START);
    assert_eq!(ending(&mut session, START).undelivered, 6);
}

#[test]
fn messages_before_a_truncated_transport_are_delivered_and_nothing_more_is_read() {
    let mut session = lines(Config::new());
    hear(&mut session, b"one\ntwo\nthr");
    session.transport_failed(START, fault(FaultKind::Truncated, Operation::Read));
    assert!(!session.interest().read, "the same fault would come again, and again");
    assert_eq!(texts(&events(&mut session, START)), ["one", "two"]);
    let _ = output(&mut session, START);
    let closed = ending(&mut session, START);
    assert_eq!((closed.cause, closed.undelivered), (Cause::Truncated { missing: None }, 3));
    assert_eq!((closed.peer_finished, closed.finished_first), (true, Some(Side::Peer)));
}

#[test]
fn messages_before_a_reset_are_delivered() {
    let mut session = lines(Config::new());
    hear(&mut session, b"one\ntwo\nthr");
    session.transport_failed(START, fault(FaultKind::Reset, Operation::Read));
    session.released();
    let told = events(&mut session, START);
    assert_eq!(texts(&told), ["one", "two"]);
    assert!(matches!(told.last(), Some(Event::Closed(closed)) if closed.undelivered == 3));
}

#[test]
fn after_a_write_fault_reading_goes_on_for_the_linger_time() {
    let mut session = lines(Config::new());
    say(&mut session, "lost");
    session.transport_failed(START, fault(FaultKind::BrokenPipe, Operation::Write));
    hear(&mut session, b"last words\n");
    assert_eq!(texts(&events(&mut session, START)), ["last words"]);
    assert_eq!(pass(&mut session), (at(2), TimeoutReason::Linger));
    assert_eq!(ending(&mut session, at(2)).unsent, 1);
}

#[test]
fn lingering_is_bounded_in_bytes_as_well() {
    let limits = Limits::new().linger_bytes(10);
    let mut session = lines(Config::new().limits(limits));
    session.close(START, CloseIntent::Goodbye(Code(0)));
    let _ = output(&mut session, START);
    hear(&mut session, b"012345678");
    assert_eq!(session.interest().release, None);
    hear(&mut session, b"9");
    assert_eq!(session.interest().release, Some(Release::Graceful));
    assert_eq!(ending(&mut session, START).undelivered, 10);
}

#[test]
fn a_close_after_finish_reads_on_and_throws_away() {
    let mut session = lines(small(64));
    session.finish(START);
    let _ = output(&mut session, START);
    for _ in 0..33 {
        hear(&mut session, b"abc\n");
    }
    assert!(!session.interest().read, "the application takes nothing");
    session.close(START, CloseIntent::Goodbye(Code(0)));
    assert!(session.interest().read, "unread input would make the kernel reset what we sent");
    assert_eq!(session.states().0, RecvState::Discarding);
}

#[test]
fn a_goodbye_waits_for_its_answer() {
    let (mut a, mut b) = (open(ChatProtocol::new(false), Config::new()), open(ChatProtocol::new(false), Config::new()));
    say(&mut a, "last");
    a.close(START, CloseIntent::Goodbye(Code(7)));
    assert_eq!(output(&mut a, START), (b"D\x04lastG\x01\x07".to_vec(), false));
    assert_eq!(a.states().1, SendState::Closing);
    hear(&mut b, b"D\x04lastG\x01\x07");
    let said = ChatEvent::Text(Bytes::from_static(b"last"));
    assert_eq!(b.poll_event(START), Some(Event::App(said)));
    assert_eq!(b.cause(), Some(&Cause::PeerClose(Code(7))));
    pump(&mut a, &mut b, START);
    let told: Vec<EventOf<ChatProtocol>> = events(&mut a, START);
    assert!(matches!(&told[..], [Event::Closed(closed)] if closed.cause == Cause::LocalClose(Code(7))), "{told:?}");
}

#[test]
fn a_goodbye_without_an_answer_is_given_up_in_time_or_when_asked_again() {
    let mut session = open(ChatProtocol::new(false), Config::new());
    session.close(START, CloseIntent::Goodbye(Code(7)));
    let _ = output(&mut session, START);
    assert_eq!(pass(&mut session), (at(5), TimeoutReason::CloseHandshake));
    assert!(session.interest().shutdown_write);
    let mut hasty = open(ChatProtocol::new(false), Config::new());
    hasty.close(START, CloseIntent::Goodbye(Code(7)));
    let _ = output(&mut hasty, START);
    hasty.close(START, CloseIntent::Flush(Code(8)));
    assert!(hasty.interest().shutdown_write);
    hasty.close(START, CloseIntent::Goodbye(Code(9)));
    assert!(hasty.interest().shutdown_write, "asking again never lowers the severity");
    assert_eq!(hasty.cause(), Some(&Cause::LocalClose(Code(7))));
}

#[test]
fn a_goodbye_is_not_waited_for_by_who_does_not_listen() {
    let mut session = open(ChatProtocol::new(false), Config::new());
    session.shutdown_read(START);
    session.close(START, CloseIntent::Goodbye(Code(7)));
    assert_eq!(output(&mut session, START), (b"G\x01\x07".to_vec(), true));
}

#[test]
fn after_a_violation_the_rest_of_the_input_means_nothing() {
    let mut session = open(ChatProtocol::new(false), Config::new());
    hear(&mut session, b"?\0D\x01a");
    assert!(events(&mut session, START).is_empty());
    assert_eq!(output(&mut session, START), (b"X\0".to_vec(), true));
    assert_eq!(session.states().0, RecvState::Discarding);
}

#[test]
fn a_peer_that_finishes_during_the_opening_ends_it() {
    let mut session = open(GreeterProtocol::new(Role::Client), Config::new().timeouts(Timeouts::none()));
    session.received_eof(START);
    assert_eq!(session.poll_event(START), Some(Event::PeerFinished));
    assert_eq!(output(&mut session, START), (Vec::new(), true));
    assert_eq!(ending(&mut session, START).cause, Cause::PeerFinished);
}

#[test]
fn a_fin_that_nobody_listens_for_still_ends_it() {
    let mut session = lines(Config::new().timeouts(Timeouts::none()));
    session.shutdown_read(START);
    hear(&mut session, b"never heard\n");
    session.received_eof(START);
    assert_eq!(output(&mut session, START), (Vec::new(), true));
    assert_eq!(ending(&mut session, START).undelivered, 12);
}

#[test]
fn keep_sending_goes_on_after_the_peers_fin() {
    let mut session = lines(Config::new().on_peer_finish(OnPeerFinish::KeepSending));
    session.received_eof(START);
    assert_eq!(session.poll_event(START), Some(Event::PeerFinished));
    say(&mut session, "more");
    assert_eq!(output(&mut session, START), (b"more\n".to_vec(), false));
    session.finish(START);
    assert_eq!(output(&mut session, START), (Vec::new(), true));
    assert_eq!(ending(&mut session, START).cause, Cause::PeerFinished);
}

#[test]
fn abort_on_peer_finish_counts_what_was_queued_unless_both_had_finished() {
    let config = || Config::new().on_peer_finish(OnPeerFinish::Abort);
    let mut session = lines(config());
    say(&mut session, "lost");
    session.received_eof(START);
    assert_eq!(session.interest().release, Some(Release::Abort));
    assert_eq!(ending(&mut session, START).unsent, 1);
    let mut done = lines(config());
    done.finish(START);
    let _ = output(&mut done, START);
    done.received_eof(START);
    assert_eq!(done.interest().release, Some(Release::Graceful));
    assert_eq!(ending(&mut done, START).cause, Cause::LocalFinished);
}

#[test]
fn a_transport_that_never_connects_and_one_that_is_refused() {
    let connecting = || Session::connecting(Framed::new(Delimited::lines(9)), Config::new(), 1, START);
    let mut slow = connecting().unwrap_or_else(|e| panic!("{e}"));
    assert!(!slow.interest().read && !slow.interest().write);
    assert_eq!(pass(&mut slow), (at(10), TimeoutReason::Connect));
    assert_eq!(ending(&mut slow, at(10)).phase, Phase::Connecting);
    let mut refused = connecting().unwrap_or_else(|e| panic!("{e}"));
    let fault = fault(FaultKind::Refused, Operation::Connect);
    refused.transport_failed(START, fault);
    assert_eq!(ending(&mut refused, START).cause, Cause::Transport(fault));
}

#[test]
fn a_driver_that_breaks_the_contract_is_told_so() {
    let mut session = lines(Config::new());
    say(&mut session, "abc");
    session.transmitted(START, 9);
    let misuse = Misuse::TransmittedTooMuch { reported: 9, offered: 4 };
    assert_eq!(ending(&mut session, START).cause, Cause::Misuse(misuse));
    let mut dropped = lines(Config::new());
    dropped.released();
    let told = events(&mut dropped, START);
    assert!(matches!(&told[..], [Event::Closed(c)] if c.cause == Cause::Misuse(Misuse::ReleasedUnasked)), "{told:?}");
}

// Time.

#[test]
fn a_clock_that_goes_back_postpones_nothing() {
    let mut session = lines(Config::new());
    session.handle_timeout(at(299));
    hear_at(&mut session, at(1), b"a\n");
    // The byte came at 299, as far as the session knows.
    let _ = events(&mut session, at(2));
    assert_eq!(session.interest().deadline.map(|d| d.at), Some(at(299 + 300)));
}

#[test]
fn idle_counts_bytes_in_both_directions() {
    let idle = Timeouts::none().idle(Some(Duration::from_secs(10)));
    let mut session = lines(Config::new().timeouts(idle));
    say(&mut session, "ab");
    session.transmitted(at(4), 3);
    assert_eq!(session.interest().deadline.map(|d| d.at), Some(at(14)));
    hear_at(&mut session, at(6), b"x");
    assert_eq!(pass(&mut session), (at(16), TimeoutReason::Idle));
}

#[test]
fn waits_of_zero_end_at_once_and_do_not_spin() {
    let zero = Some(Duration::ZERO);
    let timeouts = Timeouts::none().idle(zero).close_handshake(zero).flush(zero).linger(zero);
    let mut session = open(ChatProtocol::new(false), Config::new().timeouts(timeouts));
    session.handle_timeout(START);
    assert_eq!(session.interest().release, Some(Release::Abort), "the goodbye could not be flushed in no time");
    assert_eq!(ending(&mut session, START).cause, Cause::Timeout(TimeoutReason::Idle));
}

#[test]
fn a_heartbeat_that_is_expected_and_does_not_come_ends_it() {
    let beat = Heartbeat::new(Bytes::from_static(b"beat"));
    let beat = beat.send_after(Duration::from_secs(3)).expect_within(Duration::from_secs(8));
    let mut session = open(Framed::new(Delimited::lines(9)).heartbeat(beat), Config::new());
    assert_eq!(pass(&mut session), (at(3), TimeoutReason::KeepaliveSend));
    assert_eq!(output(&mut session, at(3)).0, b"beat\n");
    hear_at(&mut session, at(4), b"beat\n");
    assert!(!session.interest().event, "a heartbeat is no message");
    for _ in 0..8 {
        let _ = pass(&mut session);
        let now = session.interest().deadline.map_or(START, |d| d.at);
        let _ = output(&mut session, now);
        if session.interest().release.is_some() {
            break;
        }
    }
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::KeepaliveReply)));
}

// Upgrade.

#[test]
fn an_upgrade_keeps_unread_bytes_and_queued_output() {
    let mut session = lines(Config::new());
    say(&mut session, "101 switching");
    hear(&mut session, b"upgrade\n\x03abc");
    assert_eq!(session.poll_event(START), Some(Event::App(Bytes::from_static(b"upgrade"))));
    let mut upgraded = session
        .upgrade(START, |_| Framed::new(LengthPrefixed::new(1, Endian::Big, 50)))
        .unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(texts(&events(&mut upgraded, START)), ["abc"]);
    say(&mut upgraded, "hi");
    assert_eq!(output(&mut upgraded, START).0, b"101 switching\n\x02hi");
    assert!(!release(&mut upgraded));
}

#[test]
fn an_upgrade_in_the_wrong_moment_gives_the_session_back() {
    let mut session = lines(Config::new());
    hear(&mut session, b"first\n");
    let Err(refused) = session.upgrade(START, |same| same) else { panic!("an event waits") };
    assert_eq!(refused.why, WhyNot::EventsWaiting);
    let mut session = *refused.session;
    let _ = events(&mut session, START);
    session.finish(START);
    let Err(refused) = session.upgrade(START, |same| same) else { panic!("it is finished") };
    assert_eq!(refused.why, WhyNot::NotOpen);
}
