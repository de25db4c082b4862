//! Finding the end of a section of lines, once over each byte however it arrives.

use bytes::Bytes;
use duologue_core::RecvBuf;
use memchr::memchr;

use super::head::COPIED;
use crate::error::Violation;
use crate::limits::Limits;

/// Where the search for the empty line stands. It only ever goes forward, so that a head that comes byte by byte costs
/// no more than one that comes whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Bytes looked at.
    seen: usize,
    /// Where the current line starts.
    line: usize,
    /// Whole lines before it.
    lines: usize,
}

/// Bounds of one section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) lines: usize,
    pub(crate) too_long: Violation,
    pub(crate) too_many: Violation,
}

impl Scan {
    /// Bytes of this section were seen.
    pub(crate) const fn has_begun(&self) -> bool {
        self.seen > 0
    }

    /// Whole lines seen.
    pub(crate) const fn lines(&self) -> usize {
        self.lines
    }

    /// The head at the start of `rx`, once it is whole. The search for the next one begins anew then.
    pub(crate) fn take_head(&mut self, rx: &mut RecvBuf, limits: &Limits) -> Result<Option<Bytes>, Violation> {
        let bounds = Bounds {
            bytes: limits.head,
            lines: limits.fields.saturating_add(1),
            too_long: Violation::HeadTooLong { limit: limits.head },
            too_many: Violation::TooManyFields { limit: limits.fields },
        };
        let Some(len) = self.find(rx, &bounds)? else { return Ok(None) };
        *self = Self::default();
        Ok(Some(if len <= COPIED { rx.copy(len) } else { rx.take(len) }))
    }

    /// The length of the section at the start of `bytes`, its empty line included, once that is there.
    ///
    /// A line that ends with a bare LF is a violation: two parsers that disagree on where a line ends are a way to
    /// smuggle. A bare CR inside a line is found by the parser of the line.
    pub(crate) fn find(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<usize>, Violation> {
        while let Some(at) = memchr(b'\n', bytes.get(self.seen..).unwrap_or_default()) {
            let end = self.seen + at;
            if end >= bounds.bytes {
                return Err(bounds.too_long);
            }
            if end == self.line || bytes.get(end - 1) != Some(&b'\r') {
                return Err(Violation::LineEnd);
            }
            self.seen = end + 1;
            if end - 1 == self.line {
                return Ok(Some(self.seen));
            }
            self.line = self.seen;
            self.lines += 1;
            if self.lines > bounds.lines {
                return Err(bounds.too_many);
            }
        }
        self.seen = bytes.len();
        if self.seen >= bounds.bytes { Err(bounds.too_long) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        bytes: 40,
        lines: 3,
        too_long: Violation::HeadTooLong { limit: 40 },
        too_many: Violation::TooManyFields { limit: 3 },
    };

    #[test]
    fn the_end_is_found_however_the_bytes_come() {
        let bytes = b"a: b\r\nc: d\r\n\r\nrest";
        assert_eq!(Scan::default().find(bytes, &BOUNDS), Ok(Some(14)));
        let mut scan = Scan::default();
        for n in 1..14 {
            assert_eq!(scan.find(&bytes[..n], &BOUNDS), Ok(None), "{n} bytes");
        }
        assert_eq!(scan.find(&bytes[..14], &BOUNDS), Ok(Some(14)));
    }

    #[test]
    fn no_byte_is_looked_at_twice() {
        let mut scan = Scan::default();
        assert_eq!(scan.find(b"a: b\r\nxxxxxxxx", &BOUNDS), Ok(None));
        // What was looked at may change: nobody looks again, so a long line that comes byte by byte costs no square.
        assert_eq!(scan.find(b"a: b\r\nxx\nxxxxxxx\r\n\r\n", &BOUNDS), Ok(Some(20)));
    }

    #[test]
    fn a_bare_line_feed_is_a_violation_wherever_it_stands() {
        for bytes in [&b"a: b\n"[..], b"\n", b"a: b\r\n\n", b"a: b\r\nc: d\n\r\n"] {
            assert_eq!(Scan::default().find(bytes, &BOUNDS), Err(Violation::LineEnd), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn bytes_and_lines_are_bounded_before_the_end_is_there() {
        assert_eq!(Scan::default().find(&[b'x'; 40], &BOUNDS), Err(BOUNDS.too_long));
        assert_eq!(Scan::default().find(&[b'x'; 39], &BOUNDS), Ok(None));
        assert_eq!(Scan::default().find(b"a\r\nb\r\nc\r\nd\r\n", &BOUNDS), Err(BOUNDS.too_many));
    }
}
