//! Frames behind a length field.

use super::{Found, FrameError, Framing, Rest, Skipped, Span};
use crate::protocol::Payload;
use crate::send_queue::Writer;

/// The byte order of a length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Endian {
    /// Most significant byte first, the network's order.
    #[default]
    Big,
    /// Least significant byte first.
    Little,
}

/// A header with a length of 1 to 8 bytes in it, then a body.
///
/// ```text
/// ┌── offset ──┬── width ──┬────────────┬──────────────────────────┐
/// │   (fixed)  │  length   │  (fixed)   │   body                   │
/// └────────────┴───────────┴────────────┴──────────────────────────┘
/// body bytes = length + adjustment, counted from the end of the length field
/// ```
///
/// By default the header is stripped and the payload is what follows the length field. Frames to send are written
/// with zeros in the fixed part before the length unless [`keep_header`](Self::keep_header) is set: then a payload is
/// a whole frame both ways, and its length field is filled in on sending. The limit counts the bytes after the length
/// field, whether the header is kept or not.
#[derive(Clone, Debug, Hash)]
pub struct LengthPrefixed {
    width: usize,
    endian: Endian,
    offset: usize,
    adjustment: i64,
    keep_header: bool,
    max_frame: usize,
    /// Nothing but four bytes of length, big-endian, that count what follows: the common case has a short way.
    plain: bool,
    /// Bytes of a frame being skipped that are still to come.
    to_skip: u64,
}

impl LengthPrefixed {
    /// Four bytes, big-endian, counting what follows; frames up to `max_frame` bytes of payload.
    #[must_use]
    pub const fn u32_be(max_frame: usize) -> Self {
        Self::new(4, Endian::Big, max_frame)
    }

    /// A length field of `width` bytes, clamped to 1 to 8; frames up to `max_frame` bytes of payload.
    #[must_use]
    pub const fn new(width: usize, endian: Endian, max_frame: usize) -> Self {
        let width = if width < 1 {
            1
        } else if width > 8 {
            8
        } else {
            width
        };
        let plain = width == 4 && matches!(endian, Endian::Big);
        Self { width, endian, offset: 0, adjustment: 0, keep_header: false, max_frame, plain, to_skip: 0 }
    }

    /// Bytes of header before the length field.
    #[must_use]
    pub const fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self.plain = false;
        self
    }

    /// What to add to the length field to get the bytes after it: negative if the field counts itself or what
    /// stands before it, positive if more follows than it counts.
    #[must_use]
    pub const fn adjustment(mut self, adjustment: i64) -> Self {
        self.adjustment = adjustment;
        self.plain = false;
        self
    }

    /// Delivers frames with their header, and expects frames to send to have room for it.
    #[must_use]
    pub const fn keep_header(mut self) -> Self {
        self.keep_header = true;
        self.plain = false;
        self
    }

    #[inline]
    fn header(&self) -> usize {
        self.offset.saturating_add(self.width)
    }

    /// Bytes after the length field, from the field itself.
    #[inline]
    fn body_len(&self, header: &[u8]) -> Result<u64, FrameError> {
        let field = header.get(self.offset..self.header()).unwrap_or_default();
        let length = match (self.endian, field) {
            (Endian::Big, &[a, b, c, d]) => u64::from(u32::from_be_bytes([a, b, c, d])),
            (Endian::Big, _) => field.iter().fold(0, |n, b| n << 8 | u64::from(*b)),
            (Endian::Little, _) => field.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)),
        };
        let adjustment = self.adjustment;
        if adjustment >= 0 {
            // Beyond 64 bits it is too long for any limit.
            return Ok(length.saturating_add(adjustment.unsigned_abs()));
        }
        length.checked_add_signed(adjustment).ok_or(FrameError::BadLength { length, adjustment })
    }

    /// As `encoded_len`, for every kind of header.
    fn encoded_len_any(&self, payload: &[u8]) -> Result<usize, &'static str> {
        let header = self.header();
        let body = if self.keep_header {
            payload.len().checked_sub(header).ok_or("the payload is shorter than the header it must contain")?
        } else {
            payload.len()
        };
        if body > self.max_frame {
            return Err("the payload is longer than max_frame");
        }
        self.field_for(body)?;
        Ok(header.saturating_add(body))
    }

    /// As `encode`, for every kind of header.
    fn encode_any(&self, payload: Payload<'_>, out: &mut Writer<'_>) {
        let header = self.header();
        let body = if self.keep_header { payload.len().saturating_sub(header) } else { payload.len() };
        // `encoded_len` accepted the payload, so the field exists.
        let length = self.field_for(body).unwrap_or_default();
        let field = self.field_bytes(length);
        let field = &field[..self.width];
        if self.keep_header {
            let bytes = payload.as_slice();
            out.put_slice(&bytes[..self.offset.min(bytes.len())]);
            out.put_slice(field);
            out.put_slice(bytes.get(header..).unwrap_or_default());
        } else {
            for _ in 0..self.offset {
                out.put_u8(0);
            }
            out.put_slice(field);
            payload.put(out);
        }
    }

    /// What the length field says for a body of this many bytes.
    #[inline]
    fn field_for(&self, body: usize) -> Result<u64, &'static str> {
        let (body, adjustment) = (body as u64, self.adjustment.unsigned_abs());
        let length = if self.adjustment < 0 { body.checked_add(adjustment) } else { body.checked_sub(adjustment) };
        let length = length.ok_or("no length field can stand for a payload of this length")?;
        if self.width < 8 && length >> (8 * self.width) != 0 {
            return Err("the payload's length does not fit the length field");
        }
        Ok(length)
    }

    #[inline]
    fn field_bytes(&self, length: u64) -> [u8; 8] {
        match self.endian {
            Endian::Big => (length << (64 - 8 * self.width)).to_be_bytes(),
            Endian::Little => length.to_le_bytes(),
        }
    }
}

impl Framing for LengthPrefixed {
    type Error = FrameError;

    fn find(&mut self, bytes: &mut [u8]) -> Result<Found, FrameError> {
        let header = self.header();
        if bytes.len() < header {
            return Ok(Found::NeedMore { hint: header - bytes.len() });
        }
        let body = self.body_len(bytes)?;
        let start = if self.keep_header { 0 } else { header };
        Ok(Found::announced(bytes, start, header, body, self.max_frame, &mut self.to_skip))
    }

    #[inline(always)]
    fn find_short(&self, bytes: &[u8]) -> Option<Span> {
        let (length, after) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let whole = self.plain && length <= self.max_frame && length <= after.len();
        whole.then(|| Span { start: 4, end: 4 + length, consumed: 4 + length })
    }

    fn eof(&mut self, rest: &mut [u8]) -> Result<Rest, FrameError> {
        if rest.is_empty() {
            return Ok(Rest::Clean);
        }
        let missing = if rest.len() < self.header() {
            None
        } else {
            let whole = self.body_len(rest)?.saturating_add(self.header() as u64);
            Some(whole.saturating_sub(rest.len() as u64))
        };
        Ok(Rest::Truncated { missing })
    }

    fn skip(&mut self, bytes: &[u8]) -> Option<Skipped> {
        Some(Skipped::of(&mut self.to_skip, bytes))
    }

    #[inline(always)]
    fn encoded_len(&self, payload: &[u8]) -> Result<usize, &'static str> {
        if self.plain && payload.len() <= self.max_frame && u32::try_from(payload.len()).is_ok() {
            return Ok(4 + payload.len());
        }
        self.encoded_len_any(payload)
    }

    #[inline(always)]
    fn encode(&mut self, payload: Payload<'_>, out: &mut Writer<'_>) {
        if self.plain {
            // `encoded_len` accepted the payload, so its length fits.
            let length = payload.len() as u32;
            payload.put_behind(&length.to_be_bytes(), out);
        } else {
            self.encode_any(payload, out);
        }
    }

    fn max_unit(&self) -> usize {
        self.header().saturating_add(self.max_frame)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::tests::{Clean, Error, Truncated, decode, decode_skipping, encode, frame, skipped, too_long};
    use super::*;

    #[test]
    fn every_width_and_both_orders_are_what_they_say() {
        for width in 1..=8 {
            let little: Vec<u8> = [3].into_iter().chain([0; 7]).take(width).chain(*b"abc").collect();
            let mut big = little.clone();
            big[..width].reverse();
            for (endian, wire) in [(Endian::Big, big), (Endian::Little, little)] {
                let framing = LengthPrefixed::new(width, endian, 16);
                assert_eq!(encode(&framing, "abc").as_deref(), Ok(&wire[..]));
                assert_eq!(decode(&framing, wire), [frame("abc"), Clean], "{width} {endian:?}");
                assert_eq!(framing.max_unit(), width + 16);
            }
        }
        assert_eq!(encode(&LengthPrefixed::new(0, Endian::Big, 9), "a").as_deref(), Ok(&b"\x01a"[..]));
        assert_eq!(LengthPrefixed::new(99, Endian::Big, 9).header(), 8);
        let wide = LengthPrefixed::new(3, Endian::Little, 1 << 20);
        assert_eq!(encode(&wide, [7; 0x0203]).map(|w| w[..3].to_vec()), Ok(Vec::from([3, 2, 0])));
        assert_eq!(encode(&LengthPrefixed::u32_be(9), "").as_deref(), Ok(&[0; 4][..]));
    }

    #[test]
    fn an_offset_is_stripped_and_written_as_zeros() {
        let framing = LengthPrefixed::new(1, Endian::Big, 9).offset(2);
        assert_eq!(decode(&framing, b"xy\x02ab"), [frame("ab"), Clean]);
        assert_eq!(encode(&framing, "ab").as_deref(), Ok(&b"\0\0\x02ab"[..]));
    }

    #[test]
    fn an_adjustment_counts_what_the_field_does_not() {
        // The field counts itself and the two bytes before it.
        let whole = LengthPrefixed::new(1, Endian::Big, 9).offset(2).adjustment(-3);
        assert_eq!(decode(&whole, b"xy\x05ab"), [frame("ab"), Clean]);
        assert_eq!(encode(&whole, "ab").as_deref(), Ok(&b"\0\0\x05ab"[..]));
        let error = FrameError::BadLength { length: 2, adjustment: -3 };
        assert_eq!(decode(&whole, b"xy\x02"), [Error(error)]);
        // Two bytes of check sum follow what the field counts.
        let more = LengthPrefixed::new(1, Endian::Big, 9).adjustment(2);
        assert_eq!(decode(&more, b"\x01abc\x00de"), [frame("abc"), frame("de"), Clean]);
        assert_eq!(encode(&more, "abc").as_deref(), Ok(&b"\x01abc"[..]));
        assert!(encode(&more, "a").is_err(), "the field would be negative");
    }

    #[test]
    fn a_kept_header_is_part_of_the_payload_and_its_length_is_filled_in() {
        let framing = LengthPrefixed::new(2, Endian::Big, 9).offset(1).adjustment(1).keep_header();
        assert_eq!(decode(&framing, b"x\0\x01tab"), [frame(b"x\0\x01ta"), Truncated(None)]);
        assert_eq!(encode(&framing, b"x??tab").as_deref(), Ok(&b"x\0\x02tab"[..]));
        assert!(encode(&framing, "x?").is_err());
        assert!(encode(&framing, "x??").is_err(), "at least one byte follows what is counted");
    }

    #[test]
    fn the_limit_is_exact_and_longer_frames_can_be_skipped() {
        let framing = LengthPrefixed::new(1, Endian::Big, 2);
        assert_eq!(decode(&framing, b"\x02ab"), [frame("ab"), Clean]);
        assert_eq!(decode(&framing, b"\x03abc"), [too_long(2, 3)]);
        assert_eq!(decode_skipping(&framing, b"\x03abc\x01d"), [skipped(2, 3), frame("d"), Clean]);
        assert!(encode(&framing, "abc").is_err());
        let narrow = LengthPrefixed::new(1, Endian::Big, 1000);
        assert!(encode(&narrow, [0; 255]).is_ok() && encode(&narrow, [0; 256]).is_err());
    }

    #[test]
    fn numbers_near_the_end_of_64_bits_do_not_wrap() {
        let framing = LengthPrefixed::new(8, Endian::Little, 9);
        assert_eq!(decode(&framing, [0xFF; 9]), [too_long(9, u64::MAX)]);
        assert_eq!(decode_skipping(&framing, [0xFF; 9]), [skipped(9, u64::MAX), Truncated(None)]);
        assert_eq!(decode(&framing.clone().adjustment(1), [0xFF; 9]), [too_long(9, u64::MAX)]);
        let lowest = framing.clone().adjustment(i64::MIN);
        let wire = encode(&lowest, "ab").expect("the lowest length is allowed");
        assert_eq!(wire[..8], ((1_u64 << 63) + 2).to_le_bytes());
        assert_eq!(decode(&lowest, wire), [frame("ab"), Clean]);
        let endless = LengthPrefixed::new(8, Endian::Big, usize::MAX).offset(usize::MAX);
        assert_eq!(endless.max_unit(), usize::MAX);
        assert_eq!(decode(&LengthPrefixed::new(8, Endian::Big, usize::MAX), [0xFF; 9]).len(), 1);
    }

    #[test]
    fn the_end_inside_a_frame_says_what_is_missing() {
        let framing = LengthPrefixed::new(2, Endian::Big, 9);
        assert_eq!(decode(&framing, [0]), [Truncated(None)]);
        assert_eq!(decode(&framing, [0, 5, 1]), [Truncated(Some(4))]);
    }
}
