//! Where what a connection tells besides its streams is put down, until whoever waits for it takes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use duologue_brpc::{Brpc, BrpcEvent, BrpcViolation, CallError, Request, Response};
use duologue_core::Event;

use crate::hub::lock;
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
    /// Who waits for room in the send queue, or for a place among the calls.
    crowd: Vec<Waker>,
    over: bool,
}

#[derive(Default)]
struct Waiting {
    result: Option<Result<Box<Response>, CallError>>,
    waker: Option<Waker>,
}

impl Desk {
    /// A place for a call, or the wake for when one is free.
    pub(super) fn reserve(&self, most: usize, cx: &mut Context<'_>) -> Poll<Place> {
        let mut state = lock(&self.0);
        if state.calls.len() >= most && !state.over {
            enlist(&mut state.crowd, cx.waker());
            return Poll::Pending;
        }
        let id = state.next_id;
        state.next_id = id.wrapping_add(1);
        state.calls.insert(id, Waiting::default());
        Poll::Ready(Place { desk: self.clone(), id })
    }

    /// Wakes once the send queue has room again.
    pub(super) fn await_room(&self, cx: &mut Context<'_>) {
        enlist(&mut lock(&self.0).crowd, cx.waker());
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
        let crowd = {
            let mut state = lock(&self.desk.0);
            state.calls.remove(&self.id);
            std::mem::take(&mut state.crowd)
        };
        crowd.into_iter().for_each(Waker::wake);
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
            Event::Writable => return wakes.append(&mut state.crowd),
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
        wakes.append(&mut state.crowd);
        wakes.extend(state.calls.values_mut().filter_map(|waiting| waiting.waker.take()));
    }
}
