//! Messages as the application sees them.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use crate::headers::Headers;

/// The content of a message to be sent. It decides the framing: Content-Length and Transfer-Encoding are never given by
/// the application, so that they cannot contradict what is written.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Body {
    /// None: the message is complete with its head.
    #[default]
    Empty,
    /// All of it: the message is complete.
    Full(Bytes),
    /// Exactly this many bytes follow as `Data`, then `End`.
    Sized(u64),
    /// Any number of bytes follow as `Data`, then `End`: chunked, or up to the end of the connection for an HTTP/1.0
    /// client.
    Stream,
}

impl Body {
    /// Nothing follows the head and this content.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Empty | Self::Full(_))
    }
}

/// How the content of a received message is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// There is none: no `Data` and no `End` follow.
    Empty,
    /// This many bytes follow as `Data`, then `End`.
    Sized(u64),
    /// `Data` follows, then `End`, perhaps with trailers.
    Chunked,
    /// `Data` follows until the server ends the connection, then `End`.
    UntilClose,
}

/// A received request head.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The request target, in whichever form it came.
    pub uri: Uri,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The header fields.
    pub headers: Headers,
    /// The content that follows.
    pub body: Incoming,
    /// The client waits for 100 (Continue) before it sends the content.
    pub expects_continue: bool,
    /// The client offers to change the protocol (Upgrade, CONNECT): answered with 101, or 2xx to CONNECT, the session
    /// can be upgraded.
    pub upgrade: bool,
}

impl RequestHead {
    /// The same as a request of the `http` crate.
    #[must_use]
    pub fn into_http(self) -> http::Request<Incoming> {
        let mut request = http::Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.into_map();
        request
    }
}

/// A received response head.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
    /// The content that follows.
    pub body: Incoming,
}

impl ResponseHead {
    /// The same as a response of the `http` crate.
    #[must_use]
    pub fn into_http(self) -> http::Response<Incoming> {
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        *response.version_mut() = self.version;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A request to be sent, as HTTP/1.1.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The target. Its path and query are sent; for CONNECT its authority. Without a Host header, its authority is
    /// the host.
    pub uri: Uri,
    /// The header fields, without those that frame the message.
    pub headers: HeaderMap,
    /// The content.
    pub body: Body,
}

impl Request {
    /// A request without fields and content.
    #[must_use]
    pub fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: HeaderMap::new(), body: Body::Empty }
    }
}

impl From<http::Request<Body>> for Request {
    fn from(request: http::Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        Self { method: parts.method, uri: parts.uri, headers: parts.headers, body }
    }
}

/// A response to be sent, as HTTP/1.1.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header fields, without those that frame the message. `Date` is the application's: this crate has no clock.
    pub headers: HeaderMap,
    /// The content. For HEAD it says how long it would be, and is not sent.
    pub body: Body,
}

impl Response {
    /// A response without fields and content.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::Empty }
    }
}

impl From<http::Response<Body>> for Response {
    fn from(response: http::Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body }
    }
}
