//! Messages that hardly ever come.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// A queue that is a pointer until something is in it: sessions are many, and most never use it.
#[derive(Clone, Debug, Hash)]
#[allow(clippy::box_collection, reason = "three words less in each session")]
pub(super) struct Late<E>(Option<Box<VecDeque<E>>>);

impl<E> Late<E> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    pub(super) fn push_back(&mut self, event: E) {
        self.0.get_or_insert_default().push_back(event);
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<E> {
        let queue = self.0.as_mut()?;
        let event = queue.pop_front();
        if queue.is_empty() {
            self.0 = None;
        }
        event
    }
}
