//! The errors that are not the peer's: misuse by the caller, faults of the transport, limits.

use core::fmt;

use thiserror::Error;

/// A command that was not accepted. Every variant gives the command back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError<C> {
    /// The queue has no room now. `Writable` follows once `need` bytes fit.
    #[error("send queue full: {need} bytes needed, {room} free; wait for Writable")]
    Full {
        /// The command, unchanged.
        command: C,
        /// Bytes that it needs.
        need: usize,
        /// Bytes that are free.
        room: usize,
    },
    /// The queue can never hold it.
    #[error(
        "message needs {need} bytes but the send queue holds at most {limit}; raise Limits::send_buffer or split it"
    )]
    TooLarge {
        /// The command, unchanged.
        command: C,
        /// Bytes that it needs.
        need: usize,
        /// The whole queue, in bytes.
        limit: usize,
    },
    /// The session is not established yet. `Writable` follows once it is.
    #[error("session not open yet; wait for Writable")]
    NotOpen {
        /// The command, unchanged.
        command: C,
    },
    /// The owner finished sending.
    #[error("sending was finished; nothing more can be sent")]
    Finished {
        /// The command, unchanged.
        command: C,
    },
    /// The session is closing or closed.
    #[error("session closed; nothing more can be sent")]
    Closed {
        /// The command, unchanged.
        command: C,
    },
    /// The protocol cannot express it.
    #[error("invalid command: {why}")]
    Invalid {
        /// The command, unchanged.
        command: C,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl<C> SendError<C> {
    /// The command that was not accepted.
    #[must_use]
    pub fn into_command(self) -> C {
        match self {
            Self::Full { command, .. }
            | Self::TooLarge { command, .. }
            | Self::NotOpen { command }
            | Self::Finished { command }
            | Self::Closed { command }
            | Self::Invalid { command, .. } => command,
        }
    }

    /// The same error for another command, for wrappers that take the command in another form.
    #[must_use]
    pub fn map<D>(self, f: impl FnOnce(C) -> D) -> SendError<D> {
        match self {
            Self::Full { command, need, room } => SendError::Full { command: f(command), need, room },
            Self::TooLarge { command, need, limit } => SendError::TooLarge { command: f(command), need, limit },
            Self::NotOpen { command } => SendError::NotOpen { command: f(command) },
            Self::Finished { command } => SendError::Finished { command: f(command) },
            Self::Closed { command } => SendError::Closed { command: f(command) },
            Self::Invalid { command, why } => SendError::Invalid { command: f(command), why },
        }
    }

    /// True if the same command may be accepted later in this session: wait for `Writable`.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::NotOpen { .. })
    }
}

/// A bound that was reached and that waiting cannot mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// The protocol needs more bytes before it can go on than may be buffered.
    #[error("receive buffer holds its {limit} bytes and the protocol needs more to go on")]
    RecvBuffer {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The peer makes us answer and does not read the answers.
    #[error("{need} bytes of answers do not fit the control reserve of {reserve}: the peer asks and does not read")]
    ControlReserve {
        /// Bytes of the answer that did not fit.
        need: usize,
        /// The whole reserve, in bytes.
        reserve: usize,
    },
    /// Timers made events that nobody took.
    #[error("{limit} events wait and nobody takes them")]
    Events {
        /// The bound, in events.
        limit: usize,
    },
    /// A bound of the protocol's own.
    #[error("{what}: more than {limit}")]
    Protocol {
        /// What is counted.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
}

/// The driver or the protocol's implementation broke the contract. It is our side's bug, never the peer's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Misuse {
    /// `transmitted(n)` said more than was offered.
    #[error("the driver reported {reported} bytes transmitted but only {offered} were offered")]
    TransmittedTooMuch {
        /// What the driver said.
        reported: usize,
        /// What was queued.
        offered: usize,
    },
    /// `decode` made progress twice without taking a byte: it would never end.
    #[error("the protocol reported progress without consuming a byte")]
    DecodeStuck,
    /// The protocol wrote more bytes than it had reserved.
    #[error("the protocol reserved {reserved} bytes for a message and wrote {written}")]
    ReservationBroken {
        /// Bytes reserved.
        reserved: usize,
        /// Bytes written.
        written: usize,
    },
    /// The driver dropped the session's transport without telling why.
    #[error("the transport was released without being asked to")]
    ReleasedUnasked,
}

/// What the transport did wrong. Built by adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransportFault {
    /// What happened.
    pub kind: FaultKind,
    /// What was being done.
    pub operation: Operation,
    /// The system's error number, if there is one.
    pub os_code: Option<i32>,
}

impl TransportFault {
    /// A fault without a system error number.
    #[must_use]
    pub const fn new(kind: FaultKind, operation: Operation) -> Self {
        Self { kind, operation, os_code: None }
    }
}

impl fmt::Display for TransportFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} while {}", self.kind.as_str(), self.operation.as_str())?;
        match self.os_code {
            Some(code) => write!(f, " (os error {code})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for TransportFault {}

/// The kinds of transport faults that a session tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FaultKind {
    /// The peer reset the connection.
    Reset,
    /// The peer's end is gone and takes no more bytes.
    BrokenPipe,
    /// The transport itself gave up waiting (keepalive, TCP_USER_TIMEOUT).
    TimedOut,
    /// No route, host or network down.
    Unreachable,
    /// Nobody listens there.
    Refused,
    /// The transport's own end mark is missing (TLS without close_notify).
    Truncated,
    /// The name or address to dial leads nowhere.
    Unresolved,
    /// Anything else.
    Other,
}

impl FaultKind {
    /// The kind's stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "connection reset",
            Self::BrokenPipe => "broken pipe",
            Self::TimedOut => "transport timed out",
            Self::Unreachable => "unreachable",
            Self::Refused => "connection refused",
            Self::Truncated => "stream truncated",
            Self::Unresolved => "name or address not resolved",
            Self::Other => "input/output error",
        }
    }
}

/// What a transport was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Resolving or connecting.
    Connect,
    /// Reading. What was buffered before is still decoded.
    Read,
    /// Writing. Reading goes on, bounded by the linger time.
    Write,
    /// Sending FIN. Reading goes on, bounded by the linger time.
    ShutdownWrite,
}

impl Operation {
    /// The operation's name, as in "while reading".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::ShutdownWrite => "finishing the send side",
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn every_refusal_gives_the_command_back_and_tells_whether_to_wait() {
        let all = vec![
            (SendError::Full { command: 'x', need: 5, room: 3 }, true),
            (SendError::NotOpen { command: 'x' }, true),
            (SendError::TooLarge { command: 'x', need: 9, limit: 8 }, false),
            (SendError::Finished { command: 'x' }, false),
            (SendError::Closed { command: 'x' }, false),
            (SendError::Invalid { command: 'x', why: "it is" }, false),
        ];
        for (error, temporary) in all {
            assert_eq!(error.is_temporary(), temporary, "{error}");
            let text = error.to_string();
            let other = error.clone().map(u32::from);
            assert_eq!(other.to_string(), text, "the same error, of another command");
            assert_eq!((error.into_command(), other.into_command()), ('x', 120));
        }
    }

    #[test]
    fn a_fault_tells_what_happened_while_what_was_done_and_the_systems_number() {
        let mut fault = TransportFault::new(FaultKind::Reset, Operation::Write);
        assert_eq!(fault.to_string(), "connection reset while writing");
        fault.os_code = Some(104);
        assert_eq!(fault.to_string(), "connection reset while writing (os error 104)");
    }
}
