//! Masking (RFC 6455 section 5.3), in place and a block at a time.

/// Bytes that are masked at once.
const BLOCK: usize = 64;

/// Exclusive-ors `bytes` with the masking key, in place. Masking twice gives the bytes back. `key` is as it stands on
/// the wire; for the second part of a payload turn it first with [`rotate_mask`].
///
/// The loops over blocks are such that compilers turn them into vector instructions: long payloads run at memory speed.
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4]) {
    let key = u32::from_le_bytes(key);
    let mut rest = bytes;
    // Four blocks in a row: a fifth less than one at a time.
    while rest.len() >= 4 * BLOCK {
        let (blocks, behind) = core::mem::take(&mut rest).split_at_mut(4 * BLOCK);
        let (first, second) = blocks.split_at_mut(2 * BLOCK);
        for half in [first, second] {
            let (first, second) = half.split_at_mut(BLOCK);
            mask_words(first, key);
            mask_words(second, key);
        }
        rest = behind;
    }
    // So that the blocks' loop counts nothing but blocks.
    while rest.len() >= BLOCK {
        let (block, behind) = core::mem::take(&mut rest).split_at_mut(BLOCK);
        mask_words(block, key);
        rest = behind;
    }
    mask_rest(rest, key);
}

/// As [`apply_mask`], with the key as a little-endian number, and where it is worth the room that its code takes: for
/// what is short.
#[inline(always)]
pub(crate) fn mask(bytes: &mut [u8], key: u32) {
    let mut wide = bytes.chunks_exact_mut(BLOCK);
    for block in &mut wide {
        mask_words(block, key);
    }
    mask_rest(wide.into_remainder(), key);
}

#[inline(always)]
fn mask_rest(bytes: &mut [u8], key: u32) {
    let rest = mask_words(bytes, key);
    for (byte, key) in rest.iter_mut().zip(key.to_le_bytes()) {
        *byte ^= key;
    }
}

/// Masks four bytes at a time, and gives back what is left.
#[inline(always)]
fn mask_words(bytes: &mut [u8], key: u32) -> &mut [u8] {
    let mut words = bytes.chunks_exact_mut(4);
    for word in &mut words {
        // As numbers, or compilers take the key apart before they put it together again.
        if let Ok(word) = <&mut [u8; 4]>::try_from(word) {
            *word = (u32::from_le_bytes(*word) ^ key).to_le_bytes();
        }
    }
    words.into_remainder()
}

/// The key for what follows `done` bytes that were masked before.
#[must_use]
#[inline]
pub const fn rotate_mask(key: [u8; 4], done: usize) -> [u8; 4] {
    u32::from_be_bytes(key).rotate_left(8 * (done % 4) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6455 section 5.7: a masked "Hello".
        let mut bytes = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply_mask(&mut bytes, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&bytes, b"Hello");
    }

    #[test]
    fn parts_are_masked_as_the_whole_at_every_length_and_cut() {
        let key = [1, 2, 4, 8];
        for len in (0..150_usize).chain([255, 256, 257, 319, 321, 511, 512, 777]) {
            let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let bytewise: Vec<u8> = plain.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
            for cut in 0..=len {
                let mut bytes = plain.clone();
                let (first, second) = bytes.split_at_mut(cut);
                apply_mask(first, key);
                apply_mask(second, rotate_mask(key, cut));
                assert_eq!(bytes, bytewise, "{len} cut at {cut}");
            }
        }
    }
}
