//! A session as a value: whoever searches through all that can happen copies it, and knows a state again.

use crate::time::TimeoutReason;
use core::hash::{Hash, Hasher};

use super::Session;
use crate::protocol::Protocol;

/// Everything that decides how the session goes on, its clock and its counters with it; the configuration is left out.
/// For searches over states: two sessions of one configuration with equal hashes go on alike.
impl<P> Hash for Session<P>
where
    P: Protocol + Hash,
    P::Event: Hash,
    P::Violation: Hash,
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Destructured in full, so that a new field is a compile error and not a state that is taken for another.
        let Self {
            protocol,
            config: _,
            rx,
            tx,
            timers,
            rng,
            link,
            now,
            opening,
            recv,
            send,
            event,
            late,
            // Follows from the others.
            plain: _,
            starved,
            blocked,
            stuck,
            paused,
            wanted_room,
            writable,
            finish_wanted,
            peer_finished,
            first_fin,
            cause,
            goodbye_over,
            end_told,
            release,
            released,
            closed_taken,
            phase,
            opening_deadline,
            stage_deadline,
            probe_sent,
            can_probe,
            stalled_since,
            part_since,
            linger_left,
            undelivered,
            bytes_received,
            bytes_transmitted,
            events,
        } = self;
        (protocol, rx, tx, timers, rng, link, now).hash(state);
        (opening, recv, send, event, late, starved, blocked, stuck, paused).hash(state);
        (wanted_room, writable, finish_wanted, peer_finished, first_fin).hash(state);
        (cause, goodbye_over, end_told, release, released, closed_taken, phase).hash(state);
        (opening_deadline, stage_deadline, probe_sent, can_probe, stalled_since, part_since, linger_left).hash(state);
        (undelivered, bytes_received, bytes_transmitted, events).hash(state);
    }
}

/// The stages of closing that have a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// The peer's answer to our goodbye.
    Goodbye,
    Flush,
    PeerFirst,
    Linger,
}

impl Stage {
    #[inline]
    pub(super) fn reason(self) -> TimeoutReason {
        match self {
            Self::Goodbye => TimeoutReason::CloseHandshake,
            Self::Flush => TimeoutReason::Flush,
            Self::PeerFirst => TimeoutReason::PeerFirst,
            Self::Linger => TimeoutReason::Linger,
        }
    }
}
