//! Decoding content, however it is framed.

use bytes::Bytes;
use duologue_core::RecvBuf;
use http::HeaderMap;

use crate::error::Violation;
use crate::limits::Limits;
use crate::message::Incoming;

use super::chunked::{Chunked, size_line};
use super::head::parse_trailers;
use super::scan::{Bounds, Scan};

/// Content of fewer bytes is copied out of the receive buffer: a shared slice keeps the whole read alive.
const COPIED: usize = 256;
/// The most content in one piece. A receive buffer may hold more; who sends it on needs room for it at once.
const LONGEST_PIECE: usize = 64 << 10;

/// The content of one message while it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyDecoder {
    framing: Framing,
    /// Content bytes so far.
    received: u64,
    extensions: usize,
    trailers: Scan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Sized { left: u64 },
    Chunked(Chunked),
    UntilClose,
}

/// What a step of decoding found.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Further bytes are needed; `hint` of them would complete it, or 0 if that is unknown.
    NeedMore { hint: usize },
    /// Bytes were consumed that are no content.
    Progress,
    /// Content.
    Data(Bytes),
    /// The end, perhaps with trailers.
    End(Option<HeaderMap>),
}

/// Content that is announced to be too long is refused before any of it comes.
pub(crate) fn check_length(incoming: Incoming, limits: &Limits) -> Result<(), Violation> {
    match (incoming, limits.body) {
        (Incoming::Sized(length), Some(limit)) if length > limit => Err(Violation::BodyTooLong { limit }),
        _ => Ok(()),
    }
}

impl BodyDecoder {
    /// For content framed like this; `None` if there is none.
    pub(crate) fn new(incoming: Incoming) -> Option<Self> {
        let framing = match incoming {
            Incoming::Empty => return None,
            Incoming::Sized(left) => Framing::Sized { left },
            Incoming::Chunked => Framing::Chunked(Chunked::Size { seen: 0 }),
            Incoming::UntilClose => Framing::UntilClose,
        };
        Some(Self { framing, received: 0, extensions: 0, trailers: Scan::default() })
    }

    /// Content bytes so far.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Content bytes that are still to come, where that is known.
    pub(crate) const fn left(&self) -> Option<u64> {
        match self.framing {
            Framing::Sized { left } => Some(left),
            _ => None,
        }
    }

    /// The end of the connection ends the content.
    pub(crate) const fn ends_with_the_connection(&self) -> bool {
        matches!(self.framing, Framing::UntilClose)
    }

    /// One step. What is wrong is left in the buffer.
    #[inline]
    pub(crate) fn decode(&mut self, rx: &mut RecvBuf, limits: &Limits) -> Result<Piece, Violation> {
        match &mut self.framing {
            Framing::Sized { left: 0 } => Ok(Piece::End(None)),
            _ if rx.is_empty() => Ok(Piece::NeedMore { hint: 0 }),
            Framing::Sized { left } => {
                let n = upto(*left, rx.len());
                *left -= n as u64;
                self.received += n as u64;
                Ok(Piece::Data(take(rx, n)))
            }
            Framing::UntilClose => {
                let n = rx.len().min(LONGEST_PIECE);
                self.check(n as u64, limits)?;
                self.received += n as u64;
                Ok(Piece::Data(take(rx, n)))
            }
            Framing::Chunked(state) => {
                let state = *state;
                self.decode_chunked(state, rx, limits)
            }
        }
    }

    fn decode_chunked(&mut self, state: Chunked, rx: &mut RecvBuf, limits: &Limits) -> Result<Piece, Violation> {
        match state {
            Chunked::Size { mut seen } => match size_line(rx, &mut seen, limits)? {
                None => {
                    self.framing = Framing::Chunked(Chunked::Size { seen });
                    Ok(Piece::NeedMore { hint: 0 })
                }
                Some(found) => {
                    self.extensions += found.extensions;
                    if self.extensions > limits.chunk_extensions {
                        return Err(Violation::ChunkExtensions { limit: limits.chunk_extensions });
                    }
                    self.check(found.size, limits)?;
                    let next = if found.size == 0 { Chunked::Trailers } else { Chunked::Data { left: found.size } };
                    self.framing = Framing::Chunked(next);
                    rx.advance(found.line);
                    Ok(Piece::Progress)
                }
            },
            Chunked::Data { left } => {
                let n = upto(left, rx.len());
                let left = left - n as u64;
                // Only what is here counts: a size that is announced prolongs nothing.
                self.received = self.received.saturating_add(n as u64);
                self.framing = Framing::Chunked(if left == 0 { Chunked::DataEnd } else { Chunked::Data { left } });
                Ok(Piece::Data(take(rx, n)))
            }
            Chunked::DataEnd => match (rx.first(), rx.get(1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    rx.advance(2);
                    self.framing = Framing::Chunked(Chunked::Size { seen: 0 });
                    Ok(Piece::Progress)
                }
                (Some(b'\r'), None) => Ok(Piece::NeedMore { hint: 1 }),
                _ => Err(Violation::Chunk),
            },
            Chunked::Trailers => self.decode_trailers(rx, limits),
        }
    }

    fn decode_trailers(&mut self, rx: &mut RecvBuf, limits: &Limits) -> Result<Piece, Violation> {
        let too_long = Violation::TrailersTooLong { limit: limits.trailers };
        let bounds = Bounds { bytes: limits.trailers, lines: limits.fields, too_long, too_many: too_long };
        match self.trailers.find(rx, &bounds)? {
            None => Ok(Piece::NeedMore { hint: 0 }),
            Some(2) => {
                rx.advance(2);
                Ok(Piece::End(None))
            }
            Some(n) => {
                // Copied, so that what is wrong stays in the buffer; and trailers are rare and small.
                let section = Bytes::copy_from_slice(rx.get(..n).unwrap_or_default());
                let trailers = parse_trailers(&section, limits)?;
                rx.advance(n);
                Ok(Piece::End(Some(trailers)))
            }
        }
    }

    /// Whether `n` further bytes of content are allowed.
    fn check(&self, n: u64, limits: &Limits) -> Result<(), Violation> {
        match limits.body {
            Some(limit) if self.received.saturating_add(n) > limit => Err(Violation::BodyTooLong { limit }),
            _ => Ok(()),
        }
    }
}

fn upto(left: u64, there: usize) -> usize {
    let most = there.min(LONGEST_PIECE);
    usize::try_from(left).map_or(most, |left| left.min(most))
}

#[inline]
fn take(rx: &mut RecvBuf, n: usize) -> Bytes {
    if n < COPIED { rx.copy(n) } else { rx.take(n) }
}
