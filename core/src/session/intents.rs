//! What the owner wants: send, finish, close, abort.

use super::{Opening, Session, context};
use crate::closed::{Cause, CloseIntent, Code};
use crate::error::SendError;
use crate::halves::{RecvInput, SendInput, SendState};
use crate::protocol::{Protocol, Refusal};
use crate::time::Instant;

impl<P: Protocol> Session<P> {
    /// Accepts a command into the send queue. Accepted means flushed, or counted in `Closed::unsent`.
    ///
    /// # Errors
    /// The command comes back with the reason: see [`SendError`].
    #[inline(always)]
    pub fn send(&mut self, now: Instant, command: P::Command) -> Result<(), SendError<P::Command>> {
        let now = self.observe(now);
        if !self.is_open() {
            return Err(self.refuse(command));
        }
        self.tx.begin();
        match self.protocol.command(&mut context!(self, now), command) {
            Ok(()) => {
                self.tx.commit();
                self.after_command(now);
                Ok(())
            }
            Err(back) => {
                self.tx.rollback();
                Err(refused(back.command, back.why, &mut self.wanted_room))
            }
        }
    }

    /// As [`send`](Self::send), from where its owner keeps it: taken if it is accepted, left if it is refused.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline(always)]
    pub fn send_from(&mut self, now: Instant, command: &mut Option<P::Command>) -> Result<(), SendError<()>> {
        let now = self.observe(now);
        self.check_open()?;
        self.tx.begin();
        let outcome = self.protocol.command_from(&mut context!(self, now), command);
        self.conclude_command(now, outcome)
    }

    /// Keeps what a command wrote, or takes it back: of one that its owner keeps when it is refused.
    #[inline(always)]
    pub(super) fn conclude_command(&mut self, now: Instant, outcome: Result<(), Refusal>) -> Result<(), SendError<()>> {
        match outcome {
            Ok(()) => {
                self.tx.commit();
                self.after_command(now);
                Ok(())
            }
            Err(why) => {
                self.tx.rollback();
                Err(refused((), why, &mut self.wanted_room))
            }
        }
    }

    /// Our half-close: what was accepted is flushed, then FIN; receiving goes on. Before the session is open it
    /// takes effect as soon as it is.
    pub fn finish(&mut self, now: Instant) {
        let now = self.observe(now);
        self.finish_wanted = true;
        self.settle(now);
    }

    /// Winds down, see [`Protocol::drain`]: commands about what is under way are still accepted. False if the protocol
    /// has no part in it, or nothing can be said any more: [`close`](Self::close) then. Asked again, it asks again.
    ///
    /// Nothing bounds the time that this takes but the protocol's own deadlines and the owner, who aborts.
    #[must_use = "where the protocol has no part in it, the owner closes"]
    pub fn drain(&mut self, now: Instant) -> bool {
        let now = self.observe(now);
        // Asking is not refusing a command: nothing is to be told once it would be accepted.
        if self.cause.is_some() || !self.is_open() {
            return false;
        }
        let drains = self.protocol.drain(&mut context!(self, now));
        if drains {
            self.after_command(now);
        } else {
            self.after_protocol(now);
        }
        drains
    }

    /// Wants nothing more from the peer: what is buffered and what still comes is thrown away. Sending goes on.
    pub fn shutdown_read(&mut self, now: Instant) {
        let now = self.observe(now);
        self.discard_received();
        self.move_recv(RecvInput::Discard);
        self.settle(now);
    }

    /// Ends the conversation: goodbye, flush, FIN, bounded linger, release. Asked again it only raises the
    /// severity; the first cause stays.
    pub fn close(&mut self, now: Instant, intent: CloseIntent) {
        let now = self.observe(now);
        self.end(now, Cause::LocalClose(intent.code()));
        if let CloseIntent::Flush(_) = intent {
            self.goodbye_over = true;
        }
        self.settle(now);
    }

    /// Ends it now: the transport is reset, and what was queued is counted as unsent.
    pub fn abort(&mut self, now: Instant, code: Code) {
        let now = self.observe(now);
        self.discard_received();
        self.move_recv(RecvInput::Stop);
        self.end_at_once(Cause::LocalAbort(code));
        self.settle(now);
    }

    /// Commands may be sent.
    #[inline]
    fn is_open(&self) -> bool {
        self.plain || (self.send == SendState::Open && self.opening == Opening::Established && !self.finish_wanted)
    }

    /// Gives a command back that came outside the open state.
    #[cold]
    fn refuse<C>(&mut self, command: C) -> SendError<C> {
        if self.cause.is_some() {
            SendError::Closed { command }
        } else if self.finish_wanted || self.send != SendState::Open {
            SendError::Finished { command }
        } else {
            self.wanted_room.get_or_insert(0);
            SendError::NotOpen { command }
        }
    }

    #[inline]
    pub(super) fn check_open(&mut self) -> Result<(), SendError<()>> {
        if self.is_open() { Ok(()) } else { Err(self.refuse(())) }
    }

    #[inline]
    pub(super) fn after_command(&mut self, now: Instant) {
        self.after_protocol(now);
        let waits = self.blocked || (self.starved && !self.rx.is_drained());
        if waits || self.is_unsettled() {
            self.settle_command(now);
        }
    }

    #[inline(never)]
    fn settle_command(&mut self, now: Instant) {
        // The command may have unblocked the decoder: an answer was due before the next request.
        if self.starved && !self.rx.is_empty() && self.event.is_none() {
            self.starved = false;
            self.blocked = false;
            self.settle(now);
        } else if self.unblock() || self.is_unsettled() {
            self.settle(now);
        }
    }

    /// `Writable` is due once the refused message fits.
    #[inline]
    pub(super) fn wake_writer(&mut self) {
        if let Some(need) = self.wanted_room {
            if self.opening == Opening::Established && self.send == SendState::Open && need <= self.tx.room() {
                self.wanted_room = None;
                self.writable = true;
            }
        }
    }

    pub(super) fn move_send(&mut self, input: SendInput) {
        self.plain = false;
        if let Some(next) = self.send.on(input) {
            self.send = next;
            self.writable = false;
            if !next.writes() {
                self.tx.close();
            }
        }
    }
}

/// What a refusal means for the application, and that `Writable` is due once there is room.
pub(super) fn refused<C>(command: C, why: Refusal, wanted_room: &mut Option<usize>) -> SendError<C> {
    match why {
        Refusal::Invalid(why) => SendError::Invalid { command, why },
        Refusal::NoRoom(r) if r.need > r.limit => SendError::TooLarge { command, need: r.need, limit: r.limit },
        Refusal::NoRoom(r) => {
            *wanted_room = Some(wanted_room.map_or(r.need, |earlier| earlier.min(r.need)));
            SendError::Full { command, need: r.need, room: r.room }
        }
    }
}
