//! What can be wrong with a handshake, and the HTTP answer to it.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use thiserror::Error;

use super::{VERSION, is_field, is_our_own, push_field};

const CONTENT_TYPE: &str = "Content-Type";

/// Why a handshake failed. At a server, [`status`](Self::status) is what the client was told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Bytes that are no HTTP head.
    #[error("not an HTTP/1.1 head: {why}")]
    NotHttp {
        /// What the parser found.
        why: &'static str,
    },
    /// A head longer than [`Limits::max_head`](crate::Limits::max_head).
    #[error("head longer than {limit} bytes")]
    HeadTooLong {
        /// The bound.
        limit: usize,
    },
    /// More header fields than [`Limits::max_headers`](crate::Limits::max_headers).
    #[error("head with more than {limit} fields")]
    TooManyHeaders {
        /// The bound.
        limit: usize,
    },
    /// A method other than GET.
    #[error("the request's method is not GET")]
    Method,
    /// A version before HTTP/1.1.
    #[error("the request is older than HTTP/1.1")]
    HttpVersion,
    /// A request for something else than an upgrade to WebSocket.
    #[error("the request asks for no upgrade to websocket")]
    NoUpgrade,
    /// A version of WebSocket other than 13.
    #[error("unsupported WebSocket version")]
    WebSocketVersion,
    /// A header field that is missing, repeated or wrong.
    #[error("{name}: {problem}")]
    Header {
        /// The field.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// We refused, by the list of origins or by the guard.
    #[error("refused with status {}", .0.status)]
    Refused(Rejection),
    /// Our guard refused with a status that is no refusal: a mistake of ours, of which the client is told 500.
    #[error("the guard refused with status {status}, which is none of 300 to 599")]
    NotARefusal {
        /// The status.
        status: u16,
    },
    /// The server answered with another status than 101.
    #[error("the server answered with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// The head, as it came, without the body.
        head: Vec<u8>,
    },
}

impl HandshakeError {
    /// The HTTP status that tells the client.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::HeadTooLong { .. } | Self::TooManyHeaders { .. } => 431,
            Self::Method => 405,
            Self::HttpVersion => 505,
            Self::NoUpgrade | Self::WebSocketVersion => 426,
            Self::Refused(rejection) => rejection.status,
            Self::NotARefusal { .. } => 500,
            _ => 400,
        }
    }

    /// The whole HTTP answer. It closes the connection: what follows a refused upgrade must not be taken for another
    /// request.
    #[must_use]
    pub fn response(&self) -> String {
        let rejection = match self {
            Self::Refused(rejection) => Cow::Borrowed(rejection),
            // What is wrong with our guard is not for the client.
            Self::NotARefusal { .. } => Cow::Owned(Rejection::new(500, "the server failed")),
            other => Cow::Owned(Rejection::new(other.status(), other.to_string())),
        };
        let mut head = String::new();
        // Writing into a String cannot fail.
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", rejection.status, phrase(rejection.status));
        match rejection.status {
            426 => {
                push_field(&mut head, "Upgrade", "websocket");
                push_field(&mut head, "Sec-WebSocket-Version", VERSION);
                push_field(&mut head, "Connection", "Upgrade, close");
            }
            405 => {
                push_field(&mut head, "Allow", "GET");
                push_field(&mut head, "Connection", "close");
            }
            _ => push_field(&mut head, "Connection", "close"),
        }
        let mut typed = false;
        for (name, value) in &rejection.headers {
            if is_field(name, value) && !is_our_own(name) {
                typed |= name.eq_ignore_ascii_case(CONTENT_TYPE);
                push_field(&mut head, name, value);
            }
        }
        if !typed {
            push_field(&mut head, CONTENT_TYPE, "text/plain; charset=utf-8");
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n{}", rejection.body.len(), rejection.body);
        head
    }
}

/// A refusal with its HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// The status, 300 to 599: of a redirection, too. Any other tells the client 500; see
    /// [`HandshakeError::NotARefusal`].
    pub status: u16,
    /// The body; plain text, unless a `Content-Type` among the fields says otherwise.
    pub body: Cow<'static, str>,
    /// Further header fields (`WWW-Authenticate`, `Location`). One that could break out of its line is left out, and so is
    /// one that the answer says itself.
    pub headers: Vec<(String, String)>,
}

impl Rejection {
    /// A refusal with this status and text.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status, body: body.into(), headers: Vec::new() }
    }

    /// 403.
    #[must_use]
    pub fn forbidden(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(403, body)
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn into_error(self) -> HandshakeError {
        match self.status {
            300..=599 => HandshakeError::Refused(self),
            status => HandshakeError::NotARefusal { status },
        }
    }
}

const fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Refused",
    }
}
