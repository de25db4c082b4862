//! How a session ended: one cause, the first.

use core::fmt;

use thiserror::Error;

use crate::error::{LimitExceeded, Misuse, TransportFault};
use crate::time::TimeoutReason;

/// A number that goes with a close or an abort; the protocol gives it its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Code(pub u32);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How politely to close. Asking again only ever raises the severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseIntent {
    /// The protocol's goodbye and the wait for its answer, then flush, FIN, linger, release.
    Goodbye(Code),
    /// No waiting for an answer: flush, FIN, linger, release. After a `Goodbye` it ends the wait.
    Flush(Code),
}

impl CloseIntent {
    /// The code given.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Goodbye(code) | Self::Flush(code) => code,
        }
    }
}

/// How the transport is to be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// Close it normally.
    Graceful,
    /// Reset it (RST on TCP): the peer learns that not all is well, and nothing waits in the kernel.
    Abort,
}

/// Which of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Ours.
    Local,
    /// The peer's.
    Peer,
}

/// How far a session had come when it was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The transport was not connected.
    Connecting,
    /// The protocol was not established.
    Handshaking,
    /// In use, both halves or one.
    Open,
    /// Waiting for the answer to our goodbye.
    Goodbye,
    /// Accepted output was on its way.
    Flushing,
    /// All flushed, waiting for the peer's FIN before sending ours.
    Holding,
    /// Our FIN was asked for and not yet done.
    ShuttingDown,
    /// Our FIN was sent, the peer's was not seen.
    Lingering,
    /// Both FINs were exchanged.
    Complete,
}

/// Who ended the session, and why. The first cause wins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Cause<V> {
    /// We called `close`.
    #[error("closed by us with code {0}")]
    LocalClose(Code),
    /// We called `abort`.
    #[error("aborted by us with code {0}")]
    LocalAbort(Code),
    /// Both sides finished, we first.
    #[error("both sides finished sending, we first")]
    LocalFinished,
    /// Both sides finished, the peer first.
    #[error("both sides finished sending, the peer first")]
    PeerFinished,
    /// The peer said the protocol's goodbye.
    #[error("closed by the peer with code {0}")]
    PeerClose(Code),
    /// The peer's FIN came too early: in the middle of a message, or of what the protocol has both sides end.
    #[error("the peer's stream ended too early{}", Missing(*.missing))]
    Truncated {
        /// Bytes that were still due, where the protocol knows.
        missing: Option<u64>,
    },
    /// The peer's reset, seen while reading or writing.
    #[error("connection reset by the peer")]
    PeerReset,
    /// A deadline passed.
    #[error("timed out: {0}")]
    Timeout(TimeoutReason),
    /// The peer broke the protocol.
    #[error("protocol violation by the peer: {0}")]
    Violation(V),
    /// A bound was reached that cannot be waited out.
    #[error("limit exceeded: {0}")]
    Limit(LimitExceeded),
    /// The transport failed.
    #[error("transport failed: {0}")]
    Transport(TransportFault),
    /// The driver or the protocol's implementation broke the contract of this crate.
    #[error("misuse: {0}")]
    Misuse(Misuse),
}

struct Missing(Option<u64>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, ", {bytes} bytes missing"),
            None => Ok(()),
        }
    }
}

impl<V> Cause<V> {
    /// The cause's stable name without its details.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::LocalClose(_) => "local-close",
            Self::LocalAbort(_) => "local-abort",
            Self::LocalFinished => "local-finished",
            Self::PeerFinished => "peer-finished",
            Self::PeerClose(_) => "peer-close",
            Self::Truncated { .. } => "truncated",
            Self::PeerReset => "peer-reset",
            Self::Timeout(_) => "timeout",
            Self::Violation(_) => "violation",
            Self::Limit(_) => "limit",
            Self::Transport(_) => "transport",
            Self::Misuse(_) => "misuse",
        }
    }

    /// True for the ends that somebody wanted: a close, a finish on both sides, the peer's goodbye.
    #[must_use]
    pub const fn is_orderly(&self) -> bool {
        matches!(self, Self::LocalClose(_) | Self::LocalFinished | Self::PeerFinished | Self::PeerClose(_))
    }
}

/// The end of a session: the last event, exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed<V> {
    /// Who ended it and why: the first cause.
    pub cause: Cause<V>,
    /// How far the ending had come when the transport was released.
    pub phase: Phase,
    /// Messages that were accepted and not wholly handed to the transport.
    pub unsent: u64,
    /// Bytes that were received and never delivered as messages.
    pub undelivered: u64,
    /// The peer's FIN was seen.
    pub peer_finished: bool,
    /// Who sent FIN first, if anybody did: that side carries TIME_WAIT.
    pub finished_first: Option<Side>,
}

impl<V: fmt::Display> fmt::Display for Closed<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        if self.unsent > 0 {
            write!(f, "; {} accepted messages were not sent", self.unsent)?;
        }
        if self.undelivered > 0 {
            write!(f, "; {} received bytes were not delivered", self.undelivered)?;
        }
        Ok(())
    }
}

impl<V: core::error::Error + 'static> core::error::Error for Closed<V> {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Error)]
    #[error("nonsense")]
    struct Nonsense;

    fn closed(cause: Cause<Nonsense>, unsent: u64, undelivered: u64) -> Closed<Nonsense> {
        Closed { cause, phase: Phase::Open, unsent, undelivered, peer_finished: false, finished_first: None }
    }

    #[test]
    fn an_end_tells_its_cause_and_only_the_losses_that_there_were() {
        let told = |cause, unsent, undelivered| closed(cause, unsent, undelivered).to_string();
        assert_eq!(told(Cause::LocalClose(Code(7)), 0, 0), "closed by us with code 7");
        assert_eq!(told(Cause::PeerReset, 1, 0), "connection reset by the peer; 1 accepted messages were not sent");
        assert_eq!(
            told(Cause::Violation(Nonsense), 0, 1),
            "protocol violation by the peer: nonsense; 1 received bytes were not delivered"
        );
        let truncated = |missing| Cause::<Nonsense>::Truncated { missing }.to_string();
        assert_eq!(truncated(Some(3)), "the peer's stream ended too early, 3 bytes missing");
        assert_eq!(truncated(None), "the peer's stream ended too early");
    }

    #[test]
    fn an_end_is_orderly_if_somebody_wanted_it() {
        let orderly: [Cause<Nonsense>; 4] =
            [Cause::LocalClose(Code(0)), Cause::LocalFinished, Cause::PeerFinished, Cause::PeerClose(Code(0))];
        assert!(orderly.iter().all(Cause::is_orderly));
        let disorderly: [Cause<Nonsense>; 5] = [
            Cause::LocalAbort(Code(0)),
            Cause::Truncated { missing: None },
            Cause::PeerReset,
            Cause::Timeout(TimeoutReason::Idle),
            Cause::Violation(Nonsense),
        ];
        assert!(disorderly.iter().all(|cause| !cause.is_orderly()));
        let mut names: alloc::vec::Vec<_> = orderly.iter().chain(&disorderly).map(Cause::kind).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 9, "each has a name of its own");
        assert_eq!(Cause::<Nonsense>::PeerReset.kind(), "peer-reset");
    }

    #[test]
    fn a_close_knows_its_code() {
        assert_eq!((CloseIntent::Goodbye(Code(1)).code(), CloseIntent::Flush(Code(2)).code()), (Code(1), Code(2)));
    }
}
