//! One stream: two halves, two buffers, two ledgers.

use super::chunks::Queue;
use super::credit::{RecvCredit, SendCredit};
use super::event::StreamEnd;
use super::state::{StreamRecvInput, StreamRecvState, StreamSendInput, StreamSendState};
use crate::closed::Code;
use crate::time::Instant;

/// Facts about a stream that are true or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags(u32);

impl Flags {
    /// To be told to the application.
    pub(super) const OPENED: u32 = 1;
    pub(super) const ACCEPTED: u32 = 1 << 1;
    pub(super) const READABLE: u32 = 1 << 2;
    pub(super) const WRITABLE: u32 = 1 << 3;
    pub(super) const CLOSED: u32 = 1 << 4;
    /// To be ordered.
    pub(super) const OPEN_DUE: u32 = 1 << 5;
    pub(super) const ACCEPT_DUE: u32 = 1 << 6;
    pub(super) const STOP_DUE: u32 = 1 << 7;
    pub(super) const RESET_DUE: u32 = 1 << 8;
    /// We opened it.
    pub(super) const LOCAL: u32 = 1 << 9;
    /// Data may be ordered.
    pub(super) const CARRIES: u32 = 1 << 10;
    /// Its data need not wait for the peer to accept it, or did not in vain.
    pub(super) const TAKEN: u32 = 1 << 11;
    /// The application took its end.
    pub(super) const TOLD: u32 = 1 << 13;
    /// A message was begun: received, and sent.
    pub(super) const RECV_INSIDE: u32 = 1 << 14;
    pub(super) const SEND_INSIDE: u32 = 1 << 15;
    /// The peer stopped reading.
    pub(super) const STOPPED: u32 = 1 << 16;
    /// The peer had finished when the connection ended: what it sent is whole.
    pub(super) const WHOLE: u32 = 1 << 17;
    /// It counts among ours that the peer has not accepted.
    pub(super) const UNACCEPTED: u32 = 1 << 12;

    pub(super) const fn new(bits: u32) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    #[inline]
    pub(super) fn set(&mut self, bits: u32) {
        self.0 |= bits;
    }

    #[inline]
    pub(super) fn clear(&mut self, bits: u32) {
        self.0 &= !bits;
    }

    /// Clears the bits and tells whether any was set.
    #[inline]
    pub(super) fn take(&mut self, bits: u32) -> bool {
        let had = self.has(bits);
        self.clear(bits);
        had
    }
}

#[derive(Debug)]
pub(super) struct Stream<D> {
    pub(super) key: u64,
    pub(super) data: D,
    pub(super) outgoing: Queue,
    pub(super) incoming: Queue,
    pub(super) send_credit: SendCredit,
    pub(super) recv_credit: RecvCredit,
    pub(super) deadline: Option<Instant>,
    /// When credit was last given, to see how fast the reader is.
    pub(super) granted_at: Option<Instant>,
    pub(super) end: Option<StreamEnd>,
    /// Of a reset or a stop that is due.
    pub(super) code: Code,
    /// With which code the peer stopped reading.
    pub(super) stopped: Code,
    pub(super) unsent: u32,
    pub(super) undelivered: u32,
    /// Room that refused data needs; 0 if none was refused.
    pub(super) waits_for: u32,
    /// What is left of its turn.
    pub(super) turn_bytes: u32,
    pub(super) turn_pieces: u16,
    pub(super) flags: Flags,
    pub(super) weight: u8,
    pub(super) send: StreamSendState,
    pub(super) recv: StreamRecvState,
}

impl<D> Stream<D> {
    pub(super) fn move_send(&mut self, input: StreamSendInput) {
        if let Some(next) = self.send.on(input) {
            self.send = next;
        }
    }

    pub(super) fn move_recv(&mut self, input: StreamRecvInput) {
        if let Some(next) = self.recv.on(input) {
            self.recv = next;
        }
    }

    /// Bytes taken by the application and not released.
    pub(super) fn taken(&self) -> usize {
        (self.recv_credit.held() as usize).saturating_sub(self.incoming.len())
    }

    /// Our finish is due and nothing is before it.
    pub(super) fn finish_due(&self) -> bool {
        self.send == StreamSendState::Finishing && self.outgoing.is_empty() && self.flags.has(Flags::CARRIES)
    }

    pub(super) fn is_over(&self) -> bool {
        self.send.is_over() && self.recv.is_over()
    }
}
