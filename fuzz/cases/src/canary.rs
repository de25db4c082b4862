//! A bug that was planted, to see that the fuzzing finds bugs.
//!
//! The decoding of the framing target runs over a framing that is right but for one thing: of a frame whose payload
//! begins with a certain byte and that did not come in one piece, the last byte is lost. It takes a cut stream with a
//! fitting length in it to get there. `.ci/fuzz.sh` fails if it is not found within its budget.

use arbitrary::Arbitrary;
use duologue_core::framed::{Found, FrameError, Framed, Framing, LengthPrefixed, Rest, Skipped, Span};
use duologue_core::{Payload, Writer};

use crate::feed::{Feed, decode};

/// A stream and how to cut it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    cuts: Vec<u8>,
    stream: Vec<u8>,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    let protocol = || Framed::new(Faulty { inner: LengthPrefixed::new(1, Default::default(), 64), waited: false });
    let whole = decode(protocol(), &input.stream, Feed::WHOLE);
    let feed = Feed { cuts: &input.cuts, in_place: false, tight: false };
    assert_eq!(decode(protocol(), &input.stream, feed), whole, "L10: cut {feed:?} it decodes differently");
}

struct Faulty {
    inner: LengthPrefixed,
    /// It asked for more bytes of the frame at the front.
    waited: bool,
}

impl Framing for Faulty {
    type Error = FrameError;

    fn find(&mut self, bytes: &mut [u8]) -> Result<Found, FrameError> {
        let found = self.inner.find(bytes)?;
        let waited = core::mem::replace(&mut self.waited, matches!(found, Found::NeedMore { .. }));
        match found {
            // The planted bug.
            Found::Frame(span) if waited && bytes[span.start..span.end].first() == Some(&b'D') => {
                Ok(Found::Frame(Span { end: span.end - 1, ..span }))
            }
            found => Ok(found),
        }
    }

    fn eof(&mut self, rest: &mut [u8]) -> Result<Rest, FrameError> {
        self.inner.eof(rest)
    }

    fn skip(&mut self, bytes: &[u8]) -> Option<Skipped> {
        self.inner.skip(bytes)
    }

    fn encoded_len(&self, payload: &[u8]) -> Result<usize, &'static str> {
        self.inner.encoded_len(payload)
    }

    fn encode(&mut self, payload: Payload<'_>, out: &mut Writer<'_>) {
        self.inner.encode(payload, out);
    }

    fn max_unit(&self) -> usize {
        self.inner.max_unit()
    }
}
