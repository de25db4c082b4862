//! How a peer can break a framing.

use thiserror::Error;

/// A frame longer than the limit. Found as soon as it is certain, wherever the stream was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error(
    "frame too long: at least {buffered} bytes where at most {limit} are allowed; raise max_frame or split the frame"
)]
pub struct FrameTooLong {
    /// The most bytes that a frame may have.
    pub limit: usize,
    /// The bytes of the frame that made it certain: the announced length, or what came without an end mark.
    pub buffered: u64,
}

/// How a peer can break one of the framings of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is longer than the limit.
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
    /// The length field means less than nothing, or less than the header it counts.
    #[error(
        "length field {length} with adjustment {adjustment} is impossible: the frame would end inside its own header"
    )]
    BadLength {
        /// What the field said.
        length: u64,
        /// What the framing adds to it.
        adjustment: i64,
    },
    /// A varint goes on after it holds 64 bits.
    #[error("varint length does not end within 10 bytes, or overflows 64 bits")]
    BadVarint,
    /// No header starts with this byte.
    #[error("no frame starts with byte {first:#04x}")]
    UnknownHeader {
        /// The first byte of the frame.
        first: u8,
    },
    /// A header that the framing's length function rejects.
    #[error("header rejected: {why}")]
    BadHeader {
        /// What the function said.
        why: &'static str,
    },
    /// Bytes between frames.
    #[error("frame must start with byte {expected:#04x}, found {found:#04x}")]
    MissingBegin {
        /// The begin mark's byte that was due.
        expected: u8,
        /// What came.
        found: u8,
    },
    /// A begin mark inside a frame.
    #[error("begin mark {found:#04x} inside a frame: the frame before it did not end")]
    StrayBegin {
        /// The mark.
        found: u8,
    },
    /// An escape that means nothing.
    #[error("invalid escape: {found:#04x} after the escape byte")]
    BadEscape {
        /// The byte after the escape.
        found: u8,
    },
}
