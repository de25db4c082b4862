//! Writing heads and content straight into the send queue: measured first, then written, from the same code.

use bytes::Bytes;
use duologue_core::{Payload, Refusal, SendQueue};
use http::{HeaderMap, header};

use super::fields::names;

/// Where bytes of a head go.
pub(crate) trait Out {
    fn put(&mut self, bytes: &[u8]);

    /// One field line.
    #[inline]
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.put(name);
        self.put(b": ");
        self.put(value);
        self.put(b"\r\n");
    }
}

/// Counts what would be written.
#[derive(Debug, Default)]
pub(crate) struct Count(pub(crate) usize);

impl Out for Count {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Room for what was counted before, filled from its start.
#[derive(Debug)]
pub(crate) struct Place<'a>(pub(crate) &'a mut [u8]);

impl Place<'_> {
    #[inline(always)]
    fn take(&mut self, len: usize) -> &mut [u8] {
        match core::mem::take(&mut self.0).split_at_mut_checked(len) {
            Some((place, rest)) => {
                self.0 = rest;
                place
            }
            None => &mut [],
        }
    }
}

impl Out for Place<'_> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        let place = self.take(bytes.len());
        if place.len() == bytes.len() {
            place.copy_from_slice(bytes);
        }
    }

    #[inline(always)]
    fn field(&mut self, name: &[u8], value: &[u8]) {
        let place = self.take(name.len() + value.len() + FIELD_MARKS);
        if let Some((place, rest)) = place.split_at_mut_checked(name.len()) {
            if let Some(([colon, space, value_place @ ..], [cr, lf])) = rest.split_last_chunk_mut::<2>() {
                place.copy_from_slice(name);
                (*colon, *space, *cr, *lf) = (b':', b' ', b'\r', b'\n');
                if value_place.len() == value.len() {
                    value_place.copy_from_slice(value);
                }
            }
        }
    }
}

/// Bytes of a field line beside its name and its value.
const FIELD_MARKS: usize = 4;

/// One field line.
#[inline]
pub(crate) fn field(out: &mut impl Out, name: &str, value: &[u8]) {
    out.field(name.as_bytes(), value);
}

/// What the fields of a message to be sent say, gathered in one pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Survey {
    /// One of them frames the message: those are this crate's.
    pub(crate) frames: bool,
    /// Connection names close.
    pub(crate) closes: bool,
    /// Bytes of their lines.
    pub(crate) len: usize,
}

impl Survey {
    #[inline]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut survey = Self::default();
        for (name, value) in headers {
            survey.len += name.as_str().len() + value.len() + FIELD_MARKS;
            if *name == header::CONNECTION {
                survey.closes |= names(value, "close");
            } else {
                survey.frames |= *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING;
            }
        }
        survey
    }
}

/// All field lines of a map.
#[inline(always)]
pub(crate) fn fields(out: &mut impl Out, headers: &HeaderMap) {
    for (name, value) in headers {
        field(out, name.as_str(), value.as_bytes());
    }
}

/// Whether the map has a field that frames the message: those are this crate's.
pub(crate) fn is_framing(headers: &HeaderMap) -> bool {
    !headers.is_empty()
        && (headers.contains_key(http::header::CONTENT_LENGTH) || headers.contains_key(http::header::TRANSFER_ENCODING))
}

/// Digits of a number without an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    /// Of no number.
    pub(crate) const NONE: Self = Self { bytes: [b'0'; 20], start: 20 };

    #[inline]
    pub(crate) fn decimal(number: u64) -> Self {
        Self::of(number, 10)
    }

    fn hexadecimal(number: u64) -> Self {
        Self::of(number, 16)
    }

    #[inline(always)]
    fn of(mut number: u64, base: u64) -> Self {
        let mut digits = Self::NONE;
        for place in digits.bytes.iter_mut().rev() {
            let digit = (number % base) as u8;
            *place = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            digits.start -= 1;
            number /= base;
            if number == 0 {
                break;
            }
        }
        digits
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// The content of a message while it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEncoder {
    /// So many bytes must still come.
    Sized {
        left: u64,
    },
    Chunked,
    /// Up to the end of the connection.
    UntilClose,
    /// The head was for a message without content (HEAD, 304): what comes is not written.
    Unwritten,
}

/// Writes a piece of content.
pub(crate) fn put_data(tx: &mut SendQueue, body: &mut BodyEncoder, data: Payload<'_>) -> Result<(), Refusal> {
    let len = data.len();
    // An empty chunk would be the end.
    if len == 0 {
        return Ok(());
    }
    match body {
        BodyEncoder::Unwritten => {}
        BodyEncoder::Sized { left } => {
            let rest = left.checked_sub(len as u64);
            let rest = rest.ok_or(Refusal::Invalid("more content than the head announced"))?;
            data.put(&mut tx.message(len)?);
            *left = rest;
        }
        BodyEncoder::UntilClose => data.put(&mut tx.message(len)?),
        BodyEncoder::Chunked => {
            let size = Digits::hexadecimal(len as u64);
            let size = size.as_slice();
            let mut out = tx.message(size.len() + 2 + len + 2)?;
            out.put_slice(size);
            out.put_slice(b"\r\n");
            data.put(&mut out);
            out.put_slice(b"\r\n");
        }
    }
    Ok(())
}

/// Writes the end of the content.
pub(crate) fn put_end(tx: &mut SendQueue, body: BodyEncoder, trailers: Option<&HeaderMap>) -> Result<(), Refusal> {
    let has_trailers = trailers.is_some_and(|trailers| !trailers.is_empty());
    match body {
        BodyEncoder::Sized { left: 1.. } => return Err(Refusal::Invalid("less content than the head announced")),
        BodyEncoder::Sized { .. } if has_trailers => {
            return Err(Refusal::Invalid("trailers go only with Body::Stream"));
        }
        BodyEncoder::Chunked => {}
        _ => return Ok(()),
    }
    let Some(trailers) = trailers.filter(|_| has_trailers) else {
        tx.message(5)?.put_slice(b"0\r\n\r\n");
        return Ok(());
    };
    if trailers.keys().any(|name| super::fields::is_forbidden_in_trailers(name.as_str())) {
        return Err(Refusal::Invalid("a field that may not be in a trailer section"));
    }
    let mut count = Count(5);
    fields(&mut count, trailers);
    tx.message(count.0)?.put_with(count.0, |place| {
        let mut place = Place(place);
        place.put(b"0\r\n");
        fields(&mut place, trailers);
        place.put(b"\r\n");
    });
    Ok(())
}

/// The payload of an owned piece, shared and not copied.
pub(crate) fn owned(data: &Bytes) -> Payload<'static> {
    Payload::Owned(data.clone())
}
