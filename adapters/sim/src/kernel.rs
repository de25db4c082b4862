//! The simulated kernels of all hosts: sockets, as a machine sees them.
//!
//! Connections are pairs of lanes; socket `2 * connection + side` writes into lane `side` and reads from the other.
//! What happens on the way is in `wire`, what goes wrong in `inject`.

use bytes::BytesMut;
use bytes::buf::Limit;
use duologue_core::{FaultKind, Instant, Operation, Release, Rng, TransportFault};
use thiserror::Error;

use crate::agenda::{Agenda, What};
use crate::fault::Fault;
use crate::host::{Host, Listener};
use crate::lane::{Cut, Lane, Link, Packet};
use crate::schedule::FaultSchedule;
use crate::seen::{Sight, Sights};
use crate::timers::Timers;
use crate::trace::{End, Happening, Trace};

/// A connection that could not even be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Every ephemeral port is in use for this destination, most of them in TIME_WAIT perhaps.
    #[error(
        "all {ports} ephemeral ports are in use, {time_wait} sockets of this host are in TIME_WAIT; reuse connections, or let the peer finish first"
    )]
    PortsExhausted {
        /// Ports of the range.
        ports: usize,
        /// Sockets in TIME_WAIT.
        time_wait: u32,
    },
    /// The host that dials is dead.
    #[error("the dialling host is dead")]
    HostDead,
    /// The session's limits cannot work.
    #[error(transparent)]
    Limits(#[from] duologue_core::LimitsError),
}

/// How far a socket has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketPhase {
    Connecting,
    Open,
    /// The owner let it go; the kernel may still be sending.
    Orphan,
    /// Nothing is left of it.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) host: u32,
    pub(crate) machine: Option<u32>,
    pub(crate) phase: SocketPhase,
    /// The ephemeral port that it holds.
    pub(crate) port: Option<u16>,
    pub(crate) fin_sent: bool,
    pub(crate) time_wait: bool,
    /// When the kernel gives up what the owner let go.
    pub(crate) over_at: u64,
    /// What the owner is told instead of bytes.
    pub(crate) failed: Option<TransportFault>,
    pub(crate) timers: Timers,
    told: bool,
}

impl Socket {
    fn new(host: u32, machine: Option<u32>, port: Option<u16>) -> Self {
        Self {
            host,
            machine,
            phase: SocketPhase::Connecting,
            port,
            fin_sent: false,
            time_wait: false,
            over_at: 0,
            failed: None,
            timers: Timers::default(),
            told: false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sockets: [Socket; 2],
    pub(crate) lanes: [Lane; 2],
    pub(crate) port: u16,
    pub(crate) requests: u32,
}

/// What a machine is known by: its host, its alarm, and whether a wake-up is planned.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) host: u32,
    pub(crate) alarm: Option<u64>,
    pub(crate) woken: bool,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Bytes were put into the buffer.
    Bytes(usize),
    /// The peer finished.
    Eof,
    /// Nothing is there yet; the machine is woken when something is.
    Blocked,
}

#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) agenda: Agenda,
    pub(crate) hosts: Vec<Host>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) rng: Rng,
    pub(crate) trace: Trace,
    pub(crate) link: Link,
    pub(crate) schedule: FaultSchedule,
    /// Faults for connections that are not dialled yet.
    pub(crate) waiting: Vec<Fault>,
    pub(crate) fired: [u32; Fault::KINDS.len()],
    pub(crate) sights: Sights,
    /// The packet that left last of those that arrived, by its number, and its connection.
    pub(crate) newest: (u64, u32),
    pub(crate) packets: u64,
    /// Whether bytes that arrived before a reset can still be read, as on Linux.
    pub(crate) reset_keeps_unread: bool,
}

pub(crate) const fn end(socket: u32) -> End {
    End { connection: socket / 2, side: (socket % 2) as u8 }
}

impl Kernel {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            agenda: Agenda::default(),
            hosts: Vec::new(),
            listeners: Vec::new(),
            connections: Vec::new(),
            slots: Vec::new(),
            rng: Rng::new(seed),
            trace: Trace::new(seed),
            link: Link::default(),
            schedule: FaultSchedule::none(),
            waiting: Vec::new(),
            fired: [0; Fault::KINDS.len()],
            sights: Sights::default(),
            newest: (0, 0),
            packets: 0,
            reset_keeps_unread: false,
        }
    }

    #[inline]
    pub(crate) fn note(&mut self, socket: u32, what: Happening) {
        self.trace.note(self.agenda.now(), end(socket), what);
    }

    #[inline]
    pub(crate) fn clock(&self, host: u32) -> Instant {
        self.hosts[host as usize].clock.read(self.agenda.now())
    }

    #[inline]
    pub(crate) fn socket(&mut self, socket: u32) -> &mut Socket {
        &mut self.connections[(socket / 2) as usize].sockets[(socket % 2) as usize]
    }

    /// The lane that a socket writes into.
    #[inline]
    pub(crate) fn lane(&mut self, socket: u32) -> &mut Lane {
        &mut self.connections[(socket / 2) as usize].lanes[(socket % 2) as usize]
    }

    pub(crate) fn new_machine(&mut self, host: u32) -> u32 {
        let machine = self.slots.len() as u32;
        self.slots.push(Slot { host, alarm: None, woken: false });
        self.hosts[host as usize].machines.push(machine);
        machine
    }

    pub(crate) fn wake(&mut self, machine: u32) {
        let slot = &mut self.slots[machine as usize];
        if !slot.woken {
            slot.woken = true;
            self.agenda.plan(self.agenda.now(), What::Wake(machine));
        }
    }

    /// Rings at `at` on the host's clock. An alarm that rings earlier is left: the machine looks and arms it anew.
    #[inline]
    pub(crate) fn alarm(&mut self, machine: u32, at: Instant) {
        let slot = &mut self.slots[machine as usize];
        let at = self.hosts[slot.host as usize].clock.when(at);
        if slot.alarm.is_none_or(|armed| at < armed) {
            slot.alarm = Some(at);
            self.agenda.plan(at, What::Alarm(machine));
        }
    }

    pub(crate) fn dial(&mut self, machine: u32, to: u32, port: u16) -> Result<u32, ConnectError> {
        let from = self.slots[machine as usize].host;
        let number = self.connections.len() as u32;
        let host = &mut self.hosts[from as usize];
        if !host.alive {
            return Err(ConnectError::HostDead);
        }
        let Some(local) = host.take_port((to, port)) else {
            return Err(ConnectError::PortsExhausted { ports: host.ports(), time_wait: host.time_wait });
        };
        self.connections.push(Connection {
            sockets: [Socket::new(from, Some(machine), Some(local)), Socket::new(to, None, None)],
            lanes: [Lane::new(self.link), Lane::new(self.link)],
            port,
            requests: 0,
        });
        for (side, host) in [from, to].into_iter().enumerate() {
            let options = self.hosts[host as usize].options;
            self.set_options(2 * number + side as u32, options);
        }
        let waiting = std::mem::take(&mut self.waiting);
        for fault in waiting {
            self.inject(fault);
        }
        self.send_request(number);
        Ok(2 * number)
    }

    /// Whether the socket can be used, or why it cannot.
    pub(crate) fn connected(&mut self, socket: u32) -> Result<bool, TransportFault> {
        let socket = self.socket(socket);
        match socket.failed {
            Some(fault) if fault.operation == Operation::Connect => Err(fault),
            _ => Ok(socket.phase == SocketPhase::Open),
        }
    }

    #[inline]
    pub(crate) fn write(&mut self, socket: u32, slices: &[&[u8]]) -> Result<usize, TransportFault> {
        self.check(socket, Operation::Write)?;
        let now = self.agenda.now();
        let connection = &mut self.connections[(socket / 2) as usize];
        let side = (socket % 2) as usize;
        if connection.sockets[side].fin_sent {
            return Err(TransportFault::new(FaultKind::BrokenPipe, Operation::Write));
        }
        let lane = &mut connection.lanes[side];
        let was_dead = lane.dead;
        self.packets += 1;
        let written = lane.write(now, slices, self.packets, &mut self.rng);
        if written.taken == 0 {
            lane.writer_waits = true;
            self.sights.saw(Sight::WriterWaits);
            return Ok(0);
        }
        self.trace.content(lane.tail(written.taken));
        self.trace.note(now, end(socket), Happening::Wrote(written.taken as u32));
        if connection.sockets[side].timers.on {
            self.sent_unacknowledged(socket);
        }
        if written.cut.is_some() || was_dead {
            self.cut(socket, written.cut);
        }
        self.arm(socket);
        Ok(written.taken)
    }

    /// The stream of `socket` was cut at this write, or it writes on after the cut.
    #[cold]
    fn cut(&mut self, socket: u32, cut: Option<Cut>) {
        match cut {
            Some(Cut::Fin) => {
                self.sights.saw(Sight::FinCut);
                self.lane(socket).forged_fin = true;
                self.send(socket, Packet::Fin);
            }
            Some(Cut::Reset) => {
                self.sights.saw(Sight::ResetCut);
                self.send(socket, Packet::Reset);
                self.send(socket ^ 1, Packet::Reset);
            }
            None => self.send(socket ^ 1, Packet::Reset),
        }
    }

    #[inline]
    pub(crate) fn read(&mut self, socket: u32, buf: &mut Limit<&mut BytesMut>) -> Result<Read, TransportFault> {
        let connection = &mut self.connections[(socket / 2) as usize];
        let lane = &mut connection.lanes[((socket % 2) ^ 1) as usize];
        let n = lane.read(buf);
        if n > 0 {
            let wakes = std::mem::take(&mut lane.writer_waits);
            self.trace.note(self.agenda.now(), end(socket), Happening::Read(n as u32));
            if wakes {
                self.room_made(socket);
            }
            return Ok(Read::Bytes(n));
        }
        self.check(socket, Operation::Read)?;
        Ok(if self.lane(socket ^ 1).fin_arrived { Read::Eof } else { Read::Blocked })
    }

    /// The writer learns after a latency that there is room.
    fn room_made(&mut self, socket: u32) {
        let at = self.agenda.now().saturating_add(self.lane(socket).link.latency_nanos());
        if let Some(machine) = self.socket(socket ^ 1).machine {
            self.agenda.plan(at, What::Wake(machine));
        }
    }

    /// Fails once with what happened, and then with a broken pipe.
    #[inline]
    fn check(&mut self, socket: u32, operation: Operation) -> Result<(), TransportFault> {
        let socket = self.socket(socket);
        match socket.failed {
            None => Ok(()),
            Some(fault) => {
                let kind = if std::mem::replace(&mut socket.told, true) && operation == Operation::Write {
                    FaultKind::BrokenPipe
                } else {
                    fault.kind
                };
                Err(TransportFault { kind, operation, ..fault })
            }
        }
    }

    pub(crate) fn shutdown_write(&mut self, socket: u32) -> Result<(), TransportFault> {
        self.check(socket, Operation::ShutdownWrite)?;
        self.send_fin(socket);
        Ok(())
    }

    pub(crate) fn send_fin(&mut self, socket: u32) {
        if !std::mem::replace(&mut self.socket(socket).fin_sent, true) {
            self.note(socket, Happening::FinSent);
            // After a cut the real end goes nowhere, as the bytes did.
            if !self.lane(socket).dead {
                self.send(socket, Packet::Fin);
                if self.socket(socket).timers.on {
                    self.sent_unacknowledged(socket);
                }
            }
        }
    }

    /// The owner lets go. Closing with unread input resets, as kernels do.
    pub(crate) fn release(&mut self, socket: u32, how: Release) {
        self.socket(socket).machine = None;
        match self.socket(socket).phase {
            SocketPhase::Gone | SocketPhase::Orphan => return,
            SocketPhase::Connecting => return self.gone(socket),
            SocketPhase::Open => self.note(socket, Happening::Released),
        }
        let unread = self.lane(socket ^ 1).discard_readable();
        if unread > 0 {
            self.sights.saw(Sight::Unread);
        }
        if how == Release::Abort || unread > 0 {
            return self.reset(socket);
        }
        self.send_fin(socket);
        self.socket(socket).phase = SocketPhase::Orphan;
        if self.socket(socket).time_wait {
            return;
        }
        if self.lane(socket).fin_arrived && self.lane(socket ^ 1).fin_arrived {
            return self.gone(socket);
        }
        // Neither FIN_WAIT_2 nor LAST_ACK lasts for ever without an owner.
        self.plan_over(socket);
    }

    pub(crate) fn plan_over(&mut self, socket: u32) {
        const MINUTE: u64 = 60_000_000_000;
        let at = self.agenda.now().saturating_add(MINUTE);
        self.socket(socket).over_at = at;
        self.agenda.plan(at, What::SocketOver(socket));
    }

    /// Sends a reset and forgets the socket.
    pub(crate) fn reset(&mut self, socket: u32) {
        self.note(socket, Happening::ResetSent);
        self.send(socket, Packet::Reset);
        self.gone(socket);
    }

    /// Nothing is left of the socket: its port is free.
    pub(crate) fn gone(&mut self, socket: u32) {
        let to = (self.socket(socket ^ 1).host, self.connections[(socket / 2) as usize].port);
        let socket = self.socket(socket);
        socket.phase = SocketPhase::Gone;
        let (host, port) = (socket.host as usize, socket.port.take());
        let waited = std::mem::take(&mut socket.time_wait);
        self.hosts[host].time_wait -= u32::from(waited);
        if let Some(port) = port {
            self.hosts[host].free_port(to, port);
        }
    }

    pub(crate) fn send(&mut self, socket: u32, packet: Packet) {
        let now = self.agenda.now();
        let lane = &mut self.connections[(socket / 2) as usize].lanes[(socket % 2) as usize];
        // A reset is sent once; in a hole it is lost.
        if packet == Packet::Reset && lane.hole {
            return;
        }
        self.packets += 1;
        lane.fly(now, packet, self.packets, &mut self.rng);
        self.arm(socket);
    }

    #[inline]
    pub(crate) fn arm(&mut self, socket: u32) {
        let lane = self.lane(socket);
        if let Some(at) = lane.to_arm() {
            lane.armed = true;
            self.agenda.plan(at, What::Arrive(socket));
        }
    }
}
