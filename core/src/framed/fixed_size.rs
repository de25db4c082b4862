//! Frames of one size.

use super::{Found, FrameError, Framing, Rest, Span};
use crate::protocol::Payload;
use crate::send_queue::Writer;

/// Frames of one size, with nothing around them.
///
/// ```
/// use duologue_core::framed::{FixedSize, Found, Framing, Span};
///
/// let mut cells = FixedSize::new(4);
/// assert_eq!(cells.find(&mut [1, 2, 3]), Ok(Found::NeedMore { hint: 1 }));
/// assert_eq!(cells.find(&mut [1, 2, 3, 4, 5]), Ok(Found::Frame(Span { start: 0, end: 4, consumed: 4 })));
/// ```
#[derive(Clone, Debug, Hash)]
pub struct FixedSize {
    size: usize,
}

impl FixedSize {
    /// Frames of `size` bytes. A size of 0 is taken for 1: frames without bytes could not be told apart.
    #[must_use]
    pub const fn new(size: usize) -> Self {
        Self { size: if size == 0 { 1 } else { size } }
    }

    /// The size of every frame.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }
}

impl Framing for FixedSize {
    type Error = FrameError;

    #[inline]
    fn find(&mut self, bytes: &mut [u8]) -> Result<Found, FrameError> {
        Ok(match self.size.checked_sub(bytes.len()) {
            Some(hint @ 1..) => Found::NeedMore { hint },
            _ => Found::Frame(Span { start: 0, end: self.size, consumed: self.size }),
        })
    }

    #[inline(always)]
    fn find_short(&self, bytes: &[u8]) -> Option<Span> {
        (bytes.len() >= self.size).then_some(Span { start: 0, end: self.size, consumed: self.size })
    }

    fn eof(&mut self, rest: &mut [u8]) -> Result<Rest, FrameError> {
        Ok(if rest.is_empty() {
            Rest::Clean
        } else {
            Rest::Truncated { missing: Some(self.size.saturating_sub(rest.len()) as u64) }
        })
    }

    #[inline]
    fn encoded_len(&self, payload: &[u8]) -> Result<usize, &'static str> {
        if payload.len() == self.size { Ok(self.size) } else { Err("the payload does not have the size of a frame") }
    }

    #[inline]
    fn encode(&mut self, payload: Payload<'_>, out: &mut Writer<'_>) {
        payload.put(out);
    }

    fn max_unit(&self) -> usize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Clean, Truncated, decode, encode, frame};
    use super::*;

    #[test]
    fn frames_have_one_size() {
        let framing = FixedSize::new(3);
        assert_eq!(decode(&framing, "abcdef"), [frame("abc"), frame("def"), Clean]);
        assert_eq!(decode(&framing, "abcd"), [frame("abc"), Truncated(Some(2))]);
        assert_eq!(encode(&framing, "abc").as_deref(), Ok(&b"abc"[..]));
        assert!(encode(&framing, "ab").is_err() && encode(&framing, "abcd").is_err());
        assert_eq!(framing.max_unit(), 3);
    }

    #[test]
    fn a_size_of_zero_is_one() {
        assert_eq!(FixedSize::new(0).size(), 1);
        assert_eq!(decode(&FixedSize::new(0), "ab"), [frame("a"), frame("b"), Clean]);
    }
}
