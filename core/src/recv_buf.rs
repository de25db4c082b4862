//! The receive buffer: bytes are read straight into it and taken out as views or as shared slices.

use core::hash::{Hash, Hasher};
use core::ops::Deref;

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Received bytes that are not decoded yet, as one contiguous slice.
///
/// A protocol looks at the bytes through [`Deref`], and takes whole messages out: [`view`](Self::view) borrows
/// them in place, [`take`](Self::take) shares them without a copy, [`copy`](Self::copy) copies them,
/// [`advance`](Self::advance) drops them. Taking more than there is takes all there is: nothing here panics.
#[derive(Clone, Debug)]
pub struct RecvBuf {
    buf: BytesMut,
    /// Bytes at the front of `buf` that were consumed by `view` or `advance`.
    head: usize,
    /// Where in `buf` the bytes end that `received` has accounted for; it may lie before `head`.
    accounted: usize,
    limit: usize,
    chunk: usize,
    hint: usize,
}

impl RecvBuf {
    pub(crate) fn new(limit: usize, chunk: usize) -> Self {
        Self { buf: BytesMut::new(), head: 0, accounted: 0, limit, chunk, hint: 0 }
    }

    /// The unread bytes, to be changed in place (unmasking, unescaping).
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.buf.get_mut(self.head..).unwrap_or_default()
    }

    /// Drops `n` bytes.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        self.consume(n);
    }

    /// Consumes `n` bytes and borrows them where they are: nothing is counted or copied.
    #[must_use]
    #[inline]
    pub fn view(&mut self, n: usize) -> &[u8] {
        let start = self.head;
        self.consume(n);
        self.buf.get(start..self.head).unwrap_or_default()
    }

    /// Consumes `n` bytes and borrows those from `start` to `end`: a payload, without its marks.
    #[must_use]
    #[inline(always)]
    pub fn view_part(&mut self, n: usize, start: usize, end: usize) -> &[u8] {
        self.view_part_mut(n, start, end)
    }

    /// Like [`view_part`](Self::view_part), to be changed in place.
    #[inline(always)]
    pub fn view_part_mut(&mut self, n: usize, start: usize, end: usize) -> &mut [u8] {
        // Whoever has looked at these bytes before has made the same checks: compilers see it when they are written so.
        let unread = self.buf.get_mut(self.head..).unwrap_or_default();
        let n = if n <= unread.len() { n } else { unread.len() };
        self.head += n;
        unread.get_mut(start..if end <= n { end } else { n }).unwrap_or_default()
    }

    /// Like [`view`](Self::view), to be changed in place.
    #[inline]
    pub fn view_mut(&mut self, n: usize) -> &mut [u8] {
        let start = self.head;
        self.consume(n);
        self.buf.get_mut(start..self.head).unwrap_or_default()
    }

    /// Consumes `n` bytes and shares them without a copy. They keep the whole read alive; for something small
    /// that is kept for long, [`copy`](Self::copy) is better.
    #[inline(always)]
    pub fn take(&mut self, n: usize) -> Bytes {
        let start = self.head;
        self.consume(n);
        let mut taken = self.split_head();
        taken.advance(start);
        taken
    }

    #[inline(always)]
    fn split_head(&mut self) -> Bytes {
        let taken = self.buf.split_to(self.head).freeze();
        self.accounted = self.accounted.saturating_sub(self.head);
        self.head = 0;
        taken
    }

    /// Consumes `n` bytes and shares those from `start` to `end` without a copy: a payload, without its marks.
    #[inline(always)]
    pub fn take_part(&mut self, n: usize, start: usize, end: usize) -> Bytes {
        let end = self.head + end.min(n);
        let start = self.head + start.min(n);
        self.consume(n);
        let mut taken = self.split_head();
        taken.truncate(end);
        taken.advance(start.min(taken.len()));
        taken
    }

    /// Consumes `n` bytes and copies them into a buffer of their own.
    #[inline]
    pub fn copy(&mut self, n: usize) -> Bytes {
        Bytes::copy_from_slice(self.view(n))
    }

    /// The most bytes that may be buffered.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Room for further bytes. The buffer is reserved in chunks, and grows by at most twice what it holds, so an
    /// announced length alone allocates nothing.
    #[inline]
    pub(crate) fn fill(&mut self) -> Limit<&mut BytesMut> {
        if self.head == self.buf.len() {
            self.buf.clear();
            self.head = 0;
            self.accounted = 0;
        }
        let unread = self.buf.len() - self.head;
        let room = self.limit.saturating_sub(unread);
        let want = self.chunk.max(self.hint.min(unread)).min(room);
        let spare = self.buf.capacity() - self.buf.len();
        // What is there is moved at most once for as much as is read: where that is much, what is waited for may come
        // into what is left.
        let suffices = unread > self.chunk && self.hint > 0 && self.hint <= spare;
        if spare < want && !suffices {
            self.drop_head();
            self.buf.reserve(want);
        }
        (&mut self.buf).limit(room)
    }

    /// Gives an empty buffer to read into; ignored while there is one.
    #[inline]
    pub(crate) fn lend(&mut self, buffer: BytesMut) -> Option<BytesMut> {
        if !self.has_no_buffer() || !buffer.is_empty() {
            return Some(buffer);
        }
        self.buf = buffer;
        None
    }

    #[inline]
    pub(crate) fn has_no_buffer(&self) -> bool {
        self.buf.capacity() == 0
    }

    /// Takes the buffer back if nothing is unread.
    #[inline]
    pub(crate) fn reclaim(&mut self) -> Option<BytesMut> {
        if !self.is_empty() || self.buf.capacity() == 0 {
            return None;
        }
        self.head = 0;
        self.accounted = 0;
        let mut buffer = core::mem::take(&mut self.buf);
        buffer.clear();
        Some(buffer)
    }

    /// How many unread bytes came since this was asked last.
    #[inline]
    pub(crate) fn account(&mut self) -> usize {
        let new = self.buf.len() - self.accounted.max(self.head);
        self.accounted = self.buf.len();
        new
    }

    #[inline]
    pub(crate) fn set_hint(&mut self, hint: usize) {
        self.hint = hint;
    }

    #[inline]
    pub(crate) fn space(&self) -> usize {
        self.limit.saturating_sub(self.len())
    }

    /// Drops everything and tells how many bytes that were.
    pub(crate) fn discard(&mut self) -> usize {
        let dropped = self.len();
        self.buf.clear();
        self.head = 0;
        self.accounted = 0;
        dropped
    }

    /// As `is_empty`, which slices first.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.head == self.buf.len()
    }

    #[inline]
    fn consume(&mut self, n: usize) {
        self.head += n.min(self.buf.len() - self.head);
    }

    #[inline]
    fn drop_head(&mut self) {
        self.buf.advance(self.head);
        self.accounted = self.accounted.saturating_sub(self.head);
        self.head = 0;
    }
}

/// What is unread and what is waited for; how the buffer lies in memory is left out.
impl Hash for RecvBuf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&**self, self.hint).hash(state);
    }
}

impl Deref for RecvBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.buf.get(self.head..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(bytes: &[u8], limit: usize) -> RecvBuf {
        let mut rx = RecvBuf::new(limit, 16);
        rx.fill().put_slice(bytes);
        assert_eq!(rx.account(), bytes.len());
        rx
    }

    #[test]
    fn views_shares_and_copies_consume_in_order() {
        let mut rx = filled(b"abcdefgh", 64);
        assert_eq!(rx.view(2), b"ab");
        assert_eq!(rx.take(2), "cd");
        assert_eq!(rx.copy(2), "ef");
        rx.advance(1);
        assert_eq!(&*rx, b"h");
        assert_eq!(rx.take(9), "h", "more than there is takes what there is");
        assert_eq!(rx.view(1), b"");
    }

    #[test]
    fn a_part_is_borrowed_or_shared_without_what_is_around_it() {
        let mut rx = filled(b"[ab](cd)<ef>", 64);
        assert_eq!(rx.view_part(4, 1, 3), b"ab");
        rx.view_part_mut(4, 1, 3).make_ascii_uppercase();
        assert_eq!(&*rx, b"<ef>");
        assert_eq!(rx.clone().take_part(4, 1, 3), "ef");
        assert_eq!(rx.clone().view_part(9, 1, 9), b"ef>", "more than there is takes what there is");
        assert_eq!(rx.clone().take_part(9, 1, 9), "ef>");
        assert_eq!(rx.view_part(2, 3, 1), b"", "a part that is none");
        assert_eq!(&*rx, b"f>");
    }

    #[test]
    fn only_new_bytes_are_accounted() {
        let mut rx = filled(b"abc", 64);
        rx.advance(1);
        rx.fill().put_slice(b"de");
        assert_eq!(rx.account(), 2);
        rx.take(1);
        assert_eq!(rx.account(), 0);
        assert_eq!(rx.discard(), 3);
    }

    #[test]
    fn the_limit_holds_for_what_is_unread() {
        let mut rx = filled(b"abcd", 6);
        assert_eq!(rx.fill().remaining_mut(), 2);
        rx.advance(3);
        assert_eq!(rx.fill().remaining_mut(), 5);
        assert_eq!(rx.space(), 5);
    }

    #[test]
    fn a_lent_buffer_comes_back_once_everything_was_read() {
        let mut rx = RecvBuf::new(64, 16);
        assert!(rx.lend(BytesMut::with_capacity(32)).is_none());
        rx.fill().put_slice(b"ab");
        assert!(rx.reclaim().is_none());
        rx.advance(2);
        assert_eq!(rx.reclaim().map(|b| b.capacity()), Some(32));
        assert!(rx.reclaim().is_none());
    }

    #[test]
    fn a_partial_frame_larger_than_its_chunk_grows_geometrically() {
        let mut rx = filled(&[0; 16], 1 << 20);
        rx.set_hint(1 << 20);
        rx.fill();
        assert!(rx.buf.capacity() < 256, "an announced megabyte is not allocated ahead: {}", rx.buf.capacity());
    }
}
