//! What the session wants now, all at once and wish by wish.

use super::{Opening, PeerFinished, Session};
use crate::closed::Release;
use crate::halves::SendState;
use crate::protocol::Protocol;
use crate::time::Deadline;

/// All that a session wants now. Level-triggered: asking twice is harmless, and a wish stands until it is met.
///
/// A driver destructures it in full, so that a new wish is a compile error and not a lost wake-up.
#[must_use = "a wish that nobody looks at is a hang"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// `poll_event` has something (or `handle`, under in-place delivery).
    pub event: bool,
    /// Read into `recv_buf`, then say `received` or `received_eof`.
    pub read: bool,
    /// Write what `transmit` offers, then say `transmitted`.
    pub write: bool,
    /// Send FIN, then say `shutdown_done`.
    pub shutdown_write: bool,
    /// Let the transport go in this way, then say `released`.
    pub release: Option<Release>,
    /// Call `handle_timeout` at this time.
    pub deadline: Option<Deadline>,
}

impl<P: Protocol> Session<P> {
    /// All that the session wants now. It has no side effect.
    #[inline]
    pub fn interest(&self) -> Interest {
        let event = self.has_event();
        if self.released {
            return Interest { event, read: false, write: false, shutdown_write: false, release: None, deadline: None };
        }
        if self.release.is_some() {
            return Interest {
                event,
                read: false,
                write: false,
                shutdown_write: false,
                release: self.release,
                deadline: None,
            };
        }
        Interest {
            event,
            read: self.wants_read(),
            write: self.wants_write(),
            shutdown_write: self.wants_shutdown(),
            release: None,
            deadline: self.deadline(),
        }
    }

    // Single wishes, for the driver: looking for the earliest deadline is what costs most of `interest`. Whoever adds a
    // wish there adds it to the driver's rounds.

    #[inline]
    pub(crate) fn wants_release(&self) -> Option<Release> {
        self.release.filter(|_| !self.released)
    }

    #[inline]
    pub(crate) fn wants_read(&self) -> bool {
        self.is_connected() && self.recv.reads() && self.has_room()
    }

    /// Room for what the peer sends: a little behind a message that waits to be taken, the whole buffer for one that is
    /// not complete.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.rx.is_empty() || (self.rx.space() > 0 && !(self.holds_message() && self.is_ahead()))
    }

    /// Enough is here already behind a message that was not taken.
    fn is_ahead(&self) -> bool {
        self.rx.len() >= self.config.limits.read_ahead
    }

    /// Decoding waits until a message was taken.
    fn holds_message(&self) -> bool {
        self.event.is_some() || !self.late.is_empty() || (self.is_in_place() && self.can_decode())
    }

    #[inline]
    pub(crate) fn wants_write(&self) -> bool {
        self.is_connected() && self.send.writes() && !self.tx.is_empty()
    }

    #[inline]
    pub(crate) fn wants_shutdown(&self) -> bool {
        self.send == SendState::ShuttingDown && self.release.is_none()
    }

    /// Nobody is listened to behind our FIN: the release follows it at once.
    #[inline]
    pub(crate) fn releases_behind_fin(&self) -> bool {
        self.recv.is_over() || (self.cause.is_some() && self.link.silent)
    }

    #[inline]
    pub(super) fn is_connected(&self) -> bool {
        self.opening != Opening::Connecting && self.release.is_none()
    }

    /// What [`Interest::event`] says, without the rest.
    #[must_use]
    #[inline]
    pub fn has_event(&self) -> bool {
        self.has_message() || self.writable || self.peer_finished == PeerFinished::Due || self.closed_is_due()
    }

    /// A message waits to be taken. Whoever answers several can leave the writing to the last of them.
    #[must_use]
    #[inline]
    pub fn has_message(&self) -> bool {
        self.event.is_some()
            || !self.late.is_empty()
            || self.protocol.has_event()
            || (self.is_in_place() && self.can_decode())
    }

    #[inline]
    pub(super) fn closed_is_due(&self) -> bool {
        self.released && !self.closed_taken && self.recv.is_over() && self.peer_finished != PeerFinished::Due
    }

    #[inline]
    pub(super) fn can_decode(&self) -> bool {
        !self.starved && self.recv.decodes() && self.opening != Opening::Connecting
    }

    pub(super) fn peer_fin_seen(&self) -> bool {
        self.peer_finished != PeerFinished::NotYet
    }
}
