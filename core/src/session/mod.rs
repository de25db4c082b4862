//! The session: one conversation over one byte stream, as a deterministic machine.
//!
//! ```text
//!            received, received_eof                 poll_event, handle
//!  transport ────────────────────────▶ receive half ───────────────────▶ application
//!            ◀──────────────────────── send half    ◀───────────────────
//!            transmit, shutdown_write               send, finish, close, abort
//! ```
//!
//! Facts come in past tense, intents in the imperative, and [`Session::interest`] says at any time all that the
//! machine wants. The order of closing is in `ending`, decoding in `receive` and `in_place`, intents in `intents`,
//! facts in `facts`, wishes in `interest` and `deadlines`.

mod access;
mod deadlines;
mod ending;
mod facts;
mod in_place;
mod intents;
mod interest;
mod late;
mod receive;
mod state;
mod upgrade;

use alloc::sync::Arc;
use core::fmt;

use bytes::BytesMut;

use crate::closed::{Cause, Closed, Phase, Release, Side};
use crate::config::{Config, LimitsError};
use crate::halves::{RecvState, SendState};
use crate::protocol::{Cx, Link, Protocol};
use crate::recv_buf::RecvBuf;
use crate::rng::Rng;
use crate::send_queue::SendQueue;
use crate::time::{Instant, ReadTime};
use crate::timers::Timers;

pub use access::ProtocolMut;
use access::Time;
pub use in_place::Replies;
pub use interest::Interest;
use late::Late;
use state::Stage;
pub use upgrade::{UpgradeRefused, WhyNot};

/// What a session tells its application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<E, V> {
    /// A message of the protocol's.
    App(E),
    /// A message that was refused for want of room, or before the session was open, now fits.
    Writable,
    /// The peer sends nothing more. Everything before was delivered.
    PeerFinished,
    /// The end, once, and the last event.
    Closed(Closed<V>),
}

/// Counters of a session, all since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes handed to the transport.
    pub bytes_transmitted: u64,
    /// Messages delivered to the application.
    pub events: u64,
    /// Messages accepted from the application.
    pub accepted: u64,
    /// Accepted messages that were wholly handed to the transport.
    pub flushed: u64,
    /// Accepted messages of which at least one byte was handed to the transport. Of those accepted later the peer
    /// cannot know anything: they may be sent again elsewhere.
    pub begun: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Opening {
    Connecting,
    Handshaking,
    Established,
}

/// One conversation over one byte stream, as a deterministic machine: it has no clock, no socket and no thread.
///
/// | you | call |
/// |---|---|
/// | ask what it wants now | [`interest`](Self::interest): as often as you like, and again after every other call |
/// | say what happened | [`received`](Self::received), [`received_eof`](Self::received_eof), [`transmitted`](Self::transmitted), [`shutdown_done`](Self::shutdown_done), [`transport_failed`](Self::transport_failed), [`released`](Self::released), [`handle_timeout`](Self::handle_timeout) |
/// | want something | [`send`](Self::send), [`finish`](Self::finish), [`shutdown_read`](Self::shutdown_read), [`close`](Self::close), [`abort`](Self::abort) |
/// | take what came | [`poll_event`](Self::poll_event), and [`handle`](Self::handle) under [`Delivery::InPlace`](crate::Delivery::InPlace) |
///
/// All but the questions take the time of the call, from one clock that never goes back (a time earlier than the last
/// one counts as the last one). It ends exactly once, with [`Event::Closed`], after its transport was
/// [`released`](Self::released). Most people let a [`Driver`](crate::driver::Driver) make these calls.
///
/// A copy goes on as the original would: for searches over all that can happen.
#[derive(Clone)]
pub struct Session<P: Protocol> {
    protocol: P,
    config: Arc<Config>,
    rx: RecvBuf,
    tx: SendQueue,
    timers: Timers<P::Timer>,
    rng: Rng,
    link: Link,
    now: Instant,

    opening: Opening,
    recv: RecvState,
    send: SendState,

    /// The message decoded ahead.
    event: Option<P::Event>,
    /// Messages that timers made.
    late: Late<P::Event>,
    /// Nothing is under way but plain traffic: calls on the hot path need not settle. False is always safe.
    plain: bool,
    /// `decode` asked for more and nothing that could change its mind happened since.
    starved: bool,
    /// It asked for a command of the application instead: see [`Cx::await_command`].
    blocked: bool,
    /// How often in a row `decode` made progress without consuming a byte.
    stuck: u8,
    /// The receive buffer is full because the application takes no events: silence proves nothing now.
    paused: bool,

    /// Room that a refused message needs.
    wanted_room: Option<usize>,
    writable: bool,
    /// Intents that came before the session was open.
    finish_wanted: bool,
    peer_finished: PeerFinished,
    first_fin: Option<Side>,

    cause: Option<Cause<P::Violation>>,
    goodbye_over: bool,
    /// The protocol was told of the end.
    end_told: bool,
    release: Option<Release>,
    released: bool,
    closed_taken: bool,
    phase: Option<Phase>,

    /// Of connecting, then of the handshake. Instants and not deadlines, whose reasons weigh more than they do.
    opening_deadline: Option<Instant>,
    /// The deadline of the closing stage reached: goodbye, flush, peer-first or linger.
    stage_deadline: Option<(Instant, Stage)>,
    probe_sent: Option<Instant>,
    can_probe: bool,
    /// Since when the queued bytes make no progress.
    stalled_since: Option<Instant>,
    /// When the first bytes of the message came that is not complete.
    part_since: Option<Instant>,
    linger_left: u64,

    undelivered: u64,
    bytes_received: u64,
    bytes_transmitted: u64,
    events: u64,
}

/// The peer's FIN as the application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PeerFinished {
    NotYet,
    Seen,
    /// All before it was decoded; the event waits to be taken.
    Due,
    Taken,
}

impl<P: Protocol> fmt::Debug for Session<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("recv", &self.recv)
            .field("send", &self.send)
            .field("cause", &self.cause)
            .field("buffered", &self.buffered())
            .field("interest", &self.interest())
            .finish_non_exhaustive()
    }
}

impl<P: Protocol> Session<P> {
    /// A session over a transport that is connected already. `seed` feeds the protocol's randomness.
    ///
    /// # Errors
    /// The limits cannot work, for this protocol or at all.
    pub fn new(protocol: P, config: impl Into<Arc<Config>>, seed: u64, now: Instant) -> Result<Self, LimitsError> {
        let mut session = Self::connecting(protocol, config, seed, now)?;
        session.connected(now);
        Ok(session)
    }

    /// A session whose transport is still being connected: it wants nothing but its connect deadline until
    /// [`connected`](Self::connected).
    ///
    /// # Errors
    /// The limits cannot work, for this protocol or at all.
    // A session is large: inlined, it is moved once to where it stays.
    #[inline(always)]
    pub fn connecting(
        protocol: P,
        config: impl Into<Arc<Config>>,
        seed: u64,
        now: Instant,
    ) -> Result<Self, LimitsError> {
        let config = config.into();
        let limits = config.limits;
        limits.validate(protocol.max_unit())?;
        let connect = config.timeouts.connect;
        Ok(Self {
            protocol,
            rx: RecvBuf::new(limits.recv_buffer, limits.read_chunk),
            tx: SendQueue::new(limits.send_buffer, limits.control_reserve, limits.share_threshold),
            timers: Timers::new(),
            rng: Rng::new(seed),
            link: Link::new(now),
            now,
            opening: Opening::Connecting,
            recv: RecvState::Open,
            send: SendState::Open,
            event: None,
            late: Late::new(),
            plain: false,
            starved: true,
            blocked: false,
            stuck: 0,
            paused: false,
            wanted_room: None,
            writable: false,
            finish_wanted: false,
            peer_finished: PeerFinished::NotYet,
            first_fin: None,
            cause: None,
            goodbye_over: false,
            end_told: false,
            release: None,
            released: false,
            closed_taken: false,
            phase: None,
            opening_deadline: connect.map(|wait| now.after(wait)),
            stage_deadline: None,
            probe_sent: None,
            can_probe: config.timeouts.keepalive.is_some(),
            stalled_since: None,
            part_since: None,
            linger_left: limits.linger_bytes,
            undelivered: 0,
            bytes_received: 0,
            bytes_transmitted: 0,
            events: 0,
            config,
        })
    }

    /// The states of the two halves.
    #[must_use]
    pub fn states(&self) -> (RecvState, SendState) {
        (self.recv, self.send)
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            bytes_received: self.bytes_received,
            bytes_transmitted: self.bytes_transmitted,
            events: self.events,
            accepted: self.tx.ledger().accepted,
            flushed: self.tx.ledger().flushed,
            begun: self.tx.ledger().begun(),
        }
    }

    /// The opening is over and commands are accepted, or were.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.opening == Opening::Established
    }

    /// The first cause of the end, as soon as there is one: long before `Closed` if output is still being flushed.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause<P::Violation>> {
        self.cause.as_ref()
    }

    /// `Closed` was taken: there is nothing more to come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.closed_taken
    }

    /// Bytes that are free for messages now.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        self.tx.room()
    }

    /// Bytes received and not decoded, and bytes queued and not transmitted.
    #[must_use]
    #[inline]
    pub fn buffered(&self) -> (usize, usize) {
        (self.rx.len(), self.tx.len())
    }

    /// When a byte last moved in either direction, or when the session started.
    #[must_use]
    pub fn last_activity(&self) -> Instant {
        self.link.last_received.max(self.link.last_transmitted)
    }

    /// The time of what happened last.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The protocol, to ask it something.
    #[must_use]
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The protocol, to work on what it keeps: streams, for one. Whatever was changed is looked at when the access
    /// ends: what is due is written as far as there is room, deadlines are armed anew, and no wake-up is lost.
    pub fn protocol_mut(&mut self, now: Instant) -> ProtocolMut<'_, P> {
        let now = self.observe(now);
        ProtocolMut { session: self, time: Time::At(now) }
    }

    /// The same, by a clock that is read if anything was changed that time means something to.
    #[inline]
    pub(crate) fn protocol_mut_by<'a>(&'a mut self, clock: &'a mut dyn ReadTime) -> ProtocolMut<'a, P> {
        ProtocolMut { session: self, time: Time::By(clock) }
    }

    /// What it was configured with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the session has no buffer of its own at the moment, to receive into and to queue output in.
    #[must_use]
    #[inline]
    pub fn wants_buffers(&self) -> (bool, bool) {
        (self.rx.has_no_buffer(), self.tx.has_no_buffer())
    }

    /// Lends an empty buffer to receive into, so that idle sessions need none. It comes straight back if the
    /// session has one.
    pub fn lend_recv(&mut self, buffer: BytesMut) -> Option<BytesMut> {
        self.rx.lend(buffer)
    }

    /// Lends an empty buffer to queue output in, as [`lend_recv`](Self::lend_recv).
    pub fn lend_send(&mut self, buffer: BytesMut) -> Option<BytesMut> {
        self.tx.lend(buffer)
    }

    /// Takes the receive buffer back, empty, if nothing in it is unread.
    pub fn reclaim_recv(&mut self) -> Option<BytesMut> {
        self.rx.reclaim()
    }

    /// Takes the send buffer back, empty, if nothing is queued.
    pub fn reclaim_send(&mut self) -> Option<BytesMut> {
        self.tx.reclaim()
    }

    /// Time never goes back inside a session, whatever the caller's clock does.
    #[inline]
    fn observe(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }
}

/// The context of a protocol's call, from the session's fields, so that the protocol itself can be borrowed beside it.
macro_rules! context {
    ($session:ident, $now:expr) => {
        $crate::protocol::Cx {
            now: $now,
            tx: &mut $session.tx,
            timers: &mut $session.timers,
            rng: &mut $session.rng,
            link: &mut $session.link,
        }
    };
}
use context;

impl<P: Protocol> Session<P> {
    fn with_protocol<R>(&mut self, now: Instant, call: impl FnOnce(&mut P, &mut Cx<'_, P>) -> R) -> R {
        let result = call(&mut self.protocol, &mut context!(self, now));
        self.after_protocol(now);
        result
    }
}
