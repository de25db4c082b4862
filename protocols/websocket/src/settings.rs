//! What the owner of a WebSocket decides once: limits, policies, compression.

use core::time::Duration;

use duologue_core::{CloseOrder, Config};

use crate::message::Role;
use crate::wire::{MAX_CONTROL, MAX_HEADER};

/// Makes chainable setters for public fields.
macro_rules! setters {
    ($ty:ident { $( $(#[$doc:meta])* $name:ident : $kind:ty, )* }) => {
        impl $ty {
            $( $(#[$doc])* #[must_use] pub fn $name(mut self, $name: $kind) -> Self { self.$name = $name; self } )*
        }
    };
}

/// Bounds on what the peer may do, each for itself. The queue for what we send is
/// [`duologue_core::Limits::send_buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of payload in one frame. Default 16 MiB. More ends with 1009.
    pub max_frame: u64,
    /// Bytes in one message, over all its fragments and after inflating. Default 16 MiB. More ends with 1009 before
    /// they are held. While [`Settings::streaming`] nothing is held, and this bounds a message all the same.
    pub max_message: u64,
    /// Frames in one message. Default 131 072. More ends with 1008.
    pub max_fragments: u32,
    /// Pings, pongs and the like within [`control_window`](Self::control_window). Default 1 000. More ends with 1008.
    pub control_frames: u32,
    /// The time that [`control_frames`](Self::control_frames) counts for. Default 1 s.
    pub control_window: Duration,
    /// Bytes of the HTTP head that opens the conversation. Default 8 KiB. More ends with status 431.
    pub max_head: usize,
    /// Header fields in it. Default 64. More ends with status 431.
    pub max_headers: usize,
    /// Frames up to this many bytes are taken whole out of the receive buffer, without a copy; longer ones in pieces of
    /// this size. Default 64 KiB. The receive buffer must hold one, and its header.
    pub piece: usize,
    /// Bytes of pongs that wait to be transmitted. Default 1 KiB. Beyond that only the newest ping is answered, once
    /// there is room again (RFC 6455 section 5.5.3).
    pub pong_backlog: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 16 << 20,
            max_message: 16 << 20,
            max_fragments: 128 << 10,
            control_frames: 1_000,
            control_window: Duration::from_secs(1),
            max_head: 8 << 10,
            max_headers: 64,
            piece: 64 << 10,
            pong_backlog: 1 << 10,
        }
    }
}

setters!(Limits {
    /// Sets the bound on a frame's payload, in bytes.
    max_frame: u64,
    /// Sets the bound on a message, in bytes.
    max_message: u64,
    /// Sets the bound on the frames of a message.
    max_fragments: u32,
    /// Sets the bound on control frames per time.
    control_frames: u32,
    /// Sets the time that the bound on control frames counts for.
    control_window: Duration,
    /// Sets the bound on the opening head, in bytes.
    max_head: usize,
    /// Sets the bound on its header fields.
    max_headers: usize,
    /// Sets the bytes of a frame that are taken at once.
    piece: usize,
    /// Sets the bound on waiting pongs, in bytes.
    pong_backlog: usize,
});

impl Limits {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A piece holds at least one byte.
    pub(crate) const fn piece_len(&self) -> usize {
        if self.piece == 0 { 1 } else { self.piece }
    }

    pub(crate) fn max_unit(&self) -> usize {
        self.piece_len().max(MAX_CONTROL).saturating_add(MAX_HEADER).max(self.max_head)
    }
}

/// How a WebSocket behaves, whichever its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Bounds on what the peer may do.
    pub limits: Limits,
    /// Accepts lengths that are not written in the fewest bytes. RFC 6455 section 5.2 forbids them and many
    /// implementations let them pass. Default false.
    pub allow_long_lengths: bool,
    /// Delivers messages in parts, as [`Event::Part`](crate::Event::Part), instead of whole. Default false.
    pub streaming: bool,
    /// Delivers pings and pongs as events. Pings are answered either way. Default false.
    pub control_events: bool,
    /// Compression, if the peer has it too. Default none.
    pub deflate: Option<Deflate>,
}

setters!(Settings {
    /// Sets the bounds.
    limits: Limits,
    /// Accepts lengths that are not written in the fewest bytes.
    allow_long_lengths: bool,
    /// Delivers messages in parts.
    streaming: bool,
    /// Delivers pings and pongs.
    control_events: bool,
    /// Negotiates compression.
    deflate: Option<Deflate>,
});

impl Settings {
    /// The defaults: strict, whole messages, no compression.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `config` with room for what these settings need, and the order of closing that the RFC wants: the server closes
    /// TCP first, a client waits for it as long as for the answer to its Close (section 7.1.1), unless the server broke the
    /// protocol.
    #[must_use]
    pub fn config(&self, role: Role, mut config: Config) -> Config {
        config.limits.recv_buffer = config.limits.recv_buffer.max(self.limits.max_unit());
        let within = config.timeouts.close_handshake;
        if let (Role::Client, CloseOrder::LocalFirst, Some(within)) = (role, config.close_order, within) {
            config.close_order = CloseOrder::PeerFirst { within };
        }
        config
    }
}

/// What we want of permessage-deflate (RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// From 0 (none) to 9 (smallest). Default 6.
    pub level: u8,
    /// Messages of fewer bytes are sent as they are. Default 32.
    pub min_len: usize,
    /// The server forgets each message once it is compressed: less memory, larger messages. Default false.
    pub server_no_context_takeover: bool,
    /// The client forgets likewise. Default false.
    pub client_no_context_takeover: bool,
    /// How far back the server may refer, as a power of two, 9 to 15. Default 15.
    pub server_max_window_bits: u8,
    /// How far back the client may refer, as a power of two, 9 to 15. Default 15.
    pub client_max_window_bits: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            level: 6,
            min_len: 32,
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        }
    }
}

setters!(Deflate {
    /// Sets the level.
    level: u8,
    /// Sets from how many bytes on messages are compressed.
    min_len: usize,
    /// Makes the server forget each message.
    server_no_context_takeover: bool,
    /// Makes the client forget each message.
    client_no_context_takeover: bool,
    /// Sets how far back the server may refer.
    server_max_window_bits: u8,
    /// Sets how far back the client may refer.
    client_max_window_bits: u8,
});

impl Deflate {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}
