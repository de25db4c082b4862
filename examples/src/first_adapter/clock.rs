//! The time, in the core's units.

use std::task::{Context, Poll};

use duologue_core::Instant;
use duologue_core::driver::Timekeeper;

/// A monotonic clock. Copies share its origin, so their instants can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Timekeeper for Clock {
    fn now(&self) -> Instant {
        Instant::from_origin(self.0.elapsed())
    }

    fn poll_until(&mut self, _cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        // No waker is kept: the loop polls every connection again after each nap, and sleeps past no deadline.
        if self.now() >= at { Poll::Ready(()) } else { Poll::Pending }
    }
}
