//! The chunked coding (RFC 9112, section 7.1), strict: CR LF everywhere, plain hexadecimal sizes, bounded extensions.

use memchr::memchr;

use crate::error::Violation;
use crate::limits::{CHUNK_LINE, Limits};

/// Hexadecimal digits of a chunk's size; more would overflow 64 bits, or pad with zeros to hide something.
const MOST_DIGITS: usize = 16;

/// Where in a chunked body the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunked {
    /// In a size line, of which `seen` bytes hold no LF.
    Size { seen: usize },
    /// In the content of a chunk.
    Data { left: u64 },
    /// Before the CR LF that ends a chunk.
    DataEnd,
    /// In the trailer section.
    Trailers,
}

/// A size line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeLine {
    /// The chunk's size.
    pub(crate) size: u64,
    /// Bytes of the line, CR LF included.
    pub(crate) line: usize,
    /// Bytes of its extensions.
    pub(crate) extensions: usize,
}

/// Looks for a size line at the start of `bytes`, of which the first `seen` hold no LF.
pub(crate) fn size_line(bytes: &[u8], seen: &mut usize, limits: &Limits) -> Result<Option<SizeLine>, Violation> {
    let found = memchr(b'\n', bytes.get(*seen..).unwrap_or_default()).map(|at| *seen + at);
    let longest = limits.chunk_extensions.saturating_add(CHUNK_LINE);
    if found.unwrap_or(bytes.len()) >= longest {
        return Err(Violation::ChunkExtensions { limit: limits.chunk_extensions });
    }
    let Some(end) = found else {
        *seen = bytes.len();
        return Ok(None);
    };
    let line = match bytes.get(..end) {
        Some([line @ .., b'\r']) => line,
        _ => return Err(Violation::LineEnd),
    };
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 || digits > MOST_DIGITS {
        return Err(Violation::Chunk);
    }
    let (size, extensions) = line.split_at(digits);
    if !are_extensions(extensions) {
        return Err(Violation::Chunk);
    }
    let size = size.iter().fold(0u64, |sum, byte| sum << 4 | u64::from(hex(*byte)));
    Ok(Some(SizeLine { size, line: end + 1, extensions: extensions.len() }))
}

/// Nothing, or what begins with a semicolon, spaces and tabs before it allowed, and holds no control byte. Extensions are
/// thrown away.
fn are_extensions(bytes: &[u8]) -> bool {
    let begins = match super::fields::trim(bytes) {
        [] => bytes.is_empty(),
        [first, ..] => *first == b';',
    };
    begins && bytes.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

const fn hex(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte.wrapping_sub(b'A').wrapping_add(10) & 0xf,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> Result<Option<SizeLine>, Violation> {
        size_line(bytes, &mut 0, &Limits::default())
    }

    #[test]
    fn sizes_are_plain_hexadecimal() {
        for (bytes, size) in [(&b"0\r\n"[..], 0), (b"1a\r\n", 26), (b"FFff\r\n", 65535), (b"00000000000000a0\r\n", 160)]
        {
            assert_eq!(line(bytes).map(|l| l.map(|l| l.size)), Ok(Some(size)), "{}", bytes.escape_ascii());
        }
        let largest = b"ffffffffffffffff\r\n";
        assert_eq!(line(largest).map(|l| l.map(|l| l.size)), Ok(Some(u64::MAX)));
        for wrong in [
            &b"\r\n"[..],
            b"0x5\r\n",
            b"+5\r\n",
            b"-5\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"5\t\r\n",
            b"5_0\r\n",
            b"5g\r\n",
            b"5 5\r\n",
            b"00000000000000005\r\n",
            b"10000000000000000\r\n",
            b"5;a=\x00\r\n",
            b"5;a\r b\r\n",
        ] {
            assert_eq!(line(wrong), Err(Violation::Chunk), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn a_line_ends_with_both_and_extensions_are_counted() {
        assert_eq!(line(b"5\n"), Err(Violation::LineEnd));
        assert_eq!(line(b"5;a=b\n"), Err(Violation::LineEnd));
        assert_eq!(line(b"5;a=\"b\"\r\n"), Ok(Some(SizeLine { size: 5, line: 9, extensions: 6 })));
        assert_eq!(line(b"5 ;a\r\n"), Ok(Some(SizeLine { size: 5, line: 6, extensions: 3 })));
        assert_eq!(line(b"5"), Ok(None));
        let long = [b'5'; 5000];
        assert!(matches!(line(&long), Err(Violation::ChunkExtensions { .. })));
    }
}
