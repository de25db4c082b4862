//! What a server is told and tells.

use std::fmt;
use std::net::SocketAddr;

/// What happens to a connection that comes when the limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AtLimit {
    /// It is reset at once, so that the client knows.
    #[default]
    Refuse,
    /// The connection that was silent longest is closed in its favour, in order; until it has gone there is one
    /// connection too many. When as many as the limit are on their way out, the new one is refused.
    CloseLongestIdle,
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
    /// Times that accepting failed for want of file descriptors or memory, and was tried again.
    pub accept_failures: u64,
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
