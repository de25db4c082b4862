//! The opening handshake (RFC 6455 section 4), as pure functions over heads: usable by the machine, and behind any HTTP
//! implementation of somebody else's.

mod client;
mod error;
mod extension;
mod head;
mod server;
mod uri;

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub use client::{CheckedHandshake, ClientHandshake};
pub use error::{HandshakeError, Rejection};
pub use extension::DeflateParams;
pub use head::RequestHead;
pub(crate) use head::{Scan, parse_request, parse_response};
pub use server::{Accepted, Choice, Guard, ServerHandshake};
pub use uri::{Uri, UriError};

/// The protocol version of RFC 6455.
pub(crate) const VERSION: &str = "13";

/// What was agreed on, and what was said on the way.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Opened {
    /// The path and query that the client asked for.
    pub target: String,
    /// The subprotocol that was chosen, if any.
    pub subprotocol: Option<String>,
    /// The compression that was agreed on, if any.
    pub deflate: Option<DeflateParams>,
    /// The header fields of the peer's head, in order: the request's at a server, the response's at a client.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Opened {
    /// The first header field of this name, whatever its case, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        found.next().and_then(|(_, value)| core::str::from_utf8(value).ok())
    }
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2).
pub(crate) fn accept_for(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// Whether a key is 16 bytes in base64.
pub(crate) fn is_key(key: &[u8]) -> bool {
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// A key from 16 random bytes.
pub(crate) fn new_key(random: [u32; 4]) -> String {
    STANDARD.encode(random.map(u32::to_le_bytes).as_flattened())
}

/// A name or a value that would break out of its line must never get into a head.
pub(crate) fn is_field(name: &str, value: &str) -> bool {
    let name_ok = !name.is_empty() && name.bytes().all(is_token_byte);
    name_ok && value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b) || b >= 0x80)
}

/// The bytes of a host and a port, as a URI writes them (RFC 9110 section 7.2); nothing is allowed.
pub(crate) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(b))
}

/// A path with its query, or an address with its scheme (RFC 6455 section 4.2.1); without a fragment.
pub(crate) fn is_target(target: &str) -> bool {
    const SCHEMES: [&str; 4] = ["http://", "https://", "ws://", "wss://"];
    let begins = |scheme: &str| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    (target.starts_with('/') || SCHEMES.into_iter().any(begins))
        && target.bytes().all(|b| (b'!'..=b'~').contains(&b) && b != b'#')
}

/// The fields that an opening says itself, and those that would announce a body: said twice they contradict each other.
pub(crate) fn is_our_own(name: &str) -> bool {
    const OURS: [&str; 5] = ["host", "upgrade", "connection", "content-length", "transfer-encoding"];
    let of_websocket = name.get(..SEC.len()).is_some_and(|start| start.eq_ignore_ascii_case(SEC));
    of_websocket || OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// How the fields of the opening begin.
const SEC: &str = "sec-websocket-";

/// A token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

const fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Appends a header field.
pub(crate) fn push_field(head: &mut String, name: &str, value: &str) {
    head.push_str(name);
    head.push_str(": ");
    head.push_str(value);
    head.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc() {
        // RFC 6455 section 1.3.
        assert_eq!(accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(!is_key(b"dGhlIHNhbXBsZSBub25j"), "15 bytes");
        assert!(!is_key(b"not base64!"));
        assert!(is_key(new_key([1, 2, 3, 4]).as_bytes()));
    }

    #[test]
    fn fields_cannot_break_out_of_their_line() {
        assert!(is_field("X-A", "b c\t\u{e9}"));
        assert!(
            !is_field("X-A", "b\r\nX-B: c") && !is_field("X-A", "b\0") && !is_field("X A", "b") && !is_field("", "b")
        );
    }
}
