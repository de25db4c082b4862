//! What the driver does where nothing moves: it waits for the session's deadline, and looks after a transport that nobody
//! else would hear of.

use core::task::{Context, Poll};
use core::time::Duration;

use super::{Driver, Round, Timekeeper, Transport};
use crate::protocol::Protocol;

/// Between two looks at a transport that is neither read nor written.
const LOOK: Duration = Duration::from_secs(1);

impl<P: Protocol, T: Transport, K: Timekeeper> Driver<P, T, K> {
    /// Asks the transport now and then whether it has failed, while nothing else would tell.
    #[cold]
    pub(super) fn look(&mut self) -> Round {
        let session = &self.session;
        let at = self.look_at.take();
        if session.wants_read()
            || session.wants_write()
            || session.wants_shutdown()
            || session.wants_release().is_some()
            || session.is_over()
        {
            return Round::Blocked;
        }
        let now = self.clock.look();
        self.look_at = at.filter(|at| *at > now).or(Some(now.after(LOOK)));
        if at.is_none_or(|at| at > now) {
            return Round::Blocked;
        }
        let Some(fault) = self.transport.failure() else { return Round::Blocked };
        self.look_at = None;
        self.session.transport_failed(now, fault);
        Round::Moved
    }

    /// Waits for the session's deadline, or for the next look at the transport. What is armed earlier is left alone and looks
    /// again when it comes, so that a deadline that traffic moves back every message costs nothing.
    pub(super) fn keep_time(&mut self, cx: &mut Context<'_>) -> Round {
        let deadline = self.session.deadline_at();
        debug_assert_eq!(deadline, self.session.interest().deadline.map(|deadline| deadline.at));
        let deadline = match self.look_at {
            Some(look) => Some(deadline.map_or(look, |deadline| deadline.min(look))),
            None => deadline,
        };
        let Some(deadline) = deadline else { return Round::Blocked };
        // A reading of this round is after its input and output.
        let passed = if self.clock.looked { Some(self.clock.now) } else { None };
        if passed.is_some_and(|now| deadline <= now) {
            self.session.handle_timeout(self.clock.now);
            return Round::Moved;
        }
        let at = match self.armed {
            Some(armed) if armed <= deadline && passed.is_none_or(|now| now < armed) => armed,
            _ => deadline,
        };
        self.armed = Some(at);
        match self.clock.timekeeper.poll_until(cx, at) {
            Poll::Ready(()) => {
                self.armed = None;
                let now = self.clock.refresh();
                self.session.handle_timeout(now);
                Round::Moved
            }
            Poll::Pending => Round::Blocked,
        }
    }
}
