//! Who waits for which stream.

use std::collections::BTreeMap;
use std::task::Waker;

use duologue_core::streams::{StreamClosed, StreamId};

use super::waiters::Waiters;

/// Who waits for one stream, and how it ended.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) reader: Option<Waker>,
    pub(super) writers: Waiters,
    pub(super) closed: Option<StreamClosed>,
    /// It was opened here, or accepted.
    pub(super) taken: bool,
    /// Handles that exist for it.
    pub(super) senders: usize,
    pub(super) receivers: usize,
}

/// The streams that handles exist for, by slot: with thousands of them a search per message would be the dearest part
/// of it.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Option<(u32, Waiting)>>,
    /// Streams that ended and are still held, whose slot another stream has.
    older: BTreeMap<StreamId, Waiting>,
}

impl Table {
    #[inline]
    pub(super) fn get(&self, id: StreamId) -> Option<&Waiting> {
        match self.slots.get(id.index() as usize) {
            Some(Some((generation, waiting))) if *generation == id.generation() => Some(waiting),
            _ => self.older.get(&id),
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Waiting> {
        match self.slots.get_mut(id.index() as usize) {
            Some(Some((generation, waiting))) if *generation == id.generation() => Some(waiting),
            _ => self.older.get_mut(&id),
        }
    }

    /// The stream's entry, made if there is none.
    pub(super) fn entry(&mut self, id: StreamId) -> &mut Waiting {
        let index = id.index() as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let slot = &mut self.slots[index];
        match slot.take() {
            Some((generation, waiting)) if generation == id.generation() => *slot = Some((generation, waiting)),
            Some((generation, waiting)) => {
                // Slots are counted up: what is here is of the stream before.
                self.older.insert(StreamId::from_bits(u64::from(generation) << 32 | u64::from(id.index())), waiting);
            }
            None => {}
        }
        &mut slot.get_or_insert_with(|| (id.generation(), Waiting::default())).1
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        match self.slots.get_mut(id.index() as usize) {
            Some(slot) if slot.as_ref().is_some_and(|(generation, _)| *generation == id.generation()) => *slot = None,
            _ => drop(self.older.remove(&id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_is_still_held_is_found_when_another_has_its_slot() {
        let id = |index: u64, generation: u64| StreamId::from_bits(generation << 32 | index);
        let mut table = Table::default();
        table.entry(id(3, 0)).senders = 1;
        table.entry(id(3, 1)).senders = 2;
        table.entry(id(3, 2)).senders = 3;
        assert_eq!([0, 1, 2].map(|n| table.get(id(3, n)).map(|waiting| waiting.senders)), [Some(1), Some(2), Some(3)]);
        table.entry(id(3, 2)).receivers = 1;
        table.remove(id(3, 1));
        table.remove(id(3, 2));
        assert_eq!([0, 1, 2, 3].map(|n| table.get(id(3, n)).is_some()), [true, false, false, false]);
        table.get_mut(id(3, 0)).unwrap().taken = true;
        table.remove(id(3, 0));
        assert!(table.older.is_empty() && table.get(id(9, 0)).is_none());
    }
}
