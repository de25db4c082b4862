//! What the owner of a bRPC session decides once.

use core::time::Duration;

use duologue_core::streams::{AbuseBudget, CreditStyle, StopStyle, StreamsConfig, StreamsError};
use thiserror::Error;

/// Limits and time-outs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrpcConfig {
    /// Bounds and rules for the streams. `send_window` is how far we send ahead of the peer's feedback (bRPC's
    /// `max_buf_size`, 2 MiB); `recv_window` is how many unread bytes we keep per stream (4 MiB): the wire has no word
    /// for it, so a peer with a larger window that overruns it has its stream reset.
    pub streams: StreamsConfig,
    /// Largest request, response or segment that is taken, in bytes. Default 64 MiB, as bRPC's `max_body_size`.
    pub max_body: u32,
    /// Largest meta of a call, in bytes. Default 64 KiB.
    pub max_meta: u32,
    /// Largest message of a stream, both ways, in bytes: a larger one is refused by `send`, and has its stream reset
    /// when it comes. Default 4 MiB.
    pub max_message: u32,
    /// Longest segment that we send. Not beyond `max_body`, which is the peer's as well. Default 256 KiB.
    pub max_segment: u32,
    /// Most calls that wait for their response, or whose failure was not taken yet. Default 1024.
    pub max_calls: usize,
    /// Most requests that wait for their reply; further ones are answered by ELIMIT. Default 1024.
    pub max_requests: usize,
    /// Most streams of one call; a request with more is answered by EREQUEST. Default 64.
    pub max_streams_per_call: usize,
    /// How long a call waits, unless it says otherwise. Default 10 s; calls never wait for ever.
    pub call_timeout: Duration,
    /// How long the peer's CLOSE may take after ours. Default 10 s. An earlier deadline of the stream's own comes first, and
    /// after the peer's CLOSE only that one counts, for what was not read yet.
    pub close_timeout: Duration,
    /// Whether we take data on streams (bRPC: there is a handler). Default true.
    pub writable: bool,
    /// Whether we have a send window and ask for feedback (bRPC: `max_buf_size` is positive). Default true. Without it
    /// only the transport holds a stream's sender back, and a peer that keeps no more unread resets the stream.
    pub need_feedback: bool,
    /// Bytes queued ahead of the transport, at most. Default 256 KiB.
    pub ahead: usize,
}

/// Limits that cannot work. Nothing was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BrpcError {
    /// Of the streams.
    #[error(transparent)]
    Streams(#[from] StreamsError),
    /// A segment would be refused by the same limits on the other side.
    #[error("segments of {segment} bytes do not fit into bodies of {body}: lower max_segment or raise max_body")]
    Segment {
        /// `max_segment`.
        segment: u32,
        /// `max_body`.
        body: u32,
    },
}

impl Default for BrpcConfig {
    fn default() -> Self {
        // Feedback is part of how bRPC works: one per small message is no abuse.
        let abuse = AbuseBudget { bytes_per_token: 1, ..AbuseBudget::default() };
        Self {
            streams: StreamsConfig::new()
                .send_window(2 << 20)
                .recv_window(4 << 20)
                .turn_bytes(64 << 10)
                // A default window of the peer's, full of the original example's messages of 26 bytes, is 80 660.
                .recv_pieces(128 << 10)
                .abuse(abuse),
            max_body: 64 << 20,
            max_meta: 64 << 10,
            max_message: 4 << 20,
            max_segment: 256 << 10,
            max_calls: 1024,
            max_requests: 1024,
            max_streams_per_call: 64,
            call_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            writable: true,
            need_feedback: true,
            ahead: 256 << 10,
        }
    }
}

impl BrpcConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With what the wire fixes.
    pub(crate) fn fixed(&self) -> Result<StreamsConfig, BrpcError> {
        /// A segment has to leave room for its meta.
        const META: u32 = 64;
        if self.max_segment.saturating_add(META) > self.max_body || self.max_segment == 0 {
            return Err(BrpcError::Segment { segment: self.max_segment, body: self.max_body });
        }
        Ok(self
            .streams
            .credit(CreditStyle::Totals)
            .connection_credit(CreditStyle::Unlimited)
            .max_recv_window(self.streams.recv_window)
            // The receiver does not know the sender's window: everything consumed is told.
            .grant_fraction(31)
            .messages(true)
            .send_buffer(self.max_message)
            .max_piece(self.max_segment)
            .stop(StopStyle::AtOnce)
            .acknowledge(false))
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl BrpcConfig {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            }
        )*}
    };
}

setters! {
    /// Sets the bounds and rules for the streams.
    streams: StreamsConfig,
    /// Sets the largest frame that is taken.
    max_body: u32,
    /// Sets the largest meta of a call.
    max_meta: u32,
    /// Sets the largest message of a stream.
    max_message: u32,
    /// Sets the longest segment.
    max_segment: u32,
    /// Sets the most calls that wait.
    max_calls: usize,
    /// Sets the most requests that wait.
    max_requests: usize,
    /// Sets the most streams of one call.
    max_streams_per_call: usize,
    /// Sets how long a call waits by itself.
    call_timeout: Duration,
    /// Sets how long the peer's CLOSE may take.
    close_timeout: Duration,
    /// Says whether we take data on streams.
    writable: bool,
    /// Says whether we have a send window.
    need_feedback: bool,
    /// Sets the bytes queued ahead of the transport.
    ahead: usize,
}
