//! Connections that are used again, on plain threads. One more thread per pool watches what nobody uses.

use std::fmt;
use std::task::Poll;
use std::time::Duration;

use duologue_async::SendProtocol;
use duologue_core::pool::{ConnId, PoolStats};
use duologue_core::{CloseIntent, Closed, Code, Event, InPlace, Replies, Session};

use crate::connection::methods;
use crate::{PoolError, PoolOptions, PoolSetupError, SendError, StreamTransport, TcpStream, Threads, wait};

/// Gives out connections to any number of targets (`host:port`), and takes them back. Clones share one pool; with the last
/// one it drains.
pub struct PoolClient<P: SendProtocol> {
    inner: duologue_async::PoolClient<P, Threads>,
}

impl<P: SendProtocol> PoolClient<P> {
    /// An empty pool, with its thread. `make_protocol` makes the protocol of each connection.
    ///
    /// # Errors
    /// The configuration cannot work, or there is no thread to be had.
    pub fn new(
        make_protocol: impl Fn(&str) -> P + Send + Sync + 'static,
        options: PoolOptions,
    ) -> Result<Self, PoolSetupError> {
        duologue_async::PoolClient::new(make_protocol, options).map(|inner| Self { inner })
    }

    /// Waits for a connection to `target`: one that is unused, or a new one, or the next that comes free. Callers of one
    /// target are served in the order they came.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn acquire(&self, target: &str) -> Result<Pooled<P>, PoolError> {
        wait(self.inner.acquire(target)).map(|inner| Pooled { inner })
    }

    /// Keeps at least `min_idle` unused connections to `target`, as far as the limits allow.
    pub fn keep_warm(&self, target: &str, min_idle: u32) {
        self.inner.keep_warm(target, min_idle);
    }

    /// Refuses who waits and comes, closes what is unused, and the rest once it is given back.
    pub fn drain(&self) {
        self.inner.drain();
    }

    /// The counts now.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.inner.stats()
    }
}

/// A connection of a [`PoolClient`], for its caller alone until it is given back by [`release`](Self::release).
/// **Dropping** it ends it as a dropped [`Connection`](crate::Connection) ends.
pub struct Pooled<P: SendProtocol> {
    inner: duologue_async::Pooled<P, Threads>,
}

impl<P: SendProtocol> Pooled<P> {
    /// Which of the pool's connections it is.
    #[must_use]
    pub fn conn_id(&self) -> ConnId {
        self.inner.conn_id()
    }

    /// Somebody used it before.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.inner.is_reused()
    }

    /// Gives it back to be used again. If it is not at rest (something queued or unread, a half closed) it is closed
    /// instead.
    pub fn release(self) {
        self.inner.release();
    }

    /// Gives it back to be closed, in order.
    pub fn discard(self) {
        self.inner.discard();
    }

    methods!(TcpStream);
}

impl<P: SendProtocol> Clone for PoolClient<P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<P: SendProtocol> fmt::Debug for PoolClient<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<P: SendProtocol> fmt::Debug for Pooled<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
