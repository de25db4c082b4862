//! What one would write for exactly this: one fixed buffer, no fragments, no control frames, nothing negotiated.

use super::BATCH;
use super::wire::{KEY, Wire, note};

/// Reads into one fixed buffer; what is left over moves to its front.
fn reads(wire: &Wire, mut take: impl FnMut(&mut [u8]) -> usize) {
    let mut buffer = vec![0; (64 << 10) + 14 + 2 * wire.payload.len()];
    let mut filled = 0;
    wire.for_each_read(|read| {
        buffer[filled..filled + read.len()].copy_from_slice(read);
        filled += read.len();
        let mut at = 0;
        loop {
            let taken = take(&mut buffer[at..filled]);
            if taken == 0 {
                break;
            }
            at += taken;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    });
}

/// The copying that is in every figure.
pub(super) fn copy(wire: &Wire) -> u64 {
    let mut sum = 0;
    reads(wire, |bytes| {
        note(&mut sum, bytes);
        bytes.len()
    });
    sum
}

pub(super) fn parse(wire: &Wire) -> u64 {
    let mut sum = 0;
    reads(wire, |bytes| match take(bytes) {
        Some((payload, taken)) => {
            note(&mut sum, payload);
            taken
        }
        None => 0,
    });
    sum
}

/// A whole binary message in one frame; everything else ends the process.
#[inline]
fn take(bytes: &mut [u8]) -> Option<(&[u8], usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    assert!(first == 0x82 && second & 0x80 != 0, "not a whole masked binary message");
    let (len, header) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk::<8>()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let (head, payload) = bytes.split_at_mut_checked(header + 4)?;
    let key = *head.last_chunk::<4>()?;
    let payload = payload.get_mut(..len)?;
    mask(payload, key);
    Some((payload, header + 4 + len))
}

/// Blocks that compilers turn into vector instructions.
#[inline]
fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let keys: [u8; 16] = std::array::from_fn(|i| key[i % 4]);
    let mut wide = bytes.chunks_exact_mut(64);
    for block in &mut wide {
        for quarter in block.chunks_exact_mut(16) {
            for (byte, key) in quarter.iter_mut().zip(keys) {
                *byte ^= key;
            }
        }
    }
    for (byte, key) in wide.into_remainder().iter_mut().zip(keys.iter().cycle()) {
        *byte ^= key;
    }
}

pub(super) fn serialise(wire: &Wire) -> u64 {
    let mut out = Vec::with_capacity(BATCH * (wire.payload.len() + 14));
    let (mut sum, mut state) = (0, u64::from(u32::from_ne_bytes(KEY)));
    for i in 0..wire.messages {
        // A multiplication is the least that gives another key each time.
        state = state.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
        let key = ((state >> 32) as u32).to_ne_bytes();
        let payload = std::hint::black_box(&wire.payload[..]);
        let len = payload.len() as u16;
        let [high, low] = len.to_be_bytes();
        out.extend_from_slice(&[0x82, 0xFE, high, low, key[0], key[1], key[2], key[3]]);
        let start = out.len();
        out.extend_from_slice(payload);
        mask(&mut out[start..], key);
        sum += payload.len() as u64 + u64::from(out.last().copied().unwrap_or_default() ^ key[3]);
        if i % BATCH == BATCH - 1 {
            std::hint::black_box(&out);
            out.clear();
        }
    }
    sum
}
