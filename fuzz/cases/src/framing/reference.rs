//! Decoders that see the whole stream at once: slow, short, and written from the documentation of each framing.

use duologue_core::framed::{FrameError, FrameTooLong};

use crate::feed::{End, Outcome};

/// One step over what is left of a stream.
pub(super) enum Step {
    /// A payload, and the bytes that go with it.
    Frame(Vec<u8>, usize),
    /// Bytes that mean nothing.
    Fill(usize),
    /// A frame over the limit, the length that tells so, and its bytes if it ends with or in the stream.
    TooLong(u64, Option<usize>),
    /// The stream ended.
    End(End),
}

/// Decodes `bytes` step by step; a frame that is longer than `limit` is skipped, or the end.
pub(super) fn decode(bytes: &[u8], limit: usize, skips: bool, mut step: impl FnMut(&[u8]) -> Step) -> Outcome {
    let mut outcome = Outcome { frames: Vec::new(), skipped: 0, end: End::Clean };
    let mut rest = bytes;
    loop {
        match step(rest) {
            Step::Frame(payload, consumed) => {
                outcome.frames.push(payload);
                rest = &rest[consumed..];
            }
            Step::Fill(consumed) => rest = &rest[consumed..],
            Step::TooLong(buffered, _) if !skips => {
                outcome.end = End::Broken(FrameTooLong { limit, buffered }.into());
                return outcome;
            }
            Step::TooLong(_, whole) => {
                outcome.skipped += 1;
                match whole {
                    Some(whole) => rest = &rest[whole..],
                    None => {
                        outcome.end = End::Truncated(None);
                        return outcome;
                    }
                }
            }
            Step::End(end) => {
                outcome.end = end;
                return outcome;
            }
        }
    }
}

/// The earliest delimiter ends the frame, of several at one place the longest.
pub(super) fn delimited(rest: &[u8], delimiters: &[Vec<u8>], limit: usize, keep: bool, last_needs: bool) -> Step {
    let longest_at = |at: usize| delimiters.iter().filter(|d| rest[at..].starts_with(d)).map(Vec::len).max();
    if let Some((at, len)) = (0..rest.len()).find_map(|at| Some((at, longest_at(at)?))) {
        if at > limit {
            return Step::TooLong(0, Some(at + len));
        }
        return Step::Frame(rest[..if keep { at + len } else { at }].to_vec(), at + len);
    }
    // No delimiter. Too long, unless the last bytes may be the beginning of one that stands in time.
    let may_begin = |at: usize| delimiters.iter().any(|d| at < rest.len() && d.starts_with(&rest[at..]));
    let ends_here = (!last_needs).then_some(rest.len());
    if rest.is_empty() {
        Step::End(End::Clean)
    } else if rest.len() > limit && (!last_needs || !(0..=limit).any(may_begin)) {
        Step::TooLong(0, ends_here)
    } else if last_needs {
        Step::End(End::Truncated(None))
    } else {
        Step::Frame(rest.to_vec(), rest.len())
    }
}

/// A frame whose whole length is known once `header` bytes are there.
pub(super) fn announced(rest: &[u8], header: usize, body: u128, limited: u128, limit: usize, start: usize) -> Step {
    let whole = body + header as u128;
    if limited > limit as u128 {
        let buffered = u64::try_from(limited).unwrap_or(u64::MAX);
        return Step::TooLong(buffered, usize::try_from(whole).ok().filter(|whole| *whole <= rest.len()));
    }
    let end = whole as usize;
    if rest.len() < end {
        return Step::End(End::Truncated(Some((end - rest.len()) as u64)));
    }
    Step::Frame(rest[start..end].to_vec(), end)
}

/// What an incomplete header is.
pub(super) fn header_cut(rest: &[u8]) -> Step {
    Step::End(if rest.is_empty() { End::Clean } else { End::Truncated(None) })
}

/// A base-128 length.
pub(super) fn varint(rest: &[u8], limit: usize) -> Step {
    let mut value = 0_u128;
    for (i, byte) in rest.iter().enumerate() {
        value |= u128::from(byte & 0x7F) << (7 * i);
        let ends = byte & 0x80 == 0;
        if value > u128::from(u64::MAX) || (i == 9 && !ends) {
            return Step::End(End::Broken(FrameError::BadVarint));
        }
        if ends {
            return announced(rest, i + 1, value, value, limit, i + 1);
        }
    }
    header_cut(rest)
}

/// Marks as a table tells them.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    pub(super) begin: Option<u8>,
    pub(super) end: u8,
    pub(super) escape: u8,
    pub(super) abortable: bool,
    /// What an escape and this byte stand for.
    pub(super) resolve: Resolve,
}

#[derive(Clone, Debug)]
pub(super) enum Resolve {
    Xor(u8),
    Table(Vec<(u8, u8)>),
}

impl Marks {
    fn resolve(&self, byte: u8) -> Option<u8> {
        match &self.resolve {
            Resolve::Xor(_) if byte == self.end || Some(byte) == self.begin => None,
            Resolve::Xor(mask) => Some(byte ^ mask),
            Resolve::Table(table) => table.iter().find(|(_, s)| *s == byte).map(|(b, _)| *b),
        }
    }

    /// One frame, byte by byte. `open` tells that the mark in front of the first frame was seen.
    pub(super) fn step(&self, rest: &[u8], open: &mut bool, limit: usize) -> Step {
        let Some(&first) = rest.first() else { return Step::End(End::Clean) };
        let own_begin = self.begin.filter(|begin| *begin != self.end);
        let broken = |error| Step::End(End::Broken(error));
        let mut at = match own_begin {
            Some(begin) if first == begin => 1,
            Some(expected) => return broken(FrameError::MissingBegin { expected, found: first }),
            None if first == self.end => {
                *open = true;
                return Step::Fill(1);
            }
            None if *open || self.begin.is_none() => 0,
            None => return broken(FrameError::MissingBegin { expected: self.end, found: first }),
        };
        let mut payload = Vec::new();
        while let Some(&byte) = rest.get(at) {
            if byte == self.end {
                return Step::Frame(payload, at + 1);
            }
            if Some(byte) == own_begin {
                return broken(FrameError::StrayBegin { found: byte });
            }
            if byte == self.escape {
                let Some(&found) = rest.get(at + 1) else { break };
                if self.abortable && found == self.end {
                    return Step::Fill(at + 2);
                }
                let Some(byte) = self.resolve(found) else { return broken(FrameError::BadEscape { found }) };
                payload.push(byte);
                at += 2;
            } else {
                payload.push(byte);
                at += 1;
            }
            if payload.len() > limit {
                let whole = rest.iter().position(|byte| *byte == self.end).map(|end| end + 1);
                return Step::TooLong(limit as u64 + 1, whole);
            }
        }
        Step::End(End::Truncated(None))
    }
}
