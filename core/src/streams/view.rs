//! One stream, borrowed: what the application does with it.

use bytes::Bytes;

use super::chunks::Piece;
use super::credit::{RecvCredit, SendCredit};
use super::event::{Received, StreamEnd, StreamError};
use super::state::{StreamRecvInput, StreamRecvState, StreamSendInput, StreamSendState};
use super::stream::{Flags, Stream};
use super::{StreamId, Streams};
use crate::closed::Code;
use crate::protocol::Payload;
use crate::time::Instant;

/// One stream of [`Streams`], borrowed to work on it. Every method is immediate; what it causes is written when the
/// protocol is next asked to fill the send queue.
#[derive(Debug)]
pub struct StreamMut<'a, D = ()> {
    pub(super) streams: &'a mut Streams<D>,
    pub(super) index: u32,
}

/// Data that was not accepted, and why. It comes back whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct RefusedData {
    /// The data.
    pub data: Bytes,
    /// The reason.
    pub why: StreamError,
}

/// What there is to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvStatus {
    /// So many bytes can be taken. 0 is an empty message.
    Data(usize),
    /// Nothing now.
    Nothing,
    /// The peer finished, and everything before was taken.
    Finished,
    /// The stream ended otherwise.
    Ended(StreamEnd),
}

/// What one stream looks like now, without working on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its name on the wire.
    pub key: u64,
    /// We opened it.
    pub local: bool,
    /// The state of the receive half.
    pub recv: StreamRecvState,
    /// The state of the send half.
    pub send: StreamSendState,
    /// What we may send.
    pub send_credit: SendCredit,
    /// What the peer may send.
    pub recv_credit: RecvCredit,
    /// Bytes received and not taken.
    pub unread: usize,
    /// Bytes accepted and not ordered.
    pub unsent: usize,
    /// Messages among them, whole or in part; in streams of bytes, pieces.
    pub unsent_pieces: u32,
    /// What there is to receive.
    pub status: RecvStatus,
    /// Why it ended, if it did.
    pub end: Option<StreamEnd>,
    /// When it ends by itself.
    pub deadline: Option<Instant>,
    /// Its share of the connection.
    pub weight: u8,
}

impl<D> Streams<D> {
    /// What a stream looks like; `None` if it ended and its end was taken.
    #[must_use]
    pub fn inspect(&self, id: StreamId) -> Option<StreamInfo> {
        let stream = self.slab.get(self.slab.find(id)?)?;
        Some(StreamInfo {
            key: stream.key,
            local: stream.flags.has(Flags::LOCAL),
            recv: stream.recv,
            send: stream.send,
            send_credit: stream.send_credit,
            recv_credit: stream.recv_credit,
            unread: stream.incoming.len(),
            unsent: stream.outgoing.len(),
            unsent_pieces: stream.outgoing.pieces(),
            status: self.status_of(stream),
            end: ended(stream),
            deadline: stream.deadline,
            weight: stream.weight,
        })
    }

    /// What there is to receive on a stream.
    fn status_of(&self, stream: &Stream<D>) -> RecvStatus {
        match self.chunks.front(&stream.incoming) {
            Some((len, _)) => return RecvStatus::Data(len.max(stream.incoming.len())),
            None if stream.recv == StreamRecvState::Finished || stream.flags.has(Flags::WHOLE) => {
                return RecvStatus::Finished;
            }
            None => {}
        }
        match (stream.recv.is_over(), stream.end) {
            (false, _) => RecvStatus::Nothing,
            (true, end) => RecvStatus::Ended(end.unwrap_or(StreamEnd::Finished)),
        }
    }
}

/// Why a stream ended, if it did.
fn ended<D>(stream: &Stream<D>) -> Option<StreamEnd> {
    if stream.is_over() { Some(stream.end.unwrap_or(StreamEnd::Finished)) } else { None }
}

impl<D> StreamMut<'_, D> {
    /// Accepts `data` whole: a message, or bytes of a stream. Accepted means ordered in its turn, or counted in
    /// [`StreamClosed::unsent`](super::StreamClosed::unsent).
    ///
    /// # Errors
    /// The data comes back. After [`StreamError::Full`], [`StreamEvent::Writable`](super::StreamEvent::Writable)
    /// follows once it fits.
    pub fn send(&mut self, data: Bytes) -> Result<(), RefusedData> {
        match self.admit(data.len(), data.len()) {
            Ok(_) => {
                self.push(Payload::Owned(data));
                Ok(())
            }
            Err(why) => Err(RefusedData { data, why }),
        }
    }

    /// Copies in as many bytes as fit, and tells how many: at least 1, unless there are none. In streams of messages
    /// `bytes` is one message, and is accepted whole.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
        let least = if self.streams.config.messages { bytes.len() } else { bytes.len().min(1) };
        let n = self.admit(least, bytes.len())?;
        if n > 0 || self.streams.config.messages {
            self.push(Payload::Borrowed(bytes.get(..n).unwrap_or_default()));
        }
        Ok(n)
    }

    /// How many of `wanted` bytes fit now, if at least `least` do.
    fn admit(&mut self, least: usize, wanted: usize) -> Result<usize, StreamError> {
        let (limit, pieces) = (self.streams.config.send_buffer, self.streams.config.send_pieces);
        let messages = self.streams.config.messages;
        let Some(stream) = self.stream_mut() else { return Err(StreamError::Ended(StreamEnd::Lost)) };
        let stopped = stream.flags.has(Flags::STOPPED).then_some(stream.stopped);
        match (stream.send, stream.end, stopped) {
            (StreamSendState::Open, _, None) => {}
            (_, Some(end), _) => return Err(StreamError::Ended(end)),
            (_, None, Some(code)) => return Err(StreamError::Stopped(code)),
            _ => return Err(StreamError::Finished),
        }
        if least > limit as usize {
            return Err(StreamError::TooLarge { len: least, limit });
        }
        let room = limit.saturating_sub(stream.outgoing.len() as u32);
        let full = stream.outgoing.pieces() >= pieces;
        if (room as usize) < least || full {
            // Bytes wait until half is free, so that a full stream is not filled byte by byte.
            stream.waits_for = if messages || least > 1 { least.max(1) as u32 } else { (limit / 2).max(1) };
            return Err(StreamError::Full { room: if full { 0 } else { room } });
        }
        Ok(wanted.min(room as usize))
    }

    fn push(&mut self, payload: Payload<'_>) {
        let Streams { chunks, slab, config, sending, .. } = &mut *self.streams;
        let Some(stream) = slab.get_mut(self.index) else { return };
        if payload.is_empty() && !config.messages {
            return;
        }
        *sending += u32::from(stream.outgoing.is_empty());
        chunks.push(&mut stream.outgoing, payload, Piece::of(config.messages, true));
        self.streams.settle(self.index);
    }

    /// Our half-close: what was accepted is sent, then the finish; receiving goes on.
    pub fn finish(&mut self) {
        if let Some(stream) = self.stream_mut() {
            stream.move_send(StreamSendInput::Finish);
        }
        self.streams.settle(self.index);
    }

    /// Cancels the stream, both ways: what was not sent or taken is thrown away, and the peer is told by a reset with
    /// this code. Nothing happens to a stream that ended.
    pub fn reset(&mut self, code: Code) {
        self.streams.fail(self.index, StreamEnd::LocalReset(code), Some(code));
    }

    /// Takes what came, at most `most` bytes and never beyond the end of a message. Its credit goes back to the peer
    /// after [`release`](Self::release).
    pub fn recv(&mut self, most: usize) -> Received {
        let status = self.status();
        let (RecvStatus::Data(_), Streams { chunks, slab, .. }) = (status, &mut *self.streams) else {
            return match status {
                RecvStatus::Finished => Received::Finished,
                RecvStatus::Ended(end) => Received::Ended(end),
                _ => Received::Nothing,
            };
        };
        let Some(stream) = slab.get_mut(self.index) else { return Received::Nothing };
        let Some((bytes, ends)) = chunks.take(&mut stream.incoming, most) else { return Received::Nothing };
        self.drained();
        Received::Data { bytes, ends }
    }

    /// Copies bytes out, as many as there are and fit, releases them at once, and tells how many. If there are none,
    /// [`status`](Self::status) says why.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let Streams { chunks, slab, .. } = &mut *self.streams;
        let Some(stream) = slab.get_mut(self.index) else { return 0 };
        let n = chunks.copy_out(&mut stream.incoming, into);
        self.give_back(n);
        self.drained();
        n
    }

    /// The last byte before the peer's finish was taken.
    fn drained(&mut self) {
        if let Some(stream) = self.stream_mut() {
            if stream.incoming.is_empty() {
                stream.move_recv(StreamRecvInput::Drained);
            }
        }
        self.streams.settle(self.index);
        self.streams.free_if_done(self.index);
    }

    /// What there is to receive.
    #[must_use]
    pub fn status(&self) -> RecvStatus {
        self.stream().map_or(RecvStatus::Ended(StreamEnd::Lost), |stream| self.streams.status_of(stream))
    }

    /// `n` bytes that were taken are dealt with: the peer may send as many more.
    ///
    /// # Errors
    /// More than were taken and not released. Nothing was released.
    pub fn release(&mut self, n: usize) -> Result<(), StreamError> {
        // What a stream that ended had taken went back to the connection when it ended.
        let Some(stream) = self.stream().filter(|stream| !stream.flags.has(Flags::CLOSED | Flags::TOLD)) else {
            return Ok(());
        };
        // And so did what was taken when reading stopped.
        if matches!(stream.recv, StreamRecvState::Discarding | StreamRecvState::Closed) {
            return Ok(());
        }
        let taken = stream.taken();
        if n > taken {
            return Err(StreamError::OverRelease { released: n, taken });
        }
        self.give_back(n);
        self.streams.settle(self.index);
        Ok(())
    }

    fn give_back(&mut self, n: usize) {
        if let Some(stream) = self.stream_mut().filter(|stream| !stream.flags.has(Flags::CLOSED | Flags::TOLD)) {
            stream.recv_credit.release(n);
            self.streams.recv_credit.release(n);
        }
    }

    /// Wants nothing more of the peer: what came is thrown away, and so is what still comes. Sending goes on. Whether
    /// the peer is told is a matter of the protocol ([`StopStyle`](super::StopStyle)).
    pub fn stop_reading(&mut self, code: Code) {
        let Streams { chunks, slab, recv_credit, .. } = &mut *self.streams;
        let Some(stream) = slab.get_mut(self.index) else { return };
        if stream.recv.is_over() {
            return;
        }
        stream.undelivered += chunks.clear(&mut stream.incoming) as u32;
        let held = stream.recv_credit.held() as usize;
        stream.recv_credit.release(held);
        recv_credit.release(held);
        if stream.recv == StreamRecvState::Open {
            stream.flags.set(Flags::STOP_DUE);
            stream.code = code;
        }
        stream.flags.clear(Flags::READABLE);
        stream.move_recv(StreamRecvInput::Stop);
        self.streams.settle(self.index);
    }

    /// When the stream ends by itself, in any state; `None` for never. Asking again does not move it.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        let index = self.index;
        let Streams { slab, deadlines, .. } = &mut *self.streams;
        let Some(stream) = slab.get_mut(index) else { return };
        if stream.is_over() {
            return;
        }
        if let Some(at) = core::mem::replace(&mut stream.deadline, deadline) {
            deadlines.remove(&(at, index));
        }
        if let Some(at) = deadline {
            deadlines.insert((at, index));
        }
    }

    /// Its share of the connection when several streams have data: 1 to 255; 16 is the usual.
    pub fn set_weight(&mut self, weight: u8) {
        if let Some(stream) = self.stream_mut() {
            stream.weight = weight.max(1);
        }
    }

    /// The ledgers: what we may send, and what the peer may.
    #[must_use]
    pub fn credit(&self) -> (SendCredit, RecvCredit) {
        let none = (SendCredit::new(0), RecvCredit::new(0));
        self.stream().map_or(none, |stream| (stream.send_credit, stream.recv_credit))
    }

    /// The states of the two halves.
    #[must_use]
    pub fn states(&self) -> (StreamRecvState, StreamSendState) {
        let gone = (StreamRecvState::Closed, StreamSendState::Closed);
        self.stream().map_or(gone, |stream| (stream.recv, stream.send))
    }

    /// Bytes received and not taken, and bytes accepted and not ordered.
    #[must_use]
    pub fn buffered(&self) -> (usize, usize) {
        self.stream().map_or((0, 0), |stream| (stream.incoming.len(), stream.outgoing.len()))
    }

    /// Why it ended, if it did.
    #[must_use]
    pub fn end(&self) -> Option<StreamEnd> {
        ended(self.stream()?)
    }

    /// Its deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.stream()?.deadline
    }

    /// We opened it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.stream().is_some_and(|stream| stream.flags.has(Flags::LOCAL))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.streams.slab.id(self.index)
    }

    /// Its name on the wire.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.stream().map_or(0, |stream| stream.key)
    }

    /// What the protocol keeps with it.
    pub fn data_mut(&mut self) -> Option<&mut D> {
        self.stream_mut().map(|stream| &mut stream.data)
    }

    fn stream(&self) -> Option<&Stream<D>> {
        self.streams.slab.get(self.index)
    }

    fn stream_mut(&mut self) -> Option<&mut Stream<D>> {
        self.streams.slab.get_mut(self.index)
    }
}
