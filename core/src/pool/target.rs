//! What a pool knows of one target.

use alloc::collections::{BTreeSet, VecDeque};

use super::order::LeaseId;
use super::stack::Stack;
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Target {
    /// Connections that take another user; the last one used is on top. What was used a moment ago is the least likely
    /// to be stale, and the others can grow old.
    pub(super) available: Stack,
    /// Callers, in the order they came.
    pub(super) waiting: BTreeSet<LeaseId>,
    /// Sockets, in whatever state.
    pub(super) open: u32,
    /// Of these, dials and probes under way.
    pub(super) pending: u32,
    /// Of the available ones, those that nobody uses.
    pub(super) idle: u32,
    /// When each port in TIME_WAIT comes free.
    pub(super) time_wait: VecDeque<Instant>,
    pub(super) min_idle: u32,
    /// No dial that nobody waits for before this.
    pub(super) warm_after: Option<Instant>,
    /// Its entry among the grantable.
    pub(super) grantable: Option<LeaseId>,
    /// Its entry among the hungry.
    pub(super) hungry: Option<(bool, LeaseId)>,
    pub(super) port_alarm: Option<Instant>,
}

impl Target {
    pub(super) fn in_time_wait(&self) -> u64 {
        self.time_wait.len() as u64
    }

    /// Ports taken: open sockets and those in TIME_WAIT.
    pub(super) fn ports(&self) -> u64 {
        u64::from(self.open) + self.in_time_wait()
    }

    /// Forgets the ports that are free again.
    pub(super) fn forget_time_wait(&mut self, now: Instant) {
        while self.time_wait.front().is_some_and(|at| *at <= now) {
            self.time_wait.pop_front();
        }
    }

    /// Nothing is left to know.
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0 && self.waiting.is_empty() && self.time_wait.is_empty() && self.min_idle == 0
    }
}
