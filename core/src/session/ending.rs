//! How a session ends: goodbye, flush, FIN, linger, release; and the settling of both halves.

use super::{Closed, Opening, PeerFinished, Session, Stage};
use crate::closed::{Cause, Code, Phase, Release, Side};
use crate::config::CloseOrder;
use crate::halves::{RecvInput, RecvState, SendInput, SendState};
use crate::protocol::{CloseStep, Protocol};
use crate::time::{Instant, TimeoutReason};

impl<P: Protocol> Session<P> {
    /// Ends politely for the first time it is called; a later cause changes nothing.
    pub(super) fn end(&mut self, now: Instant, cause: Cause<P::Violation>) {
        if self.cause.is_some() {
            return;
        }
        // Our FIN has gone and the peer still sends: only a reset tells it that this is not the end it expects.
        if self.send == SendState::Finished && !self.peer_fin_seen() && !cause.is_orderly() {
            return self.end_at_once(cause);
        }
        // Only who leaves the peer in good standing waits for its answer.
        let waits = matches!(cause, Cause::LocalClose(_) | Cause::Timeout(TimeoutReason::Idle));
        let says_goodbye = self.send == SendState::Open && self.opening != Opening::Connecting;
        self.cause = Some(cause.clone());
        self.plain = false;
        self.goodbye_over = true;
        if says_goodbye {
            let step = self.with_protocol(now, |protocol, cx| protocol.begin_close(cx, &cause));
            self.goodbye_over = !(waits && step == CloseStep::AwaitPeer);
        }
        if !waits {
            self.stop_receiving();
        }
        self.move_send(SendInput::Close);
        let stage = if self.goodbye_over { Stage::Flush } else { Stage::Goodbye };
        self.arm_stage(now, stage);
    }

    /// Ends without any courtesy: the peer is dead, the transport is, or our own side is broken.
    pub(super) fn end_at_once(&mut self, cause: Cause<P::Violation>) {
        self.cause.get_or_insert(cause);
        self.ask_release(Release::Abort);
        self.stop_sending();
        if self.recv == RecvState::Discarding {
            self.move_recv(RecvInput::Stop);
        } else {
            self.move_recv(RecvInput::Fail);
        }
    }

    /// The peer said the protocol's goodbye, or answered ours.
    pub(super) fn peer_closed(&mut self, now: Instant, code: Code) {
        let first = self.cause.is_none();
        self.cause.get_or_insert(Cause::PeerClose(code));
        self.goodbye_over = true;
        self.discard_received();
        self.move_recv(RecvInput::Discard);
        self.move_send(SendInput::Close);
        if first {
            self.arm_stage(now, Stage::Flush);
        }
    }

    /// Moves both halves as far as they go. Settling twice changes nothing (law L1).
    pub(super) fn settle(&mut self, now: Instant) {
        // Each round but the last moves a half; both only go forward. What a cause or a release changes beside them comes
        // later in the same round.
        loop {
            let (recv, send) = (self.recv, self.send);
            if self.can_decode() {
                self.decode_ahead(now);
            }
            if !self.recv.reads() {
                self.settle_eof(now);
            }
            self.settle_send(now);
            self.settle_end(now);
            if recv == self.recv && send == self.send {
                break;
            }
        }
        self.settle_pause(now);
        self.tell_end(now);
        let opened = self.opening == Opening::Established;
        self.plain = opened && !self.is_ending() && !self.paused && self.has_room();
    }

    /// The protocol learns once that nothing more comes.
    fn tell_end(&mut self, now: Instant) {
        if self.end_told || self.recv.decodes() {
            return;
        }
        if let Some(cause) = self.cause.clone() {
            self.end_told = true;
            self.protocol.ended(now, &cause);
        }
    }

    /// Whether a call on the hot path must settle: everything but plain traffic must.
    #[inline]
    pub(super) fn is_unsettled(&self) -> bool {
        debug_assert!(!(self.plain && (self.is_ending() || self.paused)), "what ends a session is no plain traffic");
        debug_assert!(!self.plain || self.opening == Opening::Established, "nor is what opens it");
        !self.plain
    }

    /// Nothing but plain traffic: none of the session's own clocks is started by a call.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// One of the halves was moved, or is to be.
    fn is_ending(&self) -> bool {
        self.recv != RecvState::Open
            || self.send != SendState::Open
            || self.cause.is_some()
            || self.finish_wanted
            || self.release.is_some()
    }

    fn settle_send(&mut self, now: Instant) {
        // Almost always: nothing of the end has begun.
        if self.send == SendState::Open && !self.finish_wanted {
            return;
        }
        // A peer that finished during the opening will never complete it.
        let opened = self.opening == Opening::Established || self.recv.is_over();
        if self.finish_wanted && self.send == SendState::Open && opened {
            self.with_protocol(now, |protocol, cx| protocol.finish(cx));
            self.move_send(SendInput::Finish);
            // No command follows: the protocol must go on without.
            self.unblock();
        }
        // Who does not listen cannot hear the answer.
        if self.send == SendState::Closing && (self.goodbye_over || !self.recv.decodes()) {
            self.move_send(SendInput::GoodbyeDone);
            self.arm_stage(now, Stage::Flush);
        }
        let delivered = self.tx.ledger().held == 0 && self.protocol.quiescent();
        let fin_due = matches!(self.send, SendState::Holding | SendState::ShuttingDown | SendState::Finished);
        if self.cause.is_some() && (fin_due || (self.send == SendState::Flushing && delivered)) {
            // The last answers that decoding could bring are here: nobody wants the rest.
            self.stop_receiving();
        }
        if self.send == SendState::Flushing && delivered && self.tx.is_empty() {
            self.flushed(now);
        }
        if self.send == SendState::Holding && (self.peer_fin_seen() || !self.recv.reads()) {
            self.shut_down(now, SendInput::PeerFirstDone);
        }
    }

    /// Nobody wants further messages; but what came before the transport failed is still delivered.
    fn stop_receiving(&mut self) {
        if self.recv != RecvState::Salvaging {
            self.discard_received();
            self.move_recv(RecvInput::Discard);
        }
    }

    fn flushed(&mut self, now: Instant) {
        // Who broke the protocol is not relied upon to follow its order of closing.
        let failed = matches!(self.cause, Some(Cause::Violation(_) | Cause::Limit(_)));
        let peer_may_finish_first = self.cause.is_some() && !failed && self.recv.reads() && !self.peer_fin_seen();
        match self.config.close_order {
            CloseOrder::PeerFirst { within } if peer_may_finish_first => {
                self.move_send(SendInput::Hold);
                self.stage_deadline = Some((now.after(within), Stage::PeerFirst));
            }
            _ => self.shut_down(now, SendInput::Flushed),
        }
    }

    fn shut_down(&mut self, now: Instant, input: SendInput) {
        self.move_send(input);
        self.stalled_since = Some(now);
        if self.cause.is_some() {
            self.arm_stage(now, Stage::Flush);
        }
    }

    fn settle_end(&mut self, now: Instant) {
        if self.release.is_some() {
            return;
        }
        if self.opening == Opening::Connecting && self.cause.is_some() {
            self.ask_release(Release::Abort);
            return self.stop_sending();
        }
        if self.send == SendState::Finished && self.recv.is_over() {
            let natural = if self.first_fin == Some(Side::Peer) { Cause::PeerFinished } else { Cause::LocalFinished };
            self.cause.get_or_insert(natural);
        }
        if self.cause.is_none() || !self.send.is_over() {
            return;
        }
        let lingers = self.recv.reads() && self.linger_left > 0 && self.linger_wait().is_some();
        if !lingers || self.link.silent {
            self.ask_release(Release::Graceful);
        } else if self.stage_deadline.is_none_or(|(_, stage)| stage != Stage::Linger) {
            self.timers.clear_all();
            self.arm_stage(now, Stage::Linger);
        }
    }

    fn linger_wait(&self) -> Option<core::time::Duration> {
        self.config.timeouts.linger.filter(|wait| !wait.is_zero())
    }

    /// The deadline of a closing stage. A stage that is entered again keeps its deadline (law L7).
    fn arm_stage(&mut self, now: Instant, stage: Stage) {
        if self.stage_deadline.is_some_and(|(_, armed)| armed == stage) {
            return;
        }
        let timeouts = &self.config.timeouts;
        let wait = match stage {
            Stage::Goodbye => timeouts.close_handshake,
            Stage::Flush => timeouts.flush,
            Stage::PeerFirst | Stage::Linger => self.linger_wait(),
        };
        self.stage_deadline = wait.map(|wait| (now.after(wait), stage));
    }

    pub(super) fn stage_timed_out(&mut self, stage: Stage) {
        match stage {
            Stage::Goodbye => self.goodbye_over = true,
            Stage::PeerFirst => self.shut_down(self.now, SendInput::PeerFirstDone),
            Stage::Linger => self.ask_release(Release::Graceful),
            // The first cause stands; what could not be flushed is counted.
            Stage::Flush => {
                self.ask_release(Release::Abort);
                self.stop_sending();
                self.discard_received();
                self.move_recv(RecvInput::Stop);
            }
        }
    }

    /// While the application leaves the receive buffer full, the peer's silence proves nothing; the clocks that
    /// listen to it start anew once reading goes on.
    fn settle_pause(&mut self, now: Instant) {
        let paused = self.recv == RecvState::Open && !self.has_room();
        if self.paused && !paused {
            self.link.last_received = self.link.last_received.max(now);
            self.probe_sent = None;
        }
        self.paused = paused;
        // What is thrown away is heard all the same.
        self.link.listening = self.recv.reads() && !paused;
    }

    /// How far things had come; kept from the first moment that stops them.
    pub(super) fn note_phase(&mut self) {
        let phase = match (self.opening, self.send) {
            (Opening::Connecting, _) => Phase::Connecting,
            (Opening::Handshaking, SendState::Open | SendState::Closed) => Phase::Handshaking,
            (_, SendState::Open | SendState::Closed) => Phase::Open,
            (_, SendState::Closing) => Phase::Goodbye,
            (_, SendState::Flushing) => Phase::Flushing,
            (_, SendState::Holding) => Phase::Holding,
            (_, SendState::ShuttingDown) => Phase::ShuttingDown,
            (_, SendState::Finished) if self.peer_fin_seen() => Phase::Complete,
            (_, SendState::Finished) => Phase::Lingering,
        };
        self.phase.get_or_insert(phase);
    }

    /// How it ended, again; `None` until [`Event::Closed`](super::Event::Closed) was taken.
    #[must_use]
    pub fn ended(&self) -> Option<Closed<P::Violation>> {
        if self.closed_taken { self.closed() } else { None }
    }

    pub(super) fn closed(&self) -> Option<Closed<P::Violation>> {
        Some(Closed {
            cause: self.cause.clone()?,
            phase: self.phase?,
            unsent: self.tx.ledger().unsent(),
            undelivered: self.undelivered,
            peer_finished: self.peer_fin_seen(),
            finished_first: self.first_fin,
        })
    }
}

impl PeerFinished {
    /// The end of the peer's stream was seen, one way or another.
    pub(super) fn max_seen(self) -> Self {
        if self == Self::NotYet { Self::Seen } else { self }
    }
}
