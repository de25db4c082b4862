//! The send queue: bytes on their way out, bounded, with a ledger of which message they belong to.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::error::{LimitExceeded, Misuse};

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
#[derive(Debug)]
pub struct SendQueue {
    /// Everything that was copied, in order; the first `head` bytes are already transmitted.
    copied: BytesMut,
    head: usize,
    /// How copied stretches and shared segments alternate; empty while nothing is shared.
    order: VecDeque<Segment>,
    ledger: Ledger,
    /// Unsent bytes of messages and of answers.
    data: usize,
    control: usize,
    limit: usize,
    reserve: usize,
    threshold: usize,
    /// The command being encoded.
    command: Option<Command>,
    /// Our FIN is due or the transport is gone: whatever is written goes nowhere.
    closed: bool,
    fault: Option<QueueFault>,
}

/// What a protocol did to the queue that ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueFault {
    Overflow(LimitExceeded),
    Misuse(Misuse),
}

#[derive(Debug)]
enum Segment {
    Copied(usize),
    Shared(Bytes),
}

#[derive(Debug)]
struct Command {
    /// Bytes written so far.
    written: usize,
    /// Where to go back to if it is refused.
    mark: Mark,
}

/// A point to which a refused command is undone.
#[derive(Debug)]
struct Mark {
    copied: usize,
    segments: usize,
    last_copied: Option<usize>,
    data: usize,
    held: u64,
}

impl SendQueue {
    pub(crate) fn new(limit: usize, reserve: usize, threshold: usize) -> Self {
        Self {
            copied: BytesMut::new(),
            head: 0,
            order: VecDeque::new(),
            ledger: Ledger::default(),
            data: 0,
            control: 0,
            limit,
            reserve,
            threshold,
            command: None,
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
        let free = (self.limit + self.reserve).saturating_sub(self.data + self.control);
        if need > free {
            let overflow = LimitExceeded::ControlReserve { need, reserve: self.reserve };
            self.fault.get_or_insert(QueueFault::Overflow(overflow));
            return Writer { queue: self, kind: Kind::Sink, reserved: need, written: 0 };
        }
        Writer { queue: self, kind: Kind::Control, reserved: need, written: 0 }
    }

    /// Says that the command being encoded is accepted now and written later, by [`held`](Self::held): the
    /// peer's credit or acknowledgement is missing. Until then it counts as unsent.
    pub fn hold(&mut self) {
        self.ledger.held += 1;
        self.ledger.accepted += 1;
    }

    /// Reserves room for a message that was held back, at most `need` bytes. In the middle of a command there is no
    /// room for it: it goes before the command's own bytes, or after it.
    ///
    /// # Errors
    /// [`NoRoom`] with the numbers; try again when bytes were transmitted.
    pub fn held(&mut self, need: usize) -> Result<Writer<'_>, NoRoom> {
        if self.command.as_ref().is_some_and(|command| command.written > 0) {
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
        if self.closed {
            return 0;
        }
        let borrowed = self.control.saturating_sub(self.reserve);
        self.limit.saturating_sub(self.data + borrowed)
    }

    /// Bytes queued and not yet transmitted.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.data + self.control
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

    #[inline]
    pub(crate) fn take_fault(&mut self) -> Option<QueueFault> {
        // Hardly ever there: looking is cheaper than taking.
        if self.fault.is_some() { self.fault.take() } else { None }
    }

    /// Starts a command: what is written until [`commit`](Self::commit) is one message.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.command = Some(Command { written: 0, mark: self.mark() });
    }

    #[inline]
    pub(crate) fn commit(&mut self) {
        if let Some(Command { written, .. }) = self.command {
            if written > 0 {
                self.ledger.accepted += 1;
                self.ledger.record(written, true);
            }
        }
        self.command = None;
    }

    /// Undoes what the command wrote. Messages held back earlier that it wrote first stay.
    pub(crate) fn rollback(&mut self) {
        let Some(Command { mark, .. }) = self.command.take() else { return };
        self.copied.truncate(self.head + mark.copied);
        self.order.truncate(mark.segments);
        if let (Some(Segment::Copied(n)), Some(before)) = (self.order.back_mut(), mark.last_copied) {
            *n = before;
        }
        self.data = mark.data;
        self.ledger.accepted -= self.ledger.held.saturating_sub(mark.held);
        self.ledger.held = mark.held;
    }

    #[inline]
    fn mark(&self) -> Mark {
        Mark {
            copied: self.copied.len() - self.head,
            segments: self.order.len(),
            last_copied: match self.order.back() {
                Some(Segment::Copied(n)) => Some(*n),
                _ => None,
            },
            data: self.data,
            held: self.ledger.held,
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

    /// Takes `n` transmitted bytes off the front.
    pub(crate) fn advance(&mut self, n: usize) -> Result<(), Misuse> {
        let offered = self.len();
        if n > offered {
            return Err(Misuse::TransmittedTooMuch { reported: n, offered });
        }
        let control = self.ledger.transmitted(n);
        self.control -= control;
        self.data -= n - control;
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
        self.data = 0;
        self.control = 0;
    }

    /// From now on nothing can be written.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    #[inline]
    pub(crate) fn has_no_buffer(&self) -> bool {
        self.copied.capacity() == 0
    }

    pub(crate) fn lend(&mut self, buffer: BytesMut) -> Option<BytesMut> {
        if !self.has_no_buffer() || !buffer.is_empty() {
            return Some(buffer);
        }
        self.copied = buffer;
        None
    }

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
        let room = self.room();
        if need > room || self.closed {
            // A command needs room for all of it: what it wrote before the refusal is undone.
            let written = self.command.as_ref().map_or(0, |command| command.written);
            return Err(NoRoom { need: need + written, room: room + written, limit: self.limit });
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
        if !self.order.is_empty() {
            self.grow_copied_segment(bytes.len());
        }
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

/// Writes one message or answer into the reserved room. What goes beyond the reservation is not written, and ends
/// the session with [`Misuse::ReservationBroken`]: it is a bug of the protocol's implementation.
#[derive(Debug)]
pub struct Writer<'a> {
    queue: &'a mut SendQueue,
    kind: Kind,
    reserved: usize,
    written: usize,
}

impl Writer<'_> {
    /// Appends a copy of `bytes`.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        if self.fits(bytes.len()) {
            self.queue.put_copied(bytes);
        }
    }

    /// Appends one byte.
    #[inline]
    pub fn put_u8(&mut self, byte: u8) {
        self.put_slice(&[byte]);
    }

    /// Appends `bytes`: shared without a copy from the share threshold on, copied below it.
    #[inline]
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < self.queue.threshold {
            self.put_slice(&bytes);
        } else if self.fits(bytes.len()) && !bytes.is_empty() {
            self.queue.put_shared(bytes);
        }
    }

    /// Bytes of the reservation that are left.
    #[must_use]
    #[inline]
    pub fn remaining(&self) -> usize {
        self.reserved.saturating_sub(self.written)
    }

    #[inline]
    fn fits(&mut self, n: usize) -> bool {
        self.written += n;
        self.written <= self.reserved && self.kind != Kind::Sink
    }
}

impl Drop for Writer<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.written > self.reserved {
            let misuse = Misuse::ReservationBroken { reserved: self.reserved, written: self.written };
            self.queue.fault = Some(QueueFault::Misuse(misuse));
            return;
        }
        let written = self.written;
        match (self.kind, &mut self.queue.command) {
            (Kind::Sink, _) => {}
            // Inside a command everything belongs to its one message, so that it is undone as a whole.
            (Kind::Data | Kind::Control, Some(command)) => {
                command.written += written;
                self.queue.data += written;
            }
            (Kind::Control, None) => {
                self.queue.control += written;
                self.queue.ledger.record(written, false);
            }
            // A message of the protocol's own accord.
            (Kind::Data, None) => {
                self.queue.data += written;
                self.queue.ledger.accepted += 1;
                self.queue.ledger.record(written, true);
            }
            (Kind::Held, _) => {
                self.queue.data += written;
                self.queue.ledger.held = self.queue.ledger.held.saturating_sub(1);
                self.queue.ledger.record(written, true);
                // A command that is refused later does not take it back.
                if self.queue.command.is_some() {
                    self.queue.begin();
                }
            }
        }
    }
}

/// Counts messages against the bytes that carry them (law L14). Equal neighbours share one entry.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    runs: VecDeque<Run>,
    /// Bytes of the front run's first message that are already transmitted.
    front_sent: usize,
    pub(crate) accepted: u64,
    pub(crate) flushed: u64,
    /// Messages of which a byte was transmitted; kept when the rest is forgotten.
    begun: u64,
    /// Accepted messages that the protocol has not written yet.
    pub(crate) held: u64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    len: u32,
    count: u32,
    message: bool,
}

impl Ledger {
    /// Messages accepted and not wholly transmitted.
    pub(crate) fn unsent(&self) -> u64 {
        self.accepted - self.flushed
    }

    /// Messages of which at least one byte was transmitted: of the others the peer knows nothing.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.max(self.flushed)
    }

    #[inline]
    fn record(&mut self, len: usize, message: bool) {
        // Limits keep the whole queue below 4 GiB.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if len == 0 {
            self.flushed += u64::from(message);
            return;
        }
        match self.runs.back_mut() {
            Some(run) if run.len == len && run.message == message && run.count < u32::MAX => run.count += 1,
            _ => self.runs.push_back(Run { len, count: 1, message }),
        }
    }

    /// Takes `n` bytes off and tells how many of them belonged to answers.
    fn transmitted(&mut self, mut n: usize) -> usize {
        let mut control = 0;
        while n > 0 {
            let Some(run) = self.runs.front_mut() else { break };
            let (len, count) = (run.len as usize, run.count as usize);
            let left = len * count - self.front_sent;
            let step = n.min(left);
            let done = (self.front_sent + step) / len;
            self.front_sent = (self.front_sent + step) % len;
            if run.message {
                self.flushed += done as u64;
            } else {
                control += step;
            }
            if done == count {
                self.runs.pop_front();
            } else {
                run.count -= done as u32;
            }
            n -= step;
        }
        let cut = self.front_sent > 0 && self.runs.front().is_some_and(|run| run.message);
        self.begun = self.flushed + u64::from(cut);
        control
    }

    fn forget(&mut self) {
        self.runs = VecDeque::new();
        self.front_sent = 0;
        self.held = 0;
    }
}

#[cfg(test)]
mod tests;
