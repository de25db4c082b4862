//! What all framings are tested with: a driver over plain bytes, and the laws that hold for every one of them.

mod session;

use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

use bytes::Bytes;
use proptest::collection::vec as list;
use proptest::prelude::*;

use super::*;
use crate::send_queue::SendQueue;

/// What came out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Frame(Vec<u8>),
    /// A frame that was thrown away.
    Skipped(FrameTooLong),
    /// A frame that ended it all.
    TooLong(FrameTooLong),
    Error(FrameError),
    Clean,
    Final(Vec<u8>),
    Truncated(Option<u64>),
}

pub(super) use Seen::{Clean, Error, Final, Frame, Truncated};

pub(super) fn frame(payload: impl AsRef<[u8]>) -> Seen {
    Frame(payload.as_ref().to_vec())
}

pub(super) fn too_long(limit: usize, buffered: u64) -> Seen {
    Seen::TooLong(FrameTooLong { limit, buffered })
}

pub(super) fn skipped(limit: usize, buffered: u64) -> Seen {
    Seen::Skipped(FrameTooLong { limit, buffered })
}

/// Decodes a stream that comes in `chunks` and then ends.
fn decode_chunks<'a, F>(framing: &F, chunks: impl IntoIterator<Item = &'a [u8]>, skip: bool) -> Vec<Seen>
where
    F: Framing<Error = FrameError> + Clone,
{
    let mut framing = framing.clone();
    let (mut buffer, mut seen, mut skipping) = (Vec::new(), Vec::new(), false);
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            if skipping {
                let Skipped { consumed, done } = framing.skip(&buffer).expect("can skip");
                buffer.drain(..consumed);
                skipping = !done;
                if consumed == 0 && !done {
                    break;
                }
                continue;
            }
            if buffer.is_empty() {
                break;
            }
            if let Some(short) = framing.find_short(&buffer) {
                assert_eq!(framing.clone().find(&mut buffer.clone()), Ok(Found::Frame(short)), "both ways are one");
            }
            match framing.find(&mut buffer) {
                Ok(Found::NeedMore { hint }) => {
                    assert!(buffer.len() < framing.max_unit(), "a full receive buffer would never get further");
                    assert!(buffer.len() + hint <= framing.max_unit());
                    break;
                }
                Ok(Found::Frame(span)) => {
                    seen.push(frame(&buffer[span.start..span.end]));
                    assert!(span.consumed >= span.end && span.consumed > 0);
                    buffer.drain(..span.consumed);
                }
                Ok(Found::Fill { consumed }) => {
                    assert!(consumed > 0);
                    buffer.drain(..consumed);
                }
                Ok(Found::TooLong(why)) if skip && framing.skip(&[]).is_some() => {
                    seen.push(Seen::Skipped(why));
                    skipping = true;
                }
                Ok(Found::TooLong(why)) => {
                    seen.push(Seen::TooLong(why));
                    return seen;
                }
                Err(error) => {
                    seen.push(Error(error));
                    return seen;
                }
            }
        }
    }
    seen.push(match framing.eof(&mut buffer) {
        _ if skipping => {
            if framing.skip_eof(&buffer) {
                Clean
            } else {
                Truncated(None)
            }
        }
        Ok(Rest::Clean) => Clean,
        Ok(Rest::Final(span)) => Final(buffer[span.start..span.end].to_vec()),
        Ok(Rest::TooLong(why)) if skip => Seen::Skipped(why),
        Ok(Rest::TooLong(why)) => Seen::TooLong(why),
        Ok(Rest::Truncated { missing }) => Truncated(missing),
        Err(error) => Error(error),
    });
    seen
}

/// Decodes `bytes` whole, and checks that byte by byte, and in twos and threes, the same comes out.
fn decode_any<F: Framing<Error = FrameError> + Clone>(framing: &F, bytes: &[u8], skip: bool) -> Vec<Seen> {
    let whole = decode_chunks(framing, [bytes], skip);
    for size in 1..=3 {
        assert_eq!(decode_chunks(framing, bytes.chunks(size), skip), whole, "in chunks of {size}");
    }
    whole
}

pub(super) fn decode<F: Framing<Error = FrameError> + Clone>(framing: &F, bytes: impl AsRef<[u8]>) -> Vec<Seen> {
    decode_any(framing, bytes.as_ref(), false)
}

pub(super) fn decode_skipping<F>(framing: &F, bytes: impl AsRef<[u8]>) -> Vec<Seen>
where
    F: Framing<Error = FrameError> + Clone,
{
    decode_any(framing, bytes.as_ref(), true)
}

/// Encodes `payload`, borrowed and owned, copied and shared, and checks the announced length.
pub(super) fn encode<F: Framing + Clone>(framing: &F, payload: impl AsRef<[u8]>) -> Result<Vec<u8>, &'static str> {
    let payload = payload.as_ref();
    let len = framing.encoded_len(payload)?;
    let mut all = Vec::new();
    for threshold in [1, usize::MAX] {
        for owned in [false, true] {
            let payload =
                if owned { Payload::Owned(Bytes::copy_from_slice(payload)) } else { Payload::Borrowed(payload) };
            let mut queue = SendQueue::new(1 << 20, 0, threshold);
            framing.clone().encode(payload, &mut queue.control(len));
            assert_eq!(queue.len(), len, "as announced");
            let mut slices = [&[][..]; 8];
            let filled = queue.peek(&mut slices);
            all.push(slices[..filled].concat());
        }
    }
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    Ok(all.remove(0))
}

/// Cuts `bytes` into chunks whose sizes come from `cuts`, over and over.
fn cut<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
    core::iter::from_fn(move || {
        let size = (*cuts.next()?).min(rest.len());
        let (chunk, tail) = rest.split_at(size);
        rest = tail;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Calls a generic function with every kind of framing.
macro_rules! with_each_framing {
    ($call:expr) => {{
        let call = $call;
        call.on(&Delimited::lines(5))?;
        call.on(&Delimited::lines(5).last_frame_needs_delimiter(false))?;
        call.on(&Delimited::crlf(5).keep_delimiter())?;
        call.on(&Delimited::new("a", 3).unwrap())?;
        call.on(&Delimited::new("aab", 4).unwrap())?;
        call.on(&Delimited::new("aaaab", 2).unwrap().last_frame_needs_delimiter(false))?;
        call.on(&Delimited::any(["\r", "\r\n"], 4).unwrap())?;
        call.on(&Delimited::any(["aab", "ab\n", "\n"], 4).unwrap().keep_delimiter())?;
        call.on(&Delimited::any(["a", "\n", "\r", "\x02", "\x03"], 2).unwrap())?;
        call.on(&LengthPrefixed::new(1, Endian::Big, 5))?;
        call.on(&LengthPrefixed::new(4, Endian::Big, 5))?;
        call.on(&LengthPrefixed::new(2, Endian::Little, 0x0201).offset(1))?;
        call.on_filled(&LengthPrefixed::new(1, Endian::Big, 6).adjustment(-2).keep_header())?;
        call.on(&LengthPrefixed::new(1, Endian::Big, 6).adjustment(3))?;
        call.on(&VarintPrefixed::new(5))?;
        call.on(&VarintPrefixed::new(200))?;
        call.on(&HeaderFramed::with(
            |first| if first == b'a' { None } else { Some(usize::from(first & 3)) },
            |header| if header.len() == 3 { Err("three") } else { Ok(header.last().map_or(0, |b| u64::from(b & 7))) },
            6,
        ))?;
        call.on(&FixedSize::new(3))?;
        call.on(&Marked::slip(5))?;
        call.on(&Marked::slip(5).leading_end())?;
        call.on(&Marked::hdlc(5))?;
        call.on(&Marked::xor(Some(2), 3, 0x7D, 0x20, 4).unwrap())?;
        call.on(&Marked::table(Some(2), 3, 1, &[(2, 0), (3, 3 ^ 0xFF), (1, 1), (b'a', b'b')], 4).unwrap())?;
    }};
}

type Tested = Result<(), TestCaseError>;

struct Law<'a> {
    bytes: &'a [u8],
    payloads: &'a [Vec<u8>],
    cuts: &'a [usize],
    /// Payloads that some framing accepted.
    accepted: Cell<usize>,
}

impl Law<'_> {
    fn on<F: Framing<Error = FrameError> + Clone + core::fmt::Debug>(&self, framing: &F) -> Tested {
        self.check(framing, |payload, _| frame(payload))
    }

    /// For a framing that fills in parts of the payload: what arrives is what was on the wire.
    fn on_filled<F: Framing<Error = FrameError> + Clone + core::fmt::Debug>(&self, framing: &F) -> Tested {
        self.check(framing, |_, wire| frame(wire))
    }

    fn check<F>(&self, framing: &F, arrives: impl Fn(&[u8], &[u8]) -> Seen) -> Tested
    where
        F: Framing<Error = FrameError> + Clone + core::fmt::Debug,
    {
        for skip in [false, true] {
            let whole = decode_chunks(framing, [self.bytes], skip);
            prop_assert_eq!(&decode_chunks(framing, self.bytes.chunks(1), skip), &whole, "{:?}", framing);
            prop_assert_eq!(&decode_chunks(framing, cut(self.bytes, self.cuts), skip), &whole, "{:?}", framing);
        }
        let (mut wire, mut expected) = (Vec::new(), Vec::new());
        for payload in self.payloads {
            if let Ok(encoded) = encode(framing, payload) {
                expected.push(arrives(payload, &encoded));
                wire.extend(encoded);
            }
        }
        self.accepted.set(self.accepted.get() + expected.len());
        expected.push(Clean);
        prop_assert_eq!(decode_chunks(framing, cut(&wire, self.cuts), false), expected, "{:?}", framing);
        Ok(())
    }
}

/// Bytes that mean something to one framing or another, more often than not.
pub(super) fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        6 => prop::sample::select(&[0, 1, 2, 3, 4, b'a', b'b', b'\r', b'\n', 0x7E, 0x7D, 0x5E, 0x80, 0xC0, 0xDB, 0xDC, 0xDD][..]),
        1 => any::<u8>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// L10: what is found does not depend on the cuts, and what is accepted for sending arrives as it was.
    #[test]
    fn cuts_do_not_matter_and_payloads_survive(
        bytes in list(telling_byte(), 0..60),
        payloads in list(list(telling_byte(), 0..7), 0..6),
        cuts in list(1_usize..9, 1..8),
    ) {
        with_each_framing!(Law { bytes: &bytes, payloads: &payloads, cuts: &cuts, accepted: Cell::new(0) });
    }

    /// A frame announced longer than any limit, or than any memory, is refused and never waited for.
    #[test]
    fn lengths_near_the_end_of_64_bits_are_harmless(length in any::<u64>(), adjustment in any::<i64>(), max in any::<usize>()) {
        let framing = LengthPrefixed::new(8, Endian::Big, max).adjustment(adjustment);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend([0; 3]);
        let _ = decode_any(&framing, &bytes, true);
        let _ = framing.encoded_len(&bytes);
        let _ = decode_any(&LengthPrefixed::new(4, Endian::Big, max), &bytes, true);
        let _ = decode_any(&VarintPrefixed::new(max), &[0xFF; 9], true);
    }
}

#[test]
fn the_law_is_not_vacuous() -> Tested {
    let payloads = vec![b"ab".to_vec(), b"xyz".to_vec(), vec![3, 0, 0], vec![1, 0]];
    let law = Law { bytes: b"", payloads: &payloads, cuts: &[2], accepted: Cell::new(0) };
    with_each_framing!(&law);
    assert!(law.accepted.get() > 40, "{}", law.accepted.get());
    Ok(())
}

#[test]
fn a_frame_that_came_whole_is_too_long_all_the_same() {
    let four = LengthPrefixed::new(4, Endian::Big, 2);
    assert_eq!(decode(&four, b"\0\0\0\x02ab\0\0\0\x03abc"), [frame("ab"), too_long(2, 3)]);
    assert_eq!(decode(&VarintPrefixed::new(2), b"\x02ab\x03abc"), [frame("ab"), too_long(2, 3)]);
}

#[test]
fn raw_delivers_every_byte_whatever_the_cuts() {
    let raw = Raw::new(3);
    for size in 1..9 {
        let seen = decode_chunks(&raw, b"abcdefgh".chunks(size), false);
        let frames = seen.iter().filter_map(|s| if let Frame(f) = s { Some(&f[..]) } else { None });
        let frames: Vec<_> = frames.collect();
        assert!(frames.iter().all(|f| f.len() <= 3));
        assert_eq!(frames.concat(), b"abcdefgh");
        assert_eq!(seen.last(), Some(&Clean));
    }
    assert_eq!(encode(&raw, "anything").as_deref(), Ok(&b"anything"[..]));
    assert_eq!(encode(&raw, "").as_deref(), Ok(&b""[..]));
    assert_eq!(decode_chunks(&Raw::new(0), [&b"ab"[..]], false), [frame("a"), frame("b"), Clean]);
}
