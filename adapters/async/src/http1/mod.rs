//! HTTP/1.1 for applications: requests over pooled connections, and everything of [`duologue_http1`].
//!
//! Adapters name the runtime away; see `duologue_tokio::http1` for a worked example.

mod carrier;
mod client;
mod content;
mod error;
mod events;
mod exchange;
mod sending;

#[doc(inline)]
pub use duologue_http1::*;

pub use carrier::HttpCarrier;
pub use client::HttpClient;
pub use content::{Content, ContentGone, ContentSender, content};
pub use error::HttpError;
pub use events::{EventSource, EventSourceError, EventSourceSetupError};
pub use exchange::HttpResponse;
