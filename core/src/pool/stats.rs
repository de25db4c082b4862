//! The counts of a pool.

/// What a pool has and what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PoolStats {
    /// Sockets now, in whatever state.
    pub open: u32,
    /// Connections now that nobody uses and that can be given out.
    pub idle: u32,
    /// Dials and probes now under way.
    pub pending: u64,
    /// Callers that wait now.
    pub waiting: usize,
    /// Callers that use a connection now.
    pub in_use: usize,
    /// Ports that are in TIME_WAIT on our side, by our own count. Those that came free are taken off when another of their
    /// target joins them, when a caller wants one, and with the last; until then this is too many.
    pub in_time_wait: u64,
    /// Dials ordered.
    pub dialled: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Connections given out.
    pub granted: u64,
    /// Of these, how many had been used before.
    pub reused: u64,
    /// Connections given out and found stale before the caller saw them.
    pub stale: u64,
    /// Callers refused, for whatever reason.
    pub refused: u64,
    /// Connections retired because the peer said something that nobody had asked for, or nobody took.
    pub unsolicited: u64,
    /// Connections that ended with our FIN first.
    pub closed_by_us: u64,
    /// Connections that ended with the peer's FIN first.
    pub closed_by_peer: u64,
    /// Connections that ended without any FIN: resets, failures.
    pub closed_by_reset: u64,
}

impl PoolStats {
    /// Of a hundred connections given out, how many had been used before.
    #[must_use]
    pub const fn reuse_percent(&self) -> u64 {
        match (self.reused * 100).checked_div(self.granted) {
            Some(percent) => percent,
            None => 0,
        }
    }
}
