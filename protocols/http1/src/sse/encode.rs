//! Writing events.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use duologue_core::Instant;
use thiserror::Error;

use crate::wire::decimal_digits;

/// An event that cannot be written: it would be read as something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// A line end in a name would begin another field.
    #[error("an event's name holds a line end")]
    Name,
    /// A line end would begin another field, and clients ignore an id with NUL.
    #[error("an event's id holds a line end or NUL")]
    Id,
}

/// One event to be written.
///
/// ```
/// use duologue_http1::sse::EventBuilder;
///
/// let event = EventBuilder::new("two\nlines").name("news").id("7").encode()?;
/// assert_eq!(event, "event: news\nid: 7\ndata: two\ndata: lines\n\n");
/// # Ok::<(), duologue_http1::sse::InvalidEvent>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EventBuilder<'a> {
    data: &'a str,
    name: Option<&'a str>,
    id: Option<&'a str>,
    retry: Option<Duration>,
}

impl<'a> EventBuilder<'a> {
    /// An event with this data, of any number of lines.
    #[must_use]
    pub const fn new(data: &'a str) -> Self {
        Self { data, name: None, id: None, retry: None }
    }

    /// Names the event; clients take one without a name for `message`.
    #[must_use]
    pub const fn name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the id that a client asks again with. Empty: it forgets the last one.
    #[must_use]
    pub const fn id(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }

    /// Tells the client how long to wait before it connects again, in whole milliseconds.
    #[must_use]
    pub const fn retry(mut self, wait: Duration) -> Self {
        self.retry = Some(wait);
        self
    }

    /// The event as it goes on the wire.
    ///
    /// # Errors
    /// Name or id hold what would be read as something else.
    pub fn encode(&self) -> Result<Bytes, InvalidEvent> {
        let has_line_end = |text: &str| text.contains(['\r', '\n']);
        if self.name.is_some_and(has_line_end) {
            return Err(InvalidEvent::Name);
        }
        if self.id.is_some_and(|id| has_line_end(id) || id.contains('\0')) {
            return Err(InvalidEvent::Id);
        }
        let mut out = Vec::with_capacity(self.data.len() + 64);
        if let Some(name) = self.name {
            put(&mut out, b"event: ", name.as_bytes());
        }
        if let Some(id) = self.id {
            put(&mut out, b"id: ", id.as_bytes());
        }
        if let Some(wait) = self.retry {
            put_retry(&mut out, wait);
        }
        lines(self.data, |line| put(&mut out, b"data: ", line.as_bytes()));
        out.push(b'\n');
        Ok(out.into())
    }
}

/// Tells the client how long to wait before it connects again, in whole milliseconds.
#[must_use]
pub fn retry(wait: Duration) -> Bytes {
    let mut out = Vec::new();
    put_retry(&mut out, wait);
    out.push(b'\n');
    out.into()
}

/// A comment, which clients ignore, of any number of lines.
#[must_use]
pub fn comment(text: &str) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 4);
    lines(text, |line| put(&mut out, b": ", line.as_bytes()));
    out.push(b'\n');
    out.into()
}

/// The shortest comment: what keeps a quiet stream from being taken for dead, on the way and at the client.
#[must_use]
pub fn heartbeat() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// When a heartbeat is due: so long after the last thing that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    every: Duration,
    last: Instant,
}

impl Heartbeat {
    /// Every so often, from now on. 15 s is what the standard advises.
    #[must_use]
    pub const fn new(every: Duration, now: Instant) -> Self {
        Self { every, last: now }
    }

    /// Something was sent, an event or a heartbeat.
    pub fn sent(&mut self, now: Instant) {
        self.last = self.last.max(now);
    }

    /// When the next one is due, if nothing is sent before.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.last.after(self.every)
    }
}

fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn put_retry(out: &mut Vec<u8>, wait: Duration) {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    put(out, b"retry: ", &decimal_digits(millis));
}

/// Calls `each` with every line; CR LF, LF and CR end one. Text without a line end is one line, also if it is empty.
fn lines(text: &str, mut each: impl FnMut(&str)) {
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        let (line, end) = rest.split_at(at);
        each(line);
        rest = end.strip_prefix("\r\n").or_else(|| end.get(1..)).unwrap_or_default();
    }
    each(rest);
}
