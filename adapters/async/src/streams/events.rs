//! What a protocol tells besides its streams: pongs, and whatever else it has.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::streams::Multiplex;

use super::{Mux, Wakes, enlist};
use crate::hub::lock;

/// Events that wait for whoever asks, at most so many.
pub(super) struct Told<E> {
    events: VecDeque<E>,
    limit: usize,
    missed: u64,
    waiting: Vec<Waker>,
}

impl<E> Told<E> {
    pub(super) fn new(limit: usize) -> Self {
        Self { events: VecDeque::new(), limit, missed: 0, waiting: Vec::new() }
    }

    /// Puts an event down, or counts it where there is no room: streams must not wait for it to be asked for.
    pub(super) fn put(&mut self, event: E, wakes: &mut Wakes) {
        if self.events.len() < self.limit {
            self.events.push_back(event);
            wakes.0.append(&mut self.waiting);
        } else {
            self.missed += 1;
        }
    }

    /// Nothing more will be told.
    pub(super) fn over(&mut self, wakes: &mut Wakes) {
        wakes.0.append(&mut self.waiting);
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Mux<P, T, K> {
    /// The next event of the protocol's that is not about streams: a pong, for one. `None` once the connection ended and
    /// all were taken. At most [`MuxOptions::events`](super::MuxOptions::events) wait; further ones are dropped, and
    /// counted by [`missed_events`](Self::missed_events). Cancel-safe.
    pub async fn event(&self) -> Option<P::Event> {
        poll_fn(|cx| self.poll_told(cx)).await
    }

    /// As [`event`](Self::event), as a poll.
    pub fn poll_told(&self, cx: &mut Context<'_>) -> Poll<Option<P::Event>> {
        let mut inner = lock(&self.shared.inner);
        match inner.told.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if inner.over => Poll::Ready(None),
            None => {
                enlist(&mut inner.told.waiting, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Events that found no room.
    #[must_use]
    pub fn missed_events(&self) -> u64 {
        lock(&self.shared.inner).told.missed
    }
}
