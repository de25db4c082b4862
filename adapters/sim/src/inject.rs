//! Faults take effect.

use crate::agenda::What;
use crate::fault::Fault;
use crate::kernel::{Connection, Kernel};
use crate::lane::{Cut, Packet};
use crate::seen::Sight;
use crate::trace::Happening;

use std::time::Duration;

impl Kernel {
    /// The fault happens now; one about a connection that is not dialled yet waits.
    pub(crate) fn inject(&mut self, fault: Fault) {
        let about = fault.connection();
        if about.is_some_and(|connection| connection as usize >= self.connections.len()) {
            return self.waiting.push(fault);
        }
        self.fired[fault.kind()] += 1;
        self.note(2 * about.unwrap_or(0), Happening::Fault(fault.kind() as u32));
        let now = self.agenda.now();
        match fault {
            Fault::Stall { connection, way, nanos } => {
                for &side in way.lanes() {
                    let lane = &mut self.at(connection).lanes[side];
                    lane.busy_until = lane.busy_until.max(now).saturating_add(nanos);
                }
            }
            Fault::BlackHole { connection, way, nanos } => {
                self.sights.saw(if way.lanes().len() > 1 { Sight::HoleBothWays } else { Sight::HoleOneWay });
                for &side in way.lanes() {
                    self.at(connection).lanes[side].hole = true;
                    if let Some(nanos) = nanos {
                        self.agenda.plan(now.saturating_add(nanos), What::HoleOver(2 * connection + side as u32));
                    }
                }
            }
            Fault::PartialReads { connection, most } => {
                self.at(connection).lanes.iter_mut().for_each(|lane| lane.most_read = most.max(1));
            }
            Fault::PartialWrites { connection, most } => {
                self.at(connection).lanes.iter_mut().for_each(|lane| lane.most_write = most.max(1));
            }
            Fault::ResetAt { connection, way, byte } => {
                way.lanes().iter().for_each(|side| self.at(connection).lanes[*side].cut = Some((byte, Cut::Reset)));
            }
            Fault::FinAt { connection, way, byte } => {
                way.lanes().iter().for_each(|side| self.at(connection).lanes[*side].cut = Some((byte, Cut::Fin)));
            }
            Fault::Reset { connection } => {
                self.send(2 * connection, Packet::Reset);
                self.send(2 * connection + 1, Packet::Reset);
            }
            Fault::Latency { connection, nanos, jitter_nanos } => {
                for lane in &mut self.at(connection).lanes {
                    lane.link.latency = Duration::from_nanos(nanos);
                    lane.link.jitter = Duration::from_nanos(jitter_nanos);
                }
            }
            Fault::Bandwidth { connection, bytes_per_second } => {
                self.at(connection).lanes.iter_mut().for_each(|lane| lane.link.bandwidth = bytes_per_second);
            }
            Fault::Capacity { connection, bytes } => self.set_capacity(connection, bytes.max(1)),
            Fault::HostDies { host } => self.with_host(host, |host| host.alive = false),
            Fault::ClockJump { host, nanos } => {
                if nanos < 0 {
                    self.sights.saw(Sight::ClockBack);
                }
                self.with_host(host, |host| host.clock.jump(now, nanos));
                self.look_again(host);
            }
            Fault::ClockSkew { host, ppm } => {
                if ppm < 0 {
                    self.sights.saw(Sight::ClockSlow);
                }
                self.with_host(host, |host| host.clock.skew(now, ppm));
                self.look_again(host);
            }
            Fault::RefuseConnects { host, nanos } => {
                self.with_host(host, |host| host.refuses_until = now.saturating_add(nanos));
            }
            Fault::SlowConnects { host, nanos } => self.with_host(host, |host| host.slow_by = nanos),
            Fault::AcceptStall { host, nanos } => {
                for listener in self.listeners.iter_mut().filter(|listener| listener.host == host) {
                    listener.stalled_until = now.saturating_add(nanos);
                }
            }
        }
    }

    fn at(&mut self, connection: u32) -> &mut Connection {
        &mut self.connections[connection as usize]
    }

    fn with_host(&mut self, host: u32, change: impl FnOnce(&mut crate::host::Host)) {
        if let Some(host) = self.hosts.get_mut(host as usize) {
            change(host);
        }
    }

    /// The alarms of a host were planned by the clock as it was.
    fn look_again(&mut self, host: u32) {
        let machines = self.hosts.get(host as usize).map(|host| host.machines.clone()).unwrap_or_default();
        for machine in machines {
            self.slots[machine as usize].alarm = None;
            self.wake(machine);
        }
    }

    fn set_capacity(&mut self, connection: u32, bytes: u32) {
        for side in 0..2 {
            let lane = &mut self.at(connection).lanes[side];
            lane.link.capacity = bytes as usize;
            let wakes = lane.room() > 0 && std::mem::take(&mut lane.writer_waits);
            if let Some(machine) = self.at(connection).sockets[side].machine.filter(|_| wakes) {
                self.wake(machine);
            }
        }
    }

    pub(crate) fn hole_over(&mut self, socket: u32) {
        let now = self.agenda.now();
        self.sights.saw(Sight::HoleOver);
        self.lane(socket).hole_over(now);
        self.arm(socket);
        // What had arrived the other way is acknowledged now.
        if self.socket(socket ^ 1).timers.waits() && !self.lane(socket ^ 1).is_flying() {
            self.acknowledge(socket ^ 1);
        }
    }
}
