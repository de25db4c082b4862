//! Connections that are reused, bounded and retired: a pure pool for any number of targets.
//!
//! A [`Pool`] owns no socket and reads no clock. Callers [`acquire`](Pool::acquire) and [`release`](Pool::release); whoever
//! owns the sockets carries out [`Order`]s and reports facts ([`connected`](Pool::connected), [`lost`](Pool::lost),
//! [`closed`](Pool::closed), ...).
//!
//! Nothing is decided before an order is taken: [`poll_order`](Pool::poll_order) looks at the state as it is then. So a
//! connection whose FIN was reported is never given out, whatever was planned before, and an order that nobody took is
//! not lost. Call it until it returns `None` after each call, and [`handle_timeout`](Pool::handle_timeout) at the
//! [`deadline`](Pool::deadline).
//!
//! ```
//! use core::time::Duration;
//! use duologue_core::Instant;
//! use duologue_core::pool::{Order, Pool, PoolConfig};
//!
//! let now = Instant::ORIGIN;
//! let mut pool = Pool::new(PoolConfig::new(), 1)?;
//! let caller = pool.acquire(now, "db:5432", now.after(Duration::from_secs(5)))?;
//! let Some(Order::Dial { conn, .. }) = pool.poll_order(now) else { panic!("nothing to reuse yet") };
//! pool.connected(now, conn);
//! assert_eq!(pool.poll_order(now), Some(Order::Grant { lease: caller, conn, reused: false }));
//! pool.release(now, caller, true);
//! // The next caller gets the same connection.
//! let next = pool.acquire(now, "db:5432", now.after(Duration::from_secs(5)))?;
//! assert_eq!(pool.poll_order(now), Some(Order::Grant { lease: next, conn, reused: true }));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod config;
mod decide;
mod facts;
mod order;
mod slots;
mod stack;
mod stats;
mod target;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::rng::Rng;
use crate::time::{Deadline, Instant, TimeoutReason};

pub use config::{AtPortLimit, PoolConfig, PoolConfigError, PortBudget, TIME_WAIT};
pub use order::{CloseReason, ConnId, Delivery, LeaseId, Loss, Order, Refusal};
pub use stats::PoolStats;

use slots::Slots;
use target::Target;

/// A pool of connections to targets named `K`. See the module.
pub struct Pool<K> {
    config: PoolConfig,
    rng: Rng,
    slots: Slots<K>,
    targets: BTreeMap<K, Target>,
    waiting: BTreeMap<LeaseId, Waiter<K>>,
    leases: BTreeMap<LeaseId, Lease<K>>,
    next_lease: u64,
    alarms: BTreeSet<(Instant, Alarm<K>)>,
    /// Unused connections, the longest unused first.
    idle: BTreeSet<(Instant, ConnId)>,
    /// Targets with somebody waiting and a connection to give, by the arrival of the first who waits.
    grantable: BTreeSet<(LeaseId, K)>,
    /// Targets that want to dial: whether there is a port for it, and by the arrival of the caller who wants it.
    hungry: BTreeSet<(bool, LeaseId, K)>,
    /// Refusals that are decided.
    refusals: VecDeque<(LeaseId, Refusal<K>)>,
    /// Closes that are decided: at most one per connection.
    closes: VecDeque<(ConnId, CloseReason)>,
    /// Connections whose close is under way.
    closing: u32,
    draining: bool,
    stats: PoolStats,
}

/// A caller that waits.
#[derive(Clone, Debug)]
struct Waiter<K> {
    target: K,
    deadline: Instant,
}

/// A caller that uses a connection.
#[derive(Debug)]
struct Lease<K> {
    conn: ConnId,
    /// It goes on waiting with this if the connection turns out stale.
    waiter: Waiter<K>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm<K> {
    Waiter(LeaseId),
    Conn(ConnId),
    Ports(K),
    Warm(K),
}

impl<K: Ord + Clone> Pool<K> {
    /// An empty pool. `seed` is for the jitter.
    ///
    /// # Errors
    /// The configuration cannot work.
    pub fn new(config: PoolConfig, seed: u64) -> Result<Self, PoolConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            rng: Rng::new(seed),
            slots: Slots::new(),
            targets: BTreeMap::new(),
            waiting: BTreeMap::new(),
            leases: BTreeMap::new(),
            next_lease: 0,
            alarms: BTreeSet::new(),
            idle: BTreeSet::new(),
            grantable: BTreeSet::new(),
            hungry: BTreeSet::new(),
            refusals: VecDeque::new(),
            closes: VecDeque::new(),
            closing: 0,
            draining: false,
            stats: PoolStats::default(),
        })
    }

    /// Wants a connection to `target` until `deadline`. Exactly one [`Order::Grant`] or [`Order::Refuse`] answers,
    /// unless [`cancel`](Self::cancel) comes first. Callers of one target are served in the order they came; so are those of
    /// all targets while the pool is full: a connection that comes free is closed to make room for who came first.
    ///
    /// # Errors
    /// [`Refusal::QueueFull`] or [`Refusal::Draining`], at once.
    pub fn acquire(&mut self, now: Instant, target: K, deadline: Instant) -> Result<LeaseId, Refusal<K>> {
        self.handle_timeout(now);
        if self.draining {
            return Err(self.refused(Refusal::Draining));
        }
        // A refusal that nobody took holds its place, so that the queue of refusals is bounded as well.
        if self.waiting.len() + self.refusals.len() >= self.config.waiting {
            return Err(self.refused(Refusal::QueueFull { limit: self.config.waiting }));
        }
        let lease = LeaseId(self.next_lease);
        self.next_lease += 1;
        self.enqueue(lease, Waiter { target, deadline });
        Ok(lease)
    }

    fn refused(&mut self, why: Refusal<K>) -> Refusal<K> {
        self.stats.refused += 1;
        why
    }

    fn enqueue(&mut self, lease: LeaseId, waiter: Waiter<K>) {
        self.alarms.insert((waiter.deadline, Alarm::Waiter(lease)));
        let target = waiter.target.clone();
        self.targets.entry(target.clone()).or_default().waiting.insert(lease);
        self.waiting.insert(lease, waiter);
        self.refresh(&target);
    }

    /// Takes a caller out of the queue.
    fn dequeue(&mut self, lease: LeaseId) -> Option<Waiter<K>> {
        let waiter = self.waiting.remove(&lease)?;
        self.alarms.remove(&(waiter.deadline, Alarm::Waiter(lease)));
        if let Some(target) = self.targets.get_mut(&waiter.target) {
            target.waiting.remove(&lease);
        }
        Some(waiter)
    }

    /// The caller waits no longer. If it has a connection already, that is given back unused. False if the pool does
    /// not know it any more.
    pub fn cancel(&mut self, now: Instant, lease: LeaseId) -> bool {
        if let Some(waiter) = self.dequeue(lease) {
            self.refresh(&waiter.target);
            return true;
        }
        let decided = self.refusals.len();
        self.refusals.retain(|(other, _)| *other != lease);
        self.refusals.len() < decided || self.release(now, lease, true)
    }

    /// Keeps at least `min_idle` unused connections to `target`, as far as the limits allow. 0 ends that.
    pub fn keep_warm(&mut self, now: Instant, target: K, min_idle: u32) {
        self.handle_timeout(now);
        if !self.draining {
            self.targets.entry(target.clone()).or_default().min_idle = min_idle;
            self.refresh(&target);
        }
    }

    /// Ends the pool: who waits is refused, what is unused is closed, what is used is closed once it is released.
    pub fn drain(&mut self, now: Instant) {
        self.draining = true;
        for target in self.targets.values_mut() {
            target.min_idle = 0;
        }
        let waiting: Vec<_> = self.waiting.keys().copied().collect();
        for lease in waiting {
            self.refuse(lease, Refusal::Draining);
        }
        let conns: Vec<_> = self.slots.iter().map(|(id, _)| id).collect();
        for conn in conns {
            self.retire(conn, CloseReason::Drained);
        }
        // A target that only wanted to be kept warm wants nothing any more.
        let targets: Vec<_> = self.targets.keys().cloned().collect();
        targets.iter().for_each(|target| self.refresh(target));
        self.handle_timeout(now);
    }

    /// It was drained and has no connection any more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.draining && self.slots.open() == 0 && self.refusals.is_empty()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, and why. While somebody waits there is a deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.alarms.first().map(|(at, alarm)| {
            let reason = TimeoutReason::Protocol(match alarm {
                Alarm::Waiter(_) => "pool-waiting",
                Alarm::Conn(_) => "pool-connection",
                Alarm::Ports(_) => "pool-ports",
                Alarm::Warm(_) => "pool-warm",
            });
            Deadline { at: *at, reason }
        })
    }

    /// The counts.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let in_time_wait = self.targets.values().map(Target::in_time_wait).sum();
        let pending = self.targets.values().map(|target| u64::from(target.pending)).sum();
        PoolStats {
            open: self.slots.open(),
            idle: u32::try_from(self.idle.len()).unwrap_or(u32::MAX),
            pending,
            waiting: self.waiting.len(),
            in_use: self.leases.len(),
            in_time_wait,
            ..self.stats
        }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Who waits or uses a connection, by the connection if there is one.
    #[must_use]
    pub fn connection_of(&self, lease: LeaseId) -> Option<ConnId> {
        self.leases.get(&lease).map(|lease| lease.conn)
    }

    /// The time, shortened by the jitter.
    fn jittered(&mut self, time: Duration) -> Duration {
        let most = time.as_nanos().saturating_mul(u128::from(self.config.jitter_percent)) / 100;
        let less = self.rng.below(u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1));
        time.saturating_sub(Duration::from_nanos(less)).max(Duration::from_nanos(1))
    }
}

impl<K> fmt::Debug for Pool<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("open", &self.slots.open())
            .field("waiting", &self.waiting.len())
            .field("in_use", &self.leases.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
