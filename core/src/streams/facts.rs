//! What the peer did, told by the protocol that decoded it.

use super::chunks::Piece;
use super::event::{Refuse, StreamEnd, StreamViolation, StreamsError};
use super::slab::List;
use super::state::{StreamRecvInput, StreamRecvState, StreamSendInput};
use super::stream::{Flags, Stream};
use super::{Abuse, CreditStyle, StopStyle, StreamId, Streams, UNIT_WEIGHT};
use crate::closed::Code;
use crate::protocol::Payload;
use crate::time::Instant;

impl<D> Streams<D> {
    /// The peer opened a stream, by this name on the wire.
    ///
    /// # Errors
    /// It is not taken; say so to the peer, or end the session if it is a violation.
    pub fn peer_opened(&mut self, key: u64, data: D) -> Result<StreamId, Refuse> {
        self.tidy();
        if self.keys.contains_key(&key) {
            return Err(Refuse::Violation(StreamViolation::Duplicate { key }));
        }
        if self.draining || self.ended.is_some() {
            return Err(Refuse::Draining);
        }
        if self.peer >= self.config.max_peer {
            return Err(Refuse::TooMany { limit: self.config.max_peer });
        }
        if self.slab.is_full() {
            return Err(Refuse::TooMany { limit: self.config.slots });
        }
        self.peer += 1;
        let accept = if self.config.acknowledge { Flags::ACCEPT_DUE } else { 0 };
        let flags = Flags::new(Flags::OPENED | Flags::CARRIES | Flags::TAKEN | accept);
        Ok(self.insert(key, data, UNIT_WEIGHT as u8, flags))
    }

    /// The peer accepted a stream of ours. False if that says nothing: it did before, or the stream is not ours, was
    /// not announced or ended.
    pub fn accepted(&mut self, id: StreamId) -> bool {
        let Some(index) = self.slab.find(id) else { return false };
        let Some(stream) = self.slab.get_mut(index) else { return false };
        if stream.is_over() || stream.flags.has(Flags::OPEN_DUE) || !stream.flags.take(Flags::UNACCEPTED) {
            return false;
        }
        stream.flags.set(Flags::TAKEN | Flags::CARRIES | Flags::ACCEPTED);
        self.unaccepted -= 1;
        self.settle(index);
        self.wake_opener();
        true
    }

    /// Data came on a stream; `ends` says that a message ends with it, in streams of messages. On a stream that ended
    /// here while it was on its way it is thrown away, and its credit goes back.
    ///
    /// # Errors
    /// The peer sent what it may not. Nothing was taken.
    pub fn received(
        &mut self,
        now: Instant,
        id: StreamId,
        payload: Payload<'_>,
        ends: bool,
    ) -> Result<(), StreamViolation> {
        let len = payload.len();
        self.check_connection(len)?;
        let Some(index) = self.slab.find(id) else { return self.discarded(len) };
        let Some(stream) = self.slab.get_mut(index) else { return self.discarded(len) };
        match stream.recv {
            StreamRecvState::Open | StreamRecvState::Discarding => {}
            // Our reset and this crossed.
            StreamRecvState::Closed if stream.end.is_some() => return self.discarded(len),
            _ => return Err(StreamViolation::AfterFinish),
        }
        if len == 0 && !ends {
            return self.spend(now, Abuse::Empty);
        }
        let available = match self.config.credit {
            CreditStyle::Unlimited => i64::from(self.config.recv_window) - stream.recv_credit.held(),
            _ => stream.recv_credit.available(),
        };
        let begun = stream.flags.has(Flags::RECV_INSIDE);
        let fits = if self.config.messages { begun || available > 0 } else { len as i64 <= available };
        if !fits && len > 0 {
            return Err(StreamViolation::Overrun { len, available });
        }
        // Messages with content take credit; only empty ones are free, and bounded here.
        let most = u64::from(self.config.recv_pieces) + stream.incoming.len() as u64;
        if self.config.messages && u64::from(stream.incoming.pieces()) >= most {
            return Err(StreamViolation::TooManyPieces { limit: self.config.recv_pieces });
        }
        if ends {
            stream.flags.clear(Flags::RECV_INSIDE);
        } else if self.config.messages {
            stream.flags.set(Flags::RECV_INSIDE);
        }
        self.recv_credit.receive(len);
        stream.recv_credit.receive(len);
        if stream.recv == StreamRecvState::Discarding {
            stream.undelivered = stream.undelivered.saturating_add(len as u32);
            stream.recv_credit.release(len);
            self.recv_credit.release(len);
        } else {
            self.chunks.push_received(&mut stream.incoming, payload, Piece::of(self.config.messages, ends));
            stream.flags.set(Flags::READABLE);
        }
        self.buckets.useful(len);
        // An empty message is a message: whoever keeps few of them unread sends as many as it likes, as of any other.
        if len == 0 && !self.config.messages {
            self.spend(now, Abuse::Empty)?;
        }
        self.settle(index);
        Ok(())
    }

    /// Data came for a stream that is no longer known. Its credit goes back to the connection.
    ///
    /// # Errors
    /// It is beyond the connection's window.
    pub fn discarded(&mut self, len: usize) -> Result<(), StreamViolation> {
        self.check_connection(len)?;
        self.recv_credit.receive(len);
        self.recv_credit.release(len);
        Ok(())
    }

    /// Bytes were consumed by the protocol itself, without any stream: padding, for one.
    ///
    /// # Errors
    /// They are beyond the window of the stream.
    pub fn padding(&mut self, id: StreamId, len: usize) -> Result<(), StreamViolation> {
        self.discarded(len)?;
        let Some(index) = self.slab.find(id) else { return Ok(()) };
        let Some(stream) = self.slab.get_mut(index) else { return Ok(()) };
        let available = stream.recv_credit.available();
        if self.config.credit != CreditStyle::Unlimited && len as i64 > available {
            return Err(StreamViolation::Overrun { len, available });
        }
        stream.recv_credit.receive(len);
        stream.recv_credit.release(len);
        self.settle(index);
        Ok(())
    }

    fn check_connection(&self, len: usize) -> Result<(), StreamViolation> {
        let available = self.recv_credit.available();
        if self.config.connection_credit != CreditStyle::Unlimited && len as i64 > available {
            return Err(StreamViolation::ConnectionOverrun { len, available });
        }
        Ok(())
    }

    /// The peer sends nothing more on a stream.
    ///
    /// # Errors
    /// It said so before.
    pub fn peer_finished(&mut self, id: StreamId) -> Result<(), StreamViolation> {
        let Some(index) = self.slab.find(id) else { return Ok(()) };
        let Some(stream) = self.slab.get_mut(index) else { return Ok(()) };
        if !stream.recv.expects() {
            let crossed = stream.recv == StreamRecvState::Closed && stream.end.is_some();
            return if crossed { Ok(()) } else { Err(StreamViolation::AfterFinish) };
        }
        stream.move_recv(StreamRecvInput::PeerFinish);
        if stream.recv == StreamRecvState::Draining {
            stream.flags.set(Flags::READABLE);
            if stream.incoming.is_empty() {
                stream.move_recv(StreamRecvInput::Drained);
            }
        }
        self.settle(index);
        Ok(())
    }

    /// The peer reset a stream. What it sent before and nobody took is thrown away.
    ///
    /// # Errors
    /// It opens and resets too often.
    pub fn peer_reset(&mut self, now: Instant, id: StreamId, code: Code) -> Result<(), StreamViolation> {
        let Some(index) = self.slab.find(id) else { return Ok(()) };
        let Some(stream) = self.slab.get_mut(index) else { return Ok(()) };
        let of_the_peer = !stream.flags.has(Flags::LOCAL);
        // Both resets crossed: ours need not be sent any more.
        if stream.flags.take(Flags::RESET_DUE) {
            let key = stream.key;
            self.keys.remove(&key);
            self.free_if_done(index);
            return Ok(());
        }
        self.fail(index, StreamEnd::PeerReset(code), None);
        if of_the_peer { self.spend(now, Abuse::OpenReset) } else { Ok(()) }
    }

    /// The peer says that it never looked at a stream of ours.
    pub fn peer_refused(&mut self, id: StreamId) {
        if let Some(index) = self.slab.find(id) {
            self.fail(index, StreamEnd::Refused, None);
        }
    }

    /// The peer reads no more of a stream. What was accepted and not sent is given up; receiving goes on. Under
    /// [`StopStyle::AtOnce`] a finish is ordered in its place.
    pub fn peer_stopped(&mut self, id: StreamId, code: Code) {
        let Some(index) = self.slab.find(id) else { return };
        let Some(stream) = self.slab.get_mut(index) else { return };
        if stream.send.is_over() {
            return;
        }
        stream.stopped = code;
        stream.flags.set(Flags::STOPPED);
        self.sending -= u32::from(!stream.outgoing.is_empty());
        stream.unsent += self.chunks.clear(&mut stream.outgoing) as u32;
        // Where stopping is a word of its own the peer waits for our finish; otherwise it ended the stream.
        let answers = self.config.stop == StopStyle::AtOnce;
        stream.move_send(if answers { StreamSendInput::Finish } else { StreamSendInput::Fail });
        stream.flags.set(Flags::WRITABLE);
        self.settle(index);
    }

    /// The peer said that it takes no data on a stream, from its beginning: data is refused with
    /// [`StreamError::Stopped`](super::StreamError::Stopped), what was accepted before is given up, and our finish and
    /// receiving go on as ever.
    pub fn peer_takes_nothing(&mut self, id: StreamId, code: Code) {
        let Some(index) = self.slab.find(id) else { return };
        let Some(stream) = self.slab.get_mut(index) else { return };
        if stream.send.is_over() {
            return;
        }
        stream.stopped = code;
        stream.flags.set(Flags::STOPPED | Flags::WRITABLE);
        stream.waits_for = 0;
        self.sending -= u32::from(!stream.outgoing.is_empty());
        stream.unsent += self.chunks.clear(&mut stream.outgoing) as u32;
        self.settle(index);
    }

    /// The peer lets us send so many bytes more on a stream.
    ///
    /// # Errors
    /// The window would be larger than any may be, or it grants for the sake of granting.
    pub fn granted(&mut self, now: Instant, id: StreamId, increment: u32) -> Result<(), StreamViolation> {
        self.spend(now, Abuse::Grants)?;
        let Some(index) = self.slab.find(id) else { return Ok(()) };
        let Some(stream) = self.slab.get_mut(index) else { return Ok(()) };
        stream.send_credit.grant(increment, self.config.largest_window)?;
        self.settle(index);
        Ok(())
    }

    /// The peer consumed so many bytes of a stream since its beginning. Fewer than it told before are ignored.
    ///
    /// # Errors
    /// More than was sent, or it tells for the sake of telling.
    pub fn consumed(&mut self, now: Instant, id: StreamId, total: u64) -> Result<(), StreamViolation> {
        let Some(index) = self.slab.find(id) else { return self.spend(now, Abuse::Grants) };
        let Some(stream) = self.slab.get_mut(index) else { return self.spend(now, Abuse::Grants) };
        // A total that grows is bounded by what we sent. Counting it would end connections whose messages are small: a
        // whole window of them may be consumed, one by one, while we send nothing.
        if !stream.send_credit.consumed(total, self.config.send_window)? {
            return self.spend(now, Abuse::Grants);
        }
        self.settle(index);
        Ok(())
    }

    /// The peer lets us send so many bytes more on all streams together.
    ///
    /// # Errors
    /// As [`granted`](Self::granted).
    pub fn connection_granted(&mut self, now: Instant, increment: u32) -> Result<(), StreamViolation> {
        self.spend(now, Abuse::Grants)?;
        Ok(self.send_credit.grant(increment, self.config.largest_window)?)
    }

    /// The peer changed the window that new streams begin with; that of every open stream moves with it, and may turn
    /// negative.
    ///
    /// # Errors
    /// A window would be larger than any may be.
    pub fn set_send_window(&mut self, window: u32) -> Result<(), StreamViolation> {
        let by = i64::from(window) - i64::from(self.config.send_window);
        self.config.send_window = window;
        for index in 0..self.slab.slots() {
            if let Some(stream) = self.slab.get_mut(index) {
                stream.send_credit.shift(by, self.config.largest_window)?;
            }
            self.settle(index);
        }
        Ok(())
    }

    /// The peer acknowledged the window that we said new streams begin with; what it may send on every open stream moves
    /// with it, and what windows have grown by stays.
    ///
    /// # Errors
    /// A window would be larger than the wire can express; nothing changed. Ask before the peer is told.
    pub fn set_recv_window(&mut self, window: u32) -> Result<(), StreamsError> {
        let limit = self.config.largest_window;
        let before = self.config.recv_window;
        let grown = |stream: &Stream<D>| stream.recv_credit.window().saturating_sub(before);
        let most = self.slab.indices().filter_map(|index| self.slab.get(index)).map(grown).max().unwrap_or(0);
        if u64::from(window) + u64::from(most) > u64::from(limit) {
            return Err(StreamsError::Window { name: "recv_window", window: window.saturating_add(most), limit });
        }
        for index in 0..self.slab.slots() {
            let Some(stream) = self.slab.get_mut(index) else { continue };
            let grown = stream.recv_credit.window().saturating_sub(before);
            stream.recv_credit.move_window(window.saturating_add(grown));
            // What was too little to tell of a large window may be all that there is of a small one.
            self.settle(index);
        }
        self.config.recv_window = window;
        Ok(())
    }

    /// The peer's limit for our open streams.
    pub fn set_max_local(&mut self, limit: u32) {
        self.max_local = limit.min(self.config.max_local);
        self.wake_opener();
    }

    /// The round trip of the connection was measured. With it, windows of streams whose reader keeps up grow: a window
    /// that is used up within two round trips is what holds the sender back.
    pub fn set_rtt(&mut self, rtt: core::time::Duration) {
        self.rtt = Some(rtt);
    }

    /// Whether the end of the connection, were it now, would cut a stream: the peer may still send on one, and has not
    /// said that it leaves. Looks at every stream.
    #[must_use]
    pub fn would_be_cut(&self) -> bool {
        let expects = |index| self.slab.get(index).is_some_and(|stream| stream.recv.expects());
        !self.peer_draining && self.slab.indices().any(expects)
    }

    /// The peer lets the connection drain. Streams of ours for which `processed` says no were never looked at.
    pub fn peer_drains(&mut self, processed: impl Fn(u64) -> bool) {
        self.tell_draining |= !self.peer_draining;
        self.peer_draining = true;
        for index in 0..self.slab.slots() {
            let refused = |s: &super::Stream<D>| s.flags.has(Flags::LOCAL) && !processed(s.key);
            if self.slab.get(index).is_some_and(refused) {
                self.fail(index, StreamEnd::Refused, None);
            }
        }
    }

    /// The connection ended: every stream ends with it. Data that came before can still be taken.
    pub fn end_all(&mut self, end: StreamEnd) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(end);
        for index in 0..self.slab.slots() {
            self.fail(index, end, None);
            let Some(stream) = self.slab.get_mut(index) else { continue };
            // A reset that was not ordered yet never will be.
            if stream.flags.take(Flags::RESET_DUE) {
                self.free_if_done(index);
            }
        }
        while self.slab.pop(List::Control).is_some() {}
        while self.slab.pop(List::Ready).is_some() {}
        self.keys.clear();
    }

    /// The peer made us work without moving data, once.
    ///
    /// # Errors
    /// That was once too often.
    pub fn spend(&mut self, now: Instant, kind: Abuse) -> Result<(), StreamViolation> {
        if self.buckets.spend(now, kind) {
            Ok(())
        } else {
            Err(StreamViolation::Abuse { kind, limit: self.buckets.burst() })
        }
    }
}

impl From<super::credit::OverGrant> for StreamViolation {
    fn from(over: super::credit::OverGrant) -> Self {
        Self::OverGrant { window: over.available, limit: over.limit }
    }
}
