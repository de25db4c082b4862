//! What a pool tells: orders for whoever owns the sockets, and answers for callers.

use core::fmt;

use thiserror::Error;

use crate::time::Instant;

/// One connection of a pool. The generation makes every connection's id its own, so that what is told late of an old
/// one changes nothing for a newer one in the same place (law L16).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// The place among the pool's connections; it is used again.
    pub index: u32,
    /// How often the place was used before.
    pub generation: u32,
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}", self.index, self.generation)
    }
}

/// One caller's claim: while it waits, and while it uses the connection that it was given. Ids rise with arrival and are
/// never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub(super) u64);

/// Something to be done, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order<K> {
    /// Dial, and say `connected` or `dial_failed`. After the deadline the pool gives it up by itself.
    Dial {
        /// The name of the connection to come.
        conn: ConnId,
        /// Where to.
        target: K,
        /// When it is given up.
        deadline: Instant,
    },
    /// Ask the peer whether it is still there, and say `probed`.
    Probe {
        /// The connection, unused for long.
        conn: ConnId,
        /// When it counts as failed.
        deadline: Instant,
    },
    /// The caller may use the connection until it says `release`.
    Grant {
        /// The caller.
        lease: LeaseId,
        /// Its connection.
        conn: ConnId,
        /// Somebody used it before.
        reused: bool,
    },
    /// The caller gets no connection.
    Refuse {
        /// The caller.
        lease: LeaseId,
        /// Why.
        why: Refusal<K>,
    },
    /// Close the connection, or stop dialling it, and say `closed`.
    Close {
        /// The connection. Nobody uses it.
        conn: ConnId,
        /// Why.
        why: CloseReason,
    },
}

/// Why a caller got no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal<K> {
    /// Its deadline passed.
    #[error("no connection came free before the caller's deadline")]
    TimedOut,
    /// The dial made for it failed.
    #[error("dialling failed")]
    DialFailed,
    /// As many wait as may.
    #[error("{limit} callers wait for a connection already; raise PoolConfig::waiting or ask less")]
    QueueFull {
        /// The bound, in callers.
        limit: usize,
    },
    /// All local ports that this target may have are taken.
    #[error(
        "no local port is left for this target: {open} open and {in_time_wait} in TIME_WAIT make {limit}; reuse connections or let the peer close first"
    )]
    PortsExhausted {
        /// The target.
        target: K,
        /// Ports of connections that we closed first, not long ago.
        in_time_wait: u32,
        /// Ports of open connections.
        open: u32,
        /// Ports that may be taken.
        limit: u32,
        /// When the first of them leaves TIME_WAIT, if any is in it.
        retry_at: Option<Instant>,
    },
    /// The pool ends.
    #[error("the pool is draining")]
    Draining,
}

/// Why the pool closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CloseReason {
    /// Nobody used it for long.
    Idle,
    /// It was old.
    Life,
    /// Another target needed the place, and this one was unused longest.
    MadeRoom,
    /// Its last user said that it must not be used again.
    Discarded,
    /// The peer will send nothing more.
    PeerFinished,
    /// The peer sent something that nobody had asked for.
    Unsolicited,
    /// It failed.
    Failed,
    /// The dial took too long.
    DialTimedOut,
    /// The probe was not answered.
    ProbeFailed,
    /// The protocol said that no new use is welcome.
    GoingAway,
    /// The pool ends.
    Drained,
}

/// What was seen of a connection that must not be given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// The peer's FIN.
    PeerFinished,
    /// A byte while nobody had asked anything.
    Unsolicited,
    /// An error.
    Failed,
    /// The protocol's notice that no new use is welcome; present users may end theirs.
    GoingAway,
}

impl From<Loss> for CloseReason {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::PeerFinished => Self::PeerFinished,
            Loss::Unsolicited => Self::Unsolicited,
            Loss::Failed => Self::Failed,
            Loss::GoingAway => Self::GoingAway,
        }
    }
}

/// Whether the peer can know of a message whose connection died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// No byte of it was handed to the transport.
    NotSent,
    /// Some or all of it was: the peer may have acted on it.
    PossiblySent,
}

impl Delivery {
    /// The delivery of the message that was accepted as number `number` (the first is 1) by a session with these
    /// counters: see [`Stats::begun`](crate::Stats::begun).
    #[must_use]
    pub const fn of(number: u64, stats: &crate::Stats) -> Self {
        if number > stats.begun { Self::NotSent } else { Self::PossiblySent }
    }

    /// Whether it may be sent again without asking: only what is known unsent, or what the caller calls idempotent.
    /// RFC 9110, section 9.2.2, says the same of HTTP requests.
    #[must_use]
    pub const fn may_retry(self, idempotent: bool) -> bool {
        match self {
            Self::NotSent => true,
            Self::PossiblySent => idempotent,
        }
    }
}
