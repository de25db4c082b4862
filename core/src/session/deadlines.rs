//! When the session must be looked at again, and why.

use super::{Opening, Session};
use crate::halves::{RecvState, SendState};
use crate::protocol::Protocol;
use crate::time::{Deadline, Instant, TimeoutReason, earlier};

impl<P: Protocol> Session<P> {
    /// The earliest of all deadlines. Each is computed from stored instants, so that arming one per message is a
    /// store and nothing else.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let mut earliest = None;
        self.each_deadline(|deadline| earliest = Deadline::earlier(earliest, Some(deadline)));
        Deadline::earlier(Deadline::earlier(earliest, self.timers.next()), self.protocol.deadline())
    }

    /// When the deadline of `interest` is.
    #[inline]
    pub(crate) fn deadline_at(&self) -> Option<Instant> {
        if self.release.is_some() {
            return None;
        }
        let mut earliest = self.timers.next_at();
        self.each_deadline(|deadline| earliest = earlier(earliest, Some(deadline.at)));
        earlier(earliest, self.protocol.deadline().map(|deadline| deadline.at))
    }

    /// All deadlines but the protocol's.
    #[inline(always)]
    fn each_deadline(&self, mut look: impl FnMut(Deadline)) {
        let mut one = |deadline: Option<Deadline>| {
            if let Some(deadline) = deadline {
                look(deadline);
            }
        };
        one(self.opening_deadline.map(|at| Deadline { at, reason: self.opening_reason() }));
        one(self.stage_deadline.map(|(at, stage)| Deadline { at, reason: stage.reason() }));
        one(self.stall_deadline());
        one(self.keepalive_deadline());
        one(self.idle_deadline());
        one(self.message_deadline());
    }

    /// What the opening's deadline is for.
    #[inline]
    pub(super) fn opening_reason(&self) -> TimeoutReason {
        if self.opening == Opening::Connecting { TimeoutReason::Connect } else { TimeoutReason::Handshake }
    }

    /// Bytes are queued, or our FIN is, and the transport takes nothing.
    #[inline]
    pub(super) fn stall_deadline(&self) -> Option<Deadline> {
        let wait = self.config.timeouts.write_stall?;
        let since = self.stalled_since.filter(|_| !self.send.is_over())?;
        Some(Deadline { at: since.after(wait), reason: TimeoutReason::WriteStall })
    }

    /// Neither direction moved. While the application takes no events, the peer's silence proves nothing.
    #[inline]
    pub(super) fn idle_deadline(&self) -> Option<Deadline> {
        let wait = self.config.timeouts.idle?;
        if self.cause.is_some() || self.paused || self.opening == Opening::Connecting {
            return None;
        }
        Some(Deadline { at: self.last_activity().after(wait), reason: TimeoutReason::Idle })
    }

    /// A message was begun and is not complete. Where the handler waits for room it may be complete: nobody has looked.
    #[inline]
    pub(super) fn message_deadline(&self) -> Option<Deadline> {
        let wait = self.config.timeouts.message?;
        if self.is_in_place() && self.can_decode() {
            return None;
        }
        let since = self.part_since.filter(|_| self.cause.is_none() && self.recv == RecvState::Open)?;
        Some(Deadline { at: since.after(wait), reason: TimeoutReason::Message })
    }

    /// When to probe a quiet peer, or until when it must have answered.
    #[inline]
    pub(super) fn keepalive_deadline(&self) -> Option<Deadline> {
        let keepalive = self.config.timeouts.keepalive?;
        let can_ask = self.send == SendState::Open && self.recv.reads();
        if !self.can_probe || !can_ask || self.paused || self.opening != Opening::Established {
            return None;
        }
        Some(match self.probe_sent {
            Some(sent) => Deadline { at: sent.after(keepalive.reply), reason: TimeoutReason::KeepaliveReply },
            None => {
                Deadline { at: self.link.last_received.after(keepalive.quiet), reason: TimeoutReason::KeepaliveSend }
            }
        })
    }
}
