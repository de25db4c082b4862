//! The loop's clock, in the core's units.

use std::time::Duration;

use duologue_core::Instant;

pub(crate) struct Clock(std::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_origin(self.0.elapsed())
    }

    /// How long to sleep; mio rounds up to its own resolution. At most a tenth of a second, to hear of an order to stop.
    pub(crate) fn until(&self, deadline: Option<Instant>) -> Option<Duration> {
        let longest = Duration::from_millis(100);
        Some(deadline.map_or(longest, |at| at.since(self.now()).min(longest)))
    }
}
