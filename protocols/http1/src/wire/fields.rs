//! What the header fields say about framing, the connection and expectations (RFC 9112, sections 6 and 9).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Violation;

/// What the fields of one head said, gathered in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    /// Transfer-Encoding was there, whatever it said.
    pub(crate) coded: bool,
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    /// Connection names Upgrade, and Upgrade is there.
    pub(crate) upgrade: bool,
    upgrade_named: bool,
    upgrade_field: bool,
    pub(crate) expects_continue: bool,
    pub(crate) hosts: u32,
    unknown_coding: bool,
    expectation: bool,
}

impl Facts {
    /// Looks at one field. Anything ambiguous is an error: what a peer in front of us may have read differently is a way
    /// to smuggle.
    #[inline]
    pub(crate) fn note(&mut self, name: &str, value: &[u8]) -> Result<(), Violation> {
        // The length sorts out all but a few, and each request has a host.
        match name.len() {
            4 if matches!(name.as_bytes(), [b'h' | b'H', b'o' | b'O', b's' | b'S', b't' | b'T']) => {
                self.hosts += 1;
                if !is_host(value) {
                    return Err(Violation::Host);
                }
            }
            6 if name.eq_ignore_ascii_case("expect") => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
                self.expectation |= !value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case("upgrade") => self.upgrade_field = true,
            10 if name.eq_ignore_ascii_case("connection") => self.note_connection(value),
            14 if name.eq_ignore_ascii_case("content-length") => {
                if self.length.is_some() {
                    return Err(Violation::ContentLength);
                }
                self.length = Some(decimal(value).ok_or(Violation::ContentLength)?);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.note_coding(value)?,
            _ => {}
        }
        Ok(())
    }

    /// All fields were seen.
    pub(crate) fn finish(&mut self, http10: bool, request: bool) -> Result<(), Violation> {
        self.upgrade = self.upgrade_named && self.upgrade_field && !http10;
        if self.coded {
            if self.length.is_some() {
                return Err(Violation::TwoLengths);
            }
            if http10 {
                return Err(Violation::TransferEncoding);
            }
            if self.unknown_coding {
                return Err(Violation::UnknownCoding);
            }
            if !self.chunked {
                return Err(Violation::TransferEncoding);
            }
        }
        if request {
            if self.expectation && !http10 {
                return Err(Violation::Expectation);
            }
            self.expects_continue &= !http10;
            if self.hosts > 1 || (self.hosts == 0 && !http10) {
                return Err(Violation::Host);
            }
        }
        Ok(())
    }

    fn note_connection(&mut self, value: &[u8]) {
        for token in value.split(|b| *b == b',').map(trim) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade_named |= token.eq_ignore_ascii_case(b"upgrade");
        }
    }

    fn note_coding(&mut self, value: &[u8]) -> Result<(), Violation> {
        self.coded = true;
        for token in value.split(|b| *b == b',').map(trim) {
            // Chunked comes last and once; an empty element is what somebody else may overlook.
            if self.chunked || token.is_empty() {
                return Err(Violation::TransferEncoding);
            }
            if token.eq_ignore_ascii_case(b"chunked") {
                self.chunked = true;
            } else if token.iter().all(|b| is_token(*b)) {
                self.unknown_coding = true;
            } else {
                return Err(Violation::TransferEncoding);
            }
        }
        Ok(())
    }
}

/// Whether a list field names this token.
pub(crate) fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| names(value, token))
}

/// Whether the value of a list field names this token.
pub(crate) fn names(value: &HeaderValue, token: &str) -> bool {
    let mut elements = value.as_bytes().split(|b| *b == b',');
    elements.any(|element| trim(element).eq_ignore_ascii_case(token.as_bytes()))
}

/// Digits only: no sign, no space, no list, and not more than 64 bits.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Without the optional white space around it, which is spaces and tabs only.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// The bytes of a host and a port, as a URI writes them; nothing is allowed.
fn is_host(value: &[u8]) -> bool {
    // All of them, for almost always all are: a branch for each costs more.
    value.iter().fold(true, |ok, byte| ok & HOST[usize::from(*byte)])
}

const HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-._~:[]%!$&'()*+;=";
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
};

/// Whether a trailer section may not have this field: it would change how the message was framed or routed, or is taken
/// for a header that was checked.
pub(crate) fn is_forbidden_in_trailers(name: &str) -> bool {
    const FORBIDDEN: [&str; 14] = [
        "transfer-encoding",
        "content-length",
        "host",
        "connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "content-encoding",
        "content-type",
        "content-range",
        "authorization",
        "cookie",
        "set-cookie",
    ];
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for wrong in [&b""[..], b"+5", b"-5", b"5 ", b" 5", b"5,5", b"0x5", b"18446744073709551616", b"5\0"] {
            assert_eq!(decimal(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn white_space_is_spaces_and_tabs() {
        assert_eq!(trim(b" \ta \t"), b"a");
        assert_eq!(trim(b"\x0ba"), b"\x0ba");
        assert_eq!(trim(b" \t"), b"");
    }
}
