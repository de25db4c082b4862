//! How a peer can break HTTP/1.1, and which status answers it.

use http::StatusCode;
use thiserror::Error;

/// What the peer did wrong. A server answers with [`status`](Self::status) where an answer is still possible, and
/// closes; nothing that follows on the connection is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The request line or status line does not follow the grammar (RFC 9112, sections 3 and 4).
    #[error("malformed start line")]
    StartLine,
    /// A line ended with a bare LF, or a CR stood alone (RFC 9112, section 2.2: both have been used to smuggle).
    #[error("a line does not end with CR LF, or holds a bare CR")]
    LineEnd,
    /// A header or trailer field does not follow the grammar: a space before the colon, a folded line, a control byte
    /// (RFC 9112, section 5).
    #[error("malformed header field")]
    Field,
    /// The request target does not follow the grammar or does not fit its method (RFC 9112, section 3.2).
    #[error("malformed request target")]
    Target,
    /// The version is not HTTP/1.0 or HTTP/1.1.
    #[error("HTTP version not supported")]
    Version,
    /// The method is longer than any known one.
    #[error("method name longer than {limit} bytes")]
    MethodTooLong {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The request target is too long.
    #[error("request target longer than {limit} bytes")]
    TargetTooLong {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The head is too long.
    #[error("head longer than {limit} bytes")]
    HeadTooLong {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The head has too many fields.
    #[error("more than {limit} header fields")]
    TooManyFields {
        /// The bound, in fields.
        limit: usize,
    },
    /// An HTTP/1.1 request has no Host, several, or one that is no host (RFC 9112, section 3.2).
    #[error("missing, repeated or malformed Host")]
    Host,
    /// Content-Length is no plain number, too large, or there are several (RFC 9112, section 6.3).
    #[error("malformed or repeated Content-Length")]
    ContentLength,
    /// Content-Length where the message can have no content: 1xx, 204, CONNECT.
    #[error("a message that can have no content announces some")]
    UnexpectedContent,
    /// Both Transfer-Encoding and Content-Length (RFC 9112, section 6.1: ought to be handled as an error).
    #[error("both Transfer-Encoding and Content-Length")]
    TwoLengths,
    /// Transfer-Encoding is malformed, repeats chunked, does not end with it, or comes with HTTP/1.0.
    #[error("malformed Transfer-Encoding")]
    TransferEncoding,
    /// A transfer coding other than chunked.
    #[error("transfer coding not implemented")]
    UnknownCoding,
    /// An expectation other than 100-continue.
    #[error("unknown expectation")]
    Expectation,
    /// The chunk's size line or its end is malformed (RFC 9112, section 7.1).
    #[error("malformed chunk")]
    Chunk,
    /// Chunk extensions are longer than allowed, over the whole body.
    #[error("more than {limit} bytes of chunk extensions")]
    ChunkExtensions {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The trailer section is too long or has too many fields.
    #[error("trailer section longer than {limit} bytes")]
    TrailersTooLong {
        /// The bound, in bytes.
        limit: usize,
    },
    /// A trailer field that decides how the message is framed or routed (RFC 9110, section 6.5.1).
    #[error("a field that may not be in a trailer section")]
    ForbiddenTrailer,
    /// The content is larger than the owner allows.
    #[error("content larger than {limit} bytes")]
    BodyTooLong {
        /// The bound, in bytes.
        limit: u64,
    },
    /// The server speaks and nothing was asked, or not this.
    #[error("a response that no request asked for")]
    Unsolicited,
    /// More interim responses than allowed before the final one.
    #[error("more than {limit} interim responses to one request")]
    TooManyInterim {
        /// The bound.
        limit: u32,
    },
}

impl Violation {
    /// The status that answers it.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::BodyTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::HeadTooLong { .. } | Self::TooManyFields { .. } | Self::TrailersTooLong { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::UnknownCoding | Self::MethodTooLong { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
