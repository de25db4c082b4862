//! What a peer can do wrong.

use duologue_core::streams::StreamViolation;
use thiserror::Error;

/// The peer broke the protocol, and the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum BrpcViolation {
    /// Neither PRPC nor STRM.
    #[error("a frame begins with {0:02x?}")]
    Magic([u8; 4]),
    /// The meta is longer than all.
    #[error("a meta of {meta} bytes in a body of {body}")]
    MetaBeyondBody {
        /// Bytes of the meta.
        meta: u32,
        /// Bytes of the whole.
        body: u32,
    },
    /// A frame is longer than we take.
    #[error("a frame of {body} bytes; the limit is {limit}")]
    TooLarge {
        /// Bytes of it.
        body: u32,
        /// The bound.
        limit: u32,
    },
    /// A meta is longer than we take.
    #[error("a meta of {meta} bytes; the limit is {limit}")]
    MetaTooLarge {
        /// Bytes of it.
        meta: u32,
        /// The bound.
        limit: u32,
    },
    /// A meta is no such protobuf message.
    #[error("a meta does not parse")]
    Meta,
    /// A required field is missing.
    #[error("a meta lacks `{0}`")]
    Missing(&'static str),
    /// There is no such frame.
    #[error("frame type {0} on stream {1}")]
    FrameType(i32, i64),
    /// The attachment is longer than the payload.
    #[error("an attachment of {attachment} bytes in a payload of {payload}")]
    Attachment {
        /// What the meta says.
        attachment: i32,
        /// What there is.
        payload: usize,
    },
    /// A client sent a response, or a server a request.
    #[error("a request or a response came from the wrong side")]
    WrongSide,
    /// The response of a call that opened a stream is not exactly what its frame holds.
    #[error("the frame that accepts a stream holds no whole response")]
    NotAResponse,
    /// More streams were accepted than opened.
    #[error("{accepted} streams accepted where {opened} were opened")]
    TooManyAccepted {
        /// By the peer.
        accepted: usize,
        /// By us.
        opened: usize,
    },
    /// A rule of streams.
    #[error("stream {stream}: {violation}")]
    Stream {
        /// Our id of the stream.
        stream: i64,
        /// The rule.
        violation: StreamViolation,
    },
}
