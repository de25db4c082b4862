//! Connections in places that are used again, each time under a new generation.

use alloc::vec::Vec;

use super::order::{CloseReason, ConnId};
use super::stack::Link;
use crate::time::Instant;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It was ordered.
    Dialing,
    /// The peer was asked whether it is there.
    Probing,
    /// It can be used, or is.
    Open,
    /// Its close was decided.
    Closing,
}

#[derive(Debug)]
pub(super) struct Conn<K> {
    pub(super) target: K,
    pub(super) state: State,
    pub(super) users: u32,
    /// Most users at a time.
    pub(super) capacity: u32,
    /// Times that it was given out.
    pub(super) uses: u64,
    /// When its last user left, or it came up.
    pub(super) idle_since: Instant,
    /// When it was shown to be alive, so that it needs no probe.
    pub(super) alive_at: Instant,
    /// When unused it is closed.
    pub(super) idle_until: Option<Instant>,
    /// When it is too old.
    pub(super) life_until: Option<Instant>,
    pub(super) alarm: Option<Instant>,
    /// It takes no new users, and is closed once the last left.
    pub(super) retiring: Option<CloseReason>,
    /// Its place among those that take another user.
    pub(super) link: Option<Link>,
}

#[derive(Debug)]
struct Slot<K> {
    generation: u32,
    conn: Option<Conn<K>>,
}

#[derive(Debug)]
pub(super) struct Slots<K> {
    slots: Vec<Slot<K>>,
    free: Vec<u32>,
    open: u32,
}

impl<K> Slots<K> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), open: 0 }
    }

    /// Sockets, in whatever state.
    pub(super) const fn open(&self) -> u32 {
        self.open
    }

    pub(super) fn insert(&mut self, conn: Conn<K>) -> ConnId {
        self.open += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, conn: None });
            // `PoolConfig::total` is a u32.
            (self.slots.len() - 1) as u32
        });
        let generation = self.slots.get_mut(index as usize).map_or(0, |slot| {
            slot.conn = Some(conn);
            slot.generation
        });
        ConnId { index, generation }
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn<K>> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let conn = slot.conn.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        self.open -= 1;
        Some(conn)
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn<K>> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation { slot.conn.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn<K>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.conn.as_mut() } else { None }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn<K>)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let id = ConnId { index: index as u32, generation: slot.generation };
            slot.conn.as_ref().map(|conn| (id, conn))
        })
    }
}
