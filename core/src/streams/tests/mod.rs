//! The streams machine alone, without a wire: what one side orders is told to the other as facts.

mod adversary;
mod behaviour;
mod credit;
mod exhaustive;
mod tables;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::protocol::Payload;

pub(super) const T0: Instant = Instant::from_nanos(1);

/// What goes over the wire between two machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Open(u64),
    Accept(u64),
    Data { key: u64, bytes: Bytes, ends: bool, finish: bool },
    Finish(u64),
    Reset(u64, Code),
    Stop(u64, Code),
    Credit(u64, Grant),
    ConnectionCredit(Grant),
}

/// One side, and what it sent that the other has not seen.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) streams: Streams,
    pub(super) wire: VecDeque<Frame>,
    pub(super) events: Vec<StreamEvent>,
    next_key: u64,
}

impl Side {
    pub(super) fn new(config: StreamsConfig, first_key: u64) -> Self {
        let streams = Streams::new(config).unwrap();
        Self { streams, wire: VecDeque::new(), events: Vec::new(), next_key: first_key }
    }

    pub(super) fn open(&mut self) -> StreamId {
        let key = self.next_key;
        self.next_key += 2;
        self.streams.open(OpenOptions::default(), (), |_| key).unwrap()
    }

    pub(super) fn at(&mut self, id: StreamId) -> StreamMut<'_> {
        self.streams.get_mut(id).unwrap()
    }

    pub(super) fn send(&mut self, id: StreamId, bytes: &[u8]) {
        self.at(id).send(Bytes::copy_from_slice(bytes)).unwrap();
    }

    /// Carries out one order, with room for so many bytes of data.
    pub(super) fn order(&mut self, room: usize) -> Option<Frame> {
        let frame = match self.streams.next_order(T0, room)? {
            Order::ConnectionCredit(grant) => Frame::ConnectionCredit(grant),
            Order::Stream { key, what, .. } => match what {
                StreamOrder::Open { .. } => Frame::Open(key),
                StreamOrder::Accept { .. } => Frame::Accept(key),
                StreamOrder::Data { payload, ends, finish } => {
                    Frame::Data { key, bytes: Bytes::copy_from_slice(payload.as_slice()), ends, finish }
                }
                StreamOrder::Finish => Frame::Finish(key),
                StreamOrder::Reset { code } => Frame::Reset(key, code),
                StreamOrder::StopReading { code } => Frame::Stop(key, code),
                StreamOrder::Credit(grant) => Frame::Credit(key, grant),
            },
        };
        self.wire.push_back(frame.clone());
        Some(frame)
    }

    pub(super) fn order_all(&mut self) {
        for step in 0.. {
            assert!(step < 1_000_000, "orders never end");
            if self.order(usize::MAX).is_none() {
                return;
            }
        }
    }

    /// A frame of the peer's.
    pub(super) fn take(&mut self, frame: Frame) -> Result<(), StreamViolation> {
        let streams = &mut self.streams;
        let find = |streams: &Streams, key| streams.lookup(key);
        match frame {
            Frame::Open(key) => match streams.peer_opened(key, ()) {
                Ok(_) => Ok(()),
                Err(Refuse::Violation(violation)) => Err(violation),
                Err(_) => {
                    self.wire.push_back(Frame::Reset(key, Code(7)));
                    Ok(())
                }
            },
            Frame::Accept(key) => {
                if let Some(id) = find(streams, key) {
                    streams.accepted(id);
                }
                Ok(())
            }
            Frame::Data { key, bytes, ends, finish } => {
                let Some(id) = find(streams, key) else { return streams.discarded(bytes.len()) };
                streams.received(T0, id, Payload::Owned(bytes), ends)?;
                if finish { streams.peer_finished(id) } else { Ok(()) }
            }
            Frame::Finish(key) => find(streams, key).map_or(Ok(()), |id| streams.peer_finished(id)),
            Frame::Reset(key, code) => find(streams, key).map_or(Ok(()), |id| streams.peer_reset(T0, id, code)),
            Frame::Stop(key, code) => {
                if let Some(id) = find(streams, key) {
                    streams.peer_stopped(id, code);
                }
                Ok(())
            }
            Frame::Credit(key, grant) => find(streams, key).map_or(Ok(()), |id| match streams.config().credit {
                CreditStyle::Totals => streams.consumed(T0, id, grant.total),
                _ => streams.granted(T0, id, grant.increment),
            }),
            Frame::ConnectionCredit(grant) => streams.connection_granted(T0, grant.increment),
        }
    }

    pub(super) fn take_events(&mut self) -> Vec<StreamEvent> {
        let events: Vec<_> = core::iter::from_fn(|| self.streams.next_event()).take(100_000).collect();
        self.events.extend(&events);
        events
    }

    /// Takes and releases everything, and returns it.
    pub(super) fn drain(&mut self, id: StreamId) -> Vec<u8> {
        let mut all = Vec::new();
        while let Received::Data { bytes, .. } = self.at(id).recv(usize::MAX) {
            self.at(id).release(bytes.len()).unwrap();
            all.extend_from_slice(&bytes);
        }
        all
    }
}

/// Both sides of a connection.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) a: Side,
    pub(super) b: Side,
}

impl Pair {
    pub(super) fn new(config: StreamsConfig) -> Self {
        Self { a: Side::new(config, 1), b: Side::new(config, 2) }
    }

    /// Both sides order and hear everything, until nothing moves.
    pub(super) fn exchange(&mut self) {
        for step in 0.. {
            assert!(step < 100_000, "the exchange never ends");
            self.a.order_all();
            self.b.order_all();
            if self.a.wire.is_empty() && self.b.wire.is_empty() {
                return;
            }
            while let Some(frame) = self.a.wire.pop_front() {
                self.b.take(frame).unwrap();
            }
            while let Some(frame) = self.b.wire.pop_front() {
                self.a.take(frame).unwrap();
            }
        }
    }

    /// A stream that both sides know: as each names it.
    pub(super) fn stream(&mut self) -> (StreamId, StreamId) {
        let a = self.a.open();
        self.exchange();
        let key = self.a.at(a).key();
        let b = self.b.streams.lookup(key).unwrap();
        self.b.take_events();
        (a, b)
    }
}
