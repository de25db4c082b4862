//! Every bound and every wait, with its default.

use core::time::Duration;

/// Header fields that fit the parser's array; [`Limits::fields`] cannot be higher.
pub(crate) const MOST_FIELDS: usize = 128;

/// Makes chainable setters for public fields.
macro_rules! setters {
    ($ty:ident { $( $(#[$doc:meta])* $name:ident : $kind:ty, )* }) => {
        impl $ty {
            /// The defaults.
            #[must_use]
            pub fn new() -> Self { Self::default() }
            $( $(#[$doc])* #[must_use] pub fn $name(mut self, $name: $kind) -> Self { self.$name = $name; self } )*
        }
    };
}

/// Bounds on what a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a head, start line and empty line included. Must fit the session's `recv_buffer`. Default 32 KiB.
    pub head: usize,
    /// Header fields in a head, at most 128. Default 100.
    pub fields: usize,
    /// Bytes of a request target. Default 8 KiB.
    pub target: usize,
    /// Bytes of one message's content. `None`, the default: the application takes it piece by piece, and the
    /// session's own bounds hold.
    pub body: Option<u64>,
    /// Bytes of chunk extensions over one whole body. Default 4 KiB.
    pub chunk_extensions: usize,
    /// Bytes of a trailer section. Default 8 KiB.
    pub trailers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 32 << 10, fields: 100, target: 8 << 10, body: None, chunk_extensions: 4 << 10, trailers: 8 << 10 }
    }
}

setters!(Limits {
    /// Sets the bound on a head, in bytes.
    head: usize,
    /// Sets the bound on header fields.
    fields: usize,
    /// Sets the bound on a request target, in bytes.
    target: usize,
    /// Sets the bound on one message's content, in bytes.
    body: Option<u64>,
    /// Sets the bound on chunk extensions over one body, in bytes.
    chunk_extensions: usize,
    /// Sets the bound on a trailer section, in bytes.
    trailers: usize,
});

impl Limits {
    /// The most bytes that are looked at in one piece.
    pub(crate) fn max_unit(&self) -> usize {
        // A chunk's size line is at most its extensions and sixteen digits.
        self.head.max(self.trailers).max(self.chunk_extensions.saturating_add(CHUNK_LINE))
    }
}

/// Bytes of a chunk's size line beside its extensions.
pub(crate) const CHUNK_LINE: usize = 20;

/// How long each phase of an exchange may take. Every deadline is absolute: single bytes do not move it. `None` switches
/// one off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// A head, from its first byte (a server's first one: from the connection) to its end. Default 10 s.
    pub head: Option<Duration>,
    /// A body, from the end of its head to its end; and see [`body_rate`](Self::body_rate). Default 30 s.
    pub body: Option<Duration>,
    /// Bytes of content per second that prolong the body's deadline: whoever keeps this rate may go on for ever, and a
    /// single byte buys next to nothing. 0: nothing prolongs it. Default 1024.
    pub body_rate: u32,
    /// Server: between two requests. Default 60 s.
    pub idle: Option<Duration>,
    /// Server: from the end of a request to the application's response head; then 503 is sent. Default 120 s. Client:
    /// from the end of the request to the response's head. Default 30 s.
    pub response: Option<Duration>,
    /// Client: how long a request with `Expect: 100-continue` waits before its body is sent anyway. Default 1 s.
    pub expect: Option<Duration>,
    /// Server: after an early response, how long what is left of the request may take. Default 5 s.
    pub drain: Option<Duration>,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            head: Some(Duration::from_secs(10)),
            body: Some(Duration::from_secs(30)),
            body_rate: 1024,
            idle: Some(Duration::from_secs(60)),
            response: Some(Duration::from_secs(120)),
            expect: Some(Duration::from_secs(1)),
            drain: Some(Duration::from_secs(5)),
        }
    }
}

setters!(Waits {
    /// Sets the wait for a head.
    head: Option<Duration>,
    /// Sets the wait for a body.
    body: Option<Duration>,
    /// Sets the rate that prolongs it, in bytes per second.
    body_rate: u32,
    /// Sets the wait between two requests.
    idle: Option<Duration>,
    /// Sets the wait for the response's head.
    response: Option<Duration>,
    /// Sets the wait for 100 (Continue).
    expect: Option<Duration>,
    /// Sets the wait for what is left of a request that was answered early.
    drain: Option<Duration>,
});

/// Who says 100 (Continue) to a request that expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Continue {
    /// The server, as soon as it decoded the head.
    #[default]
    Automatic,
    /// The application, by [`ServerCommand::Continue`](crate::ServerCommand::Continue), or it refuses with a final
    /// response.
    Manual,
}

/// What a [`Server`](crate::Server) is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSettings {
    /// Bounds on requests.
    pub limits: Limits,
    /// How long each phase may take.
    pub waits: Waits,
    /// Requests that may wait for their response at a time; further ones wait undecoded. Default 16.
    pub pipelined: usize,
    /// Requests that one connection may carry; the last response says `Connection: close`. Default 10 000.
    pub requests: u64,
    /// Bytes of a request that are still taken after it was answered; more close the connection. Default 64 KiB.
    pub drain: u64,
    /// Who says 100 (Continue).
    pub continues: Continue,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            waits: Waits::default(),
            pipelined: 16,
            requests: 10_000,
            drain: 64 << 10,
            continues: Continue::default(),
        }
    }
}

setters!(ServerSettings {
    /// Sets the bounds on requests.
    limits: Limits,
    /// Sets how long each phase may take.
    waits: Waits,
    /// Sets how many requests may wait for their response.
    pipelined: usize,
    /// Sets how many requests one connection may carry.
    requests: u64,
    /// Sets how much of an answered request is still taken, in bytes.
    drain: u64,
    /// Chooses who says 100 (Continue).
    continues: Continue,
});

/// What a [`Client`](crate::Client) is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSettings {
    /// Bounds on responses.
    pub limits: Limits,
    /// How long each phase may take.
    pub waits: Waits,
    /// Interim (1xx) responses to one request. Default 16.
    pub interim: u32,
}

impl Default for ClientSettings {
    fn default() -> Self {
        let waits = Waits::default().response(Some(Duration::from_secs(30)));
        Self { limits: Limits::default(), waits, interim: 16 }
    }
}

setters!(ClientSettings {
    /// Sets the bounds on responses.
    limits: Limits,
    /// Sets how long each phase may take.
    waits: Waits,
    /// Sets how many interim responses one request may get.
    interim: u32,
});
