//! What the protocol is to write next: control first, then data, stream by stream in turns.

use super::chunks::Lent;
use super::event::{Grant, Order, StreamEnd, StreamOrder};
use super::slab::List;
use super::state::{StreamRecvInput, StreamSendInput, StreamSendState};
use super::stream::{Flags, Stream};
use super::{CreditStyle, StopStyle, Streams, StreamsConfig, UNIT_WEIGHT};
use crate::closed::Code;
use crate::time::Instant;

/// What was decided; the order itself borrows from the streams and is made last.
enum Next {
    Connection(Grant),
    Open(u32),
    Accept(u32),
    Finish,
    Reset(Code),
    Stop(Code),
    Credit(Grant),
    Data { lent: Lent, ends: bool, finish: bool },
}

impl<D> Streams<D> {
    /// There is something to write. Data that waits for credit does not count.
    #[must_use]
    #[inline]
    pub fn has_orders(&self) -> bool {
        self.slab.first(List::Control).is_some()
            || self.connection_credit_due()
            || (self.slab.first(List::Ready).is_some() && self.connection_available() > 0)
    }

    /// The next thing to write, at most `room` bytes of data (none if `room` is 0). It is taken by asking: have room
    /// for the largest frame of control before. Ask with enough room to make a frame worth its header.
    pub fn next_order(&mut self, now: Instant, room: usize) -> Option<Order<'_, D>> {
        self.tidy();
        let (index, next) = match self.next_control(now) {
            Some(control) => control,
            None => self.next_data(room)?,
        };
        if let Next::Connection(grant) = next {
            return Some(Order::ConnectionCredit(grant));
        }
        let id = self.slab.id(index);
        let stream = self.slab.get_mut(index)?;
        let what = match next {
            Next::Connection(grant) | Next::Credit(grant) => StreamOrder::Credit(grant),
            Next::Open(window) => StreamOrder::Open { window },
            Next::Accept(window) => StreamOrder::Accept { window },
            Next::Finish => StreamOrder::Finish,
            Next::Reset(code) => StreamOrder::Reset { code },
            Next::Stop(code) => StreamOrder::StopReading { code },
            Next::Data { lent, ends, finish } => StreamOrder::Data { payload: self.chunks.payload(lent), ends, finish },
        };
        Some(Order::Stream { id, key: stream.key, data: &mut stream.data, what })
    }

    fn connection_available(&self) -> i64 {
        match self.config.connection_credit {
            CreditStyle::Unlimited => i64::MAX,
            _ => self.send_credit.available(),
        }
    }

    fn connection_credit_due(&self) -> bool {
        self.config.connection_credit != CreditStyle::Unlimited
            && self.ended.is_none()
            && self.recv_credit.is_due(self.config.grant_fraction)
    }

    fn next_control(&mut self, now: Instant) -> Option<(u32, Next)> {
        if self.connection_credit_due() {
            let increment = self.recv_credit.grant();
            let total = self.recv_credit.released() as u64;
            return Some((0, Next::Connection(Grant { increment, total })));
        }
        while let Some(index) = self.slab.pop(List::Control) {
            if let Some(next) = self.control_of(index, now) {
                self.settle(index);
                return Some((index, next));
            }
        }
        None
    }

    /// The most urgent thing that is due about a stream. An opening comes before everything else about it.
    fn control_of(&mut self, index: u32, now: Instant) -> Option<Next> {
        let stream = self.slab.get_mut(index)?;
        if stream.flags.take(Flags::RESET_DUE) {
            let (key, code) = (stream.key, stream.code);
            self.keys.remove(&key);
            self.parting = Some(index);
            return Some(Next::Reset(code));
        }
        if stream.flags.take(Flags::OPEN_DUE) {
            if stream.flags.has(Flags::TAKEN) {
                stream.flags.set(Flags::CARRIES);
            }
            return Some(Next::Open(stream.recv_credit.window()));
        }
        if stream.flags.take(Flags::ACCEPT_DUE) {
            return Some(Next::Accept(stream.recv_credit.window()));
        }
        if stream.finish_due() {
            stream.move_send(StreamSendInput::Flushed);
            return Some(Next::Finish);
        }
        if stop_due(stream, &self.config) {
            stream.flags.clear(Flags::STOP_DUE);
            // After our finish it ends the stream on the wire: what the peer says before it heard is thrown away.
            if self.config.stop == StopStyle::AfterFinish {
                stream.end.get_or_insert(StreamEnd::Finished);
                stream.move_recv(StreamRecvInput::Fail);
            }
            return Some(Next::Stop(stream.code));
        }
        if credit_due(stream, &self.config) {
            return Some(Next::Credit(self.grant(index, now)?));
        }
        None
    }

    /// Gives a stream's credit back to the peer, and a larger window to one whose reader is fast.
    fn grant(&mut self, index: u32, now: Instant) -> Option<Grant> {
        let stream = self.slab.get_mut(index)?;
        let window = stream.recv_credit.window();
        if let (Some(rtt), Some(before)) = (self.rtt, stream.granted_at) {
            let left = self.config.recv_growth.saturating_sub(self.grown);
            let larger = window.saturating_mul(2).min(self.config.max_recv_window);
            let growth = larger.saturating_sub(window);
            if now.since(before) < rtt * 2 && growth > 0 && u64::from(growth) <= left {
                self.grown += u64::from(growth);
                stream.recv_credit.set_window(larger);
            }
        }
        stream.granted_at = Some(now);
        let increment = stream.recv_credit.grant();
        Some(Grant { increment, total: stream.recv_credit.released() as u64 })
    }

    fn next_data(&mut self, room: usize) -> Option<(u32, Next)> {
        loop {
            let index = self.slab.first(List::Ready)?;
            let connection = self.connection_available();
            let front = self.slab.get(index).filter(|stream| is_ready(stream, &self.config));
            let front = front.and_then(|stream| self.chunks.front(&stream.outgoing));
            let (Some((len, _)), Some(stream)) = (front, self.slab.get_mut(index)) else {
                self.slab.pop(List::Ready);
                continue;
            };
            if len > 0 && (room == 0 || connection <= 0) {
                return None;
            }
            if stream.turn_bytes == 0 || stream.turn_pieces == 0 {
                let turn = u64::from(self.config.turn_bytes) * u64::from(stream.weight) / u64::from(UNIT_WEIGHT);
                stream.turn_bytes = u32::try_from(turn).unwrap_or(u32::MAX).max(1);
                stream.turn_pieces = self.config.turn_pieces;
            }
            let window = match self.config.credit {
                CreditStyle::Increments | CreditStyle::Totals if !self.config.messages => {
                    usize::try_from(stream.send_credit.available()).unwrap_or(0)
                }
                _ => usize::MAX,
            };
            let connection = usize::try_from(connection).unwrap_or(usize::MAX);
            let most = [self.config.max_piece as usize, room, stream.turn_bytes as usize, window, connection];
            let n = most.into_iter().fold(len, usize::min);
            return Some((index, self.take_piece(index, n)?));
        }
    }

    /// Takes a piece of `n` bytes, and accounts for it: credit, turn, and the finish if it is the last.
    fn take_piece(&mut self, index: u32, n: usize) -> Option<Next> {
        let stream = self.slab.get_mut(index)?;
        let (lent, ends) = self.chunks.lend(&mut stream.outgoing, n);
        stream.send_credit.spend(n);
        self.send_credit.spend(n);
        self.buckets.useful(n);
        stream.turn_bytes -= n as u32;
        stream.turn_pieces -= 1;
        if ends {
            stream.flags.clear(Flags::SEND_INSIDE);
        } else if self.config.messages {
            stream.flags.set(Flags::SEND_INSIDE);
        }
        let last = stream.outgoing.is_empty();
        self.sending -= u32::from(last);
        let finish = last && stream.send == StreamSendState::Finishing;
        if finish {
            stream.move_send(StreamSendInput::Flushed);
        }
        // Who has had its turn, or has nothing to send, leaves the front; settling appends it again if it has more.
        if stream.turn_bytes == 0 || stream.turn_pieces == 0 || !is_ready(stream, &self.config) {
            stream.turn_bytes = 0;
            self.slab.pop(List::Ready);
        }
        self.settle(index);
        Some(Next::Data { lent, ends, finish })
    }
}

/// Data may be ordered now, as far as the stream itself goes.
pub(super) fn is_ready<D>(stream: &Stream<D>, config: &StreamsConfig) -> bool {
    if stream.outgoing.is_empty() || !stream.flags.has(Flags::CARRIES) {
        return false;
    }
    config.credit == CreditStyle::Unlimited
        || stream.send_credit.available() > 0
        || (config.messages && stream.flags.has(Flags::SEND_INSIDE))
}

/// Something other than data is to be ordered.
pub(super) fn has_control<D>(stream: &Stream<D>, config: &StreamsConfig) -> bool {
    stream.flags.has(Flags::RESET_DUE | Flags::OPEN_DUE | Flags::ACCEPT_DUE)
        || stream.finish_due()
        || stop_due(stream, config)
        || credit_due(stream, config)
}

fn stop_due<D>(stream: &Stream<D>, config: &StreamsConfig) -> bool {
    stream.flags.has(Flags::STOP_DUE)
        && !stream.flags.has(Flags::OPEN_DUE)
        && match config.stop {
            StopStyle::Silent => false,
            StopStyle::AtOnce => true,
            StopStyle::AfterFinish => stream.send.is_over(),
        }
}

fn credit_due<D>(stream: &Stream<D>, config: &StreamsConfig) -> bool {
    // Whoever began a message may end it: credit before that helps nobody, and could cost more than the message.
    let inside = config.messages && stream.flags.has(Flags::RECV_INSIDE);
    config.credit != CreditStyle::Unlimited
        && !inside
        && stream.recv.expects()
        && !stream.flags.has(Flags::OPEN_DUE | Flags::ACCEPT_DUE)
        && stream.recv_credit.is_due(config.grant_fraction)
}
