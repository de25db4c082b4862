//! What the kit knows about streams, beside what they say of themselves.

use std::collections::{BTreeMap, VecDeque};

use duologue_core::streams::{StreamClosed, StreamId};
use duologue_core::{Instant, Session};

use super::subject::StreamSubject;
use crate::subject::Role;

/// One stream as the application of one side knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) tag: u64,
    pub(crate) weight: u8,
    /// Nobody reads it here before the end.
    pub(crate) deaf: bool,
    /// Bytes accepted, and where messages among them end.
    pub(crate) sent: u64,
    pub(crate) sent_ends: Vec<u64>,
    /// Bytes taken, and where messages among them ended.
    pub(crate) taken: u64,
    pub(crate) taken_ends: Vec<u64>,
    pub(crate) unreleased: usize,
    /// What we did.
    pub(crate) finished: bool,
    pub(crate) reset: bool,
    pub(crate) stopped: bool,
    pub(crate) deadline: Option<Instant>,
    pub(crate) had_deadline: bool,
    /// What we were told.
    pub(crate) peer_finished: bool,
    pub(crate) closed: Option<StreamClosed>,
    /// Reading found nothing; writing found no room for so many bytes.
    pub(crate) waits_read: bool,
    pub(crate) waits_write: Option<usize>,
    /// Bytes of others that went while this one could have, by stream.
    pub(crate) waited: BTreeMap<StreamId, u64>,
    pub(crate) used: i64,
    pub(crate) was_ready: bool,
}

/// One side.
pub(crate) struct Side<S: StreamSubject> {
    pub(crate) role: Role,
    pub(crate) session: Session<S::Protocol>,
    /// By id: ids are never used twice.
    pub(crate) accounts: BTreeMap<StreamId, Account>,
    pub(crate) by_tag: BTreeMap<u64, StreamId>,
    /// Opening was refused for want of a place.
    pub(crate) waits_open: bool,
    pub(crate) peer_finished: bool,
    pub(crate) over: bool,
    pub(crate) released: bool,
}

impl<S: StreamSubject> Side<S> {
    pub(crate) fn of_tag(&self, tag: u64) -> Option<(StreamId, &Account)> {
        let id = *self.by_tag.get(&tag)?;
        Some((id, self.accounts.get(&id)?))
    }

    pub(crate) fn pick(&self, which: u32) -> Option<StreamId> {
        let open = self.accounts.iter().filter(|(_, account)| account.closed.is_none());
        let open: Vec<_> = open.map(|(id, _)| *id).collect();
        (!open.is_empty()).then(|| open[which as usize % open.len()])
    }
}

/// One direction of the link: towards the side with the same index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) bytes: VecDeque<u8>,
    pub(crate) capacity: usize,
    pub(crate) frozen: bool,
    /// A FIN is behind the bytes.
    pub(crate) fin: bool,
    /// Nothing more gets in.
    pub(crate) cut: bool,
}

impl Pipe {
    pub(crate) fn space(&self) -> usize {
        match (self.frozen, self.cut) {
            (true, _) => 0,
            (_, true) => usize::MAX,
            _ => self.capacity.saturating_sub(self.bytes.len()),
        }
    }
}

/// The byte at a position of a stream: what arrives is checked without keeping what was sent.
pub(crate) fn byte_at(tag: u64, from: Role, at: u64) -> u8 {
    (tag.wrapping_mul(31) ^ at.wrapping_mul(7) ^ (at >> 8) ^ from.index() as u64) as u8
}
