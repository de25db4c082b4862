//! What a server is told and tells.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use duologue_core::{Cause, Code};

/// What happens to a connection that comes when the limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AtLimit {
    /// It is reset at once, so that the client knows.
    #[default]
    Refuse,
    /// The connection that was silent longest is closed in its favour, in order; until it has gone there is one
    /// connection too many. When as many as the limit are on their way out, the new one is refused.
    CloseLongestIdle,
    /// It is taken, told the protocol's goodbye with this code, and closed: a refusal that the client can tell from a
    /// broken server. Who does not go in time is reset; when as many as the limit are being told, the new one is reset
    /// at once.
    SayGoodbye {
        /// What the goodbye says.
        code: Code,
        /// How long it may take to go.
        within: Duration,
    },
}

/// Counts of a server since it was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections being served now.
    pub open: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections reset because the limit was reached, or ended because their setup failed.
    pub refused: u64,
    /// Connections asked to close in favour of a newer one.
    pub evicted: u64,
    /// Panics of handlers, and of what makes protocols. Each ended its own connection and no other.
    pub panicked: u64,
    /// How those that ended did.
    pub ended: Ends,
    /// Times that accepting failed for want of file descriptors or memory, and was tried again.
    pub accept_failures: u64,
}

/// How connections ended, counted by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Ends {
    /// As somebody wanted: a close, or both sides finished.
    pub in_order: u64,
    /// A deadline passed.
    pub timed_out: u64,
    /// The peer broke the protocol.
    pub by_violation: u64,
    /// The peer's stream ended too early.
    pub truncated: u64,
    /// The peer reset it.
    pub by_reset: u64,
    /// We reset it: a handler, or the deadline of a drain.
    pub aborted: u64,
    /// Anything else: limits, faults of the transport, misuse.
    pub failed: u64,
    /// The handler dropped it before it ended.
    pub dropped: u64,
}

impl Ends {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.in_order
            + self.timed_out
            + self.by_violation
            + self.truncated
            + self.by_reset
            + self.aborted
            + self.failed
            + self.dropped
    }

    /// Counts an end; `None` is a connection that was dropped before.
    pub(super) fn count<V>(&mut self, cause: Option<&Cause<V>>) {
        let kind = match cause {
            None => &mut self.dropped,
            Some(cause) if cause.is_orderly() => &mut self.in_order,
            Some(Cause::Timeout(_)) => &mut self.timed_out,
            Some(Cause::Violation(_)) => &mut self.by_violation,
            Some(Cause::Truncated { .. }) => &mut self.truncated,
            Some(Cause::PeerReset) => &mut self.by_reset,
            Some(Cause::LocalAbort(_)) => &mut self.aborted,
            Some(_) => &mut self.failed,
        };
        *kind += 1;
    }
}

/// What a drain left behind.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections open when the drain began.
    pub open: usize,
    /// Of these, how many ended within the time.
    pub ended: usize,
    /// Who was still connected at the deadline, and was reset.
    pub left: Vec<SocketAddr>,
    /// The counts at the end.
    pub stats: ServerStats,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} connections ended in order", self.ended, self.open)?;
        match self.left.as_slice() {
            [] => Ok(()),
            left => write!(f, "; {} were reset at the deadline: {left:?}", left.len()),
        }
    }
}
