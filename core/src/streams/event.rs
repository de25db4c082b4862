//! What streams tell the application, what they order from the protocol, and how things go wrong: misuse by the caller
//! and violations by the peer, apart.

use bytes::Bytes;
use thiserror::Error;

use super::{Abuse, StreamId};
use crate::closed::Code;
use crate::protocol::Payload;

/// What the application is told. Per stream each kind waits at most once, however often its reason occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The peer opened a stream.
    Opened(StreamId),
    /// The peer accepted a stream of ours.
    Accepted(StreamId),
    /// There is something to take: data, the peer's finish. Take until [`Received::Nothing`]; there is no second
    /// event before more came.
    Readable(StreamId),
    /// Data was refused for want of room, and there is room now, or sending is over.
    Writable(StreamId),
    /// The end of a stream: exactly once for each that the application knows, and the last about it. After it was
    /// taken the id is stale, unless the whole connection ended: then data that came before can still be taken.
    Closed(StreamId, StreamClosed),
    /// Opening was refused for want of a place, and there is one now.
    CanOpen,
    /// The connection drains: no further stream can be opened. Told when the peer lets it drain, and when we do while
    /// [`CanOpen`](Self::CanOpen) is waited for.
    Draining,
}

/// How a stream ended, and what did not make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamClosed {
    /// Why: the first reason.
    pub end: StreamEnd,
    /// Bytes that were accepted and never left the stream's own buffer.
    pub unsent: u32,
    /// Bytes that were received and never taken.
    pub undelivered: u32,
}

/// Why a stream ended. Finish, cancel and loss are three different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum StreamEnd {
    /// Both sides finished, or what one of them still sent was not wanted.
    #[error("both sides finished")]
    Finished,
    /// We reset it.
    #[error("reset by us with code {0}")]
    LocalReset(Code),
    /// The peer reset it.
    #[error("reset by the peer with code {0}")]
    PeerReset(Code),
    /// Its deadline passed; the peer was told by a reset.
    #[error("the stream's deadline passed")]
    Deadline,
    /// The peer never looked at it: opening it again, elsewhere, is safe.
    #[error("refused by the peer, not processed")]
    Refused,
    /// We closed the connection.
    #[error("the connection was closed by us")]
    LocalClose,
    /// The connection was lost, or the peer closed it.
    #[error("the connection was lost")]
    Lost,
}

/// What [`StreamMut::recv`](super::StreamMut::recv) finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Data. Say [`release`](super::StreamMut::release) once it is dealt with, and its credit goes back to the peer.
    Data {
        /// The bytes.
        bytes: Bytes,
        /// A message ends with them. Always false in streams of bytes.
        ends: bool,
    },
    /// Nothing now; [`StreamEvent::Readable`] follows.
    Nothing,
    /// The peer finished, and everything before was taken.
    Finished,
    /// The stream ended otherwise.
    Ended(StreamEnd),
}

/// What the protocol is to write. Everything but data fits in a few bytes and goes first.
#[derive(Debug)]
pub enum Order<'a, D> {
    /// Credit for the whole connection.
    ConnectionCredit(Grant),
    /// About one stream.
    Stream {
        /// Which.
        id: StreamId,
        /// Its name on the wire.
        key: u64,
        /// What the protocol keeps with it.
        data: &'a mut D,
        /// What to write.
        what: StreamOrder<'a>,
    },
}

/// What the protocol is to write about one stream.
#[derive(Debug)]
pub enum StreamOrder<'a> {
    /// We open it, and the peer may send so many bytes.
    Open {
        /// Its receive window, in bytes.
        window: u32,
    },
    /// We take a stream that the peer opened, and the peer may send so many bytes.
    Accept {
        /// Its receive window, in bytes.
        window: u32,
    },
    /// Data.
    Data {
        /// The bytes.
        payload: Payload<'a>,
        /// A message ends with them. Always false in streams of bytes.
        ends: bool,
        /// And it is the last: we finish with it. No order to finish follows.
        finish: bool,
    },
    /// We finish.
    Finish,
    /// We reset it. It is the last order about it.
    Reset {
        /// The code.
        code: Code,
    },
    /// We read no more of it.
    StopReading {
        /// The code.
        code: Code,
    },
    /// The peer may send more.
    Credit(Grant),
}

/// Credit for the peer, in both ways to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Bytes more.
    pub increment: u32,
    /// Bytes released since the beginning.
    pub total: u64,
}

/// Streams cannot be made like this. Nothing was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamsError {
    /// A bound of zero would stop all streams for ever.
    #[error("stream limit `{name}` is 0; set it higher")]
    Zero {
        /// The field of [`StreamsConfig`](super::StreamsConfig).
        name: &'static str,
    },
    /// The wire cannot express such a window.
    #[error("`{name}` is {window} bytes, and the largest window is {limit}")]
    Window {
        /// The field of [`StreamsConfig`](super::StreamsConfig).
        name: &'static str,
        /// What was set.
        window: u32,
        /// The largest.
        limit: u32,
    },
}

/// Why no stream can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// So many of ours are open; [`StreamEvent::CanOpen`] follows.
    #[error("{limit} of our streams are open, the most allowed; wait for CanOpen")]
    TooMany {
        /// The bound: the peer's, or ours.
        limit: u32,
    },
    /// Every slot is taken; [`StreamEvent::CanOpen`] follows.
    #[error("all {slots} stream slots are in use; take the ends of closed streams, or wait for CanOpen")]
    NoSlot {
        /// The bound.
        slots: u32,
    },
    /// One side lets the connection drain.
    #[error("the connection drains; open streams on another")]
    Draining,
    /// The connection ended.
    #[error("the connection ended")]
    Ended,
    /// The protocol has no further name for a stream.
    #[error("stream ids are used up; open streams on another connection")]
    NoIds,
}

/// What the caller did wrong with one stream, or what happened to it in the meantime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The buffer has no room; [`StreamEvent::Writable`] follows.
    #[error("the stream's send buffer has {room} bytes free; wait for Writable")]
    Full {
        /// Bytes free.
        room: u32,
    },
    /// The buffer can never hold it.
    #[error("a message of {len} bytes can never fit the stream's send buffer of {limit}")]
    TooLarge {
        /// Bytes of the message.
        len: usize,
        /// The bound.
        limit: u32,
    },
    /// We finished.
    #[error("the stream was finished; nothing more can be sent on it")]
    Finished,
    /// The peer wants nothing more.
    #[error("the peer stopped reading with code {0}")]
    Stopped(Code),
    /// It ended.
    #[error("the stream ended: {0}")]
    Ended(StreamEnd),
    /// More was released than was taken.
    #[error("{released} bytes were released, but only {taken} were taken and not released")]
    OverRelease {
        /// Bytes to be released.
        released: usize,
        /// Bytes that could be.
        taken: usize,
    },
}

/// What the peer did wrong. Protocols wrap it in their own violations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum StreamViolation {
    /// It sent beyond the stream's window.
    #[error("{len} bytes came where the stream's window had {available}")]
    Overrun {
        /// Bytes that came.
        len: usize,
        /// Bytes that were allowed.
        available: i64,
    },
    /// It sent beyond the connection's window.
    #[error("{len} bytes came where the connection's window had {available}")]
    ConnectionOverrun {
        /// Bytes that came.
        len: usize,
        /// Bytes that were allowed.
        available: i64,
    },
    /// It sent more empty messages than we keep.
    #[error("more than {limit} unread empty messages on one stream")]
    TooManyPieces {
        /// The bound.
        limit: u32,
    },
    /// It granted more than any window may be.
    #[error("a grant makes the window {window}, beyond {limit}")]
    OverGrant {
        /// What the window would be; with totals, what was said to be consumed.
        window: i64,
        /// The largest window; with totals, what was sent.
        limit: i64,
    },
    /// It sent after its finish.
    #[error("the peer sent on a stream that it had finished")]
    AfterFinish,
    /// It opened a stream under a name that is in use.
    #[error("the peer opened stream {key}, which is open")]
    Duplicate {
        /// The name.
        key: u64,
    },
    /// It makes us work for nothing.
    #[error("more than {limit} {}", .kind.as_str())]
    Abuse {
        /// Of what.
        kind: Abuse,
        /// The burst that is taken.
        limit: u32,
    },
}

/// Why a stream of the peer's is not taken. The protocol says so in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Refuse {
    /// Too many are open.
    #[error("{limit} streams of the peer's are open")]
    TooMany {
        /// The bound.
        limit: u32,
    },
    /// We let the connection drain.
    #[error("the connection drains")]
    Draining,
    /// The peer broke a rule.
    #[error(transparent)]
    Violation(StreamViolation),
}
