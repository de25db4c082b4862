//! A client's stream: equal masked binary messages, cut in reads without regard to frames.

use std::hint::black_box;

pub(super) const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

pub(super) struct Wire {
    pub(super) payload: Vec<u8>,
    frame: Vec<u8>,
    /// The frame over and over, so that any read is one stretch of it.
    block: Vec<u8>,
    read: usize,
    pub(super) messages: usize,
}

impl Wire {
    pub(super) fn new(payload: usize, read: usize, messages: usize) -> Self {
        let payload: Vec<u8> = (0..payload).map(|i| b'a' + (i % 26) as u8).collect();
        let mut frame = vec![0x82];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len @ 126..=0xFFFF => {
                frame.push(0xFE);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                frame.push(0xFF);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&KEY);
        frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
        let block = frame.repeat(read / frame.len() + 2);
        Self { payload, frame, block, read, messages }
    }

    /// What the sum over all messages is: of each the length and the last byte.
    #[cfg(test)]
    pub(super) fn sum(&self) -> u64 {
        let last = self.payload.last().copied().unwrap_or_default();
        self.messages as u64 * (self.payload.len() as u64 + u64::from(last))
    }

    /// Calls `feed` with one read after the other. They come from memory that stays in the cache, as what the kernel has
    /// just copied would.
    pub(super) fn for_each_read(&self, mut feed: impl FnMut(&[u8])) {
        let mut at = 0;
        while let Some(read) = self.read_at(&mut at, usize::MAX) {
            feed(read);
        }
    }

    /// The next read, of at most `most` bytes.
    pub(super) fn read_at(&self, at: &mut usize, most: usize) -> Option<&[u8]> {
        let total = self.frame.len() * self.messages;
        let n = self.read.min(most).min(total - *at);
        let phase = *at % self.frame.len();
        *at += n;
        (n > 0).then(|| black_box(&self.block[phase..phase + n]))
    }
}

/// What is done with a message: as little as shows that it was there.
#[inline]
pub(super) fn note(sum: &mut u64, payload: &[u8]) {
    let last = payload.last().copied().unwrap_or_default();
    *sum += black_box(payload).len() as u64 + u64::from(last);
}
