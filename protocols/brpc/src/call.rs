//! Calls as the application sees them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use duologue_core::Instant;
use duologue_core::streams::{OpenError, StreamEvent, StreamId};
use thiserror::Error;

use crate::body::{Checksum, Compression};
use crate::meta::RpcMeta;

/// bRPC's error codes that this crate uses (`errno.proto`).
pub mod code {
    /// There is no such service.
    pub const ENOSERVICE: i32 = 1001;
    /// There is no such method.
    pub const ENOMETHOD: i32 = 1002;
    /// The request is bad.
    pub const EREQUEST: i32 = 1003;
    /// The call's time is over.
    pub const ERPCTIMEDOUT: i32 = 1008;
    /// Too much waits to be written, or read.
    pub const EOVERCROWDED: i32 = 1011;
    /// The server failed.
    pub const EINTERNAL: i32 = 2001;
    /// The response is bad.
    pub const ERESPONSE: i32 = 2002;
    /// The server takes nothing up any more.
    pub const ELOGOFF: i32 = 2003;
    /// The server has too many calls at once.
    pub const ELIMIT: i32 = 2004;
    /// The peer takes no data (errno EBADF).
    pub const EBADF: u32 = 9;
    /// The peer gave the stream up (errno ECONNRESET).
    pub const ECONNRESET: u32 = 104;
    /// The time is over (errno ETIMEDOUT).
    pub const ETIMEDOUT: u32 = 110;
}

/// Names a call on its connection: the correlation id, which the caller chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub i64);

/// Names a request at the server, until it is replied to. Correlation ids, which clients choose, may repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A call to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// The correlation id: not one that is waiting, and none that timed out or was cancelled not long ago, for its
    /// answer may still come and would be taken for this call's. Count up.
    pub id: i64,
    /// Full name, as `example.EchoService`.
    pub service: String,
    /// The method.
    pub method: String,
    /// A protobuf message.
    pub body: Bytes,
    /// Bytes behind it.
    pub attachment: Bytes,
    /// How long to wait for the response, and what the server is told; `None` takes [`BrpcConfig::call_timeout`](crate::BrpcConfig::call_timeout).
    /// It is a span of time: a moment cannot be passed by mistake.
    pub timeout: Option<Duration>,
    /// Of the body.
    pub compression: Compression,
    /// Of the body.
    pub checksum: Checksum,
    /// Streams that the call opens, from [`Multiplex::open`](duologue_core::streams::Multiplex::open).
    pub streams: Vec<StreamId>,
    /// The user's own fields, and whatever else goes into the meta. What this crate decides is overwritten.
    pub meta: RpcMeta,
}

impl Call {
    /// A call of `service` (its full name) with these bytes.
    #[must_use]
    pub fn new(service: impl Into<String>, method: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { service: service.into(), method: method.into(), body: body.into(), ..Self::default() }
    }

    /// A call of `service` (its full name) with a protobuf message.
    #[must_use]
    pub fn message(service: impl Into<String>, method: impl Into<String>, message: &impl prost::Message) -> Self {
        Self::new(service, method, message.encode_to_vec())
    }
}

impl Request {
    /// The body as a protobuf message.
    ///
    /// # Errors
    /// It is no such message.
    pub fn message<M: prost::Message + Default>(&self) -> Result<M, prost::DecodeError> {
        M::decode(self.body.clone())
    }
}

/// A reply to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// To which request.
    pub to: RequestId,
    /// 0: well.
    pub error_code: i32,
    /// In words; empty if it went well.
    pub error_text: String,
    /// A protobuf message.
    pub body: Bytes,
    /// Bytes behind it.
    pub attachment: Bytes,
    /// Of the body.
    pub compression: Compression,
    /// Of the body.
    pub checksum: Checksum,
}

impl Reply {
    /// It went well.
    #[must_use]
    pub fn ok(to: RequestId, body: Bytes) -> Self {
        Self {
            to,
            error_code: 0,
            error_text: String::new(),
            body,
            attachment: Bytes::new(),
            compression: Compression::None,
            checksum: Checksum::None,
        }
    }

    /// It failed: streams that were accepted end with it.
    #[must_use]
    pub fn error(to: RequestId, code: i32, text: impl Into<String>) -> Self {
        Self { error_code: code, error_text: text.into(), ..Self::ok(to, Bytes::new()) }
    }
}

/// A request that came. Reply to it, sooner or later, by [`BrpcCommand::Reply`].
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its name here.
    pub id: RequestId,
    /// Full name.
    pub service: String,
    /// The method.
    pub method: String,
    /// A protobuf message, decompressed.
    pub body: Bytes,
    /// Bytes behind it.
    pub attachment: Bytes,
    /// When it was wholly here, on the session's clock.
    pub arrived: Instant,
    /// How long the client waits.
    pub timeout: Option<Duration>,
    /// Streams that it opens; accept them by [`Brpc::accept`](crate::Brpc::accept) before the reply.
    pub streams: usize,
    /// Everything else.
    pub meta: Box<RpcMeta>,
}

/// A response that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Of which call.
    pub id: CallId,
    /// 0: well.
    pub error_code: i32,
    /// In words.
    pub error_text: String,
    /// A protobuf message, decompressed.
    pub body: Bytes,
    /// Bytes behind it.
    pub attachment: Bytes,
    /// Streams that the server accepted, of those that the call opened: the first ones.
    pub streams: usize,
    /// Everything else.
    pub meta: Box<RpcMeta>,
}

/// Why a call has no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// Its time is over. Whether the server did it is not known; what it says now is thrown away, and streams that it
    /// accepts are reset.
    #[error("no response in time")]
    Timeout,
    /// The connection ended first. Whether the server did it is not known.
    #[error("the connection ended before the response")]
    Lost,
    /// The response came, and cannot be read.
    #[error("the response cannot be read: {0}")]
    Unreadable(String),
}

/// What an application asks of the connection. Everything about streams goes through
/// [`Session::protocol_mut`](duologue_core::Session::protocol_mut).
#[derive(Clone, Debug, PartialEq)]
pub enum BrpcCommand {
    /// Make a call; exactly one [`BrpcEvent::Response`] or [`BrpcEvent::CallFailed`] follows.
    Call(Box<Call>),
    /// Answer one.
    Reply(Box<Reply>),
    /// Answer one that nobody works on any more, by EINTERNAL: never refused. For want of room the answer goes later.
    Abandon(RequestId),
    /// Wait no longer for a response: no event follows, and the call's streams are reset.
    Cancel(CallId),
}

/// What a session tells its application.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BrpcEvent {
    /// At the server.
    Request(Box<Request>),
    /// At the client.
    Response(Box<Response>),
    /// At the client.
    CallFailed(CallId, CallError),
    /// About a stream, or all of them.
    Stream(StreamEvent),
}

/// Why streams cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// No such request waits for its reply.
    #[error("no such request waits for its reply")]
    Unknown,
    /// It opened none, or they were accepted before.
    #[error("the request opened no stream, or its streams were accepted")]
    NoStreams,
    /// There is no place for all of them; none was accepted.
    #[error(transparent)]
    Open(#[from] OpenError),
}
