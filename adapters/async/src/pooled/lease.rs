//! A connection in use.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use duologue_core::Side;
use duologue_core::pool::{ConnId, LeaseId, Loss};

use super::state::{Shared, is_at_rest};
use crate::redial::{ConnectionOver, PoolCarrier, SendProtocol};

/// A connection of a [`PoolClient`](super::PoolClient), for its caller alone until it is given back. Give it back by
/// [`release`](Self::release) once the conversation is at rest. **Dropping** it ends it as a dropped
/// [`Connection`](crate::Connection) ends: nobody knows what is still under way. The pool then takes it that our FIN came
/// first.
pub struct Pooled<P: SendProtocol, C: PoolCarrier> {
    // Before the claim, so that the socket is closed when the pool hears of it.
    connection: ConnectionOver<P, C>,
    claim: Claim<P, C>,
    reused: bool,
}

struct Claim<P: SendProtocol, C: PoolCarrier> {
    shared: Arc<Shared<P, C>>,
    lease: LeaseId,
    conn: ConnId,
    given_back: bool,
}

impl<P: SendProtocol, C: PoolCarrier> Pooled<P, C> {
    pub(super) fn new(
        shared: Arc<Shared<P, C>>,
        lease: LeaseId,
        conn: ConnId,
        connection: ConnectionOver<P, C>,
        reused: bool,
    ) -> Self {
        Self { connection, claim: Claim { shared, lease, conn, given_back: false }, reused }
    }

    /// Which of the pool's connections it is.
    #[must_use]
    pub const fn conn_id(&self) -> ConnId {
        self.claim.conn
    }

    /// Somebody used it before.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        self.reused
    }

    /// Gives it back to be used again. If it is not at rest (something queued or unread, a half closed) it is closed
    /// instead; also if the peer said something while it was dialled that nobody took, which counts as
    /// [`PoolStats::unsolicited`](duologue_core::pool::PoolStats::unsolicited).
    pub fn release(self) {
        self.give_back(true);
    }

    /// Gives it back to be closed, in order.
    pub fn discard(self) {
        self.give_back(false);
    }

    fn give_back(self, reusable: bool) {
        let Self { connection, mut claim, reused: _ } = self;
        claim.given_back = true;
        claim.shared.change(|inner, now| {
            let untaken = connection.open.early() > 0;
            let reusable = reusable && !untaken && is_at_rest::<P, C>(&connection);
            inner.hold(claim.conn, connection);
            if untaken {
                inner.pool.lost(now, claim.conn, Loss::Unsolicited);
            }
            inner.pool.release(now, claim.lease, reusable);
        });
    }
}

impl<P: SendProtocol, C: PoolCarrier> Drop for Claim<P, C> {
    fn drop(&mut self) {
        if !self.given_back {
            self.shared.change(|inner, now| {
                inner.pool.release(now, self.lease, false);
                inner.pool.closed(now, self.conn, Some(Side::Local));
            });
        }
    }
}

impl<P: SendProtocol, C: PoolCarrier> Deref for Pooled<P, C> {
    type Target = ConnectionOver<P, C>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl<P: SendProtocol, C: PoolCarrier> DerefMut for Pooled<P, C> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

impl<P: SendProtocol, C: PoolCarrier> fmt::Debug for Pooled<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("conn", &self.conn_id()).field("reused", &self.reused).finish_non_exhaustive()
    }
}
