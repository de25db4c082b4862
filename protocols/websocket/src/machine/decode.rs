//! What comes in: frames, taken whole where they lie or in pieces, put together or handed on.

use alloc::vec::Vec;

use bytes::Bytes;
use duologue_core::{Cx, EofAction, RecvBuf, Step};

use super::{Found, WebSocket, What};
use crate::error::Violation;
use crate::message::{Event, Kind, Role};
use crate::utf8::{Utf8, is_utf8};
use crate::wire::{self, FIN, MASK, Opcode, Parsed, RSV1, rotate_mask};

/// The most bytes of a header on the short way.
const HEAD: usize = 8;

/// Fewer bytes than this wait for the rest of their piece.
const EARLY: usize = 1 << 10;

/// A data frame whose header was consumed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Bytes of payload that were not consumed.
    remaining: u64,
    /// Bytes at the front of the receive buffer that are unmasked and checked.
    ready: usize,
    /// Bytes of the piece under way that were put to the message already.
    gathered: usize,
    /// The key for the byte after those that are ready.
    key: Option<[u8; 4]>,
    fin: bool,
}

/// A message whose beginning came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    kind: Kind,
    compressed: bool,
    /// No part of it was handed on.
    first: bool,
    frames: u32,
    /// Bytes that were announced, or inflated if it is compressed.
    len: u64,
    utf8: Utf8,
}

/// A whole message at the front of the receive buffer.
pub(super) struct Short {
    pub(super) kind: Kind,
    /// Bytes of the header.
    pub(super) header: usize,
    /// Bytes of the header and the payload.
    pub(super) whole: usize,
    /// Little-endian.
    key: Option<u32>,
}

impl Short {
    #[inline(always)]
    pub(super) fn unmask(&self, payload: &mut [u8]) {
        if let Some(key) = self.key {
            wire::mask(payload, key);
        }
    }

    /// Unmasks a text where it lies; false if it is none, and then nothing was changed.
    #[inline(always)]
    pub(super) fn unmask_text(&self, rx: &mut RecvBuf) -> bool {
        let payload = rx.as_mut_slice().get_mut(self.header..self.whole).unwrap_or_default();
        unmask_text(payload, self.key.unwrap_or_default())
    }
}

/// Masking with a key of zeros changes nothing.
#[inline(never)]
fn unmask_text(payload: &mut [u8], key: u32) -> bool {
    wire::mask(payload, key);
    let valid = is_utf8(payload);
    if !valid {
        wire::mask(payload, key);
    }
    valid
}

impl WebSocket {
    /// A whole message in one frame that lies whole in the buffer. `None` for everything else, and for what has fewer
    /// than [`HEAD`] bytes left in the buffer.
    #[inline(always)]
    pub(super) fn short_way(&self, bytes: &[u8]) -> Option<Short> {
        let head = u64::from_le_bytes(*bytes.first_chunk::<HEAD>()?);
        let kind = match head as u8 {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return None,
        };
        let masked = self.role == Role::Server;
        // A mask that is missing or too much becomes a length that is none, and the long way says what is wrong.
        let second = (head >> 8) as u8 ^ if masked { MASK } else { 0 };
        let (len, size) = match second {
            0..=125 => (usize::from(second), 2),
            126 => (usize::from(((head >> 16) as u16).swap_bytes()), 4),
            _ => return None,
        };
        let wasteful = len < 126 && size == 4;
        if len > self.short || wasteful || !self.idle {
            return None;
        }
        let key = masked.then_some((head >> (8 * size)) as u32);
        let header = if masked { size + 4 } else { size };
        (header + len <= bytes.len()).then_some(Short { kind, header, whole: header + len, key })
    }

    /// Everything else: openings, control frames, fragments, pieces, compressed messages.
    #[inline(never)]
    pub(super) fn long_way(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Found>, Violation> {
        if self.opening.is_some() {
            return self.continue_opening(cx, rx);
        }
        if self.closing {
            return Ok(self.end_of_conversation(cx));
        }
        let step = self.next_step(cx, rx)?;
        let under_way = self.frame.is_some() || (self.message.is_some() && !self.streaming);
        self.idle = !self.streaming && !self.closing && !under_way;
        if under_way && matches!(step, Step::NeedMore { .. } | Step::Progress) {
            cx.message_under_way();
        }
        Ok(step)
    }

    fn next_step(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Found>, Violation> {
        if self.frame.is_none() {
            let Some(parsed) = wire::parse(rx, self.strict)? else {
                return Ok(Step::NeedMore { hint: 2_usize.saturating_sub(rx.len()).max(1) });
            };
            match (self.role, parsed.mask) {
                (Role::Server, None) => return Err(Violation::Unmasked),
                (Role::Client, Some(_)) => return Err(Violation::Masked),
                _ => {}
            }
            let opcode = parsed.first & 0x0F;
            if opcode >= Opcode::Close as u8 {
                // At most 125 bytes, as `parse` saw to.
                let len = parsed.len as usize;
                let whole = parsed.size + len;
                if rx.len() < whole {
                    return Ok(Step::NeedMore { hint: whole - rx.len() });
                }
                rx.advance(parsed.size);
                if let (Some(key), Some(body)) = (parsed.mask, rx.as_mut_slice().get_mut(..len)) {
                    wire::apply_mask(body, key);
                }
                return self.take_control(cx, rx, opcode, len);
            }
            self.begin_frame(&parsed, opcode)?;
            rx.advance(parsed.size);
        }
        let (Some(mut frame), Some(mut message)) = (self.frame, self.message) else { return Ok(Step::Progress) };
        let step = self.take_payload(rx, &mut frame, &mut message)?;
        self.frame = Some(frame).filter(|frame| !frame.is_over());
        self.message = Some(message).filter(|_| !(frame.is_over() && frame.fin));
        Ok(step)
    }

    /// The header of a data frame: is it in order, and within the limits?
    fn begin_frame(&mut self, parsed: &Parsed, opcode: u8) -> Result<(), Violation> {
        let limits = *self.limits();
        let (first, len) = (parsed.first, parsed.len);
        let rsv1 = first & RSV1 != 0;
        let mut message = match (self.message, opcode) {
            (Some(_), 1 | 2) => return Err(Violation::MessageInsideMessage),
            (None, 0) => return Err(Violation::UnexpectedContinuation),
            // Only the first frame says that the message is compressed (RFC 7692 section 6.1).
            (Some(_), _) if rsv1 => return Err(Violation::ReservedBits { bits: 4 }),
            (Some(message), _) => message,
            (None, _) if rsv1 && self.deflate.is_none() => return Err(Violation::ReservedBits { bits: 4 }),
            (None, _) => {
                let kind = if opcode == Opcode::Text as u8 { Kind::Text } else { Kind::Binary };
                Message { kind, compressed: rsv1, first: true, frames: 0, len: 0, utf8: Utf8::default() }
            }
        };
        if len > limits.max_frame {
            return Err(Violation::FrameTooLong { len, limit: limits.max_frame });
        }
        message.frames = message.frames.saturating_add(1);
        if message.frames > limits.max_fragments {
            return Err(Violation::TooManyFragments { limit: limits.max_fragments });
        }
        if !message.compressed {
            message.len = message.len.saturating_add(len);
            if message.len > limits.max_message {
                return Err(Violation::MessageTooLong { limit: limits.max_message });
            }
        }
        self.message = Some(message);
        self.frame = Some(Frame { remaining: len, ready: 0, gathered: 0, key: parsed.mask, fin: first & FIN != 0 });
        Ok(())
    }

    /// Takes the next piece of a frame's payload, once it is there; until then what came is unmasked and checked, so that
    /// wrong text fails with its first wrong byte.
    fn take_payload(
        &mut self,
        rx: &mut RecvBuf,
        frame: &mut Frame,
        message: &mut Message,
    ) -> Result<Step<Found>, Violation> {
        let piece = self.limits().piece_len();
        let target = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(piece - frame.gathered);
        frame.prepare(rx, target, message)?;
        if frame.ready < target {
            let hint = target - frame.ready;
            self.gather_early(rx, frame, message);
            return Ok(Step::NeedMore { hint });
        }
        if message.compressed {
            return self.take_compressed(rx, frame, message, target);
        }
        let whole = !self.streaming && message.first && message.frames == 1 && frame.fin;
        let ends_frame = frame.remaining == target as u64;
        let last = frame.fin && ends_frame;
        if last && message.kind == Kind::Text {
            message.utf8.finish().map_err(|_| Violation::InvalidUtf8)?;
        }
        frame.consume(target, ends_frame);
        frame.gathered = 0;
        if self.streaming {
            if target == 0 && !last {
                return Ok(Step::Progress);
            }
            let first = core::mem::replace(&mut message.first, false);
            let what = What::Part { kind: message.kind, first, last };
            return Ok(Step::Event(Found::Front { what, len: target }));
        }
        if whole && last {
            return Ok(Step::Event(Found::Front { what: What::Whole(message.kind), len: target }));
        }
        // The frames before this one may have been empty.
        message.first = false;
        self.gathered.extend_from_slice(rx.view(target));
        Ok(self.gathered_step(message.kind, last))
    }

    /// What will be put together in any case need not wait for the rest of its piece: a long message is copied as it is
    /// read, and the receive buffer stays as small as a read. One byte stays, so that the piece ends by a step
    /// of its own.
    fn gather_early(&mut self, rx: &mut RecvBuf, frame: &mut Frame, message: &mut Message) {
        let lies_whole =
            message.first && message.frames == 1 && frame.fin && frame.remaining <= self.limits().piece_len() as u64;
        if self.streaming || message.compressed || lies_whole || frame.ready <= EARLY {
            return;
        }
        let n = frame.ready - 1;
        message.first = false;
        self.gathered.extend_from_slice(rx.view(n));
        frame.consume(n, false);
        frame.gathered += n;
    }

    /// A message that was put together, if it is complete.
    fn gathered_step(&mut self, kind: Kind, last: bool) -> Step<Found> {
        if !last {
            return Step::Progress;
        }
        let data = Bytes::from(core::mem::take(&mut self.gathered));
        Step::Event(Found::Own { what: What::Whole(kind), data })
    }

    /// Inflates `target` bytes of payload, never beyond what the message may hold or a part may be long.
    fn take_compressed(
        &mut self,
        rx: &mut RecvBuf,
        frame: &mut Frame,
        message: &mut Message,
        target: usize,
    ) -> Result<Step<Found>, Violation> {
        let limit = self.limits().max_message;
        let piece = self.limits().piece_len();
        let Some(deflate) = &mut self.deflate else { return Err(Violation::InvalidDeflate) };
        let start = self.gathered.len();
        // One byte more than allowed is enough to know.
        let allowed = usize::try_from(limit.saturating_sub(message.len)).unwrap_or(usize::MAX).saturating_add(1);
        let room = if self.streaming { allowed.min(piece.saturating_sub(start)) } else { allowed };
        let input = rx.get(..target).unwrap_or_default();
        let taken = deflate.inflater.inflate(input, &mut self.gathered, room).map_err(|_| Violation::InvalidDeflate)?;
        let full = |gathered: &Vec<u8>| gathered.len() - start == room;
        rx.advance(taken);
        let mut ended = taken == target && !full(&self.gathered);
        let ends_frame = frame.remaining == target as u64;
        let mut last = false;
        if ended && ends_frame && frame.fin {
            let room = room - (self.gathered.len() - start);
            last = deflate.inflater.finish(&mut self.gathered, room).map_err(|_| Violation::InvalidDeflate)?;
            ended = last;
        }
        frame.consume(taken, ended && ends_frame);
        let fresh = self.gathered.get(start..).unwrap_or_default();
        message.len = message.len.saturating_add(fresh.len() as u64);
        if message.len > limit {
            self.gathered = Vec::new();
            return Err(Violation::MessageTooLong { limit });
        }
        if message.kind == Kind::Text {
            message.utf8.feed(fresh).map_err(|_| Violation::InvalidUtf8)?;
            if last {
                message.utf8.finish().map_err(|_| Violation::InvalidUtf8)?;
            }
        }
        if !self.streaming {
            return Ok(self.gathered_step(message.kind, last));
        }
        if !last && self.gathered.len() < piece {
            return Ok(Step::Progress);
        }
        let first = core::mem::replace(&mut message.first, false);
        let data = Bytes::from(core::mem::take(&mut self.gathered));
        Ok(Step::Event(Found::Own { what: What::Part { kind: message.kind, first, last }, data }))
    }

    /// What the end of the peer's stream means: without a Close it is never a proper one, but between frames nothing was
    /// cut off.
    pub(super) fn end_of_stream(&mut self, rest: &RecvBuf) -> EofAction<Event> {
        match (&self.frame, &self.message) {
            (Some(frame), _) => {
                EofAction::Truncated { missing: Some(frame.remaining.saturating_sub(rest.len() as u64)) }
            }
            (None, None) if rest.is_empty() => EofAction::Clean,
            _ => EofAction::Truncated { missing: None },
        }
    }
}

impl Frame {
    /// Unmasks and checks what came of the next `target` bytes.
    fn prepare(&mut self, rx: &mut RecvBuf, target: usize, message: &mut Message) -> Result<(), Violation> {
        let here = rx.len().min(target);
        let Some(fresh) = rx.as_mut_slice().get_mut(self.ready..here).filter(|fresh| !fresh.is_empty()) else {
            return Ok(());
        };
        if let Some(key) = &mut self.key {
            wire::apply_mask(fresh, *key);
            *key = rotate_mask(*key, fresh.len());
        }
        if message.kind == Kind::Text && !message.compressed {
            message.utf8.feed(fresh).map_err(|_| Violation::InvalidUtf8)?;
        }
        self.ready = here;
        Ok(())
    }

    /// `n` of the bytes that are ready were taken; `over` if that was all of the frame, and all that came out of it.
    fn consume(&mut self, n: usize, over: bool) {
        self.remaining -= n as u64;
        self.ready -= n;
        if over {
            self.remaining = OVER;
        }
    }

    const fn is_over(&self) -> bool {
        self.remaining == OVER
    }
}

/// A frame of which nothing is left. One whose payload was taken may still have something to say: inflated bytes that
/// found no room.
const OVER: u64 = u64::MAX;
