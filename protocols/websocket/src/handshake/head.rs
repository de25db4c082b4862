//! HTTP heads: found without looking at a byte twice, parsed once.

use alloc::vec::Vec;

use httparse::Status;

use super::HandshakeError;
use crate::settings::Limits;

/// Looks for the end of a head as its bytes arrive. A head that comes byte by byte costs no more than one that comes
/// whole (tungstenite's RUSTSEC-2023-0065 was a parser that began anew with every byte).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    seen: usize,
}

impl Scan {
    /// A byte of the head came.
    pub(crate) const fn has_begun(&self) -> bool {
        self.seen > 0
    }

    /// The length of the head that `bytes` starts with, its empty line included.
    pub(crate) fn find(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, HandshakeError> {
        let from = self.seen.saturating_sub(3);
        let window = bytes.get(from..).unwrap_or_default();
        let end = window.windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4);
        self.seen = bytes.len();
        match end {
            Some(end) if end <= limits.max_head => Ok(Some(end)),
            None if bytes.len() < limits.max_head => Ok(None),
            _ => Err(HandshakeError::HeadTooLong { limit: limits.max_head }),
        }
    }
}

/// The head of a request, from our own parser or from somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead<'a> {
    method: &'a str,
    target: &'a str,
    /// 1 for HTTP/1.1.
    minor: u8,
    fields: Vec<(&'a str, &'a [u8])>,
}

impl<'a> RequestHead<'a> {
    /// A head that was parsed elsewhere: the method, the path with the query, the minor version of HTTP/1 and the header
    /// fields in order, repeated ones repeated.
    #[must_use]
    pub fn new(
        method: &'a str,
        target: &'a str,
        minor_version: u8,
        fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        Self { method, target, minor: minor_version, fields: fields.into_iter().collect() }
    }

    /// The path and query.
    #[must_use]
    pub const fn target(&self) -> &'a str {
        self.target
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &'a str {
        self.method
    }

    /// The header fields in order.
    #[must_use]
    pub fn fields(&self) -> &[(&'a str, &'a [u8])] {
        &self.fields
    }

    /// The first header field of this name, whatever its case, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.all(name).next().and_then(|value| core::str::from_utf8(value).ok())
    }

    /// Where the page comes from that opened the connection. Only browsers tell, and they tell the truth: checking it is
    /// what keeps other sites' pages from using a visitor's cookies (RFC 6455 section 10.2).
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        self.header("Origin")
    }

    /// The subprotocols that the client offers, in its order.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        tokens(&self.fields, "Sec-WebSocket-Protocol")
    }

    pub(crate) const fn minor(&self) -> u8 {
        self.minor
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        all(&self.fields, name)
    }

    /// The only field of this name.
    pub(crate) fn one(&self, name: &'static str) -> Result<&'a [u8], HandshakeError> {
        one(&self.fields, name)
    }

    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        tokens(&self.fields, name).any(|found| found.eq_ignore_ascii_case(token))
    }
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead<'a> {
    pub(crate) status: u16,
    /// 1 for HTTP/1.1.
    pub(crate) minor: u8,
    pub(crate) fields: Vec<(&'a str, &'a [u8])>,
}

/// All values of the fields of one name.
pub(crate) fn all<'a>(fields: &[(&'a str, &'a [u8])], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// The value of the only field of one name.
pub(crate) fn one<'a>(fields: &[(&'a str, &'a [u8])], name: &'static str) -> Result<&'a [u8], HandshakeError> {
    let mut found = all(fields, name);
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(value.trim_ascii()),
        (None, _) => Err(HandshakeError::Header { name, problem: "missing" }),
        (Some(_), Some(_)) => Err(HandshakeError::Header { name, problem: "stands more than once" }),
    }
}

/// The members of a comma-separated list, over all fields of one name.
pub(crate) fn tokens<'a>(fields: &[(&'a str, &'a [u8])], name: &str) -> impl Iterator<Item = &'a str> {
    let texts = all(fields, name).filter_map(|value| core::str::from_utf8(value).ok());
    texts.flat_map(|text| text.split(',').map(str::trim).filter(|token| !token.is_empty()))
}

/// Parses the whole head of a request.
pub(crate) fn parse_request<'a>(head: &'a [u8], limits: &Limits) -> Result<RequestHead<'a>, HandshakeError> {
    let mut storage = alloc::vec![httparse::EMPTY_HEADER; limits.max_headers];
    let mut request = httparse::Request::new(&mut storage);
    complete(request.parse(head), head, limits)?;
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(HandshakeError::NotHttp { why: "incomplete" });
    };
    let fields = request.headers.iter().map(|field| (field.name, field.value)).collect();
    Ok(RequestHead { method, target, minor, fields })
}

/// Parses the whole head of a response.
pub(crate) fn parse_response<'a>(head: &'a [u8], limits: &Limits) -> Result<ResponseHead<'a>, HandshakeError> {
    let mut storage = alloc::vec![httparse::EMPTY_HEADER; limits.max_headers];
    let mut response = httparse::Response::new(&mut storage);
    complete(response.parse(head), head, limits)?;
    let (Some(status), Some(minor)) = (response.code, response.version) else {
        return Err(HandshakeError::NotHttp { why: "incomplete" });
    };
    let fields = response.headers.iter().map(|field| (field.name, field.value)).collect();
    Ok(ResponseHead { status, minor, fields })
}

/// The parser ends a line at a bare LF too, and so a head before its end: what a proxy took for a field would be gone, or
/// frames.
fn complete(
    parsed: Result<Status<usize>, httparse::Error>,
    head: &[u8],
    limits: &Limits,
) -> Result<(), HandshakeError> {
    let bare_end = || head.starts_with(b"\n") || head.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r');
    match parsed {
        Ok(Status::Complete(len)) if len == head.len() && !bare_end() => Ok(()),
        Ok(Status::Complete(_)) => Err(HandshakeError::NotHttp { why: "bad line end" }),
        Ok(Status::Partial) => Err(HandshakeError::NotHttp { why: "incomplete" }),
        Err(httparse::Error::TooManyHeaders) => Err(HandshakeError::TooManyHeaders { limit: limits.max_headers }),
        Err(error) => Err(HandshakeError::NotHttp { why: explain(error) }),
    }
}

const fn explain(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "bad header name",
        httparse::Error::HeaderValue => "bad header value",
        httparse::Error::NewLine => "bad line end",
        httparse::Error::Status => "bad status",
        httparse::Error::Token => "bad token",
        httparse::Error::TooManyHeaders => "too many headers",
        httparse::Error::Version => "bad HTTP version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_the_head_is_cut_and_the_limit_is_exact() {
        let limits = Limits::new().max_head(20);
        let head = b"GET / HTTP/1.1\r\n\r\nxx";
        let mut scan = Scan::default();
        let found = (0..=head.len()).map(|n| scan.find(&head[..n], &limits)).find(|found| *found != Ok(None));
        assert_eq!(found, Some(Ok(Some(18))));
        assert_eq!(Scan::default().find(&head[..18], &limits.max_head(18)), Ok(Some(18)));
        let too_long = Err(HandshakeError::HeadTooLong { limit: 17 });
        assert_eq!(Scan::default().find(&head[..18], &limits.max_head(17)), too_long);
        assert_eq!(Scan::default().find(&head[..17], &limits.max_head(17)), too_long);
    }
}
