//! Why a request has no answer.

use std::sync::Arc;

use duologue_core::Closed;
use duologue_core::pool::Delivery;
use duologue_http1::Violation;
use thiserror::Error;

use crate::PoolError;

/// A request without an answer, or an answer without its end.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The target is none that this client can ask: it needs a host, and the scheme `http`, or
    /// `https` where it was made with a TLS connector.
    #[error("not a target of this client: {0}")]
    Target(&'static str),
    /// The request cannot be written. Nothing was sent.
    #[error("not a request: {0}")]
    Invalid(&'static str),
    /// There is no connection for it. Nothing was sent. Where TLS was refused it is [`PoolError::Tls`].
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
    /// As [`Lost`](Self::Lost), where the client would have sent the request again: but its content was made meanwhile, and
    /// a part of it is gone. Whoever can make it once more can ask once more.
    #[error("the connection ended before the answer ({delivery:?}), and the content cannot be had again: {closed}")]
    ContentGone {
        /// Whether the server can know of it.
        delivery: Delivery,
        /// How the connection ended.
        closed: Box<Closed<Violation>>,
    },
    /// The source of the request's content failed, or gave more or less than was announced. The connection has ended, so
    /// that the server does not take what it has for the whole.
    #[error("the request's content cannot be sent: {source}")]
    Content {
        /// Why.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The connection ended inside the answer's content.
    #[error("the connection ended inside the answer: {closed}")]
    Cut {
        /// How the connection ended.
        closed: Box<Closed<Violation>>,
    },
    /// The content is longer than the caller takes.
    #[error("the answer's content is longer than {limit} bytes; take it piece by piece, or allow more")]
    TooLong {
        /// The bound, in bytes.
        limit: usize,
    },
}

impl HttpError {
    /// The content is not what was announced.
    pub(super) fn content(why: &'static str) -> Self {
        let why: Box<dyn std::error::Error + Send + Sync> = why.into();
        Self::Content { source: Arc::from(why) }
    }

    /// Whether the server can know of the request. What it cannot know of may be asked again without harm; whether it helps is
    /// another matter: a [`Target`](Self::Target) or an invalid request stays what it is.
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Lost { delivery, .. } | Self::ContentGone { delivery, .. } => *delivery,
            Self::Cut { .. } | Self::TooLong { .. } | Self::Content { .. } => Delivery::PossiblySent,
            Self::Target(_) | Self::Invalid(_) | Self::Pool(_) => Delivery::NotSent,
        }
    }
}
