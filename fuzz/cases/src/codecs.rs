//! Differential against the codecs of tokio-util, which are other people's code and widely used.
//!
//! Where the two agree by design the frames, the number of frames that are too long, and the end must be the same, and
//! each must read what the other writes. Where they do not, inputs are kept away from the difference:
//!
//! | codec | what it does | what we do |
//! |---|---|---|
//! | `LinesCodec` | text only | any bytes: the input is made ASCII |
//! | `LinesCodec` | counts a CR before LF towards the limit | counts payload: no CR where the limit can matter |
//! | `LinesCodec` | strips a CR at the end of a last line without LF, drops a last line that is CR | CR without LF is payload: no CR at the end of the stream |
//! | `LengthDelimitedCodec` | limits the field before the adjustment | limits the bytes after the field: only within both limits |
//! | `LengthDelimitedCodec` | lowers its limit to the largest field plus the adjustment | keeps it: only within both |
//! | `LengthDelimitedCodec` | ends at a frame that is too long | can skip it: ends, here |
//! | `LengthDelimitedCodec` | a stream that ends right after a header ends cleanly, other truncations are errors | `Truncated` with the number that is missing: where we end cleanly they must |
//! | `LengthDelimitedCodec` | with a kept header and a negative adjustment a frame may end before its header does, and one of no bytes comes for ever | impossible: no negative adjustment with a kept header |
//! | both | a last frame without delimiter is delivered | on request: requested, here |

use arbitrary::Arbitrary;
use bytes::{BufMut, BytesMut};
use duologue_core::framed::{Delimited, Endian, FrameError, Framed, Framing, LengthPrefixed, OnTooLong};
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, Decoder, Encoder};
use tokio_util::codec::{LengthDelimitedCodec, LinesCodec, LinesCodecError};

use crate::feed::{End, Feed, decode, encode};

/// A codec, a stream and how to cut it, and payloads to send.
#[derive(Arbitrary, Debug)]
pub struct Input {
    codec: Codec,
    narrow: bool,
    cuts: Vec<u8>,
    payloads: Vec<Vec<u8>>,
    stream: Vec<u8>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Codec {
    Lines { max: Option<u8> },
    Any { delimiters: [u8; 4], used: u8, max: u8 },
    Length { width: u8, little: bool, offset: u8, adjustment: i8, keep: bool, max: u8 },
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    match &input.codec {
        Codec::Lines { max } => lines(&input, max.map(usize::from)),
        Codec::Any { delimiters, used, max } => {
            any_delimiter(&input, &delimiters[..1 + usize::from(used % 4)], usize::from(*max));
        }
        &Codec::Length { width, little, offset, adjustment, keep, max } => {
            let (width, offset) = (1 + usize::from(width % 8), usize::from(offset % 4));
            let adjustment = if keep { adjustment.max(0) } else { adjustment };
            length(&input, width, little, offset, adjustment, keep, usize::from(max));
        }
    }
}

/// What a stream came to, as both sides can tell it.
#[derive(Debug, PartialEq)]
struct Seen {
    frames: Vec<Vec<u8>>,
    too_long: u64,
    clean: bool,
}

/// Feeds a codec as `tokio_util::codec::Framed` does. `too_long` tells whether an error is that, and may be gone on from.
fn theirs<D, T>(mut codec: D, input: &Input, stream: &[u8], too_long: impl Fn(&D::Error) -> bool) -> Seen
where
    D: Decoder<Item = T>,
    T: AsRef<[u8]>,
{
    let mut seen = Seen { frames: Vec::new(), too_long: 0, clean: true };
    let (mut buffer, mut rest, mut cuts) = (BytesMut::new(), stream, input.cuts.iter().cycle());
    loop {
        let most = cuts.next().map_or(usize::MAX, |cut| usize::from(*cut) + 1);
        let ended = rest.is_empty();
        let (now, later) = rest.split_at(most.min(rest.len()));
        buffer.put_slice(now);
        rest = later;
        loop {
            let result = if ended { codec.decode_eof(&mut buffer) } else { codec.decode(&mut buffer) };
            match result {
                Ok(Some(frame)) => seen.frames.push(frame.as_ref().to_vec()),
                Ok(None) => break,
                Err(error) if too_long(&error) => seen.too_long += 1,
                Err(_) => {
                    seen.clean = false;
                    return seen;
                }
            }
        }
        if ended {
            return seen;
        }
    }
}

fn ours<F: Framing<Error = FrameError>>(framed: Framed<F>, input: &Input, stream: &[u8]) -> Seen {
    let outcome = decode(framed, stream, Feed { cuts: &input.cuts, in_place: false, tight: true }).0;
    Seen { frames: outcome.frames, too_long: outcome.skipped, clean: outcome.end == End::Clean }
}

/// Bytes from the few that mean something, if the input wants that.
fn narrowed(input: &Input, bytes: &[u8], palette: &[u8]) -> Vec<u8> {
    let pick = |byte: &u8| if input.narrow { palette[usize::from(*byte) % palette.len()] } else { *byte };
    bytes.iter().map(pick).collect()
}

fn lines(input: &Input, max: Option<usize>) {
    let ascii = |bytes: &[u8]| -> Vec<u8> {
        let narrow = narrowed(input, bytes, b"\r\nab");
        narrow.iter().map(|byte| byte & 0x7F).filter(|byte| max.is_none() || *byte != b'\r').collect()
    };
    let mut stream = ascii(&input.stream);
    while stream.last() == Some(&b'\r') {
        stream.pop();
    }
    let codec = || max.map_or_else(LinesCodec::new, LinesCodec::new_with_max_length);
    let limit = max.unwrap_or(4096);
    let framing = || Delimited::lines(limit).last_frame_needs_delimiter(false);
    let too_long = |error: &LinesCodecError| matches!(error, LinesCodecError::MaxLineLengthExceeded);
    let framed = || Framed::new(framing()).on_too_long(OnTooLong::Skip);
    assert_eq!(ours(framed(), input, &stream), theirs(codec(), input, &stream, too_long), "{stream:?}");

    let payloads: Vec<Vec<u8>> = input.payloads.iter().take(8).map(|payload| ascii(payload)).collect();
    let (sent, wire) = encode(framed(), &payloads);
    assert_eq!(theirs(codec(), input, &wire, too_long), Seen { frames: sent.clone(), too_long: 0, clean: true });
    let mut written = BytesMut::new();
    for payload in &sent {
        let text = core::str::from_utf8(payload).unwrap_or_default();
        assert!(codec().encode(text, &mut written).is_ok());
    }
    assert_eq!(written, wire, "the same lines are written differently");
}

fn any_delimiter(input: &Input, delimiters: &[u8], max: usize) {
    let palette: Vec<u8> = delimiters.iter().copied().chain(*b"xyz").collect();
    let stream = narrowed(input, &input.stream, &palette);
    let codec = || AnyDelimiterCodec::new_with_max_length(delimiters.to_vec(), delimiters[..1].to_vec(), max);
    let Ok(framing) = Delimited::any(delimiters.iter().map(core::slice::from_ref), max) else {
        panic!("delimiters of one byte are refused: {delimiters:?}");
    };
    let framed = || Framed::new(framing.clone().last_frame_needs_delimiter(false)).on_too_long(OnTooLong::Skip);
    let too_long = |error: &AnyDelimiterCodecError| matches!(error, AnyDelimiterCodecError::MaxChunkLengthExceeded);
    assert_eq!(ours(framed(), input, &stream), theirs(codec(), input, &stream, too_long), "{stream:?}");

    let payloads: Vec<Vec<u8>> = input.payloads.iter().take(8).cloned().collect();
    let (sent, wire) = encode(framed(), &payloads);
    assert_eq!(theirs(codec(), input, &wire, too_long), Seen { frames: sent, too_long: 0, clean: true });
}

fn length(input: &Input, width: usize, little: bool, offset: usize, adjustment: i8, keep: bool, max: usize) {
    let palette = [0, 1, 2, 3, 4, 0x80, 0xFF];
    let stream = narrowed(input, &input.stream, &palette);
    // One of the two limits would be stricter than the other; both are far from what the other one stops at.
    let slack = usize::from(adjustment.unsigned_abs());
    let their_adjustment = isize::from(adjustment) + if keep { (offset + width) as isize } else { 0 };
    // What their codec makes of its limit, so that every length within it can be written.
    let largest = if width < 8 { (1_u64 << (8 * width)) - 1 } else { u64::MAX };
    let their_limit = ((max + slack) as u64).min(largest.saturating_add_signed(their_adjustment as i64)) as usize;
    let codec = || {
        let mut builder = LengthDelimitedCodec::builder();
        builder.length_field_length(width).length_field_offset(offset).max_frame_length(max + slack);
        builder.length_adjustment(their_adjustment);
        if keep {
            builder.num_skip(0);
        }
        if little {
            builder.little_endian();
        }
        builder.new_codec()
    };
    let endian = if little { Endian::Little } else { Endian::Big };
    let framing = LengthPrefixed::new(width, endian, max + 2 * slack).offset(offset).adjustment(adjustment.into());
    let framed = || Framed::new(if keep { framing.clone().keep_header() } else { framing.clone() });
    let field_fits = |frame: &[u8]| {
        let body = frame.len() - if keep { offset + width } else { 0 };
        body as i64 - i64::from(adjustment) <= their_limit as i64
    };
    let theirs_seen = theirs(codec(), input, &stream, |_| false);
    let mut ours_seen = ours(framed(), input, &stream);
    // A field within our limit and beyond theirs ends their stream and not ours.
    if let Some(at) = ours_seen.frames.iter().position(|frame| !field_fits(frame)) {
        ours_seen.frames.truncate(at);
        ours_seen.clean = false;
    }
    assert_eq!(ours_seen.frames, theirs_seen.frames, "{stream:?}");
    assert!(theirs_seen.clean || !ours_seen.clean, "they see no clean end of {stream:?}");

    if offset == 0 && !keep {
        let payloads: Vec<Vec<u8>> = input.payloads.iter().take(8).cloned().collect();
        let (sent, wire) = encode(framed(), &payloads);
        let all_fit = sent.iter().all(|payload| field_fits(payload));
        if all_fit {
            let read = theirs(codec(), input, &wire, |_| false);
            assert_eq!(read, Seen { frames: sent.clone(), too_long: 0, clean: true });
        }
        let mut written = BytesMut::new();
        for payload in &sent {
            if payload.len() <= their_limit {
                let encoded = codec().encode(&payload[..], &mut written);
                assert!(encoded.is_ok(), "they cannot write {payload:?}");
            }
        }
        if sent.iter().all(|payload| payload.len() <= their_limit) {
            assert_eq!(written, wire, "the same frames are written differently");
        }
    }
}
