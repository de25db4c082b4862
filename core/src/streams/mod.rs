//! Many streams under one connection: half-close, reset, credit and deadline for each, as one pure machine.
//!
//! A [`Protocol`] that multiplexes owns a [`Streams`] as a field. Frames that it decodes become facts
//! ([`received`](Streams::received), [`peer_finished`](Streams::peer_finished), [`granted`](Streams::granted), ...); what
//! is to be written it takes as orders ([`next_order`](Streams::next_order)) when there is room, in
//! [`Protocol::fill`]; what the application should know it passes on as events
//! ([`next_event`](Streams::next_event)). The application works on one stream through a borrowed [`StreamMut`], which it
//! gets through [`Session::protocol_mut`](crate::Session::protocol_mut).
//!
//! ```text
//!              facts                              events (coalesced)
//!   frames ──────────▶ Protocol { Streams } ────────────────────────▶ application
//!          ◀──────────  orders: control first, ◀──────────────────────
//!             fill      then data, in turns      StreamMut: send, finish, reset, recv, release
//! ```
//!
//! * **Nothing waits behind unread data.** Data lands in a bounded buffer of its stream, so control frames are always
//!   decoded; a stream that nobody reads uses up its own credit and stalls itself only.
//! * **Sending is fair.** Streams with data take turns; long messages are cut; control goes first, and a finish never
//!   overtakes the data before it.
//! * **Every wait has a wake.** Finish, reset, deadline, refusal, loss and close each end a stream with exactly one
//!   [`StreamEvent::Closed`]; whoever waits for room or data is told before it.
//! * **Credit is conserved** ([`SendCredit`], [`RecvCredit`]): what a reset stream held goes back to the connection.
//! * **A peer cannot make us work for nothing** for long ([`Abuse`]).

mod abuse;
mod chunks;
mod config;
mod credit;
mod event;
mod facts;
mod id;
mod orders;
mod slab;
mod state;
mod stream;
mod view;

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use chunks::{Chunks, Queue};
use slab::{List, Slab};
use stream::{Flags, Stream};

pub use abuse::{Abuse, AbuseBudget};
pub use config::{OpenOptions, StopStyle, StreamsConfig};
pub use credit::{CreditStyle, RecvCredit, SendCredit};
pub use event::{
    Grant, OpenError, Order, Received, Refuse, StreamClosed, StreamEnd, StreamError, StreamEvent, StreamOrder,
    StreamViolation, StreamsError,
};
pub use id::StreamId;
pub use state::{StreamRecvInput, StreamRecvState, StreamSendInput, StreamSendState};
pub use view::{RecvStatus, RefusedData, StreamInfo, StreamMut};

use crate::closed::Code;
use crate::protocol::Protocol;
use crate::time::Instant;

/// A protocol whose conversation is many streams: what handles of an adapter need to know of it.
pub trait Multiplex: Protocol {
    /// What the protocol keeps with each stream.
    type Data;

    /// The streams.
    fn streams(&self) -> &Streams<Self::Data>;

    /// The streams, to work on one.
    fn streams_mut(&mut self) -> &mut Streams<Self::Data>;

    /// Opens a stream, as the protocol names it.
    ///
    /// # Errors
    /// See [`OpenError`].
    fn open(&mut self, now: Instant) -> Result<StreamId, OpenError>;

    /// The stream event in an event of the protocol's, if it is one.
    fn as_stream_event(event: &Self::Event) -> Option<StreamEvent>;
}

/// The weight that [`StreamsConfig::turn_bytes`] is for.
const UNIT_WEIGHT: u32 = 16;

/// All streams of one connection. `D` is what the protocol keeps with each.
#[derive(Debug)]
pub struct Streams<D = ()> {
    config: StreamsConfig,
    slab: Slab<D>,
    chunks: Chunks,
    /// Names on the wire.
    keys: BTreeMap<u64, u32>,
    deadlines: BTreeSet<(Instant, u32)>,
    send_credit: SendCredit,
    recv_credit: RecvCredit,
    buckets: abuse::Buckets,
    rtt: Option<Duration>,
    /// By how much all windows together have grown.
    grown: u64,
    local: u32,
    peer: u32,
    max_local: u32,
    /// Ours that the peer has not accepted.
    unaccepted: u32,
    /// Streams with unsent data.
    sending: u32,
    /// A stream whose last order was given out; freed when the next is asked for.
    parting: Option<u32>,
    wants_open: bool,
    can_open: bool,
    tell_draining: bool,
    /// We take no further streams; the peer takes none.
    draining: bool,
    peer_draining: bool,
    ended: Option<StreamEnd>,
}

impl<D> Streams<D> {
    /// No streams yet.
    ///
    /// # Errors
    /// Bounds that cannot work.
    pub fn new(config: StreamsConfig) -> Result<Self, StreamsError> {
        config.validate()?;
        Ok(Self {
            slab: Slab::new(config.slots),
            chunks: Chunks::new(),
            keys: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            send_credit: SendCredit::new(config.connection_send_window),
            recv_credit: RecvCredit::new(config.connection_recv_window),
            buckets: abuse::Buckets::new(config.abuse),
            rtt: None,
            grown: 0,
            local: 0,
            peer: 0,
            max_local: config.max_local,
            unaccepted: 0,
            sending: 0,
            parting: None,
            wants_open: false,
            can_open: false,
            tell_draining: false,
            draining: false,
            peer_draining: false,
            ended: None,
            config,
        })
    }

    /// Opens a stream. `key` names it on the wire, and may be made of the id.
    ///
    /// # Errors
    /// There is no place for it: see [`OpenError`].
    pub fn open(
        &mut self,
        options: OpenOptions,
        data: D,
        key: impl FnOnce(StreamId) -> u64,
    ) -> Result<StreamId, OpenError> {
        self.may_open()?;
        let id = self.slab.next_id();
        let key = key(id);
        if self.keys.contains_key(&key) {
            return Err(OpenError::NoIds);
        }
        // The slot may wait in line for a stream that was never announced: streams are announced in their order.
        self.slab.unlist(List::Control, id.index);
        let carries = if options.announce || options.wait { 0 } else { Flags::CARRIES };
        let due = if options.announce { Flags::OPEN_DUE } else { 0 };
        let taken = if options.wait { 0 } else { Flags::TAKEN };
        self.local += 1;
        self.unaccepted += 1;
        let flags = Flags::LOCAL | Flags::UNACCEPTED | carries | due | taken;
        Ok(self.insert(key, data, options.weight, Flags::new(flags)))
    }

    /// Whether a stream could be opened now. A refusal is remembered for [`StreamEvent::CanOpen`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn may_open(&mut self) -> Result<(), OpenError> {
        self.may_open_together(1)
    }

    /// As [`may_open`](Self::may_open), for `n` streams of which none is to be opened without the others.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn may_open_together(&mut self, n: u32) -> Result<(), OpenError> {
        self.tidy();
        let (max_local, max_unaccepted, slots) = (self.max_local, self.config.max_unaccepted, self.config.slots);
        let refused = if self.ended.is_some() {
            OpenError::Ended
        } else if self.draining || self.peer_draining {
            OpenError::Draining
        } else if max_local.saturating_sub(self.local) < n {
            OpenError::TooMany { limit: max_local }
        } else if max_unaccepted.saturating_sub(self.unaccepted) < n {
            OpenError::TooMany { limit: max_unaccepted }
        } else if slots.saturating_sub(self.slab.live()) < n {
            OpenError::NoSlot { slots }
        } else {
            return Ok(());
        };
        self.wants_open |= matches!(refused, OpenError::TooMany { .. } | OpenError::NoSlot { .. });
        Err(refused)
    }

    /// How many streams could be opened now, if any can: see [`may_open`](Self::may_open).
    #[must_use]
    pub fn places(&self) -> u32 {
        let (local, unaccepted) = (self.max_local, self.config.max_unaccepted);
        let slots = self.config.slots.saturating_sub(self.slab.live());
        local.saturating_sub(self.local).min(unaccepted.saturating_sub(self.unaccepted)).min(slots)
    }

    fn insert(&mut self, key: u64, data: D, weight: u8, flags: Flags) -> StreamId {
        let config = &self.config;
        let id = self.slab.insert(Stream {
            key,
            data,
            outgoing: Queue::EMPTY,
            incoming: Queue::EMPTY,
            send_credit: SendCredit::new(config.send_window),
            recv_credit: RecvCredit::new(config.recv_window),
            deadline: None,
            granted_at: None,
            end: None,
            code: Code(0),
            stopped: Code(0),
            unsent: 0,
            undelivered: 0,
            waits_for: 0,
            turn_bytes: 0,
            turn_pieces: 0,
            flags,
            weight: weight.max(1),
            send: StreamSendState::Open,
            recv: StreamRecvState::Open,
        });
        self.keys.insert(key, id.index);
        self.settle(id.index);
        id
    }

    /// Takes no further streams of the peer's, and opens none. Those that exist go on.
    pub fn drain(&mut self) {
        self.draining = true;
        // Whoever was refused a place waits for one, and there will be none.
        self.tell_draining |= core::mem::take(&mut self.wants_open) && self.ended.is_none();
    }

    /// Either side lets the connection drain.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining || self.peer_draining
    }

    /// The stream, to work on; `None` if it ended and its end was taken.
    #[must_use]
    pub fn get_mut(&mut self, id: StreamId) -> Option<StreamMut<'_, D>> {
        let index = self.slab.find(id)?;
        Some(StreamMut { streams: self, index })
    }

    /// The stream with this name on the wire.
    #[must_use]
    pub fn lookup(&self, key: u64) -> Option<StreamId> {
        self.keys.get(&key).map(|index| self.slab.id(*index))
    }

    /// Every stream that exists, those included whose end was not taken yet.
    pub fn ids(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.slab.indices().map(|index| self.slab.id(index))
    }

    /// Open streams: ours, and the peer's.
    #[must_use]
    pub const fn open_counts(&self) -> (u32, u32) {
        (self.local, self.peer)
    }

    /// Slots in use: open streams, and those whose end was not taken yet.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.slab.live()
    }

    /// There is no stream.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slab.live() == 0
    }

    /// The connection's own ledgers: what we may send, and what the peer may.
    #[must_use]
    pub const fn connection_credit(&self) -> (SendCredit, RecvCredit) {
        (self.send_credit, self.recv_credit)
    }

    /// Nothing that was accepted waits for room or credit.
    #[must_use]
    pub fn is_quiescent(&self) -> bool {
        self.sending == 0 && self.slab.first(List::Control).is_none()
    }

    /// The rules.
    #[must_use]
    pub const fn config(&self) -> &StreamsConfig {
        &self.config
    }

    /// Bytes that a stream takes while it is idle, its data `D` included: the slot, and its place in the table of
    /// names (an estimate: 24 bytes).
    #[must_use]
    pub const fn bytes_per_idle_stream() -> usize {
        Slab::<D>::SLOT + 24
    }

    /// There is something to tell.
    #[must_use]
    #[inline]
    pub const fn has_event(&self) -> bool {
        self.slab.first(List::Events).is_some() || self.can_open || self.tell_draining
    }

    /// The next thing to tell.
    pub fn next_event(&mut self) -> Option<StreamEvent> {
        self.tidy();
        if core::mem::take(&mut self.tell_draining) {
            return Some(StreamEvent::Draining);
        }
        if core::mem::take(&mut self.can_open) {
            return Some(StreamEvent::CanOpen);
        }
        while let Some(index) = self.slab.pop(List::Events) {
            let id = self.slab.id(index);
            let Some(stream) = self.slab.get_mut(index) else { continue };
            let flags = &mut stream.flags;
            let event = if flags.take(Flags::OPENED) {
                StreamEvent::Opened(id)
            } else if flags.take(Flags::ACCEPTED) {
                StreamEvent::Accepted(id)
            } else if flags.take(Flags::READABLE) {
                StreamEvent::Readable(id)
            } else if flags.take(Flags::WRITABLE) {
                StreamEvent::Writable(id)
            } else if flags.take(Flags::CLOSED) {
                flags.set(Flags::TOLD);
                let end = stream.end.unwrap_or(StreamEnd::Finished);
                let (unsent, undelivered) = (stream.unsent, stream.undelivered);
                self.free_if_done(index);
                return Some(StreamEvent::Closed(id, StreamClosed { end, unsent, undelivered }));
            } else {
                continue;
            };
            let told = [Flags::OPENED, Flags::ACCEPTED, Flags::READABLE, Flags::WRITABLE, Flags::CLOSED];
            if told.iter().any(|flag| flags.has(*flag)) {
                self.slab.push(List::Events, index);
            }
            return Some(event);
        }
        None
    }

    /// The earliest deadline of any stream. Call [`handle_timeout`](Self::handle_timeout) then.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The time is `now`: streams whose deadline passed end, and the peer is told by a reset.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, index)) = self.deadlines.first().copied() {
            if at > now {
                return;
            }
            self.deadlines.remove(&(at, index));
            if let Some(stream) = self.slab.get_mut(index) {
                stream.deadline = None;
            }
            self.fail(index, StreamEnd::Deadline, Some(self.config.deadline_code));
        }
    }

    /// Ends a stream from any state, once. With a code the peer is told by a reset.
    fn fail(&mut self, index: u32, end: StreamEnd, reset: Option<Code>) {
        let Some(stream) = self.slab.get_mut(index) else { return };
        if stream.is_over() {
            return;
        }
        // What the peer finished is whole, however the connection ends and whenever it is read.
        let whole = self.ended.is_some()
            && matches!(stream.recv, StreamRecvState::Draining | StreamRecvState::Finished)
            && matches!(end, StreamEnd::Lost | StreamEnd::LocalClose);
        if whole {
            stream.flags.set(Flags::WHOLE);
        }
        let both = whole && stream.send == StreamSendState::Finished;
        stream.end.get_or_insert(if both { StreamEnd::Finished } else { end });
        self.sending -= u32::from(!stream.outgoing.is_empty());
        stream.unsent += self.chunks.clear(&mut stream.outgoing) as u32;
        // What came before the connection ended can still be taken.
        if !matches!(end, StreamEnd::Lost | StreamEnd::LocalClose) {
            stream.undelivered += self.chunks.clear(&mut stream.incoming) as u32;
            let held = stream.recv_credit.held() as usize;
            stream.recv_credit.release(held);
            self.recv_credit.release(held);
        }
        let unknown_to_peer = stream.flags.take(Flags::OPEN_DUE);
        let over_on_the_wire = stream.send == StreamSendState::Finished && !stream.recv.expects();
        if let Some(code) = reset.filter(|_| !unknown_to_peer && !over_on_the_wire) {
            stream.flags.set(Flags::RESET_DUE);
            stream.code = code;
        }
        stream.flags.clear(Flags::ACCEPT_DUE | Flags::STOP_DUE);
        stream.move_send(StreamSendInput::Fail);
        stream.move_recv(StreamRecvInput::Fail);
        self.settle(index);
    }

    /// Queues a stream wherever it has something to do. Settling twice changes nothing.
    fn settle(&mut self, index: u32) {
        let Some(stream) = self.slab.get_mut(index) else { return };
        if stream.waits_for > 0 {
            let room = self.config.send_buffer.saturating_sub(stream.outgoing.len() as u32);
            let pieces = stream.outgoing.pieces() < self.config.send_pieces;
            if stream.send != StreamSendState::Open || (room >= stream.waits_for && pieces) {
                stream.waits_for = 0;
                stream.flags.set(Flags::WRITABLE);
            }
        }
        if stream.is_over() && !stream.flags.has(Flags::CLOSED | Flags::TOLD) {
            return self.conclude(index);
        }
        let tells = Flags::OPENED | Flags::ACCEPTED | Flags::READABLE | Flags::WRITABLE | Flags::CLOSED;
        let (told, control, ready) = (
            stream.flags.has(tells),
            orders::has_control(stream, &self.config),
            orders::is_ready(stream, &self.config),
        );
        if told {
            self.slab.push(List::Events, index);
        }
        if control {
            self.slab.push(List::Control, index);
        }
        if ready {
            self.slab.push(List::Ready, index);
        }
    }

    /// Both halves are over: the one terminal event, and the place is free for another stream.
    fn conclude(&mut self, index: u32) {
        let Some(stream) = self.slab.get_mut(index) else { return };
        let flags = &mut stream.flags;
        // A stream that was reset before the application heard of it never existed for it.
        let unheard = flags.has(Flags::OPENED) && matches!(stream.end, Some(StreamEnd::PeerReset(_)));
        if unheard {
            flags.clear(Flags::OPENED | Flags::READABLE | Flags::WRITABLE);
            flags.set(Flags::TOLD);
        } else {
            flags.set(Flags::CLOSED);
        }
        // Taken bytes that were never released would be lost to the connection.
        if self.ended.is_none() {
            let held = stream.taken();
            stream.recv_credit.release(held);
            self.recv_credit.release(held);
        }
        let local = stream.flags.has(Flags::LOCAL);
        let unaccepted = stream.flags.take(Flags::UNACCEPTED);
        let (key, reset_due) = (stream.key, stream.flags.has(Flags::RESET_DUE));
        let grown = stream.recv_credit.window().saturating_sub(self.config.recv_window);
        self.grown = self.grown.saturating_sub(u64::from(grown));
        if let Some(at) = stream.deadline.take() {
            self.deadlines.remove(&(at, index));
        }
        if !reset_due {
            self.keys.remove(&key);
        }
        let count = if local { &mut self.local } else { &mut self.peer };
        *count -= 1;
        self.unaccepted -= u32::from(unaccepted);
        self.wake_opener();
        self.settle(index);
        self.free_if_done(index);
    }

    /// Puts away what the last order borrowed.
    fn tidy(&mut self) {
        self.chunks.put_away();
        if let Some(index) = self.parting.take() {
            self.free_if_done(index);
        }
    }

    fn free_if_done(&mut self, index: u32) {
        let Some(stream) = self.slab.get(index) else { return };
        let kept = self.ended.is_some() && (!stream.incoming.is_empty() || stream.flags.has(Flags::WHOLE));
        if stream.flags.has(Flags::TOLD) && !stream.flags.has(Flags::RESET_DUE) && self.parting != Some(index) && !kept
        {
            if let Some(mut stream) = self.slab.remove(index) {
                self.chunks.clear(&mut stream.incoming);
            }
            self.wake_opener();
        }
    }

    fn wake_opener(&mut self) {
        let room = self.local < self.max_local && self.unaccepted < self.config.max_unaccepted && !self.slab.is_full();
        if self.wants_open && room && self.ended.is_none() {
            self.wants_open = false;
            self.can_open = true;
        }
    }
}

#[cfg(test)]
mod tests;
