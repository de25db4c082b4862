//! How calls fail, by bRPC's numbers.

use alloc::string::String;
use core::fmt;

use thiserror::Error;

use crate::call::{Reply, RequestId, Response};

/// What went wrong with a call. Numbers that bRPC does not define are the application's own, and pass as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 1001: there is no such service.
    NoService,
    /// 1002: there is no such method.
    NoMethod,
    /// 1003: the request is bad.
    BadRequest,
    /// 1004: the client was not authenticated.
    Unauthenticated,
    /// 1008: the time is over.
    TimedOut,
    /// 1009: the connection broke.
    FailedSocket,
    /// 1011: too much waits to be written, or read.
    Overcrowded,
    /// 1018: refused before it was looked at.
    Rejected,
    /// 2001: the server failed.
    Internal,
    /// 2002: the response is bad.
    BadResponse,
    /// 2003: the server takes nothing up any more.
    Logoff,
    /// 2004: the server has too many calls at once.
    Limit,
    /// Any other number; 0 is no error.
    Other(i32),
}

const NAMED: [(ErrorCode, i32, &str); 12] = [
    (ErrorCode::NoService, 1001, "no such service"),
    (ErrorCode::NoMethod, 1002, "no such method"),
    (ErrorCode::BadRequest, 1003, "bad request"),
    (ErrorCode::Unauthenticated, 1004, "not authenticated"),
    (ErrorCode::TimedOut, 1008, "timed out"),
    (ErrorCode::FailedSocket, 1009, "the connection broke"),
    (ErrorCode::Overcrowded, 1011, "overcrowded"),
    (ErrorCode::Rejected, 1018, "rejected"),
    (ErrorCode::Internal, 2001, "internal error"),
    (ErrorCode::BadResponse, 2002, "bad response"),
    (ErrorCode::Logoff, 2003, "the server is stopping"),
    (ErrorCode::Limit, 2004, "too many calls at once"),
];

impl ErrorCode {
    /// From the wire.
    #[must_use]
    pub fn from_wire(code: i32) -> Self {
        NAMED.iter().find(|(_, number, _)| *number == code).map_or(Self::Other(code), |(named, ..)| *named)
    }

    /// Its number.
    #[must_use]
    pub fn to_wire(self) -> i32 {
        match self {
            Self::Other(code) => code,
            named => NAMED.iter().find(|(other, ..)| *other == named).map_or(0, |(_, number, _)| *number),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(named, ..)| named == self) {
            Some((_, number, words)) => write!(f, "{words} ({number})"),
            None => write!(f, "error {}", self.to_wire()),
        }
    }
}

/// A call that the server answered by an error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {text}")]
pub struct Status {
    /// What went wrong.
    pub code: ErrorCode,
    /// In the server's words.
    pub text: String,
}

impl Status {
    /// An error. A code of 0 would say that all went well: it is sent as 2001, an internal error.
    #[must_use]
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        let code = if code.to_wire() == 0 { ErrorCode::Internal } else { code };
        Self { code, text: text.into() }
    }
}

impl Response {
    /// How it went.
    ///
    /// # Errors
    /// The server answered by an error.
    pub fn status(&self) -> Result<(), Status> {
        match self.error_code {
            0 => Ok(()),
            code => Err(Status { code: ErrorCode::from_wire(code), text: self.error_text.clone() }),
        }
    }

    /// The body as a protobuf message.
    ///
    /// # Errors
    /// It is no such message.
    pub fn message<M: prost::Message + Default>(&self) -> Result<M, prost::DecodeError> {
        M::decode(self.body.clone())
    }
}

impl Reply {
    /// It failed in this way.
    #[must_use]
    pub fn status(to: RequestId, status: Status) -> Self {
        let Status { code, text } = Status::new(status.code, status.text);
        Self::error(to, code.to_wire(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_passes_as_it_is() {
        for code in [-1, 0, 1, 1001, 1007, 1008, 2003, 2004, 9999, i32::MAX] {
            assert_eq!(ErrorCode::from_wire(code).to_wire(), code);
        }
        for (named, number, _) in NAMED {
            assert_eq!((ErrorCode::from_wire(number), named.to_wire()), (named, number));
        }
    }

    #[test]
    fn an_error_is_never_sent_as_success() {
        assert_eq!(Status::new(ErrorCode::Other(0), "x").code, ErrorCode::Internal);
        let hand_made = Status { code: ErrorCode::Other(0), text: "x".into() };
        assert_eq!(Reply::status(RequestId(1), hand_made).error_code, 2001);
    }
}
