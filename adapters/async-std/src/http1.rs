//! HTTP/1.1 on async-std: a pooled client, and server-sent events. A server is a [`crate::Server`] whose protocol is
//! [`Server`].

use crate::{AsyncStd, PlainOrTls};

#[doc(inline)]
pub use duologue_async::http1::*;

/// Asks HTTP/1.1 servers over connections that are used again: `http://`, and made by `with_tls` `https://` too.
pub type HttpClient = duologue_async::http1::HttpClient<PlainOrTls<AsyncStd>>;

/// An answer whose content is taken piece by piece.
pub type HttpResponse = duologue_async::http1::HttpResponse<PlainOrTls<AsyncStd>>;

/// Server-sent events over any number of connections: of `http://`, and made by `with_tls` of `https://` too.
pub type EventSource = duologue_async::http1::EventSource<PlainOrTls<AsyncStd>>;

/// The pool of an [`HttpClient`], and its connections: plain or TLS, as the target says. To make one of one's own, for
/// [`HttpClient::on`].
pub type HttpPool = duologue_async::PoolClient<Client, PlainOrTls<AsyncStd>>;
