//! A deadline that is near while connections come.

use std::task::{Context, Poll};
use std::time::Duration;

use duologue_core::Instant;
use duologue_core::driver::Timekeeper;

/// How near: earlier than what connections usually wait for.
const NEAR: Duration = Duration::from_millis(500);

/// A runtime's timer must be woken, by a system call, for a deadline that is earlier than all it waits for: between two
/// connections that is every one. While connections come the server waits for a deadline of its own, in front of theirs.
pub(super) struct Standby<K> {
    clock: K,
    at: Option<Instant>,
    /// A connection came since it was set.
    used: bool,
}

impl<K: Timekeeper> Standby<K> {
    pub(super) const fn new(clock: K) -> Self {
        Self { clock, at: None, used: false }
    }

    pub(super) fn accepted(&mut self) {
        self.used = true;
        if self.at.is_none() {
            self.at = Some(self.clock.now().after(NEAR));
        }
    }

    /// Sets it again when it came, unless nobody needed it: a server that is idle is not woken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(at) = self.at {
            match self.clock.poll_until(cx, at) {
                Poll::Pending => return,
                Poll::Ready(()) if std::mem::take(&mut self.used) => self.at = Some(self.clock.now().after(NEAR)),
                Poll::Ready(()) => self.at = None,
            }
        }
    }
}
