//! The way into the send queue: one message or answer at a time.

use bytes::Bytes;

use super::{Kind, SendQueue};

/// Bytes that [`Writer::put_changed`] changes at a time.
const BLOCK: usize = 128;

/// Writes one message or answer into the reserved room. What goes beyond the reservation is not written, and ends
/// the session with [`ReservationBroken`](crate::Misuse::ReservationBroken): it is a bug of the protocol's implementation.
#[derive(Debug)]
pub struct Writer<'a> {
    pub(super) queue: &'a mut SendQueue,
    pub(super) kind: Kind,
    pub(super) reserved: usize,
    pub(super) written: usize,
}

impl Writer<'_> {
    /// Appends a copy of `bytes`.
    #[inline(always)]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        if self.fits(bytes.len()) {
            self.queue.put_copied(bytes);
        }
    }

    /// Appends copies of all `parts`, one behind the other: cheaper than one by one.
    #[inline(always)]
    pub fn put_slices<const N: usize>(&mut self, parts: [&[u8]; N]) {
        let total = parts.iter().map(|part| part.len()).sum();
        if self.fits(total) {
            self.queue.make_room(total);
            for part in parts {
                self.queue.copied.extend_from_slice(part);
            }
            self.queue.note_copied(total);
        }
    }

    /// Appends a copy of `bytes` that `change` alters (masking, for one). It is given one piece of the copy after the
    /// other: each but the last is 128 bytes long.
    #[inline]
    pub fn put_changed(&mut self, bytes: &[u8], change: impl Fn(&mut [u8])) {
        self.put_changed_behind(&[], bytes, change);
    }

    /// Appends `header` as it is, and behind it a copy of `bytes` that `change` alters as in
    /// [`put_changed`](Self::put_changed): cheaper than one after the other.
    #[inline(always)]
    pub fn put_changed_behind(&mut self, header: &[u8], bytes: &[u8], change: impl Fn(&mut [u8])) {
        let total = header.len() + bytes.len();
        if self.fits(total) {
            self.queue.make_room(total);
            let copied = &mut self.queue.copied;
            // Whole blocks are changed on the way, and a short header goes in with the first of them.
            let mut rest = bytes;
            match bytes.split_first_chunk::<BLOCK>() {
                Some((block, behind)) if header.len() == 8 => {
                    let mut whole = [0; 8 + BLOCK];
                    let (head, body) = whole.split_at_mut(8);
                    head.copy_from_slice(header);
                    body.copy_from_slice(block);
                    change(body);
                    copied.extend_from_slice(&whole);
                    rest = behind;
                }
                _ => copied.extend_from_slice(header),
            }
            while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
                let mut block = *block;
                change(&mut block);
                copied.extend_from_slice(&block);
                rest = behind;
            }
            if !rest.is_empty() {
                let start = copied.len();
                copied.extend_from_slice(rest);
                change(copied.get_mut(start..).unwrap_or_default());
            }
            self.queue.note_copied(total);
        }
    }

    /// Appends `len` bytes, which `fill` writes where they stay; it finds zeros. Cheaper than many small parts.
    #[inline]
    pub fn put_with(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        if self.fits(len) {
            self.queue.make_room(len);
            let copied = &mut self.queue.copied;
            let start = copied.len();
            copied.resize(start + len, 0);
            fill(copied.get_mut(start..).unwrap_or_default());
            self.queue.note_copied(len);
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

    /// Whether [`put_bytes`](Self::put_bytes) would copy a payload of `len` bytes.
    #[must_use]
    #[inline]
    pub fn copies(&self, len: usize) -> bool {
        len < self.queue.threshold
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
        let (queue, written) = (&mut *self.queue, self.written);
        if queue.command.open && self.kind == Kind::Data && written <= self.reserved {
            // Inside a command everything belongs to its one message, so that it is undone as a whole.
            queue.command.written += written;
            queue.queued += written;
            queue.free -= written;
        } else {
            queue.wrote(self.kind, self.reserved, written);
        }
    }
}
