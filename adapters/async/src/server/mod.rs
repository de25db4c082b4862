//! A server for any runtime: accepting, limiting, draining.
//!
//! The runtime's part is the small trait [`Runtime`]; adapters name it away with type aliases.

mod leaving;
mod report;
mod runtime;
mod seats;
mod served;
mod standby;
mod task;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use duologue_core::driver::Timekeeper;
use duologue_core::{Code, Protocol};

use crate::connect::within;
use crate::{Connection, Options};
use leaving::Leaving;
use seats::{Drain, Handling, Seats};
use standby::Standby;
use task::Task;

pub use report::{AtLimit, DrainReport, Ends, ServerStats};
pub use runtime::{Bind, Runtime};
pub use served::Served;

/// The first pause after accepting failed for want of descriptors or memory; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Connections in a row that had their options from the listener, until that is relied on: those that waited to be accepted
/// before it was prepared come first, and have none.
const PROOFS: usize = 16;
/// How long the report waits for handlers that were told to stop: one that blocks its thread is left behind.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// A listening server. It does nothing until [`serve`](Self::serve) is polled.
pub struct Server<R: Runtime> {
    listener: R::Listener,
    options: Options,
    limit: usize,
    at_limit: AtLimit,
    seats: Arc<Seats>,
}

/// Stops a [`Server`] from elsewhere, and looks at it.
#[derive(Clone)]
pub struct ServerHandle {
    seats: Arc<Seats>,
}

impl ServerHandle {
    /// Stops accepting, has every connection say in its protocol that it ends (what is under way is ended first where
    /// the protocol can tell: [`Protocol::drain`]), waits at most `within` for them to end, also for those that a handler
    /// handed to another task, and resets the rest. [`Server::serve`] then returns its report. The first call decides.
    pub fn drain(&self, within: Duration) {
        self.drain_with(Code(0), within);
    }

    /// As [`drain`](Self::drain), where the protocol's goodbye has a code that says why: 1001 (Going Away) of WebSocket, by
    /// which clients know that it is not about them.
    pub fn drain_with(&self, code: Code, within: Duration) {
        self.seats.drain(code, within);
    }

    /// The counts now.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.seats.stats()
    }
}

impl<R: Runtime> Server<R> {
    /// Listens on `address`. Connections are made with `options`.
    ///
    /// # Errors
    /// The address cannot be resolved or bound.
    pub async fn bind<A>(address: A, options: Options) -> io::Result<Self>
    where
        R: Bind<A>,
    {
        let listener = R::bind(address).await?;
        R::set_backlog(&listener, options.backlog)?;
        Ok(Self::from_listener(listener, options))
    }

    /// Serves on a listener made elsewhere: inherited, or with socket options of its own. Where accepted sockets take options
    /// over from it, those of `options` are set on it.
    #[must_use]
    pub fn from_listener(listener: R::Listener, options: Options) -> Self {
        let seats = Arc::new(Seats::new(|| R::clock().now()));
        Self { listener, options, limit: usize::MAX, at_limit: AtLimit::Refuse, seats }
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
        R::local_addr(&self.listener)
    }

    /// The way to drain it and to look at it while it serves.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { seats: Arc::clone(&self.seats) }
    }

    /// Accepts until it is drained, and spawns one task per connection that runs `handler`. A handler that returns
    /// before its connection is closed drops it, see [`Connection`]. A panic in a handler ends its connection only, also
    /// where it comes before the handler first waits, and so does one in `make_protocol`; they are counted in
    /// [`ServerStats::panicked`].
    /// Dropping this future ends every connection at once.
    pub async fn serve<P, M, H, F>(mut self, make_protocol: M, handler: H) -> DrainReport
    where
        P: Protocol,
        M: Fn(SocketAddr) -> P,
        H: Fn(Served<P, R>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = StopOnDrop(Arc::clone(&self.seats));
        let mut prepared = R::prepare(&self.listener, &self.options).then_some(0);
        let mut pause = FIRST_PAUSE;
        let mut leaving = Leaving::new();
        let standby = Standby::default();
        let end = loop {
            let accepted = {
                let mut accept = pin!(R::accept(&self.listener));
                let or_drain = |cx: &mut std::task::Context<'_>| {
                    leaving.poll(cx);
                    if !self.seats.is_draining() {
                        if let Poll::Ready(accepted) = accept.as_mut().poll(cx) {
                            return Poll::Ready(Ok(accepted));
                        }
                    }
                    // Only who waits needs to be woken for it.
                    self.seats.poll_drain(cx).map(Err)
                };
                poll_fn(or_drain).await
            };
            match accepted {
                Err(drain) => break drain,
                Ok(Ok((stream, peer))) => {
                    pause = FIRST_PAUSE;
                    standby.accepted::<R>();
                    if let Some(proved) = &mut prepared {
                        *proved = if R::is_prepared(&stream, &self.options) { *proved + 1 } else { 0 };
                        if *proved == PROOFS {
                            self.options.inherited = true;
                            prepared = None;
                        }
                    }
                    if let Some((served, handling)) = self.admit(stream, peer, &make_protocol, &mut leaving) {
                        self.spawn(served, handling, &handler);
                    }
                }
                // The client went away while it waited in the queue: its business.
                Ok(Err(e)) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
                }
                Ok(Err(_)) => {
                    self.seats.accept_failed();
                    let clock = R::clock();
                    let until = clock.now().after(pause);
                    // Who leaves holds a descriptor, which may be the very thing that is missing.
                    let or_drain = |cx: &mut std::task::Context<'_>| {
                        leaving.poll(cx);
                        self.seats.poll_drain(cx)
                    };
                    if let Some(drain) = within(clock, until, poll_fn(or_drain)).await {
                        break drain;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        // Whoever still connects from now on is refused by the system.
        let Self { listener, seats, .. } = self;
        drop(listener);
        drop(leaving);
        let report = finish::<R>(end, &seats).await;
        drop(stop);
        report
    }

    fn spawn<P, H, F>(&self, served: Served<P, R>, handling: Handling, handler: &H)
    where
        P: Protocol,
        H: Fn(Served<P, R>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        // What a handler does before its first wait happens here, and its panic must not end the server.
        let Ok(handler) = catch_unwind(AssertUnwindSafe(|| handler(served))) else { return self.seats.panicked() };
        if R::spawn(Task::new(handling, handler)).is_err() {
            self.seats.refused();
        }
    }

    /// Seats a new connection, or refuses it.
    fn admit<P: Protocol>(
        &self,
        stream: R::Stream,
        peer: SocketAddr,
        make_protocol: &impl Fn(SocketAddr) -> P,
        leaving: &mut Leaving<P, R>,
    ) -> Option<(Served<P, R>, Handling)> {
        if self.limit < usize::MAX && self.seats.len() >= self.limit && !self.make_room() {
            // Counted first: whoever sees the reset finds it in the statistics.
            self.seats.refused();
            self.turn_away(stream, peer, make_protocol, leaving);
            return None;
        }
        let Ok(protocol) = catch_unwind(AssertUnwindSafe(|| make_protocol(peer))) else {
            self.seats.refused();
            self.seats.panicked();
            R::reset(stream);
            return None;
        };
        match Connection::accept(stream, protocol, &self.options) {
            Ok(connection) => {
                let (seat, handling) = self.seats.take(peer, connection.session().last_activity());
                Some((Served::new(connection, seat), handling))
            }
            Err(_) => {
                self.seats.refused();
                None
            }
        }
    }

    /// Refuses a connection, by a reset or in the protocol's words.
    fn turn_away<P: Protocol>(
        &self,
        stream: R::Stream,
        peer: SocketAddr,
        make_protocol: &impl Fn(SocketAddr) -> P,
        leaving: &mut Leaving<P, R>,
    ) {
        match self.at_limit {
            AtLimit::SayGoodbye { code, within } if leaving.len() < self.limit => {
                let Ok(protocol) = catch_unwind(AssertUnwindSafe(|| make_protocol(peer))) else {
                    self.seats.panicked();
                    return R::reset(stream);
                };
                if let Ok(connection) = Connection::accept(stream, protocol, &self.options) {
                    leaving.add(connection, code, R::clock().now().after(within));
                }
            }
            _ => R::reset(stream),
        }
    }

    /// Asks somebody to leave, if that is the policy and not too many are leaving already.
    fn make_room(&self) -> bool {
        let crowded = self.seats.stats().open >= self.limit.saturating_mul(2);
        self.at_limit == AtLimit::CloseLongestIdle && !crowded && self.seats.evict()
    }
}

/// Waits for the connections to end, and resets who is left at the deadline.
async fn finish<R: Runtime>(end: Drain, seats: &Seats) -> DrainReport {
    let open = seats.to_drain();
    let ended = within(R::clock(), end.deadline, poll_fn(|cx| seats.poll_idle(cx))).await;
    let left = if ended.is_some() { Vec::new() } else { seats.peers() };
    seats.stop_all(true);
    let clock = R::clock();
    let until = clock.now().after(STOP_WITHIN);
    within(clock, until, poll_fn(|cx| seats.poll_idle(cx))).await;
    DrainReport { open, ended: open.saturating_sub(left.len()), left, stats: seats.stats() }
}

/// Ends every connection when the server's future goes away.
struct StopOnDrop(Arc<Seats>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop_all(false);
    }
}

impl<R: Runtime> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr().ok())
            .field("limit", &self.limit)
            .field("at_limit", &self.at_limit)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
