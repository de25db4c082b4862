//! What a session's owner decides once: limits, time-outs and the order of closing.

use core::time::Duration;

use thiserror::Error;

/// Everything that a session is configured with. Share one among many sessions with an `Arc`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Config {
    /// Bounds on every queue and buffer.
    pub limits: Limits,
    /// How long each kind of waiting may take.
    pub timeouts: Timeouts,
    /// Which side sends the first FIN of a close.
    pub close_order: CloseOrder,
    /// What a peer's FIN does to our sending.
    pub on_peer_finish: OnPeerFinish,
    /// Whether messages are taken as owned events or handled in place.
    pub delivery: Delivery,
}

/// Makes chainable setters for public fields.
macro_rules! setters {
    ($ty:ident { $( $(#[$doc:meta])* $name:ident : $kind:ty, )* }) => {
        impl $ty {
            $( $(#[$doc])* #[must_use] pub fn $name(mut self, $name: $kind) -> Self { self.$name = $name; self } )*
        }
    };
}
pub(crate) use setters;

setters!(Config {
    /// Replaces the limits.
    limits: Limits,
    /// Replaces the time-outs.
    timeouts: Timeouts,
    /// Chooses which side sends FIN first.
    close_order: CloseOrder,
    /// Chooses what the peer's FIN does to our sending.
    on_peer_finish: OnPeerFinish,
    /// Chooses owned or in-place delivery.
    delivery: Delivery,
});

impl Config {
    /// The defaults: see [`Limits`], [`Timeouts`], [`CloseOrder::LocalFirst`], [`OnPeerFinish::FlushThenFinish`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Bounds on every queue and buffer of a session. There is no unbounded setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most bytes that are received and not yet decoded. The largest frame must fit. Default 256 KiB.
    pub recv_buffer: usize,
    /// Most bytes that are received behind a message which the application has not taken: what a receive buffer that holds
    /// one large message is not to be filled with. Default 256 KiB.
    pub read_ahead: usize,
    /// Most bytes of accepted commands that are not yet handed to the transport. Default 256 KiB.
    pub send_buffer: usize,
    /// Room beside `send_buffer` for what the protocol itself must answer (pong, ack, window), so that reading
    /// never waits for writing. When even that overflows, the session ends. Default 16 KiB.
    pub control_reserve: usize,
    /// Most events that timers made and nobody took; decoding stops at one. Default 64.
    pub events: usize,
    /// Most bytes that are read and thrown away while lingering after a close. Default 16 MiB: a
    /// flooding peer must get as far as reading our last words.
    pub linger_bytes: u64,
    /// Bytes to make room for before a read, when the limit leaves that much. Default 16 KiB.
    pub read_chunk: usize,
    /// Payloads of at least this many bytes travel as shared segments (vectored write); smaller ones are copied
    /// behind their header. Default 4 KiB.
    pub share_threshold: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            recv_buffer: 256 << 10,
            read_ahead: 256 << 10,
            send_buffer: 256 << 10,
            control_reserve: 16 << 10,
            events: 64,
            linger_bytes: 16 << 20,
            read_chunk: 16 << 10,
            share_threshold: 4 << 10,
        }
    }
}

setters!(Limits {
    /// Sets the bound on received, undecoded bytes.
    recv_buffer: usize,
    /// Sets the bound on bytes received behind a message that was not taken.
    read_ahead: usize,
    /// Sets the bound on accepted, unsent bytes.
    send_buffer: usize,
    /// Sets the room for the protocol's own answers, in bytes.
    control_reserve: usize,
    /// Sets the bound on events that timers made.
    events: usize,
    /// Sets the bound on bytes thrown away while lingering.
    linger_bytes: u64,
    /// Sets the bytes to make room for before a read.
    read_chunk: usize,
    /// Sets from which payload size on nothing is copied.
    share_threshold: usize,
});

impl Limits {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn validate(&self, max_unit: usize) -> Result<(), LimitsError> {
        let nonzero = [
            ("recv_buffer", self.recv_buffer),
            ("read_ahead", self.read_ahead),
            ("send_buffer", self.send_buffer),
            ("events", self.events),
            ("read_chunk", self.read_chunk),
        ];
        if let Some((name, _)) = nonzero.into_iter().find(|(_, value)| *value == 0) {
            return Err(LimitsError::Zero { name });
        }
        if self.send_buffer.checked_add(self.control_reserve).is_none_or(|sum| u32::try_from(sum).is_err()) {
            return Err(LimitsError::TooLarge { send_buffer: self.send_buffer, control_reserve: self.control_reserve });
        }
        if max_unit > self.recv_buffer {
            return Err(LimitsError::FrameLargerThanBuffer { frame: max_unit, recv_buffer: self.recv_buffer });
        }
        Ok(())
    }
}

/// Limits that cannot work. Nothing was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// A bound of zero would stop the session for ever.
    #[error("limit `{name}` is 0: a session needs room for at least one byte or event; set it higher")]
    Zero {
        /// The field of [`Limits`].
        name: &'static str,
    },
    /// The protocol may need more bytes at once than the receive buffer may hold.
    #[error(
        "the protocol's largest frame needs {frame} bytes at once, but recv_buffer is {recv_buffer}: \
         raise Limits::recv_buffer to at least {frame} or lower the protocol's largest frame"
    )]
    FrameLargerThanBuffer {
        /// Bytes that one frame may need, its header and end mark included.
        frame: usize,
        /// The bound that was set.
        recv_buffer: usize,
    },
    /// The two send bounds together exceed 4 GiB - 1.
    #[error(
        "send_buffer {send_buffer} and control_reserve {control_reserve} together exceed 4 GiB - 1, the most that one session may queue"
    )]
    TooLarge {
        /// The bound that was set.
        send_buffer: usize,
        /// The reserve that was set.
        control_reserve: usize,
    },
}

/// How long each kind of waiting may take. `None` switches one off; with all of them off a session may wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the start to a connected transport (sessions made by `Session::connecting`). Default 10 s.
    pub connect: Option<Duration>,
    /// From the connected transport to an established protocol. Default 10 s.
    pub handshake: Option<Duration>,
    /// Without a byte in either direction, the session says goodbye. Default 5 min.
    pub idle: Option<Duration>,
    /// From the first bytes of a message to its last, however many come in between: a peer that sends one byte every few
    /// seconds is not idle, and gets no further than this. A protocol that takes
    /// parts of a message off as they come says that one is under way, or has timers of its own. Default none.
    pub message: Option<Duration>,
    /// Probing a quiet peer, where the protocol has a probe. Default 30 s, answer within 15 s.
    pub keepalive: Option<Keepalive>,
    /// Bytes are queued and the transport takes none. Default 30 s.
    pub write_stall: Option<Duration>,
    /// Bytes per second that the transport must take while some are queued, measured over
    /// [`write_stall`](Self::write_stall): each byte renews that wait only by its share of a second, and never by more than
    /// was used up. A peer that reads a byte now and then is ended by it; one that has nothing to read is not. Default 0:
    /// any byte renews the whole wait.
    pub write_rate: u32,
    /// From a close to the peer's answer to our goodbye. Default 5 s.
    pub close_handshake: Option<Duration>,
    /// From the end of the goodbye to the last byte flushed, in all. Default 30 s.
    pub flush: Option<Duration>,
    /// From our FIN to the peer's, reading and throwing away. `None` or zero releases at once, which makes the
    /// kernel send RST if unread input is left. Default 2 s.
    pub linger: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(10)),
            handshake: Some(Duration::from_secs(10)),
            idle: Some(Duration::from_secs(300)),
            message: None,
            keepalive: Some(Keepalive { quiet: Duration::from_secs(30), reply: Duration::from_secs(15) }),
            write_stall: Some(Duration::from_secs(30)),
            write_rate: 0,
            close_handshake: Some(Duration::from_secs(5)),
            flush: Some(Duration::from_secs(30)),
            linger: Some(Duration::from_secs(2)),
        }
    }
}

setters!(Timeouts {
    /// Sets the time to a connected transport.
    connect: Option<Duration>,
    /// Sets the time for the protocol's opening.
    handshake: Option<Duration>,
    /// Sets how long neither side may be silent.
    idle: Option<Duration>,
    /// Sets how long one message may take to come.
    message: Option<Duration>,
    /// Sets when to probe a quiet peer.
    keepalive: Option<Keepalive>,
    /// Sets how long queued bytes may make no progress.
    write_stall: Option<Duration>,
    /// Sets what counts as progress, in bytes per second.
    write_rate: u32,
    /// Sets the time for the peer's answer to our goodbye.
    close_handshake: Option<Duration>,
    /// Sets the time for the whole flush of a close.
    flush: Option<Duration>,
    /// Sets the time from our FIN to the peer's.
    linger: Option<Duration>,
});

impl Timeouts {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every time-out off: for a caller that has deadlines of its own. Such a session can wait for ever.
    #[must_use]
    pub fn none() -> Self {
        Self {
            connect: None,
            handshake: None,
            idle: None,
            message: None,
            keepalive: None,
            write_stall: None,
            write_rate: 0,
            close_handshake: None,
            flush: None,
            linger: None,
        }
    }
}

/// When a quiet peer is probed and when it is taken for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Nothing received for this long: send the protocol's probe.
    pub quiet: Duration,
    /// Nothing received for this long after the probe: the peer is dead.
    pub reply: Duration,
}

/// Which side sends the first FIN of a close, and so carries TIME_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CloseOrder {
    /// We do, as soon as everything is flushed.
    #[default]
    LocalFirst,
    /// The peer does: after our goodbye is flushed we wait this long for its FIN, and only then send ours. One that broke
    /// the protocol or a limit is not waited for: our FIN follows the goodbye, then the linger.
    PeerFirst {
        /// The longest wait.
        within: Duration,
    },
}

/// What the peer's FIN does to our sending. Queued output is flushed in every case but [`Abort`](Self::Abort).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnPeerFinish {
    /// Once the application took `PeerFinished`, and so every message before it, we finish as well: what was
    /// accepted until then is flushed, then our FIN.
    #[default]
    FlushThenFinish,
    /// We go on sending until the owner calls `finish` or `close`.
    KeepSending,
    /// A half-closed peer is of no use: release at once, and count what was queued as unsent.
    Abort,
}

/// How messages reach the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Delivery {
    /// As owned events from `poll_event`. One message is decoded ahead.
    #[default]
    Owned,
    /// By a handler that sees each message in place: `Session::handle`. Nothing is decoded ahead. What comes before the
    /// session is established is an event all the same, so that whoever opens it needs no handler.
    InPlace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_work_are_refused_with_the_numbers() {
        let zero = Limits::new().recv_buffer(0).validate(0);
        assert_eq!(zero, Err(LimitsError::Zero { name: "recv_buffer" }));
        let frame = Limits::new().recv_buffer(100).validate(101);
        assert_eq!(frame, Err(LimitsError::FrameLargerThanBuffer { frame: 101, recv_buffer: 100 }));
        let huge = Limits::new().send_buffer(usize::MAX).validate(0);
        assert!(matches!(huge, Err(LimitsError::TooLarge { .. })));
        assert_eq!(Limits::new().validate(256 << 10), Ok(()));
    }
}
