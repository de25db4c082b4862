//! What a test asks a world.

use std::time::Duration;

use duologue_core::{Closed, LimitsError, Protocol};

use super::World;
use crate::app::App;
use crate::coverage::Coverage;
use crate::endpoint::Endpoint;
use crate::machine::{HostId, Machine, MachineId, Report};
use crate::scenario::Scenario;
use crate::trace::{Entry, Happening};

/// Asking.
impl World {
    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.given.seed
    }

    /// The true time after the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.kernel.agenda.now())
    }

    /// The hash of everything that happened: the same for the same seed, faults and code, on every platform.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.kernel.trace.hash()
    }

    /// What this run was made from: its seed and, if it was recorded, all that was drawn.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        self.drawn.as_ref().unwrap_or(&self.given).clone()
    }

    /// The lines that were recorded.
    #[must_use]
    pub fn trace(&self) -> &[Entry] {
        self.kernel.trace.entries()
    }

    /// Things that happened so far: arrivals, wake-ups, alarms, requests, faults.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Every machine, in the order of making; those of accepted connections among them.
    pub fn machines(&self) -> impl Iterator<Item = MachineId> + use<> {
        (0..self.machines.len() as u32).map(MachineId)
    }

    /// The host of a machine.
    #[must_use]
    pub fn host_of(&self, id: MachineId) -> HostId {
        HostId(self.kernel.slots[id.0 as usize].host)
    }

    /// The name of a host.
    #[must_use]
    pub fn name(&self, host: HostId) -> &str {
        &self.kernel.hosts[host.0 as usize].name
    }

    /// Whether a host lives.
    #[must_use]
    pub fn is_alive(&self, host: HostId) -> bool {
        self.kernel.hosts[host.0 as usize].alive
    }

    /// How a machine stands.
    #[must_use]
    pub fn report(&self, id: MachineId) -> Report {
        self.machines[id.0 as usize].report()
    }

    /// What a machine reached.
    #[must_use]
    pub fn coverage(&self, id: MachineId) -> Coverage {
        self.machines[id.0 as usize].coverage()
    }

    /// A machine, by its type.
    #[must_use]
    pub fn machine<M: Machine>(&mut self, id: MachineId) -> Option<&M> {
        self.machines.get_mut(id.0 as usize)?.as_any().downcast_ref()
    }

    /// An endpoint, by its types.
    #[must_use]
    pub fn endpoint<P, A>(&mut self, id: MachineId) -> Option<&Endpoint<P, A>>
    where
        P: Protocol + 'static,
        A: App<P> + 'static,
    {
        self.machine(id)
    }

    /// How an endpoint's session ended, by its types.
    #[must_use]
    pub fn closed<P, A>(&mut self, id: MachineId) -> Option<&Closed<P::Violation>>
    where
        P: Protocol + 'static,
        A: App<P> + 'static,
    {
        self.endpoint::<P, A>(id)?.closed()
    }

    /// Sockets of a host in TIME_WAIT.
    #[must_use]
    pub fn time_wait(&self, host: HostId) -> u32 {
        self.kernel.hosts[host.0 as usize].time_wait
    }

    /// Ephemeral ports of a host in use, each counted once per destination.
    #[must_use]
    pub fn ports_used(&self, host: HostId) -> usize {
        self.kernel.hosts[host.0 as usize].ports_used()
    }

    /// Connections dialled.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.kernel.connections.len() as u32
    }

    /// Whether a direction of a connection ended with a FIN that its writer did not send (see [`Fault::FinAt`](crate::Fault::FinAt)).
    /// `side` is the writer's: 0 dialled.
    #[must_use]
    pub fn is_forged(&self, connection: u32, side: usize) -> bool {
        self.kernel.connections[connection as usize].lanes[side & 1].forged_fin
    }

    /// What the network did at least once: one bit for each of [`SEEN`](crate::SEEN).
    #[must_use]
    pub fn seen(&self) -> u32 {
        self.kernel.sights.0
    }

    /// How often each kind of fault happened, in the order of [`Fault::KINDS`](crate::Fault::KINDS).
    #[must_use]
    pub fn faults_fired(&self) -> &[u32] {
        &self.kernel.fired
    }

    /// Limits that could not work, of accepted connections. These were reset.
    #[must_use]
    pub fn accept_errors(&self) -> &[LimitsError] {
        &self.accept_errors
    }

    /// Whether anything of this kind was recorded.
    #[must_use]
    pub fn saw(&self, what: Happening) -> bool {
        self.trace().iter().any(|entry| entry.what == what)
    }
}
