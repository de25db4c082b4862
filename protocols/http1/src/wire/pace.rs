//! The deadline of a body: absolute, and prolonged only by a rate worth the name.

use core::time::Duration;

use duologue_core::Instant;

use crate::limits::Waits;

/// When a body began, and how much of it does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    since: Instant,
    base: u64,
}

impl Pace {
    /// From now on, with `received` bytes of content already here.
    pub(crate) const fn new(now: Instant, received: u64) -> Self {
        Self { since: now, base: received }
    }

    /// Until when the body must be complete, if it goes on as it did.
    pub(crate) fn deadline(&self, waits: &Waits, received: u64) -> Option<Instant> {
        let wait = waits.body?;
        let earned = received.saturating_sub(self.base).saturating_mul(1_000_000_000);
        let earned = earned.checked_div(u64::from(waits.body_rate)).unwrap_or(0);
        Some(self.since.after(wait).after(Duration::from_nanos(earned)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_buys_next_to_nothing_and_the_rate_goes_on_for_ever() {
        let waits = Waits::default().body(Some(Duration::from_secs(30))).body_rate(1000);
        let pace = Pace::new(Instant::ORIGIN, 0);
        let after = |received| pace.deadline(&waits, received).map(|at| at.since(Instant::ORIGIN));
        assert_eq!(after(0), Some(Duration::from_secs(30)));
        assert_eq!(after(1), Some(Duration::from_millis(30_001)));
        assert_eq!(after(60_000), Some(Duration::from_secs(90)));
        let absolute = pace.deadline(&waits.body_rate(0), u64::MAX);
        assert_eq!(absolute.map(|at| at.since(Instant::ORIGIN)), Some(Duration::from_secs(30)));
    }
}
