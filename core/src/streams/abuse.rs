//! What a peer can make us do for nothing, and how much of it we take: one token bucket per kind.

use core::time::Duration;

use crate::time::Instant;

/// Kinds of work that a peer can cause without moving any data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Abuse {
    /// Streams opened and reset before they were of any use.
    OpenReset,
    /// Grants of credit.
    Grants,
    /// Frames without content.
    Empty,
    /// Resets and refusals of our own that the peer provoked.
    Provoked,
    /// Whatever the peer makes us answer: pings, settings.
    Answers,
}

impl Abuse {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::OpenReset, Self::Grants, Self::Empty, Self::Provoked, Self::Answers];

    /// The kind's stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenReset => "streams opened and reset",
            Self::Grants => "credit grants",
            Self::Empty => "empty frames",
            Self::Provoked => "provoked resets",
            Self::Answers => "forced answers",
        }
    }
}

/// How much of each kind is taken. Whoever moves data earns it back, and so does time, slowly: a quiet connection that
/// lives for weeks is no attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbuseBudget {
    /// Occurrences of one kind that are taken at once. Default 2000.
    pub burst: u32,
    /// Useful bytes, in either direction, that earn one occurrence of each kind. Default 256.
    pub bytes_per_token: u32,
    /// Time that earns one occurrence of each kind. Default 50 ms.
    pub time_per_token: Duration,
}

impl Default for AbuseBudget {
    fn default() -> Self {
        Self { burst: 2000, bytes_per_token: 256, time_per_token: Duration::from_millis(50) }
    }
}

/// The buckets. `used` counts occurrences that were not earned back.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    budget: AbuseBudget,
    used: [u32; Abuse::ALL.len()],
    useful: u64,
    since: Option<Instant>,
}

impl Buckets {
    pub(super) const fn new(budget: AbuseBudget) -> Self {
        Self { budget, used: [0; Abuse::ALL.len()], useful: 0, since: None }
    }

    /// Data moved.
    #[inline]
    pub(super) fn useful(&mut self, bytes: usize) {
        self.useful += bytes as u64;
    }

    /// One occurrence. False if that was one too many.
    pub(super) fn spend(&mut self, now: Instant, kind: Abuse) -> bool {
        self.earn(now);
        let used = &mut self.used[kind as usize];
        *used += 1;
        *used <= self.budget.burst
    }

    pub(super) const fn burst(&self) -> u32 {
        self.budget.burst
    }

    fn earn(&mut self, now: Instant) {
        let per_token = u64::from(self.budget.bytes_per_token.max(1));
        let mut tokens = self.useful / per_token;
        self.useful %= per_token;
        let since = *self.since.get_or_insert(now);
        let wait = (self.budget.time_per_token.as_nanos() as u64).max(1);
        let by_time = (now.since(since).as_nanos() as u64) / wait;
        if by_time > 0 {
            self.since = Some(since.after(Duration::from_nanos(by_time.saturating_mul(wait))));
            tokens = tokens.saturating_add(by_time);
        }
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.used = self.used.map(|used| used.saturating_sub(tokens));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_data_or_time_earn_it_back() {
        let budget = AbuseBudget { burst: 3, bytes_per_token: 100, time_per_token: Duration::from_secs(1) };
        let mut buckets = Buckets::new(budget);
        let t = Instant::from_nanos(5);
        let spend = |buckets: &mut Buckets, t| buckets.spend(t, Abuse::Grants);
        assert!((0..3).all(|_| spend(&mut buckets, t)) && !spend(&mut buckets, t));
        assert!(buckets.spend(t, Abuse::Empty), "each kind has a bucket of its own");
        buckets.useful(250);
        assert!(spend(&mut buckets, t) && !spend(&mut buckets, t));
        let later = t.after(Duration::from_millis(2500));
        assert!(spend(&mut buckets, later) && !spend(&mut buckets, later));
        assert!(spend(&mut buckets, t.after(Duration::from_millis(4000))), "half seconds are not forgotten");
    }
}
