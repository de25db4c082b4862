//! Why a call has no good answer.

use duologue_brpc::{CallError, ErrorCode, Status, prost};
use duologue_core::streams::OpenError;
use thiserror::Error;

/// A call without a good answer.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum RpcError {
    /// The server answered by an error.
    #[error(transparent)]
    Status(#[from] Status),
    /// Its deadline passed. If it had been sent, whether the server did it is not known. A server that keeps the same
    /// deadline may say so first: [`is_timeout`](Self::is_timeout) knows both.
    #[error("no answer before the deadline")]
    Timeout,
    /// The connection ended first. Whether the server did it is not known.
    #[error("the connection ended before the answer")]
    Lost,
    /// Nothing was sent: the connection ends, or has ended.
    #[error("the connection takes no call any more")]
    Ended,
    /// Nothing was sent: it can never fit into the send queue.
    #[error(
        "a call of {need} bytes; the send queue takes {limit}: raise Limits::send_buffer, or send it over a stream"
    )]
    TooLarge {
        /// What it takes, in bytes.
        need: usize,
        /// [`Limits::send_buffer`](duologue_core::Limits::send_buffer).
        limit: usize,
    },
    /// Nothing was sent: the call cannot be made like this.
    #[error("not a call: {0}")]
    Invalid(&'static str),
    /// Nothing was sent: its streams could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The answer came, and its body cannot be restored.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    /// The answer came, and its body is no such message.
    #[error(transparent)]
    Decode(#[from] prost::DecodeError),
}

impl RpcError {
    /// The deadline passed, by our clock ([`Timeout`](Self::Timeout)) or by the server's, whose handler it ended
    /// ([`ErrorCode::TimedOut`]): both run, and either may be first.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Status(status) => status.code == ErrorCode::TimedOut,
            _ => false,
        }
    }

    /// The server cannot have begun the work: calling again does no harm.
    #[must_use]
    pub const fn was_not_sent(&self) -> bool {
        matches!(self, Self::Ended | Self::TooLarge { .. } | Self::Invalid(_) | Self::Open(_))
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Timeout => Self::Timeout,
            CallError::Unreadable(why) => Self::Unreadable(why),
            _ => Self::Lost,
        }
    }
}
