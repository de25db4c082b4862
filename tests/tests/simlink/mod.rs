//! One session of a machine that has several, in the simulated network.

use duologue_core::{Closed, Config, Event, Instant, Interest, Protocol, Session};
use duologue_sim::{ConnectError, Fault, HostId, Net, Read, Shape, SocketId};

/// Any fault of the network; not of clocks and hosts, after which nothing can be promised.
pub(crate) fn network_faults(connections: u32, bytes: u64) -> Shape {
    let network = |kind: &&str| !kind.contains("clock") && !kind.contains("host") && !kind.contains("forge");
    let allowed = Fault::KINDS.iter().enumerate().filter(|(_, kind)| network(kind)).map(|(n, _)| 1 << n).sum();
    Shape { connections, hosts: 2, horizon: 4_000_000_000, bytes, allowed }
}

pub(crate) struct Link<P: Protocol> {
    socket: SocketId,
    pub(crate) session: Session<P>,
    pub(crate) connected: bool,
    pub(crate) closed: Option<Closed<P::Violation>>,
}

impl<P: Protocol> Link<P> {
    pub(crate) fn dial(net: &mut Net<'_>, to: HostId, protocol: P, config: Config) -> Result<Self, ConnectError> {
        let seed = net.random();
        let session = Session::connecting(protocol, config, seed, net.now()).expect("limits that work");
        Ok(Self { socket: net.dial(to, 80)?, session, connected: false, closed: None })
    }

    /// Goes as far as it can, and arms the alarm.
    pub(crate) fn drive(&mut self, net: &mut Net<'_>) -> Vec<Event<P::Event, P::Violation>> {
        let mut events = Vec::new();
        for _ in 0..10_000 {
            if !self.connected && self.closed.is_none() {
                match net.is_connected(self.socket) {
                    Ok(true) => {
                        self.connected = true;
                        self.session.connected(net.now());
                    }
                    Ok(false) => {}
                    Err(fault) => self.session.transport_failed(net.now(), fault),
                }
            }
            if !self.round(net, &mut events) {
                return events;
            }
        }
        panic!("it spins: {:?}", self.session)
    }

    fn round(&mut self, net: &mut Net<'_>, events: &mut Vec<Event<P::Event, P::Violation>>) -> bool {
        let now = net.now();
        let Interest { event, read, write, shutdown_write, release, deadline } = self.session.interest();
        if let Some(how) = release {
            net.release(self.socket, how);
            self.session.released();
            return true;
        }
        if event {
            if let Some(event) = self.session.poll_event(now) {
                if let Event::Closed(closed) = &event {
                    self.closed = Some(closed.clone());
                }
                events.push(event);
                return true;
            }
        }
        if write {
            let mut slices: [&[u8]; 16] = [&[]; 16];
            let filled = self.session.transmit(&mut slices);
            match net.write(self.socket, &slices[..filled]) {
                Ok(0) => {}
                Ok(n) => return self.did(|session| session.transmitted(now, n)),
                Err(fault) => return self.did(|session| session.transport_failed(now, fault)),
            }
        }
        if shutdown_write {
            return match net.shutdown_write(self.socket) {
                Ok(()) => self.did(|session| session.shutdown_done(now)),
                Err(fault) => self.did(|session| session.transport_failed(now, fault)),
            };
        }
        if read {
            match net.read(self.socket, &mut self.session.recv_buf()) {
                Ok(Read::Blocked) => {}
                Ok(Read::Eof) => return self.did(|session| session.received_eof(now)),
                Ok(Read::Bytes(_)) => return self.did(|session| session.received(now)),
                Err(fault) => return self.did(|session| session.transport_failed(now, fault)),
            }
        }
        match deadline {
            Some(deadline) if deadline.at <= now => self.did(|session| session.handle_timeout(now)),
            Some(deadline) => {
                net.alarm(deadline.at);
                false
            }
            None => false,
        }
    }

    fn did(&mut self, fact: impl FnOnce(&mut Session<P>)) -> bool {
        fact(&mut self.session);
        true
    }
}

/// The earlier of two times.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    [a, b].into_iter().flatten().min()
}
