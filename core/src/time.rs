//! Time as a value: the core never reads a clock.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

/// Whoever can tell the time when it is needed, so that it is not read for nothing.
pub(crate) trait ReadTime {
    fn read_time(&mut self) -> Instant;
}

/// A point in time, in nanoseconds after an origin that the caller chose.
///
/// The origin is the caller's business (process start, boot, the start of a simulation); all instants given to
/// one session must come from the same origin. The type is not a [`Duration`], so a relative wait cannot be
/// passed where a deadline is meant; `Option<Instant>` is 8 bytes. Arithmetic saturates at [`Instant::MAX`],
/// about 584 years after the origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The origin itself.
    pub const ORIGIN: Self = Self(NonZeroU64::MIN);

    /// The last instant that can be expressed. A deadline this late never comes.
    pub const MAX: Self = Self(NonZeroU64::MAX);

    /// The instant `elapsed` after the origin.
    #[must_use]
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self::ORIGIN.after(elapsed)
    }

    /// The instant `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// The instant `later` after this one, saturating.
    #[must_use]
    #[inline]
    pub const fn after(self, later: Duration) -> Self {
        // A Duration holds up to 2^64 seconds; what does not fit in nanoseconds saturates.
        let nanos = later.as_nanos();
        if nanos > u64::MAX as u128 {
            return Self::MAX;
        }
        Self(self.0.saturating_add(nanos as u64))
    }

    /// How long after `earlier` this instant is; zero if it is not later.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", self.since(Self::ORIGIN))
    }
}

/// The earlier of two, without a branch: there may be many to compare for each message.
#[inline(always)]
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    // `None` is the latest of all.
    let key = |at: Option<Instant>| at.map_or(0, |at| at.0.get()).wrapping_sub(1);
    NonZeroU64::new(key(a).min(key(b)).wrapping_add(1)).map(Instant)
}

/// When something is due, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deadline {
    /// The absolute instant. Waiting again does not move it.
    pub at: Instant,
    /// What happens then.
    pub reason: TimeoutReason,
}

impl Deadline {
    /// The earlier of two optional deadlines; the first wins a tie.
    #[must_use]
    #[inline]
    pub fn earlier(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, None) => a,
            (None, b) => b,
        }
    }
}

/// Why a deadline is armed. A session that ends by time carries it in [`Cause::Timeout`](crate::Cause::Timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TimeoutReason {
    /// The transport was not connected in time.
    Connect,
    /// The protocol did not finish its opening in time.
    Handshake,
    /// Neither side transmitted anything for the idle time.
    Idle,
    /// The peer began a message and did not complete it in time.
    Message,
    /// The peer was quiet: time to probe it. This one never ends a session.
    KeepaliveSend,
    /// The peer did not answer a probe: it is taken for dead.
    KeepaliveReply,
    /// Bytes are queued and the transport took none of them for too long.
    WriteStall,
    /// A request was not answered in time.
    Request,
    /// The peer did not answer the protocol's goodbye in time.
    CloseHandshake,
    /// Queued output was not flushed in time after the close.
    Flush,
    /// Under [`CloseOrder::PeerFirst`](crate::CloseOrder::PeerFirst) the peer did not finish first in time.
    PeerFirst,
    /// After our FIN the peer did not finish in time.
    Linger,
    /// A timer of the protocol's own, with its name.
    Protocol(&'static str),
}

impl TimeoutReason {
    /// The reason's stable name, as it stands in logs and diagrams.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::Message => "message",
            Self::KeepaliveSend => "keepalive-send",
            Self::KeepaliveReply => "keepalive-reply",
            Self::WriteStall => "write-stall",
            Self::Request => "request",
            Self::CloseHandshake => "close-handshake",
            Self::Flush => "flush",
            Self::PeerFirst => "peer-first",
            Self::Linger => "linger",
            Self::Protocol(name) => name,
        }
    }
}

impl fmt::Display for TimeoutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_optional_instant_is_eight_bytes() {
        assert_eq!(core::mem::size_of::<Option<Instant>>(), 8);
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let t = Instant::from_nanos(7);
        assert_eq!(t.as_nanos(), 7);
        assert_eq!(t.after(Duration::MAX), Instant::MAX);
        assert_eq!(t.after(Duration::from_nanos(3)).since(t), Duration::from_nanos(3));
        assert_eq!(t.since(t.after(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(Instant::from_nanos(u64::MAX), Instant::MAX);
        assert_eq!(Instant::from_origin(Duration::from_nanos(7)), t);
    }

    #[test]
    fn the_earlier_deadline_wins_and_the_first_wins_a_tie() {
        let at = Instant::from_nanos(5);
        let a = Deadline { at, reason: TimeoutReason::Idle };
        let b = Deadline { at, reason: TimeoutReason::Linger };
        assert_eq!(Deadline::earlier(Some(a), Some(b)), Some(a));
        assert_eq!(Deadline::earlier(None, Some(b)), Some(b));
        let sooner = Deadline { at: Instant::ORIGIN, ..b };
        assert_eq!(Deadline::earlier(Some(a), Some(sooner)), Some(sooner));
    }
}
