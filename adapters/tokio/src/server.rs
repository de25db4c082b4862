//! A TCP server: accepting, limiting, draining.
//!
//! ```no_run
//! use duologue_core::framed::{Delimited, Framed};
//! use duologue_core::{Event, OnPeerFinish};
//! use duologue_tokio::{Options, Server};
//!
//! # async fn example() -> std::io::Result<()> {
//! let server = Server::bind("127.0.0.1:7000", Options::new()).await?;
//! let handle = server.handle();
//! let running = tokio::spawn(server.serve(
//!     |_peer| Framed::new(Delimited::lines(1024)),
//!     |mut connection| async move {
//!         while let Some(event) = connection.next_event().await {
//!             if let Event::App(line) = event {
//!                 if connection.send(line).await.is_err() {
//!                     break;
//!                 }
//!             }
//!         }
//!     },
//! ));
//! // Later: no new connections, goodbye to the others, and a report of who did not leave in time.
//! handle.drain(std::time::Duration::from_secs(5));
//! let report = running.await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```

mod seats;
mod served;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use duologue_async::Options;
use duologue_core::{Code, Protocol};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Connection;
use seats::{Drain, Seats, wait_for_drain};

pub use served::Served;

/// The first pause after accepting failed for want of descriptors or memory; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What happens to a connection that comes when the limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AtLimit {
    /// It is reset at once, so that the client knows.
    #[default]
    Refuse,
    /// The connection that was silent longest is closed in its favour, in order; until it has gone there is one
    /// connection too many. When as many as the limit are on their way out, the new one is refused.
    CloseLongestIdle,
}

/// A listening server. It does nothing until [`serve`](Self::serve) is polled.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    options: Options,
    limit: usize,
    at_limit: AtLimit,
    seats: Arc<Seats>,
    drain: watch::Sender<Option<Drain>>,
}

/// Counts of a server since it was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections being served now.
    pub open: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections reset because the limit was reached or their setup failed.
    pub refused: u64,
    /// Connections asked to close in favour of a newer one.
    pub evicted: u64,
    /// Times that accepting failed for want of file descriptors or memory, and was tried again.
    pub accept_failures: u64,
}

/// What a drain left behind.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections open when the drain began.
    pub open: usize,
    /// Of these, how many ended within the time.
    pub ended: usize,
    /// Who was still connected at the deadline, and was reset.
    pub left: Vec<SocketAddr>,
    /// The counts at the end.
    pub stats: ServerStats,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} connections ended in order", self.ended, self.open)?;
        match self.left.as_slice() {
            [] => Ok(()),
            left => write!(f, "; {} were reset at the deadline: {left:?}", left.len()),
        }
    }
}

/// Stops a [`Server`] from elsewhere, and looks at it.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    drain: watch::Sender<Option<Drain>>,
    seats: Arc<Seats>,
}

impl ServerHandle {
    /// Stops accepting, says the protocol's goodbye to every connection, waits at most `within` for them to end, and
    /// resets the rest. [`Server::serve`] then returns its report. The first call decides.
    pub fn drain(&self, within: Duration) {
        self.drain.send_if_modified(|drain| {
            let first = drain.is_none();
            drain.get_or_insert(Drain { deadline: tokio::time::Instant::now() + within, code: Code(0) });
            first
        });
    }

    /// The counts now.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.seats.stats()
    }
}

impl Server {
    /// Listens on `address`. Connections are made with `options`.
    ///
    /// # Errors
    /// The address cannot be resolved or bound.
    pub async fn bind(address: impl ToSocketAddrs, options: Options) -> io::Result<Self> {
        Ok(Self::from_listener(TcpListener::bind(address).await?, options))
    }

    /// Serves on a listener made elsewhere: inherited, or with socket options of its own.
    #[must_use]
    pub fn from_listener(listener: TcpListener, options: Options) -> Self {
        let (drain, _) = watch::channel(None);
        Self {
            listener,
            options,
            limit: usize::MAX,
            at_limit: AtLimit::Refuse,
            seats: Arc::new(Seats::default()),
            drain,
        }
    }

    /// Serves at most `limit` connections at a time.
    #[must_use]
    pub fn limit(mut self, limit: usize, at_limit: AtLimit) -> Self {
        self.limit = limit.max(1);
        self.at_limit = at_limit;
        self
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The way to drain it and to look at it while it serves.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { drain: self.drain.clone(), seats: Arc::clone(&self.seats) }
    }

    /// Accepts until it is drained, and spawns one task per connection that runs `handler`. A handler that returns
    /// before its connection is closed drops it, see [`Connection`]. Dropping this future ends every
    /// connection at once.
    pub async fn serve<P, M, H, F>(self, make_protocol: M, handler: H) -> DrainReport
    where
        P: Protocol,
        M: Fn(SocketAddr) -> P,
        H: Fn(Served<P>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut drain = self.drain.subscribe();
        let mut tasks = JoinSet::new();
        let mut pause = FIRST_PAUSE;
        let end = loop {
            let accepted = tokio::select! {
                end = wait_for_drain(&mut drain) => break end,
                Some(_) = tasks.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    if let Some(served) = self.admit(stream, peer, &make_protocol) {
                        tasks.spawn(handler(served));
                    }
                }
                // The client went away while it waited in the queue: its business.
                Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                Err(_) => {
                    self.seats.accept_failed();
                    tokio::select! {
                        end = wait_for_drain(&mut drain) => break end,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        // Whoever still connects from now on is refused by the system.
        let Self { listener, seats, .. } = self;
        drop(listener);
        finish(end, &seats, tasks).await
    }

    /// Seats a new connection, or refuses it.
    fn admit<P: Protocol>(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        make_protocol: &impl Fn(SocketAddr) -> P,
    ) -> Option<Served<P>> {
        if self.seats.len() >= self.limit && !self.make_room() {
            return self.refuse(&stream);
        }
        match Connection::accept(stream, make_protocol(peer), &self.options) {
            Ok(connection) => {
                let seat = self.seats.take(peer);
                Some(Served::new(connection, seat, self.drain.subscribe()))
            }
            Err(_) => {
                self.seats.refused();
                None
            }
        }
    }

    /// Asks somebody to leave, if that is the policy and not too many are leaving already.
    fn make_room(&self) -> bool {
        let crowded = self.seats.stats().open >= self.limit.saturating_mul(2);
        self.at_limit == AtLimit::CloseLongestIdle && !crowded && self.seats.evict()
    }

    fn refuse<P: Protocol>(&self, stream: &TcpStream) -> Option<Served<P>> {
        crate::ByteStream::reset_on_drop(stream);
        self.seats.refused();
        None
    }
}

/// Waits for the connections to end, and resets who is left at the deadline.
async fn finish(end: Drain, seats: &Seats, mut tasks: JoinSet<()>) -> DrainReport {
    let open = seats.stats().open;
    let ended = tokio::time::timeout_at(end.deadline, async { while tasks.join_next().await.is_some() {} }).await;
    let left = if ended.is_ok() { Vec::new() } else { seats.peers() };
    seats.reset_all();
    // A connection that is dropped with the reset asked for does reset.
    tasks.shutdown().await;
    DrainReport { open, ended: open.saturating_sub(left.len()), left, stats: seats.stats() }
}
