//! The laws by name, and how a broken one is reported.

use core::fmt;

/// A law that every protocol, adapter and order of legal calls keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Law {
    /// Nothing panics, on any input and any order of calls.
    L0Total,
    /// Settling twice changes nothing; no order of legal calls loses a wake-up.
    L1Idempotent,
    /// FIN only after the last byte; nothing is accepted after it.
    L2FinLast,
    /// Every queue and buffer stays inside its limit.
    L3Bounded,
    /// A released session wants nothing.
    L4QuietEnd,
    /// Alive and waiting: a deadline is armed or input is wanted.
    L5NeverInert,
    /// No data after `PeerFinished`; a peer's FIN never drops queued output.
    L6EofOrder,
    /// After `handle_timeout(now)` all deadlines are later; waiting again postpones none.
    L7TimeMoves,
    /// Obeying `interest` alone reaches release in bounded steps.
    L8Ends,
    /// Exactly one `Closed`, last; the first cause wins.
    L9OneEnd,
    /// What is delivered is the reference decode of a prefix of what was sent.
    L10Faithful,
    /// Who writes only on `Writable` is never starved and never spins.
    L11Writable,
    /// `read` wanted: the receive buffer has space.
    L12RoomToRead,
    /// With the send side blocked, received frames are still delivered.
    L13ReadsNeverWait,
    /// Accepted = flushed + unsent, in messages.
    L14NothingVanishes,
    /// Same inputs, same outputs.
    L15Deterministic,
    /// A drain that the protocol takes part in begins nothing new, tells the peer, and ends once what was begun has ended;
    /// one that it has no part in changes nothing.
    L17Drains,
}

impl Law {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::L0Total,
        Self::L1Idempotent,
        Self::L2FinLast,
        Self::L3Bounded,
        Self::L4QuietEnd,
        Self::L5NeverInert,
        Self::L6EofOrder,
        Self::L7TimeMoves,
        Self::L8Ends,
        Self::L9OneEnd,
        Self::L10Faithful,
        Self::L11Writable,
        Self::L12RoomToRead,
        Self::L13ReadsNeverWait,
        Self::L14NothingVanishes,
        Self::L15Deterministic,
        Self::L17Drains,
    ];
}

/// A law that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub law: Law,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.law, self.what)
    }
}

pub(crate) type Verdict = Result<(), Broken>;

/// Says that `law` holds if `held`, and otherwise what was seen.
pub(crate) fn law(law: Law, held: bool, what: impl FnOnce() -> String) -> Verdict {
    if held { Ok(()) } else { Err(Broken { law, what: what() }) }
}
