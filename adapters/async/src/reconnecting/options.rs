//! What a reconnecting client is made with, and what it tells.

use std::time::Duration;

use duologue_core::pool::Delivery;
use duologue_core::reconnect::{Backoff, Breaker, Generation, Queued};
use duologue_core::{Closed, SendError};
use thiserror::Error;

use crate::{ConnectError, Options};

/// What a reconnecting client is made with, apart from its protocol.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReconnectOptions {
    /// What each connection is made with. Its `connect_within` is replaced by the attempt's own deadline.
    pub connection: Options,
    /// The pauses between attempts.
    pub backoff: Backoff,
    /// When to stop trying for a while. Default never.
    pub breaker: Option<Breaker>,
    /// What becomes of messages that wait when there is no connection.
    pub queued: Queued,
    /// Most messages that wait or are under way. Default 1024.
    pub outbox: usize,
    /// A message of the peer proves a connection useful, so that the pauses start anew. Without it say
    /// `proved_useful`. Default true.
    pub message_proves_use: bool,
}

impl Default for ReconnectOptions {
    fn default() -> Self {
        Self {
            connection: Options::default(),
            backoff: Backoff::default(),
            breaker: None,
            queued: Queued::default(),
            outbox: 1024,
            message_proves_use: true,
        }
    }
}

impl ReconnectOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what each connection is made with.
    #[must_use]
    pub fn connection(mut self, options: Options) -> Self {
        self.connection = options;
        self
    }

    /// Sets the pauses between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets when to stop trying for a while.
    #[must_use]
    pub fn breaker(mut self, breaker: Option<Breaker>) -> Self {
        self.breaker = breaker;
        self
    }

    /// Sets what becomes of messages that wait.
    #[must_use]
    pub fn queued(mut self, queued: Queued) -> Self {
        self.queued = queued;
        self
    }

    /// Sets how many messages may wait or be under way.
    #[must_use]
    pub fn outbox(mut self, messages: usize) -> Self {
        self.outbox = messages;
        self
    }

    /// Sets whether a message of the peer proves a connection useful.
    #[must_use]
    pub fn message_proves_use(mut self, proves: bool) -> Self {
        self.message_proves_use = proves;
        self
    }
}

/// What a reconnecting client tells. Everything carries the generation of its connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReconnectEvent<E, V: std::error::Error + 'static> {
    /// There is a connection.
    Connected {
        /// Its number.
        generation: Generation,
    },
    /// A message of the peer.
    App {
        /// The connection that it came on.
        generation: Generation,
        /// The message.
        event: E,
    },
    /// The peer sends nothing more on this connection.
    PeerFinished {
        /// The connection.
        generation: Generation,
    },
    /// The connection ended. Messages that were [`Receipt`]ed on it were handed to its transport; whether the peer has
    /// them only the peer can tell, unless it ended in order.
    Lost {
        /// The connection.
        generation: Generation,
        /// How it ended.
        closed: Closed<V>,
        /// Messages that were handed to its transport wholly.
        sent: u64,
    },
    /// No connection came about.
    Failed {
        /// The attempt.
        generation: Generation,
        /// Why.
        error: ConnectError<V>,
        /// How long until the next.
        retry_after: Duration,
    },
}

/// A message was handed wholly to the transport of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt {
    /// The connection.
    pub generation: Generation,
    /// The message's place among those that the connection sent; the first is 1.
    pub number: u64,
}

/// A message that was not sent, or not wholly. Every variant gives it back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReconnectSendError<C> {
    /// No connection took it in time.
    #[error("no connection took the message within {waited:?}")]
    TimedOut {
        /// The message.
        command: C,
        /// How long was waited.
        waited: Duration,
    },
    /// There is no connection, and the policy or an open circuit is against waiting for one.
    #[error("not connected")]
    NotConnected {
        /// The message.
        command: C,
    },
    /// As many messages wait as may.
    #[error("{limit} messages wait already; raise ReconnectOptions::outbox or send less")]
    Full {
        /// The message.
        command: C,
        /// The bound, in messages.
        limit: usize,
    },
    /// It was meant for another connection than the present one.
    #[error("the connection that the message was meant for is gone")]
    Fenced {
        /// The message.
        command: C,
    },
    /// Its connection ended first.
    #[error("the connection ended before the message was wholly sent ({delivery:?})")]
    Lost {
        /// The message.
        command: C,
        /// Whether the peer can know of it.
        delivery: Delivery,
        /// The connection.
        generation: Generation,
    },
    /// The protocol cannot send it, on any connection.
    #[error(transparent)]
    Refused(SendError<C>),
    /// The client was closed.
    #[error("the client is closed; nothing more can be sent")]
    Closed {
        /// The message.
        command: C,
    },
}

impl<C> ReconnectSendError<C> {
    /// The message.
    #[must_use]
    pub fn into_command(self) -> C {
        match self {
            Self::TimedOut { command, .. }
            | Self::NotConnected { command }
            | Self::Full { command, .. }
            | Self::Fenced { command }
            | Self::Lost { command, .. }
            | Self::Closed { command } => command,
            Self::Refused(refused) => refused.into_command(),
        }
    }

    /// Whether the peer can know of it. Only what it cannot know may be sent again without asking.
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Lost { delivery, .. } => *delivery,
            _ => Delivery::NotSent,
        }
    }
}
