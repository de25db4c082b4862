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
//!
//! A client that asks `https://` as well is made with a connector (feature `rustls`): whom to trust is its caller's. Here the
//! server is somebody else's, and what is asked comes over TLS or not at all:
//!
//! ```no_run
//! # #[cfg(feature = "rustls")]
//! # async fn ask(roots: tokio_rustls::rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use duologue_tokio::http1::{ClientSettings, HttpClient, HttpError};
//! use duologue_tokio::{PoolError, PoolOptions, TlsConnector, TlsError};
//! use tokio_rustls::rustls::ClientConfig;
//!
//! let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
//! let connector = TlsConnector::from(Arc::new(config));
//! let client = HttpClient::with_tls(ClientSettings::new(), connector, PoolOptions::new())?;
//! match client.get("https://example.com/".parse()?).await {
//!     Ok(mut response) => println!("{}", response.bytes(1 << 20).await?.len()),
//!     Err(HttpError::Pool(PoolError::Tls(TlsError::Certificate { why, .. }))) => println!("not to be trusted: {why}"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```

use crate::{PlainOrTls, Tokio};

#[doc(inline)]
pub use duologue_async::http1::*;

/// Asks HTTP/1.1 servers over connections that are used again: `http://`, and made by `with_tls` `https://` too.
pub type HttpClient = duologue_async::http1::HttpClient<PlainOrTls<Tokio>>;

/// An answer whose content is taken piece by piece.
pub type HttpResponse = duologue_async::http1::HttpResponse<PlainOrTls<Tokio>>;

/// Server-sent events over any number of connections: of `http://`, and made by `with_tls` of `https://` too.
pub type EventSource = duologue_async::http1::EventSource<PlainOrTls<Tokio>>;

/// The pool of an [`HttpClient`], and its connections: plain or TLS, as the target says. To make one of one's own, for
/// [`HttpClient::on`].
pub type HttpPool = duologue_async::PoolClient<Client, PlainOrTls<Tokio>>;
