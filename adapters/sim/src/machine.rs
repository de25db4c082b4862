//! What a host runs: machines, and the kernel as they see it.

use std::any::Any;
use std::fmt;

use bytes::BytesMut;
use bytes::buf::Limit;
use duologue_core::{Instant, Phase, RecvState, Release, SendState, Side, Stats, TimeoutReason, TransportFault};

use crate::coverage::Coverage;
use crate::kernel::{ConnectError, Kernel, Read};
use crate::timers::SocketOptions;
use crate::trace::{Happening, short};

/// A host of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(crate) u32);

/// A machine of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(pub(crate) u32);

/// One side of a connection, owned by a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub(crate) u32);

/// Something that runs on a host: one session ([`Endpoint`](crate::Endpoint)), or anything that owns several sockets
/// and one clock (a pool, a client that reconnects).
///
/// It is polled when a socket of its own may have something new, and when its alarm rings. It must look at everything
/// then, and arm its alarm again: a wake-up does not say why it came.
pub trait Machine: Any {
    /// Does all that can be done now.
    fn poll(&mut self, net: &mut Net<'_>);

    /// It will never do anything again.
    fn is_over(&self) -> bool;

    /// How it stands. Nothing of a single session if it does not say.
    fn report(&self) -> Report {
        Report::default()
    }

    /// What it reached, for tables of what a test never saw.
    fn coverage(&self) -> Coverage {
        Coverage::default()
    }

    /// Itself, to be asked as what it is.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// How a session ended, without its protocol's types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The cause's stable name.
    pub cause: &'static str,
    /// The deadline that passed, if it was one.
    pub timeout: Option<TimeoutReason>,
    /// What the transport did, if the cause is its fault.
    pub fault: Option<TransportFault>,
    /// The cause for people.
    pub text: String,
    /// How far the session had come.
    pub phase: Phase,
    /// Accepted messages that were not handed to the kernel.
    pub unsent: u64,
    /// Received bytes that were not delivered.
    pub undelivered: u64,
    /// The peer's FIN was seen.
    pub peer_finished: bool,
    /// Who finished first.
    pub finished_first: Option<Side>,
    /// The true time, in nanoseconds after the start of the world.
    pub at: u64,
}

/// How a machine stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The states of its session's halves, if it is one session.
    pub states: Option<(RecvState, SendState)>,
    /// Its counters.
    pub stats: Stats,
    /// How it ended.
    pub ended: Option<Ended>,
    /// How often the application was told of the end. Anything but once is a bug.
    pub times_closed: u32,
}

/// The kernel of a machine's host, as the machine sees it.
pub struct Net<'a> {
    pub(crate) kernel: &'a mut Kernel,
    pub(crate) machine: u32,
}

impl fmt::Debug for Net<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Net<'_> {
    /// What the host's clock shows.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Instant {
        self.kernel.clock(self.kernel.slots[self.machine as usize].host)
    }

    /// The true time, in nanoseconds after the start of the world.
    #[must_use]
    #[inline]
    pub fn true_nanos(&self) -> u64 {
        self.kernel.agenda.now()
    }

    /// Randomness from the world's seed.
    pub fn random(&mut self) -> u64 {
        self.kernel.rng.next_u64()
    }

    /// Dials a port of a host.
    ///
    /// # Errors
    /// It cannot even be tried: see [`ConnectError`].
    pub fn dial(&mut self, host: HostId, port: u16) -> Result<SocketId, ConnectError> {
        self.kernel.dial(self.machine, host.0, port).map(SocketId)
    }

    /// Whether a dialled socket is connected.
    ///
    /// # Errors
    /// It never will be.
    pub fn is_connected(&mut self, socket: SocketId) -> Result<bool, TransportFault> {
        self.kernel.connected(socket.0)
    }

    /// Writes from the front of `slices`; 0 if there is no room, and then the machine is woken when there is.
    ///
    /// # Errors
    /// The socket was reset, or its sending is over.
    #[inline]
    pub fn write(&mut self, socket: SocketId, slices: &[&[u8]]) -> Result<usize, TransportFault> {
        self.kernel.write(socket.0, slices)
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// The socket was reset.
    #[inline]
    pub fn read(&mut self, socket: SocketId, buf: &mut Limit<&mut BytesMut>) -> Result<Read, TransportFault> {
        self.kernel.read(socket.0, buf)
    }

    /// Sends FIN after everything written.
    ///
    /// # Errors
    /// The socket was reset.
    pub fn shutdown_write(&mut self, socket: SocketId) -> Result<(), TransportFault> {
        self.kernel.shutdown_write(socket.0)
    }

    /// Lets a socket go. As on Linux, closing with unread input resets it.
    pub fn release(&mut self, socket: SocketId, how: Release) {
        self.kernel.release(socket.0, how);
    }

    /// Sets what a socket asks of its kernel; else it has what its host was given by
    /// [`World::set_socket_options`](crate::World::set_socket_options).
    pub fn set_options(&mut self, socket: SocketId, options: SocketOptions) {
        self.kernel.set_options(socket.0, options);
    }

    /// Polls the machine when the host's clock shows `at`. There is one alarm, the earliest that was asked for.
    #[inline]
    pub fn alarm(&mut self, at: Instant) {
        self.kernel.alarm(self.machine, at);
    }

    /// Polls the machine again in the present, after everything that was planned before.
    pub fn poll_again(&mut self) {
        self.kernel.wake(self.machine);
    }

    /// Notes in the trace that a session ended for the cause of this name.
    pub fn note_closed(&mut self, socket: SocketId, cause: &str) {
        self.kernel.note(socket.0, Happening::Closed(short(cause)));
    }
}
