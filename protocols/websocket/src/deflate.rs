//! permessage-deflate (RFC 7692): one stream of deflate blocks each way, cut into messages.
//!
//! Inflating never makes more bytes than it was given room for, so a bomb is found before it explodes.

use alloc::vec::Vec;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::handshake::DeflateParams;
use crate::message::Role;
use crate::settings::Deflate as Wanted;

/// What a sender leaves off the end of every message (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// A scratch buffer larger than this is not kept.
const KEEP: usize = 64 << 10;
/// The least that output grows by.
const STEP: usize = 1 << 10;

/// The data cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Both directions of one conversation.
#[derive(Debug)]
pub(crate) struct Deflate {
    pub(crate) inflater: Inflater,
    pub(crate) deflater: Deflater,
}

impl Deflate {
    pub(crate) fn new(role: Role, params: DeflateParams, wanted: &Wanted) -> Self {
        let peer = if role == Role::Client { Role::Server } else { Role::Client };
        let (forgets, bits) = params.of(peer);
        // A larger window than the peer's reads all that it may write, and zlib knows none of 8 bits.
        let inflater = Inflater { stream: None, bits: bits.max(9), forgets, tail: 0 };
        let (forgets, bits) = params.of(role);
        let deflater = Deflater {
            stream: None,
            bits,
            forgets,
            level: wanted.level.min(9),
            min_len: wanted.min_len,
            scratch: Vec::new(),
        };
        Self { inflater, deflater }
    }
}

/// What comes in.
#[derive(Debug)]
pub(crate) struct Inflater {
    /// Made with the first compressed message: an idle conversation has none.
    stream: Option<Decompress>,
    bits: u8,
    forgets: bool,
    /// How much of the tail of this message was read.
    tail: usize,
}

impl Inflater {
    /// Inflates from `input` to the end of `out`, at most `room` bytes, and tells how much of the input it took. Less
    /// than all means that there is more to come, and so does a full room.
    pub(crate) fn inflate(&mut self, input: &[u8], out: &mut Vec<u8>, room: usize) -> Result<usize, Invalid> {
        let bits = self.bits;
        let stream = self.stream.get_or_insert_with(|| Decompress::new_with_window_bits(false, bits));
        let limit = out.len().saturating_add(room);
        let mut taken = 0;
        // Grows with what came in and what it became, never with what was announced nor with what `out` held before: each
        // step costs its zeroes, and a peer decides how many steps there are.
        let mut grow = STEP.max(input.len().saturating_mul(2));
        loop {
            let left = limit - out.len();
            if left == 0 {
                return Ok(taken);
            }
            let rest = input.get(taken..).unwrap_or_default();
            let step = left.min(grow);
            let start = out.len();
            out.resize(start + step, 0);
            let before = (stream.total_in(), stream.total_out());
            let status = stream.decompress(rest, out.get_mut(start..).unwrap_or_default(), FlushDecompress::Sync);
            taken += (stream.total_in() - before.0) as usize;
            let made = (stream.total_out() - before.1) as usize;
            out.truncate(start + made);
            match status.map_err(|_| Invalid)? {
                // A final block ends the stream inside the message (RFC 7692 section 7.2.3.5); what follows begins anew.
                Status::StreamEnd => {
                    stream.reset(false);
                    grow = STEP;
                }
                _ if made == step => grow = grow.saturating_mul(2),
                _ if taken == input.len() => return Ok(taken),
                Status::BufError => return Err(Invalid),
                Status::Ok => {}
            }
            if taken == input.len() && made < step {
                return Ok(taken);
            }
        }
    }

    /// Ends a message: reads the tail that the sender left off. True once nothing more comes out of it.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool, Invalid> {
        let before = out.len();
        let tail = TAIL.get(self.tail..).unwrap_or_default();
        self.tail += self.inflate(tail, out, room)?;
        if self.tail < TAIL.len() || out.len() - before == room {
            return Ok(false);
        }
        self.tail = 0;
        if self.forgets {
            if let Some(stream) = &mut self.stream {
                stream.reset(false);
            }
        }
        Ok(true)
    }
}

/// What goes out.
#[derive(Debug)]
pub(crate) struct Deflater {
    stream: Option<Compress>,
    bits: u8,
    forgets: bool,
    level: u8,
    min_len: usize,
    scratch: Vec<u8>,
}

impl Deflater {
    /// Whether a message of this many bytes is to be compressed. With a window of 8 bits none is: zlib cannot make one
    /// (it takes 9 and says nothing), and a message that is not compressed is right with any parameters.
    pub(crate) const fn wants(&self, len: usize) -> bool {
        self.bits >= 9 && len >= self.min_len
    }

    /// The most bytes that [`deflate`](Self::deflate) makes of `len`: nine bits for every byte, and the block ends.
    pub(crate) const fn bound(len: usize) -> usize {
        len.saturating_add(len / 8).saturating_add(len / 64).saturating_add(64)
    }

    /// What [`deflate`](Self::deflate) made was taken: a buffer that became large is let go.
    pub(crate) fn let_go(&mut self) {
        if self.scratch.capacity() > KEEP {
            self.scratch = Vec::new();
        }
    }

    #[cfg(test)]
    pub(crate) const fn keeps(&self) -> usize {
        self.scratch.capacity()
    }

    /// Compresses a part of a message; the last one without its tail. `None` if the compressor fails, which it does not.
    pub(crate) fn deflate(&mut self, input: &[u8], last: bool) -> Option<&[u8]> {
        let (level, bits) = (Compression::new(u32::from(self.level)), self.bits.clamp(9, 15));
        let stream = self.stream.get_or_insert_with(|| Compress::new_with_window_bits(level, false, bits));
        self.scratch.clear();
        let bound = Self::bound(input.len());
        self.scratch.resize(bound, 0);
        let (mut taken, mut made) = (0, 0);
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let room = self.scratch.get_mut(made..).unwrap_or_default();
            let free = room.len();
            let before = (stream.total_in(), stream.total_out());
            let status = stream.compress(rest, room, FlushCompress::Sync).ok()?;
            taken += (stream.total_in() - before.0) as usize;
            let step = (stream.total_out() - before.1) as usize;
            made += step;
            if taken == input.len() && step < free {
                break;
            }
            if step == 0 || status == Status::StreamEnd {
                return None;
            }
        }
        if last && made == 0 {
            // Nothing since the last flush, and zlib does not flush twice: an empty block (RFC 7692 section 7.2.3.6).
            // The room for it was zeroed.
            made = 1;
        } else if last {
            made = made.checked_sub(TAIL.len())?;
        }
        if last && self.forgets {
            stream.reset();
        }
        let out = self.scratch.get(..made)?;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(forgets: bool, bits: u8) -> Deflate {
        let params = DeflateParams {
            server_no_context_takeover: forgets,
            client_no_context_takeover: forgets,
            server_max_window_bits: bits,
            client_max_window_bits: bits,
        };
        Deflate::new(Role::Client, params, &Wanted::new())
    }

    fn inflated(inflater: &mut Inflater, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        let taken = inflater.inflate(bytes, &mut out, limit)?;
        assert_eq!(taken, bytes.len());
        let room = limit - out.len();
        assert!(inflater.finish(&mut out, room)?);
        Ok(out)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7692 section 7.2.3: "Hello" with its tail left off, from memory, stored, with BFINAL, in two blocks.
        let cases: [&[u8]; 4] = [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ];
        for case in cases {
            assert_eq!(inflated(&mut pair(false, 15).inflater, case, 100).as_deref(), Ok(&b"Hello"[..]));
        }
        let mut taken_over = pair(false, 15).inflater;
        assert_eq!(inflated(&mut taken_over, cases[0], 100).as_deref(), Ok(&b"Hello"[..]));
        let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(inflated(&mut taken_over, &second, 100).as_deref(), Ok(&b"Hello"[..]));
    }

    #[test]
    fn what_is_deflated_is_inflated_with_every_window_and_with_and_without_memory() {
        let text: Vec<u8> = (0..40_000_u32).map(|i| ((i * i) >> 7) as u8).collect();
        for bits in 9..=15 {
            for forgets in [false, true] {
                let mut both = pair(forgets, bits);
                let mut sizes = Vec::new();
                for len in [0, 1, 5, 300, 300, 40_000] {
                    let wire = both.deflater.deflate(&text[..len], true).map(<[u8]>::to_vec).unwrap_or_default();
                    assert!(wire.len() <= Deflater::bound(len));
                    sizes.push(wire.len());
                    assert_eq!(inflated(&mut both.inflater, &wire, 50_000).as_deref(), Ok(&text[..len]));
                }
                assert_eq!(
                    forgets,
                    sizes[3] == sizes[4],
                    "{bits}: only a memory makes the second copy smaller: {sizes:?}"
                );
            }
        }
    }

    #[test]
    fn nothing_can_be_sent_twice() {
        for level in 0..=9 {
            let mut both = pair(false, 15);
            both.deflater.level = level;
            for text in [&b"some text"[..], b"", b"", b"more"] {
                let wire = both.deflater.deflate(text, true).map(<[u8]>::to_vec).unwrap_or_default();
                assert_eq!(inflated(&mut both.inflater, &wire, 100).as_deref(), Ok(text), "level {level}");
            }
            // The last part of a message in parts is empty.
            let mut wire = both.deflater.deflate(b"a part", false).map(<[u8]>::to_vec).unwrap_or_default();
            wire.extend(both.deflater.deflate(b"", true).unwrap_or_default());
            assert_eq!(inflated(&mut both.inflater, &wire, 100).as_deref(), Ok(&b"a part"[..]), "level {level}");
        }
    }

    #[test]
    fn a_bomb_makes_no_more_than_there_is_room_for() {
        let mut both = pair(false, 15);
        let bomb = both.deflater.deflate(&[0; 1 << 20], true).map(<[u8]>::to_vec).unwrap_or_default();
        assert!(bomb.len() < 2_000);
        let mut out = Vec::new();
        let taken = both.inflater.inflate(&bomb, &mut out, 5_000);
        assert_eq!(out.len(), 5_000);
        assert!(out.capacity() < 20_000 && taken.is_ok_and(|taken| taken < bomb.len()));
    }

    #[test]
    fn garbage_is_invalid() {
        let mut out = Vec::new();
        assert_eq!(pair(false, 15).inflater.inflate(&[0xFF; 9], &mut out, 100), Err(Invalid));
    }

    /// A connection that sent something long is idle afterwards as any other is.
    #[test]
    fn a_long_message_leaves_no_long_buffer_behind() {
        use crate::{Command, Role, Settings, WebSocket};
        use duologue_core::{Config, Instant, Limits, Session};

        let params = DeflateParams {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        };
        let protocol = WebSocket::upgraded(Role::Server, Settings::new(), Some(params));
        let config = Config::new().limits(Limits::new().send_buffer(8 << 20));
        let mut session = Session::new(protocol, config, 1, Instant::ORIGIN).expect("limits that work");
        for len in [1 << 10, 4 << 20] {
            session.send(Instant::ORIGIN, Command::binary(alloc::vec![7; len])).expect("there is room");
            let kept = session.protocol().deflater_keeps();
            assert!(kept <= KEEP, "{len} bytes leave {kept}");
        }
    }
}
