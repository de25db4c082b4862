//! Frames between marks, with escapes in between.

use alloc::boxed::Box;

use thiserror::Error;

use super::{Found, FrameError, FrameTooLong, Framing, Rest, Skipped, Span};
use crate::protocol::Payload;
use crate::send_queue::Writer;

/// Frames between a begin and an end mark of one byte each; marks inside a frame are escaped.
///
/// ```text
/// begin  1 2 escape (end') 3 4  end        payload: 1 2 end 3 4
/// ```
///
/// There are three kinds, by the begin mark:
/// * none: a frame is what stands before an end mark ([`slip`](Self::slip));
/// * the same byte as the end mark: one mark between two frames serves both ([`hdlc`](Self::hdlc));
/// * another byte: it stands in front of every frame, and nowhere else.
///
/// In the first two kinds marks without anything between them are fill, and no empty frames: empty payloads are
/// refused. The limit counts payload bytes after escapes are resolved.
///
/// ```
/// use duologue_core::framed::{Found, Framing, Marked, Span};
///
/// let mut received = vec![1, 0xDB, 0xDC, 2, 0xC0];
/// let found = Marked::slip(1006).find(&mut received).unwrap();
/// assert_eq!(found, Found::Frame(Span { start: 0, end: 3, consumed: 5 }));
/// assert_eq!(received[..3], [1, 0xC0, 2]);
/// ```
#[derive(Clone, Debug, Hash)]
pub struct Marked {
    begin: Option<u8>,
    end: u8,
    escape: u8,
    code: Code,
    needles: Needles,
    /// An escape right before the end mark takes the frame back.
    abortable: bool,
    /// Frames to send have a mark in front.
    leading: bool,
    max_frame: usize,
    /// The mark in front of the frame was seen and taken off.
    open: bool,
    progress: Progress,
}

/// How far the frame at the start of the bytes was looked at.
#[derive(Clone, Copy, Debug, Default, Hash)]
struct Progress {
    /// Bytes that were looked at.
    scanned: usize,
    /// The payload bytes among them.
    payload: usize,
    /// Where the first escape is.
    escaped_from: Option<usize>,
}

/// What stands after an escape.
#[derive(Clone, Debug, Hash)]
enum Code {
    /// The byte with these bits flipped.
    Xor(u8),
    /// A substitute: pairs of byte and substitute.
    Table(Box<[(u8, u8)]>),
}

/// The bytes of a payload that need an escape.
#[derive(Clone, Debug, Hash)]
enum Needles {
    Few(u8, u8, u8),
    Many(Box<[bool; 256]>),
}

/// Marks and escapes that cannot work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum MarksError {
    /// The escape byte is a mark as well.
    #[error("the escape byte {escape:#04x} is a mark as well")]
    EscapeIsMark {
        /// The byte.
        escape: u8,
    },
    /// A mark, or the escape byte, has no substitute.
    #[error("byte {byte:#04x} has a meaning of its own and needs a substitute")]
    NoSubstitute {
        /// The byte.
        byte: u8,
    },
    /// A mark would stand inside a frame.
    #[error("the substitute {substitute:#04x} is a mark")]
    SubstituteIsMark {
        /// The substitute.
        substitute: u8,
    },
    /// Two entries for one byte, or two bytes with one substitute.
    #[error("byte {byte:#04x} is in the table twice")]
    Ambiguous {
        /// The byte or the substitute.
        byte: u8,
    },
}

impl Marked {
    /// SLIP (RFC 1055): frames end with END (0xC0); ESC (0xDB) and ESC_END (0xDC) or ESC_ESC (0xDD) stand for END
    /// and ESC. Up to `max_frame` bytes of payload; the RFC asks for at least 1006.
    ///
    /// The RFC lets a receiver keep a byte that should not follow ESC; here it is [`FrameError::BadEscape`], for
    /// on a reliable stream it can only be a bug.
    #[must_use]
    pub fn slip(max_frame: usize) -> Self {
        let code = Code::Table(Box::new([(0xC0, 0xDC), (0xDB, 0xDD)]));
        Self::of(None, 0xC0, 0xDB, code, max_frame)
    }

    /// The byte stuffing of HDLC-like framing (RFC 1662): flag 0x7E, escape 0x7D, then the byte xor 0x20. Up to
    /// `max_frame` bytes of payload, the check sequence included: it is not looked at.
    ///
    /// The stream starts with a flag. An escape right before a flag aborts the frame: it is dropped in silence (RFC
    /// 1662, 4.3). Frames to send have a flag at both ends.
    #[must_use]
    pub fn hdlc(max_frame: usize) -> Self {
        let mut hdlc = Self::of(Some(0x7E), 0x7E, 0x7D, Code::Xor(0x20), max_frame);
        hdlc.abortable = true;
        hdlc
    }

    /// Any marks, and escapes that flip the bits of `mask`. On receiving, any byte but a mark may be escaped.
    ///
    /// # Errors
    /// The escape is a mark, or a mark or the escape becomes a mark by flipping.
    pub fn xor(begin: Option<u8>, end: u8, escape: u8, mask: u8, max_frame: usize) -> Result<Self, MarksError> {
        let marked = Self::of(begin, end, escape, Code::Xor(mask), max_frame);
        marked.check_escape()?;
        for byte in marked.reserved() {
            marked.check_substitute(byte ^ mask)?;
        }
        Ok(marked)
    }

    /// Any marks, and a table of pairs: a byte, and what stands after the escape in its place. The marks and the
    /// escape must be in it; others may be, to keep them off the line.
    ///
    /// # Errors
    /// The escape is a mark, or the table is incomplete, ambiguous, or has a mark for a substitute.
    pub fn table(
        begin: Option<u8>,
        end: u8,
        escape: u8,
        table: &[(u8, u8)],
        max_frame: usize,
    ) -> Result<Self, MarksError> {
        let marked = Self::of(begin, end, escape, Code::Table(table.into()), max_frame);
        marked.check_escape()?;
        for (i, (byte, substitute)) in table.iter().enumerate() {
            marked.check_substitute(*substitute)?;
            let before = table.get(..i).unwrap_or_default();
            if before.iter().any(|(b, _)| b == byte) {
                return Err(MarksError::Ambiguous { byte: *byte });
            }
            if before.iter().any(|(_, s)| s == substitute) {
                return Err(MarksError::Ambiguous { byte: *substitute });
            }
        }
        match marked.reserved().find(|byte| !table.iter().any(|(b, _)| b == byte)) {
            Some(byte) => Err(MarksError::NoSubstitute { byte }),
            None => Ok(marked),
        }
    }

    /// Writes an end mark in front of every frame as well, so that noise on the line before it becomes a frame of
    /// its own (RFC 1055 suggests it). Only for frames without a begin mark; the others have one.
    #[must_use]
    pub fn leading_end(mut self) -> Self {
        self.leading = true;
        self
    }

    fn of(begin: Option<u8>, end: u8, escape: u8, code: Code, max_frame: usize) -> Self {
        let needles = match &code {
            Code::Table(table) if table.len() > 3 => {
                let mut many = Box::new([false; 256]);
                for (byte, _) in table {
                    many[usize::from(*byte)] = true;
                }
                Needles::Many(many)
            }
            // A third byte in the table that is no mark.
            Code::Table(table) => Needles::Few(
                end,
                escape,
                table.iter().map(|(byte, _)| *byte).find(|b| *b != end && *b != escape).unwrap_or(end),
            ),
            Code::Xor(_) => Needles::Few(end, escape, begin.unwrap_or(end)),
        };
        Self {
            begin,
            end,
            escape,
            code,
            needles,
            abortable: false,
            leading: begin.is_some(),
            max_frame,
            open: begin.is_none(),
            progress: Progress::default(),
        }
    }

    fn check_escape(&self) -> Result<(), MarksError> {
        let escape = self.escape;
        if self.is_mark(escape) { Err(MarksError::EscapeIsMark { escape }) } else { Ok(()) }
    }

    fn check_substitute(&self, substitute: u8) -> Result<(), MarksError> {
        if self.is_mark(substitute) { Err(MarksError::SubstituteIsMark { substitute }) } else { Ok(()) }
    }

    fn reserved(&self) -> impl Iterator<Item = u8> + use<> {
        [self.end, self.escape].into_iter().chain(self.begin)
    }

    #[inline]
    fn is_mark(&self, byte: u8) -> bool {
        byte == self.end || Some(byte) == self.begin
    }

    /// The begin mark, if it is not an end mark as well.
    #[inline]
    fn own_begin(&self) -> Option<u8> {
        self.begin.filter(|begin| *begin != self.end)
    }

    /// What an escape and `byte` stand for.
    #[inline]
    fn resolve(&self, byte: u8) -> Option<u8> {
        match &self.code {
            Code::Xor(mask) => (!self.is_mark(byte)).then_some(byte ^ mask),
            Code::Table(table) => table.iter().find(|(_, substitute)| *substitute == byte).map(|(byte, _)| *byte),
        }
    }

    #[inline]
    fn substitute(&self, byte: u8) -> u8 {
        match &self.code {
            Code::Xor(mask) => byte ^ mask,
            Code::Table(table) => table.iter().find(|(b, _)| *b == byte).map_or(byte, |(_, substitute)| *substitute),
        }
    }

    /// The next byte of a payload that needs an escape.
    #[inline]
    fn next_needle(&self, payload: &[u8]) -> Option<usize> {
        match &self.needles {
            Needles::Few(a, b, c) => memchr::memchr3(*a, *b, *c, payload),
            Needles::Many(table) => payload.iter().position(|byte| table[usize::from(*byte)]),
        }
    }

    fn escapes(&self, payload: &[u8]) -> usize {
        match &self.needles {
            Needles::Few(a, b, c) => memchr::memchr3_iter(*a, *b, *c, payload).count(),
            Needles::Many(table) => payload.iter().filter(|byte| table[usize::from(**byte)]).count(),
        }
    }

    #[inline]
    fn next_reserved(&self, bytes: &[u8]) -> Option<usize> {
        match self.own_begin() {
            Some(begin) => memchr::memchr3(self.end, self.escape, begin, bytes),
            None => memchr::memchr2(self.end, self.escape, bytes),
        }
    }

    #[cold]
    fn too_long(&self) -> Found {
        // Known by the first payload byte too many, whatever came with it.
        Found::TooLong(FrameTooLong { limit: self.max_frame, buffered: (self.max_frame as u64).saturating_add(1) })
    }

    /// Goes on from where it stopped, to the frame's end mark. `start` is the first byte after a begin mark.
    #[inline]
    fn scan(&self, progress: &mut Progress, bytes: &mut [u8], start: usize) -> Result<Found, FrameError> {
        let mut at = progress.scanned.max(start);
        loop {
            // No further than to the first byte too many.
            let room = (self.max_frame - progress.payload).saturating_add(1);
            let stretch = bytes.get(at..).unwrap_or_default();
            let stretch = &stretch[..room.min(stretch.len())];
            let mark = self.next_reserved(stretch);
            let plain = mark.unwrap_or(stretch.len());
            progress.payload += plain;
            at += plain;
            progress.scanned = at;
            if progress.payload > self.max_frame {
                return Ok(self.too_long());
            }
            let Some(&mark) = bytes.get(at) else { return Ok(Found::NeedMore { hint: 0 }) };
            if mark == self.end {
                let end = self.unescape(progress, bytes, at);
                return Ok(Found::Frame(Span { start, end, consumed: at + 1 }));
            }
            if mark != self.escape {
                return Err(FrameError::StrayBegin { found: mark });
            }
            let Some(&found) = bytes.get(at + 1) else { return Ok(Found::NeedMore { hint: 0 }) };
            if found == self.end && self.abortable {
                return Ok(Found::Fill { consumed: at + 2 });
            }
            if self.resolve(found).is_none() {
                return Err(FrameError::BadEscape { found });
            }
            progress.escaped_from.get_or_insert(at);
            progress.payload += 1;
            at += 2;
            progress.scanned = at;
            if progress.payload > self.max_frame {
                return Ok(self.too_long());
            }
        }
    }

    /// Resolves the escapes of a frame that ends before `end`, and tells where its payload ends then.
    fn unescape(&self, progress: &Progress, bytes: &mut [u8], end: usize) -> usize {
        let Some(first) = progress.escaped_from else { return end };
        let (mut to, mut from) = (first, first);
        while from + 1 < end {
            // The bytes at `from` are an escape and its substitute, found valid before.
            bytes[to] = self.resolve(bytes[from + 1]).unwrap_or(bytes[from + 1]);
            from += 2;
            to += 1;
            let run = memchr::memchr(self.escape, &bytes[from..end]).unwrap_or(end - from);
            bytes.copy_within(from..from + run, to);
            from += run;
            to += run;
        }
        to
    }
}

impl Framing for Marked {
    type Error = FrameError;

    #[inline]
    fn find(&mut self, bytes: &mut [u8]) -> Result<Found, FrameError> {
        let Some(&found) = bytes.first() else { return Ok(Found::NeedMore { hint: 0 }) };
        let start = match self.own_begin() {
            Some(begin) if begin == found => 1,
            Some(expected) => return Err(FrameError::MissingBegin { expected, found }),
            None if found == self.end => {
                self.open = true;
                let consumed = bytes.iter().take_while(|byte| **byte == self.end).count();
                return Ok(Found::Fill { consumed });
            }
            None if self.open => 0,
            None => return Err(FrameError::MissingBegin { expected: self.end, found }),
        };
        let mut progress = self.progress;
        let found = self.scan(&mut progress, bytes, start);
        self.progress = if let Ok(Found::NeedMore { .. }) = found { progress } else { Progress::default() };
        found
    }

    fn skip(&mut self, bytes: &[u8]) -> Option<Skipped> {
        // An end mark is never escaped as itself, so the next one ends the frame.
        Some(match memchr::memchr(self.end, bytes) {
            Some(at) => Skipped { consumed: at + 1, done: true },
            None => Skipped { consumed: bytes.len(), done: false },
        })
    }

    fn eof(&mut self, rest: &mut [u8]) -> Result<Rest, FrameError> {
        self.progress = Progress::default();
        Ok(if rest.is_empty() { Rest::Clean } else { Rest::Truncated { missing: None } })
    }

    #[inline]
    fn encoded_len(&self, payload: &[u8]) -> Result<usize, &'static str> {
        if payload.is_empty() && self.own_begin().is_none() {
            return Err("an empty payload would be taken for fill between frames");
        }
        if payload.len() > self.max_frame {
            return Err("the payload is longer than max_frame");
        }
        Ok(payload.len() + self.escapes(payload) + 1 + usize::from(self.leading))
    }

    #[inline]
    fn encode(&mut self, payload: Payload<'_>, out: &mut Writer<'_>) {
        if self.leading {
            out.put_u8(self.begin.unwrap_or(self.end));
        }
        match self.next_needle(payload.as_slice()) {
            None => payload.put(out),
            Some(first) => {
                let mut rest = payload.as_slice();
                let mut next = Some(first);
                while let Some(at) = next {
                    let (run, tail) = rest.split_at(at);
                    out.put_slice(run);
                    let Some((byte, tail)) = tail.split_first() else { break };
                    out.put_slice(&[self.escape, self.substitute(*byte)]);
                    rest = tail;
                    next = self.next_needle(rest);
                }
                out.put_slice(rest);
            }
        }
        out.put_u8(self.end);
    }

    fn max_unit(&self) -> usize {
        // A begin mark, and every byte escaped, up to the first one too many.
        self.max_frame.saturating_add(1).saturating_mul(2).saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
