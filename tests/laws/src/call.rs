//! The calls that a script is made of, readable and replayable.

use core::fmt;

use duologue_core::{FaultKind, Operation};

use crate::subject::Role;

/// One step of a script. What is not legal when its turn comes is left out, so any part of a script is a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Time passes.
    Wait {
        /// Nanoseconds.
        nanos: u64,
    },
    /// Time passes until a side's deadline, or almost, or a little longer.
    UntilDeadline {
        /// Whose deadline.
        role: Role,
        /// Nanoseconds before (negative) or after it.
        offset: i64,
    },
    /// The clock that the next calls see is this much slow.
    ClockBack {
        /// Nanoseconds.
        nanos: u64,
    },
    /// Something happens at one side.
    At(Role, Op),
}

/// What happens at one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The transport is connected.
    Connected,
    /// The transport takes at most `max` bytes from at most `slices` slices.
    Transmit {
        /// Most bytes.
        max: usize,
        /// Most slices.
        slices: usize,
    },
    /// The transport reads at most `max` bytes, or the FIN or reset behind them, or nothing.
    Read {
        /// Most bytes.
        max: usize,
    },
    /// The application takes up to `max` events.
    Poll {
        /// Most events.
        max: usize,
    },
    /// The application handles messages in place.
    Handle {
        /// Most messages.
        budget: usize,
        /// Room wanted for each answer.
        room: usize,
        /// Seed of the answer, if there is one.
        reply: Option<u64>,
    },
    /// The application sends a random command.
    Send {
        /// Seed of the command.
        seed: u64,
    },
    /// Our half-close.
    Finish,
    /// What is under way is to end, and the session with it; see [`Session::drain`](duologue_core::Session::drain).
    Drain,
    /// No further input is wanted.
    ShutdownRead,
    /// Close, politely or (`flush`) without waiting for an answer.
    Close {
        /// [`CloseIntent::Flush`](duologue_core::CloseIntent::Flush).
        flush: bool,
        /// The code.
        code: u32,
    },
    /// Abort.
    Abort {
        /// The code.
        code: u32,
    },
    /// The transport sent the FIN that was asked for; without being asked it must not matter.
    ShutdownDone,
    /// The transport was let go as asked.
    Release,
    /// The transport was let go without being asked.
    ReleaseUnasked,
    /// The transport failed.
    Fault {
        /// While doing what.
        operation: Operation,
        /// How.
        kind: FaultKind,
    },
    /// `handle_timeout`, due or not.
    Timeout,
    /// Empty buffers are lent.
    Lend,
    /// Empty buffers are taken back.
    Reclaim,
    /// More bytes are reported transmitted than were offered.
    Overreport,
    /// Random bytes appear in what this side will read.
    Inject {
        /// Their seed.
        seed: u64,
        /// Their number.
        len: usize,
    },
    /// Valid frames appear in what this side will read.
    Flood {
        /// Their seed.
        seed: u64,
    },
    /// What this side will read ends here with a FIN, and the peer's further bytes vanish.
    CutFin,
    /// What this side will read ends here with a reset.
    CutReset,
    /// What this side writes goes nowhere for now.
    Freeze,
    /// What this side writes flows again.
    Thaw,
}

impl Op {
    /// Whether the session learns the time by it.
    pub(crate) const fn tells_time(&self) -> bool {
        !matches!(self, Self::Lend | Self::Reclaim | Self::Release | Self::ReleaseUnasked)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait { nanos } => write!(f, "wait {:?}", core::time::Duration::from_nanos(*nanos)),
            Self::UntilDeadline { role, offset } => write!(f, "wait until {}'s deadline {offset:+} ns", role.as_str()),
            Self::ClockBack { nanos } => {
                write!(f, "clock {:?} slow for one call", core::time::Duration::from_nanos(*nanos))
            }
            Self::At(role, op) => write!(f, "{}: {op:?}", role.as_str()),
        }
    }
}
