//! Why a request has no answer.

use duologue_core::Closed;
use duologue_core::pool::Delivery;
use duologue_http1::Violation;
use thiserror::Error;

use crate::PoolError;

/// A request without an answer, or an answer without its end.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The target is none that this client can ask: it needs a host and the scheme `http`.
    #[error("not a target of this client: {0}")]
    Target(&'static str),
    /// The request cannot be written. Nothing was sent.
    #[error("not a request: {0}")]
    Invalid(&'static str),
    /// There is no connection for it. Nothing was sent.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Its connection ended before the answer. It was sent again as far as the client may; whoever knows that the request
    /// may be carried out twice can send it once more.
    #[error("the connection ended before the answer ({delivery:?}): {closed}")]
    Lost {
        /// Whether the server can know of it.
        delivery: Delivery,
        /// How the connection ended.
        closed: Box<Closed<Violation>>,
    },
    /// The connection ended inside the answer's content.
    #[error("the connection ended inside the answer: {closed}")]
    Cut {
        /// How the connection ended.
        closed: Box<Closed<Violation>>,
    },
    /// The content is longer than the caller takes.
    #[error("the answer's content is longer than {limit} bytes")]
    TooLong {
        /// The bound, in bytes.
        limit: usize,
    },
}

impl HttpError {
    /// Whether the server can know of the request. What it cannot know of may be asked again without harm.
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Lost { delivery, .. } => *delivery,
            Self::Cut { .. } | Self::TooLong { .. } => Delivery::PossiblySent,
            Self::Target(_) | Self::Invalid(_) | Self::Pool(_) => Delivery::NotSent,
        }
    }
}
