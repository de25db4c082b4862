//! Decoding alone: frames out of memory, in chunks as a socket would bring them.
//!
//! Every decoder is fed alike: a chunk is copied behind what it left over, as a read would, and it then takes out
//! all whole frames. Of each frame the payload's length and its last byte are added up.

use std::hint::black_box;
use std::io::{self, Write, stdout};

use bytes::{Buf, BufMut, BytesMut};
use clap::ValueEnum;
use duologue_core::framed::{Delimited, Framed, Framing, LengthPrefixed};
use duologue_core::{Config, Delivery, Event, Instant, Session};
use tokio_util::codec::{self, LengthDelimitedCodec, LinesCodec};

use crate::args::Args;
use crate::measure::{Series, per_unit};

/// Bytes of a payload, or of a line without its CR LF.
const PAYLOAD: usize = 128;
const CHUNK: usize = 64 << 10;
/// Frames between two looks at the clock.
const SLICE: usize = 20_000;
/// Longest frame that the decoders take.
const MAX: usize = 8 << 10;

/// Which decoder, over which frames: 32-bit big-endian length, or CR LF lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decoder {
    /// Length prefix, by hand.
    PrefixByHand,
    /// Length prefix, by hand, each payload as `Bytes` of its own: what owning alone costs.
    PrefixByHandOwned,
    /// Length prefix, tokio-util's `LengthDelimitedCodec`.
    PrefixTokioUtil,
    /// Length prefix, a session's `poll_event`.
    PrefixOwned,
    /// Length prefix, a session's `handle`.
    PrefixBorrowed,
    /// Lines, by hand with memchr.
    LinesByHand,
    /// Lines, tokio-util's `LinesCodec`.
    LinesTokioUtil,
    /// Lines, a session's `poll_event`.
    LinesOwned,
    /// Lines, a session's `handle`.
    LinesBorrowed,
}

impl Decoder {
    const PREFIX: [Self; 5] =
        [Self::PrefixByHand, Self::PrefixByHandOwned, Self::PrefixTokioUtil, Self::PrefixOwned, Self::PrefixBorrowed];
    const LINES: [Self; 4] = [Self::LinesByHand, Self::LinesTokioUtil, Self::LinesOwned, Self::LinesBorrowed];

    fn series(self) -> Series {
        match self {
            Self::PrefixByHand | Self::LinesByHand => Series::new("by-hand", None),
            Self::PrefixByHandOwned => Series::new("by-hand, as Bytes", None),
            Self::PrefixTokioUtil => Series::new("tokio-util", None),
            Self::LinesTokioUtil => Series::new("tokio-util lines", None),
            Self::PrefixOwned | Self::LinesOwned => Series::new("duologue-owned", Some(3.0)),
            Self::PrefixBorrowed | Self::LinesBorrowed => Series::new("duologue-borrowed", Some(1.5)),
        }
    }

    fn wire(self, frames: usize) -> Wire {
        Wire { frame: if Self::PREFIX.contains(&self) { prefixed() } else { line() }, frames }
    }

    /// Decodes the whole wire and returns the sum over its frames.
    fn run(self, wire: &Wire) -> u64 {
        match self {
            Self::PrefixByHand => by_hand(wire, take_prefixed),
            Self::LinesByHand => by_hand(wire, take_line),
            Self::PrefixByHandOwned => by_hand_owned(wire),
            Self::PrefixTokioUtil => {
                tokio_util(wire, LengthDelimitedCodec::builder().max_frame_length(MAX).new_codec())
            }
            Self::LinesTokioUtil => tokio_util(wire, LinesCodec::new_with_max_length(MAX)),
            Self::PrefixOwned => owned(wire, LengthPrefixed::u32_be(MAX)),
            Self::LinesOwned => owned(wire, Delimited::crlf(MAX)),
            Self::PrefixBorrowed => borrowed(wire, LengthPrefixed::u32_be(MAX)),
            Self::LinesBorrowed => borrowed(wire, Delimited::crlf(MAX)),
        }
    }
}

/// The decoders of one kind of frames.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) title: &'static str,
    pub(crate) series: Vec<Series>,
}

pub(crate) fn compare(args: &Args) -> Vec<Comparison> {
    let prefix = "decode alone, 128-byte payloads behind a 32-bit length, 64 KiB chunks: time per frame";
    let lines = "decode alone, CR LF lines of 128 bytes, 64 KiB chunks: time per line";
    vec![rounds(args, prefix, Decoder::PREFIX), rounds(args, lines, Decoder::LINES)]
}

fn rounds<const N: usize>(args: &Args, title: &'static str, decoders: [Decoder; N]) -> Comparison {
    let slices = args.decoded_frames().div_ceil(SLICE);
    let mut series: Vec<_> = decoders.iter().map(|decoder| decoder.series()).collect();
    for round in 1..=args.rounds() {
        eprint!("decode, round {round} of {}:", args.rounds());
        for (decoder, series) in decoders.iter().zip(&mut series) {
            let wire = decoder.wire(SLICE);
            let spent = per_unit(slices, SLICE, || decoder.run(&wire));
            eprint!(" {} {spent:.1}", series.name);
            series.rounds.push(spent);
        }
        eprintln!(" ns");
    }
    Comparison { title, series }
}

/// One decoder alone, for counting instructions from outside.
pub(crate) fn only(decoder: Decoder, frames: usize) -> io::Result<()> {
    let sum = decoder.run(&decoder.wire(frames));
    writeln!(stdout(), "{frames} frames, sum {sum}")
}

/// A stream of equal frames. It is cut in chunks without regard to frames.
struct Wire {
    frame: Vec<u8>,
    frames: usize,
}

impl Wire {
    /// Calls `feed` with one chunk after the other. They come from one block of memory that stays in the cache, as
    /// what the kernel has just copied would.
    fn for_each_chunk(&self, mut feed: impl FnMut(&[u8])) {
        let block = self.frame.repeat(CHUNK / self.frame.len() + 2);
        let total = self.frame.len() * self.frames;
        let mut at = 0;
        while at < total {
            let phase = at % self.frame.len();
            let n = CHUNK.min(total - at);
            feed(black_box(&block[phase..phase + n]));
            at += n;
        }
    }
}

fn prefixed() -> Vec<u8> {
    [&(PAYLOAD as u32).to_be_bytes()[..], &text()].concat()
}

fn line() -> Vec<u8> {
    [&text()[..], b"\r\n"].concat()
}

fn text() -> [u8; PAYLOAD] {
    std::array::from_fn(|i| b'a' + (i % 26) as u8)
}

/// What is done with a frame: as little as shows that it was there.
#[inline]
fn note(sum: &mut u64, payload: &[u8]) {
    let last = payload.last().copied().unwrap_or_default();
    *sum += black_box(payload).len() as u64 + u64::from(last);
}

/// One fixed buffer; what is left over of a chunk moves to its front.
fn by_hand(wire: &Wire, mut take: impl FnMut(&[u8]) -> Option<(&[u8], usize)>) -> u64 {
    let mut buffer = vec![0; CHUNK + MAX];
    let (mut filled, mut sum) = (0, 0);
    wire.for_each_chunk(|chunk| {
        buffer[filled..filled + chunk.len()].copy_from_slice(chunk);
        filled += chunk.len();
        let mut at = 0;
        while let Some((payload, consumed)) = take(&buffer[at..filled]) {
            note(&mut sum, payload);
            at += consumed;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    });
    sum
}

fn take_prefixed(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (header, after) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*header) as usize;
    assert!(length <= MAX, "a frame of {length} bytes is too long");
    Some((after.get(..length)?, 4 + length))
}

fn take_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut from = 0;
    loop {
        let cr = from + memchr::memchr(b'\r', &bytes[from..])?;
        assert!(cr <= MAX, "a line of {cr} bytes is too long");
        match bytes.get(cr + 1)? {
            b'\n' => return Some((&bytes[..cr], cr + 2)),
            _ => from = cr + 1,
        }
    }
}

/// As `by_hand`, but each payload becomes `Bytes` that the application could keep.
fn by_hand_owned(wire: &Wire) -> u64 {
    let mut buffer = BytesMut::with_capacity(CHUNK + MAX);
    let mut sum = 0;
    wire.for_each_chunk(|chunk| {
        buffer.reserve(chunk.len());
        buffer.extend_from_slice(chunk);
        while let Some((payload, consumed)) = take_prefixed(&buffer) {
            let start = consumed - payload.len();
            let mut frame = buffer.split_to(consumed).freeze();
            frame.advance(start);
            note(&mut sum, &frame);
        }
    });
    assert!(!buffer.has_remaining(), "everything was decoded");
    sum
}

fn tokio_util<D>(wire: &Wire, mut decoder: D) -> u64
where
    D: codec::Decoder,
    D::Item: AsRef<[u8]>,
{
    let mut buffer = BytesMut::with_capacity(CHUNK + MAX);
    let mut sum = 0;
    wire.for_each_chunk(|chunk| {
        buffer.extend_from_slice(chunk);
        while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
            note(&mut sum, frame.as_ref());
        }
    });
    assert!(!buffer.has_remaining(), "everything was decoded");
    sum
}

fn session<F: Framing>(framing: F, delivery: Delivery) -> Session<Framed<F>> {
    match Session::new(Framed::new(framing), Config::new().delivery(delivery), 1, Instant::ORIGIN) {
        Ok(session) => session,
        Err(error) => unreachable!("the limits fit the framing: {error}"),
    }
}

/// One chunk into the session, as a driver would: into its buffer, and the fact that it came.
fn receive<F: Framing>(session: &mut Session<Framed<F>>, now: &mut u64, mut chunk: &[u8]) -> Instant {
    *now += 1000;
    let now = Instant::from_nanos(*now);
    while !chunk.is_empty() {
        let mut room = session.recv_buf();
        let n = room.remaining_mut().min(room.chunk_mut().len()).min(chunk.len());
        room.put_slice(&chunk[..n]);
        chunk.advance(n);
    }
    session.received(now);
    now
}

fn owned<F: Framing>(wire: &Wire, framing: F) -> u64 {
    let mut session = session(framing, Delivery::Owned);
    session.lend_recv(BytesMut::with_capacity(CHUNK + MAX));
    let (mut now, mut sum) = (0, 0);
    wire.for_each_chunk(|chunk| {
        let now = receive(&mut session, &mut now, chunk);
        while let Some(event) = session.poll_event(now) {
            if let Event::App(frame) = event {
                note(&mut sum, &frame);
            }
        }
    });
    sum
}

fn borrowed<F: Framing>(wire: &Wire, framing: F) -> u64 {
    let mut session = session(framing, Delivery::InPlace);
    session.lend_recv(BytesMut::with_capacity(CHUNK + MAX));
    let (mut now, mut sum) = (0, 0);
    wire.for_each_chunk(|chunk| {
        let now = receive(&mut session, &mut now, chunk);
        session.handle(now, 0, usize::MAX, |frame, _| note(&mut sum, frame));
    });
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decoder_sees_every_frame() {
        let frames = 3000;
        let expected = frames as u64 * (PAYLOAD as u64 + u64::from(text()[PAYLOAD - 1]));
        for decoder in Decoder::value_variants() {
            assert_eq!(decoder.run(&decoder.wire(frames)), expected, "{decoder:?}");
        }
    }
}
