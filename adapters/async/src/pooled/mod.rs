//! Connections that are used again: a pool on a runtime.
//!
//! All decisions are [`duologue_core::pool::Pool`]'s; here are its sockets. One task per pool watches what nobody uses, so
//! that a FIN, an unsolicited byte or an error is noticed when it comes; and the kernel is asked once more at the moment a
//! connection is given out, through TLS if that is what the connection is made of.

mod driver;
mod lease;
mod state;
mod woken;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use duologue_core::driver::Timekeeper;
use duologue_core::pool::{LeaseId, PoolConfig, PoolConfigError, PoolStats, PortBudget, Refusal};
use thiserror::Error;

use crate::redial::{Dialling, PoolCarrier, Redial, SendProtocol};
use crate::tls::TlsError;
use crate::{ConnectError, Options};
use driver::Driver;
use state::{Answer, Shared};

pub use lease::Pooled;

/// What a pool is made with, apart from its protocol.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// What each connection is made with. Its `connect_within` is replaced by the pool's.
    pub connection: Options,
    /// Limits and times. Its `users_per_connection` counts as 1: a connection is its caller's alone. Every connection is
    /// looked at, the kernel included, at the moment when it is given out; `probe_after` looks once more and asks the peer
    /// nothing, for no question fits every protocol.
    pub pool: PoolConfig,
    /// How long a caller waits for a connection. Default 30 s.
    pub acquire_within: Duration,
}

impl Default for PoolOptions {
    /// The port budget is what the system's range of local ports allows, where it can be read.
    fn default() -> Self {
        let mut pool = PoolConfig::new();
        if let Some(ports) = ephemeral_ports() {
            pool.ports.limit = ports;
        }
        Self { connection: Options::default(), pool, acquire_within: Duration::from_secs(30) }
    }
}

impl PoolOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what each connection is made with.
    #[must_use]
    pub fn connection(mut self, options: Options) -> Self {
        self.connection = options;
        self
    }

    /// Sets limits and times, the port budget included. A limit of ports that is the default's, 28 000, says nothing: the one
    /// that was here stays, the system's as a rule.
    #[must_use]
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        let here = std::mem::replace(&mut self.pool, pool).ports.limit;
        if pool.ports.limit == PortBudget::default().limit {
            self.pool.ports.limit = here;
        }
        self
    }

    /// Sets how long a caller waits.
    #[must_use]
    pub fn acquire_within(mut self, wait: Duration) -> Self {
        self.acquire_within = wait;
        self
    }
}

/// How many local ports the system gives to outgoing connections to one target
/// (`net.ipv4.ip_local_port_range` on Linux). `None` where it does not tell.
#[must_use]
pub fn ephemeral_ports() -> Option<u32> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse::<u32>);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) => last.checked_sub(first).map(|more| more + 1),
        _ => None,
    }
}

/// Why a caller got no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The dial made for it failed.
    #[error("{why}")]
    Dial {
        /// What happened, for people.
        why: String,
    },
    /// The dial made for it failed because TLS was not opened, or not as it was wanted.
    #[error("could not connect: {0}")]
    Tls(#[from] TlsError),
    /// The pool refused.
    #[error(transparent)]
    Refused(#[from] Refusal<Arc<str>>),
}

impl PoolError {
    fn dial(why: impl fmt::Display) -> Self {
        Self::Dial { why: why.to_string() }
    }

    fn from_dial<V: std::error::Error + 'static>(error: ConnectError<V>) -> Self {
        match error {
            ConnectError::Tls(why) => Self::Tls(why),
            error => Self::dial(error),
        }
    }
}

/// Gives out connections to any number of targets (`host:port`), and takes them back. Clones share one pool; with the last
/// one it drains.
pub struct PoolClient<P: SendProtocol, C: PoolCarrier> {
    owner: Arc<Owner<P, C>>,
    acquire_within: Duration,
}

struct Owner<P: SendProtocol, C: PoolCarrier> {
    shared: Arc<Shared<P, C>>,
}

impl<P: SendProtocol, C: PoolCarrier> Drop for Owner<P, C> {
    fn drop(&mut self) {
        self.shared.change(|inner, now| inner.pool.drain(now));
    }
}

impl<P: SendProtocol, R: Redial> PoolClient<P, R> {
    /// An empty pool. Its task is spawned on the runtime. `make_protocol` makes the protocol of each connection.
    ///
    /// # Errors
    /// The configuration cannot work, or there is no runtime to spawn on.
    pub fn new(
        make_protocol: impl Fn(&str) -> P + Send + Sync + 'static,
        options: PoolOptions,
    ) -> Result<Self, PoolSetupError> {
        Self::dialled_by(make_protocol, R::connect, options)
    }
}

impl<P: SendProtocol, C: PoolCarrier> PoolClient<P, C> {
    /// As [`new`](Self::new), where `dial` connects to a target with the protocol and the options of one connection: through
    /// TLS, a proxy. What is in a target is then between `dial` and who [`acquire`](Self::acquire)s: connections are used
    /// again for equal targets. Connecting has [`Options::connect_within`]; a dial that takes longer is dropped.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn dialled_by(
        make_protocol: impl Fn(&str) -> P + Send + Sync + 'static,
        dial: impl Fn(Arc<str>, P, Options) -> Dialling<P, C> + Send + Sync + 'static,
        options: PoolOptions,
    ) -> Result<Self, PoolSetupError> {
        let shared = Arc::new(Shared::new(options.pool, options.connection.session_seed())?);
        let dial = move |target: Arc<str>, options| {
            let protocol = make_protocol(&target);
            dial(target, protocol, options)
        };
        let driver = Driver::new(Arc::clone(&shared), Box::new(dial), options.connection);
        C::spawn(driver.run()).map_err(PoolSetupError::Spawn)?;
        Ok(Self { owner: Arc::new(Owner { shared }), acquire_within: options.acquire_within })
    }

    /// A connection to `target`: one that is unused, or a new one, or the next that comes free. Callers of one target are
    /// served in the order they came. Cancel-safe: a connection given to a future that was dropped goes back.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn acquire(&self, target: &str) -> Result<Pooled<P, C>, PoolError> {
        let shared = &self.owner.shared;
        let mut clock = C::clock();
        let deadline = clock.now().after(self.acquire_within);
        let lease = shared.change(|inner, now| {
            let lease = inner.pool.acquire(now, target.into(), deadline)?;
            inner.answers.insert(lease, Answer::Waits(Waker::noop().clone()));
            Ok::<_, Refusal<Arc<str>>>(lease)
        })?;
        let mut place = Place { shared, lease: Some(lease) };
        poll_fn(|cx| {
            if clock.poll_until(cx, deadline).is_ready() {
                // Its answer is there then, even if the pool's task should be gone.
                shared.change(|_, _| ());
            }
            let mut inner = shared.lock();
            match inner.answers.remove(&lease) {
                Some(Answer::Granted { conn, connection, reused }) => {
                    place.lease = None;
                    Poll::Ready(Ok(Pooled::new(Arc::clone(shared), lease, conn, *connection, reused)))
                }
                Some(Answer::Refused(why)) => {
                    place.lease = None;
                    Poll::Ready(Err(why))
                }
                Some(Answer::Waits(_)) | None => {
                    inner.answers.insert(lease, Answer::Waits(cx.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Keeps at least `min_idle` unused connections to `target`, as far as the limits allow.
    pub fn keep_warm(&self, target: &str, min_idle: u32) {
        self.owner.shared.change(|inner, now| inner.pool.keep_warm(now, target.into(), min_idle));
    }

    /// Refuses who waits and comes, closes what is unused, and the rest once it is given back.
    pub fn drain(&self) {
        self.owner.shared.change(|inner, now| inner.pool.drain(now));
    }

    /// The counts now.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.owner.shared.lock().pool.stats()
    }
}

/// A pool that could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PoolSetupError {
    /// Its configuration cannot work.
    #[error(transparent)]
    Config(#[from] PoolConfigError),
    /// Its task could not be spawned.
    #[error("could not spawn the pool's task: {0}")]
    Spawn(#[source] std::io::Error),
}

/// A caller's place in the queue, given up when it is dropped.
struct Place<'a, P: SendProtocol, C: PoolCarrier> {
    shared: &'a Arc<Shared<P, C>>,
    lease: Option<LeaseId>,
}

impl<P: SendProtocol, C: PoolCarrier> Drop for Place<'_, P, C> {
    fn drop(&mut self) {
        let Some(lease) = self.lease else { return };
        self.shared.change(|inner, now| {
            if let Some(Answer::Granted { conn, connection, .. }) = inner.answers.remove(&lease) {
                inner.hold(conn, *connection);
            }
            inner.pool.cancel(now, lease);
        });
    }
}

impl<P: SendProtocol, C: PoolCarrier> Clone for PoolClient<P, C> {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner), acquire_within: self.acquire_within }
    }
}

impl<P: SendProtocol, C: PoolCarrier> fmt::Debug for PoolClient<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolClient").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<P: SendProtocol, C: PoolCarrier> Shared<P, C> {
    fn now() -> duologue_core::Instant {
        C::clock().now()
    }
}

#[cfg(test)]
mod tests {
    use duologue_core::pool::AtPortLimit;

    use super::*;

    #[test]
    fn the_systems_ports_stay_unless_others_are_said() {
        let system = PoolOptions { pool: PoolConfig::new().ports(ports(1_000)), ..PoolOptions::new() };
        let set = |config| system.clone().pool(config).pool;
        assert_eq!(set(PoolConfig::new().per_target(4)), PoolConfig::new().per_target(4).ports(ports(1_000)));
        assert_eq!(set(PoolConfig::new().ports(ports(50))).ports, ports(50));
        let refuses = PortBudget { at_limit: AtPortLimit::Refuse, ..PortBudget::default() };
        assert_eq!(set(PoolConfig::new().ports(refuses)).ports, PortBudget { limit: 1_000, ..refuses });
    }

    fn ports(limit: u32) -> PortBudget {
        PortBudget { limit, ..PortBudget::default() }
    }
}
