//! What a protocol tells besides its streams: pongs, and whatever else it has.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::streams::Multiplex;

use super::waiters::{SHARED, Wait, Waiters};
use super::{Inner, Mux, Wakes};
use crate::hub::lock;

/// Events that wait for whoever asks, at most so many.
pub(super) struct Told<E> {
    events: VecDeque<E>,
    limit: usize,
    missed: u64,
    waiting: Waiters,
}

impl<E> Told<E> {
    pub(super) fn new(limit: usize) -> Self {
        Self { events: VecDeque::new(), limit, missed: 0, waiting: Waiters::default() }
    }

    /// Puts an event down, or counts it where there is no room: streams must not wait for it to be asked for.
    pub(super) fn put(&mut self, event: E, wakes: &mut Wakes) {
        if self.events.len() < self.limit {
            self.events.push_back(event);
            self.waiting.call(&mut wakes.0);
        } else {
            self.missed += 1;
        }
    }

    /// Nothing more will be told.
    pub(super) fn over(&mut self, wakes: &mut Wakes) {
        self.waiting.call(&mut wakes.0);
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Mux<P, T, K> {
    /// The next event of the protocol's that is not about streams: a pong, for one. `None` once the connection ended and
    /// all were taken. At most [`MuxOptions::events`](super::MuxOptions::events) wait; further ones are dropped, and
    /// counted by [`missed_events`](Self::missed_events). Cancel-safe.
    pub async fn event(&self) -> Option<P::Event> {
        self.waits(|inner| &mut inner.told.waiting, |wait, cx| self.poll_told_as(wait, cx)).await
    }

    /// As [`event`](Self::event), as a poll.
    pub fn poll_told(&self, cx: &mut Context<'_>) -> Poll<Option<P::Event>> {
        self.poll_told_as(&mut SHARED.clone(), cx)
    }

    fn poll_told_as(&self, wait: &mut Wait, cx: &mut Context<'_>) -> Poll<Option<P::Event>> {
        let take = |inner: &mut Inner<P, T, K>| match inner.told.events.pop_front() {
            Some(event) => Some(Some(event)),
            None => inner.over.then_some(None),
        };
        self.take_or_wait(take, |inner| &mut inner.told.waiting, wait, cx)
    }

    /// Events that found no room.
    #[must_use]
    pub fn missed_events(&self) -> u64 {
        lock(&self.shared.inner).told.missed
    }
}
