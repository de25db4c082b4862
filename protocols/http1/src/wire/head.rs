//! Parsing heads. `httparse` does the grammar; what it lets pass for the sake of old peers is refused here.

use core::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use bytes::Bytes;

use crate::error::Violation;
use crate::limits::{Limits, MOST_FIELDS};

use super::fields::{Facts, is_forbidden_in_trailers, is_token};

/// The longest method that is looked at.
pub(crate) const LONGEST_METHOD: usize = 32;

/// The longest field name that the `http` crate takes.
const LONGEST_NAME: usize = u16::MAX as usize;

/// Heads up to this size are copied out of the receive buffer, which is then free for the next read.
pub(super) const COPIED: usize = 4096;

/// A request head, parsed and judged. Its fields stay where they are.
#[derive(Debug)]
pub(crate) struct RawRequest {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) http10: bool,
    pub(crate) facts: Facts,
}

/// A response head, parsed and judged.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: StatusCode,
    pub(crate) http10: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) facts: Facts,
}

/// Parses a whole request head.
pub(crate) fn parse_request(head: &[u8], limits: &Limits) -> Result<RawRequest, Violation> {
    let mut array = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut array) {
        Ok(httparse::Status::Complete(n)) if n == head.len() => {}
        Ok(_) => return Err(Violation::StartLine),
        Err(error) => return Err(start_or_field(error, head)),
    }
    judge_request(&request, head, limits)
}

/// Parses the request head that `bytes` begin with and tells its length, if it is whole, small and in order: so are almost
/// all, and the parser finds their end by itself. `None` says nothing: [`Scan`](super::Scan) and [`parse_request`] tell
/// what is missing or wrong, the same however the bytes were cut.
#[inline(always)]
pub(crate) fn parse_at_once(bytes: &[u8], limits: &Limits) -> Option<(usize, RawRequest)> {
    // The parser would skip any number of empty lines.
    if matches!(bytes.first(), None | Some(b'\r' | b'\n')) {
        return None;
    }
    let mut array = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(len)) = request.parse_with_uninit_headers(bytes, &mut array) else { return None };
    let head = bytes.get(..len).filter(|_| len <= COPIED && len <= limits.head)?;
    if !ends_lines_with_both(&request, head) {
        return None;
    }
    match judge_request(&request, head, limits) {
        Ok(raw) => Some((len, raw)),
        Err(_) => None,
    }
}

/// The parser takes an LF only at the end of a line, where it may be bare. A name stands at the start of its line, so what is
/// in front of it is the end of the line before.
#[inline]
fn ends_lines_with_both(request: &httparse::Request<'_, '_>, head: &[u8]) -> bool {
    let start = head.as_ptr().addr();
    let ends = |end: usize| end.checked_sub(2).and_then(|at| head.get(at)) == Some(&b'\r');
    head.ends_with(b"\r\n\r\n") && request.headers.iter().all(|f| ends(f.name.as_ptr().addr().wrapping_sub(start)))
}

/// Judges a request that was parsed from the bytes of `head`.
#[inline(always)]
fn judge_request(request: &httparse::Request<'_, '_>, head: &[u8], limits: &Limits) -> Result<RawRequest, Violation> {
    let (Some(method_name), Some(path), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Violation::StartLine);
    };
    // One space is between them, and nothing before.
    if path.as_ptr().addr().wrapping_sub(head.as_ptr().addr()) != method_name.len() + 1 {
        return Err(Violation::StartLine);
    }
    let method = method_of(method_name)?;
    let uri = target(path, &method, limits)?;
    let http10 = version == 0;
    let mut facts = Facts::default();
    judge(request.headers, limits, &mut facts)?;
    facts.finish(http10, true)?;
    if method == Method::CONNECT && (facts.coded || facts.length.is_some_and(|n| n > 0)) {
        return Err(Violation::UnexpectedContent);
    }
    Ok(RawRequest { method, uri, http10, facts })
}

/// Parses a whole response head.
pub(crate) fn parse_response(head: &Bytes, limits: &Limits) -> Result<RawResponse, Violation> {
    let mut array = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, &mut array) {
        Ok(httparse::Status::Complete(n)) if n == head.len() => {}
        Ok(_) => return Err(Violation::StartLine),
        Err(error) => return Err(start_or_field(error, head)),
    }
    let (Some(code), Some(version)) = (response.code, response.version) else {
        return Err(Violation::StartLine);
    };
    let status = StatusCode::from_u16(code).map_err(|_| Violation::StartLine)?;
    let http10 = version == 0;
    let mut facts = Facts::default();
    judge(response.headers, limits, &mut facts)?;
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        append(&mut headers, head, field)?;
    }
    facts.finish(http10, false)?;
    let no_content = status.is_informational() || status == StatusCode::NO_CONTENT;
    if no_content && (facts.coded || facts.length.is_some_and(|n| n > 0)) {
        return Err(Violation::UnexpectedContent);
    }
    Ok(RawResponse { status, http10, headers, facts })
}

/// Parses a whole trailer section with at least one field. What decides framing or routing may not come so late.
pub(crate) fn parse_trailers(section: &Bytes, limits: &Limits) -> Result<HeaderMap, Violation> {
    let mut array = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let (used, parsed) = match httparse::parse_headers(section, &mut array) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) => return Err(Violation::Field),
        Err(httparse::Error::TooManyHeaders) => return Err(Violation::TrailersTooLong { limit: limits.trailers }),
        Err(error) => return Err(start_or_field(error, section)),
    };
    if used != section.len() {
        return Err(Violation::Field);
    }
    if parsed.len() > limits.fields {
        return Err(Violation::TrailersTooLong { limit: limits.trailers });
    }
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for field in parsed {
        if is_forbidden_in_trailers(field.name) {
            return Err(Violation::ForbiddenTrailer);
        }
        append(&mut headers, section, field)?;
    }
    Ok(headers)
}

/// Judges what was parsed, all that the type of header fields would refuse included.
#[inline]
fn judge(parsed: &[httparse::Header<'_>], limits: &Limits, facts: &mut Facts) -> Result<(), Violation> {
    if parsed.len() > limits.fields {
        return Err(Violation::TooManyFields { limit: limits.fields });
    }
    for field in parsed {
        if field.name.len() > LONGEST_NAME {
            return Err(Violation::Field);
        }
        facts.note(field.name, field.value)?;
    }
    Ok(())
}

#[inline]
fn append(headers: &mut HeaderMap, head: &Bytes, field: &httparse::Header<'_>) -> Result<(), Violation> {
    let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Violation::Field)?;
    let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).map_err(|_| Violation::Field)?;
    headers.try_append(name, value).map_err(|_| Violation::TooManyFields { limit: MOST_FIELDS })?;
    Ok(())
}

fn method_of(method: &str) -> Result<Method, Violation> {
    if method.len() > LONGEST_METHOD {
        return Err(Violation::MethodTooLong { limit: LONGEST_METHOD });
    }
    Method::from_bytes(method.as_bytes()).map_err(|_| Violation::StartLine)
}

/// The request target in the form that its method asks for (RFC 9112, section 3.2).
#[inline]
fn target(path: &str, method: &Method, limits: &Limits) -> Result<Uri, Violation> {
    if path.len() > limits.target {
        return Err(Violation::TargetTooLong { limit: limits.target });
    }
    // The most frequent target, without a copy.
    if path == "/" && *method != Method::CONNECT {
        return Ok(Uri::default());
    }
    // A fragment is never sent, and the URI type would drop it silently.
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Violation::Target);
    }
    let uri = Uri::try_from(path).map_err(|_| Violation::Target)?;
    // A user in front of a host is none of ours, and makes one host look like another (RFC 9110, section 4.2.4).
    let names_host = || uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let fits = if *method == Method::CONNECT {
        let has_port = uri.port_u16().is_some_and(|port| port > 0);
        uri.scheme().is_none() && uri.path_and_query().is_none() && has_port && names_host()
    } else if path == "*" {
        *method == Method::OPTIONS
    } else {
        path.starts_with('/') || (uri.scheme().is_some() && names_host())
    };
    if fits { Ok(uri) } else { Err(Violation::Target) }
}

/// What a failed parse means.
#[cold]
fn start_or_field(error: httparse::Error, head: &[u8]) -> Violation {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Violation::Field,
        httparse::Error::TooManyHeaders => Violation::TooManyFields { limit: MOST_FIELDS },
        httparse::Error::NewLine => Violation::LineEnd,
        httparse::Error::Version if names_another_version(head) => Violation::Version,
        _ => Violation::StartLine,
    }
}

/// Whether a start line is whole and only its version is not ours: `HTTP/`, a digit, a point, a digit.
fn names_another_version(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let is_version = |word: &[u8]| match word.strip_prefix(b"HTTP/") {
        Some([major, b'.', minor]) => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    };
    let mut words = line.split(|b| *b == b' ');
    let (first, second, third) = (words.next(), words.next(), words.next());
    let request = third.is_some_and(is_version)
        && words.next().is_none()
        && first.is_some_and(|method| !method.is_empty() && method.iter().all(|b| is_token(*b)))
        && second.is_some_and(|target| !target.is_empty());
    request || first.is_some_and(is_version)
}

/// How a version is named in events.
pub(crate) const fn version(http10: bool) -> Version {
    if http10 { Version::HTTP_10 } else { Version::HTTP_11 }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use super::*;
    use crate::wire::scan::{Bounds, Scan};

    /// What the search for the end and the parser behind it make of `bytes`.
    fn step_by_step(bytes: &[u8], limits: &Limits) -> Option<(usize, RawRequest)> {
        let bounds = Bounds {
            bytes: limits.head,
            lines: limits.fields + 1,
            too_long: Violation::HeadTooLong { limit: limits.head },
            too_many: Violation::TooManyFields { limit: limits.fields },
        };
        let len = Scan::default().find(bytes, &bounds).ok()??;
        Some((len, parse_request(&bytes[..len], limits).ok()?))
    }

    #[test]
    fn at_once_is_as_step_by_step() {
        let limits = Limits::default();
        let fields = "a: b\r\n".repeat(limits.fields);
        let heads: Vec<Vec<u8>> = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /path?x=1 HTTP/1.1\r\nHost: a\r\nX:  y \r\nEmpty:\r\n\r\nGET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
        ]
        .map(|head| head.as_bytes().to_vec())
        .into();
        for head in &heads {
            for n in 0..=head.len() {
                let (once, steps) = (parse_at_once(&head[..n], &limits), step_by_step(&head[..n], &limits));
                assert_eq!(format!("{once:?}"), format!("{steps:?}"), "{}", head[..n].escape_ascii());
            }
            assert!(parse_at_once(head, &limits).is_some(), "{}", head.escape_ascii());
        }
        // One byte changed, or taken away, at every place: whatever passes at once passes step by step, and is the same.
        for head in &heads {
            for at in 0..head.len() {
                for byte in [None, Some(b'\r'), Some(b'\n'), Some(b' '), Some(b':'), Some(0)] {
                    let mut changed = head.clone();
                    match byte {
                        Some(byte) => changed[at] = byte,
                        None => drop(changed.remove(at)),
                    }
                    let steps = step_by_step(&changed, &limits);
                    if let Some(once) = parse_at_once(&changed, &limits) {
                        assert_eq!(format!("{:?}", Some(once)), format!("{steps:?}"), "{}", changed.escape_ascii());
                    }
                }
            }
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert!(parse_at_once(many.as_bytes(), &limits).is_none() && step_by_step(many.as_bytes(), &limits).is_none());
        assert!(parse_at_once(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &limits).is_none());
        let mut small = limits;
        small.head = heads[0].len() - 1;
        assert!(parse_at_once(&heads[0], &small).is_none() && step_by_step(&heads[0], &small).is_none());
        small.head += 1;
        assert!(parse_at_once(&heads[0], &small).is_some() && step_by_step(&heads[0], &small).is_some());
    }
}
