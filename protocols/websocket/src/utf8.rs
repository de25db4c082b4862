//! UTF-8 that comes in pieces: the first byte that can be no part of a character fails, wherever the pieces were cut.

/// Checks a stream of bytes (RFC 6455 section 8.1; RFC 3629).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    /// The beginning of a character whose rest has not come.
    pending: [u8; 4],
    len: u8,
}

/// The bytes are no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Utf8 {
    /// Checks the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), NotUtf8> {
        while self.len > 0 {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            bytes = rest;
            let len = usize::from(self.len);
            let Some(slot) = self.pending.get_mut(len) else { return Err(NotUtf8) };
            *slot = *first;
            self.len += 1;
            match core::str::from_utf8(self.pending.get(..=len).unwrap_or_default()) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return Err(NotUtf8),
                Err(_) => {}
            }
        }
        match simdutf8::compat::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(NotUtf8),
            Err(error) => {
                // At most three bytes, the beginning of one character.
                let tail = bytes.get(error.valid_up_to()..).unwrap_or_default();
                for (slot, byte) in self.pending.iter_mut().zip(tail) {
                    *slot = *byte;
                }
                self.len = tail.len() as u8;
                Ok(())
            }
        }
    }

    /// Whether it may end here, and starts anew.
    pub(crate) fn finish(&mut self) -> Result<(), NotUtf8> {
        let complete = self.len == 0;
        self.len = 0;
        if complete { Ok(()) } else { Err(NotUtf8) }
    }
}

/// Whether all of `bytes` is UTF-8.
#[inline]
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offset of the piece that failed, or whether the end did.
    fn fed(pieces: &[&[u8]]) -> Result<bool, usize> {
        let mut utf8 = Utf8::default();
        for (i, piece) in pieces.iter().enumerate() {
            utf8.feed(piece).map_err(|_| i)?;
        }
        Ok(utf8.finish().is_ok())
    }

    #[test]
    fn cuts_change_nothing() {
        let text = "a\u{e9}\u{20ac}\u{10348}z".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let (a, rest) = text.split_at(first);
                let (b, c) = rest.split_at(second - first);
                assert_eq!(fed(&[a, b, c]), Ok(true));
            }
        }
    }

    #[test]
    fn the_first_impossible_byte_fails_at_once() {
        assert_eq!(fed(&[b"\xce", b"\xba", b"\xf4", b"\x90"]), Err(3), "beyond U+10FFFF");
        assert_eq!(fed(&[b"\xed", b"\xa0"]), Err(1), "a surrogate");
        assert_eq!(fed(&[b"\xc0"]), Err(0), "never a first byte");
        assert_eq!(fed(&[b"\xe2\x82", b"x"]), Err(1));
        assert_eq!(fed(&[b"\xe2\x82"]), Ok(false), "the end inside a character");
    }
}
