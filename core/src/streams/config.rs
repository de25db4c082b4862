//! What the owner of many streams decides once.

use super::{AbuseBudget, CreditStyle, StreamsError};
use crate::closed::Code;
use crate::config::setters;

/// Bounds and rules for the streams of one connection. Windows that the wire fixes are set by the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsConfig {
    /// Most streams that exist at once, those included whose end nobody took yet. Default 1024.
    pub slots: u32,
    /// Most streams that the peer may have open. Default 512.
    pub max_peer: u32,
    /// Most streams that we may have open, until the peer tells its own limit. Default 512.
    pub max_local: u32,
    /// Most of our streams that the peer has not accepted yet, where it accepts streams one by one. Default
    /// `u32::MAX`: the wire has no word for it.
    pub max_unaccepted: u32,

    /// How credit is told per stream.
    pub credit: CreditStyle,
    /// How credit is told for the whole connection.
    pub connection_credit: CreditStyle,
    /// Bytes that the peer may send on a new stream, unread. Default 256 KiB.
    pub recv_window: u32,
    /// To how much a stream's window may grow by itself while its reader keeps up; see
    /// [`Streams::set_rtt`](super::Streams::set_rtt). Default 16 MiB.
    pub max_recv_window: u32,
    /// Bytes by which all windows together may have grown. Default 256 MiB.
    pub recv_growth: u64,
    /// Bytes that we may send on a new stream, until the peer tells otherwise. Default 256 KiB.
    pub send_window: u32,
    /// Bytes that the peer may send on all streams together. Default 16 MiB.
    pub connection_recv_window: u32,
    /// Bytes that we may send on all streams together. Default 64 KiB - 1.
    pub connection_send_window: u32,
    /// The largest window that the wire can express. Default 2^31 - 1.
    pub largest_window: u32,
    /// Credit is given back once it is a half (1), a quarter (2), ... of the window. Default 1.
    pub grant_fraction: u8,

    /// Whether messages have ends: then one is admitted as long as any credit is left, whole, and pieces of different
    /// messages are never joined. Default false: streams of bytes.
    pub messages: bool,
    /// Most empty messages that one stream keeps unread: they take no credit. What has content is bounded by the window
    /// alone, however the peer cuts it. Default 4096.
    pub recv_pieces: u32,
    /// Most bytes that one stream accepts and has not sent. Default 64 KiB.
    pub send_buffer: u32,
    /// Most messages that one stream accepts and has not sent. Default 1024.
    pub send_pieces: u32,
    /// Largest piece of data ordered at once: large messages are cut, so that no stream blocks the others.
    /// Default 16 KiB.
    pub max_piece: u32,
    /// Bytes that a stream of weight 1 may send in one turn. Default 16 KiB.
    pub turn_bytes: u32,
    /// Pieces that a stream may send in one turn. Default 32.
    pub turn_pieces: u16,

    /// How the peer is told that we read no more of a stream.
    pub stop: StopStyle,
    /// Whether each stream of the peer's is acknowledged by an order. Default false.
    pub acknowledge: bool,
    /// The reset code that says that a stream's deadline passed.
    pub deadline_code: Code,
    /// How much of what a peer can make us do for nothing is taken.
    pub abuse: AbuseBudget,
}

/// How the peer is told that we read no more of a stream. What still comes is thrown away in any case, and its credit
/// goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum StopStyle {
    /// Not at all: the wire has no word for it.
    #[default]
    Silent,
    /// At once, by an order of its own; the peer answers with its finish.
    AtOnce,
    /// After our own finish, because it ends the whole stream on the wire (HTTP/2's early response).
    AfterFinish,
}

/// How a stream is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Its share of the connection when several streams have data: 1 to 255. Default 16.
    pub weight: u8,
    /// Whether the protocol is ordered to announce it ([`StreamOrder::Open`](super::StreamOrder::Open)). Default true; false if it announces
    /// streams otherwise, in a call.
    pub announce: bool,
    /// Whether its data waits until the peer accepted it. Default false.
    pub wait: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { weight: 16, announce: true, wait: false }
    }
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            slots: 1024,
            max_peer: 512,
            max_local: 512,
            max_unaccepted: u32::MAX,
            credit: CreditStyle::Increments,
            connection_credit: CreditStyle::Unlimited,
            recv_window: 256 << 10,
            max_recv_window: 16 << 20,
            recv_growth: 256 << 20,
            send_window: 256 << 10,
            connection_recv_window: 16 << 20,
            connection_send_window: (64 << 10) - 1,
            largest_window: (1 << 31) - 1,
            grant_fraction: 1,
            messages: false,
            recv_pieces: 4096,
            send_buffer: 64 << 10,
            send_pieces: 1024,
            max_piece: 16 << 10,
            turn_bytes: 16 << 10,
            turn_pieces: 32,
            stop: StopStyle::Silent,
            acknowledge: false,
            deadline_code: Code(0),
            abuse: AbuseBudget::default(),
        }
    }
}

setters!(StreamsConfig {
    /// Sets the bound on streams that exist at once.
    slots: u32,
    /// Sets the bound on the peer's open streams.
    max_peer: u32,
    /// Sets the bound on our open streams.
    max_local: u32,
    /// Sets the bound on our streams that were not accepted yet.
    max_unaccepted: u32,
    /// Chooses how credit is told per stream.
    credit: CreditStyle,
    /// Chooses how credit is told for the connection.
    connection_credit: CreditStyle,
    /// Sets what the peer may send on a new stream, unread.
    recv_window: u32,
    /// Sets to how much a stream's window may grow.
    max_recv_window: u32,
    /// Sets by how much all windows together may have grown.
    recv_growth: u64,
    /// Sets what we may send on a new stream.
    send_window: u32,
    /// Sets what the peer may send on all streams together.
    connection_recv_window: u32,
    /// Sets what we may send on all streams together.
    connection_send_window: u32,
    /// Sets the largest window that the wire can express.
    largest_window: u32,
    /// Sets from which part of the window on credit is given back.
    grant_fraction: u8,
    /// Chooses whether messages have ends.
    messages: bool,
    /// Sets the bound on unread empty messages per stream.
    recv_pieces: u32,
    /// Sets the bound on accepted, unsent bytes per stream.
    send_buffer: u32,
    /// Sets the bound on accepted, unsent messages per stream.
    send_pieces: u32,
    /// Sets the largest piece of data ordered at once.
    max_piece: u32,
    /// Sets the bytes of one turn, for weight 1.
    turn_bytes: u32,
    /// Sets the pieces of one turn.
    turn_pieces: u16,
    /// Chooses how the peer is told that we read no more.
    stop: StopStyle,
    /// Chooses whether the peer's streams are acknowledged.
    acknowledge: bool,
    /// Sets the reset code of a passed deadline.
    deadline_code: Code,
    /// Sets how much abuse is taken.
    abuse: AbuseBudget,
});

impl StreamsConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn validate(&self) -> Result<(), StreamsError> {
        let nonzero = [
            ("slots", self.slots),
            ("recv_pieces", self.recv_pieces),
            ("send_buffer", self.send_buffer),
            ("send_pieces", self.send_pieces),
            ("max_piece", self.max_piece),
            ("turn_bytes", self.turn_bytes),
            ("turn_pieces", u32::from(self.turn_pieces)),
            ("largest_window", self.largest_window),
        ];
        if let Some((name, _)) = nonzero.into_iter().find(|(_, value)| *value == 0) {
            return Err(StreamsError::Zero { name });
        }
        let windows = [
            ("recv_window", self.recv_window),
            ("max_recv_window", self.max_recv_window),
            ("send_window", self.send_window),
            ("connection_recv_window", self.connection_recv_window),
            ("connection_send_window", self.connection_send_window),
        ];
        let limit = self.largest_window;
        match windows.into_iter().find(|(_, window)| *window > limit) {
            Some((name, window)) => Err(StreamsError::Window { name, window, limit }),
            None => Ok(()),
        }
    }
}
