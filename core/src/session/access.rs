//! Guarded access to the protocol.

use core::fmt;
use core::ops::{Deref, DerefMut};

use super::Session;
use crate::protocol::Protocol;
use crate::time::{Instant, ReadTime};

/// The protocol of a session, borrowed to work on what it keeps. When it is dropped the session looks at what became
/// of it: [`Protocol::fill`] writes what is due, and [`Session::interest`] is up to date.
pub struct ProtocolMut<'a, P: Protocol> {
    pub(super) session: &'a mut Session<P>,
    pub(super) time: Time<'a>,
}

/// When the access happens. Most leave nothing to do, and then nobody need know.
pub(super) enum Time<'a> {
    At(Instant),
    By(&'a mut dyn ReadTime),
}

impl<P: Protocol> Deref for ProtocolMut<'_, P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.session.protocol
    }
}

impl<P: Protocol> DerefMut for ProtocolMut<'_, P> {
    fn deref_mut(&mut self) -> &mut P {
        &mut self.session.protocol
    }
}

impl<P: Protocol> fmt::Debug for ProtocolMut<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolMut").finish_non_exhaustive()
    }
}

impl<P: Protocol> Drop for ProtocolMut<'_, P> {
    fn drop(&mut self) {
        // The protocol alone queues nothing: what it left is to be taken up, or there is nothing.
        if !self.session.is_left_behind() && self.session.is_plain() {
            return;
        }
        let now = match &mut self.time {
            Time::At(now) => *now,
            Time::By(_) if !P::TIMED_FILL && self.session.is_plain() && !self.session.tx.is_empty() => self.session.now,
            Time::By(clock) => clock.read_time(),
        };
        let now = self.session.observe(now);
        self.session.after_protocol(now);
        if self.session.is_unsettled() {
            self.session.settle(now);
        }
    }
}
