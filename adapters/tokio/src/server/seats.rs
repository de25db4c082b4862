//! Who is being served: one seat per connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use duologue_core::{Code, Instant};
use tokio::sync::{Notify, watch};

use super::ServerStats;

/// An order to end within a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    pub(crate) deadline: tokio::time::Instant,
    pub(crate) code: Code,
}

/// Waits until the server drains.
pub(crate) async fn wait_for_drain(drain: &mut watch::Receiver<Option<Drain>>) -> Drain {
    let order = drain.wait_for(Option::is_some).await.ok().and_then(|drain| *drain);
    match order {
        Some(drain) => drain,
        // The server and all its handles are gone: nobody is left who could drain.
        None => std::future::pending().await,
    }
}

/// All seats of a server.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seats: BTreeMap<u64, Arc<Place>>,
    next: u64,
    stats: ServerStats,
}

/// What the server and one connection share.
#[derive(Debug)]
pub(crate) struct Place {
    peer: SocketAddr,
    /// When the last message came, in nanoseconds of the connection's clock.
    active: AtomicU64,
    evicted: AtomicBool,
    reset: AtomicBool,
    pub(crate) called: Notify,
}

impl Place {
    /// A message came.
    pub(crate) fn touch(&self, now: Instant) {
        self.active.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// The seat is wanted for somebody else.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Relaxed)
    }

    /// The time of a drain is over.
    pub(crate) fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }
}

/// A connection's seat; leaving it is dropping it.
#[derive(Debug)]
pub(crate) struct Seat {
    id: u64,
    pub(crate) place: Arc<Place>,
    seats: Arc<Seats>,
}

impl Seats {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(self: &Arc<Self>, peer: SocketAddr) -> Seat {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.stats.accepted += 1;
        let place = Arc::new(Place {
            peer,
            active: AtomicU64::new(u64::MAX),
            evicted: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            called: Notify::new(),
        });
        state.seats.insert(id, Arc::clone(&place));
        drop(state);
        Seat { id, place, seats: Arc::clone(self) }
    }

    /// Calls the connection that was silent longest to close. False if all were called already.
    pub(crate) fn evict(&self) -> bool {
        let mut state = self.state();
        let idle = state.seats.values().filter(|p| !p.is_evicted()).min_by_key(|p| p.active.load(Ordering::Relaxed));
        let Some(place) = idle.map(Arc::clone) else { return false };
        place.evicted.store(true, Ordering::Relaxed);
        place.called.notify_one();
        state.stats.evicted += 1;
        true
    }

    pub(crate) fn reset_all(&self) {
        for place in self.state().seats.values() {
            place.reset.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self) {
        self.state().stats.refused += 1;
    }

    pub(crate) fn accept_failed(&self) {
        self.state().stats.accept_failures += 1;
    }

    /// Connections that hold a seat and were not called to leave it.
    pub(crate) fn len(&self) -> usize {
        self.state().seats.values().filter(|place| !place.is_evicted()).count()
    }

    pub(crate) fn peers(&self) -> Vec<SocketAddr> {
        self.state().seats.values().map(|place| place.peer).collect()
    }

    pub(crate) fn stats(&self) -> ServerStats {
        let state = self.state();
        ServerStats { open: state.seats.len(), ..state.stats }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.state().seats.remove(&self.id);
    }
}
