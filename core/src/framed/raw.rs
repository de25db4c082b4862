//! No frames at all.

use super::{Found, FrameError, Framing, Rest, Span};
use crate::protocol::Payload;
use crate::send_queue::Writer;

/// Whatever arrives, as it arrives, at most so many bytes an event; payloads to send are written as they are.
///
/// This is the one framing whose events depend on how the stream was cut: only their concatenation means
/// anything. A heartbeat over it makes little sense, for the peer may get it glued to other bytes.
///
/// ```
/// use duologue_core::framed::{Found, Framing, Raw, Span};
///
/// let mut raw = Raw::new(4);
/// assert_eq!(raw.find(&mut [1, 2, 3, 4, 5]), Ok(Found::Frame(Span { start: 0, end: 4, consumed: 4 })));
/// ```
#[derive(Clone, Debug, Hash)]
pub struct Raw {
    max_chunk: usize,
}

impl Raw {
    /// Events of at most `max_chunk` bytes; 0 is taken for 1.
    #[must_use]
    pub const fn new(max_chunk: usize) -> Self {
        Self { max_chunk: if max_chunk == 0 { 1 } else { max_chunk } }
    }
}

impl Framing for Raw {
    type Error = FrameError;

    #[inline]
    fn find(&mut self, bytes: &mut [u8]) -> Result<Found, FrameError> {
        let end = bytes.len().min(self.max_chunk);
        if end == 0 {
            return Ok(Found::NeedMore { hint: 0 });
        }
        Ok(Found::Frame(Span { start: 0, end, consumed: end }))
    }

    fn eof(&mut self, rest: &mut [u8]) -> Result<Rest, FrameError> {
        let end = rest.len();
        Ok(if end == 0 { Rest::Clean } else { Rest::Final(Span { start: 0, end, consumed: end }) })
    }

    #[inline]
    fn encoded_len(&self, payload: &[u8]) -> Result<usize, &'static str> {
        Ok(payload.len())
    }

    #[inline]
    fn encode(&mut self, payload: Payload<'_>, out: &mut Writer<'_>) {
        payload.put(out);
    }

    fn max_unit(&self) -> usize {
        1
    }
}
