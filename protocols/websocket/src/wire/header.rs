//! Frame headers (RFC 6455 section 5.2).
//!
//! ```text
//!  bit  7   6    5    4    3..0      7    6..0
//!     FIN RSV1 RSV2 RSV3 opcode    MASK  length   (126: 16 more bits, 127: 64 more)   key (4 bytes, if MASK)
//! ```

use super::{MAX_CONTROL, MAX_HEADER};
use crate::error::Violation;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
const RSV23: u8 = 0x30;
pub(crate) const MASK: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further part of a message.
    Continuation = 0,
    /// A text message, or its first part.
    Text = 1,
    /// A binary message, or its first part.
    Binary = 2,
    /// The end of the conversation.
    Close = 8,
    /// A question for a sign of life.
    Ping = 9,
    /// The answer to it.
    Pong = 10,
}

impl Opcode {
    /// The opcode of these four bits, if it is not a reserved one.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Close, Ping or Pong.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 >= CLOSE
    }
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// The message is compressed (RFC 7692).
    pub rsv1: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub len: u64,
}

/// A header as it is parsed: its first byte, the payload's length, the key and the header's own length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) first: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) len: u64,
    pub(crate) size: usize,
}

/// Parses a header at the start of `bytes`: the header and how many bytes it takes, or `None` if there are too few.
/// `strict` rejects lengths that are not written in the fewest bytes. Whether a mask is right is for the caller.
///
/// # Errors
/// Bits or lengths that no frame may have, as soon as the bytes that say so are there.
pub fn parse_header(bytes: &[u8], strict: bool) -> Result<Option<(Header, usize)>, Violation> {
    let Some(parsed) = parse(bytes, strict)? else { return Ok(None) };
    let Some(opcode) = Opcode::from_bits(parsed.first & 0x0F) else {
        return Err(Violation::ReservedOpcode { opcode: parsed.first & 0x0F });
    };
    let Parsed { first, mask, len, size } = parsed;
    Ok(Some((Header { fin: first & FIN != 0, rsv1: first & RSV1 != 0, opcode, mask, len }, size)))
}

/// As [`parse_header`], for the machine.
#[inline]
pub(crate) fn parse(bytes: &[u8], strict: bool) -> Result<Option<Parsed>, Violation> {
    let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    if first & RSV23 != 0 {
        return Err(Violation::ReservedBits { bits: (first & 0x70) >> 4 });
    }
    let Some(opcode) = Opcode::from_bits(first & 0x0F) else {
        return Err(Violation::ReservedOpcode { opcode: first & 0x0F });
    };
    let short = second & !MASK;
    if opcode.is_control() {
        if first & FIN == 0 {
            return Err(Violation::FragmentedControl);
        }
        if usize::from(short) > MAX_CONTROL {
            return Err(Violation::ControlTooLong);
        }
        if first & RSV1 != 0 {
            return Err(Violation::ReservedBits { bits: 4 });
        }
    }
    let (len, rest, extended) = match short {
        126 => match rest.split_first_chunk::<2>() {
            Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest, 2),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((len, rest)) => (u64::from_be_bytes(*len), rest, 8),
            None => return Ok(None),
        },
        short => (u64::from(short), rest, 0),
    };
    if len >> 63 != 0 {
        return Err(Violation::LengthTopBit);
    }
    let fewest = if len < 126 {
        0
    } else if len <= 0xFFFF {
        2
    } else {
        8
    };
    if strict && extended != fewest {
        return Err(Violation::LengthNotMinimal { len });
    }
    if second & MASK == 0 {
        return Ok(Some(Parsed { first, mask: None, len, size: 2 + extended }));
    }
    let Some(key) = rest.first_chunk::<4>() else { return Ok(None) };
    Ok(Some(Parsed { first, mask: Some(*key), len, size: 6 + extended }))
}

/// A header on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeaderBytes {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl HeaderBytes {
    /// The header of a frame whose first byte is `first`.
    #[inline]
    pub(crate) fn new(first: u8, len: usize, mask: Option<[u8; 4]>) -> Self {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = first;
        let mut at = match len {
            0..=125 => {
                bytes[1] = len as u8;
                2
            }
            126..=0xFFFF => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(len as u64).to_be_bytes());
                10
            }
        };
        if let Some(key) = mask {
            bytes[1] |= MASK;
            bytes[at..at + 4].copy_from_slice(&key);
            at += 4;
        }
        Self { bytes, len: at as u8 }
    }

    /// Bytes of a header for `len` bytes of payload.
    #[inline]
    pub(crate) const fn size(len: usize, masked: bool) -> usize {
        let size = if len < 126 {
            2
        } else if len <= 0xFFFF {
            4
        } else {
            10
        };
        if masked { size + 4 } else { size }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Writes a header into `out` and tells its length. The length is written in the fewest bytes.
pub fn encode_header(header: &Header, out: &mut [u8; MAX_HEADER]) -> usize {
    let fin = if header.fin { FIN } else { 0 };
    let rsv1 = if header.rsv1 { RSV1 } else { 0 };
    let len = usize::try_from(header.len).unwrap_or(usize::MAX);
    let bytes = HeaderBytes::new(fin | rsv1 | header.opcode as u8, len, header.mask);
    *out = bytes.bytes;
    usize::from(bytes.len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_parsed_at_every_boundary_of_the_length() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, 1 << 40] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let header = Header { fin: len % 2 == 0, rsv1: false, opcode: Opcode::Binary, mask, len };
                let mut out = [0; MAX_HEADER];
                let size = encode_header(&header, &mut out);
                assert_eq!(size, HeaderBytes::size(len as usize, mask.is_some()));
                assert_eq!(parse_header(&out[..size], true), Ok(Some((header, size))));
                for cut in 0..size {
                    assert_eq!(parse_header(&out[..cut], true), Ok(None), "{len} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn what_no_frame_may_have_is_found_at_the_first_byte_that_says_so() {
        let cases: [(&[u8], Violation); 8] = [
            (&[0xA1, 0], Violation::ReservedBits { bits: 2 }),
            (&[0x91, 0], Violation::ReservedBits { bits: 1 }),
            (&[0xC9, 0], Violation::ReservedBits { bits: 4 }),
            (&[0x83, 0], Violation::ReservedOpcode { opcode: 3 }),
            (&[0x8B, 0], Violation::ReservedOpcode { opcode: 11 }),
            (&[0x09, 0], Violation::FragmentedControl),
            (&[0x89, 126], Violation::ControlTooLong),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::LengthTopBit),
        ];
        for (bytes, violation) in cases {
            assert_eq!(parse(bytes, true), Err(violation));
        }
    }

    #[test]
    fn a_length_in_more_bytes_than_needed_is_a_matter_of_policy() {
        let short = [0x82, 126, 0, 125];
        let long = [0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF];
        assert_eq!(parse(&short, true), Err(Violation::LengthNotMinimal { len: 125 }));
        assert_eq!(parse(&long, true), Err(Violation::LengthNotMinimal { len: 0xFFFF }));
        assert_eq!(parse(&short, false).map(|p| p.map(|p| p.len)), Ok(Some(125)));
        assert_eq!(parse(&long, false).map(|p| p.map(|p| p.len)), Ok(Some(0xFFFF)));
    }
}
