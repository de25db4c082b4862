//! What a peer can do wrong.

use duologue_core::streams::StreamViolation;
use thiserror::Error;

use crate::wire::Kind;

/// The peer broke the protocol. It is told by GoAway 1, and the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum YamuxViolation {
    /// Only version 0 exists.
    #[error("yamux version {0}; only 0 exists")]
    Version(u8),
    /// There is no such kind of frame.
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    /// There is no such flag.
    #[error("unknown flags {0:#06x}")]
    Flags(u16),
    /// A frame of the connection names a stream, or a frame of a stream names none.
    #[error("{kind:?} frame with stream id {stream}")]
    StreamId {
        /// The kind of frame.
        kind: Kind,
        /// The id.
        stream: u32,
    },
    /// A stream was opened under an id of the wrong side.
    #[error("the peer opened stream {0}, an id of our side")]
    WrongSide(u32),
    /// A frame names a stream that was never opened.
    #[error("frame for stream {0}, which was never opened")]
    NeverOpened(u32),
    /// A ping asks and answers, or neither.
    #[error("ping with flags {0:#06x}; either SYN or ACK")]
    Ping(u16),
    /// A rule of streams.
    #[error("stream {stream}: {violation}")]
    Stream {
        /// The stream's id.
        stream: u32,
        /// The rule.
        violation: StreamViolation,
    },
}
