//! What happened on the transport and on the clock.

use core::time::Duration;

use bytes::BytesMut;
use bytes::buf::Limit;

use super::{Opening, PeerFinished, Session, context};
use crate::closed::{Cause, Release, Side};
use crate::error::{FaultKind, Misuse, Operation, TransportFault};
use crate::halves::{RecvInput, RecvState, SendInput};
use crate::protocol::{Fault, Protocol, Step};
use crate::time::{Deadline, Instant, TimeoutReason};
use crate::timers::TimerSet;

/// Deadlines that can follow from one another at the same instant: idle, goodbye, flush, peer-first, flush, linger, and
/// a probe and its answer.
const STAGES: usize = 8;
/// Nanoseconds of a second.
const NANOS: u64 = 1_000_000_000;

impl<P: Protocol> Session<P> {
    /// The transport is connected: the protocol opens the conversation.
    pub fn connected(&mut self, now: Instant) {
        let now = self.observe(now);
        if self.opening != Opening::Connecting || self.release.is_some() {
            return;
        }
        self.opening = Opening::Handshaking;
        self.link.last_received = now;
        self.link.last_transmitted = now;
        let wait = self.config.timeouts.handshake;
        self.opening_deadline = wait.map(|wait| now.after(wait));
        self.with_protocol(now, |protocol, cx| protocol.start(cx));
        self.settle(now);
    }

    /// Where to read into: never without room while `read` is wanted. Say [`received`](Self::received) after.
    pub fn recv_buf(&mut self) -> Limit<&mut BytesMut> {
        self.rx.fill()
    }

    /// Bytes were read into [`recv_buf`](Self::recv_buf).
    pub fn received(&mut self, now: Instant) {
        let now = self.observe(now);
        let new = self.rx.account();
        if new == 0 {
            return;
        }
        self.bytes_received += new as u64;
        self.link.silent = false;
        self.link.last_received = now;
        self.probe_sent = None;
        if self.recv == RecvState::Open {
            self.starved = false;
        } else if !self.recv.decodes() {
            self.discard_received();
            if self.cause.is_some() && self.send.is_over() {
                self.linger_left = self.linger_left.saturating_sub(new as u64);
            }
        }
        self.decode_ahead(now);
        // A full buffer pauses the clocks that listen.
        if self.is_unsettled() || !self.has_room() {
            self.settle(now);
        }
    }

    /// The peer's FIN was read. It comes after the bytes before it.
    pub fn received_eof(&mut self, now: Instant) {
        let now = self.observe(now);
        if self.peer_finished == PeerFinished::NotYet {
            self.peer_finished = PeerFinished::Seen;
            self.first_fin.get_or_insert(Side::Peer);
            self.move_recv(RecvInput::Eof);
        }
        self.settle(now);
    }

    /// Offers slices of queued output for one vectored write, in order, and tells how many it filled.
    pub fn transmit<'a>(&'a self, out: &mut [&'a [u8]]) -> usize {
        self.tx.peek(out)
    }

    /// What [`transmit`](Self::transmit) offers, if that is all that is queued and lies in one piece.
    #[inline]
    pub(crate) fn only_slice(&self) -> Option<&[u8]> {
        self.tx.only_slice()
    }

    /// The transport took `n` bytes of what was offered.
    pub fn transmitted(&mut self, now: Instant, n: usize) {
        let now = self.observe(now);
        if let Err(misuse) = self.tx.advance(n) {
            self.end_at_once(Cause::Misuse(misuse));
        } else if n > 0 {
            self.bytes_transmitted += n as u64;
            self.link.last_transmitted = now;
            self.stalled_since = if self.tx.is_empty() { None } else { Some(self.progress(now, n)) };
            if self.tx.ledger().held > 0 || !self.protocol.quiescent() {
                self.with_protocol(now, |protocol, cx| protocol.refill(cx));
            } else if self.protocol.wants_fill() {
                // It fills, and whatever it asks for meanwhile (to close, to finish) is done.
                self.after_protocol(now);
            }
            self.wake_writer();
        }
        if self.is_unsettled() {
            self.settle(now);
        }
    }

    /// Since when the bytes that are left make no progress, after the transport took `n`.
    fn progress(&self, now: Instant, n: usize) -> Instant {
        let rate = u64::from(self.config.timeouts.write_rate);
        match (self.stalled_since, (n as u64).saturating_mul(NANOS).checked_div(rate)) {
            (Some(since), Some(earned)) => since.after(Duration::from_nanos(earned)).min(now),
            _ => now,
        }
    }

    /// The transport sent our FIN.
    pub fn shutdown_done(&mut self, now: Instant) {
        let now = self.observe(now);
        if self.send.on(SendInput::ShutdownDone).is_some() {
            self.first_fin.get_or_insert(Side::Local);
            self.stalled_since = None;
            self.move_send(SendInput::ShutdownDone);
        }
        self.settle(now);
    }

    /// The transport failed. A fault while writing leaves reading possible: what the peer sent before is still
    /// delivered, bounded by the linger time.
    pub fn transport_failed(&mut self, now: Instant, fault: TransportFault) {
        let now = self.observe(now);
        if self.released {
            return;
        }
        if fault.kind == FaultKind::Truncated {
            // A FIN of the transport below: nothing more can be read, and what came before it counts.
            self.peer_finished = self.peer_finished.max_seen();
            self.first_fin.get_or_insert(Side::Peer);
            self.move_recv(RecvInput::Fail);
            self.end(now, Cause::Truncated { missing: None });
            return self.settle(now);
        }
        let cause = match fault.kind {
            FaultKind::Reset | FaultKind::BrokenPipe => Cause::PeerReset,
            _ => Cause::Transport(fault),
        };
        match fault.operation {
            Operation::Write | Operation::ShutdownWrite if self.opening != Opening::Connecting => {
                self.cause.get_or_insert(cause);
                self.stop_sending();
                // No command follows: the protocol must go on without.
                self.unblock();
            }
            _ => {
                self.move_recv(RecvInput::Fail);
                self.end_at_once(cause);
            }
        }
        self.settle(now);
    }

    /// The transport was let go.
    pub fn released(&mut self) {
        if self.released {
            return;
        }
        if self.release.is_none() {
            self.end_at_once(Cause::Misuse(Misuse::ReleasedUnasked));
        }
        self.released = true;
        self.stop_sending();
        self.move_recv(RecvInput::Fail);
        self.timers.clear_all();
        self.opening_deadline = None;
        self.stage_deadline = None;
        self.settle(self.now);
    }

    /// The time is `now`. Called when a deadline came, or at any time: what is not due does not happen. After it
    /// every remaining deadline is later than `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.observe(now);
        // A wait of zero is over when it begins, so what follows from one deadline may be due at once.
        for _ in 0..STAGES {
            if self.release.is_some() {
                return;
            }
            self.pass_deadlines(now);
            if self.deadline().is_none_or(|deadline| deadline.at > now) {
                return;
            }
        }
    }

    fn pass_deadlines(&mut self, now: Instant) {
        let due = |deadline: &Deadline| deadline.at <= now;
        if self.opening_deadline.take_if(|at| *at <= now).is_some() {
            self.opening_timed_out(now, self.opening_reason());
        }
        if let Some((_, stage)) = self.stage_deadline.take_if(|(at, _)| *at <= now) {
            self.stage_timed_out(stage);
            self.settle(now);
        }
        if self.stall_deadline().as_ref().is_some_and(due) {
            self.end_at_once(Cause::Timeout(TimeoutReason::WriteStall));
        }
        match self.keepalive_deadline().filter(due).map(|d| d.reason) {
            Some(TimeoutReason::KeepaliveReply) => self.end_at_once(Cause::Timeout(TimeoutReason::KeepaliveReply)),
            Some(_) => self.probe(now),
            None => {}
        }
        if self.idle_deadline().as_ref().is_some_and(due) {
            self.end(now, Cause::Timeout(TimeoutReason::Idle));
        }
        if self.protocol.deadline().as_ref().is_some_and(due) {
            self.with_protocol(now, |protocol, cx| protocol.deadline_passed(cx));
        }
        if self.message_deadline().as_ref().is_some_and(due) {
            self.end(now, Cause::Timeout(TimeoutReason::Message));
        }
        self.fire_timers(now);
        self.settle(now);
        self.timers.push_past(now);
    }

    fn opening_timed_out(&mut self, now: Instant, reason: TimeoutReason) {
        if reason == TimeoutReason::Connect {
            self.end_at_once(Cause::Timeout(reason));
        } else {
            self.end(now, Cause::Timeout(reason));
        }
    }

    fn probe(&mut self, now: Instant) {
        if self.with_protocol(now, |protocol, cx| protocol.keepalive(cx)) {
            self.probe_sent = Some(now);
        } else {
            self.can_probe = false;
        }
    }

    fn fire_timers(&mut self, now: Instant) {
        for timer in self.timers.due(now) {
            // An earlier timer of this round may have moved or disarmed it.
            if self.release.is_some() || self.timers.get(timer).is_none_or(|at| at > now) {
                continue;
            }
            self.timers.clear(timer);
            let before = self.rx.len();
            let result = self.protocol.timer(&mut context!(self, now), timer);
            self.after_protocol(now);
            self.starved &= self.rx.is_empty();
            match result {
                Ok(Step::Event(event)) => self.late_event(event),
                Ok(Step::NeedMore { .. } | Step::Progress) => {}
                Ok(step @ Step::Close(_)) => drop(self.take_step(now, before, Ok(step))),
                Err(Fault::Timeout(reason)) => self.timer_ended(now, reason),
                Err(Fault::Violation(violation)) => self.end(now, Cause::Violation(violation)),
            }
        }
        debug_assert!(P::Timer::ALL.iter().enumerate().all(|(i, t)| t.index() == i));
    }

    fn timer_ended(&mut self, now: Instant, reason: TimeoutReason) {
        match reason {
            TimeoutReason::KeepaliveReply | TimeoutReason::Request => self.end_at_once(Cause::Timeout(reason)),
            _ => self.end(now, Cause::Timeout(reason)),
        }
    }

    fn late_event(&mut self, event: P::Event) {
        let limit = self.config.limits.events;
        if self.late.len() < limit {
            self.late.push_back(event);
        } else {
            self.end_at_once(Cause::Limit(crate::LimitExceeded::Events { limit }));
        }
    }

    /// Nothing more can be written: what is queued is unsent.
    pub(super) fn stop_sending(&mut self) {
        self.note_phase();
        self.move_send(SendInput::Fail);
        self.tx.close();
        self.tx.discard();
        self.stalled_since = None;
    }

    /// Asks for the release, once; only an abort overrides a graceful one.
    pub(super) fn ask_release(&mut self, how: Release) {
        self.plain = false;
        self.note_phase();
        if self.release != Some(Release::Abort) {
            self.release = Some(how);
        }
    }
}
