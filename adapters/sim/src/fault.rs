//! Faults as data: what goes wrong, where, and when.

use serde::{Deserialize, Serialize};

/// Which direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// From the side that dialled.
    ToServer,
    /// To the side that dialled.
    ToClient,
    /// Both.
    Both,
}

impl Way {
    /// The lanes meant: the index of the side that writes.
    pub(crate) fn lanes(self) -> &'static [usize] {
        match self {
            Self::ToServer => &[0],
            Self::ToClient => &[1],
            Self::Both => &[0, 1],
        }
    }
}

/// Something that goes wrong. Connections count in the order of their dialling, hosts in the order of their making;
/// a fault for a connection that is not dialled yet waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// What is written from now on leaves only after this time. Nothing is lost.
    Stall {
        /// The connection.
        connection: u32,
        /// The direction.
        way: Way,
        /// How long.
        nanos: u64,
    },
    /// Nothing arrives, not even what is in flight. When it ends, bytes and FIN are sent again; resets are not.
    BlackHole {
        /// The connection.
        connection: u32,
        /// The direction.
        way: Way,
        /// How long; `None` is for ever.
        nanos: Option<u64>,
    },
    /// Every read brings at most this many bytes.
    PartialReads {
        /// The connection.
        connection: u32,
        /// Bytes, at least 1.
        most: u32,
    },
    /// Every write takes at most this many bytes.
    PartialWrites {
        /// The connection.
        connection: u32,
        /// Bytes, at least 1.
        most: u32,
    },
    /// Both sides are reset once this many bytes of a direction were written; the reader gets them first.
    ResetAt {
        /// The connection.
        connection: u32,
        /// The direction.
        way: Way,
        /// Bytes of the stream that get through.
        byte: u64,
    },
    /// The reader gets FIN after this many bytes of a direction, whatever the writer still writes; who writes on is
    /// reset.
    FinAt {
        /// The connection.
        connection: u32,
        /// The direction.
        way: Way,
        /// Bytes of the stream that get through.
        byte: u64,
    },
    /// Both sides are reset, after what is in flight.
    Reset {
        /// The connection.
        connection: u32,
    },
    /// Latency and jitter change, for what is written from now on.
    Latency {
        /// The connection.
        connection: u32,
        /// The new latency.
        nanos: u64,
        /// The new jitter.
        jitter_nanos: u64,
    },
    /// The bandwidth changes.
    Bandwidth {
        /// The connection.
        connection: u32,
        /// The new bandwidth; 0 is without bound.
        bytes_per_second: u64,
    },
    /// The capacity changes; what is in the pipe stays there.
    Capacity {
        /// The connection.
        connection: u32,
        /// Bytes, at least 1.
        bytes: u32,
    },
    /// A host is gone: it sends and does nothing any more, and nobody is told.
    HostDies {
        /// The host.
        host: u32,
    },
    /// A host's clock jumps.
    ClockJump {
        /// The host.
        host: u32,
        /// By how much, backward if negative.
        nanos: i64,
    },
    /// A host's clock runs fast or slow from now on.
    ClockSkew {
        /// The host.
        host: u32,
        /// Parts per million that it is fast, from -500 000 to 1 000 000.
        ppm: i32,
    },
    /// A host refuses connections for a while.
    RefuseConnects {
        /// The host.
        host: u32,
        /// How long.
        nanos: u64,
    },
    /// Connection requests to a host take longer, for good.
    SlowConnects {
        /// The host.
        host: u32,
        /// How much longer.
        nanos: u64,
    },
    /// A host's listeners take nothing off their queues for a while, so that these overflow.
    AcceptStall {
        /// The host.
        host: u32,
        /// How long.
        nanos: u64,
    },
}

impl Fault {
    /// The name of every kind, in the order of [`kind`](Self::kind).
    pub const KINDS: [&'static str; 16] = [
        "stall",
        "black-hole",
        "partial-reads",
        "partial-writes",
        "reset-at",
        "fin-at",
        "reset",
        "latency",
        "bandwidth",
        "capacity",
        "host-dies",
        "clock-jump",
        "clock-skew",
        "refuse-connects",
        "slow-connects",
        "accept-stall",
    ];

    /// Which kind it is: an index into [`KINDS`](Self::KINDS).
    #[must_use]
    pub const fn kind(&self) -> usize {
        match self {
            Self::Stall { .. } => 0,
            Self::BlackHole { .. } => 1,
            Self::PartialReads { .. } => 2,
            Self::PartialWrites { .. } => 3,
            Self::ResetAt { .. } => 4,
            Self::FinAt { .. } => 5,
            Self::Reset { .. } => 6,
            Self::Latency { .. } => 7,
            Self::Bandwidth { .. } => 8,
            Self::Capacity { .. } => 9,
            Self::HostDies { .. } => 10,
            Self::ClockJump { .. } => 11,
            Self::ClockSkew { .. } => 12,
            Self::RefuseConnects { .. } => 13,
            Self::SlowConnects { .. } => 14,
            Self::AcceptStall { .. } => 15,
        }
    }

    /// The connection that it is about, if it is about one.
    #[must_use]
    pub const fn connection(&self) -> Option<u32> {
        match *self {
            Self::Stall { connection, .. }
            | Self::BlackHole { connection, .. }
            | Self::PartialReads { connection, .. }
            | Self::PartialWrites { connection, .. }
            | Self::ResetAt { connection, .. }
            | Self::FinAt { connection, .. }
            | Self::Reset { connection }
            | Self::Latency { connection, .. }
            | Self::Bandwidth { connection, .. }
            | Self::Capacity { connection, .. } => Some(connection),
            _ => None,
        }
    }
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedFault {
    /// Nanoseconds after the start of the world.
    pub at: u64,
    /// What goes wrong then.
    pub fault: Fault,
}
