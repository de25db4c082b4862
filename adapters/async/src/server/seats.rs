//! Who is being served: one seat per connection, one task per handler.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use duologue_core::{Cause, Code, Instant};
use slab::Slab;

use super::ServerStats;
use crate::hub::lock;

/// An order to end within a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) deadline: Instant,
    code: Code,
    /// Connections that were open when the order came, or were accepted before the server heard it.
    open: usize,
}

/// All seats and tasks of a server.
pub(super) struct Seats {
    now: fn() -> Instant,
    /// There is a drain: to be asked without a lock.
    draining: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whose connection or handler has not ended.
    places: Slab<Taken>,
    /// Those whose connection has not ended.
    seats: usize,
    /// Seats whose connection was called to leave.
    leaving: usize,
    stats: ServerStats,
    drain: Option<Drain>,
    /// The server's own task.
    server: Option<Waker>,
}

/// A place, as long as anybody is there: a connection that its handler handed on, or a handler without its connection.
struct Taken {
    place: Arc<Place>,
    seated: bool,
    handled: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.places.is_empty()
    }

    fn seated(&self) -> impl Iterator<Item = &Arc<Place>> {
        self.places.iter().filter(|(_, taken)| taken.seated).map(|(_, taken)| &taken.place)
    }

    /// One of the two left: frees the place behind the last.
    fn leave(&mut self, place: &Place, leave: impl FnOnce(&mut Taken)) -> Option<Waker> {
        if let Some(taken) = self.places.get_mut(place.id) {
            leave(taken);
            if !taken.seated && !taken.handled {
                self.places.try_remove(place.id);
            }
        }
        self.server_to_wake()
    }

    /// The server's waker once its drain has nobody to wait for. While it accepts it has no use for being woken.
    fn server_to_wake(&mut self) -> Option<Waker> {
        if self.drain.is_some() && self.is_idle() { self.server.take() } else { None }
    }
}

/// What the server, one connection and its handler's task share.
pub(super) struct Place {
    id: usize,
    peer: SocketAddr,
    /// When the last message came, in nanoseconds of the runtime's clock.
    active: AtomicU64,
    /// The seat is wanted for somebody else.
    evicted: AtomicBool,
    /// The time of a drain is over.
    reset: AtomicBool,
    /// The server drains: what is under way ends.
    draining: AtomicBool,
    /// The handler is to be dropped.
    stopped: AtomicBool,
    /// The server wants something of the connection: any of the above, or its seat.
    called: AtomicBool,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    goodbye: Option<Code>,
    connection: Option<Waker>,
    task: Option<Waker>,
}

/// What the server wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// End what is under way, then the session.
    Drain(Code),
    /// End the session: its seat is wanted.
    Goodbye(Code),
    Reset,
}

impl Place {
    /// A byte moved.
    #[inline]
    pub(super) fn touch(&self, at: Instant) {
        self.active.store(at.as_nanos(), Ordering::Relaxed);
    }

    fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Relaxed)
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }

    /// The server drains, and has said so to this connection.
    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether the server wants anything: to be asked as often as one likes.
    #[inline]
    pub(super) fn is_called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    /// What the server wants, if `leaving` does not cover it; otherwise the connection's task is woken for it.
    pub(super) fn poll_call(&self, cx: &mut Context<'_>, leaving: bool, known: &mut Known) -> Poll<Call> {
        if known.still(self, cx) {
            return Poll::Pending;
        }
        let mut calls = lock(&self.calls);
        if self.is_reset() {
            return Poll::Ready(Call::Reset);
        }
        if let (Some(code), false) = (calls.goodbye, leaving) {
            return Poll::Ready(if self.is_evicted() { Call::Goodbye(code) } else { Call::Drain(code) });
        }
        register(&mut calls.connection, cx);
        known.note(cx);
        Poll::Pending
    }

    /// Whether the handler is to be dropped: to be asked as often as one likes.
    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether the handler is to be dropped; otherwise its task is woken for that.
    #[inline]
    pub(super) fn poll_stop(&self, cx: &mut Context<'_>, known: &mut Known) -> Poll<()> {
        if known.still(self, cx) {
            return Poll::Pending;
        }
        self.await_stop(cx, known)
    }

    fn await_stop(&self, cx: &mut Context<'_>, known: &mut Known) -> Poll<()> {
        let mut calls = lock(&self.calls);
        if self.stopped.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        register(&mut calls.task, cx);
        known.note(cx);
        Poll::Pending
    }

    fn say_goodbye(&self, code: Code) {
        let waker = {
            let mut calls = lock(&self.calls);
            calls.goodbye.get_or_insert(code);
            self.called.store(true, Ordering::Relaxed);
            calls.connection.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn stop(&self, reset: bool) {
        let wakers = {
            let mut calls = lock(&self.calls);
            self.reset.fetch_or(reset, Ordering::Relaxed);
            self.stopped.store(true, Ordering::Relaxed);
            self.called.store(true, Ordering::Relaxed);
            [calls.task.take(), calls.connection.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The waker that its owner left with the [`Place`], so that waiting on with the same one takes no lock: who takes it away
/// sets `called` before, and wakes after.
#[derive(Default)]
pub(super) struct Known(Option<Waker>);

impl Known {
    #[inline]
    pub(super) fn still(&self, place: &Place, cx: &Context<'_>) -> bool {
        !place.is_called() && self.0.as_ref().is_some_and(|known| known.will_wake(cx.waker()))
    }

    fn note(&mut self, cx: &Context<'_>) {
        register(&mut self.0, cx);
    }
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(old) => old.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

/// A connection's seat; leaving it is dropping it.
pub(super) struct Seat {
    pub(super) place: Arc<Place>,
    seats: Arc<Seats>,
    handed_on: bool,
}

/// The handler of a connection; its end is dropping this.
pub(super) struct Handling {
    pub(super) place: Arc<Place>,
    pub(super) seats: Arc<Seats>,
}

impl Seat {
    /// The same seat for what its connection becomes. This one is nobody's any more.
    pub(super) fn hand_on(&mut self) -> Self {
        self.handed_on = true;
        Self { place: Arc::clone(&self.place), seats: Arc::clone(&self.seats), handed_on: false }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.seats.state().drain.is_some()
    }

    pub(super) fn ended<V>(&self, cause: Option<&Cause<V>>) {
        self.seats.ended(cause);
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.place.peer
    }
}

impl Seats {
    pub(super) fn new(now: fn() -> Instant) -> Self {
        Self { now, draining: AtomicBool::new(false), state: Mutex::default() }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Orders the end; the first order stands.
    pub(super) fn drain(&self, code: Code, within: Duration) {
        let deadline = (self.now)().after(within);
        let mut state = self.state();
        if state.drain.is_some() {
            return;
        }
        let drain = Drain { deadline, code, open: state.seats };
        state.drain = Some(drain);
        self.draining.store(true, Ordering::Relaxed);
        let places: Vec<_> = state.seated().map(Arc::clone).collect();
        let server = state.server.take();
        drop(state);
        for place in &places {
            place.draining.store(true, Ordering::Relaxed);
            place.say_goodbye(drain.code);
        }
        server.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<Drain> {
        let mut state = self.state();
        if let Some(drain) = state.drain {
            return Poll::Ready(drain);
        }
        register(&mut state.server, cx);
        Poll::Pending
    }

    /// Connections that a drain had to end.
    pub(super) fn to_drain(&self) -> usize {
        self.state().drain.map_or(0, |drain| drain.open)
    }

    /// Ready once no handler runs, and no connection is open that one handed on.
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.is_idle() {
            return Poll::Ready(());
        }
        register(&mut state.server, cx);
        Poll::Pending
    }

    /// A place for a connection that began at `now`, and for its handler.
    pub(super) fn take(self: &Arc<Self>, peer: SocketAddr, now: Instant) -> (Seat, Handling) {
        let mut state = self.state();
        state.seats += 1;
        state.stats.accepted += 1;
        let id = state.places.vacant_key();
        let mut calls = Calls::default();
        if let Some(drain) = &mut state.drain {
            drain.open += 1;
            calls.goodbye = Some(drain.code);
        }
        let place = Arc::new(Place {
            id,
            peer,
            active: AtomicU64::new(now.as_nanos()),
            evicted: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            draining: AtomicBool::new(state.drain.is_some()),
            stopped: AtomicBool::new(false),
            called: AtomicBool::new(state.drain.is_some()),
            calls: Mutex::new(calls),
        });
        state.places.insert(Taken { place: Arc::clone(&place), seated: true, handled: true });
        drop(state);
        let handling = Handling { place: Arc::clone(&place), seats: Arc::clone(self) };
        (Seat { place, seats: Arc::clone(self), handed_on: false }, handling)
    }

    /// Calls the connection that was silent longest to close. False if all were called already.
    pub(super) fn evict(&self) -> bool {
        let mut state = self.state();
        let idle = state.seated().filter(|p| !p.is_evicted()).min_by_key(|p| p.active.load(Ordering::Relaxed));
        let Some(place) = idle.map(Arc::clone) else { return false };
        place.evicted.store(true, Ordering::Relaxed);
        state.leaving += 1;
        state.stats.evicted += 1;
        drop(state);
        place.say_goodbye(Code(0));
        true
    }

    /// Ends every handler, and resets its connection if asked to.
    pub(super) fn stop_all(&self, reset: bool) {
        let places: Vec<_> = {
            let state = self.state();
            state.places.iter().map(|(_, taken)| Arc::clone(&taken.place)).collect()
        };
        places.iter().for_each(|place| place.stop(reset));
    }

    /// A connection ended: for `cause`, or it was dropped before.
    pub(super) fn ended<V>(&self, cause: Option<&Cause<V>>) {
        self.state().stats.ended.count(cause);
    }

    pub(super) fn panicked(&self) {
        self.state().stats.panicked += 1;
    }

    pub(super) fn refused(&self) {
        self.state().stats.refused += 1;
    }

    pub(super) fn accept_failed(&self) {
        self.state().stats.accept_failures += 1;
    }

    /// Connections that hold a seat and were not called to leave it.
    pub(super) fn len(&self) -> usize {
        let state = self.state();
        state.seats - state.leaving
    }

    pub(super) fn peers(&self) -> Vec<SocketAddr> {
        self.state().seated().map(|place| place.peer).collect()
    }

    pub(super) fn stats(&self) -> ServerStats {
        let state = self.state();
        ServerStats { open: state.seats, ..state.stats }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.handed_on {
            return;
        }
        let mut state = self.seats.state();
        state.seats -= 1;
        state.leaving -= usize::from(self.place.is_evicted());
        let server = state.leave(&self.place, |taken| taken.seated = false);
        drop(state);
        server.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let server = self.seats.state().leave(&self.place, |taken| taken.handled = false);
        server.into_iter().for_each(Waker::wake);
    }
}
