//! HTTP/1.1 on async-std: a pooled client, and server-sent events. A server is a [`crate::Server`] whose protocol is
//! [`Server`].

use crate::AsyncStd;

#[doc(inline)]
pub use duologue_async::http1::*;

/// Asks HTTP/1.1 servers over connections that are used again.
pub type HttpClient = duologue_async::http1::HttpClient<AsyncStd>;

/// An answer whose content is taken piece by piece.
pub type HttpResponse = duologue_async::http1::HttpResponse<AsyncStd>;

/// Server-sent events over any number of connections.
pub type EventSource = duologue_async::http1::EventSource<AsyncStd>;
