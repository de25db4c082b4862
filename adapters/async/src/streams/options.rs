//! What the handles do by themselves, and how much waits.

use duologue_core::Code;

/// What the handles do by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MuxOptions {
    /// The code of the reset, or the stop, that says that a handle was dropped. Default 8, HTTP/2's CANCEL.
    pub dropped: Code,
    /// Events of the protocol's that are not about streams and wait for [`Mux::event`](super::Mux::event). Default 64.
    pub events: usize,
}

impl Default for MuxOptions {
    fn default() -> Self {
        Self { dropped: Code(8), events: 64 }
    }
}

impl MuxOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the code that says that a handle was dropped.
    #[must_use]
    pub fn dropped(mut self, dropped: Code) -> Self {
        self.dropped = dropped;
        self
    }

    /// Sets how many events that are not about streams wait.
    #[must_use]
    pub fn events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }
}
