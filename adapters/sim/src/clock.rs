//! What a host takes for the time.

use duologue_core::Instant;

const MILLION: i128 = 1_000_000;
/// What every clock shows at the start: a day, so that there is room to jump back.
const START: u64 = 86_400_000_000_000;

/// A host's clock: it may run fast or slow, and jump.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The true time from which the clock runs evenly, and what it showed then.
    since: u64,
    shown: u64,
    /// Parts per million that it is fast.
    ppm: i32,
}

impl Clock {
    pub(crate) const TRUE: Self = Self { since: 0, shown: START, ppm: 0 };

    /// What it shows at the true time `t`.
    #[inline]
    pub(crate) fn read(&self, t: u64) -> Instant {
        let passed = t.saturating_sub(self.since);
        let passed = if self.ppm == 0 { passed } else { self.skewed(passed) };
        Instant::from_nanos(self.shown.saturating_add(passed))
    }

    #[cold]
    fn skewed(&self, passed: u64) -> u64 {
        clamp(i128::from(passed) * (MILLION + i128::from(self.ppm)) / MILLION)
    }

    /// The first true time at which it shows `at` or later, if it goes on as it does.
    #[inline]
    pub(crate) fn when(&self, at: Instant) -> u64 {
        let wait = at.as_nanos().saturating_sub(self.shown);
        let passed = if self.ppm == 0 { wait } else { self.unskewed(wait) };
        self.since.saturating_add(passed)
    }

    #[cold]
    fn unskewed(&self, wait: u64) -> u64 {
        let rate = MILLION + i128::from(self.ppm);
        clamp((i128::from(wait) * MILLION + rate - 1) / rate)
    }

    /// It jumps at the true time `t`; not before its origin.
    pub(crate) fn jump(&mut self, t: u64, by: i64) {
        self.shown = self.read(t).as_nanos().saturating_add_signed(by);
        self.since = t;
    }

    /// From the true time `t` on it is fast by this many parts per million, at most by half or twice.
    pub(crate) fn skew(&mut self, t: u64, ppm: i32) {
        self.shown = self.read(t).as_nanos();
        self.since = t;
        self.ppm = ppm.clamp(-500_000, 1_000_000);
    }
}

fn clamp(nanos: i128) -> u64 {
    u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_never_rings_before_the_clock_shows_it() {
        for ppm in [-500_000, -7, 0, 3, 999_999] {
            let mut clock = Clock::TRUE;
            clock.skew(11, ppm);
            clock.jump(1000, 12_345);
            for at in [0, 5, 13_345, 20_001, 1_000_000_007] {
                let at = Instant::from_nanos(START + at);
                let t = clock.when(at);
                assert!(clock.read(t) >= at, "{ppm} {at:?}");
                assert!(t <= 1000 || clock.read(t - 1) < at, "{ppm} {at:?}: not later than needed");
            }
        }
    }
}
