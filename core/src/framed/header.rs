//! Frames whose header tells their length, by a rule of the protocol's own.

use core::fmt;

use super::{Found, FrameError, Framing, Rest, Skipped};
use crate::protocol::Payload;
use crate::send_queue::Writer;

/// How a protocol's headers tell the length of their frames. Both answers must depend on nothing but the bytes.
///
/// A pair of functions is one as well; see [`HeaderFramed::with`].
pub trait HeaderLength {
    /// The size of the header that starts with byte `first`, itself included. `None` or 0: no header does.
    fn header_len(&self, first: u8) -> Option<usize>;

    /// The bytes that follow `header`, which is as long as [`header_len`](Self::header_len) said.
    ///
    /// # Errors
    /// What is wrong with the header.
    fn body_len(&self, header: &[u8]) -> Result<u64, &'static str>;
}

impl<F, G> HeaderLength for (F, G)
where
    F: Fn(u8) -> Option<usize>,
    G: Fn(&[u8]) -> Result<u64, &'static str>,
{
    fn header_len(&self, first: u8) -> Option<usize> {
        self.0(first)
    }

    fn body_len(&self, header: &[u8]) -> Result<u64, &'static str> {
        self.1(header)
    }
}

/// Headers of fixed sizes, chosen by their first byte, and a rule for the length of what follows.
///
/// Payloads are whole frames, header included, both ways. The limit counts the whole frame; a frame that is too
/// long is known as such once its header is there.
///
/// DL/T 476 as an example: acknowledgements are 4 octets and nothing more; the other headers are 6 octets with a
/// little-endian length at octet 4. Bit 7 of the first octet is no part of the code.
///
/// ```
/// use duologue_core::framed::{Found, Framing, HeaderFramed, Span};
///
/// let mut apdus = HeaderFramed::with(
///     |first| match first & 0x7F {
///         0x0B | 0x0C => Some(4),
///         0x01..=0x0A => Some(6),
///         _ => None,
///     },
///     |header| match header {
///         [_, _, _, _, low, high] => Ok(u64::from(u16::from_le_bytes([*low, *high]))),
///         _ => Ok(0),
///     },
///     8192,
/// );
/// let mut received = vec![0x8A, 0, 0, 1, 2, 0, 0x55, 0xAA, 0x0B, 0, 0, 0];
/// let data = apdus.find(&mut received).unwrap();
/// assert_eq!(data, Found::Frame(Span { start: 0, end: 8, consumed: 8 }));
/// let ack = apdus.find(&mut received[8..]).unwrap();
/// assert_eq!(ack, Found::Frame(Span { start: 0, end: 4, consumed: 4 }));
/// ```
#[derive(Clone, Hash)]
pub struct HeaderFramed<L> {
    lengths: L,
    max_header: usize,
    max_frame: usize,
    /// Bytes of a frame being skipped that are still to come.
    to_skip: u64,
}

impl<F, G> HeaderFramed<(F, G)>
where
    F: Fn(u8) -> Option<usize>,
    G: Fn(&[u8]) -> Result<u64, &'static str>,
{
    /// Frames of up to `max_frame` bytes, header included, by two functions: the header's size from its first byte,
    /// and the bytes after it from the header.
    #[must_use]
    pub fn with(header_len: F, body_len: G, max_frame: usize) -> Self {
        Self::new((header_len, body_len), max_frame)
    }
}

impl<L: HeaderLength> HeaderFramed<L> {
    /// Frames of up to `max_frame` bytes, header included, by the rule `lengths`.
    #[must_use]
    pub fn new(lengths: L, max_frame: usize) -> Self {
        // Asked here and not of the caller, so that it cannot be wrong.
        let max_header = (0..=u8::MAX).filter_map(|first| lengths.header_len(first)).max().unwrap_or_default();
        Self { lengths, max_header, max_frame, to_skip: 0 }
    }

    /// The rule.
    #[must_use]
    pub const fn lengths(&self) -> &L {
        &self.lengths
    }

    /// The bytes of the whole frame; `None` while its header is incomplete, with how much is missing.
    #[inline]
    fn whole(&self, bytes: &[u8]) -> Result<Result<u64, usize>, FrameError> {
        let Some(&first) = bytes.first() else { return Ok(Err(1)) };
        let size = self.lengths.header_len(first).filter(|size| *size > 0);
        let size = size.ok_or(FrameError::UnknownHeader { first })?;
        if size > self.max_header {
            return Err(FrameError::BadHeader { why: "its size is not what it was at the start" });
        }
        let Some(header) = bytes.get(..size) else { return Ok(Err(size - bytes.len())) };
        let body = self.lengths.body_len(header).map_err(|why| FrameError::BadHeader { why })?;
        Ok(Ok(body.saturating_add(size as u64)))
    }
}

// By hand, so that a rule made of closures, which have no `Debug`, is no obstacle.
impl<L> fmt::Debug for HeaderFramed<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderFramed")
            .field("max_header", &self.max_header)
            .field("max_frame", &self.max_frame)
            .field("to_skip", &self.to_skip)
            .finish_non_exhaustive()
    }
}

impl<L: HeaderLength> Framing for HeaderFramed<L> {
    type Error = FrameError;

    #[inline]
    fn find(&mut self, bytes: &mut [u8]) -> Result<Found, FrameError> {
        let whole = match self.whole(bytes)? {
            Ok(whole) => whole,
            Err(hint) => return Ok(Found::NeedMore { hint }),
        };
        // The header is part of what is delivered, and of what is limited.
        Ok(Found::announced(bytes, 0, 0, whole, self.max_frame, &mut self.to_skip))
    }

    fn eof(&mut self, rest: &mut [u8]) -> Result<Rest, FrameError> {
        if rest.is_empty() {
            return Ok(Rest::Clean);
        }
        let missing = self.whole(rest)?.ok().map(|whole| whole.saturating_sub(rest.len() as u64));
        Ok(Rest::Truncated { missing })
    }

    fn skip(&mut self, bytes: &[u8]) -> Option<Skipped> {
        Some(Skipped::of(&mut self.to_skip, bytes))
    }

    #[inline]
    fn encoded_len(&self, payload: &[u8]) -> Result<usize, &'static str> {
        match self.whole(payload) {
            Ok(Ok(whole)) if whole != payload.len() as u64 => Err("the payload is not as long as its header says"),
            Ok(Ok(_)) if payload.len() > self.max_frame => Err("the payload is longer than max_frame"),
            Ok(Ok(_)) => Ok(payload.len()),
            Ok(Err(_)) => Err("the payload is shorter than its header"),
            Err(FrameError::BadHeader { why }) => Err(why),
            Err(_) => Err("no header starts with the payload's first byte"),
        }
    }

    #[inline]
    fn encode(&mut self, payload: Payload<'_>, out: &mut Writer<'_>) {
        payload.put(out);
    }

    fn max_unit(&self) -> usize {
        // A header must be seen whole even if its frame is too long.
        self.max_frame.max(self.max_header).max(1)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::tests::{Clean, Error, Truncated, decode, decode_skipping, encode, frame, skipped, too_long};
    use super::*;

    /// A length of two bytes behind 1, one of one byte behind 2, none behind 3; 4 has a header that is never right.
    #[derive(Clone, Debug)]
    struct Rule;

    impl HeaderLength for Rule {
        fn header_len(&self, first: u8) -> Option<usize> {
            match first {
                1 => Some(3),
                2 | 4 => Some(2),
                3 => Some(1),
                5 => Some(0),
                _ => None,
            }
        }

        fn body_len(&self, header: &[u8]) -> Result<u64, &'static str> {
            match *header {
                [1, high, low] => Ok(u64::from(high) << 8 | u64::from(low)),
                [2, 0xFF] => Ok(u64::MAX),
                [2, len] => Ok(u64::from(len)),
                [3] => Ok(0),
                _ => Err("four"),
            }
        }
    }

    fn framing(max_frame: usize) -> HeaderFramed<Rule> {
        HeaderFramed::new(Rule, max_frame)
    }

    #[test]
    fn the_first_byte_chooses_the_header() {
        let wire = [1, 0, 2, 8, 9, 3, 2, 1, 7, 3];
        let frames = [frame([1, 0, 2, 8, 9]), frame([3]), frame([2, 1, 7]), frame([3]), Clean];
        assert_eq!(decode(&framing(8), wire), frames);
        for whole in [&[1, 0, 2, 8, 9][..], &[3], &[2, 0]] {
            assert_eq!(encode(&framing(8), whole).as_deref(), Ok(whole));
        }
        for refused in
            [&[][..], &[9], &[5], &[1, 0], &[2, 1], &[2, 1, 7, 7], &[3, 3], &[4, 0], &[2, 7, 1, 2, 3, 4, 5, 6, 7]]
        {
            assert!(encode(&framing(8), refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_said() {
        assert_eq!(decode(&framing(8), [3, 9]), [frame([3]), Error(FrameError::UnknownHeader { first: 9 })]);
        assert_eq!(decode(&framing(8), [5]), [Error(FrameError::UnknownHeader { first: 5 })]);
        assert_eq!(decode(&framing(8), [4, 1]), [Error(FrameError::BadHeader { why: "four" })]);
    }

    #[test]
    fn the_limit_counts_the_whole_frame() {
        assert_eq!(decode(&framing(4), [2, 2, 8, 9]), [frame([2, 2, 8, 9]), Clean]);
        assert_eq!(decode(&framing(4), [2, 3, 8, 9, 7, 3]), [too_long(4, 5)]);
        assert_eq!(decode_skipping(&framing(4), [2, 3, 8, 9, 7, 3]), [skipped(4, 5), frame([3]), Clean]);
        assert_eq!(decode(&framing(4), [2, 0xFF]), [too_long(4, u64::MAX)]);
        // A header longer than the limit is seen whole, so that the frame can be skipped.
        assert_eq!(framing(2).max_unit(), 3);
        assert_eq!(decode_skipping(&framing(2), [1, 0, 1, 7, 3]), [skipped(2, 4), frame([3]), Clean]);
        assert_eq!(HeaderFramed::with(|_| None, |_| Ok(0), 0).max_unit(), 1);
    }

    #[test]
    fn the_end_inside_a_frame_says_what_is_missing() {
        assert_eq!(decode(&framing(8), [1, 0]), [Truncated(None)]);
        assert_eq!(decode(&framing(8), [1, 0, 4, 7]), [Truncated(Some(3))]);
    }

    #[test]
    fn a_rule_that_changes_its_mind_is_refused() {
        let grows = core::cell::Cell::new(2);
        let size = |_| Some(grows.get());
        let mut framing = HeaderFramed::with(size, |_| Ok(0), 8);
        grows.set(100);
        let mut bytes = Vec::from([0; 200]);
        assert!(matches!(framing.find(&mut bytes), Err(FrameError::BadHeader { .. })));
    }
}
