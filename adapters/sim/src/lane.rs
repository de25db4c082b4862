//! One direction of a connection: what was written, what is on its way, what can be read.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut, BytesMut, buf::Limit};
use duologue_core::Rng;

/// How one direction of a connection behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// From the writer to the reader.
    pub latency: Duration,
    /// Up to this much more, drawn anew for each write. The order within a connection is kept, the order between
    /// connections is not.
    pub jitter: Duration,
    /// Bytes per second; 0 is without bound.
    pub bandwidth: u64,
    /// Bytes that are written and not yet read, in flight or in a kernel buffer.
    pub capacity: usize,
}

impl Default for Link {
    /// 1 ms, no jitter, unbounded bandwidth, 64 KiB.
    fn default() -> Self {
        Self { latency: Duration::from_millis(1), jitter: Duration::ZERO, bandwidth: 0, capacity: 64 << 10 }
    }
}

impl Link {
    /// The default with another latency.
    #[must_use]
    pub fn with_latency(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    pub(crate) fn latency_nanos(&self) -> u64 {
        nanos(self.latency)
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Bytes(u32),
    Fin,
    Reset,
}

/// What a fault does to the stream at some byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Fin,
    Reset,
}

/// What a write came to.
pub(crate) struct Written {
    pub(crate) taken: usize,
    pub(crate) cut: Option<Cut>,
}

/// A packet on its way: when it arrives, and its number among all that left.
#[derive(Clone, Copy, Debug)]
struct Flying {
    at: u64,
    number: u64,
    packet: Packet,
}

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) link: Link,
    /// Written and not read; the first `head` bytes were read.
    bytes: Vec<u8>,
    head: usize,
    pub(crate) readable: usize,
    flying: VecDeque<Flying>,
    /// When the last byte is on the wire, and when the last packet arrives.
    pub(crate) busy_until: u64,
    last_arrival: u64,
    /// The arrival of the front packet is on the agenda.
    pub(crate) armed: bool,
    /// Nothing gets through.
    pub(crate) hole: bool,
    pub(crate) most_read: u32,
    pub(crate) most_write: u32,
    pub(crate) cut: Option<(u64, Cut)>,
    /// What is written goes nowhere: the stream was cut.
    pub(crate) dead: bool,
    /// The FIN that the reader sees is not the writer's.
    pub(crate) forged_fin: bool,
    pub(crate) fin_arrived: bool,
    pub(crate) writer_waits: bool,
    pub(crate) written: u64,
}

impl Lane {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            bytes: Vec::new(),
            head: 0,
            readable: 0,
            flying: VecDeque::new(),
            busy_until: 0,
            last_arrival: 0,
            armed: false,
            hole: false,
            most_read: u32::MAX,
            most_write: u32::MAX,
            cut: None,
            dead: false,
            forged_fin: false,
            fin_arrived: false,
            writer_waits: false,
            written: 0,
        }
    }

    pub(crate) fn room(&self) -> usize {
        self.link.capacity.saturating_sub(self.bytes.len() - self.head)
    }

    /// Takes what fits from the front of `slices`.
    pub(crate) fn write(&mut self, now: u64, slices: &[&[u8]], number: u64, rng: &mut Rng) -> Written {
        let limit = self.room().min(self.most_write as usize);
        let offered: usize = slices.iter().map(|s| s.len()).sum();
        let taken = offered.min(limit);
        if taken == 0 {
            return Written { taken, cut: None };
        }
        if self.dead {
            return Written { taken, cut: None };
        }
        let (through, cut) = match self.cut {
            Some((byte, cut)) if self.written + taken as u64 >= byte => {
                self.dead = true;
                (byte.saturating_sub(self.written) as usize, Some(cut))
            }
            _ => (taken, None),
        };
        self.copy_in(slices, through);
        self.written += taken as u64;
        if through > 0 {
            self.fly(now, Packet::Bytes(through as u32), number, rng);
        }
        Written { taken, cut }
    }

    #[inline]
    fn copy_in(&mut self, slices: &[&[u8]], mut left: usize) {
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head > self.bytes.len() / 2 && self.bytes.capacity() - self.bytes.len() < left {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        for slice in slices {
            let n = slice.len().min(left);
            self.bytes.extend_from_slice(&slice[..n]);
            left -= n;
        }
    }

    /// Bytes that the last write let through, for the trace.
    #[inline]
    pub(crate) fn tail(&self, n: usize) -> &[u8] {
        &self.bytes[self.bytes.len() - n.min(self.bytes.len())..]
    }

    /// Sends a packet on its way, after everything before it.
    #[inline]
    pub(crate) fn fly(&mut self, now: u64, packet: Packet, number: u64, rng: &mut Rng) {
        let mut at = self.busy_until.max(now);
        if let (Packet::Bytes(n), bandwidth @ 1..) = (packet, self.link.bandwidth) {
            let time = u128::from(n) * 1_000_000_000 / u128::from(bandwidth);
            at = at.saturating_add(u64::try_from(time).unwrap_or(u64::MAX));
            self.busy_until = at;
        }
        at = at.saturating_add(self.link.latency_nanos());
        if !self.link.jitter.is_zero() {
            at = at.saturating_add(rng.below(nanos(self.link.jitter)));
        }
        self.last_arrival = self.last_arrival.max(at);
        self.flying.push_back(Flying { at: self.last_arrival, number, packet });
    }

    /// When the front packet arrives, if that is not planned yet.
    #[inline]
    pub(crate) fn to_arm(&self) -> Option<u64> {
        if self.armed || self.hole {
            return None;
        }
        self.flying.front().map(|front| front.at)
    }

    pub(crate) fn is_flying(&self) -> bool {
        !self.flying.is_empty()
    }

    #[inline]
    pub(crate) fn land(&mut self) -> Option<(u64, Packet)> {
        self.flying.pop_front().map(|front| (front.number, front.packet))
    }

    /// The hole closed: what was lost is sent again, but for resets, which nobody repeats.
    pub(crate) fn hole_over(&mut self, now: u64) {
        self.hole = false;
        self.flying.retain(|flying| flying.packet != Packet::Reset || flying.at > now);
        let again = now.saturating_add(self.link.latency_nanos());
        for flying in &mut self.flying {
            flying.at = again.max(flying.at);
        }
        self.last_arrival = self.last_arrival.max(again);
    }

    /// Moves what may be read into `buf`.
    #[inline]
    pub(crate) fn read(&mut self, buf: &mut Limit<&mut BytesMut>) -> usize {
        let n = self.readable.min(self.most_read as usize).min(buf.remaining_mut());
        buf.put_slice(&self.bytes[self.head..self.head + n]);
        self.head += n;
        self.readable -= n;
        n
    }

    /// Throws away `n` bytes that arrived where nobody reads, behind what can still be read.
    pub(crate) fn discard_arrived(&mut self, n: usize) {
        let from = (self.head + self.readable).min(self.bytes.len());
        self.bytes.drain(from..(from + n).min(self.bytes.len()));
    }

    /// Throws away what is readable, and tells how much that was.
    pub(crate) fn discard_readable(&mut self) -> usize {
        let n = std::mem::take(&mut self.readable);
        self.head += n;
        n
    }
}
