//! One session of a machine that has several, in the simulated network.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{Closed, Config, Event, Instant, Interest, Protocol, Rng, Session};
use duologue_sim::{App, ConnectError, Fault, HostId, Io, Net, Read, Shape, SocketId};

pub(crate) type Frames = Framed<LengthPrefixed>;
pub(crate) type Violation = <Frames as Protocol>::Violation;
pub(crate) type FramesEvent = Event<Bytes, Violation>;

pub(crate) fn frames() -> Frames {
    Framed::new(LengthPrefixed::u32_be(1024))
}

/// A message that is its own number.
pub(crate) fn numbered(id: u64) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

pub(crate) fn number(message: &[u8]) -> u64 {
    u64::from_be_bytes(message.try_into().expect("eight bytes"))
}

/// Any fault of the network; not of clocks and hosts, after which nothing can be promised.
pub(crate) fn network_faults(connections: u32, bytes: u64) -> Shape {
    let network = |kind: &&str| !kind.contains("clock") && !kind.contains("host") && !kind.contains("forge");
    let allowed = Fault::KINDS.iter().enumerate().filter(|(_, kind)| network(kind)).map(|(n, _)| 1 << n).sum();
    Shape { connections, hosts: 2, horizon: 4_000_000_000, bytes, allowed }
}

pub(crate) struct Link {
    socket: SocketId,
    pub(crate) session: Session<Frames>,
    pub(crate) connected: bool,
    pub(crate) closed: Option<Closed<Violation>>,
}

impl Link {
    pub(crate) fn dial(net: &mut Net<'_>, to: HostId, config: Config) -> Result<Self, ConnectError> {
        let seed = net.random();
        let session = Session::connecting(frames(), config, seed, net.now()).expect("limits that work");
        Ok(Self { socket: net.dial(to, 80)?, session, connected: false, closed: None })
    }

    /// Goes as far as it can, and arms the alarm.
    pub(crate) fn drive(&mut self, net: &mut Net<'_>) -> Vec<FramesEvent> {
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

    fn round(&mut self, net: &mut Net<'_>, events: &mut Vec<FramesEvent>) -> bool {
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

    fn did(&mut self, fact: impl FnOnce(&mut Session<Frames>)) -> bool {
        fact(&mut self.session);
        true
    }
}

/// What a server did, in order.
pub(crate) type Ledger = Rc<RefCell<Vec<u64>>>;

/// Answers each message with itself, and now and then finishes of its own accord.
pub(crate) struct Echo {
    pub(crate) ledger: Ledger,
    pub(crate) rng: Rng,
    pub(crate) finish_one_in: u64,
}

impl App<Frames> for Echo {
    fn on_event(&mut self, io: &mut Io<'_, Frames>, event: FramesEvent) {
        if let Event::App(message) = event {
            self.ledger.borrow_mut().push(number(&message));
            let _ = io.send(message);
            if self.rng.below(self.finish_one_in) == 0 {
                io.finish();
            }
        }
    }
}

/// The earlier of two times.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    [a, b].into_iter().flatten().min()
}
