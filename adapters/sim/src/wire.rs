//! What arrives: packets, connection requests and their answers.

use duologue_core::{FaultKind, Operation, TransportFault};

use crate::agenda::What;
use crate::host::Overflow;
use crate::kernel::{Kernel, SocketPhase};
use crate::lane::{Packet, nanos};
use crate::seen::Sight;
use crate::trace::Happening;

const SECOND: u64 = 1_000_000_000;
/// Requests that are sent before the dialler gives up: after 1, 2, 4, ... s, 127 s in all.
const REQUESTS: u32 = 7;

impl Kernel {
    /// The front packet of the lane that `sender` writes into arrives. Returns the machine to look at it.
    #[inline]
    pub(crate) fn arrive(&mut self, sender: u32) -> Option<u32> {
        let now = self.agenda.now();
        let receiver = sender ^ 1;
        let host = self.socket(receiver).host;
        let lane = self.lane(sender);
        lane.armed = false;
        if lane.hole {
            return None;
        }
        // What was in flight when a hole opened and closed again has got a later time.
        if let Some(at) = lane.to_arm().filter(|at| *at > now) {
            lane.armed = true;
            self.agenda.plan(at, What::Arrive(sender));
            return None;
        }
        let (number, packet) = lane.land()?;
        let bound = lane.link.bandwidth > 0;
        self.look_at_order(number, sender / 2, bound);
        self.arm(sender);
        if !self.hosts[host as usize].alive {
            return None;
        }
        self.heard(receiver);
        if self.socket(sender).timers.on {
            self.acknowledge(sender);
        }
        match packet {
            Packet::Bytes(n) => self.bytes_arrived(receiver, n),
            Packet::Fin => self.fin_arrived(receiver),
            Packet::Reset => self.reset_arrived(receiver),
        }
    }

    #[inline]
    fn look_at_order(&mut self, number: u64, connection: u32, bound: bool) {
        if number > self.newest.0 {
            self.newest = (number, connection);
        } else if connection != self.newest.1 {
            self.sights.saw(Sight::Overtaken);
        }
        if bound {
            self.sights.saw(Sight::Bandwidth);
        }
    }

    #[inline]
    fn bytes_arrived(&mut self, receiver: u32, n: u32) -> Option<u32> {
        self.note(receiver, Happening::Arrived(n));
        let connection = &mut self.connections[(receiver / 2) as usize];
        let socket = &connection.sockets[(receiver % 2) as usize];
        let lane = &mut connection.lanes[((receiver % 2) ^ 1) as usize];
        if matches!(socket.phase, SocketPhase::Open | SocketPhase::Connecting) && socket.failed.is_none() {
            lane.readable += n as usize;
            return socket.machine;
        }
        // Nobody will read it: the sender is told.
        lane.discard_arrived(n as usize);
        self.sights.saw(Sight::Unread);
        self.reset(receiver);
        None
    }

    fn fin_arrived(&mut self, receiver: u32) -> Option<u32> {
        self.note(receiver, Happening::FinArrived);
        self.lane(receiver ^ 1).fin_arrived = true;
        let socket = self.socket(receiver);
        if socket.phase == SocketPhase::Gone {
            return None;
        }
        let sender_was_first = socket.fin_sent;
        if sender_was_first {
            // We finished before we saw this: TIME_WAIT is ours.
            if !std::mem::replace(&mut socket.time_wait, true) {
                let host = socket.host as usize;
                self.hosts[host].time_wait += 1;
                self.sights.saw(Sight::TimeWait);
                self.note(receiver, Happening::TimeWait);
                self.plan_over(receiver);
            }
        }
        let machine = self.socket(receiver).machine;
        // The side that finished second is done once its FIN is here.
        let sender = receiver ^ 1;
        let other = self.socket(sender);
        if other.fin_sent && !other.time_wait && self.lane(receiver).fin_arrived && self.is_orphan(sender) {
            self.gone(sender);
        }
        machine
    }

    fn is_orphan(&mut self, socket: u32) -> bool {
        self.socket(socket).phase == SocketPhase::Orphan
    }

    fn reset_arrived(&mut self, receiver: u32) -> Option<u32> {
        let keeps = self.reset_keeps_unread;
        if self.socket(receiver).phase == SocketPhase::Gone {
            return None;
        }
        self.note(receiver, Happening::ResetArrived);
        if !keeps {
            self.lane(receiver ^ 1).discard_readable();
        }
        let socket = self.socket(receiver);
        let machine = socket.machine;
        socket.failed.get_or_insert(TransportFault::new(FaultKind::Reset, Operation::Read));
        self.gone(receiver);
        machine
    }

    /// TIME_WAIT, FIN_WAIT_2 or LAST_ACK took long enough.
    pub(crate) fn socket_over(&mut self, socket: u32) {
        if self.socket(socket).over_at > self.agenda.now() {
            return;
        }
        if self.socket(socket).phase != SocketPhase::Gone && (self.is_orphan(socket) || self.socket(socket).time_wait) {
            self.gone(socket);
        }
    }

    /// Sends a connection request on its way, the first or a further one.
    pub(crate) fn send_request(&mut self, connection: u32) {
        let now = self.agenda.now();
        let link = self.connections[connection as usize].lanes[0].link;
        let to = self.connections[connection as usize].sockets[1].host;
        self.note(2 * connection, Happening::Dialled);
        let jitter = self.rng.below(nanos(link.jitter));
        let way = link.latency_nanos().saturating_add(jitter).saturating_add(self.hosts[to as usize].slow_by);
        self.agenda.plan(now.saturating_add(way), What::Syn(connection));
    }

    /// A connection request reaches its host.
    pub(crate) fn request_arrived(&mut self, number: u32) -> Option<u32> {
        let now = self.agenda.now();
        let connection = &self.connections[number as usize];
        if connection.sockets[0].phase != SocketPhase::Connecting {
            return None;
        }
        let back = connection.lanes[1].link.latency_nanos();
        let hole = connection.lanes[0].hole || connection.lanes[1].hole;
        let host = &self.hosts[connection.sockets[1].host as usize];
        let listener = host.listeners.get(&connection.port).copied();
        if hole || !host.alive {
            return self.request_dropped(number);
        }
        let Some(index) = listener.filter(|_| host.refuses_until <= now) else {
            self.agenda.plan(now.saturating_add(back), What::Refused(number));
            self.sights.saw(Sight::Refused);
            return None;
        };
        let listener = &mut self.listeners[index as usize];
        if listener.queue.len() >= listener.manner.backlog {
            if listener.manner.overflow == Overflow::Refuse {
                self.agenda.plan(now.saturating_add(back), What::Refused(number));
                self.sights.saw(Sight::QueueRefused);
                return None;
            }
            self.sights.saw(Sight::QueueDropped);
            return self.request_dropped(number);
        }
        listener.queue.push_back(number);
        let accept = listener.stalled_until.max(now);
        self.socket(2 * number + 1).phase = SocketPhase::Open;
        self.start_timers(2 * number + 1);
        self.agenda.plan(accept, What::Accept(index));
        self.agenda.plan(now.saturating_add(back), What::SynAck(number));
        None
    }

    fn request_dropped(&mut self, number: u32) -> Option<u32> {
        self.note(2 * number, Happening::RequestDropped);
        self.sights.saw(Sight::RequestLost);
        let requests = self.connections[number as usize].requests;
        let again = self.agenda.now().saturating_add(SECOND << requests);
        self.connections[number as usize].requests += 1;
        if requests + 1 >= REQUESTS {
            return self.connect_failed(number, FaultKind::TimedOut);
        }
        self.agenda.plan(again, What::Syn(number));
        None
    }

    /// The dialler's request was answered.
    pub(crate) fn request_answered(&mut self, number: u32) -> Option<u32> {
        let dialler = 2 * number;
        let host = self.socket(dialler).host;
        if self.socket(dialler).phase != SocketPhase::Connecting {
            // It gave up meanwhile: the answer is answered by a reset.
            if self.hosts[host as usize].alive {
                self.send(dialler, Packet::Reset);
            }
            return None;
        }
        self.socket(dialler).phase = SocketPhase::Open;
        self.start_timers(dialler);
        self.note(dialler, Happening::Connected);
        self.socket(dialler).machine
    }

    pub(crate) fn connect_failed(&mut self, number: u32, kind: FaultKind) -> Option<u32> {
        let dialler = 2 * number;
        if self.socket(dialler).phase != SocketPhase::Connecting {
            return None;
        }
        self.note(dialler, Happening::ConnectFailed);
        self.gone(dialler);
        let socket = self.socket(dialler);
        socket.failed = Some(TransportFault::new(kind, Operation::Connect));
        socket.machine
    }

    /// The next connection of a listener's queue, or when to ask again.
    pub(crate) fn next_accept(&mut self, index: u32) -> Option<u32> {
        let now = self.agenda.now();
        let listener = &mut self.listeners[index as usize];
        if !self.hosts[listener.host as usize].alive {
            return None;
        }
        if listener.stalled_until > now {
            self.agenda.plan(listener.stalled_until, What::Accept(index));
            return None;
        }
        let number = listener.queue.pop_front()?;
        self.note(2 * number + 1, Happening::Accepted);
        Some(2 * number + 1)
    }
}
