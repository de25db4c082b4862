//! A listening server.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use duologue_brpc::{Brpc, BrpcConfig, BrpcError, BrpcViolation, Role};
use duologue_core::driver::Timekeeper;
use duologue_core::{Closed, Code, Instant};

use super::exchange::BrpcConnection;
use super::router::Router;
use crate::connect::within;
use crate::hub::lock;
use crate::server::{Bind, Runtime};
use crate::{Connection, Options};

/// The pause after accepting failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the report waits for connections that were reset.
const RESET_WITHIN: Duration = Duration::from_secs(1);

type ConnectionOf<R> = BrpcConnection<<R as Runtime>::Transport, <R as Runtime>::Clock>;

/// Serves a [`Router`]: one task per connection, and one per request. It does nothing until [`serve`](Self::serve) is
/// polled.
pub struct BrpcServer<R: Runtime> {
    listener: R::Listener,
    options: Options,
    config: BrpcConfig,
    limit: usize,
    tell: Arc<Tell>,
    shared: Arc<Shared<R>>,
}

/// Hears how each connection ended.
type Tell = dyn Fn(SocketAddr, &Closed<BrpcViolation>) + Send + Sync;

/// Drains a [`BrpcServer`] from elsewhere, and looks at it.
pub struct BrpcServerHandle<R: Runtime> {
    shared: Arc<Shared<R>>,
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrpcDrainReport {
    /// Connections when the drain began.
    pub open: usize,
    /// Those that did not end in time and were reset.
    pub reset: usize,
}

struct Shared<R: Runtime>(Mutex<State<R>>);

struct State<R: Runtime> {
    connections: BTreeMap<u64, ConnectionOf<R>>,
    next: u64,
    drain: Option<Duration>,
    /// The serving future, while it waits.
    server: Option<Waker>,
}

impl<R: Runtime> BrpcServer<R>
where
    R::Transport: Send + 'static,
    R::Clock: Send + 'static,
{
    /// Listens on `address`. Connections are made with `options`, sessions with `config`.
    ///
    /// # Errors
    /// The address cannot be resolved or bound, or the limits cannot work.
    pub async fn bind<A>(address: A, options: Options, config: BrpcConfig) -> io::Result<Self>
    where
        R: Bind<A>,
    {
        let listener = R::bind(address).await?;
        R::set_backlog(&listener, options.backlog)?;
        Self::from_listener(listener, options, config).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
    }

    /// Serves on a listener made elsewhere.
    ///
    /// # Errors
    /// The limits cannot work.
    pub fn from_listener(listener: R::Listener, options: Options, config: BrpcConfig) -> Result<Self, BrpcError> {
        // What cannot work is told here and not by every connection.
        Brpc::new(Role::Server, config)?;
        let state = State { connections: BTreeMap::new(), next: 0, drain: None, server: None };
        let shared = Arc::new(Shared(Mutex::new(state)));
        Ok(Self { listener, options, config, limit: usize::MAX, tell: Arc::new(|_, _| {}), shared })
    }

    /// Serves at most `limit` connections at a time; further ones are reset.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Calls `tell` when a connection ended, with its peer and why.
    #[must_use]
    pub fn when_closed(mut self, tell: impl Fn(SocketAddr, &Closed<BrpcViolation>) + Send + Sync + 'static) -> Self {
        self.tell = Arc::new(tell);
        self
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        R::local_addr(&self.listener)
    }

    /// The way to drain it while it serves.
    #[must_use]
    pub fn handle(&self) -> BrpcServerHandle<R> {
        BrpcServerHandle { shared: Arc::clone(&self.shared) }
    }

    /// Serves until it is drained. Dropping this future resets every connection.
    pub async fn serve(self, router: Router<R::Transport, R::Clock>) -> BrpcDrainReport {
        let router = Arc::new(router);
        let reset = ResetOnDrop(Arc::clone(&self.shared));
        let wait = loop {
            let accepted = {
                let mut accept = pin!(R::accept(&self.listener));
                poll_fn(|cx| match self.shared.poll_drain(cx.waker()) {
                    Some(wait) => Poll::Ready(Err(wait)),
                    None => accept.as_mut().poll(cx).map(Ok),
                })
                .await
            };
            match accepted {
                Err(wait) => break wait,
                Ok(Ok((stream, peer))) => self.admit(stream, peer, &router),
                Ok(Err(e)) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
                }
                Ok(Err(_)) => {
                    let clock = R::clock();
                    let until = clock.now().after(PAUSE);
                    let drained = poll_fn(|cx| match self.shared.poll_drain(cx.waker()) {
                        Some(wait) => Poll::Ready(wait),
                        None => Poll::Pending,
                    });
                    if let Some(wait) = within(clock, until, drained).await {
                        break wait;
                    }
                }
            }
        };
        let Self { listener, shared, .. } = self;
        // Whoever still connects from now on is refused by the system.
        drop(listener);
        let connections = shared.connections();
        let open = connections.len();
        connections.iter().for_each(BrpcConnection::drain);
        drop(connections);
        let left = shared.ended_by::<R>(R::clock().now().after(wait)).await;
        shared.connections().iter().for_each(|connection| connection.abort(Code(0)));
        shared.ended_by::<R>(R::clock().now().after(RESET_WITHIN)).await;
        drop(reset);
        BrpcDrainReport { open, reset: left }
    }

    fn admit(&self, stream: R::Stream, peer: SocketAddr, router: &Arc<Router<R::Transport, R::Clock>>) {
        if lock(&self.shared.0).connections.len() >= self.limit {
            return R::reset(stream);
        }
        let Ok(brpc) = Brpc::new(Role::Server, self.config) else { return };
        let Ok(connection) = Connection::accept(stream, brpc, &self.options) else { return };
        let (connection, task) = BrpcConnection::new(connection);
        let seat = Seat::<R>::take(&self.shared, connection.clone());
        let router = Arc::clone(router);
        let tell = Arc::clone(&self.tell);
        let driven = R::spawn(async move {
            let closed = task.await;
            tell(peer, &closed);
        });
        let serving = async move {
            while let Some(exchange) = connection.accept().await {
                if R::spawn(router.handle(exchange)).is_err() {
                    break;
                }
            }
            drop(seat);
        };
        // A task that was refused is dropped: its connection ends, and gives its seat back.
        let _ = driven.and_then(|()| R::spawn(serving));
    }
}

/// A connection among those of its server.
struct Seat<R: Runtime> {
    shared: Arc<Shared<R>>,
    id: u64,
}

impl<R: Runtime> Seat<R> {
    fn take(shared: &Arc<Shared<R>>, connection: ConnectionOf<R>) -> Self {
        let mut state = lock(&shared.0);
        let id = state.next;
        state.next += 1;
        state.connections.insert(id, connection);
        Self { shared: Arc::clone(shared), id }
    }
}

impl<R: Runtime> Drop for Seat<R> {
    fn drop(&mut self) {
        let (connection, waker) = {
            let mut state = lock(&self.shared.0);
            (state.connections.remove(&self.id), state.server.take())
        };
        drop(connection);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl<R: Runtime> Shared<R> {
    fn poll_drain(&self, waker: &Waker) -> Option<Duration> {
        let mut state = lock(&self.0);
        if state.drain.is_none() {
            state.server = Some(waker.clone());
        }
        state.drain
    }

    fn connections(&self) -> Vec<ConnectionOf<R>> {
        lock(&self.0).connections.values().cloned().collect()
    }

    /// Waits for the connections to end, and tells how many have not by then.
    async fn ended_by<C: Runtime>(&self, deadline: Instant) -> usize {
        let ended = poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.connections.is_empty() {
                return Poll::Ready(());
            }
            state.server = Some(cx.waker().clone());
            Poll::Pending
        });
        match within(C::clock(), deadline, ended).await {
            Some(()) => 0,
            None => lock(&self.0).connections.len(),
        }
    }
}

/// Resets every connection when the server's future goes away.
struct ResetOnDrop<R: Runtime>(Arc<Shared<R>>);

impl<R: Runtime> Drop for ResetOnDrop<R> {
    fn drop(&mut self) {
        self.0.connections().iter().for_each(|connection| connection.abort(Code(0)));
    }
}

impl<R: Runtime> BrpcServerHandle<R> {
    /// Stops accepting; requests that come from now on are answered by ELOGOFF, those that wait are replied to, streams
    /// go on to their end; connections end as they are done, and those that have not within `wait` are reset.
    /// [`BrpcServer::serve`] then returns. The first call decides.
    pub fn drain(&self, wait: Duration) {
        let waker = {
            let mut state = lock(&self.shared.0);
            state.drain.get_or_insert(wait);
            state.server.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.shared.0).connections.len()
    }
}

impl<R: Runtime> Clone for BrpcServerHandle<R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<R: Runtime> fmt::Debug for BrpcServerHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrpcServerHandle")
            .field("connections", &lock(&self.shared.0).connections.len())
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> fmt::Debug for BrpcServer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrpcServer").field("local_addr", &R::local_addr(&self.listener).ok()).finish_non_exhaustive()
    }
}
