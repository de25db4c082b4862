//! The protobuf metas (proto2). Every field keeps whether it was there: bRPC writes defaults explicitly, and id 0 is as
//! good as any other. Fields come out in the order of their numbers, as protobuf's C++ encoder writes them.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

/// About a call (`baidu_rpc_meta.proto`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcMeta {
    /// In requests.
    #[prost(message, optional, tag = "1")]
    pub request: Option<RpcRequestMeta>,
    /// In responses.
    #[prost(message, optional, tag = "2")]
    pub response: Option<RpcResponseMeta>,
    /// Of the body, not of the attachment: 0 none, 1 snappy, 2 gzip, 3 zlib, 4 lz4.
    #[prost(int32, optional, tag = "3")]
    pub compress_type: Option<i32>,
    /// Echoed in the response.
    #[prost(int64, optional, tag = "4")]
    pub correlation_id: Option<i64>,
    /// Bytes at the end of the payload that are no protobuf.
    #[prost(int32, optional, tag = "5")]
    pub attachment_size: Option<i32>,
    /// Opaque to us.
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub chunk_info: Option<Bytes>,
    /// Credentials; opaque to us.
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub authentication_data: Option<Bytes>,
    /// A stream is opened, or accepted.
    #[prost(message, optional, tag = "8")]
    pub stream_settings: Option<StreamSettings>,
    /// The user's own.
    #[prost(btree_map = "string, string", tag = "9")]
    pub user_fields: BTreeMap<String, String>,
    /// 0 protobuf, 1 JSON, 2 proto-JSON, 3 proto-text.
    #[prost(int32, optional, tag = "10")]
    pub content_type: Option<i32>,
    /// 0 none, 1 crc32c.
    #[prost(int32, optional, tag = "11")]
    pub checksum_type: Option<i32>,
    /// Masked, big-endian.
    #[prost(bytes = "bytes", optional, tag = "12")]
    pub checksum_value: Option<Bytes>,
    /// The checksum covers the attachment too.
    #[prost(bool, optional, tag = "13")]
    pub checksum_with_attachment: Option<bool>,
}

/// What is called.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcRequestMeta {
    /// Full name.
    #[prost(string, required, tag = "1")]
    pub service_name: String,
    /// Its method.
    #[prost(string, required, tag = "2")]
    pub method_name: String,
    /// For logs.
    #[prost(int64, optional, tag = "3")]
    pub log_id: Option<i64>,
    /// For tracing.
    #[prost(int64, optional, tag = "4")]
    pub trace_id: Option<i64>,
    /// For tracing.
    #[prost(int64, optional, tag = "5")]
    pub span_id: Option<i64>,
    /// For tracing.
    #[prost(int64, optional, tag = "6")]
    pub parent_span_id: Option<i64>,
    /// For logs.
    #[prost(string, optional, tag = "7")]
    pub request_id: Option<String>,
    /// How long the client waits, in milliseconds.
    #[prost(int32, optional, tag = "8")]
    pub timeout_ms: Option<i32>,
}

/// How a call went.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcResponseMeta {
    /// 0: well.
    #[prost(int32, optional, tag = "1")]
    pub error_code: Option<i32>,
    /// In words.
    #[prost(string, optional, tag = "2")]
    pub error_text: Option<String>,
}

/// Opens or accepts streams (`streaming_rpc_meta.proto`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamSettings {
    /// The sender's id of its first stream. Required.
    #[prost(int64, optional, tag = "1")]
    pub stream_id: Option<i64>,
    /// The sender has a window: it wants feedback.
    #[prost(bool, optional, tag = "2")]
    pub need_feedback: Option<bool>,
    /// The sender takes data.
    #[prost(bool, optional, tag = "3")]
    pub writable: Option<bool>,
    /// The sender's ids of further streams of the same call.
    #[prost(int64, repeated, packed = "false", tag = "4")]
    pub extra_stream_ids: Vec<i64>,
}

/// Of a streaming frame.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamFrameMeta {
    /// The receiver's id. Required.
    #[prost(int64, optional, tag = "1")]
    pub stream_id: Option<i64>,
    /// The sender's id; absent in RST.
    #[prost(int64, optional, tag = "2")]
    pub source_stream_id: Option<i64>,
    /// See [`FrameType`](crate::wire::FrameType).
    #[prost(int32, optional, tag = "3")]
    pub frame_type: Option<i32>,
    /// More segments of this message follow.
    #[prost(bool, optional, tag = "4")]
    pub has_continuation: Option<bool>,
    /// In FEEDBACK.
    #[prost(message, optional, tag = "5")]
    pub feedback: Option<Feedback>,
}

/// What the receiver consumed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Feedback {
    /// Bytes since the stream opened.
    #[prost(int64, optional, tag = "1")]
    pub consumed_size: Option<i64>,
}

impl StreamSettings {
    /// Every id, the first included.
    pub fn ids(&self) -> impl Iterator<Item = i64> + '_ {
        self.stream_id.into_iter().chain(self.extra_stream_ids.iter().copied())
    }
}
