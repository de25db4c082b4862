//! What the owner of a yamux session decides once.

use core::time::Duration;

use duologue_core::streams::{CreditStyle, StopStyle, StreamsConfig};

use crate::wire::INITIAL_WINDOW;

/// Limits and time-outs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct YamuxConfig {
    /// Bounds and rules for the streams. The wire fixes the rest: credit per stream by increments, windows of 256 KiB
    /// at least.
    pub streams: StreamsConfig,
    /// How long the answer to [`YamuxCommand::Ping`](crate::YamuxCommand::Ping) may take; then the peer is taken for
    /// dead. Default 10 s.
    pub ping_timeout: Duration,
    /// While data comes, the round trip is measured this often, by a ping: windows grow by it, and routes change.
    /// `None` measures once, at the beginning. Default 10 s, as the `yamux` crate.
    pub measure_every: Option<Duration>,
    /// Bytes queued ahead of the transport, at most. What is queued is no longer chosen fairly; too little costs
    /// writes. Default 64 KiB.
    pub ahead: usize,
}

impl Default for YamuxConfig {
    fn default() -> Self {
        Self {
            // 256 unaccepted streams are the backlog of both known implementations.
            streams: StreamsConfig::new().acknowledge(true).max_unaccepted(256),
            ping_timeout: Duration::from_secs(10),
            measure_every: Some(Duration::from_secs(10)),
            ahead: 64 << 10,
        }
    }
}

impl YamuxConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the bounds and rules for the streams.
    #[must_use]
    pub fn streams(mut self, streams: StreamsConfig) -> Self {
        self.streams = streams.acknowledge(true);
        self
    }

    /// Sets how long the answer to a ping may take.
    #[must_use]
    pub fn ping_timeout(mut self, ping_timeout: Duration) -> Self {
        self.ping_timeout = ping_timeout;
        self
    }

    /// Sets how often the round trip is measured while data comes.
    #[must_use]
    pub fn measure_every(mut self, measure_every: Option<Duration>) -> Self {
        self.measure_every = measure_every;
        self
    }

    /// Sets the bytes queued ahead of the transport.
    #[must_use]
    pub fn ahead(mut self, ahead: usize) -> Self {
        self.ahead = ahead;
        self
    }

    /// With what the wire fixes.
    pub(crate) fn fixed(&self) -> StreamsConfig {
        self.streams
            .credit(CreditStyle::Increments)
            .connection_credit(CreditStyle::Unlimited)
            .recv_window(self.streams.recv_window.max(INITIAL_WINDOW))
            .max_recv_window(self.streams.max_recv_window.max(INITIAL_WINDOW))
            .send_window(INITIAL_WINDOW)
            .largest_window(u32::MAX)
            .stop(StopStyle::Silent)
            .acknowledge(true)
            .messages(false)
    }
}
