//! Close codes and the body of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use super::MAX_CONTROL;
use crate::error::Violation;

/// Why a conversation was closed (RFC 6455 section 7.4). Any number can be held; which may appear on the wire is
/// [`is_sendable`](Self::is_sendable).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose was fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server that goes down, a page that was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that cannot be accepted.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005, never on the wire: the peer's Close had no code.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006, never on the wire: the connection ended without a Close from the peer.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: text that is no UTF-8, or data that cannot be inflated.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a policy of ours.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message that is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the server did not negotiate an extension that the client needs.
    pub const EXTENSION_REQUIRED: Self = Self(1010);
    /// 1011: the server failed.
    pub const INTERNAL_ERROR: Self = Self(1011);

    /// Whether a Close frame may carry it: 1000 to 1003, 1007 to 1014 (1012 to 1014 were registered after the RFC), and
    /// 3000 to 4999 for libraries and applications.
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a Close frame said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Its code; [`CloseCode::NO_STATUS`] if there was none.
    pub code: CloseCode,
    /// Its reason, at most 123 bytes, often empty. Not meant for users (RFC 6455 section 5.5.1).
    pub reason: String,
}

/// Parses an unmasked Close body.
pub(crate) fn parse_close(body: &[u8]) -> Result<CloseFrame, Violation> {
    let Some((code, reason)) = body.split_first_chunk::<2>() else {
        if body.is_empty() {
            return Ok(CloseFrame { code: CloseCode::NO_STATUS, reason: String::new() });
        }
        return Err(Violation::CloseTooShort);
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.is_sendable() {
        return Err(Violation::CloseCode { code });
    }
    let reason = core::str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
    Ok(CloseFrame { code, reason: reason.to_owned() })
}

/// Writes a Close body and tells its length: no body for a code that may not be sent; the reason is cut at a character
/// so that it fits.
pub(crate) fn close_body(code: CloseCode, reason: &str, out: &mut [u8; MAX_CONTROL]) -> usize {
    if !code.is_sendable() {
        return 0;
    }
    let mut len = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(len) {
        len -= 1;
    }
    out[..2].copy_from_slice(&code.0.to_be_bytes());
    out[2..2 + len].copy_from_slice(&reason.as_bytes()[..len]);
    2 + len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_mean_something_may_be_sent() {
        let sendable = [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999];
        let not = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
        assert!(sendable.into_iter().all(|code| CloseCode(code).is_sendable()));
        assert!(!not.into_iter().any(|code| CloseCode(code).is_sendable()));
    }

    #[test]
    fn bodies_are_parsed_strictly() {
        assert_eq!(parse_close(b"").map(|close| close.code), Ok(CloseCode::NO_STATUS));
        assert_eq!(parse_close(b"\x03"), Err(Violation::CloseTooShort));
        assert_eq!(parse_close(b"\x03\xed"), Err(Violation::CloseCode { code: CloseCode::NO_STATUS }));
        assert_eq!(parse_close(b"\x03\xe8\xff"), Err(Violation::CloseReasonNotUtf8));
        let bye = CloseFrame { code: CloseCode::NORMAL, reason: "bye".into() };
        assert_eq!(parse_close(b"\x03\xe8bye"), Ok(bye));
    }

    #[test]
    fn a_reason_is_cut_at_a_character_and_a_reserved_code_is_left_out() {
        let mut body = [0; MAX_CONTROL];
        let len = close_body(CloseCode::NORMAL, &"\u{20ac}".repeat(60), &mut body);
        assert_eq!(len, 2 + 123);
        let len = close_body(CloseCode::NORMAL, &alloc::format!("x{}", "\u{20ac}".repeat(60)), &mut body);
        assert_eq!(len, 2 + 121);
        assert!(core::str::from_utf8(&body[2..len]).is_ok());
        assert_eq!(close_body(CloseCode::NO_STATUS, "never", &mut body), 0);
        assert_eq!(close_body(CloseCode(0), "never", &mut body), 0);
    }
}
