//! Guarded access to the protocol.

use core::fmt;
use core::ops::{Deref, DerefMut};

use super::Session;
use crate::protocol::Protocol;
use crate::time::Instant;

/// The protocol of a session, borrowed to work on what it keeps. When it is dropped the session looks at what became
/// of it: [`Protocol::fill`] writes what is due, and [`Session::interest`] is up to date.
pub struct ProtocolMut<'a, P: Protocol> {
    pub(super) session: &'a mut Session<P>,
    pub(super) now: Instant,
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
        f.debug_struct("ProtocolMut").field("now", &self.now).finish_non_exhaustive()
    }
}

impl<P: Protocol> Drop for ProtocolMut<'_, P> {
    fn drop(&mut self) {
        self.session.after_protocol(self.now);
        if self.session.is_unsettled() {
            self.session.settle(self.now);
        }
    }
}
