//! What every contestant does, and how it is measured.

use std::time::Duration;

/// Bytes of a message, behind a 32-bit big-endian length.
pub const PAYLOAD: usize = 64;
/// A message on the wire.
pub const FRAME: usize = 4 + PAYLOAD;

/// Who is first to have this many echoes, with so many messages in flight over one connection.
#[derive(Clone, Copy)]
pub struct Contest {
    pub in_flight: u32,
    pub latency: Duration,
    pub echoes: u32,
}

/// A message with its number in it.
pub fn frame(number: u32) -> [u8; FRAME] {
    let mut frame = [7; FRAME];
    frame[..4].copy_from_slice(&(PAYLOAD as u32).to_be_bytes());
    frame[4..8].copy_from_slice(&number.to_be_bytes());
    frame
}

/// The number of a message, if it is one.
pub fn number(frame: &[u8]) -> Option<u32> {
    let (length, payload) = frame.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    (length as usize == PAYLOAD).then_some(())?;
    Some(u32::from_be_bytes(payload.get(..4)?.try_into().ok()?))
}
