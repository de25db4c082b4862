//! Masking (RFC 6455 section 5.3), in place and a block at a time.

/// Exclusive-ors `bytes` with the masking key, in place. Masking twice gives the bytes back. `key` is as it stands on
/// the wire; for the second part of a payload turn it first with [`rotate_mask`].
///
/// The loop over blocks is one that compilers turn into vector instructions, so long payloads run at memory speed.
#[inline]
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let keys = [a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d];
    let mut blocks = bytes.chunks_exact_mut(16);
    for block in &mut blocks {
        for (byte, key) in block.iter_mut().zip(keys) {
            *byte ^= key;
        }
    }
    for (byte, key) in blocks.into_remainder().iter_mut().zip(keys) {
        *byte ^= key;
    }
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
        for len in 0..70_usize {
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
