//! The wire format: one header of 12 bytes, big-endian, for every frame.
//! Source: <https://github.com/hashicorp/yamux/blob/master/spec.md>.

use crate::error::YamuxViolation;

/// Bytes of a header.
pub const HEADER: usize = 12;
/// What each side may send on a new stream, fixed by the specification.
pub const INITIAL_WINDOW: u32 = 256 << 10;

/// The kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `length` bytes of a stream follow.
    Data,
    /// The peer may send `length` bytes more on a stream.
    WindowUpdate,
    /// A question (SYN) or its answer (ACK), with a value in `length`.
    Ping,
    /// No further streams; a code in `length`.
    GoAway,
}

/// Opens a stream, or asks a ping.
pub const SYN: u16 = 1;
/// Accepts a stream, or answers a ping.
pub const ACK: u16 = 2;
/// The sender's half-close.
pub const FIN: u16 = 4;
/// The stream is reset.
pub const RST: u16 = 8;

/// GoAway: in order.
pub const NORMAL: u32 = 0;
/// GoAway: the peer broke the protocol.
pub const PROTOCOL_ERROR: u32 = 1;
/// GoAway: an error of our own.
pub const INTERNAL_ERROR: u32 = 2;

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The kind of frame.
    pub kind: Kind,
    /// [`SYN`], [`ACK`], [`FIN`], [`RST`] and nothing else.
    pub flags: u16,
    /// The stream; 0 for the connection.
    pub stream: u32,
    /// Payload bytes, window increment, ping value or code. In a window update with [`RST`] it is no increment: libp2p says
    /// there why, others say 0.
    pub length: u32,
}

impl Header {
    /// As it goes over the wire.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER] {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        let [f0, f1] = self.flags.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// The header in `bytes`, as far as one can tell without knowing the streams.
    ///
    /// # Errors
    /// A version, a kind, a flag or a stream id that does not exist.
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Self, YamuxViolation> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        if version != 0 {
            return Err(YamuxViolation::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(YamuxViolation::Kind(other)),
        };
        let flags = u16::from_be_bytes([f0, f1]);
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        if flags & !(SYN | ACK | FIN | RST) != 0 {
            return Err(YamuxViolation::Flags(flags));
        }
        let of_a_stream = matches!(kind, Kind::Data | Kind::WindowUpdate);
        if of_a_stream != (stream != 0) {
            return Err(YamuxViolation::StreamId { kind, stream });
        }
        Ok(Self { kind, flags, stream, length: u32::from_be_bytes([l0, l1, l2, l3]) })
    }

    /// Bytes that follow the header.
    #[must_use]
    pub const fn payload(self) -> u32 {
        match self.kind {
            Kind::Data => self.length,
            _ => 0,
        }
    }

    /// The flag is set.
    #[must_use]
    pub const fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}
