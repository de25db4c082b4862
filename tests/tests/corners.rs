//! Corners that only mutation testing found untested (`docs/mutants.md`): one behaviour per test, on the bare core.

use core::convert::Infallible;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use duologue_core::{
    Cause, CloseIntent, CloseOrder, Code, Config, Cx, Event, FaultKind, Misuse, NoTimers, OnPeerFinish, Operation,
    Phase, Protocol, RecvBuf, Refused, Release, SendState, Session, Side, Step, TimeoutReason, Timeouts,
};

mod pump;

use pump::cast::{START, at, ending, fault, hear, hear_at, lines, open, pass, say, small};
use pump::{events, output};

/// A protocol that is told what to do wrong.
#[derive(Default)]
struct Odd {
    /// Says that it goes on without taking a byte, this often.
    idles: u32,
    /// Is busy inside, with nothing counted as held.
    busy: bool,
    /// Holds every command back, and does not say that it is busy.
    holds: bool,
}

impl Protocol for Odd {
    type Event = Bytes;
    type Command = Bytes;
    type Timer = NoTimers;
    type Violation = Infallible;

    fn decode(&mut self, _: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Bytes>, Infallible> {
        if self.idles > 0 {
            self.idles -= 1;
            return Ok(Step::Progress);
        }
        Ok(if rx.is_empty() { Step::NeedMore { hint: 1 } } else { Step::Event(rx.take(1)) })
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, bytes: Bytes) -> Result<(), Refused<Bytes>> {
        if self.holds {
            cx.tx.hold();
        } else {
            cx.tx.control(bytes.len()).put_slice(&bytes);
        }
        Ok(())
    }

    fn quiescent(&self) -> bool {
        !self.busy
    }
}

// Which end it is.

#[test]
fn a_violation_after_our_fin_is_a_reset_because_nothing_else_can_tell_the_peer() {
    let mut session = lines(Config::new());
    session.finish(START);
    assert!(output(&mut session, START).1);
    hear(&mut session, &[b'x'; 101]);
    assert_eq!(session.interest().release, Some(Release::Abort));
    assert!(matches!(ending(&mut session, START).cause, Cause::Violation(_)));
}

#[test]
fn a_truncated_stream_after_our_fin_is_no_reset_because_the_peer_has_ended() {
    let mut session = lines(Config::new());
    session.finish(START);
    assert!(output(&mut session, START).1);
    hear(&mut session, b"half a li");
    session.received_eof(START);
    assert_eq!(session.interest().release, Some(Release::Graceful));
    let closed = ending(&mut session, START);
    assert!(matches!(closed.cause, Cause::Truncated { .. }), "{closed}");
    assert_eq!((closed.phase, closed.peer_finished), (Phase::Complete, true));
}

#[test]
fn lingering_that_takes_too_long_is_an_end_without_a_reset() {
    let mut session = lines(Config::new());
    session.close(START, CloseIntent::Goodbye(Code(0)));
    assert!(output(&mut session, START).1);
    assert_eq!(pass(&mut session), (at(2), TimeoutReason::Linger));
    assert_eq!(session.interest().release, Some(Release::Graceful), "a reset would destroy what the peer still reads");
    let closed = ending(&mut session, at(2));
    assert_eq!((closed.cause, closed.phase), (Cause::LocalClose(Code(0)), Phase::Lingering));
    assert_eq!((closed.peer_finished, closed.finished_first), (false, Some(Side::Local)));
}

// Who finishes first.

#[test]
fn a_finish_is_not_held_back_for_the_peer_whatever_the_close_order() {
    let order = CloseOrder::PeerFirst { within: Duration::from_secs(3) };
    let mut session = lines(Config::new().close_order(order));
    say(&mut session, "last");
    session.finish(START);
    assert_eq!(output(&mut session, START), (b"last\n".to_vec(), true), "the peer may wait for this FIN to go on");
    assert_eq!(session.states().1, SendState::Finished);
}

#[test]
fn a_close_after_the_peers_fin_holds_nothing_back() {
    let order = CloseOrder::PeerFirst { within: Duration::from_secs(3) };
    let mut session = lines(Config::new().close_order(order).on_peer_finish(OnPeerFinish::KeepSending));
    session.received_eof(START);
    let _ = events(&mut session, START);
    session.close(START, CloseIntent::Goodbye(Code(0)));
    assert_eq!(output(&mut session, START), (Vec::new(), true));
    assert_eq!(ending(&mut session, START).finished_first, Some(Side::Peer));
}

// What a protocol keeps inside.

#[test]
fn our_fin_waits_for_what_the_protocol_holds_whether_it_counts_it_or_says_that_it_is_busy() {
    for odd in [Odd { busy: true, ..Odd::default() }, Odd { holds: true, ..Odd::default() }] {
        let (busy, holds) = (odd.busy, odd.holds);
        let mut session = open(odd, Config::new());
        assert!(session.send(START, Bytes::from_static(b"x")).is_ok());
        session.finish(START);
        assert!(!output(&mut session, START).1, "busy: {busy}, holds: {holds}");
        assert_eq!(session.states().1, SendState::Flushing);
    }
}

#[test]
fn a_protocol_that_goes_on_without_taking_a_byte_ends_as_misuse_and_does_not_spin() {
    // Bounded, so that a session that does not look fails here by an assertion and not by hanging.
    let mut session = open(Odd { idles: 1_000, ..Odd::default() }, Config::new());
    hear(&mut session, b"x");
    assert_eq!(session.interest().release, Some(Release::Abort));
    assert_eq!(ending(&mut session, START).cause, Cause::Misuse(Misuse::DecodeStuck));

    let mut session = open(Odd { idles: 1, ..Odd::default() }, Config::new());
    hear(&mut session, b"x");
    assert_eq!(events(&mut session, START).len(), 1, "once is no offence: it may have changed its state");
}

// Counting.

#[test]
fn the_counters_count() {
    let mut session = lines(small(64));
    say(&mut session, "abc");
    say(&mut session, "defg");
    hear(&mut session, b"one\ntwo\nthree\nfo");
    assert_eq!(events(&mut session, START).len(), 3);
    session.transmitted(START, 4);
    let stats = session.stats();
    assert_eq!((stats.bytes_received, stats.bytes_transmitted), (16, 4));
    assert_eq!((stats.events, stats.accepted, stats.flushed), (3, 2, 1));
    assert_eq!(session.buffered(), (2, 5));
}

// Questions.

#[test]
fn questions_are_answered_from_the_state() {
    let timeouts = Timeouts::none().handshake(Some(Duration::from_secs(3)));
    let mut session = Session::connecting(Odd::default(), small(64).timeouts(timeouts), 1, START).unwrap();
    assert!(!session.is_established() && !session.is_over() && session.cause().is_none());
    assert_eq!(session.interest().deadline, None, "the handshake has not begun");
    session.connected(at(1));
    assert!(session.is_established() && session.interest().read);
    assert_eq!((session.room(), session.buffered(), session.last_activity()), (64, (0, 0), at(1)));
    assert_eq!(session.config().limits.send_buffer, 64);
    assert!(!session.protocol().busy);

    hear_at(&mut session, at(2), b"x");
    assert!(session.has_message() && session.has_event());
    assert_eq!(session.last_activity(), at(2));
    assert_eq!(events(&mut session, at(2)).len(), 1);
    assert!(!session.has_message() && !session.has_event());

    let sent = session.send(at(3), Bytes::from_static(b"abc"));
    assert!(sent.is_ok());
    assert_eq!(session.buffered(), (0, 3));
    session.transmitted(at(4), 3);
    assert_eq!(session.last_activity(), at(4));

    session.abort(at(5), Code(9));
    assert_eq!(session.cause(), Some(&Cause::LocalAbort(Code(9))));
    assert_eq!(ending(&mut session, at(5)).cause, Cause::LocalAbort(Code(9)));
}

#[test]
fn buffers_are_lent_only_where_there_is_none_and_come_back_only_when_empty() {
    let mut session = open(Odd::default(), small(64));
    let buffer = || BytesMut::with_capacity(128);
    assert_eq!(session.wants_buffers(), (true, true));
    assert!(session.lend_recv(buffer()).is_none() && session.lend_send(buffer()).is_none());
    assert_eq!(session.wants_buffers(), (false, false));
    assert!(session.lend_recv(buffer()).is_some() && session.lend_send(buffer()).is_some(), "there is one already");

    hear(&mut session, b"xy");
    assert!(session.send(START, Bytes::from_static(b"abc")).is_ok());
    assert!(session.reclaim_recv().is_none() && session.reclaim_send().is_none(), "bytes are in them");
    let _ = (events(&mut session, START), output(&mut session, START));
    assert!(session.reclaim_recv().is_some_and(|buffer| buffer.is_empty()));
    assert!(session.reclaim_send().is_some_and(|buffer| buffer.is_empty()));
    assert_eq!(session.wants_buffers(), (true, true));
}

// Faults of the transport.

#[test]
fn faults_keep_their_kind_and_a_broken_pipe_is_the_peers_reset() {
    for (kind, reset) in [(FaultKind::Reset, true), (FaultKind::BrokenPipe, true), (FaultKind::TimedOut, false)] {
        for operation in [Operation::Read, Operation::Write, Operation::ShutdownWrite] {
            let mut session = lines(Config::new());
            let what = fault(kind, operation);
            session.transport_failed(START, what);
            let cause = if reset { Cause::PeerReset } else { Cause::Transport(what) };
            assert_eq!(session.cause(), Some(&cause), "{what}");
            assert_eq!(
                session.interest().release.is_some(),
                operation == Operation::Read,
                "{what}: who can read, does"
            );
            assert_eq!(session.interest().read, operation != Operation::Read, "{what}");
        }
    }
}

#[test]
fn what_fails_after_the_release_changes_nothing() {
    let mut session = lines(Config::new());
    session.abort(START, Code(1));
    session.released();
    session.transport_failed(START, fault(FaultKind::Truncated, Operation::Read));
    session.received_eof(START);
    let Some(Event::Closed(closed)) = session.poll_event(START) else { panic!("it is over") };
    assert_eq!(closed.cause, Cause::LocalAbort(Code(1)));
}
