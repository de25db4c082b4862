//! What happened, as a hash and, if wanted, as a list to read.

use std::fmt;

/// Which connection end something happened at: the connection's number and the side, 0 for the dialler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The connection.
    pub connection: u32,
    /// 0: the side that dialled; 1: the side that accepted.
    pub side: u8,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.side == 0 { "client" } else { "server" }, self.connection)
    }
}

/// Something that happened at an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// A connection request was sent.
    Dialled,
    /// A connection request was lost or dropped; it is sent again later.
    RequestDropped,
    /// The dialler is connected.
    Connected,
    /// The dialler gave up, or was refused.
    ConnectFailed,
    /// A listener handed the connection to its owner.
    Accepted,
    /// Bytes were written.
    Wrote(u32),
    /// Bytes arrived.
    Arrived(u32),
    /// Bytes were read.
    Read(u32),
    /// FIN was sent.
    FinSent,
    /// FIN arrived.
    FinArrived,
    /// A reset was sent.
    ResetSent,
    /// A reset arrived.
    ResetArrived,
    /// The owner let the socket go.
    Released,
    /// TIME_WAIT began.
    TimeWait,
    /// The session's owner was told of its end: the first eight bytes of the cause's name.
    Closed(u64),
    /// A fault of the schedule came, by its kind.
    Fault(u32),
    /// A kernel sent a keepalive probe.
    Probed,
    /// A kernel gave up on the peer.
    GaveUp,
}

impl Happening {
    #[inline]
    fn word(self) -> (u64, u64) {
        match self {
            Self::Dialled => (1, 0),
            Self::RequestDropped => (2, 0),
            Self::Connected => (3, 0),
            Self::ConnectFailed => (4, 0),
            Self::Accepted => (5, 0),
            Self::Wrote(n) => (6, n as u64),
            Self::Arrived(n) => (7, n as u64),
            Self::Read(n) => (8, n as u64),
            Self::FinSent => (9, 0),
            Self::FinArrived => (10, 0),
            Self::ResetSent => (11, 0),
            Self::ResetArrived => (12, 0),
            Self::Released => (13, 0),
            Self::TimeWait => (14, 0),
            Self::Closed(name) => (15, name),
            Self::Fault(kind) => (16, kind as u64),
            Self::Probed => (17, 0),
            Self::GaveUp => (18, 0),
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialled => f.write_str("dials"),
            Self::RequestDropped => f.write_str("connection request lost"),
            Self::Connected => f.write_str("connected"),
            Self::ConnectFailed => f.write_str("connect failed"),
            Self::Accepted => f.write_str("accepted"),
            Self::Wrote(n) => write!(f, "wrote {n} bytes"),
            Self::Arrived(n) => write!(f, "{n} bytes arrived"),
            Self::Read(n) => write!(f, "read {n} bytes"),
            Self::FinSent => f.write_str("sent FIN"),
            Self::FinArrived => f.write_str("FIN arrived"),
            Self::ResetSent => f.write_str("sent RST"),
            Self::ResetArrived => f.write_str("RST arrived"),
            Self::Released => f.write_str("socket released"),
            Self::TimeWait => f.write_str("TIME_WAIT"),
            Self::Closed(name) => {
                f.write_str("session closed: ")?;
                f.write_str(std::str::from_utf8(&name.to_le_bytes()).unwrap_or("?").trim_end_matches('\0'))
            }
            Self::Probed => f.write_str("keepalive probe"),
            Self::GaveUp => f.write_str("the kernel gave up on the peer"),
            Self::Fault(kind) => {
                write!(f, "FAULT {}", crate::Fault::KINDS.get(*kind as usize).copied().unwrap_or("?"))
            }
        }
    }
}

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The true time, in nanoseconds after the start of the world.
    pub at: u64,
    /// Where.
    pub end: End,
    /// What.
    pub what: Happening,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, rest) = (self.at / 1_000_000, self.at % 1_000_000);
        write!(f, "{millis:>9}.{rest:06} ms  {:<10} {}", self.end.to_string(), self.what)
    }
}

/// The hash of all that happened, of integers only, so that it is the same on every platform and build profile.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    entries: Option<Vec<Entry>>,
    most: usize,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        Self { hash: seed ^ 0xcbf2_9ce4_8422_2325, entries: None, most: 0 }
    }

    pub(crate) fn record(&mut self, most: usize) {
        self.most = most;
        self.entries = Some(Vec::new());
    }

    #[inline]
    pub(crate) fn note(&mut self, at: u64, end: End, what: Happening) {
        let (code, n) = what.word();
        self.mix(at ^ (code << 56) ^ (u64::from(end.connection) << 40) ^ (u64::from(end.side) << 39));
        if n != 0 {
            self.mix(n);
        }
        if self.entries.is_some() {
            self.keep(Entry { at, end, what });
        }
    }

    #[cold]
    fn keep(&mut self, entry: Entry) {
        let most = self.most;
        if let Some(entries) = &mut self.entries {
            // Moved rarely, so that keeping one costs little.
            if entries.len() >= 2 * most {
                entries.drain(..most);
            }
            entries.push(entry);
        }
    }

    /// Adds the content of what was written. The words do not wait for one another.
    #[inline]
    pub(crate) fn content(&mut self, bytes: &[u8]) {
        let (mut sum, mut place) = (0_u64, bytes.len() as u64);
        let mut add = |word: u64| {
            place = place.wrapping_add(0xd6e8_feb8_6659_fd93);
            let term = (word ^ place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            sum = sum.wrapping_add(term ^ term >> 32);
        };
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            add(word.try_into().map_or(0, u64::from_le_bytes));
        }
        add(words.remainder().iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)));
        self.mix(sum);
    }

    #[inline]
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash ^= self.hash >> 29;
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        let entries = self.entries.as_deref().unwrap_or_default();
        &entries[entries.len().saturating_sub(self.most)..]
    }
}

/// A cause's name in the eight bytes that a trace keeps.
pub(crate) fn short(name: &str) -> u64 {
    name.bytes().take(8).rev().fold(0, |n, b| n << 8 | u64::from(b))
}
