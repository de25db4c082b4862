//! What is to happen and when: a heap ordered by time, then by the order in which things were planned.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Something planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// The front packet of a lane arrives.
    Arrive(u32),
    /// A machine looks at its sockets.
    Wake(u32),
    /// A machine's alarm. Stale if it was armed anew since.
    Alarm(u32),
    /// A connection request reaches the listener.
    Syn(u32),
    /// The dialler learns that it is connected.
    SynAck(u32),
    /// The dialler learns that nobody listens.
    Refused(u32),
    /// A listener takes the next connection off its queue.
    Accept(u32),
    /// A black hole in a lane closes.
    HoleOver(u32),
    /// A socket leaves TIME_WAIT, or FIN_WAIT_2 without an owner.
    SocketOver(u32),
    /// A kernel's timer of a socket: user time-out or keepalive. Stale if it was armed anew since.
    KernelTimer(u32),
    /// A fault of the schedule.
    Fault(u32),
}

impl What {
    /// Plans that keep a world from being quiet: something is on its way.
    fn is_traffic(self) -> bool {
        !matches!(
            self,
            Self::Alarm(_) | Self::SocketOver(_) | Self::KernelTimer(_) | Self::Fault(_) | Self::HoleOver(_)
        )
    }
}

/// The plans, the earliest first. Plans for the present go through a queue beside the heap.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64, What)>>,
    /// Planned for the present, in order of planning.
    present: VecDeque<(u64, What)>,
    now: u64,
    sequence: u64,
    traffic: usize,
}

impl Agenda {
    /// The time of what was taken last.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Packets, requests and wake-ups that are planned.
    pub(crate) fn traffic(&self) -> usize {
        self.traffic
    }

    /// Plans `what` for `at`, or for the present if that is past.
    #[inline]
    pub(crate) fn plan(&mut self, at: u64, what: What) {
        self.sequence += 1;
        self.traffic += usize::from(what.is_traffic());
        if at <= self.now {
            self.present.push_back((self.sequence, what));
        } else {
            self.heap.push(Reverse((at, self.sequence, what)));
        }
    }

    /// When the next plan is due.
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        if self.present.is_empty() { self.heap.peek().map(|Reverse((at, _, _))| *at) } else { Some(self.now) }
    }

    /// Takes the next plan, with its time. The clock moves only by [`advance`](Self::advance), so that a stale plan
    /// moves nothing.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<(u64, What)> {
        let planned_before = match (self.heap.peek(), self.present.front()) {
            (Some(Reverse((at, sequence, _))), Some((present, _))) => *at <= self.now && sequence < present,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let (at, what) = if planned_before {
            let Reverse((at, _, what)) = self.heap.pop()?;
            (at, what)
        } else {
            (self.now, self.present.pop_front()?.1)
        };
        self.traffic -= usize::from(what.is_traffic());
        Some((at, what))
    }

    /// The time is `at`. Only ever forward.
    #[inline]
    pub(crate) fn advance(&mut self, at: u64) {
        self.now = self.now.max(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_comes_first_and_then_the_order_of_planning() {
        let mut agenda = Agenda::default();
        agenda.plan(5, What::Wake(1));
        agenda.plan(3, What::Wake(2));
        agenda.plan(5, What::Wake(3));
        assert_eq!(agenda.take(), Some((3, What::Wake(2))));
        agenda.advance(5);
        agenda.plan(4, What::Wake(4));
        let rest: Vec<_> = std::iter::from_fn(|| agenda.take()).map(|(_, what)| what).collect();
        assert_eq!(rest, [What::Wake(1), What::Wake(3), What::Wake(4)]);
        assert_eq!(agenda.traffic(), 0);
    }
}
