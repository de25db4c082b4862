//! What kernels do by themselves about a peer that is gone: TCP_USER_TIMEOUT and TCP keepalive, as Linux does them.
//!
//! Both are off unless asked for, as there. They run on true time: a host's clock that jumps does not move them.

use std::time::Duration;

use duologue_core::{FaultKind, Operation, TransportFault};

use crate::agenda::What;
use crate::kernel::{Kernel, SocketPhase};
use crate::lane::{Packet, nanos};
use crate::seen::Sight;
use crate::trace::Happening;

/// What a socket asks of its kernel. The default asks for nothing: then a black hole is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// TCP_USER_TIMEOUT: how long bytes or FIN may be on their way unacknowledged before the socket fails.
    pub user_timeout: Option<Duration>,
    /// SO_KEEPALIVE with its three numbers: finds a peer that is gone while nothing is on its way.
    pub keepalive: Option<TcpKeepalive>,
}

/// The numbers of TCP keepalive. A peer that is gone is found after `idle + probes * interval`, unless
/// [`SocketOptions::user_timeout`] is shorter than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Silence before the first probe (TCP_KEEPIDLE).
    pub idle: Duration,
    /// Between two probes (TCP_KEEPINTVL).
    pub interval: Duration,
    /// Probes without an answer before the socket fails (TCP_KEEPCNT).
    pub probes: u32,
}

/// The state of both timers of one socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timers {
    pub(crate) options: SocketOptions,
    /// Something is asked for: all that the hot paths look at.
    pub(crate) on: bool,
    /// Since when the oldest of what is on its way waits for its acknowledgement.
    unacknowledged: Option<u64>,
    /// When the peer's kernel was last heard of.
    heard: u64,
    unanswered: u32,
    /// For when the timer is planned.
    armed: Option<u64>,
}

impl Kernel {
    pub(crate) fn set_options(&mut self, socket: u32, options: SocketOptions) {
        let timers = &mut self.socket(socket).timers;
        timers.options = options;
        timers.on = options != SocketOptions::default();
        if self.socket(socket).phase == SocketPhase::Open {
            self.start_timers(socket);
        }
    }

    /// The socket is connected.
    pub(crate) fn start_timers(&mut self, socket: u32) {
        let now = self.agenda.now();
        let waits = self.lane(socket).is_flying();
        let timers = &mut self.socket(socket).timers;
        if timers.on {
            timers.heard = now;
            timers.unacknowledged = waits.then_some(now);
            self.arm_timer(socket);
        }
    }

    /// Bytes or FIN were sent.
    #[cold]
    pub(crate) fn sent_unacknowledged(&mut self, socket: u32) {
        let now = self.agenda.now();
        let timers = &mut self.socket(socket).timers;
        if timers.unacknowledged.is_none() {
            timers.unacknowledged = Some(now);
            self.arm_timer(socket);
        }
    }

    /// Something of `sender` reached the peer's kernel, which says so unless the way back is a hole.
    #[cold]
    pub(crate) fn acknowledge(&mut self, sender: u32) {
        if self.lane(sender ^ 1).hole {
            return;
        }
        let at = self.agenda.now().saturating_add(self.lane(sender ^ 1).link.latency_nanos());
        let more = self.lane(sender).is_flying();
        let timers = &mut self.socket(sender).timers;
        timers.unacknowledged = more.then_some(at);
        timers.heard = timers.heard.max(at);
        timers.unanswered = 0;
    }

    /// Something of the peer's reached `socket`.
    #[inline]
    pub(crate) fn heard(&mut self, socket: u32) {
        let now = self.agenda.now();
        let timers = &mut self.socket(socket).timers;
        if timers.on {
            timers.heard = timers.heard.max(now);
            timers.unanswered = 0;
        }
    }

    fn arm_timer(&mut self, socket: u32) {
        let timers = &mut self.socket(socket).timers;
        let Some(at) = timers.due() else { return };
        if timers.armed.is_none_or(|armed| at < armed) {
            timers.armed = Some(at);
            self.agenda.plan(at, What::KernelTimer(socket));
        }
    }

    /// The timer of a socket came. Returns the machine to look at it, if the kernel gave up.
    pub(crate) fn kernel_timer(&mut self, at: u64, socket: u32) -> Option<u32> {
        let now = self.agenda.now();
        if self.socket(socket).timers.armed != Some(at) {
            return None;
        }
        self.socket(socket).timers.armed = None;
        let host = self.socket(socket).host as usize;
        if self.socket(socket).phase != SocketPhase::Open || !self.hosts[host].alive {
            return None;
        }
        if self.socket(socket).timers.due().is_some_and(|due| due <= now) {
            if self.is_user_timeout(socket, now) {
                if !self.trickles(socket) {
                    return self.give_up(socket);
                }
                self.socket(socket).timers.unacknowledged = Some(now);
            } else if self.socket(socket).timers.is_out_of_probes(now) {
                // As Linux does, before it tells the owner.
                self.send(socket, Packet::Reset);
                return self.give_up(socket);
            } else {
                self.probe(socket);
            }
        }
        self.arm_timer(socket);
        None
    }

    fn is_user_timeout(&mut self, socket: u32, now: u64) -> bool {
        let timers = &self.socket(socket).timers;
        match (timers.unacknowledged, timers.options.user_timeout) {
            (Some(since), Some(wait)) => since.saturating_add(nanos(wait)) <= now,
            _ => false,
        }
    }

    /// One write is one packet here, however slow the link: a real one would be acknowledged piece by piece.
    fn trickles(&mut self, socket: u32) -> bool {
        let peer = self.socket(socket ^ 1).host as usize;
        let (hole, slow) = (self.lane(socket).hole || self.lane(socket ^ 1).hole, self.lane(socket).link.bandwidth > 0);
        slow && !hole && self.hosts[peer].alive && self.lane(socket).is_flying()
    }

    /// Asks the peer's kernel whether it still has the connection.
    fn probe(&mut self, socket: u32) {
        self.note(socket, Happening::Probed);
        self.sights.saw(Sight::Probed);
        self.socket(socket).timers.unanswered += 1;
        let (there, back) = (self.lane(socket).hole, self.lane(socket ^ 1).hole);
        let peer = self.socket(socket ^ 1).host as usize;
        if there || back || !self.hosts[peer].alive {
            return;
        }
        if self.socket(socket ^ 1).phase == SocketPhase::Gone {
            // The peer's kernel knows nothing of it.
            return self.send(socket ^ 1, Packet::Reset);
        }
        let way = self.lane(socket).link.latency_nanos().saturating_add(self.lane(socket ^ 1).link.latency_nanos());
        let answered = self.agenda.now().saturating_add(way);
        let timers = &mut self.socket(socket).timers;
        timers.heard = answered;
        timers.unanswered = 0;
    }

    /// The kernel gives up: the owner gets ETIMEDOUT.
    fn give_up(&mut self, socket: u32) -> Option<u32> {
        self.note(socket, Happening::GaveUp);
        self.sights.saw(Sight::GaveUp);
        let owned = self.socket(socket);
        owned.failed.get_or_insert(TransportFault::new(FaultKind::TimedOut, Operation::Read));
        let machine = owned.machine;
        self.gone(socket);
        machine
    }
}

impl Timers {
    /// Something that was sent is not acknowledged.
    pub(crate) fn waits(&self) -> bool {
        self.on && self.unacknowledged.is_some()
    }

    /// The earliest time at which there is something to do.
    fn due(&self) -> Option<u64> {
        let user =
            self.unacknowledged.zip(self.options.user_timeout).map(|(since, wait)| since.saturating_add(nanos(wait)));
        let keepalive = self.options.keepalive.map(|keepalive| {
            // While something is on its way, that is what finds out.
            let from =
                self.heard.max(self.unacknowledged.map_or(0, |since| since.saturating_add(nanos(keepalive.idle))));
            let probes = u64::from(self.unanswered);
            from.saturating_add(nanos(keepalive.idle)).saturating_add(nanos(keepalive.interval).saturating_mul(probes))
        });
        user.into_iter().chain(keepalive).min()
    }

    fn is_out_of_probes(&self, now: u64) -> bool {
        let Some(keepalive) = self.options.keepalive.filter(|_| self.unanswered > 0) else { return false };
        // With a user time-out, that decides and not the number of probes.
        match self.options.user_timeout {
            Some(wait) => now.saturating_sub(self.heard) >= nanos(wait),
            None => self.unanswered >= keepalive.probes,
        }
    }
}
