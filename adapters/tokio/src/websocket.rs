//! WebSockets on tokio: client and server, alone or behind TLS.
//!
//! ```
//! use duologue_core::{Code, Event as SessionEvent};
//! use duologue_tokio::Options;
//! use duologue_tokio::websocket::{self, Command, Event, ServerHandshake, Settings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let server = tokio::spawn(async move {
//!     let (stream, _) = listener.accept().await?;
//!     let handshake = ServerHandshake::new(Settings::new());
//!     let (mut socket, opened) = websocket::accept(stream, handshake, &Options::new()).await?;
//!     assert_eq!(opened.target, "/chat");
//!     while let Some(event) = socket.next_event().await {
//!         if let SessionEvent::App(Event::Text(text)) = event {
//!             socket.send(Command::Text(text)).await?;
//!         }
//!     }
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! });
//!
//! let (mut socket, _) = websocket::connect(&format!("ws://{address}/chat"), Options::new()).await?;
//! socket.send(Command::text("hello")).await?;
//! let event = socket.next_event().await;
//! assert_eq!(event, Some(SessionEvent::App(Event::Text("hello".into()))));
//! let closed = socket.close(Code(1000)).await;
//! assert!(closed.cause.is_orderly());
//! # let _ = server.await?;
//! # Ok(())
//! # }
//! ```

duologue_async::websocket_openings!(tokio::net::TcpStream);
