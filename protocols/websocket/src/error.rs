//! How the peer can break the protocol, and what it is told of it.

use alloc::boxed::Box;

use thiserror::Error;

use crate::handshake::HandshakeError;
use crate::wire::CloseCode;

/// What the peer did that ends the session. [`close_code`](Self::close_code) is what it is told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The opening failed. A client was answered with HTTP, a server is told nothing.
    #[error("handshake failed: {0}")]
    Handshake(Box<HandshakeError>),
    /// A client's frame was not masked (RFC 6455 section 5.1).
    #[error("frame from a client is not masked")]
    Unmasked,
    /// A server's frame was masked (RFC 6455 section 5.1).
    #[error("frame from a server is masked")]
    Masked,
    /// Bits that no extension gave a meaning to (RFC 6455 section 5.2).
    #[error("reserved bits {bits:#05b} are set")]
    ReservedBits {
        /// RSV1 is 4, RSV2 is 2, RSV3 is 1.
        bits: u8,
    },
    /// An opcode without a meaning (RFC 6455 section 5.2).
    #[error("reserved opcode {opcode:#x}")]
    ReservedOpcode {
        /// The four bits.
        opcode: u8,
    },
    /// A control frame without FIN (RFC 6455 section 5.5).
    #[error("fragmented control frame")]
    FragmentedControl,
    /// A control frame of more than 125 bytes (RFC 6455 section 5.5).
    #[error("control frame longer than 125 bytes")]
    ControlTooLong,
    /// A length that fits in fewer bytes (RFC 6455 section 5.2).
    #[error("length {len} is not written in the fewest bytes")]
    LengthNotMinimal {
        /// The length.
        len: u64,
    },
    /// A 64-bit length with the highest bit set (RFC 6455 section 5.2).
    #[error("length with the highest bit set")]
    LengthTopBit,
    /// A continuation without a beginning (RFC 6455 section 5.4).
    #[error("continuation frame outside a message")]
    UnexpectedContinuation,
    /// A new message inside another (RFC 6455 section 5.4).
    #[error("new message before the last one ended")]
    MessageInsideMessage,
    /// Longer than [`Limits::max_frame`](crate::Limits::max_frame).
    #[error("frame of {len} bytes, the limit is {limit}")]
    FrameTooLong {
        /// Bytes that were announced.
        len: u64,
        /// The bound.
        limit: u64,
    },
    /// Longer than [`Limits::max_message`](crate::Limits::max_message), inflated where it was compressed.
    #[error("message longer than the limit of {limit} bytes")]
    MessageTooLong {
        /// The bound.
        limit: u64,
    },
    /// More than [`Limits::max_fragments`](crate::Limits::max_fragments).
    #[error("message of more than {limit} fragments")]
    TooManyFragments {
        /// The bound.
        limit: u32,
    },
    /// More than [`Limits::control_frames`](crate::Limits::control_frames) in their time.
    #[error("more than {limit} control frames within {window:?}")]
    ControlFlood {
        /// The bound.
        limit: u32,
        /// The time that it counts for.
        window: core::time::Duration,
    },
    /// Text that is no UTF-8 (RFC 6455 section 8.1).
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A Close body of one byte (RFC 6455 section 5.5.1).
    #[error("close frame with a body of one byte")]
    CloseTooShort,
    /// A close code that may not appear on the wire (RFC 6455 section 7.4).
    #[error("close code {code} may not be sent")]
    CloseCode {
        /// The code.
        code: CloseCode,
    },
    /// A close reason that is no UTF-8 (RFC 6455 section 5.5.1).
    #[error("close reason is not UTF-8")]
    CloseReasonNotUtf8,
    /// Compressed data that cannot be inflated (RFC 7692 section 7.2.2).
    #[error("compressed data is invalid")]
    InvalidDeflate,
}

impl Violation {
    /// The code of the Close frame that tells the peer (RFC 6455 section 7.4.1).
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::CloseReasonNotUtf8 | Self::InvalidDeflate => CloseCode::INVALID_DATA,
            Self::FrameTooLong { .. } | Self::MessageTooLong { .. } => CloseCode::TOO_BIG,
            Self::TooManyFragments { .. } | Self::ControlFlood { .. } => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl From<HandshakeError> for Violation {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(Box::new(error))
    }
}
