//! Frames: a header of 12 bytes, a protobuf meta, a payload. Integers of the header are big-endian.

use bytes::BufMut;
use prost::Message;

use crate::error::BrpcViolation;
use crate::meta::{Feedback, StreamFrameMeta};

/// Bytes of a header.
pub const HEADER: usize = 12;
/// Most bytes of a streaming frame without its payload that we write.
pub const STREAM_OVERHEAD: usize = HEADER + 48;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Magic {
    /// A request or a response: `PRPC`.
    Rpc,
    /// A streaming frame: `STRM`.
    Stream,
}

impl Magic {
    /// On the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        match self {
            Self::Rpc => *b"PRPC",
            Self::Stream => *b"STRM",
        }
    }
}

/// The header of either kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Which kind.
    pub magic: Magic,
    /// Bytes of meta and payload.
    pub body: u32,
    /// Bytes of the meta.
    pub meta: u32,
}

impl Header {
    /// From the wire.
    ///
    /// # Errors
    /// Neither magic, or a meta longer than the whole.
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Self, BrpcViolation> {
        let [a, b, c, d, b0, b1, b2, b3, m0, m1, m2, m3] = *bytes;
        let magic = match &[a, b, c, d] {
            b"PRPC" => Magic::Rpc,
            b"STRM" => Magic::Stream,
            other => return Err(BrpcViolation::Magic(*other)),
        };
        let (body, meta) = (u32::from_be_bytes([b0, b1, b2, b3]), u32::from_be_bytes([m0, m1, m2, m3]));
        if meta > body { Err(BrpcViolation::MetaBeyondBody { meta, body }) } else { Ok(Self { magic, body, meta }) }
    }

    /// For the wire.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut out = &mut bytes[..];
        out.put_slice(&self.magic.bytes());
        out.put_u32(self.body);
        out.put_u32(self.meta);
        bytes
    }

    /// Bytes behind the meta.
    #[must_use]
    pub const fn payload(self) -> usize {
        (self.body - self.meta) as usize
    }
}

/// What a streaming frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum FrameType {
    /// The stream is not known, or given up.
    Rst = 1,
    /// The stream ends in order.
    Close = 2,
    /// A segment of a message, or the response of the call that opens the stream.
    Data = 3,
    /// Bytes consumed so far.
    Feedback = 4,
}

impl FrameType {
    /// From the wire.
    #[must_use]
    pub const fn from_wire(value: i32) -> Option<Self> {
        match value {
            1 => Some(Self::Rst),
            2 => Some(Self::Close),
            3 => Some(Self::Data),
            4 => Some(Self::Feedback),
            _ => None,
        }
    }
}

/// Header and meta of a streaming frame, as bRPC writes it.
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    bytes: [u8; STREAM_OVERHEAD],
    len: usize,
}

impl Prefix {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn new(meta: &StreamFrameMeta, payload: usize) -> Self {
        let mut bytes = [0; STREAM_OVERHEAD];
        let len = meta.encoded_len();
        let header = Header { magic: Magic::Stream, body: (len + payload) as u32, meta: len as u32 };
        let mut out = &mut bytes[..];
        out.put_slice(&header.encode());
        // At most 40 bytes: two ids of 11, two flags of 2, a feedback of 13.
        let fits = meta.encode(&mut out).is_ok();
        Self { bytes, len: if fits { HEADER + len } else { 0 } }
    }

    /// DATA with `payload` bytes behind it.
    #[must_use]
    pub fn data(to: i64, from: i64, continues: bool, payload: usize) -> Self {
        let meta = StreamFrameMeta {
            stream_id: Some(to),
            source_stream_id: Some(from),
            frame_type: Some(FrameType::Data as i32),
            has_continuation: Some(continues),
            feedback: None,
        };
        Self::new(&meta, payload)
    }

    /// FEEDBACK.
    #[must_use]
    pub fn feedback(to: i64, from: i64, consumed: i64) -> Self {
        let meta = StreamFrameMeta {
            stream_id: Some(to),
            source_stream_id: Some(from),
            frame_type: Some(FrameType::Feedback as i32),
            has_continuation: None,
            feedback: Some(Feedback { consumed_size: Some(consumed) }),
        };
        Self::new(&meta, 0)
    }

    /// CLOSE.
    #[must_use]
    pub fn close(to: i64, from: i64) -> Self {
        let meta = StreamFrameMeta {
            stream_id: Some(to),
            source_stream_id: Some(from),
            frame_type: Some(FrameType::Close as i32),
            ..StreamFrameMeta::default()
        };
        Self::new(&meta, 0)
    }

    /// RST: it names no source, so that it is never answered.
    #[must_use]
    pub fn rst(to: i64) -> Self {
        let meta = StreamFrameMeta {
            stream_id: Some(to),
            frame_type: Some(FrameType::Rst as i32),
            ..StreamFrameMeta::default()
        };
        Self::new(&meta, 0)
    }
}
