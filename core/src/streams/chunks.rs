//! The bytes of all streams, in one store: an idle stream holds none, and busy ones allocate nothing in steady state.
//!
//! What a peer sends costs what it sends, however it cuts it. Small pieces are copied together into blocks: bytes of a
//! stream without any mark, messages behind two bytes each that keep their ends. Large ones are shared, but a shared
//! piece keeps the whole read alive that it came in; only so many may, and beyond them pieces are copied as well. So
//! what one stream keeps unread is at most its bytes, 3 bytes for each byte-long message, one block of slack, and
//! [`PINS`] reads for all streams together.

use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};

use crate::protocol::Payload;

const NONE: u32 = u32::MAX;
/// Most bytes of one block.
const BLOCK: usize = 8 << 10;
/// Fewest bytes of one.
const SMALL_BLOCK: usize = 256;
/// From this size on what is sent is shared, and a received message has memory of its own.
const SHARED: usize = 1 << 10;
/// From this size on what is to be sent has memory of its own: it is copied once, and written from there.
const LARGE: usize = 4 << 10;
/// From this size on what was received is shared with the read that it came in.
const PINNED: usize = 4 << 10;
/// Received pieces that may be shared at once, on all streams of a connection. Beyond, the readers are slow, and a copy
/// costs less than the memory.
const PINS: u32 = 32;
/// Blocks kept for later.
const SPARE: usize = 32;
/// Bytes before each piece of a message in a block: its length, and in the highest bit whether the message ends.
const MARK: usize = 2;
const ENDS: u16 = 1 << 15;

/// The bytes of one stream in one direction: a list in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: u32,
    tail: u32,
    bytes: u32,
    pieces: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE, bytes: 0, pieces: 0 };

    /// Bytes that wait.
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Nothing waits, not even an empty message.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.pieces == 0
    }

    /// Messages that wait, whole or in part; in streams of bytes, what is in one piece.
    #[inline]
    pub(super) const fn pieces(&self) -> u32 {
        self.pieces
    }
}

/// How what is pushed goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A stream of bytes: where it is cut means nothing.
    Bytes,
    /// Part of a message, of which more comes.
    Part,
    /// A message ends with it.
    Last,
}

impl Piece {
    #[inline]
    pub(super) const fn of(messages: bool, ends: bool) -> Self {
        match (messages, ends) {
            (false, _) => Self::Bytes,
            (true, false) => Self::Part,
            (true, true) => Self::Last,
        }
    }
}

#[derive(Debug)]
enum Body {
    Vacant,
    /// Bytes from `head` on.
    Bytes {
        buf: BytesMut,
        head: u32,
    },
    /// Marked pieces from `head` on, of the first of which `taken` bytes are gone; `last` is the mark of the last.
    Marked {
        buf: BytesMut,
        head: u32,
        last: u32,
        taken: u32,
    },
    /// Memory of its own, or of whoever made it.
    Shared(Bytes),
    /// Received, and keeps a read alive.
    Pinned(Bytes),
}

#[derive(Debug)]
struct Chunk {
    body: Body,
    next: u32,
    /// A message ends here; for memory of its own.
    ends: bool,
}

/// The mark at `at`: the length of the piece, and whether its message ends.
#[inline]
fn mark(buf: &[u8], at: u32) -> (usize, bool) {
    let at = at as usize;
    let mark = match buf.get(at..at + MARK) {
        Some(&[low, high]) => u16::from_le_bytes([low, high]),
        _ => 0,
    };
    (usize::from(mark & !ENDS), mark & ENDS != 0)
}

fn marked(len: usize, ends: bool) -> [u8; MARK] {
    (len as u16 | if ends { ENDS } else { 0 }).to_le_bytes()
}

/// Makes room for `n` bytes more, in few steps and never beyond a block.
fn grow(buf: &mut BytesMut, n: usize) {
    let need = buf.len() + n;
    if need > buf.capacity() {
        let target = (buf.capacity() * 4).clamp(SMALL_BLOCK, BLOCK).max(need.next_power_of_two().min(BLOCK)).max(need);
        buf.reserve(target - buf.len());
    }
}

/// Bytes that left their queue and are still in the store.
#[derive(Debug)]
pub(super) enum Lent {
    Block { index: u32, start: usize, end: usize },
    Shared(Bytes),
}

/// All chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    slots: Vec<Chunk>,
    free: u32,
    spare: Vec<BytesMut>,
    /// Pieces that keep reads alive.
    pins: u32,
    /// A block whose last bytes were lent out; put away when the store is used next.
    lent: Option<u32>,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, spare: Vec::new(), pins: 0, lent: None }
    }

    /// Appends what the application sends.
    #[inline]
    pub(super) fn push(&mut self, queue: &mut Queue, payload: Payload<'_>, piece: Piece) {
        match payload {
            Payload::Owned(bytes) if bytes.len() >= SHARED => self.share(queue, bytes, piece, Body::Shared),
            Payload::Borrowed(bytes) if bytes.len() >= LARGE => {
                self.share(queue, Bytes::copy_from_slice(bytes), piece, Body::Shared);
            }
            small => self.copy_in(queue, small.as_slice(), piece),
        }
    }

    /// Appends what was received.
    #[inline]
    pub(super) fn push_received(&mut self, queue: &mut Queue, payload: Payload<'_>, piece: Piece) {
        match payload {
            Payload::Owned(bytes) if bytes.len() >= PINNED && self.pins < PINS => {
                self.pins += 1;
                self.share(queue, bytes, piece, Body::Pinned);
            }
            other => self.copy_in(queue, other.as_slice(), piece),
        }
    }

    fn share(&mut self, queue: &mut Queue, bytes: Bytes, piece: Piece, body: fn(Bytes) -> Body) {
        self.put_away();
        queue.bytes += bytes.len() as u32;
        queue.pieces += 1;
        self.link(queue, Chunk { body: body(bytes), next: NONE, ends: piece == Piece::Last });
    }

    fn copy_in(&mut self, queue: &mut Queue, bytes: &[u8], piece: Piece) {
        self.put_away();
        queue.bytes += bytes.len() as u32;
        match piece {
            Piece::Bytes => self.gather(queue, bytes),
            Piece::Part | Piece::Last => self.append(queue, bytes, piece == Piece::Last),
        }
    }

    /// Bytes fill the last block, and then further ones.
    fn gather(&mut self, queue: &mut Queue, mut bytes: &[u8]) {
        if let Some(Chunk { body: Body::Bytes { buf, .. }, .. }) = self.slots.get_mut(queue.tail as usize) {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK.saturating_sub(buf.len())));
            grow(buf, now.len());
            buf.extend_from_slice(now);
            bytes = rest;
        }
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK));
            let mut buf = self.spare.pop().unwrap_or_default();
            grow(&mut buf, now.len());
            buf.extend_from_slice(now);
            queue.pieces += 1;
            self.link(queue, Chunk { body: Body::Bytes { buf, head: 0 }, next: NONE, ends: false });
            bytes = rest;
        }
    }

    /// A piece of a message joins its message, or the messages before it, or begins a block.
    fn append(&mut self, queue: &mut Queue, bytes: &[u8], ends: bool) {
        if let Some(Chunk { body: Body::Marked { buf, last, .. }, .. }) = self.slots.get_mut(queue.tail as usize) {
            let (len, ended) = mark(buf, *last);
            let (joins, room) = (!ended, BLOCK.saturating_sub(buf.len()));
            if joins && bytes.len() <= room {
                grow(buf, bytes.len());
                buf.extend_from_slice(bytes);
                let at = *last as usize;
                if let Some(place) = buf.get_mut(at..at + MARK) {
                    place.copy_from_slice(&marked(len + bytes.len(), ends));
                }
                return;
            }
            if !joins && bytes.len() < SHARED && bytes.len() + MARK <= room {
                grow(buf, bytes.len() + MARK);
                *last = buf.len() as u32;
                buf.extend_from_slice(&marked(bytes.len(), ends));
                buf.extend_from_slice(bytes);
                queue.pieces += 1;
                return;
            }
        }
        queue.pieces += 1;
        let body = if bytes.len() >= SHARED {
            Body::Shared(Bytes::copy_from_slice(bytes))
        } else {
            let mut buf = self.spare.pop().unwrap_or_default();
            grow(&mut buf, bytes.len() + MARK);
            buf.extend_from_slice(&marked(bytes.len(), ends));
            buf.extend_from_slice(bytes);
            Body::Marked { buf, head: 0, last: 0, taken: 0 }
        };
        self.link(queue, Chunk { body, next: NONE, ends });
    }

    fn link(&mut self, queue: &mut Queue, chunk: Chunk) {
        let index = match self.slots.get_mut(self.free as usize) {
            Some(slot) => {
                let index = self.free;
                self.free = slot.next;
                *slot = chunk;
                index
            }
            None => {
                self.slots.push(chunk);
                (self.slots.len() - 1) as u32
            }
        };
        match self.slots.get_mut(queue.tail as usize) {
            Some(tail) => tail.next = index,
            None => queue.head = index,
        }
        queue.tail = index;
    }

    /// The bytes in front that are in one piece, and whether a message ends with them.
    #[inline]
    pub(super) fn front(&self, queue: &Queue) -> Option<(usize, bool)> {
        let chunk = self.slots.get(queue.head as usize)?;
        Some(match &chunk.body {
            Body::Vacant => (0, false),
            Body::Bytes { buf, head } => (buf.len() - *head as usize, false),
            Body::Marked { buf, head, taken, .. } => {
                let (len, ends) = mark(buf, *head);
                (len - *taken as usize, ends)
            }
            Body::Shared(bytes) | Body::Pinned(bytes) => (bytes.len(), chunk.ends),
        })
    }

    /// Takes `n` bytes, at most what is in front in one piece, off the queue. What was taken is lent by
    /// [`payload`](Self::payload) until the store is used again. True if a message ends with it.
    pub(super) fn lend(&mut self, queue: &mut Queue, n: usize) -> (Lent, bool) {
        self.put_away();
        let index = queue.head;
        let Some(chunk) = self.slots.get_mut(index as usize) else { return (Lent::Shared(Bytes::new()), false) };
        let (n, lent, whole, emptied, ends) = match &mut chunk.body {
            Body::Vacant => (0, Lent::Shared(Bytes::new()), true, true, false),
            Body::Shared(bytes) | Body::Pinned(bytes) => {
                let n = n.min(bytes.len());
                let lent = if n == bytes.len() { core::mem::take(bytes) } else { bytes.split_to(n) };
                let whole = bytes.is_empty();
                (n, Lent::Shared(lent), whole, whole, chunk.ends)
            }
            Body::Bytes { buf, head } => {
                let start = *head as usize;
                let n = n.min(buf.len() - start);
                *head += n as u32;
                let emptied = start + n == buf.len();
                (n, Lent::Block { index, start, end: start + n }, emptied, emptied, false)
            }
            Body::Marked { buf, head, taken, .. } => {
                let (len, ends) = mark(buf, *head);
                let n = n.min(len - *taken as usize);
                let start = *head as usize + MARK + *taken as usize;
                *taken += n as u32;
                let whole = *taken as usize == len;
                if whole {
                    *head += (MARK + len) as u32;
                    *taken = 0;
                }
                let emptied = *head as usize == buf.len();
                (n, Lent::Block { index, start, end: start + n }, whole, emptied, ends)
            }
        };
        queue.bytes -= n as u32;
        queue.pieces -= u32::from(whole);
        if emptied {
            queue.head = chunk.next;
            if queue.head == NONE {
                queue.tail = NONE;
            }
            self.lent = Some(index);
        }
        (lent, whole && ends)
    }

    /// The bytes that were lent last.
    pub(super) fn payload(&self, lent: Lent) -> Payload<'_> {
        match lent {
            Lent::Shared(bytes) => Payload::Owned(bytes),
            Lent::Block { index, start, end } => match self.slots.get(index as usize).map(|chunk| &chunk.body) {
                Some(Body::Bytes { buf, .. } | Body::Marked { buf, .. }) => {
                    Payload::Borrowed(buf.get(start..end).unwrap_or_default())
                }
                _ => Payload::Borrowed(&[]),
            },
        }
    }

    /// Takes what is in front in one piece, at most `most` bytes, to be kept.
    pub(super) fn take(&mut self, queue: &mut Queue, most: usize) -> Option<(Bytes, bool)> {
        self.put_away();
        let (len, _) = self.front(queue)?;
        if let Some(Chunk { body: Body::Bytes { buf, .. }, .. }) = self.slots.get(queue.head as usize) {
            // A block that is mostly full goes as it is; of one that is not, a few bytes would keep all of it alive.
            if most >= len && len * 2 >= buf.capacity() {
                return self.take_block(queue).map(|bytes| (bytes, false));
            }
        }
        let (lent, ends) = self.lend(queue, most);
        let bytes = match self.payload(lent) {
            Payload::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Owned(bytes) => bytes,
        };
        Some((bytes, ends))
    }

    fn take_block(&mut self, queue: &mut Queue) -> Option<Bytes> {
        let (index, body) = self.unlink(queue)?;
        self.vacate(index);
        queue.pieces -= 1;
        let Body::Bytes { mut buf, head } = body else { return None };
        buf.advance(head as usize);
        queue.bytes -= buf.len() as u32;
        Some(buf.freeze())
    }

    /// Copies bytes out, as many as fit, and tells how many.
    pub(super) fn copy_out(&mut self, queue: &mut Queue, mut into: &mut [u8]) -> usize {
        let mut copied = 0;
        while !into.is_empty() && !queue.is_empty() {
            let (lent, _) = self.lend(queue, into.len());
            let payload = self.payload(lent);
            let n = payload.len();
            let (now, rest) = into.split_at_mut(n);
            now.copy_from_slice(payload.as_slice());
            into = rest;
            copied += n;
        }
        self.put_away();
        copied
    }

    /// Drops everything and tells how many bytes that were.
    pub(super) fn clear(&mut self, queue: &mut Queue) -> usize {
        let bytes = queue.len();
        while let Some((index, body)) = self.unlink(queue) {
            self.recycle(body);
            self.vacate(index);
        }
        (queue.bytes, queue.pieces) = (0, 0);
        bytes
    }

    /// Puts away the block whose last bytes were lent out.
    #[inline]
    pub(super) fn put_away(&mut self) {
        if let Some(index) = self.lent.take() {
            if let Some(chunk) = self.slots.get_mut(index as usize) {
                let body = core::mem::replace(&mut chunk.body, Body::Vacant);
                self.recycle(body);
                self.vacate(index);
            }
        }
    }

    fn unlink(&mut self, queue: &mut Queue) -> Option<(u32, Body)> {
        let index = queue.head;
        let chunk = self.slots.get_mut(index as usize)?;
        queue.head = chunk.next;
        if queue.head == NONE {
            queue.tail = NONE;
        }
        Some((index, core::mem::replace(&mut chunk.body, Body::Vacant)))
    }

    fn vacate(&mut self, index: u32) {
        if let Some(chunk) = self.slots.get_mut(index as usize) {
            chunk.next = self.free;
            self.free = index;
        }
    }

    fn recycle(&mut self, body: Body) {
        match body {
            Body::Bytes { mut buf, .. } | Body::Marked { mut buf, .. } => {
                if self.spare.len() < SPARE && buf.capacity() <= 2 * BLOCK {
                    buf.clear();
                    self.spare.push(buf);
                }
            }
            Body::Pinned(_) => self.pins -= 1,
            Body::Shared(_) | Body::Vacant => {}
        }
    }
}

#[cfg(test)]
mod tests;
