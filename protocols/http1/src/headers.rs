//! The header fields of a received request, made into a map when somebody looks.

use alloc::boxed::Box;
use core::fmt;
use core::mem::MaybeUninit;
use core::ops::Deref;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use once_cell::race::OnceBox;

use crate::limits::MOST_FIELDS;

/// The header fields of a received request: a [`HeaderMap`] for whoever looks.
///
/// Most servers look at few fields of few requests, and a map of all of them costs more than the rest of a small request:
/// it is made when it is first looked at. What decides framing and routing was judged when the head came, and so was every
/// byte of the fields. The values are slices of the head.
#[derive(Clone, Default)]
pub struct Headers {
    head: Head,
    map: OnceBox<HeaderMap>,
}

/// Bytes of a head that are kept in place.
const SHORT: usize = 160;

/// A whole head, which the parser accepted; empty if the map was given.
#[derive(Clone)]
enum Head {
    /// In place: an allocation costs more than moving them.
    Short([u8; SHORT], u8),
    Long(Bytes),
}

impl Default for Head {
    fn default() -> Self {
        Self::Short([0; SHORT], 0)
    }
}

impl Headers {
    /// The fields of a head that [`parse_request`](crate::wire::parse_request) accepted.
    pub(crate) const fn of(head: Bytes) -> Self {
        Self { head: Head::Long(head), map: OnceBox::new() }
    }

    /// Becomes the fields of a copy of such a head. In place, as what is moved costs as much as what is allocated.
    #[inline]
    pub(crate) fn copy(&mut self, head: &[u8]) {
        match &mut self.head {
            Head::Short(bytes, len) if head.len() <= SHORT => {
                bytes[..head.len()].copy_from_slice(head);
                *len = head.len() as u8;
            }
            kept => *kept = Head::Long(Bytes::copy_from_slice(head)),
        }
    }

    /// The fields as a map of the `http` crate.
    #[must_use]
    pub fn into_map(self) -> HeaderMap {
        self.map.get().cloned().unwrap_or_else(|| self.collect())
    }

    /// Parses once more what was parsed before: nothing in it is refused now that was not then.
    fn collect(&self) -> HeaderMap {
        let head = match &self.head {
            Head::Short(bytes, len) => Bytes::copy_from_slice(bytes.get(..usize::from(*len)).unwrap_or_default()),
            Head::Long(bytes) => bytes.clone(),
        };
        let mut array = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(&head, &mut array);
        let fields: &[_] = if parsed.is_ok() { request.headers } else { &[] };
        let mut map = HeaderMap::with_capacity(fields.len());
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
            if let (Ok(name), Ok(value)) = (name, value) {
                // The capacity is there.
                let _ = map.try_append(name, value);
            }
        }
        map
    }
}

impl Deref for Headers {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        self.map.get_or_init(|| Box::new(self.collect()))
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        Self { head: Head::default(), map: OnceBox::with_value(Box::new(map)) }
    }
}

impl From<Headers> for HeaderMap {
    fn from(headers: Headers) -> Self {
        headers.into_map()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::limits::Limits;
    use crate::wire::parse_request;

    fn parsed(fields: &[u8]) -> Option<Headers> {
        let head = [b"GET /a HTTP/1.1\r\nhost: h\r\n", fields, b"\r\n"].concat();
        parse_request(&head, &Limits::default()).ok()?;
        let mut copied = Headers::default();
        copied.copy(&head);
        let shared = Headers::of(Bytes::from(head));
        assert_eq!(copied, shared);
        Some(copied)
    }

    #[test]
    fn the_map_has_every_field_in_order_and_is_made_once() {
        let headers = parsed(b"A: 1\r\nb:\t2 \r\na: 3\r\n").expect("a head");
        assert_eq!(headers.len(), 4);
        let all: Vec<_> = headers.get_all("a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(all, [b"1", b"3"]);
        assert_eq!(headers["b"], "2");
        assert!(core::ptr::eq(&raw const *headers, &raw const *headers));
        assert_eq!(headers.clone().into_map(), *headers);
        assert_eq!(Headers::from(headers.clone().into_map()), headers);
        assert_eq!(Headers::default().len(), 0);
    }

    /// Whatever the parser lets pass is a name or a value for the `http` crate too: no field is lost on the way.
    #[test]
    fn no_accepted_byte_is_lost_in_the_map() {
        let mut accepted = (0, 0);
        for byte in 0..=u8::MAX {
            if let Some(headers) = parsed(&[b'x', byte, b':', b' ', b'v', b'\r', b'\n']) {
                accepted.0 += 1;
                assert_eq!(headers.len(), 2, "name with {byte:#x}");
            }
            if let Some(headers) = parsed(&[b'x', b':', b' ', b'v', byte, b'w', b'\r', b'\n']) {
                accepted.1 += 1;
                assert_eq!(headers.len(), 2, "value with {byte:#x}");
                assert_eq!(headers["x"].as_bytes(), [b'v', byte, b'w']);
            }
        }
        assert_eq!(accepted, (77 + 1, 224), "tokens and a colon; all but controls, and a tab");
        let longest = u16::MAX as usize;
        let name = |len: usize| [&b"x".repeat(len)[..], b": v\r\n"].concat();
        let limits = Limits::default().head(1 << 20);
        let head = |len| Bytes::from([b"GET /a HTTP/1.1\r\nhost: h\r\n", &name(len)[..], b"\r\n"].concat());
        for (len, fits) in [(longest - 1, true), (longest, true), (longest + 1, false)] {
            assert_eq!(parse_request(&head(len), &limits).is_ok(), fits, "a name of {len} bytes");
            assert!(!fits || Headers::of(head(len)).len() == 2);
        }
    }
}
