//! Connections one on top of the other, linked through their places: any of them is taken out in one step, however many
//! there are.

use super::order::ConnId;
use super::slots::Slots;

/// The neighbours of a connection in its stack.
#[derive(Debug)]
pub(super) struct Link {
    above: Option<ConnId>,
    below: Option<ConnId>,
}

#[derive(Debug, Default)]
pub(super) struct Stack {
    top: Option<ConnId>,
}

impl Stack {
    pub(super) const fn top(&self) -> Option<ConnId> {
        self.top
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.top.is_none()
    }

    /// Puts a connection on top, also if it was further down.
    pub(super) fn push<K>(&mut self, slots: &mut Slots<K>, conn: ConnId) {
        self.remove(slots, conn);
        let Some(slot) = slots.get_mut(conn) else { return };
        slot.link = Some(Link { above: None, below: self.top });
        if let Some(below) = linked(slots, self.top) {
            below.above = Some(conn);
        }
        self.top = Some(conn);
    }

    /// Takes a connection out, if it is in.
    pub(super) fn remove<K>(&mut self, slots: &mut Slots<K>, conn: ConnId) {
        let Some(Link { above, below }) = slots.get_mut(conn).and_then(|slot| slot.link.take()) else { return };
        match linked(slots, above) {
            Some(above) => above.below = below,
            None => self.top = below,
        }
        if let Some(below) = linked(slots, below) {
            below.above = above;
        }
    }
}

fn linked<K>(slots: &mut Slots<K>, conn: Option<ConnId>) -> Option<&mut Link> {
    slots.get_mut(conn?)?.link.as_mut()
}
