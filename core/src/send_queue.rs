//! The send queue: bytes on their way out, bounded, with a ledger of which message they belong to.

mod ledger;
#[cfg(test)]
mod tests;
mod writer;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};

use bytes::{Bytes, BytesMut};

use crate::error::{LimitExceeded, Misuse};

pub(crate) use ledger::Ledger;
pub use writer::Writer;

/// A refusal for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes that the message needs.
    pub need: usize,
    /// Bytes that are free for messages now.
    pub room: usize,
    /// Bytes that are free when the queue is empty.
    pub limit: usize,
}

/// What a protocol writes to: messages in `command`, answers of its own anywhere.
#[derive(Clone, Debug)]
pub struct SendQueue {
    /// Everything that was copied, in order; the first `head` bytes are already transmitted.
    copied: BytesMut,
    head: usize,
    /// How copied stretches and shared segments alternate; empty while nothing is shared.
    order: VecDeque<Segment>,
    ledger: Ledger,
    /// Unsent bytes, and how many of them are answers.
    queued: usize,
    control: usize,
    /// What [`room`](Self::room) says; it is asked more often than it changes by more than a message.
    free: usize,
    limit: usize,
    reserve: usize,
    threshold: usize,
    /// The command being encoded.
    command: Command,
    /// Our FIN is due or the transport is gone: whatever is written goes nowhere.
    closed: bool,
    /// On the heap, for it hardly ever comes.
    fault: Option<Box<QueueFault>>,
}

/// What a protocol did to the queue that ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueFault {
    Overflow(LimitExceeded),
    Misuse(Misuse),
}

#[derive(Clone, Debug, Hash)]
enum Segment {
    Copied(usize),
    Shared(Bytes),
}

/// What a command did so far, to be undone if it is refused: all of it stands at the end of the queue.
#[derive(Clone, Debug, Default)]
struct Command {
    open: bool,
    /// Bytes written.
    written: usize,
    /// Messages held back.
    held: u64,
}

/// What is queued and what it counts as; how the queue lies in memory is left out.
impl Hash for SendQueue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let copied = self.copied.get(self.head..).unwrap_or_default();
        (copied, &self.order, &self.ledger, self.queued, self.control, self.closed).hash(state);
    }
}

impl SendQueue {
    pub(crate) fn new(limit: usize, reserve: usize, threshold: usize) -> Self {
        Self {
            copied: BytesMut::new(),
            head: 0,
            order: VecDeque::new(),
            ledger: Ledger::default(),
            queued: 0,
            control: 0,
            free: limit,
            limit,
            reserve,
            threshold,
            command: Command::default(),
            closed: false,
            fault: None,
        }
    }

    /// Reserves room for a message of the command being encoded, at most `need` bytes. A command may reserve
    /// several times; it counts as one message, and is undone as a whole if it is refused in the end.
    ///
    /// # Errors
    /// [`NoRoom`] with the numbers; give the command back with it.
    #[inline]
    pub fn message(&mut self, need: usize) -> Result<Writer<'_>, NoRoom> {
        self.writer(need, Kind::Data)
    }

    /// Reserves room for an answer of the protocol's own (pong, ack, window, goodbye), at most `need` bytes.
    /// Answers have a reserve beside the messages' room, so that reading never waits for writing. If even that
    /// is full, what is written goes nowhere and the session ends with a limit.
    ///
    /// After our FIN what is written goes nowhere, silently: the peer can no longer be answered.
    pub fn control(&mut self, need: usize) -> Writer<'_> {
        if self.closed {
            return Writer { queue: self, kind: Kind::Sink, reserved: need, written: 0 };
        }
        if need > self.control_room() {
            let overflow = LimitExceeded::ControlReserve { need, reserve: self.reserve };
            self.fault.get_or_insert_with(|| Box::new(QueueFault::Overflow(overflow)));
            return Writer { queue: self, kind: Kind::Sink, reserved: need, written: 0 };
        }
        Writer { queue: self, kind: Kind::Control, reserved: need, written: 0 }
    }

    /// Says that the command being encoded is accepted now and written later, by [`held`](Self::held): the
    /// peer's credit or acknowledgement is missing. Until then it counts as unsent.
    pub fn hold(&mut self) {
        self.ledger.held += 1;
        self.ledger.accepted += 1;
        self.command.held += u64::from(self.command.open);
    }

    /// Reserves room for a message that was held back, at most `need` bytes. In the middle of a command there is no
    /// room for it: it goes before the command's own bytes, or after it.
    ///
    /// # Errors
    /// [`NoRoom`] with the numbers; try again when bytes were transmitted.
    pub fn held(&mut self, need: usize) -> Result<Writer<'_>, NoRoom> {
        if self.command.written > 0 {
            return Err(NoRoom { need, room: 0, limit: self.limit });
        }
        self.writer(need, Kind::Held)
    }

    /// Says that what is held back will never be written, because the peer said goodbye. It stays counted as unsent,
    /// and our end no longer waits for it.
    pub fn give_up_held(&mut self) {
        self.ledger.held = 0;
    }

    /// Bytes that are free for messages now; 0 once our FIN is due.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        self.free
    }

    /// Bytes that are free for answers now: what [`control`](Self::control) takes without ending the session. A
    /// protocol that can put an answer off asks first; 0 once our FIN is due.
    #[must_use]
    pub fn control_room(&self) -> usize {
        if self.closed {
            return 0;
        }
        (self.limit + self.reserve).saturating_sub(self.queued)
    }

    /// Bytes of answers that are queued and not yet transmitted.
    #[must_use]
    pub fn control_len(&self) -> usize {
        self.control
    }

    /// Bytes queued and not yet transmitted.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.queued
    }

    /// Nothing is queued.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    #[inline]
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Hardly ever: looking is cheaper than taking.
    #[inline]
    pub(crate) fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    pub(crate) fn take_fault(&mut self) -> Option<QueueFault> {
        self.fault.take().map(|fault| *fault)
    }

    /// Starts a command: what is written until [`commit`](Self::commit) is one message.
    #[inline]
    pub(crate) fn begin(&mut self) {
        debug_assert!(self.command.written == 0 && self.command.held == 0, "the last one was committed or undone");
        self.command.open = true;
    }

    #[inline(always)]
    pub(crate) fn commit(&mut self) {
        let written = self.command.written;
        if written > 0 {
            self.ledger.accepted += 1;
            self.ledger.record(written, true);
        }
        self.command = Command::default();
    }

    /// Undoes what the command wrote. Messages held back earlier that it wrote first stay.
    pub(crate) fn rollback(&mut self) {
        let Command { open: _, written, held } = core::mem::take(&mut self.command);
        self.queued -= written;
        self.measure();
        self.ledger.accepted -= held;
        self.ledger.held = self.ledger.held.saturating_sub(held);
        let mut left = written;
        if self.order.is_empty() {
            self.copied.truncate(self.copied.len() - left);
            return;
        }
        while left > 0 {
            match self.order.back_mut() {
                Some(Segment::Copied(n)) => {
                    let step = left.min(*n);
                    *n -= step;
                    left -= step;
                    self.copied.truncate(self.copied.len() - step);
                    if *n == 0 {
                        self.order.pop_back();
                    }
                }
                // A segment belongs to one command as a whole.
                Some(Segment::Shared(bytes)) => {
                    left = left.saturating_sub(bytes.len());
                    self.order.pop_back();
                }
                None => return,
            }
        }
    }

    /// Offers slices of what is queued, in order, and tells how many.
    pub(crate) fn peek<'a>(&'a self, out: &mut [&'a [u8]]) -> usize {
        let copied = self.copied.get(self.head..).unwrap_or_default();
        if self.order.is_empty() {
            return match out.first_mut() {
                Some(slot) if !copied.is_empty() => {
                    *slot = copied;
                    1
                }
                _ => 0,
            };
        }
        let mut rest = copied;
        let mut filled = 0;
        for (slot, segment) in out.iter_mut().zip(&self.order) {
            *slot = match segment {
                Segment::Copied(n) => {
                    let (part, tail) = rest.split_at((*n).min(rest.len()));
                    rest = tail;
                    part
                }
                Segment::Shared(bytes) => bytes,
            };
            filled += 1;
        }
        filled
    }

    /// All that is queued, where it lies in one piece.
    #[inline]
    pub(crate) fn only_slice(&self) -> Option<&[u8]> {
        if self.order.is_empty() { self.copied.get(self.head..).filter(|slice| !slice.is_empty()) } else { None }
    }

    /// Takes `n` transmitted bytes off the front.
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) -> Result<(), Misuse> {
        let offered = self.len();
        if n > offered {
            return Err(Misuse::TransmittedTooMuch { reported: n, offered });
        }
        let control = self.ledger.transmitted(n);
        self.control -= control;
        self.queued -= n;
        self.measure();
        if self.order.is_empty() {
            self.head += n;
        } else {
            self.advance_segments(n);
        }
        if self.head == self.copied.len() {
            self.copied.clear();
            self.head = 0;
        }
        Ok(())
    }

    fn advance_segments(&mut self, mut n: usize) {
        while n > 0 {
            match self.order.front_mut() {
                Some(Segment::Copied(left)) => {
                    let step = n.min(*left);
                    *left -= step;
                    self.head += step;
                    n -= step;
                    if *left == 0 {
                        self.order.pop_front();
                    }
                }
                Some(Segment::Shared(bytes)) => {
                    let step = n.min(bytes.len());
                    bytes::Buf::advance(bytes, step);
                    n -= step;
                    if bytes.is_empty() {
                        self.order.pop_front();
                    }
                }
                None => return,
            }
        }
        // Only copied bytes are left: back to the short way.
        if let (1, Some(Segment::Copied(_))) = (self.order.len(), self.order.front()) {
            self.order.clear();
        }
    }

    /// Gives up everything queued. What was accepted and not transmitted stays counted as unsent.
    pub(crate) fn discard(&mut self) {
        self.copied = BytesMut::new();
        self.head = 0;
        self.order = VecDeque::new();
        self.ledger.forget();
        self.queued = 0;
        self.control = 0;
        self.measure();
    }

    /// From now on nothing can be written.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.measure();
    }

    /// Room for messages: answers beyond their own reserve take of it.
    fn measure(&mut self) {
        let borrowed = self.control.saturating_sub(self.reserve);
        let messages = self.queued - self.control;
        self.free = if self.closed { 0 } else { self.limit.saturating_sub(messages + borrowed) };
    }

    #[inline]
    pub(crate) fn has_no_buffer(&self) -> bool {
        self.copied.capacity() == 0
    }

    #[inline]
    pub(crate) fn lend(&mut self, buffer: BytesMut) -> Option<BytesMut> {
        if !self.has_no_buffer() || !buffer.is_empty() {
            return Some(buffer);
        }
        self.copied = buffer;
        None
    }

    #[inline]
    pub(crate) fn reclaim(&mut self) -> Option<BytesMut> {
        if !self.is_empty() || self.copied.capacity() == 0 {
            return None;
        }
        self.head = 0;
        let mut buffer = core::mem::take(&mut self.copied);
        buffer.clear();
        Some(buffer)
    }

    #[inline]
    fn writer(&mut self, need: usize, kind: Kind) -> Result<Writer<'_>, NoRoom> {
        // Nothing is free once it is closed.
        if need > self.free || (need == 0 && self.closed) {
            // A command needs room for all of it: what it wrote before the refusal is undone.
            let written = self.command.written;
            return Err(NoRoom { need: need + written, room: self.free + written, limit: self.limit });
        }
        Ok(Writer { queue: self, kind, reserved: need, written: 0 })
    }

    #[inline]
    fn make_room(&mut self, need: usize) {
        if self.copied.capacity() - self.copied.len() < need {
            self.move_to_front();
        }
    }

    /// The transmitted front is reused if it is at least as large as what is left: moving costs less than was sent.
    #[cold]
    fn move_to_front(&mut self) {
        let live = self.copied.len() - self.head;
        if self.head >= live {
            self.copied.copy_within(self.head.., 0);
            self.copied.truncate(live);
            self.head = 0;
        }
    }

    #[inline]
    fn put_copied(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.copied.extend_from_slice(bytes);
        self.note_copied(bytes.len());
    }

    #[inline]
    fn note_copied(&mut self, n: usize) {
        if !self.order.is_empty() {
            self.grow_copied_segment(n);
        }
    }

    /// What a writer wrote outside of a command, or otherwise than it should.
    fn wrote(&mut self, kind: Kind, reserved: usize, written: usize) {
        if written > reserved {
            self.fault = Some(Box::new(QueueFault::Misuse(Misuse::ReservationBroken { reserved, written })));
            return;
        }
        if kind == Kind::Sink {
            return;
        }
        self.queued += written;
        match kind {
            Kind::Sink => {}
            // Inside a command it belongs to its one message.
            Kind::Data | Kind::Control if self.command.open => self.command.written += written,
            Kind::Control => {
                self.control += written;
                self.ledger.record(written, false);
            }
            // A message of the protocol's own accord.
            Kind::Data => {
                self.ledger.accepted += 1;
                self.ledger.record(written, true);
            }
            // Nothing older is held back, so it is the command's own after all: undone with it, if it is refused.
            Kind::Held if self.command.held > 0 && self.ledger.held == self.command.held => {
                self.command.held -= 1;
                self.ledger.held -= 1;
                self.ledger.accepted -= 1;
                self.command.written += written;
            }
            // An older one. A command that is refused later does not take it back.
            Kind::Held => {
                self.ledger.held = self.ledger.held.saturating_sub(1);
                self.ledger.record(written, true);
            }
        }
        self.measure();
    }

    fn grow_copied_segment(&mut self, n: usize) {
        match self.order.back_mut() {
            Some(Segment::Copied(len)) => *len += n,
            _ => self.order.push_back(Segment::Copied(n)),
        }
    }

    fn put_shared(&mut self, bytes: Bytes) {
        if self.order.is_empty() && self.copied.len() > self.head {
            self.order.push_back(Segment::Copied(self.copied.len() - self.head));
        }
        self.order.push_back(Segment::Shared(bytes));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Held,
    Control,
    /// An answer that found no room.
    Sink,
}
