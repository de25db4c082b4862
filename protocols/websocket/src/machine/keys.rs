//! Where a client's masking keys come from.

use alloc::boxed::Box;

use duologue_core::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Keys of which those that were seen do not tell the next (RFC 6455 section 5.3). The session's generator is no such source:
/// one output leads to all that follow. It gives the seed, so that a run can be repeated, and none of its outputs is sent.
///
/// The server's side masks nothing, and has no generator.
#[derive(Debug, Default)]
pub(super) struct Keys(Option<Box<ChaCha8Rng>>);

impl Keys {
    /// The next key, little-endian.
    #[inline]
    pub(super) fn next(&mut self, rng: &mut Rng) -> u32 {
        match &mut self.0 {
            Some(keys) => keys.next_u32(),
            none => none.insert(seeded(rng)).next_u32(),
        }
    }
}

#[cold]
#[inline(never)]
fn seeded(rng: &mut Rng) -> Box<ChaCha8Rng> {
    let mut seed = [0; 32];
    for part in seed.chunks_exact_mut(8) {
        part.copy_from_slice(&rng.next_u64().to_le_bytes());
    }
    Box::new(ChaCha8Rng::from_seed(seed))
}
