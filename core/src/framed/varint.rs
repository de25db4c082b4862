//! Frames behind a base-128 length.

use super::{Found, FrameError, Framing, Rest, Skipped, Span};
use crate::protocol::Payload;
use crate::send_queue::Writer;

/// The most bytes of a 64-bit varint: nine of 7 bits, and the last bit.
const MAX_VARINT: usize = 10;

/// A length as an unsigned LEB128 varint, then as many bytes: what protobuf calls a delimited stream.
///
/// Lengths that spend more bytes than they need are read, as protobuf's own readers do, and never written. More
/// than 10 bytes, or more than 64 bits, are [`FrameError::BadVarint`].
#[derive(Clone, Debug, Hash)]
pub struct VarintPrefixed {
    max_frame: usize,
    /// Bytes of a frame being skipped that are still to come.
    to_skip: u64,
}

impl VarintPrefixed {
    /// Frames of up to `max_frame` bytes after the length.
    #[must_use]
    pub const fn new(max_frame: usize) -> Self {
        Self { max_frame, to_skip: 0 }
    }
}

/// The value and the number of its bytes; `None` if the varint goes on.
#[inline]
fn read(bytes: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(MAX_VARINT).enumerate() {
        // 63 bits stand before the last byte, which has one more to give.
        if i == MAX_VARINT - 1 && *byte > 1 {
            return Err(FrameError::BadVarint);
        }
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    Ok(None)
}

#[inline]
fn write(mut value: u64) -> ([u8; MAX_VARINT], usize) {
    let mut bytes = [0; MAX_VARINT];
    let mut len = 0;
    for byte in &mut bytes {
        len += 1;
        *byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, len)
}

impl Framing for VarintPrefixed {
    type Error = FrameError;

    #[inline]
    fn find(&mut self, bytes: &mut [u8]) -> Result<Found, FrameError> {
        let Some((body, header)) = read(bytes)? else { return Ok(Found::NeedMore { hint: 1 }) };
        Ok(Found::announced(bytes, header, header, body, self.max_frame, &mut self.to_skip))
    }

    #[inline(always)]
    fn find_short(&self, bytes: &[u8]) -> Option<Span> {
        // Lengths of one byte, which most have.
        let (length, after) = bytes.split_first()?;
        let length = usize::from(*length);
        let whole = length < 0x80 && length <= self.max_frame && length <= after.len();
        whole.then_some(Span { start: 1, end: 1 + length, consumed: 1 + length })
    }

    fn eof(&mut self, rest: &mut [u8]) -> Result<Rest, FrameError> {
        if rest.is_empty() {
            return Ok(Rest::Clean);
        }
        let missing =
            read(rest)?.map(|(body, header)| body.saturating_add(header as u64).saturating_sub(rest.len() as u64));
        Ok(Rest::Truncated { missing })
    }

    fn skip(&mut self, bytes: &[u8]) -> Option<Skipped> {
        Some(Skipped::of(&mut self.to_skip, bytes))
    }

    #[inline]
    fn encoded_len(&self, payload: &[u8]) -> Result<usize, &'static str> {
        if payload.len() > self.max_frame {
            return Err("the payload is longer than max_frame");
        }
        Ok(write(payload.len() as u64).1 + payload.len())
    }

    #[inline]
    fn encode(&mut self, payload: Payload<'_>, out: &mut Writer<'_>) {
        let (bytes, len) = write(payload.len() as u64);
        out.put_slice(&bytes[..len]);
        payload.put(out);
    }

    fn max_unit(&self) -> usize {
        self.max_frame.saturating_add(MAX_VARINT)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::tests::{Clean, Error, Truncated, decode, decode_skipping, encode, frame, skipped, too_long};
    use super::*;

    #[test]
    fn lengths_are_base_128_little_end_first() {
        let framing = VarintPrefixed::new(1000);
        let mut wire = vec![0xAC, 0x02];
        wire.extend([7; 300]);
        assert_eq!(encode(&framing, [7; 300]).as_deref(), Ok(&wire[..]));
        wire.extend([0, 1, 9]);
        assert_eq!(decode(&framing, wire), [frame([7; 300]), frame([]), frame([9]), Clean]);
        for (len, bytes) in [(0, 1), (127, 1), (128, 2), (16383, 2), (16384, 3), (u64::MAX, 10)] {
            assert_eq!(write(len).1, bytes);
            assert_eq!(read(&write(len).0[..bytes]), Ok(Some((len, bytes))));
        }
    }

    #[test]
    fn lengths_with_bytes_to_spare_are_read() {
        assert_eq!(decode(&VarintPrefixed::new(8), [0x81, 0x80, 0x00, 7]), [frame([7]), Clean]);
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Ok(Some((0, 10))));
    }

    #[test]
    fn more_than_64_bits_are_no_length() {
        let framing = VarintPrefixed::new(8);
        let mut wire = [0xFF; 11];
        assert_eq!(decode(&framing, wire), [Error(FrameError::BadVarint)]);
        wire[9] = 2;
        assert_eq!(decode(&framing, wire), [Error(FrameError::BadVarint)]);
        wire[9] = 1;
        assert_eq!(decode(&framing, wire), [too_long(8, u64::MAX)]);
        assert_eq!(decode_skipping(&framing, wire), [skipped(8, u64::MAX), Truncated(None)]);
    }

    #[test]
    fn the_limit_is_exact_and_longer_frames_can_be_skipped() {
        let framing = VarintPrefixed::new(2);
        assert_eq!(decode(&framing, [2, 8, 9]), [frame([8, 9]), Clean]);
        assert_eq!(decode(&framing, [3, 8, 9, 7]), [too_long(2, 3)]);
        assert_eq!(decode_skipping(&framing, [3, 8, 9, 7, 1, 5]), [skipped(2, 3), frame([5]), Clean]);
        assert!(encode(&framing, [1, 2, 3]).is_err());
        assert_eq!(framing.max_unit(), 12);
    }

    #[test]
    fn the_end_inside_a_frame_says_what_is_missing() {
        assert_eq!(decode(&VarintPrefixed::new(8), [5, 1]), [Truncated(Some(4))]);
        assert_eq!(decode(&VarintPrefixed::new(8), [0x80]), [Truncated(None)]);
    }
}
