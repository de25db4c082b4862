//! Names of streams.

use core::fmt;

/// Names one stream of one [`Streams`](super::Streams). The slot may be used again for another stream; the generation
/// tells them apart, so a handle that is kept too long never reaches somebody else's stream (law L16).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl StreamId {
    /// The slot.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How often the slot was used before.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Both in one number, for protocols whose ids each side chooses freely.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The id from [`to_bits`](Self::to_bits). It names a stream only if there is one.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
