//! The calls that a script is made of.

use crate::subject::Role;

/// One step of a script. What is not possible when its turn comes is left out, so any part of a script is a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCall {
    /// Time passes, in nanoseconds.
    Wait(u64),
    /// Something happens at one side.
    At(Role, StreamOp),
}

/// What happens at one side. `which` chooses among the streams that the application knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOp {
    /// A stream is opened. Nobody reads a deaf one at this side before the end.
    Open {
        /// Its weight.
        weight: u8,
        /// Nobody reads it here.
        deaf: bool,
    },
    /// As many bytes are written as fit, or one message.
    Send {
        /// Which stream.
        which: u32,
        /// Bytes.
        len: u32,
        /// As one owned piece, all or nothing.
        owned: bool,
    },
    /// Our half-close.
    Finish(u32),
    /// Cancel.
    Reset(u32),
    /// Data is taken and kept.
    Recv {
        /// Which stream.
        which: u32,
        /// Bytes at most.
        most: u32,
    },
    /// Data is copied out and released at once.
    Copy {
        /// Which stream.
        which: u32,
        /// Bytes at most.
        most: u32,
    },
    /// What was taken is given back.
    Release {
        /// Which stream.
        which: u32,
        /// Bytes at most.
        most: u32,
    },
    /// More is released than was taken: refused, and without effect.
    OverRelease(u32),
    /// Nothing more is wanted.
    Stop(u32),
    /// It ends by itself after so many nanoseconds; 0 takes the deadline back.
    Deadline {
        /// Which stream.
        which: u32,
        /// Nanoseconds from now.
        after: u64,
    },
    /// The application takes up to so many events.
    Poll(u32),
    /// The transport takes at most so many bytes.
    Transmit(u32),
    /// The transport reads at most so many bytes.
    Read(u32),
    /// `handle_timeout`.
    Timeout,
    /// The link takes no more of what this side writes, for now.
    Freeze,
    /// And again.
    Thaw,
    /// What this side reads ends here with a FIN.
    CutFin,
    /// The transport fails.
    Fail,
    /// The session is closed in order.
    Close,
    /// The session is aborted.
    Abort,
    /// Random bytes appear in what this side reads.
    Inject {
        /// Their seed.
        seed: u64,
        /// Their number.
        len: u32,
    },
}
