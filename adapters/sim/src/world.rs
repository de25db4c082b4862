//! The world: hosts, their machines, and time that jumps to the next thing planned.

mod asking;
mod drawing;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use duologue_core::{Config, FaultKind, LimitsError, Protocol, Release};

use crate::agenda::What;
use crate::app::{App, Io};
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::host::{Host, Listen, Listener};
use crate::kernel::{ConnectError, Kernel};
use crate::lane::{Link, nanos};
use crate::machine::{HostId, Machine, MachineId, Net, SocketId};
use crate::scenario::Scenario;
use crate::schedule::FaultSchedule;
use crate::timers::SocketOptions;

/// Steps without time moving before a world is taken to spin.
const SPIN: u64 = 2_000_000;

/// Makes the machine of an accepted connection.
type Factory = Box<dyn FnMut(&mut Net<'_>, SocketId) -> Result<Box<dyn Machine>, LimitsError>>;

/// Why a run came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Every machine of a living host is over and nothing is on its way. What is left is TIME_WAIT.
    Quiet,
    /// Machines live, but nothing is planned that could ever wake them.
    Stuck,
    /// The time given is up.
    TimeUp,
    /// So many steps and time did not move that somebody must be spinning: see [`World::spin_limit`].
    Spinning,
}

/// Many hosts, many connections, one thread. See the crate's documentation.
pub struct World {
    kernel: Kernel,
    machines: Vec<Box<dyn Machine>>,
    factories: Vec<Factory>,
    accept_errors: Vec<LimitsError>,
    steps: u64,
    still: u64,
    most_still: u64,
    given: Scenario,
    /// What was drawn, kept only where somebody will ask for it.
    drawn: Option<Scenario>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now())
            .field("hosts", &self.kernel.hosts.len())
            .field("machines", &self.machines.len())
            .field("connections", &self.kernel.connections.len())
            .finish_non_exhaustive()
    }
}

/// Building.
impl World {
    /// An empty world. All its randomness comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(Scenario::of(seed))
    }

    /// An empty world for a scenario: what it gives is not drawn from its seed.
    #[must_use]
    pub fn of(scenario: Scenario) -> Self {
        Self {
            kernel: Kernel::new(scenario.seed),
            machines: Vec::new(),
            factories: Vec::new(),
            accept_errors: Vec::new(),
            steps: 0,
            still: 0,
            most_still: SPIN,
            given: scenario,
            drawn: None,
        }
    }

    /// Keeps the last `most` lines of the trace, to be read, and what is drawn.
    #[must_use]
    pub fn record(mut self, most: usize) -> Self {
        if most > 0 {
            self.kernel.trace.record(most);
            self.drawn = Some(Scenario { schedule: None, ..self.given.clone() });
        }
        self
    }

    /// Steps at one instant after which a run ends as [`Outcome::Spinning`]. Default two million; raise it for much
    /// traffic without latency.
    pub fn spin_limit(&mut self, steps: u64) {
        self.most_still = steps;
    }

    /// How connections that are dialled from now on behave, in both directions.
    pub fn set_link(&mut self, link: Link) {
        self.kernel.link = Link { capacity: link.capacity.max(1), ..link };
    }

    /// Whether bytes that arrived before a reset can still be read (Linux) or are lost (the default: other systems,
    /// and the harsher case).
    pub fn reset_keeps_unread(&mut self, keeps: bool) {
        self.kernel.reset_keeps_unread = keeps;
    }

    /// A new host.
    pub fn host(&mut self, name: &str) -> HostId {
        self.kernel.hosts.push(Host::new(name.to_string()));
        HostId(self.kernel.hosts.len() as u32 - 1)
    }

    /// The range of a host's ephemeral ports. Default 32768 to 60999.
    pub fn set_ports(&mut self, host: HostId, range: RangeInclusive<u16>) {
        self.kernel.hosts[host.0 as usize].set_ports(range);
    }

    /// What every socket asks of this host's kernel, from now on: TCP_USER_TIMEOUT and keepalive. Default nothing.
    pub fn set_socket_options(&mut self, host: HostId, options: SocketOptions) {
        self.kernel.hosts[host.0 as usize].options = options;
    }

    /// Listens: every accepted connection gets a session with the protocol and application that `make` gives.
    pub fn listen<P, A>(
        &mut self,
        host: HostId,
        port: u16,
        manner: Listen,
        config: impl Into<Arc<Config>>,
        mut make: impl FnMut() -> (P, A) + 'static,
    ) where
        P: Protocol + 'static,
        A: App<P> + 'static,
    {
        let config: Arc<Config> = config.into();
        self.listen_with(host, port, manner, move |net, socket| {
            let (protocol, app) = make();
            Ok(Box::new(Endpoint::accepted(net, socket, protocol, config.clone(), app)?))
        });
    }

    /// Listens: every accepted connection gets the machine that `make` gives.
    pub fn listen_with(
        &mut self,
        host: HostId,
        port: u16,
        manner: Listen,
        make: impl FnMut(&mut Net<'_>, SocketId) -> Result<Box<dyn Machine>, LimitsError> + 'static,
    ) {
        let index = self.kernel.listeners.len() as u32;
        self.kernel.listeners.push(Listener { host: host.0, manner, queue: Default::default(), stalled_until: 0 });
        self.kernel.hosts[host.0 as usize].listeners.insert(port, index);
        self.factories.push(Box::new(make));
    }

    /// Dials a port of another host.
    ///
    /// # Errors
    /// It cannot even be tried: no port is free, the host is dead, the limits cannot work.
    pub fn connect<P, A>(
        &mut self,
        from: HostId,
        to: (HostId, u16),
        config: impl Into<Arc<Config>>,
        protocol: P,
        app: A,
    ) -> Result<MachineId, ConnectError>
    where
        P: Protocol + 'static,
        A: App<P> + 'static,
    {
        self.add(from, |net| {
            let socket = net.dial(to.0, to.1)?;
            let endpoint = Endpoint::dialling(net, socket, protocol, config, app);
            Ok(Box::new(endpoint.inspect_err(|_| net.release(socket, Release::Abort))?))
        })
    }

    /// Adds a machine to a host.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn add<E>(
        &mut self,
        host: HostId,
        make: impl FnOnce(&mut Net<'_>) -> Result<Box<dyn Machine>, E>,
    ) -> Result<MachineId, E> {
        let machine = self.kernel.new_machine(host.0);
        let made = make(&mut Net { kernel: &mut self.kernel, machine });
        if made.is_err() {
            self.kernel.slots.pop();
            self.kernel.hosts[host.0 as usize].machines.pop();
        }
        self.machines.push(made?);
        self.kernel.wake(machine);
        Ok(MachineId(machine))
    }

    /// Plans the faults of a schedule.
    pub fn faults(&mut self, schedule: &FaultSchedule) {
        for timed in &schedule.faults {
            let index = self.kernel.schedule.faults.len() as u32;
            self.kernel.schedule.faults.push(*timed);
            self.kernel.agenda.plan(timed.at, What::Fault(index));
        }
    }

    /// Makes a fault happen now.
    pub fn inject(&mut self, fault: Fault) {
        self.kernel.inject(fault);
    }
}

/// Running.
impl World {
    /// Runs until every machine is over and nothing is on its way, for at most this long in virtual time.
    pub fn run_until_quiet(&mut self, limit: Duration) -> Outcome {
        self.run(self.kernel.agenda.now().saturating_add(nanos(limit)), true)
    }

    /// Runs until this time after the start of the world.
    pub fn run_until(&mut self, at: Duration) -> Outcome {
        self.run(nanos(at), false)
    }

    /// Runs for this long in virtual time.
    pub fn run_for(&mut self, time: Duration) -> Outcome {
        self.run(self.kernel.agenda.now().saturating_add(nanos(time)), false)
    }

    fn run(&mut self, until: u64, stops_when_quiet: bool) -> Outcome {
        loop {
            if stops_when_quiet && self.kernel.agenda.traffic() == 0 && self.is_quiet() {
                return Outcome::Quiet;
            }
            match self.kernel.agenda.next() {
                None if stops_when_quiet => return Outcome::Stuck,
                Some(at) if at <= until => self.step(),
                _ => {
                    self.kernel.agenda.advance(until);
                    return Outcome::TimeUp;
                }
            }
            if self.still > self.most_still {
                return Outcome::Spinning;
            }
        }
    }

    fn is_quiet(&self) -> bool {
        let alive = |machine: usize| self.kernel.hosts[self.kernel.slots[machine].host as usize].alive;
        self.machines.iter().enumerate().all(|(i, machine)| machine.is_over() || !alive(i))
    }

    #[inline]
    fn step(&mut self) {
        let Some((at, what)) = self.kernel.agenda.take() else { return };
        if let What::Alarm(machine) = what {
            // Nothing of a stale alarm may show, not even its time.
            let slot = &mut self.kernel.slots[machine as usize];
            if slot.alarm != Some(at) {
                return;
            }
            slot.alarm = None;
        }
        self.still = if at > self.kernel.agenda.now() { 0 } else { self.still + 1 };
        self.kernel.agenda.advance(at);
        self.steps += 1;
        let kernel = &mut self.kernel;
        let polls = match what {
            What::Arrive(lane) => kernel.arrive(lane),
            What::Alarm(machine) => Some(machine),
            What::Wake(machine) => {
                kernel.slots[machine as usize].woken = false;
                Some(machine)
            }
            What::Syn(connection) => kernel.request_arrived(connection),
            What::SynAck(connection) => kernel.request_answered(connection),
            What::Refused(connection) => kernel.connect_failed(connection, FaultKind::Refused),
            What::Accept(listener) => self.accept(listener),
            What::HoleOver(lane) => {
                kernel.hole_over(lane);
                None
            }
            What::SocketOver(socket) => {
                kernel.socket_over(socket);
                None
            }
            What::KernelTimer(socket) => kernel.kernel_timer(at, socket),
            What::Fault(index) => {
                let fault = kernel.schedule.faults[index as usize].fault;
                kernel.inject(fault);
                None
            }
        };
        if let Some(machine) = polls {
            self.poll(machine);
        }
    }

    #[inline]
    fn poll(&mut self, machine: u32) {
        let host = self.kernel.slots[machine as usize].host;
        if self.kernel.hosts[host as usize].alive {
            self.machines[machine as usize].poll(&mut Net { kernel: &mut self.kernel, machine });
        }
    }

    fn accept(&mut self, listener: u32) -> Option<u32> {
        let socket = self.kernel.next_accept(listener)?;
        let machine = self.kernel.new_machine(self.kernel.listeners[listener as usize].host);
        self.kernel.socket(socket).machine = Some(machine);
        let mut net = Net { kernel: &mut self.kernel, machine };
        match self.factories[listener as usize](&mut net, SocketId(socket)) {
            Ok(made) => {
                self.machines.push(made);
                Some(machine)
            }
            Err(error) => {
                let host = self.kernel.slots.pop().map(|slot| slot.host);
                if let Some(host) = host {
                    self.kernel.hosts[host as usize].machines.pop();
                }
                self.kernel.release(socket, Release::Abort);
                self.accept_errors.push(error);
                None
            }
        }
    }

    /// Lets a test act in the place of an endpoint's application, and polls the endpoint. `None` if there is no
    /// endpoint of these types.
    pub fn with<P, A, R>(&mut self, id: MachineId, act: impl FnOnce(&mut A, &mut Io<'_, P>) -> R) -> Option<R>
    where
        P: Protocol + 'static,
        A: App<P> + 'static,
    {
        let net = Net { kernel: &mut self.kernel, machine: id.0 };
        let endpoint = self.machines.get_mut(id.0 as usize)?.as_any().downcast_mut::<Endpoint<P, A>>()?;
        let result = endpoint.with(&net, act);
        self.kernel.wake(id.0);
        Some(result)
    }
}
