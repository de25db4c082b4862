//! HTTP/1.1 on tokio: a pooled client, and server-sent events. A server is a [`crate::Server`] whose protocol is
//! [`Server`].
//!
//! ```
//! use duologue_core::Event;
//! use duologue_tokio::http1::{Body, ClientSettings, HttpClient, Response, Server, ServerCommand, ServerEvent, ServerSettings};
//! use duologue_tokio::{Options, PoolOptions, Served};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = duologue_tokio::Server::bind("127.0.0.1:0", Options::new().config(Server::config())).await?;
//! let address = server.local_addr()?;
//! tokio::spawn(server.serve(
//!     |_peer| Server::new(ServerSettings::new()),
//!     |mut connection: Served<Server>| async move {
//!         while let Some(event) = connection.next_event().await {
//!             if let Event::App(ServerEvent::Request(_)) = event {
//!                 let response = Response { body: Body::Full("hello".into()), ..Response::default() };
//!                 let _ = connection.send(ServerCommand::Respond(response)).await;
//!             }
//!         }
//!     },
//! ));
//!
//! let client = HttpClient::new(ClientSettings::new(), PoolOptions::new())?;
//! for _ in 0..10 {
//!     let mut response = client.get(format!("http://{address}/").parse()?).await?;
//!     assert_eq!(response.head().status, 200);
//!     assert_eq!(response.bytes(1024).await?, "hello");
//! }
//! assert_eq!(client.pool().stats().dialled, 1);
//! # Ok(())
//! # }
//! ```

use crate::{PlainOrTls, Tokio};

#[doc(inline)]
pub use duologue_async::http1::*;

/// Asks HTTP/1.1 servers over connections that are used again.
pub type HttpClient = duologue_async::http1::HttpClient<PlainOrTls<Tokio>>;

/// An answer whose content is taken piece by piece.
pub type HttpResponse = duologue_async::http1::HttpResponse<PlainOrTls<Tokio>>;

/// Server-sent events over any number of connections.
pub type EventSource = duologue_async::http1::EventSource<PlainOrTls<Tokio>>;

/// The pool of an [`HttpClient`], and its connections: plain or TLS, as the target says. To make one of one's own, for
/// [`HttpClient::on`].
pub type HttpPool = duologue_async::PoolClient<Client, PlainOrTls<Tokio>>;
