//! The rest of the model: decoding, and how a session ends.

use super::*;
use duologue_core::CloseOrder;

impl Model {
    /// Everything that follows from what is known now.
    pub(super) fn settle(&mut self) {
        loop {
            let before = (self.recv, self.send, self.cause.is_some(), self.release.is_some());
            self.decode();
            self.settle_peer_fin();
            self.settle_send();
            self.settle_end();
            if before == (self.recv, self.send, self.cause.is_some(), self.release.is_some()) {
                break;
            }
        }
        let paused = self.recv == RecvState::Open && self.space() == 0;
        if self.paused && !paused {
            // Silence counts from now on.
            self.heard = self.now;
            self.probed = None;
        }
        self.paused = paused;
    }

    /// Up to one message ahead; what is answered of itself is answered on the way.
    fn decode(&mut self) {
        while self.ahead.is_none() && self.recv.decodes() && self.opening != Opening::Connecting {
            if self.needs_more() {
                return;
            }
            match self.unread.pop_front() {
                Some(byte @ b'a'..=b'z') => self.ahead = Some(byte),
                Some(PAIR) => self.ahead = self.unread.pop_front(),
                Some(HELLO) => self.establish(),
                Some(PING) => self.say(PONG),
                Some(BYE) => self.peer_said_bye(),
                Some(BAD) => {
                    self.end(Cause::Violation(Broken));
                    self.throw_away();
                    self.recv_on(RecvInput::Discard);
                    self.goodbye_over = true;
                }
                _ => {}
            }
        }
    }

    fn needs_more(&self) -> bool {
        self.unread.is_empty() || (self.unread.len() == 1 && self.unread[0] == PAIR)
    }

    pub(super) fn establish(&mut self) {
        if self.opening == Opening::Greeting {
            self.opening = Opening::Open;
            self.opening_deadline = None;
            self.wake_writer();
        }
    }

    /// Writes a byte of our own accord. After our FIN it goes nowhere.
    pub(super) fn say(&mut self, byte: u8) {
        if self.send.writes() {
            let limits = &self.config.limits;
            if self.queued() + 1 > limits.send_buffer + limits.control_reserve {
                let reserve = limits.control_reserve;
                self.end_at_once(Cause::Limit(LimitExceeded::ControlReserve { need: 1, reserve }));
            } else {
                self.queue.push_back(Queued { bytes: VecDeque::from([byte]), is_message: false });
            }
        }
        if !self.queue.is_empty() {
            self.stalled.get_or_insert(self.now);
        }
    }

    fn peer_said_bye(&mut self) {
        let first = self.cause.is_none();
        self.cause.get_or_insert(Cause::PeerClose(BYE_CODE));
        self.goodbye_over = true;
        self.throw_away();
        self.recv_on(RecvInput::Discard);
        self.send_on(SendInput::Close);
        if first {
            self.arm(TimeoutReason::Flush);
        }
    }

    /// The peer's FIN, once every message before it was taken.
    fn settle_peer_fin(&mut self) {
        if self.recv == RecvState::Closed && self.peer_fin == PeerFin::Seen {
            // It came while nobody listened: there is nothing to tell, but the policy holds.
            if self.cause.is_none() && self.ahead.is_none() {
                match self.config.on_peer_finish {
                    OnPeerFinish::FlushThenFinish => self.finish_wanted = true,
                    OnPeerFinish::KeepSending => {}
                    OnPeerFinish::Abort => self.abort_half_closed(),
                }
            }
        }
        if self.ahead.is_some() || !self.needs_more() {
            return;
        }
        match self.recv {
            RecvState::Draining if self.unread.is_empty() => {
                self.recv_on(RecvInput::Drained);
                self.peer_fin = PeerFin::Due;
                if self.config.on_peer_finish == OnPeerFinish::Abort {
                    self.abort_half_closed();
                }
            }
            RecvState::Draining => {
                self.end(Cause::Truncated { missing: Some(1) });
                self.throw_away();
                self.recv_on(RecvInput::Discard);
                self.goodbye_over = true;
            }
            RecvState::Salvaging => {
                self.throw_away();
                self.recv_on(RecvInput::Drained);
            }
            _ => {}
        }
    }

    fn abort_half_closed(&mut self) {
        if self.send != SendState::Finished && self.cause.is_none() {
            self.end_at_once(Cause::PeerFinished);
        }
    }

    fn settle_send(&mut self) {
        let opened = self.opening == Opening::Open || self.recv.is_over();
        if self.finish_wanted && self.send == SendState::Open && opened {
            if self.traits.says_end {
                self.say(OUR_END);
            }
            self.send_on(SendInput::Finish);
        }
        // Who does not listen cannot hear the answer to its goodbye.
        if self.send == SendState::Closing && (self.goodbye_over || !self.recv.decodes()) {
            self.send_on(SendInput::GoodbyeDone);
            self.arm(TimeoutReason::Flush);
        }
        let past_goodbye = !matches!(self.send, SendState::Open | SendState::Closing | SendState::Closed);
        if self.cause.is_some() && past_goodbye {
            self.stop_listening();
        }
        if self.send == SendState::Flushing && self.queue.is_empty() {
            // Who broke the protocol or a limit is not waited for.
            let trusted = !matches!(self.cause, None | Some(Cause::Violation(_) | Cause::Limit(_)));
            let may_hold = trusted && self.recv.reads() && !self.peer_fin_seen();
            match self.config.close_order {
                CloseOrder::PeerFirst { within } if may_hold => {
                    self.send_on(SendInput::Hold);
                    self.stage = Some(Deadline { at: self.now.after(within), reason: TimeoutReason::PeerFirst });
                }
                _ => self.shut_down(SendInput::Flushed),
            }
        }
        if self.send == SendState::Holding && (self.peer_fin_seen() || !self.recv.reads()) {
            self.shut_down(SendInput::PeerFirstDone);
        }
    }

    /// Our FIN is due.
    pub(super) fn shut_down(&mut self, by: SendInput) {
        self.send_on(by);
        self.stalled = Some(self.now);
        if self.cause.is_some() {
            self.arm(TimeoutReason::Flush);
        }
    }

    fn settle_end(&mut self) {
        if self.release.is_some() {
            return;
        }
        if self.opening == Opening::Connecting && self.cause.is_some() {
            self.ask_release(Release::Abort);
            return self.stop_sending();
        }
        if self.send == SendState::Finished && self.recv.is_over() {
            let peer_first = self.first_fin == Some(Side::Peer);
            self.cause.get_or_insert(if peer_first { Cause::PeerFinished } else { Cause::LocalFinished });
        }
        if self.cause.is_none() || !self.send.is_over() {
            return;
        }
        let lingers = self.config.timeouts.linger.is_some_and(|wait| !wait.is_zero());
        if !(self.recv.reads() && self.linger_left > 0 && lingers) {
            self.ask_release(Release::Graceful);
        } else {
            self.arm(TimeoutReason::Linger);
        }
    }

    /// The first cause, in good order.
    pub(super) fn end(&mut self, cause: Cause<Broken>) {
        if self.cause.is_some() {
            return;
        }
        let orderly = matches!(cause, Cause::LocalClose(_));
        if self.send == SendState::Finished && !self.peer_fin_seen() && !orderly {
            // Only a reset tells the peer now that something is wrong.
            return self.end_at_once(cause);
        }
        let waits = matches!(cause, Cause::LocalClose(_) | Cause::Timeout(TimeoutReason::Idle));
        let speaks = self.send == SendState::Open && self.opening != Opening::Connecting;
        self.cause = Some(cause);
        let says_bye = speaks && self.traits.waits_for_bye;
        if says_bye {
            self.say(OUR_BYE);
        }
        self.goodbye_over = !(waits && says_bye);
        if !waits {
            self.stop_listening();
        }
        self.send_on(SendInput::Close);
        self.arm(if self.goodbye_over { TimeoutReason::Flush } else { TimeoutReason::CloseHandshake });
    }

    pub(super) fn end_at_once(&mut self, cause: Cause<Broken>) {
        self.cause.get_or_insert(cause);
        self.ask_release(Release::Abort);
        self.stop_sending();
        let discarding = self.recv == RecvState::Discarding;
        self.recv_on(if discarding { RecvInput::Stop } else { RecvInput::Fail });
    }

    pub(super) fn stop_sending(&mut self) {
        self.note_phase();
        self.send_on(SendInput::Fail);
        self.queue.clear();
        self.stalled = None;
    }

    fn stop_listening(&mut self) {
        // What came before the transport failed is still delivered.
        if self.recv != RecvState::Salvaging {
            self.throw_away();
            self.recv_on(RecvInput::Discard);
        }
    }

    pub(super) fn throw_away(&mut self) {
        self.undelivered += self.unread.len() as u64;
        self.unread.clear();
    }

    pub(super) fn ask_release(&mut self, how: Release) {
        self.note_phase();
        if self.release != Some(Release::Abort) {
            self.release = Some(how);
        }
    }

    fn note_phase(&mut self) {
        let phase = match (self.opening, self.send) {
            (Opening::Connecting, _) => Phase::Connecting,
            (Opening::Greeting, SendState::Open | SendState::Closed) => Phase::Handshaking,
            (Opening::Open, SendState::Open | SendState::Closed) => Phase::Open,
            (_, SendState::Closing) => Phase::Goodbye,
            (_, SendState::Flushing) => Phase::Flushing,
            (_, SendState::Holding) => Phase::Holding,
            (_, SendState::ShuttingDown) => Phase::ShuttingDown,
            (_, SendState::Finished) if self.peer_fin_seen() => Phase::Complete,
            (_, SendState::Finished) => Phase::Lingering,
        };
        self.phase.get_or_insert(phase);
    }

    /// A stage that is entered again keeps its deadline.
    fn arm(&mut self, reason: TimeoutReason) {
        if self.stage.is_some_and(|stage| stage.reason == reason) {
            return;
        }
        let t = &self.config.timeouts;
        let wait = match reason {
            TimeoutReason::CloseHandshake => t.close_handshake,
            TimeoutReason::Flush => t.flush,
            _ => t.linger.filter(|wait| !wait.is_zero()),
        };
        self.stage = wait.map(|wait| Deadline { at: self.now.after(wait), reason });
    }

    pub(super) fn wake_writer(&mut self) {
        let open = self.opening == Opening::Open && self.send == SendState::Open;
        if open && self.wanted_room.is_some_and(|need| need <= self.room()) {
            self.wanted_room = None;
            self.writable = true;
        }
    }

    pub(super) fn recv_on(&mut self, input: RecvInput) {
        self.recv = self.recv.on(input).unwrap_or(self.recv);
    }

    pub(super) fn send_on(&mut self, input: SendInput) {
        if let Some(next) = self.send.on(input) {
            self.send = next;
            self.writable = false;
        }
    }
}
