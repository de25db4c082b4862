//! Where what a connection tells besides its streams is put down, until whoever waits for it takes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use duologue_brpc::{Brpc, BrpcEvent, BrpcViolation, CallError, Request, Response};
use duologue_core::Event;

use crate::hub::lock;
use crate::line::{Line, Ticket};
use crate::streams::Beside;

/// One connection's desk. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Desk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Calls that somebody waits for, by correlation id. Bounded by who waits.
    calls: BTreeMap<i64, Waiting>,
    next_id: i64,
    /// Requests that nobody took yet: at most as many as the protocol lets wait for a reply.
    requests: VecDeque<Box<Request>>,
    takers: Vec<Waker>,
    /// Who works on a request and wants to know that nobody waits for it any more, by the request's id.
    workers: BTreeMap<u64, Vec<Waker>>,
    /// Who waits for a place among the calls, of which there are so many.
    places: Line,
    most: usize,
    /// Who has one and waits for room in the send queue. One tries at a time: where it finds room, the next tries, and
    /// where it finds none, the session tells of it.
    room: Line,
    over: bool,
}

#[derive(Default)]
struct Waiting {
    result: Option<Result<Box<Response>, CallError>>,
    waker: Option<Waker>,
}

/// Which line of a desk.
#[derive(Clone, Copy)]
enum Which {
    Places,
    Room,
}

/// A wait at a desk. Whoever goes away in line, or after it was called, keeps nobody behind it waiting.
pub(super) struct Turn {
    desk: Desk,
    which: Which,
    ticket: Ticket,
}

impl Desk {
    /// A wait for a place for a call.
    pub(super) fn place(&self) -> Turn {
        Turn { desk: self.clone(), which: Which::Places, ticket: None }
    }

    /// A wait for room in the send queue.
    pub(super) fn room(&self) -> Turn {
        Turn { desk: self.clone(), which: Which::Room, ticket: None }
    }

    /// The next request; `None` once none will come.
    pub(super) fn poll_request(&self, cx: &mut Context<'_>) -> Poll<Option<Box<Request>>> {
        let mut state = lock(&self.0);
        match state.requests.pop_front() {
            Some(request) => Poll::Ready(Some(request)),
            None if state.over => Poll::Ready(None),
            None => {
                enlist(&mut state.takers, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Waits for the end of the connection on behalf of a request, until [`forget`](Self::forget).
    pub(super) fn poll_lost(&self, request: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.over {
            return Poll::Ready(());
        }
        enlist(state.workers.entry(request).or_default(), cx.waker());
        Poll::Pending
    }

    /// Nobody works on a request any more.
    pub(super) fn forget(&self, request: u64) {
        lock(&self.0).workers.remove(&request);
    }
}

fn enlist(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|other| other.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}

impl State {
    /// Calls those who are next, as many as there are places.
    fn call_places(&mut self, wakes: &mut Vec<Waker>) {
        self.places.call(self.most.saturating_sub(self.calls.len()), wakes);
    }
}

impl Turn {
    /// A place for a call, or the wake for when one is free: first come, first served.
    pub(super) fn reserve(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<Place> {
        let mut wakes = Vec::new();
        let mut state = lock(&self.desk.0);
        state.most = most;
        if !state.over
            && (!state.places.is_empty() || state.calls.len() >= most)
            && !state.places.is_called(self.ticket)
        {
            state.places.join(&mut self.ticket);
            state.call_places(&mut wakes);
        }
        let waits = self.ticket.is_some() && !state.over && !state.places.is_called(self.ticket);
        if waits {
            state.places.wake_by(self.ticket, cx.waker());
        } else {
            state.places.leave(&mut self.ticket);
        }
        let place = if waits {
            Poll::Pending
        } else {
            let id = state.next_id;
            state.next_id = id.wrapping_add(1);
            state.calls.insert(id, Waiting::default());
            Poll::Ready(Place { desk: self.desk.clone(), id })
        };
        drop(state);
        wakes.into_iter().for_each(Waker::wake);
        place
    }

    /// Whether to try for room now: nobody is before us. Otherwise it wakes once that is so.
    pub(super) fn may_try(&mut self, cx: &mut Context<'_>) -> bool {
        let mut state = lock(&self.desk.0);
        let may = state.over || state.room.is_empty() || state.room.is_called(self.ticket);
        if !may {
            state.room.join(&mut self.ticket);
            state.room.wake_by(self.ticket, cx.waker());
        }
        may
    }

    /// There was no room: it wakes once there may be.
    pub(super) fn await_room(&mut self, cx: &mut Context<'_>) {
        let mut state = lock(&self.desk.0);
        state.room.join(&mut self.ticket);
        state.room.wake_by(self.ticket, cx.waker());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        let mut wakes = Vec::new();
        {
            let mut state = lock(&self.desk.0);
            match self.which {
                Which::Places => {
                    state.places.leave(&mut self.ticket);
                    state.call_places(&mut wakes);
                }
                Which::Room => {
                    state.room.leave(&mut self.ticket);
                    state.room.call(1, &mut wakes);
                }
            }
        }
        wakes.into_iter().for_each(Waker::wake);
    }
}

/// A call's place on the desk: free again when this goes away.
pub(super) struct Place {
    desk: Desk,
    pub(super) id: i64,
}

impl Place {
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Box<Response>, CallError>> {
        let mut state = lock(&self.desk.0);
        let over = state.over;
        let Some(waiting) = state.calls.get_mut(&self.id) else { return Poll::Ready(Err(CallError::Lost)) };
        match waiting.result.take() {
            Some(result) => Poll::Ready(result),
            None if over => Poll::Ready(Err(CallError::Lost)),
            None => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut wakes = Vec::new();
        {
            let mut state = lock(&self.desk.0);
            state.calls.remove(&self.id);
            state.call_places(&mut wakes);
        }
        wakes.into_iter().for_each(Waker::wake);
    }
}

impl Beside<Brpc> for Desk {
    fn told(&mut self, event: Event<BrpcEvent, BrpcViolation>, wakes: &mut Vec<Waker>) {
        let mut state = lock(&self.0);
        let (id, result) = match event {
            Event::App(BrpcEvent::Response(response)) => (response.id.0, Ok(response)),
            Event::App(BrpcEvent::CallFailed(id, why)) => (id.0, Err(why)),
            Event::App(BrpcEvent::Request(request)) => {
                state.requests.push_back(request);
                return wakes.append(&mut state.takers);
            }
            Event::Writable => return state.room.call(1, wakes),
            _ => return,
        };
        if let Some(waiting) = state.calls.get_mut(&id) {
            waiting.result = Some(result);
            wakes.extend(waiting.waker.take());
        }
    }

    fn over(&mut self, wakes: &mut Vec<Waker>) {
        let mut state = lock(&self.0);
        state.over = true;
        // What nobody took cannot be answered any more.
        state.requests.clear();
        wakes.append(&mut state.takers);
        wakes.extend(std::mem::take(&mut state.workers).into_values().flatten());
        state.places.call_all(wakes);
        state.room.call_all(wakes);
        wakes.extend(state.calls.values_mut().filter_map(|waiting| waiting.waker.take()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    const MANY: usize = 10_000;

    /// Who was woken, in order.
    #[derive(Default)]
    struct Woken(Mutex<VecDeque<usize>>);

    struct Bell(usize, Arc<Woken>);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            lock(&self.1.0).push_back(self.0);
        }
    }

    /// Ten thousand wait; `try_it` says whether the one who was woken is done. How many tries it took, and in which order
    /// they were done.
    fn served(turns: &mut [Option<Turn>], mut try_it: impl FnMut(usize, &mut Turn, &mut Context<'_>) -> bool) -> usize {
        let woken = Arc::new(Woken::default());
        let tries = AtomicUsize::new(0);
        let mut done = Vec::new();
        let mut once = |n: usize, turns: &mut [Option<Turn>], done: &mut Vec<usize>| {
            let waker = Waker::from(Arc::new(Bell(n, Arc::clone(&woken))));
            let Some(turn) = turns[n].as_mut() else { return };
            tries.fetch_add(1, Ordering::Relaxed);
            if try_it(n, turn, &mut Context::from_waker(&waker)) {
                done.push(n);
                turns[n] = None;
            }
        };
        (0..turns.len()).for_each(|n| once(n, turns, &mut done));
        loop {
            let Some(n) = lock(&woken.0).pop_front() else { break };
            once(n, turns, &mut done);
        }
        assert!(done.is_sorted(), "first come, first served");
        assert_eq!(done.len(), turns.len(), "nobody is forgotten");
        tries.load(Ordering::Relaxed)
    }

    #[test]
    fn ten_thousand_calls_that_wait_for_ten_places_are_each_woken_once() {
        let desk = Desk::default();
        let mut turns: Vec<_> = (0..MANY).map(|_| Some(desk.place())).collect();
        let mut held = VecDeque::new();
        let mut seen = 0;
        let tries = served(&mut turns, |_, turn, cx| {
            seen += 1;
            let reserved = turn.reserve(10, cx);
            let ready = reserved.is_ready();
            if let Poll::Ready(place) = reserved {
                held.push_back(place);
            }
            assert!(held.len() <= 10);
            // Once all have come, each that finds a place ends a call, and frees one.
            if seen >= MANY && held.len() == 10 {
                held.pop_front();
            }
            ready
        });
        assert!(tries <= 2 * MANY, "{tries} tries");
    }

    #[test]
    fn ten_thousand_calls_that_wait_for_room_try_one_after_the_other() {
        let mut desk = Desk::default();
        let mut turns: Vec<_> = (0..MANY).map(|_| Some(desk.room())).collect();
        let mut seen = 0;
        let mut room = 0;
        let mut teller = desk.clone();
        let tries = served(&mut turns, |_, turn, cx| {
            seen += 1;
            let sent = turn.may_try(cx) && room > 0;
            if sent {
                room -= 1;
            } else if seen < MANY || turn.may_try(cx) {
                turn.await_room(cx);
            }
            if seen >= MANY && room == 0 {
                room = 100;
                let mut wakes = Vec::new();
                teller.told(Event::Writable, &mut wakes);
                assert!(wakes.len() <= 1);
                wakes.into_iter().for_each(Waker::wake);
            }
            sent
        });
        assert!(tries <= 2 * MANY + MANY / 50, "{tries} tries");
        let mut wakes = Vec::new();
        desk.over(&mut wakes);
        assert!(wakes.is_empty());
    }

    #[test]
    fn who_goes_away_after_it_was_called_passes_its_place_on() {
        let desk = Desk::default();
        let woken = Arc::new(Woken::default());
        let waker = |n| Waker::from(Arc::new(Bell(n, Arc::clone(&woken))));
        let reserve = |turn: &mut Turn, n| turn.reserve(1, &mut Context::from_waker(&waker(n)));
        let Poll::Ready(held) = reserve(&mut desk.place(), 0) else { panic!("it is free") };
        let (mut first, mut second, mut third) = (desk.place(), desk.place(), desk.place());
        assert!(reserve(&mut first, 1).is_pending() && reserve(&mut second, 2).is_pending());
        drop(held);
        assert_eq!(lock(&woken.0).pop_front(), Some(1));
        assert!(reserve(&mut third, 3).is_pending(), "the place is the first's, though it did not come yet");
        assert!(reserve(&mut second, 2).is_pending());
        drop(first);
        assert_eq!(lock(&woken.0).pop_front(), Some(2));
        let Poll::Ready(held) = reserve(&mut second, 2) else { panic!("it was called") };
        drop(second);
        assert_eq!(lock(&woken.0).pop_front(), None);
        drop(held);
        assert_eq!(lock(&woken.0).pop_front(), Some(3));
    }
}
