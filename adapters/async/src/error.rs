//! The errors of waiting: connecting and sending.

use std::time::Duration;

use duologue_core::{Closed, LimitsError, TransportFault};
use thiserror::Error;

use crate::tls::TlsError;

/// A connection that did not come about. Nothing of it is left.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError<V: std::error::Error + 'static> {
    /// The one deadline over resolving, connecting and the protocol's opening passed.
    #[error("not connected within {after:?} (while {doing}); is the peer reachable and answering?")]
    TimedOut {
        /// The whole time that was allowed.
        after: Duration,
        /// What was going on.
        doing: &'static str,
    },
    /// Resolving or connecting failed.
    #[error("could not connect: {0}")]
    Transport(#[source] TransportFault),
    /// TLS was not opened, or not as it was wanted.
    #[error("could not connect: {0}")]
    Tls(#[from] TlsError),
    /// The session ended before it was established.
    #[error("closed while opening: {0}")]
    Closed(#[source] Closed<V>),
    /// The limits cannot work for this protocol.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The socket refused an option.
    #[error("could not set a socket option: {0}")]
    Socket(#[source] std::io::Error),
    /// The peer sent more messages before the session was established than may wait.
    #[error("more than {limit} messages came before the session was established")]
    TooManyEarlyEvents {
        /// The bound, in messages.
        limit: usize,
    },
}

/// A command that was not sent. Every variant gives it back.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<C> {
    /// No room came free in time.
    #[error(
        "no room in the send queue within {waited:?}: the peer does not read; raise Limits::send_buffer, wait longer or close"
    )]
    TimedOut {
        /// The command, unchanged.
        command: C,
        /// How long was waited.
        waited: Duration,
    },
    /// The session did not accept it.
    #[error(transparent)]
    Refused(#[from] duologue_core::SendError<C>),
}

impl<C> SendError<C> {
    /// The command that was not sent.
    #[must_use]
    pub fn into_command(self) -> C {
        match self {
            Self::TimedOut { command, .. } => command,
            Self::Refused(refused) => refused.into_command(),
        }
    }
}
