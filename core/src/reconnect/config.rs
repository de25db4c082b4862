//! What the owner of a reconnecting client decides once.

use core::time::Duration;

use thiserror::Error;

use crate::config::setters;
use crate::rng::Rng;

/// The pauses between attempts. The defaults are gRPC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// From the beginning of the first attempt to that of the second. Default 1 s.
    pub initial: Duration,
    /// By how much each pause is longer than the one before, in percent. Default 160.
    pub factor_percent: u32,
    /// By how much each pause is longer or shorter at random, in percent. Default 20.
    pub jitter_percent: u8,
    /// The longest pause, before its jitter. Default 120 s.
    pub cap: Duration,
    /// What an attempt gets in any case. Default 20 s.
    pub min_connect: Duration,
    /// A connection that was up for this long was useful, whether or not anybody said so. Default 60 s.
    pub stable_after: Option<Duration>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor_percent: 160,
            jitter_percent: 20,
            cap: Duration::from_secs(120),
            min_connect: Duration::from_secs(20),
            stable_after: Some(Duration::from_secs(60)),
        }
    }
}

setters!(Backoff {
    /// Sets the first pause.
    initial: Duration,
    /// Sets the growth of the pauses.
    factor_percent: u32,
    /// Sets the random part of the pauses.
    jitter_percent: u8,
    /// Sets the longest pause.
    cap: Duration,
    /// Sets what an attempt gets in any case.
    min_connect: Duration,
    /// Sets after how long a connection counts as useful.
    stable_after: Option<Duration>,
});

impl Backoff {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn validate(&self) -> Result<(), BackoffError> {
        let times = [("initial", self.initial), ("cap", self.cap), ("min_connect", self.min_connect)];
        if let Some((name, _)) = times.into_iter().find(|(_, time)| time.is_zero()) {
            return Err(BackoffError::Zero { name });
        }
        if self.factor_percent < 100 {
            return Err(BackoffError::Shrinks { factor_percent: self.factor_percent });
        }
        if self.jitter_percent > 99 {
            return Err(BackoffError::Jitter { percent: self.jitter_percent });
        }
        Ok(())
    }

    /// The pause after one of `pause`.
    pub(super) fn next(&self, pause: Duration) -> Duration {
        let longer = pause.as_nanos().saturating_mul(u128::from(self.factor_percent)) / 100;
        nanos(longer).min(self.cap)
    }

    /// The pause with its random part: within `jitter_percent` of it either way.
    pub(super) fn jittered(&self, pause: Duration, rng: &mut Rng) -> Duration {
        let pause = pause.min(self.cap);
        let part = pause.as_nanos().saturating_mul(u128::from(self.jitter_percent)) / 100;
        let part = nanos(part);
        let width = u64::try_from(part.as_nanos()).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(1);
        (pause.saturating_sub(part)).saturating_add(Duration::from_nanos(rng.below(width)))
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// When to stop trying for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row that open the circuit.
    pub failures: u32,
    /// How long it stays open.
    pub open_for: Duration,
}

/// What becomes of messages that wait while there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Queued {
    /// They go back to their senders, and so does what is sent meanwhile.
    Drop,
    /// What no connection accepted yet waits for the next one; what the lost one had accepted goes back.
    Keep,
    /// As `Keep`, and what the lost connection accepted but handed no byte of to its transport is sent on the next. What
    /// may have been sent is never sent again.
    #[default]
    ResendUnsent,
}

/// Pauses that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BackoffError {
    /// Attempts would follow each other without any pause, or have no time at all.
    #[error("backoff setting `{name}` is 0: set it higher")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// Pauses would become shorter.
    #[error("factor_percent is {factor_percent}: pauses must not become shorter, set at least 100")]
    Shrinks {
        /// What was set.
        factor_percent: u32,
    },
    /// Pauses could become nothing.
    #[error("jitter_percent is {percent}: at most 99 leave a pause")]
    Jitter {
        /// What was set.
        percent: u8,
    },
}
