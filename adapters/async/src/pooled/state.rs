//! What callers and the pool's task share: the pool, the connections that nobody uses, and the answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use duologue_core::Instant;
use duologue_core::pool::{CloseReason, ConnId, LeaseId, Loss, Order, Pool, PoolConfig, PoolConfigError, Refusal};

use super::PoolError;
use super::woken::{Bell, Woken};
use crate::hub::lock;
use crate::redial::{ConnectionOver, PoolCarrier, SendProtocol};

pub(super) struct Shared<P: SendProtocol, C: PoolCarrier> {
    inner: Mutex<Inner<P, C>>,
}

pub(super) struct Inner<P: SendProtocol, C: PoolCarrier> {
    pub(super) pool: Pool<Arc<str>>,
    /// Connections that nobody uses.
    pub(super) held: BTreeMap<ConnId, Held<P, C>>,
    /// Whom of them the task has to look at.
    pub(super) woken: Arc<Woken>,
    pub(super) answers: BTreeMap<LeaseId, Answer<P, C>>,
    /// What only the pool's task can do.
    pub(super) dials: Vec<(ConnId, Arc<str>, Instant)>,
    pub(super) closes: Vec<ConnId>,
    pub(super) task: Option<Waker>,
    /// What the task waits for.
    pub(super) armed: Option<Instant>,
    /// Connections that are held and that the task has not looked at.
    fresh: Vec<ConnId>,
    wakes: Vec<Waker>,
    /// Why the last dial failed.
    pub(super) failure: PoolError,
}

/// A connection that nobody uses.
pub(super) struct Held<P: SendProtocol, C: PoolCarrier> {
    pub(super) connection: ConnectionOver<P, C>,
    pub(super) bell: Arc<Bell>,
}

pub(super) enum Answer<P: SendProtocol, C: PoolCarrier> {
    Waits(Waker),
    Granted { conn: ConnId, connection: Box<ConnectionOver<P, C>>, reused: bool },
    Refused(PoolError),
}

impl<P: SendProtocol, C: PoolCarrier> Shared<P, C> {
    pub(super) fn new(config: PoolConfig, seed: u64) -> Result<Self, PoolConfigError> {
        let inner = Inner {
            pool: Pool::new(config.users_per_connection(1), seed)?,
            held: BTreeMap::new(),
            woken: Arc::default(),
            answers: BTreeMap::new(),
            dials: Vec::new(),
            closes: Vec::new(),
            task: None,
            armed: None,
            fresh: Vec::new(),
            wakes: Vec::new(),
            failure: PoolError::dial("nothing was dialled"),
        };
        Ok(Self { inner: Mutex::new(inner) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner<P, C>> {
        lock(&self.inner)
    }

    /// Makes a change, does what follows from it, and wakes whom it concerns once the lock is released.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Inner<P, C>, Instant) -> T) -> T {
        let now = Self::now();
        let mut inner = self.lock();
        let result = change(&mut inner, now);
        inner.obey(now);
        let mut wakes = std::mem::take(&mut inner.wakes);
        if inner.needs_task() {
            wakes.extend(inner.task.take());
        }
        drop(inner);
        wakes.into_iter().for_each(Waker::wake);
        result
    }

    /// As [`change`](Self::change), by the task itself.
    pub(super) fn change_by_task(&self, change: impl FnOnce(&mut Inner<P, C>, Instant)) {
        let now = Self::now();
        let mut inner = self.lock();
        change(&mut inner, now);
        inner.obey(now);
        let wakes = std::mem::take(&mut inner.wakes);
        drop(inner);
        wakes.into_iter().for_each(Waker::wake);
    }
}

impl<P: SendProtocol, C: PoolCarrier> Inner<P, C> {
    /// Keeps a connection that nobody uses.
    pub(super) fn hold(&mut self, conn: ConnId, connection: ConnectionOver<P, C>) {
        self.fresh.push(conn);
        self.held.insert(conn, Held { connection, bell: Bell::new(conn, &self.woken) });
    }

    /// Whom the task is to look at without having been woken by them.
    pub(super) fn take_fresh(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.fresh)
    }

    fn needs_task(&self) -> bool {
        let sooner = match (self.pool.deadline(), self.armed) {
            (Some(deadline), Some(armed)) => deadline.at < armed,
            (deadline, _) => deadline.is_some(),
        };
        sooner || !self.fresh.is_empty() || !self.dials.is_empty() || !self.closes.is_empty() || self.pool.is_drained()
    }

    /// Carries out the pool's orders as far as that needs no waiting.
    pub(super) fn obey(&mut self, now: Instant) {
        while let Some(order) = self.pool.poll_order(now) {
            match order {
                Order::Dial { conn, target, deadline } => self.dials.push((conn, target, deadline)),
                Order::Close { conn, why } => {
                    if why == CloseReason::DialTimedOut {
                        self.failure = PoolError::dial("dialling took longer than PoolConfig::dial_within");
                    }
                    self.closes.push(conn);
                }
                // Asking the kernel is all that can be asked of any protocol.
                Order::Probe { conn, .. } => {
                    let alive = self.held.get_mut(&conn).is_some_and(|held| is_usable::<P, C>(&mut held.connection));
                    self.pool.probed(now, conn, alive);
                }
                Order::Grant { lease, conn, reused } => {
                    let mut held = self.held.remove(&conn).map(|held| held.connection);
                    let usable = held.as_mut().is_some_and(is_usable::<P, C>);
                    match held {
                        Some(connection) if usable => {
                            self.answer(lease, Answer::Granted { conn, connection: Box::new(connection), reused });
                        }
                        stale => {
                            if let Some(stale) = stale {
                                self.hold(conn, stale);
                            }
                            self.failure = PoolError::dial("the peer closed the connection as soon as it was made");
                            self.pool.stale(now, lease, Loss::PeerFinished);
                        }
                    }
                }
                Order::Refuse { lease, why } => {
                    let why = match why {
                        Refusal::DialFailed => self.failure.clone(),
                        why => PoolError::Refused(why),
                    };
                    self.answer(lease, Answer::Refused(why));
                }
            }
        }
    }

    fn answer(&mut self, lease: LeaseId, answer: Answer<P, C>) {
        if let Some(Answer::Waits(waker)) = self.answers.insert(lease, answer) {
            self.wakes.push(waker);
        }
    }
}

/// Open both ways, nothing under way, and nothing to be read: neither here nor in the kernel.
pub(super) fn is_usable<P: SendProtocol, C: PoolCarrier>(connection: &mut ConnectionOver<P, C>) -> bool {
    is_at_rest::<P, C>(connection) && C::is_quiet(connection.driver_mut().transport_mut())
}

/// Open both ways and nothing under way, as far as the session knows.
pub(super) fn is_at_rest<P: SendProtocol, C: PoolCarrier>(connection: &ConnectionOver<P, C>) -> bool {
    use duologue_core::{RecvState, SendState};
    let session = connection.session();
    session.states() == (RecvState::Open, SendState::Open)
        && session.buffered() == (0, 0)
        && !session.has_message()
        && session.cause().is_none()
}
