//! The bytes of all streams, in one store: an idle stream holds none, and busy ones allocate nothing in steady state.
//!
//! Small pieces are gathered in blocks, so that a peer that sends byte by byte costs what it sends; large ones are
//! shared.

use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};

use crate::protocol::Payload;

const NONE: u32 = u32::MAX;
/// Most bytes of one block.
const BLOCK: usize = 8 << 10;
/// From this size on what is owned is shared and not gathered.
const SHARED: usize = 1 << 10;
/// Blocks kept for later.
const SPARE: usize = 32;

/// The bytes of one stream in one direction: a list in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: u32,
    tail: u32,
    bytes: u32,
    chunks: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE, bytes: 0, chunks: 0 };

    /// Bytes that wait.
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Nothing waits, not even an empty message.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.chunks == 0
    }

    /// Pieces that wait.
    #[inline]
    pub(super) const fn chunks(&self) -> u32 {
        self.chunks
    }
}

#[derive(Debug)]
enum Body {
    Vacant,
    Block { buf: BytesMut, head: usize },
    Shared(Bytes),
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::Vacant => 0,
            Self::Block { buf, head } => buf.len() - head,
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

#[derive(Debug)]
struct Chunk {
    body: Body,
    next: u32,
    /// A message ends here.
    ends: bool,
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
    /// A block whose last bytes were lent out; put away when the store is used next.
    lent: Option<u32>,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, spare: Vec::new(), lent: None }
    }

    /// Appends. A message ends with it if `ends`; until then pieces may be gathered.
    pub(super) fn push(&mut self, queue: &mut Queue, payload: Payload<'_>, ends: bool) {
        self.put_away();
        let n = payload.len();
        queue.bytes += n as u32;
        if n < SHARED && self.gather(queue, payload.as_slice(), ends) {
            return;
        }
        let body = match payload {
            Payload::Owned(bytes) if n >= SHARED || ends => Body::Shared(bytes),
            Payload::Borrowed(bytes) if n >= SHARED => Body::Shared(Bytes::copy_from_slice(bytes)),
            small => {
                let mut buf = self.spare.pop().unwrap_or_default();
                buf.extend_from_slice(small.as_slice());
                Body::Block { buf, head: 0 }
            }
        };
        self.link(queue, Chunk { body, next: NONE, ends });
    }

    fn gather(&mut self, queue: &Queue, bytes: &[u8], ended: bool) -> bool {
        match self.slots.get_mut(queue.tail as usize) {
            Some(Chunk { body: Body::Block { buf, .. }, ends: ends @ false, .. })
                if buf.len() + bytes.len() <= BLOCK =>
            {
                buf.extend_from_slice(bytes);
                *ends = ended;
                true
            }
            _ => false,
        }
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
        queue.chunks += 1;
    }

    /// The bytes in front that are in one piece, and whether a message ends with them.
    #[inline]
    pub(super) fn front(&self, queue: &Queue) -> Option<(usize, bool)> {
        self.slots.get(queue.head as usize).map(|chunk| (chunk.body.len(), chunk.ends))
    }

    /// Takes `n` bytes, at most what is in front in one piece, off the queue. What was taken is lent by
    /// [`payload`](Self::payload) until the store is used again. True if a message ends with it.
    pub(super) fn lend(&mut self, queue: &mut Queue, n: usize) -> (Lent, bool) {
        self.put_away();
        let index = queue.head;
        let Some(chunk) = self.slots.get_mut(index as usize) else { return (Lent::Shared(Bytes::new()), false) };
        let whole = chunk.body.len() <= n;
        let n = n.min(chunk.body.len());
        let lent = match &mut chunk.body {
            Body::Vacant => Lent::Shared(Bytes::new()),
            Body::Shared(bytes) => Lent::Shared(bytes.split_to(n)),
            Body::Block { head, .. } => {
                *head += n;
                Lent::Block { index, start: *head - n, end: *head }
            }
        };
        let ends = whole && chunk.ends;
        queue.bytes -= n as u32;
        if whole {
            queue.head = chunk.next;
            queue.chunks -= 1;
            if queue.head == NONE {
                queue.tail = NONE;
            }
            self.lent = Some(index);
        }
        (lent, ends)
    }

    /// The bytes that were lent last.
    pub(super) fn payload(&self, lent: Lent) -> Payload<'_> {
        match lent {
            Lent::Shared(bytes) => Payload::Owned(bytes),
            Lent::Block { index, start, end } => match self.slots.get(index as usize).map(|chunk| &chunk.body) {
                Some(Body::Block { buf, .. }) => Payload::Borrowed(buf.get(start..end).unwrap_or_default()),
                _ => Payload::Borrowed(&[]),
            },
        }
    }

    /// Takes what is in front in one piece, at most `most` bytes, to be kept.
    pub(super) fn take(&mut self, queue: &mut Queue, most: usize) -> Option<(Bytes, bool)> {
        self.put_away();
        let (len, _) = self.front(queue)?;
        if most < len {
            let (lent, ends) = self.lend(queue, most);
            return Some((owned(self.payload(lent)), ends));
        }
        let (index, body, ends) = self.unlink(queue)?;
        queue.bytes -= body.len() as u32;
        self.vacate(index);
        let bytes = match body {
            Body::Vacant => Bytes::new(),
            Body::Shared(bytes) => bytes,
            Body::Block { mut buf, head } => {
                buf.advance(head);
                buf.freeze()
            }
        };
        Some((bytes, ends))
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
        while let Some((index, body, _)) = self.unlink(queue) {
            self.recycle(body);
            self.vacate(index);
        }
        queue.bytes = 0;
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

    fn unlink(&mut self, queue: &mut Queue) -> Option<(u32, Body, bool)> {
        let index = queue.head;
        let chunk = self.slots.get_mut(index as usize)?;
        queue.head = chunk.next;
        queue.chunks -= 1;
        if queue.head == NONE {
            queue.tail = NONE;
        }
        Some((index, core::mem::replace(&mut chunk.body, Body::Vacant), chunk.ends))
    }

    fn vacate(&mut self, index: u32) {
        if let Some(chunk) = self.slots.get_mut(index as usize) {
            chunk.next = self.free;
            self.free = index;
        }
    }

    fn recycle(&mut self, body: Body) {
        if let Body::Block { mut buf, .. } = body {
            if self.spare.len() < SPARE && buf.capacity() <= 2 * BLOCK {
                buf.clear();
                self.spare.push(buf);
            }
        }
    }
}

fn owned(payload: Payload<'_>) -> Bytes {
    match payload {
        Payload::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
        Payload::Owned(bytes) => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(chunks: &mut Chunks, queue: &mut Queue, bytes: &[u8], ends: bool) {
        chunks.push(queue, Payload::Borrowed(bytes), ends);
    }

    #[test]
    fn small_pieces_are_gathered_and_large_ones_shared() {
        let (mut chunks, mut queue) = (Chunks::new(), Queue::EMPTY);
        for _ in 0..1000 {
            push(&mut chunks, &mut queue, b"x", false);
        }
        assert_eq!((queue.len(), queue.chunks()), (1000, 1));
        let large = Bytes::from(alloc::vec![7; 2000]);
        chunks.push(&mut queue, Payload::Owned(large.clone()), false);
        assert_eq!(chunks.front(&queue), Some((1000, false)));
        let (lent, _) = chunks.lend(&mut queue, 400);
        assert_eq!(chunks.payload(lent).len(), 400);
        assert_eq!(chunks.take(&mut queue, usize::MAX).map(|(b, _)| b.len()), Some(600));
        let (shared, _) = chunks.take(&mut queue, usize::MAX).unwrap();
        assert_eq!(shared.as_ptr(), large.as_ptr());
        assert!(queue.is_empty());
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn messages_keep_their_ends_even_empty_ones() {
        let (mut chunks, mut queue) = (Chunks::new(), Queue::EMPTY);
        push(&mut chunks, &mut queue, b"", true);
        push(&mut chunks, &mut queue, b"ab", true);
        assert_eq!(chunks.take(&mut queue, 9), Some((Bytes::new(), true)));
        let (lent, ends) = chunks.lend(&mut queue, 1);
        assert_eq!((chunks.payload(lent).as_slice(), ends), (&b"a"[..], false));
        let (lent, ends) = chunks.lend(&mut queue, 9);
        assert_eq!((chunks.payload(lent).as_slice(), ends), (&b"b"[..], true));
        assert!(queue.is_empty());
    }

    #[test]
    fn slots_and_blocks_are_used_again() {
        let (mut chunks, mut queue, mut other) = (Chunks::new(), Queue::EMPTY, Queue::EMPTY);
        let mut buffer = [0; 3];
        for _ in 0..100 {
            push(&mut chunks, &mut queue, b"abcde", false);
            push(&mut chunks, &mut other, b"f", false);
            assert_eq!(chunks.copy_out(&mut queue, &mut buffer), 3);
            assert_eq!(chunks.copy_out(&mut queue, &mut buffer), 2);
            assert_eq!(chunks.clear(&mut other), 1);
        }
        assert!(chunks.slots.len() <= 2 && chunks.spare.len() <= 2, "{}", chunks.slots.len());
    }
}
