//! Reading events: the client's side of the stream.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use thiserror::Error;

use super::LONGEST_ID;

/// An event as the client's application sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` if the server gave none.
    pub name: String,
    /// Its data, the lines joined by LF.
    pub data: String,
    /// The last id seen up to this event, also of an earlier one; empty if there was none.
    pub last_event_id: String,
}

/// An event, a line or an id is longer than allowed. The stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an event of the stream is longer than {limit} bytes")]
pub struct TooLong {
    /// The bound, in bytes.
    pub limit: usize,
}

/// Parses a stream that comes in any pieces (WHATWG HTML, section 9.2.6).
///
/// ```
/// use duologue_http1::sse::Parser;
///
/// let mut parser = Parser::new(64 * 1024);
/// let mut events = Vec::new();
/// parser.feed(b"id: 1\ndata: he", |event| events.push(event))?;
/// parser.feed(b"llo\n\n", |event| events.push(event))?;
/// assert_eq!(events[0].data, "hello");
/// assert_eq!(parser.last_event_id(), "1");
/// # Ok::<(), duologue_http1::sse::TooLong>(())
/// ```
#[derive(Clone, Debug)]
pub struct Parser {
    limit: usize,
    /// The beginning of a line that is not whole yet.
    line: Vec<u8>,
    /// The last byte was a CR: an LF belongs to it.
    after_cr: bool,
    /// Bytes of the mark at the start that were seen; 3 when that is behind us.
    mark: usize,
    data: String,
    has_data: bool,
    name: String,
    /// The id of the event being read, and that of the last one that is complete.
    id: String,
    last_event_id: String,
    retry: Option<Duration>,
}

const MARK: &[u8] = b"\xef\xbb\xbf";

impl Parser {
    /// A parser at the start of the first stream. A line, and the data of an event, may have at most `limit` bytes, an id
    /// at most [`LONGEST_ID`].
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_cr: false,
            mark: 0,
            data: String::new(),
            has_data: false,
            name: String::new(),
            id: String::new(),
            last_event_id: String::new(),
            retry: None,
        }
    }

    /// Begins after the event with this id, seen in an earlier life.
    #[must_use]
    pub fn after(mut self, id: &str) -> Self {
        self.id = String::from(id);
        self.last_event_id = String::from(id);
        self
    }

    /// The parser for the next stream, after the connection was lost: an event that was not complete is forgotten, the
    /// last id and the retry time stay.
    #[must_use]
    pub fn resume(self) -> Self {
        let Self { limit, last_event_id, retry, .. } = self;
        Self { id: last_event_id.clone(), last_event_id, retry, ..Self::new(limit) }
    }

    /// The id to ask again with, in the field `Last-Event-ID`; empty if there is none, then the field is left out.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How long the server wants us to wait before we connect again, if it said so.
    #[must_use]
    pub const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Reads a piece of the stream and calls `each` with every event that it completes.
    ///
    /// # Errors
    /// An event is longer than the limit; the events before it were told.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Event)) -> Result<(), TooLong> {
        bytes = self.skip_mark(bytes)?;
        while let Some(first) = bytes.first() {
            if mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) else {
                return self.keep(bytes);
            };
            let (part, rest) = bytes.split_at(end);
            self.after_cr = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.line(part, &mut each)?;
            } else {
                self.keep(part)?;
                let line = mem::take(&mut self.line);
                self.line(&line, &mut each)?;
                // The allocation is kept for the next line that is cut.
                self.line = line;
                self.line.clear();
            }
        }
        Ok(())
    }

    /// A byte order mark may stand at the very start, and is no part of the text.
    fn skip_mark<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], TooLong> {
        while self.mark < MARK.len() {
            match bytes.split_first() {
                None => break,
                Some((byte, rest)) if MARK.get(self.mark) == Some(byte) => {
                    self.mark += 1;
                    bytes = rest;
                }
                Some(_) => {
                    // What looked like a mark was none.
                    let seen = mem::replace(&mut self.mark, MARK.len());
                    self.keep(MARK.get(..seen).unwrap_or_default())?;
                }
            }
        }
        Ok(bytes)
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + part.len() > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn line(&mut self, line: &[u8], each: &mut impl FnMut(Event)) -> Result<(), TooLong> {
        if line.is_empty() {
            self.dispatch(each);
            return Ok(());
        }
        if line.len() > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        let (name, value) = match memchr::memchr(b':', line) {
            // A comment.
            Some(0) => return Ok(()),
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match name {
            b"data" => {
                if self.data.len() + value.len() + 1 > self.limit {
                    return Err(TooLong { limit: self.limit });
                }
                if mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(&String::from_utf8_lossy(value));
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if value.len() > LONGEST_ID => return Err(TooLong { limit: LONGEST_ID }),
            b"id" if !value.contains(&0) => self.id = String::from_utf8_lossy(value).into_owned(),
            b"retry" => self.note_retry(value),
            _ => {}
        }
        Ok(())
    }

    /// Digits only, milliseconds; anything else is no field.
    fn note_retry(&mut self, value: &[u8]) {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if digits {
            let millis = value.iter().fold(0u64, |sum, b| sum.saturating_mul(10).saturating_add(u64::from(b - b'0')));
            self.retry = Some(Duration::from_millis(millis));
        }
    }

    /// The empty line: the event is complete. One without a data field only moves the id on.
    fn dispatch(&mut self, each: &mut impl FnMut(Event)) {
        self.last_event_id.clone_from(&self.id);
        let name = mem::take(&mut self.name);
        let data = mem::take(&mut self.data);
        // The standard compares a buffer to which each field appended a line feed with the empty string: one empty data
        // line is an event with empty data, none is no event.
        if mem::take(&mut self.has_data) {
            let name = if name.is_empty() { String::from("message") } else { name };
            each(Event { name, data, last_event_id: self.last_event_id.clone() });
        }
    }
}
