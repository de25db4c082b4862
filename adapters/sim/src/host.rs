//! A host: its clock, its ports, its listeners' manners.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use crate::clock::Clock;
use crate::timers::SocketOptions;

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) alive: bool,
    pub(crate) machines: Vec<u32>,
    /// Sockets in TIME_WAIT.
    pub(crate) time_wait: u32,
    pub(crate) refuses_until: u64,
    pub(crate) slow_by: u64,
    /// Of every socket that is made from now on.
    pub(crate) options: SocketOptions,
    /// Listeners by port.
    pub(crate) listeners: BTreeMap<u16, u32>,
    range: RangeInclusive<u16>,
    next: u16,
    /// Ephemeral ports in use, with the destination they are used for.
    used: BTreeSet<(u32, u16, u16)>,
}

impl Host {
    pub(crate) fn new(name: String) -> Self {
        // Linux's default range: 28 232 ports.
        let range = 32_768..=60_999;
        Self {
            name,
            clock: Clock::TRUE,
            alive: true,
            machines: Vec::new(),
            time_wait: 0,
            refuses_until: 0,
            slow_by: 0,
            options: SocketOptions::default(),
            listeners: BTreeMap::new(),
            next: *range.start(),
            range,
            used: BTreeSet::new(),
        }
    }

    pub(crate) fn set_ports(&mut self, range: RangeInclusive<u16>) {
        self.next = *range.start();
        self.range = range;
    }

    /// A free port for connections to this destination.
    pub(crate) fn take_port(&mut self, to: (u32, u16)) -> Option<u16> {
        for _ in self.range.clone() {
            let port = self.next;
            self.next = if port >= *self.range.end() { *self.range.start() } else { port + 1 };
            if self.used.insert((to.0, to.1, port)) {
                return Some(port);
            }
        }
        None
    }

    pub(crate) fn free_port(&mut self, to: (u32, u16), port: u16) {
        self.used.remove(&(to.0, to.1, port));
    }

    pub(crate) fn ports_used(&self) -> usize {
        self.used.len()
    }

    pub(crate) fn ports(&self) -> usize {
        self.range.clone().count()
    }
}

/// What a listener does with a request when its queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Drops it; the dialler asks again after 1, 2, 4, ... s, as on Linux.
    #[default]
    Drop,
    /// Refuses it.
    Refuse,
}

/// How a listener accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Connections that may wait to be accepted.
    pub backlog: usize,
    /// What happens to one more.
    pub overflow: Overflow,
}

impl Default for Listen {
    /// 128 connections, one more is dropped.
    fn default() -> Self {
        Self { backlog: 128, overflow: Overflow::Drop }
    }
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) host: u32,
    pub(crate) manner: Listen,
    pub(crate) queue: VecDeque<u32>,
    pub(crate) stalled_until: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_counted_per_destination() {
        let mut host = Host::new("a".into());
        host.set_ports(10..=12);
        assert_eq!([(); 3].map(|()| host.take_port((1, 80))), [Some(10), Some(11), Some(12)]);
        assert_eq!(host.take_port((1, 80)), None);
        assert_eq!(host.take_port((2, 80)), Some(10), "another destination has all of them");
        host.free_port((1, 80), 11);
        assert_eq!(host.take_port((1, 80)), Some(11));
        assert_eq!((host.ports_used(), host.ports()), (4, 3));
    }
}
