//! Frames that end at a delimiter.

use alloc::boxed::Box;
use alloc::vec::Vec;

use thiserror::Error;

use super::{Found, FrameError, FrameTooLong, Framing, Rest, Skipped, Span};
use crate::protocol::Payload;
use crate::send_queue::Writer;

/// Frames that end at one of several delimiters.
///
/// The earliest delimiter ends the frame; of several that start at the same byte, the longest. If one delimiter is
/// the beginning of another (CR and CR LF), a frame is delivered once the next byte tells which of them it was, or
/// once the stream ended: a peer that sends CR and waits for an answer would wait for ever.
///
/// The limit counts payload bytes, without the delimiter, whether it is delivered or not.
///
/// ```
/// use duologue_core::framed::{Delimited, Found, Framing, Span};
///
/// let mut lines = Delimited::lines(80);
/// let found = lines.find(&mut b"one\r\ntwo\n".to_vec()).unwrap();
/// assert_eq!(found, Found::Frame(Span { start: 0, end: 3, consumed: 5 }));
/// ```
#[derive(Clone, Debug, Hash)]
pub struct Delimited {
    delimiters: Box<[Box<[u8]>]>,
    /// Which of them ends frames to send.
    written: usize,
    search: Search,
    /// The only delimiter, if it has one byte or two: the common case has a short way.
    plain: Option<(u8, Option<u8>)>,
    max_frame: usize,
    keep_delimiter: bool,
    last_frame_needs_delimiter: bool,
    /// No delimiter starts before this byte of the frame.
    scanned: usize,
}

/// Delimiters that cannot frame anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum DelimiterError {
    /// There is no delimiter, or one has no bytes.
    #[error("a delimiter needs at least one byte, and a framing at least one delimiter")]
    Empty,
    /// One delimiter lies inside another, and neither at its end nor one byte before: at the end of the stream
    /// there could be two frames where one is expected.
    #[error("one delimiter lies inside another: only its last bytes, or the last but one, may be a delimiter too")]
    Nested,
}

/// How to find where a delimiter may start.
#[derive(Clone, Debug, Hash)]
enum Search {
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    Many(Box<[bool; 256]>),
    /// One delimiter, long enough that its first byte alone is a poor guide.
    Whole,
}

enum Scan {
    Match {
        at: usize,
        len: usize,
    },
    /// No delimiter starts before this byte; one may start at it.
    Open(usize),
}

enum Test {
    Match(usize),
    /// The bytes end inside what may be a delimiter.
    Pending,
    No,
}

impl Delimited {
    /// Frames that end with `delimiter`, up to `max_frame` bytes before it.
    ///
    /// # Errors
    /// The delimiter is empty.
    pub fn new(delimiter: impl AsRef<[u8]>, max_frame: usize) -> Result<Self, DelimiterError> {
        Self::any([delimiter], max_frame)
    }

    /// Frames that end with any of `delimiters`, up to `max_frame` bytes before it. Frames to send end with the
    /// first of them that is not the beginning of another.
    ///
    /// # Errors
    /// A delimiter is empty, there is none, or one lies inside another other than at its end or one byte before.
    pub fn any<D: AsRef<[u8]>>(
        delimiters: impl IntoIterator<Item = D>,
        max_frame: usize,
    ) -> Result<Self, DelimiterError> {
        let mut all: Vec<Box<[u8]>> = Vec::new();
        for delimiter in delimiters {
            let delimiter = delimiter.as_ref();
            if delimiter.is_empty() {
                return Err(DelimiterError::Empty);
            }
            if !all.iter().any(|known| **known == *delimiter) {
                all.push(delimiter.into());
            }
        }
        if all.is_empty() {
            return Err(DelimiterError::Empty);
        }
        if all.iter().any(|outer| all.iter().any(|inner| lies_inside(inner, outer))) {
            return Err(DelimiterError::Nested);
        }
        Ok(Self::of(all, max_frame))
    }

    /// Lines: they end at LF, and a CR before it is stripped as well. Frames to send end with LF alone; one that
    /// ends with CR is refused, for the peer would strip it.
    #[must_use]
    pub fn lines(max_frame: usize) -> Self {
        Self::of(Vec::from([Box::from(&b"\n"[..]), Box::from(&b"\r\n"[..])]), max_frame)
    }

    /// Lines that end at CR LF and nowhere else.
    #[must_use]
    pub fn crlf(max_frame: usize) -> Self {
        Self::of(Vec::from([Box::from(&b"\r\n"[..])]), max_frame)
    }

    /// Delivers frames with their delimiter, and expects frames to send to end with one.
    #[must_use]
    pub fn keep_delimiter(mut self) -> Self {
        self.keep_delimiter = true;
        self
    }

    /// Whether bytes without a delimiter at the end of the stream are a truncated frame (true, the default) or the
    /// last frame (false).
    #[must_use]
    pub fn last_frame_needs_delimiter(mut self, needs: bool) -> Self {
        self.last_frame_needs_delimiter = needs;
        self
    }

    /// From delimiters that were checked.
    fn of(delimiters: Vec<Box<[u8]>>, max_frame: usize) -> Self {
        let continued = |d: &[u8]| delimiters.iter().any(|other| other.len() > d.len() && other.starts_with(d));
        let written = delimiters.iter().position(|d| !continued(d)).unwrap_or_default();
        Self {
            search: Search::over(&delimiters),
            plain: match delimiters.as_slice() {
                [delimiter] => match **delimiter {
                    [only] => Some((only, None)),
                    [first, second] => Some((first, Some(second))),
                    _ => None,
                },
                _ => None,
            },
            delimiters: delimiters.into(),
            written,
            max_frame,
            keep_delimiter: false,
            last_frame_needs_delimiter: true,
            scanned: 0,
        }
    }

    fn longest(&self) -> usize {
        self.delimiters.iter().map(|d| d.len()).max().unwrap_or_default()
    }

    fn written(&self) -> &[u8] {
        self.delimiters.get(self.written).map(|d| &**d).unwrap_or_default()
    }

    /// The first byte that is like a plain delimiter's first begins it in most cases. Where it is and how long;
    /// `None` if it takes a closer look.
    #[inline(always)]
    fn plain_end(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let (first, second) = self.plain?;
        let at = memchr::memchr(first, bytes)?;
        if at > self.max_frame {
            return None;
        }
        match second {
            None => Some((at, 1)),
            Some(second) => (bytes.get(at + 1) == Some(&second)).then_some((at, 2)),
        }
    }

    /// Looks for the first delimiter that starts at `from` or later, up to `last`.
    #[inline]
    fn scan(&self, bytes: &[u8], from: usize, last: usize, ended: bool) -> Scan {
        let mut at = from;
        while let Some(candidate) = self.candidate(bytes, at, last) {
            match self.test(bytes, candidate, ended) {
                Test::Match(len) => return Scan::Match { at: candidate, len },
                Test::Pending => return Scan::Open(candidate),
                Test::No => at = candidate + 1,
            }
        }
        Scan::Open(bytes.len().min(last.saturating_add(1)))
    }

    /// The next byte from `from` on, up to `last`, at which a delimiter may start.
    #[inline]
    fn candidate(&self, bytes: &[u8], from: usize, last: usize) -> Option<usize> {
        let starts = bytes.get(from..bytes.len().min(last.saturating_add(1)))?;
        let found = match &self.search {
            Search::One(a) => memchr::memchr(*a, starts),
            Search::Two(a, b) => memchr::memchr2(*a, *b, starts),
            Search::Three(a, b, c) => memchr::memchr3(*a, *b, *c, starts),
            Search::Many(first) => starts.iter().position(|byte| first[usize::from(*byte)]),
            Search::Whole => return self.whole_candidate(bytes, from, from + starts.len()),
        };
        found.map(|i| from + i)
    }

    /// As `candidate`, by the whole delimiter: where it is, or where the bytes end inside it.
    fn whole_candidate(&self, bytes: &[u8], from: usize, to: usize) -> Option<usize> {
        let delimiter = self.delimiters.first()?;
        let window = bytes.get(from..bytes.len().min(to.saturating_add(delimiter.len() - 1)))?;
        if let Some(i) = memchr::memmem::find(window, delimiter) {
            return Some(from + i);
        }
        let tail = bytes.len().saturating_sub(delimiter.len() - 1).max(from);
        (tail..to).find(|i| delimiter.starts_with(&bytes[*i..]))
    }

    #[inline]
    fn test(&self, bytes: &[u8], at: usize, ended: bool) -> Test {
        let rest = bytes.get(at..).unwrap_or_default();
        let mut test = Test::No;
        for delimiter in &self.delimiters {
            if rest.len() >= delimiter.len() {
                let longer = !matches!(test, Test::Match(len) if len >= delimiter.len());
                if longer && begins_with(rest, delimiter) {
                    test = Test::Match(delimiter.len());
                }
            } else if !ended && delimiter.starts_with(rest) {
                return Test::Pending;
            }
        }
        test
    }

    /// How many bytes made it certain that no delimiter starts within the limit: the last of the bytes that differ.
    #[cold]
    fn too_long(&self, bytes: &[u8]) -> FrameTooLong {
        let first = self.max_frame.saturating_sub(self.longest());
        let certain = (first..=self.max_frame)
            .flat_map(|at| {
                let rest = bytes.get(at..).unwrap_or_default();
                let common = move |d: &[u8]| d.iter().zip(rest).take_while(|(a, b)| a == b).count();
                self.delimiters.iter().map(move |d| at + common(d) + 1)
            })
            .max();
        FrameTooLong { limit: self.max_frame, buffered: certain.unwrap_or_default() as u64 }
    }

    /// The delimiter that would be written after `payload` begins or ends another one together with its last bytes,
    /// from `open` on.
    fn blurs(&self, payload: &[u8], open: usize) -> bool {
        (open..payload.len()).any(|at| {
            let tail = &payload[at..];
            self.delimiters.iter().any(|d| {
                // The shorter of the two decides: what follows on the wire is not known.
                d.iter().zip(tail.iter().chain(self.written())).all(|(a, b)| a == b)
            })
        })
    }
}

/// `inner` is found in `outer` where it would split the end of the stream in two.
fn lies_inside(inner: &[u8], outer: &[u8]) -> bool {
    let Some(last) = outer.len().checked_sub(inner.len() + 1) else { return false };
    // At `last` it ends one byte before the end of `outer`, at `last + 1` with it.
    (0..last).any(|at| outer[at..].starts_with(inner))
}

/// As `starts_with`, without the call that comparing bytes in bulk is: delimiters are short.
#[inline]
fn begins_with(bytes: &[u8], delimiter: &[u8]) -> bool {
    bytes.len() >= delimiter.len() && delimiter.iter().zip(bytes).all(|(a, b)| a == b)
}

impl Search {
    fn over(delimiters: &[Box<[u8]>]) -> Self {
        if let [delimiter] = delimiters {
            if delimiter.len() > 2 {
                return Self::Whole;
            }
        }
        let mut first: Vec<u8> = delimiters.iter().filter_map(|d| d.first().copied()).collect();
        first.sort_unstable();
        first.dedup();
        match first[..] {
            [a] => Self::One(a),
            [a, b] => Self::Two(a, b),
            [a, b, c] => Self::Three(a, b, c),
            _ => {
                let mut table = Box::new([false; 256]);
                for byte in first {
                    table[usize::from(byte)] = true;
                }
                Self::Many(table)
            }
        }
    }
}

impl Framing for Delimited {
    type Error = FrameError;

    fn find(&mut self, bytes: &mut [u8]) -> Result<Found, FrameError> {
        match self.scan(bytes, self.scanned, self.max_frame, false) {
            Scan::Match { at, len } => {
                self.scanned = 0;
                let end = if self.keep_delimiter { at + len } else { at };
                Ok(Found::Frame(Span { start: 0, end, consumed: at + len }))
            }
            Scan::Open(at) if at > self.max_frame => {
                self.scanned = 0;
                Ok(Found::TooLong(self.too_long(bytes)))
            }
            Scan::Open(at) => {
                self.scanned = at;
                Ok(Found::NeedMore { hint: 0 })
            }
        }
    }

    #[inline(always)]
    fn find_short(&self, bytes: &[u8]) -> Option<Span> {
        let (at, len) = if self.scanned == 0 { self.plain_end(bytes)? } else { return None };
        let end = if self.keep_delimiter { at + len } else { at };
        Some(Span { start: 0, end, consumed: at + len })
    }

    fn eof(&mut self, rest: &mut [u8]) -> Result<Rest, FrameError> {
        let from = core::mem::take(&mut self.scanned);
        let (end, consumed, kept) = match self.scan(rest, from, usize::MAX, true) {
            Scan::Match { at, len } => (at, at + len, if self.keep_delimiter { len } else { 0 }),
            Scan::Open(_) if rest.is_empty() => return Ok(Rest::Clean),
            Scan::Open(_) if self.last_frame_needs_delimiter => return Ok(Rest::Truncated { missing: None }),
            Scan::Open(_) => (rest.len(), rest.len(), 0),
        };
        if end > self.max_frame {
            // What could have begun a delimiter turned out to be payload.
            return Ok(Rest::TooLong(FrameTooLong { limit: self.max_frame, buffered: rest.len() as u64 }));
        }
        Ok(Rest::Final(Span { start: 0, end: end + kept, consumed }))
    }

    fn skip(&mut self, bytes: &[u8]) -> Option<Skipped> {
        Some(match self.scan(bytes, 0, usize::MAX, false) {
            Scan::Match { at, len } => Skipped { consumed: at + len, done: true },
            // What may be the beginning of a delimiter stays.
            Scan::Open(at) => Skipped { consumed: at, done: false },
        })
    }

    fn skip_eof(&mut self, rest: &[u8]) -> bool {
        // What could have become a longer delimiter is one as it stands.
        !self.last_frame_needs_delimiter || matches!(self.scan(rest, 0, usize::MAX, true), Scan::Match { .. })
    }

    #[inline]
    fn encoded_len(&self, payload: &[u8]) -> Result<usize, &'static str> {
        let found = self.scan(payload, 0, usize::MAX, false);
        let (len, encoded) = match (found, self.keep_delimiter) {
            (Scan::Match { at, len }, true) if at + len == payload.len() => (at, payload.len()),
            (Scan::Match { .. }, true) => return Err("the payload contains a delimiter before its end"),
            (Scan::Open(_), true) => return Err("the payload does not end with a delimiter that stands for itself"),
            (Scan::Match { .. }, false) => return Err("the payload contains a delimiter"),
            (Scan::Open(at), false) if self.blurs(payload, at) => {
                return Err("the payload's end and the delimiter together look like another delimiter");
            }
            (Scan::Open(_), false) => (payload.len(), payload.len().saturating_add(self.written().len())),
        };
        if len > self.max_frame {
            return Err("the payload is longer than max_frame");
        }
        Ok(encoded)
    }

    #[inline]
    fn encode(&mut self, payload: Payload<'_>, out: &mut Writer<'_>) {
        payload.put(out);
        if !self.keep_delimiter {
            out.put_slice(self.written());
        }
    }

    fn max_unit(&self) -> usize {
        self.max_frame.saturating_add(self.longest())
    }
}

#[cfg(test)]
mod tests;
