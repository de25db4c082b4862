//! Requests that were not wholly answered, in the order in which they were asked.

use alloc::collections::VecDeque;

/// A request that was not wholly answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) head: bool,
    pub(super) connect: bool,
    pub(super) http10: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// The client waits for 100 (Continue).
    pub(super) expects: bool,
}

/// A queue whose front lies in place: most clients wait for each answer, and their connections need no allocation for it.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    front: Option<Exchange>,
    /// Behind the front; empty if there is none.
    behind: VecDeque<Exchange>,
}

impl Exchanges {
    pub(super) fn len(&self) -> usize {
        usize::from(self.front.is_some()) + self.behind.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    pub(super) const fn front(&self) -> Option<&Exchange> {
        self.front.as_ref()
    }

    pub(super) const fn front_mut(&mut self) -> Option<&mut Exchange> {
        self.front.as_mut()
    }

    pub(super) fn back(&self) -> Option<&Exchange> {
        self.behind.back().or(self.front.as_ref())
    }

    pub(super) fn back_mut(&mut self) -> Option<&mut Exchange> {
        self.behind.back_mut().or(self.front.as_mut())
    }

    pub(super) fn push_back(&mut self, exchange: Exchange) {
        if self.front.is_none() {
            self.front = Some(exchange);
        } else {
            self.behind.push_back(exchange);
        }
    }

    /// Drops the front: what was asked next is the front then.
    pub(super) fn pop_front(&mut self) {
        self.front = self.behind.pop_front();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
