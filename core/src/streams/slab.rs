//! The streams in their slots, and lists of slots.
//!
//! A list is threaded through the slots, so that queueing a stream allocates nothing. A slot may stay in a list after its
//! stream ended; whoever takes it from the list finds nothing to do.

use alloc::vec::Vec;

use super::StreamId;
use super::stream::Stream;

const NONE: u32 = u32::MAX;

/// The lists that a slot can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Streams that have something to tell.
    Events = 0,
    /// Streams with control to be ordered.
    Control = 1,
    /// Streams with data to be ordered.
    Ready = 2,
}

#[derive(Debug)]
struct Slot<D> {
    generation: u32,
    listed: u8,
    next: [u32; 3],
    stream: Option<Stream<D>>,
}

/// The slots.
#[derive(Debug)]
pub(super) struct Slab<D> {
    slots: Vec<Slot<D>>,
    free: Vec<u32>,
    ends: [(u32, u32); 3],
    live: u32,
    limit: u32,
}

impl<D> Slab<D> {
    pub(super) const fn new(limit: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), ends: [(NONE, NONE); 3], live: 0, limit }
    }

    pub(super) const fn live(&self) -> u32 {
        self.live
    }

    /// Slots that were ever used.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) const fn is_full(&self) -> bool {
        self.live >= self.limit
    }

    /// The id that the next stream gets.
    pub(super) fn next_id(&self) -> StreamId {
        match self.free.last() {
            Some(index) => self.id(*index),
            None => StreamId { index: self.slots.len() as u32, generation: 0 },
        }
    }

    pub(super) fn insert(&mut self, stream: Stream<D>) -> StreamId {
        self.live += 1;
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(index as usize) {
            Some(slot) => slot.stream = Some(stream),
            None => self.slots.push(Slot { generation: 0, listed: 0, next: [NONE; 3], stream: Some(stream) }),
        }
        self.id(index)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Stream<D>> {
        let slot = self.slots.get_mut(index as usize)?;
        let stream = slot.stream.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.live -= 1;
        self.free.push(index);
        Some(stream)
    }

    pub(super) fn id(&self, index: u32) -> StreamId {
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        StreamId { index, generation }
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Stream<D>> {
        self.slots.get(index as usize)?.stream.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Stream<D>> {
        self.slots.get_mut(index as usize)?.stream.as_mut()
    }

    /// The slot of a stream that is still there.
    #[inline]
    pub(super) fn find(&self, id: StreamId) -> Option<u32> {
        let slot = self.slots.get(id.index as usize)?;
        (slot.generation == id.generation && slot.stream.is_some()).then_some(id.index)
    }

    /// Every stream's slot.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> + use<'_, D> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.stream.is_some()).map(|(index, _)| index as u32)
    }

    #[inline]
    pub(super) const fn first(&self, list: List) -> Option<u32> {
        match self.ends[list as usize].0 {
            NONE => None,
            index => Some(index),
        }
    }

    /// Appends to a list; nothing happens if the slot is in it.
    #[inline]
    pub(super) fn push(&mut self, list: List, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        if slot.listed & (1 << list as u8) != 0 {
            return;
        }
        slot.listed |= 1 << list as u8;
        slot.next[list as usize] = NONE;
        let (head, tail) = self.ends[list as usize];
        match self.slots.get_mut(tail as usize) {
            Some(last) => {
                last.next[list as usize] = index;
                self.ends[list as usize] = (head, index);
            }
            None => self.ends[list as usize] = (index, index),
        }
    }

    #[inline]
    pub(super) fn pop(&mut self, list: List) -> Option<u32> {
        let (head, tail) = self.ends[list as usize];
        let slot = self.slots.get_mut(head as usize)?;
        slot.listed &= !(1 << list as u8);
        let next = slot.next[list as usize];
        self.ends[list as usize] = (next, if next == NONE { NONE } else { tail });
        Some(head)
    }

    /// Takes a slot out of a list, wherever it is in it. Looks at those before it.
    pub(super) fn unlist(&mut self, list: List, index: u32) {
        let n = list as usize;
        let Some(slot) = self.slots.get_mut(index as usize).filter(|slot| slot.listed & (1 << n) != 0) else { return };
        slot.listed &= !(1 << n);
        let after = slot.next[n];
        let (mut at, mut before) = (self.ends[n].0, NONE);
        while at != index {
            let Some(slot) = self.slots.get(at as usize) else { return };
            (before, at) = (at, slot.next[n]);
        }
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.next[n] = after,
            None => self.ends[n].0 = after,
        }
        if after == NONE {
            self.ends[n].1 = before;
        }
    }

    /// Bytes that one slot takes.
    pub(super) const SLOT: usize = size_of::<Slot<D>>();
}
