//! What a user of the kit says about a protocol of many streams.

use duologue_core::streams::{Multiplex, OpenError, StreamId};
use duologue_core::{Config, Instant, Protocol, Session};

use crate::subject::Role;

/// The event type of a subject's protocol.
pub type StreamEventOf<S> = <<S as StreamSubject>::Protocol as Protocol>::Event;

/// A stream that a side heard of, with a number by which both sides know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownStream {
    /// As this side names it.
    pub id: StreamId,
    /// The same number on both sides, never used twice.
    pub tag: u64,
}

/// A protocol of many streams under test.
pub trait StreamSubject {
    /// The protocol.
    type Protocol: Multiplex<Event: core::fmt::Debug>;

    /// A name for reports.
    fn name(&self) -> &'static str;

    /// How many configurations there are.
    fn variants(&self) -> usize {
        1
    }

    /// The protocol of one side.
    fn protocol(&self, role: Role, variant: usize) -> Self::Protocol;

    /// The configuration of one side.
    fn config(&self, role: Role, variant: usize) -> Config;

    /// Whether this side opens streams.
    fn opens(&self, role: Role) -> bool {
        let _ = role;
        true
    }

    /// Opens a stream; `fresh` was never given before.
    ///
    /// # Errors
    /// That cannot be now.
    fn open(
        &self,
        session: &mut Session<Self::Protocol>,
        role: Role,
        now: Instant,
        fresh: u64,
    ) -> Result<KnownStream, OpenError>;

    /// Streams that the application hears of by this event of its session's, with whatever it answers.
    fn heard(
        &self,
        session: &mut Session<Self::Protocol>,
        role: Role,
        now: Instant,
        event: &StreamEventOf<Self>,
    ) -> Vec<KnownStream>;

    /// The protocol resets streams by its own rules, when the call that opened one times out.
    fn resets_by_itself(&self) -> bool {
        false
    }

    /// Each side finishes by itself. Otherwise the finish of one is that of both, and what the other still had is given
    /// up and counted.
    fn half_close(&self) -> bool {
        true
    }
}
