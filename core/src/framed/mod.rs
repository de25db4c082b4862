//! Frames and nothing more: a [`Framing`] and an optional heartbeat become a full [`Protocol`].
//!
//! | framing | what it is |
//! |---|---|
//! | [`Delimited`] | ends at one of several delimiters (lines, NUL, ...) |
//! | [`LengthPrefixed`] | a length of 1 to 8 bytes somewhere in a header |
//! | [`VarintPrefixed`] | a base-128 length in front, as protobuf streams have it |
//! | [`HeaderFramed`] | fixed headers, several sizes chosen by the first byte, and a function for the body length |
//! | [`FixedSize`] | frames of one size |
//! | [`Marked`] | a begin and an end mark, with escapes in between |
//! | [`Raw`] | whatever arrives |

mod delimited;
mod error;
mod fixed_size;
mod header;
mod heartbeat;
mod length_prefixed;
mod marked;
mod raw;
#[cfg(test)]
mod tests;
mod varint;

use bytes::Bytes;

use crate::protocol::{Cx, EofAction, Fault, InPlace, Payload, Protocol, Refusal, Refused, Step};
use crate::recv_buf::RecvBuf;
use crate::send_queue::Writer;

pub use delimited::{Delimited, DelimiterError};
pub use error::{FrameError, FrameTooLong};
pub use fixed_size::FixedSize;
pub use header::{HeaderFramed, HeaderLength};
pub use heartbeat::{Heartbeat, HeartbeatTimer};
pub use length_prefixed::{Endian, LengthPrefixed};
pub use marked::{Marked, MarksError};
pub use raw::Raw;
pub use varint::VarintPrefixed;

/// How a byte stream is cut into frames.
///
/// A framing sees the unread bytes from the start of a frame on, as often as bytes arrive. It may keep where it
/// stopped looking, so that a frame that comes byte by byte costs no more than one that comes whole. What it finds
/// must not depend on how the stream was cut.
pub trait Framing {
    /// How the peer can break the framing.
    type Error: core::error::Error + Clone + From<FrameTooLong> + 'static;

    /// Looks for the frame at the start of `bytes`. It may change bytes of the frame in place (unescaping), but
    /// only when it returns it.
    ///
    /// # Errors
    /// The bytes can never become a frame.
    fn find(&mut self, bytes: &mut [u8]) -> Result<Found, Self::Error>;

    /// The short way, asked before [`find`](Self::find): the frame at the start of `bytes`, if it lies there whole and
    /// is found without changing anything. `None`, the default: `find` says what there is. Where both find a frame it is
    /// the same one.
    #[inline(always)]
    fn find_short(&self, bytes: &[u8]) -> Option<Span> {
        let _ = bytes;
        None
    }

    /// The stream ended after `rest`, of which [`find`](Self::find) made no frame.
    ///
    /// # Errors
    /// The rest can not end here, other than by being cut off.
    fn eof(&mut self, rest: &mut [u8]) -> Result<Rest, Self::Error> {
        Ok(if rest.is_empty() { Rest::Clean } else { Rest::Truncated { missing: None } })
    }

    /// After [`Found::TooLong`], if that frame is to be skipped: how many of `bytes` belong to it. Called again with
    /// further bytes until [`Skipped::done`]. `None`, the default: where the frame ends cannot be known; with no
    /// bytes it is only asked which of the two it is.
    fn skip(&mut self, bytes: &[u8]) -> Option<Skipped> {
        let _ = bytes;
        None
    }

    /// The stream ended while a frame was being skipped, after `rest`, which [`skip`](Self::skip) left: whether that was
    /// the frame's end as well, and nothing is missing.
    fn skip_eof(&mut self, rest: &[u8]) -> bool {
        let _ = rest;
        false
    }

    /// Bytes on the wire for `payload`.
    ///
    /// # Errors
    /// What is wrong with a payload that cannot be framed.
    fn encoded_len(&self, payload: &[u8]) -> Result<usize, &'static str>;

    /// Writes the frame of `payload`, exactly [`encoded_len`](Self::encoded_len) bytes.
    fn encode(&mut self, payload: Payload<'_>, out: &mut Writer<'_>);

    /// The most bytes that [`find`](Self::find) may need to see at once.
    fn max_unit(&self) -> usize;
}

/// What [`Framing::find`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No frame yet; `hint` further bytes would complete it, or 0 if that is unknown.
    NeedMore {
        /// Bytes to make room for.
        hint: usize,
    },
    /// A frame.
    Frame(Span),
    /// The frame is longer than allowed. It is still at the start of the bytes.
    TooLong(FrameTooLong),
    /// Bytes that are no frame and end before the next one: idle fill between marks, an aborted frame. They are
    /// taken off at once, so that a peer may send them for as long as it likes.
    Fill {
        /// Bytes to throw away, at least one.
        consumed: usize,
    },
}

/// Where a frame's payload lies, and what to take off with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte of the payload.
    pub start: usize,
    /// First byte after the payload.
    pub end: usize,
    /// Bytes of the whole frame, marks included.
    pub consumed: usize,
}

impl Span {
    /// The payload; nothing if a framing points outside the bytes.
    #[inline]
    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }
}

impl Found {
    /// What there is of a frame with `header` bytes in front of `body` bytes, whose payload begins at `start`. One that is
    /// longer than `max_frame` is left to be skipped: `to_skip` is all of it.
    fn announced(bytes: &[u8], start: usize, header: usize, body: u64, max_frame: usize, to_skip: &mut u64) -> Self {
        if body > max_frame as u64 {
            *to_skip = body.saturating_add(header as u64);
            return Self::TooLong(FrameTooLong { limit: max_frame, buffered: body });
        }
        // The limit is a usize, so the body is one as well.
        let end = header.saturating_add(body as usize);
        if bytes.len() < end {
            return Self::NeedMore { hint: end - bytes.len() };
        }
        Self::Frame(Span { start, end, consumed: end })
    }
}

/// What the bytes before the peer's FIN were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Clean,
    /// The last frame, which needs no end mark.
    Final(Span),
    /// The last frame is longer than allowed; only the end of the stream made it certain.
    TooLong(FrameTooLong),
    /// A part of a frame.
    Truncated {
        /// Bytes that were still due, where that is known.
        missing: Option<u64>,
    },
}

/// How much of a frame that is being skipped has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Bytes to throw away now.
    pub consumed: usize,
    /// They were the last of that frame.
    pub done: bool,
}

impl Skipped {
    /// Of a frame whose length is known: `to_skip` is what was left of it, and is counted down.
    #[must_use]
    pub fn of(to_skip: &mut u64, bytes: &[u8]) -> Self {
        let consumed = (*to_skip).min(bytes.len() as u64);
        *to_skip -= consumed;
        Self { consumed: consumed as usize, done: *to_skip == 0 }
    }
}

/// What a frame longer than the limit leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnTooLong {
    /// The session ends with the violation.
    #[default]
    Close,
    /// The frame is thrown away as it comes, without being buffered; the session goes on after it.
    Skip,
    /// As `Skip`, and this payload is sent as an answer, framed.
    Answer(Bytes),
}

/// A framing, and optionally a heartbeat, as a protocol: frames in, frames out.
///
/// Events and commands are payloads ([`Bytes`]); handled in place they are slices.
#[derive(Clone, Debug, Hash)]
pub struct Framed<F> {
    framing: F,
    heartbeat: Option<Heartbeat>,
    on_too_long: OnTooLong,
    skipping: bool,
    skipped: u64,
}

impl<F: Framing> Framed<F> {
    /// Frames of `framing`; a frame that is too long closes, and there is no heartbeat.
    #[must_use]
    pub const fn new(framing: F) -> Self {
        Self { framing, heartbeat: None, on_too_long: OnTooLong::Close, skipping: false, skipped: 0 }
    }

    /// Sends and expects heartbeats.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Chooses what a frame longer than the limit leads to.
    #[must_use]
    pub fn on_too_long(mut self, on_too_long: OnTooLong) -> Self {
        self.on_too_long = on_too_long;
        self
    }

    /// How many frames were skipped for being too long.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The framing.
    #[must_use]
    pub const fn framing(&self) -> &F {
        &self.framing
    }

    /// The frame at the start of `bytes`, if it is the application's and nothing else needs to be looked at.
    #[inline(always)]
    fn short_way(&self, bytes: &[u8]) -> Option<Span> {
        if self.skipping {
            return None;
        }
        let span = self.framing.find_short(bytes)?;
        if self.heartbeat.is_some() && self.is_heartbeat(span.of(bytes)) { None } else { Some(span) }
    }

    /// One step over `rx`: a frame's span, still unread, or what else happened.
    fn step(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Span>, F::Error> {
        if self.skipping {
            return Ok(self.skip(rx));
        }
        if rx.is_empty() {
            return Ok(Step::NeedMore { hint: 0 });
        }
        match self.framing.find(rx.as_mut_slice())? {
            Found::NeedMore { hint } => Ok(Step::NeedMore { hint }),
            Found::Frame(span) if self.heartbeat.is_some() && self.is_heartbeat(span.of(rx)) => {
                rx.advance(span.consumed);
                Ok(Step::Progress)
            }
            Found::Frame(span) => Ok(Step::Event(span)),
            Found::TooLong(too_long) => self.too_long(cx, rx, too_long),
            Found::Fill { consumed } => {
                rx.advance(consumed);
                Ok(Step::Progress)
            }
        }
    }

    #[inline]
    fn is_heartbeat(&self, payload: &[u8]) -> bool {
        self.heartbeat.as_ref().is_some_and(|h| h.swallows(payload))
    }

    #[cold]
    fn too_long(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
        too_long: FrameTooLong,
    ) -> Result<Step<Span>, F::Error> {
        if self.framing.skip(&[]).is_none() {
            return Err(too_long.into());
        }
        self.forgive(cx, too_long)?;
        Ok(self.skip(rx))
    }

    /// Counts a frame to skip and answers it, if it is not to end the session.
    fn forgive(&mut self, cx: &mut Cx<'_, Self>, too_long: FrameTooLong) -> Result<(), F::Error> {
        match &self.on_too_long {
            OnTooLong::Close => return Err(too_long.into()),
            OnTooLong::Skip => {}
            OnTooLong::Answer(payload) => {
                let payload = payload.clone();
                self.write_control(cx, payload);
            }
        }
        self.skipped += 1;
        Ok(())
    }

    #[cold]
    fn skip(&mut self, rx: &mut RecvBuf) -> Step<Span> {
        match self.framing.skip(rx) {
            Some(Skipped { consumed, done }) => {
                rx.advance(consumed);
                self.skipping = !done;
                if done || consumed > 0 { Step::Progress } else { Step::NeedMore { hint: 0 } }
            }
            None => {
                self.skipping = false;
                Step::Progress
            }
        }
    }

    /// Writes a frame of our own accord. One that cannot be framed is left out: the owner chose it.
    fn write_control(&mut self, cx: &mut Cx<'_, Self>, payload: Bytes) {
        if let Ok(len) = self.framing.encoded_len(&payload) {
            self.framing.encode(Payload::Owned(payload), &mut cx.tx.control(len));
        }
    }

    #[inline(always)]
    fn write(&mut self, cx: &mut Cx<'_, Self>, payload: Payload<'_>) -> Result<(), Refusal> {
        let len = self.framing.encoded_len(payload.as_slice()).map_err(Refusal::Invalid)?;
        let mut writer = cx.tx.message(len)?;
        self.framing.encode(payload, &mut writer);
        Ok(())
    }
}

impl<F: Framing> Protocol for Framed<F> {
    type Event = Bytes;
    type Command = Bytes;
    type Timer = HeartbeatTimer;
    type Violation = F::Error;

    const TIMED: bool = false;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.start(cx);
        }
        cx.establish();
    }

    #[inline(always)]
    fn decode_short(&mut self, rx: &mut RecvBuf) -> Option<Bytes> {
        let span = self.short_way(rx)?;
        Some(take_span(rx, span))
    }

    #[inline(always)]
    fn needs_bytes(&mut self) -> bool {
        !self.skipping
    }

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Bytes>, F::Error> {
        Ok(match self.step(cx, rx)? {
            Step::Event(span) => Step::Event(take_span(rx, span)),
            Step::NeedMore { hint } => Step::NeedMore { hint },
            Step::Progress => Step::Progress,
            Step::Close(code) => Step::Close(code),
        })
    }

    fn eof(&mut self, cx: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<Bytes>, F::Error> {
        if self.skipping {
            let ended = self.framing.skip_eof(rest);
            return Ok(if ended { EofAction::Clean } else { EofAction::Truncated { missing: None } });
        }
        Ok(match self.framing.eof(rest.as_mut_slice())? {
            Rest::Clean => EofAction::Clean,
            Rest::Final(span) if self.is_heartbeat(span.of(rest)) => EofAction::Clean,
            Rest::Final(span) => EofAction::Final(take_span(rest, span)),
            Rest::TooLong(too_long) => {
                self.forgive(cx, too_long)?;
                EofAction::Clean
            }
            Rest::Truncated { missing } => EofAction::Truncated { missing },
        })
    }

    #[inline]
    fn command(&mut self, cx: &mut Cx<'_, Self>, payload: Bytes) -> Result<(), Refused<Bytes>> {
        // A clone of Bytes is a count, so the payload can be given back.
        let len = match self.framing.encoded_len(&payload) {
            Ok(len) => len,
            Err(why) => return Err(Refused::new(payload, Refusal::Invalid(why))),
        };
        match cx.tx.message(len) {
            Ok(mut writer) => {
                self.framing.encode(Payload::Owned(payload), &mut writer);
                Ok(())
            }
            Err(no_room) => Err(Refused::new(payload, no_room.into())),
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_, Self>, timer: HeartbeatTimer) -> Result<Step<Bytes>, Fault<F::Error>> {
        let Some(heartbeat) = &self.heartbeat else { return Ok(Step::Progress) };
        if let Some(beat) = heartbeat.due(cx, timer).map_err(Fault::Timeout)? {
            self.write_control(cx, beat);
        }
        Ok(Step::Progress)
    }

    fn max_unit(&self) -> usize {
        self.framing.max_unit()
    }
}

impl<F: Framing> InPlace for Framed<F> {
    type View<'a> = &'a [u8];
    type Reply<'a> = &'a [u8];

    #[inline(always)]
    fn decode_short_in_place<'a>(&mut self, rx: &'a mut RecvBuf) -> Option<&'a [u8]> {
        let Span { start, end, consumed } = self.short_way(rx)?;
        Some(rx.view_part(consumed, start, end))
    }

    fn decode_in_place<'a>(&mut self, cx: &mut Cx<'_, Self>, rx: &'a mut RecvBuf) -> Result<Step<&'a [u8]>, F::Error> {
        Ok(match self.step(cx, rx)? {
            Step::Event(Span { start, end, consumed }) => Step::Event(rx.view_part(consumed, start, end)),
            Step::NeedMore { hint } => Step::NeedMore { hint },
            Step::Progress => Step::Progress,
            Step::Close(code) => Step::Close(code),
        })
    }

    #[inline(always)]
    fn reply(&mut self, cx: &mut Cx<'_, Self>, reply: &[u8]) -> Result<(), Refusal> {
        self.write(cx, Payload::Borrowed(reply))
    }
}

#[inline(always)]
fn take_span(rx: &mut RecvBuf, span: Span) -> Bytes {
    rx.take_part(span.consumed, span.start, span.end)
}
