//! The little protocols that the cases talk.

use bytes::{BufMut, Bytes, BytesMut};
use duologue_core::framed::{Framed, HeaderFramed, HeaderLength, Heartbeat, LengthPrefixed};
use std::time::Duration;

/// DL/T 476 framing (a data protocol of power dispatch centres): the first octet decides how long the header is.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch;

pub const DATA: u8 = 0x0a;
pub const ACK: u8 = 0x0b;

impl HeaderLength for Dispatch {
    fn header_len(&self, first: u8) -> Option<usize> {
        match first & 0x7f {
            ACK | 0x0c => Some(4),
            0x01..=0x0a => Some(6),
            _ => None,
        }
    }

    fn body_len(&self, header: &[u8]) -> Result<u64, &'static str> {
        Ok(match header {
            [_, _, _, _, low, high] => u64::from(u16::from_le_bytes([*low, *high])),
            _ => 0,
        })
    }
}

pub type DispatchProtocol = Framed<HeaderFramed<Dispatch>>;

pub fn dispatch() -> DispatchProtocol {
    Framed::new(HeaderFramed::new(Dispatch, 4096))
}

/// An A-DATA frame with one number in it.
pub fn data(sequence: u64) -> Bytes {
    let mut frame = BytesMut::with_capacity(14);
    frame.put_slice(&[DATA, 0, sequence as u8, 1, 8, 0]);
    frame.put_u64_le(sequence);
    frame.freeze()
}

/// The A-DATA-ACK that confirms a frame.
pub fn ack(frame: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&[ACK, frame.get(2).copied().unwrap_or_default(), 0, 0])
}

pub type Messages = Framed<LengthPrefixed>;

/// Messages behind a 32-bit length.
pub fn messages() -> Messages {
    Framed::new(LengthPrefixed::u32_be(128 << 10))
}

/// The same with a heartbeat that the other side must keep up.
pub fn messages_with_heartbeat(expect_within: Duration) -> Messages {
    let heartbeat = Heartbeat::new(Bytes::from_static(b"beat"));
    messages().heartbeat(heartbeat.send_after(expect_within / 3).expect_within(expect_within))
}

/// FNV-1a over frames in order: both sides must come to the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum(pub u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    pub fn add(&mut self, frame: &[u8]) {
        for byte in frame {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
