//! The receive half: decoding, one message ahead, and delivery.

use super::{Event, Opening, PeerFinished, Session, context};
use crate::closed::{Cause, Code};
use crate::config::OnPeerFinish;
use crate::error::{LimitExceeded, Misuse};
use crate::halves::{RecvInput, RecvState, SendState};
use crate::protocol::{EofAction, Protocol, Step};
use crate::send_queue::QueueFault;
use crate::time::Instant;

/// A [`Step`] without a message. The way of the messages is short and inlined, all else is apart.
pub(super) enum NoMessage {
    NeedMore { hint: usize },
    Progress,
    Close(Code),
}

impl<P: Protocol> Session<P> {
    /// The next event, if there is one. After [`Event::Closed`] there is none.
    #[inline]
    pub fn poll_event(&mut self, now: Instant) -> Option<Event<P::Event, P::Violation>> {
        let now = self.observe(now);
        if self.writable {
            self.writable = false;
            return Some(Event::Writable);
        }
        if self.event.is_some() && self.late.is_empty() && self.may_decode_ahead() {
            // The next message is made before this one is moved: what is moved twice costs as much as decoding it.
            let next = self.protocol.decode_short(&mut self.rx);
            if next.is_some() {
                self.took_message();
                let event = core::mem::replace(&mut self.event, next);
                if self.is_unsettled() {
                    self.settle(now);
                }
                return event.map(Event::App);
            }
        }
        self.poll_event_long(now)
    }

    #[inline(never)]
    fn poll_event_long(&mut self, now: Instant) -> Option<Event<P::Event, P::Violation>> {
        if let Some(event) = self.event.take().or_else(|| self.late.pop_front()) {
            self.events += 1;
            self.decode_ahead(now);
            if self.is_unsettled() {
                self.settle(now);
            }
            return Some(Event::App(event));
        }
        if self.protocol.has_event() {
            if let Some(event) = self.protocol.take_event(now) {
                self.events += 1;
                self.after_protocol(now);
                if self.is_unsettled() {
                    self.settle(now);
                }
                return Some(Event::App(event));
            }
        }
        self.poll_end(now)
    }

    fn poll_end(&mut self, now: Instant) -> Option<Event<P::Event, P::Violation>> {
        if self.peer_finished == PeerFinished::Due {
            self.peer_finished = PeerFinished::Taken;
            if self.config.on_peer_finish == OnPeerFinish::FlushThenFinish {
                self.finish(now);
            }
            self.settle(now);
            return Some(Event::PeerFinished);
        }
        if self.closed_is_due() {
            self.closed_taken = true;
            return self.closed().map(Event::Closed);
        }
        None
    }

    /// Decodes until a message waits for the application or the bytes run out: what the protocol answers by
    /// itself is never held up by messages that nobody has taken yet, up to the first of them.
    #[inline]
    pub(super) fn decode_ahead(&mut self, now: Instant) {
        // Messages that timers made meanwhile are taken before further ones of a peer that never pauses.
        while self.event.is_none() && self.late.is_empty() && self.can_decode() && !self.is_in_place() {
            if self.rx.is_drained() && self.protocol.needs_bytes() {
                (self.stuck, self.starved, self.blocked) = (0, true, false);
                self.rx.set_hint(0);
                break;
            }
            self.event = self.protocol.decode_short(&mut self.rx);
            if self.event.is_none() {
                self.decode_one(now);
            } else {
                self.stuck = 0;
                self.part_since = None;
            }
        }
    }

    #[inline(always)]
    pub(super) fn took_message(&mut self) {
        self.events += 1;
        self.stuck = 0;
        self.part_since = None;
    }

    #[inline(always)]
    fn may_decode_ahead(&self) -> bool {
        self.can_decode() && !self.is_in_place()
    }

    #[inline(never)]
    fn decode_one(&mut self, now: Instant) {
        let before = self.rx.len();
        let step = self.protocol.decode(&mut context!(self, now), &mut self.rx);
        match step {
            Ok(Step::Event(event)) => {
                self.event = Some(event);
                self.stuck = 0;
                self.part_since = None;
                self.after_protocol(now);
            }
            other => {
                self.after_protocol(now);
                self.event = self.take_step(now, before, other);
            }
        }
    }

    /// What a decoding step means for the session; the message, if it made one.
    #[inline]
    pub(super) fn take_step<E>(
        &mut self,
        now: Instant,
        before: usize,
        step: Result<Step<E>, P::Violation>,
    ) -> Option<E> {
        let other = match step {
            Ok(Step::Event(event)) => {
                self.stuck = 0;
                self.part_since = None;
                return Some(event);
            }
            Ok(Step::Progress) => Ok(NoMessage::Progress),
            Ok(Step::NeedMore { hint }) => Ok(NoMessage::NeedMore { hint }),
            Ok(Step::Close(code)) => Ok(NoMessage::Close(code)),
            Err(violation) => Err(violation),
        };
        self.take_no_message(now, before, other);
        None
    }

    pub(super) fn take_no_message(&mut self, now: Instant, before: usize, step: Result<NoMessage, P::Violation>) {
        match step {
            Ok(NoMessage::Progress) if self.rx.len() < before => {
                self.stuck = 0;
                self.note_part(now, false);
            }
            Ok(NoMessage::Progress) => {
                self.stuck += 1;
                if self.stuck > 1 {
                    self.end_at_once(Cause::Misuse(Misuse::DecodeStuck));
                    self.stop_decoding();
                }
            }
            Ok(NoMessage::NeedMore { hint }) => {
                self.stuck = 0;
                self.starved = true;
                self.blocked = core::mem::take(&mut self.link.awaits_command);
                // Who waits for our own command is not late.
                if self.blocked {
                    self.part_since = None;
                } else {
                    self.note_part(now, !self.rx.is_empty());
                }
                self.rx.set_hint(hint);
                if self.blocked && self.recv == RecvState::Open && self.send == SendState::Closed {
                    // The command can never come. A full buffer would keep the peer's end from being seen.
                    self.discard_received();
                    self.move_recv(RecvInput::Discard);
                }
                if self.recv == RecvState::Open && self.rx.space() == 0 && !self.blocked {
                    let limit = self.rx.limit();
                    self.end(now, Cause::Limit(LimitExceeded::RecvBuffer { limit }));
                    self.stop_decoding();
                }
            }
            Ok(NoMessage::Close(code)) => self.peer_closed(now, code),
            Err(violation) => {
                self.end(now, Cause::Violation(violation));
                self.stop_decoding();
            }
        }
    }

    /// Whether a message has begun and is not complete: by what is buffered of it, or by the protocol's word.
    fn note_part(&mut self, now: Instant, buffered: bool) {
        if core::mem::take(&mut self.link.under_way) || buffered {
            self.part_since.get_or_insert(now);
        } else {
            self.part_since = None;
        }
    }

    /// The protocol waited for this: it is asked again.
    #[inline]
    pub(super) fn unblock(&mut self) -> bool {
        let blocked = core::mem::take(&mut self.blocked);
        self.starved &= !blocked;
        blocked
    }

    /// After a violation nothing the peer says has a meaning, not even the answer to a goodbye.
    fn stop_decoding(&mut self) {
        self.discard_received();
        self.move_recv(RecvInput::Discard);
        self.goodbye_over = true;
    }

    /// The end of the input, once everything before it was decoded and taken.
    pub(super) fn settle_eof(&mut self, now: Instant) {
        if self.recv == RecvState::Closed && self.peer_finished == PeerFinished::Seen {
            self.settle_unheard_eof();
        }
        // Who can still be sent a command is waited for; nobody else.
        let waits = self.blocked && self.send == SendState::Open && self.recv == RecvState::Draining;
        if !self.starved || waits || self.event.is_some() {
            return;
        }
        match self.recv {
            RecvState::Draining => {
                let action = self.protocol.eof(&mut context!(self, now), &mut self.rx);
                self.after_protocol(now);
                // Where no command can be sent any more none is waited for: the end is what the protocol says it is.
                if core::mem::take(&mut self.link.awaits_command) && self.send == SendState::Open {
                    self.blocked = true;
                    return;
                }
                match action {
                    Ok(EofAction::Clean) => self.peer_stream_ended(),
                    Ok(EofAction::Final(event)) => {
                        self.event = Some(event);
                        self.peer_stream_ended();
                    }
                    Ok(EofAction::Truncated { missing }) => {
                        self.end(now, Cause::Truncated { missing });
                        self.stop_decoding();
                    }
                    Err(violation) => {
                        self.end(now, Cause::Violation(violation));
                        self.stop_decoding();
                    }
                }
            }
            RecvState::Salvaging => {
                self.discard_received();
                self.move_recv(RecvInput::Drained);
            }
            _ => {}
        }
    }

    /// The peer finished and nobody listened: there is no `PeerFinished` to take, but the policy holds.
    fn settle_unheard_eof(&mut self) {
        if self.cause.is_some() || self.event.is_some() {
            return;
        }
        match self.config.on_peer_finish {
            OnPeerFinish::FlushThenFinish => self.finish_wanted = true,
            OnPeerFinish::KeepSending => {}
            OnPeerFinish::Abort => self.abort_half_closed(),
        }
    }

    fn peer_stream_ended(&mut self) {
        self.rx.discard();
        self.move_recv(RecvInput::Drained);
        self.peer_finished = PeerFinished::Due;
        if self.config.on_peer_finish == OnPeerFinish::Abort {
            self.abort_half_closed();
        }
    }

    fn abort_half_closed(&mut self) {
        // With our own FIN sent before, both sides are done and nothing is half-closed.
        let half_closed = self.send != SendState::Finished;
        if half_closed && self.cause.is_none() {
            self.end_at_once(Cause::PeerFinished);
        }
    }

    /// Throws away what is buffered and nobody will decode.
    pub(super) fn discard_received(&mut self) {
        self.undelivered += self.rx.discard() as u64;
    }

    pub(super) fn move_recv(&mut self, input: RecvInput) {
        self.plain = false;
        if let Some(next) = self.recv.on(input) {
            self.recv = next;
        }
    }

    /// What every call of the protocol may have left behind.
    #[inline]
    pub(super) fn after_protocol(&mut self, now: Instant) {
        self.note_output(now);
        if self.is_left_behind() {
            self.take_up(now);
        }
    }

    /// A call of the protocol left something behind but output.
    #[inline(always)]
    pub(super) fn is_left_behind(&self) -> bool {
        self.link.asked || self.tx.has_fault() || self.protocol.wants_fill()
    }

    #[inline(never)]
    fn take_up(&mut self, now: Instant) {
        if self.opening == Opening::Handshaking && self.link.established {
            self.established();
        }
        if self.tx.has_fault() {
            self.end_for_fault();
        }
        if self.protocol.wants_fill() {
            self.fill(now);
        }
        // What ends the session may ask again, and was answered by then.
        if core::mem::take(&mut self.link.asked) {
            self.end_as_asked(now);
        }
    }

    /// Something is queued: from now on the transport must take some of it.
    #[inline]
    fn note_output(&mut self, now: Instant) {
        if self.stalled_since.is_none() && !self.tx.is_empty() {
            self.stalled_since = Some(now);
        }
    }

    /// Lets the protocol write of its own accord, where writing is possible.
    pub(super) fn fill(&mut self, now: Instant) {
        if self.opening != Opening::Established || !self.send.writes() || self.tx.room() == 0 {
            return;
        }
        self.protocol.fill(&mut context!(self, now));
        self.note_output(now);
        if self.tx.has_fault() {
            self.end_for_fault();
        }
    }

    /// The protocol ended the conversation by its own rules.
    #[cold]
    fn end_as_asked(&mut self, now: Instant) {
        self.finish_wanted |= core::mem::take(&mut self.link.finish);
        self.plain = false;
        if let Some(code) = self.link.close.take() {
            self.end(now, Cause::LocalClose(code));
        }
    }

    #[cold]
    fn end_for_fault(&mut self) {
        match self.tx.take_fault() {
            Some(QueueFault::Overflow(limit)) => self.end_at_once(Cause::Limit(limit)),
            Some(QueueFault::Misuse(misuse)) => self.end_at_once(Cause::Misuse(misuse)),
            None => {}
        }
    }

    #[cold]
    fn established(&mut self) {
        self.opening = Opening::Established;
        self.opening_deadline = None;
        self.wake_writer();
    }
}
