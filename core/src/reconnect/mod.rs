//! Connecting again and again: when, how often, and what becomes of what was to be sent.
//!
//! [`Reconnect`] is pure as a session is: facts go in (`connected`, `connect_failed`, `lost`, `proved_useful`), orders come
//! out ([`poll_order`](Reconnect::poll_order)), and there is one [`deadline`](Reconnect::deadline). Every attempt has a
//! [`Generation`]; facts of another generation than the present one change nothing (law L16). [`Outbox`] keeps what
//! waits to be sent, across connections.
//!
//! The pauses are gRPC's (its "Connection Backoff Protocol"): attempt *n* may begin `initial * factor^(n-1)` after the
//! beginning of the one before, at most `cap`, with a random part of `jitter` either way; an attempt always gets at
//! least the minimum connect time. Three things differ. The first pause has its jitter as well, so that clients that lose
//! a server together do not return together. And the pauses start anew only after a connection *proved useful*: a
//! server that accepts and drops would otherwise be dialled at full speed. And after a useful connection the first pause
//! still counts from the beginning of its attempt: one that lived longer than that is replaced at once.

mod config;
mod outbox;

use crate::rng::Rng;
use crate::time::{Deadline, Instant, TimeoutReason};

pub use config::{Backoff, BackoffError, Breaker, Queued};
pub use outbox::{Fate, Outbox, Ticket};

/// The number of a connection, and of the attempt to make it: the first is 1. A handle of one generation never affects
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Connect, and say `connected` or `connect_failed`.
    Connect {
        /// The attempt.
        generation: Generation,
        /// When it is given up: `connect_failed` is then due.
        deadline: Instant,
    },
}

/// Whether attempts are made at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// They are.
    Closed,
    /// Too many failed in a row: none is made before this, and there is no sense in waiting for one.
    Open {
        /// When one is tried.
        until: Instant,
    },
    /// One is being tried; its success closes the circuit, its failure opens it again.
    HalfOpen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next attempt begins at this time.
    Waiting {
        until: Instant,
    },
    /// An attempt was ordered.
    Connecting {
        deadline: Instant,
    },
    Up {
        since: Instant,
    },
    Stopped,
}

/// When to connect. See the module.
#[derive(Clone, Debug)]
pub struct Reconnect {
    backoff: Backoff,
    breaker: Option<Breaker>,
    rng: Rng,
    state: State,
    generation: Generation,
    /// The pause after the present attempt, without its jitter.
    pause: core::time::Duration,
    /// No attempt before this.
    not_before: Instant,
    /// When the present attempt began.
    began: Instant,
    /// Failures since something proved useful.
    failures: u32,
    circuit: Circuit,
    useful: bool,
}

impl Reconnect {
    /// The first attempt is due at once. `seed` is for the jitter.
    ///
    /// # Errors
    /// The pauses cannot work.
    pub fn new(backoff: Backoff, breaker: Option<Breaker>, seed: u64, now: Instant) -> Result<Self, BackoffError> {
        backoff.validate()?;
        Ok(Self {
            backoff,
            breaker,
            rng: Rng::new(seed),
            state: State::Waiting { until: now },
            generation: Generation(0),
            pause: backoff.initial,
            not_before: now,
            began: now,
            failures: 0,
            circuit: Circuit::Closed,
            useful: false,
        })
    }

    /// What is to be done now; `None` if nothing is before the next call or the deadline.
    pub fn poll_order(&mut self, now: Instant) -> Option<Order> {
        let State::Waiting { until } = self.state else { return None };
        if until > now {
            return None;
        }
        if let Circuit::Open { .. } = self.circuit {
            self.circuit = Circuit::HalfOpen;
        }
        self.generation.0 += 1;
        self.useful = false;
        self.began = now;
        // The next attempt counts from the beginning of this one.
        self.not_before = now.after(self.backoff.jittered(self.pause, &mut self.rng));
        self.pause = self.backoff.next(self.pause);
        let deadline = self.not_before.max(now.after(self.backoff.min_connect));
        self.state = State::Connecting { deadline };
        Some(Order::Connect { generation: self.generation, deadline })
    }

    /// The attempt succeeded. That alone proves nothing: see [`proved_useful`](Self::proved_useful).
    pub fn connected(&mut self, now: Instant, generation: Generation) {
        if generation == self.generation && matches!(self.state, State::Connecting { .. }) {
            self.state = State::Up { since: now };
        }
    }

    /// The attempt failed, or its deadline came.
    pub fn connect_failed(&mut self, now: Instant, generation: Generation) {
        if generation == self.generation && matches!(self.state, State::Connecting { .. }) {
            self.failed(now);
        }
    }

    /// The connection did what it is for: the owner's word, as a rule after the first answer of the peer. The pauses and
    /// the circuit start anew.
    pub fn proved_useful(&mut self, generation: Generation) {
        if generation == self.generation && matches!(self.state, State::Up { .. }) && !self.useful {
            self.useful = true;
            self.failures = 0;
            self.circuit = Circuit::Closed;
            self.pause = self.backoff.initial;
        }
    }

    /// The connection ended, for whatever reason. If it had proved useful, or was up for long enough, the next attempt is
    /// due at once, but not before [`Backoff::initial`] (with its jitter) has passed since the beginning of the last one:
    /// a server that says one thing and drops is not dialled at full speed either. Otherwise it counts as a failed attempt.
    pub fn lost(&mut self, now: Instant, generation: Generation) {
        let State::Up { since } = self.state else { return };
        if generation != self.generation {
            return;
        }
        if self.backoff.stable_after.is_some_and(|stable| now.since(since) >= stable) {
            self.proved_useful(generation);
        }
        if self.useful {
            let first = self.backoff.jittered(self.backoff.initial, &mut self.rng);
            self.not_before = self.began.after(first).max(now);
            self.state = State::Waiting { until: self.not_before };
        } else {
            self.failed(now);
        }
    }

    fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let mut until = self.not_before.max(now);
        if let Some(breaker) = self.breaker {
            // A circuit that is half open has all its failures still: one more opens it.
            if self.failures >= breaker.failures {
                until = until.max(now.after(breaker.open_for));
                self.circuit = Circuit::Open { until };
            }
        }
        self.state = State::Waiting { until };
    }

    /// No attempt before `at`: the peer's word (`Retry-After`, the retry time of server-sent events). It never makes an
    /// attempt come earlier, and is forgotten once that was ordered.
    pub fn hold_off(&mut self, at: Instant) {
        if let State::Waiting { until } = &mut self.state {
            *until = at.max(*until);
        }
    }

    /// No further attempt. The present connection is its owner's business.
    pub fn stop(&mut self) {
        self.state = State::Stopped;
        self.circuit = Circuit::Closed;
    }

    /// When `poll_order` has something, or the attempt under way is given up.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        match self.state {
            State::Waiting { until } => {
                Some(Deadline { at: until, reason: TimeoutReason::Protocol("reconnect-pause") })
            }
            State::Connecting { deadline } => Some(Deadline { at: deadline, reason: TimeoutReason::Connect }),
            State::Up { .. } | State::Stopped => None,
        }
    }

    /// The attempt under way is given up if its time is over. The pause before the next attempt ends by itself.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, State::Connecting { deadline } if deadline <= now) {
            self.failed(now);
        }
    }

    /// The present or last generation; 0 before the first attempt.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether there is a connection.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Whether [`stop`](Self::stop) was called.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Whether attempts are made.
    #[must_use]
    pub const fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Attempts and useless connections in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests;
