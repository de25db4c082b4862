//! Changing the protocol of a session in the middle of the stream.

use alloc::boxed::Box;
use core::fmt;

use thiserror::Error;

use super::{Opening, Session, context};
use crate::driver::{Driver, Timekeeper, Transport};
use crate::protocol::Protocol;
use crate::time::Instant;
use crate::timers::Timers;

/// An upgrade that cannot be done; the session comes back as it was.
pub struct UpgradeRefused<P: Protocol> {
    /// The session, unchanged.
    pub session: Box<Session<P>>,
    /// Why not.
    pub why: WhyNot,
}

impl<P: Protocol> fmt::Debug for UpgradeRefused<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeRefused").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<P: Protocol> fmt::Display for UpgradeRefused<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<P: Protocol> core::error::Error for UpgradeRefused<P> {}

/// Why an upgrade was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WhyNot {
    /// Messages of the old protocol wait to be taken.
    #[error("events of the old protocol wait; take them before upgrading")]
    EventsWaiting,
    /// A half is finished or the session is ending.
    #[error("the session is finishing or closed; only a session open both ways can be upgraded")]
    NotOpen,
    /// The old protocol holds accepted messages back.
    #[error("the old protocol still holds accepted messages back; wait until they are sent")]
    Holding,
}

impl<P: Protocol> Session<P> {
    /// Continues the same byte stream with another protocol: bytes received and not decoded are the new
    /// protocol's, bytes queued go out first. The new protocol starts, and has the handshake time for its opening.
    ///
    /// # Errors
    /// The session comes back unchanged, with the reason, and `change` is not called. A new protocol that needs more
    /// than [`Limits::recv_buffer`](crate::Limits::recv_buffer) at once ends by that limit when it comes to it.
    pub fn upgrade<Q: Protocol>(
        self,
        now: Instant,
        change: impl FnOnce(P) -> Q,
    ) -> Result<Session<Q>, UpgradeRefused<P>> {
        let why = if self.cause.is_some()
            || self.finish_wanted
            || self.recv != crate::RecvState::Open
            || self.send != crate::SendState::Open
            || self.opening == Opening::Connecting
        {
            Some(WhyNot::NotOpen)
        } else if self.event.is_some() || !self.late.is_empty() || self.protocol.has_event() {
            Some(WhyNot::EventsWaiting)
        } else if self.tx.ledger().held > 0 || !self.protocol.quiescent() {
            Some(WhyNot::Holding)
        } else {
            None
        };
        if let Some(why) = why {
            return Err(UpgradeRefused { session: Box::new(self), why });
        }
        Ok(self.continue_as(now, change))
    }

    fn continue_as<Q: Protocol>(mut self, now: Instant, change: impl FnOnce(P) -> Q) -> Session<Q> {
        let now = self.observe(now);
        let wait = self.config.timeouts.handshake;
        self.link.established = false;
        let mut session = Session {
            protocol: change(self.protocol),
            timers: Timers::new(),
            event: None,
            late: super::Late::new(),
            cause: None,
            opening: Opening::Handshaking,
            opening_deadline: wait.map(|wait| now.after(wait)),
            plain: false,
            starved: false,
            blocked: false,
            stuck: 0,
            can_probe: self.config.timeouts.keepalive.is_some(),
            probe_sent: None,
            config: self.config,
            rx: self.rx,
            tx: self.tx,
            rng: self.rng,
            link: self.link,
            now,
            recv: self.recv,
            send: self.send,
            paused: self.paused,
            wanted_room: self.wanted_room,
            writable: self.writable,
            finish_wanted: false,
            peer_finished: self.peer_finished,
            first_fin: self.first_fin,
            goodbye_over: false,
            end_told: false,
            release: None,
            released: false,
            closed_taken: false,
            phase: None,
            stage_deadline: None,
            stalled_since: self.stalled_since,
            part_since: None,
            linger_left: self.linger_left,
            undelivered: self.undelivered,
            bytes_received: self.bytes_received,
            bytes_transmitted: self.bytes_transmitted,
            events: self.events,
        };
        session.protocol.start(&mut context!(session, now));
        session.after_protocol(now);
        session.settle(now);
        session
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Driver<P, T, K> {
    /// Continues over the same transport with another protocol: see [`Session::upgrade`].
    ///
    /// # Errors
    /// The driver comes back as it was, with the reason, and `change` is not called.
    pub fn upgrade<Q: Protocol>(mut self, change: impl FnOnce(P) -> Q) -> Result<Driver<Q, T, K>, Box<(Self, WhyNot)>> {
        let now = self.now();
        let (session, transport, timekeeper) = self.into_parts();
        match session.upgrade(now, change) {
            Ok(session) => Ok(Driver::new(session, transport, timekeeper)),
            Err(refused) => Err(Box::new((Self::new(*refused.session, transport, timekeeper), refused.why))),
        }
    }
}
