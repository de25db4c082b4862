//! Two handles on one connection: one that receives, and one that sends and can be cloned for any number of threads.

use std::fmt;
use std::task::Poll;
use std::time::Duration;

use duologue_core::{CloseIntent, Closed, Code, Event, Protocol, Session, Stats};

use crate::connection::wait_within;
use crate::{ByteStream, Clock, SendError, StreamTransport, TcpStream, wait};

/// Receives. There is one per connection; it also drives it while it waits.
///
/// **Dropping** it throws away what still comes from the peer, so that senders can go on.
pub struct RecvHalf<P: Protocol, S: ByteStream = TcpStream> {
    pub(crate) inner: duologue_async::RecvHalf<P, StreamTransport<S>, Clock>,
}

/// Sends. Clones share one queue; each message goes out whole, in the order of acceptance.
///
/// **Dropping** the last clone finishes sending: what was accepted is flushed, then FIN, while the receiving half waits
/// for events. When both halves are gone the connection ends as a dropped [`Connection`](crate::Connection) does.
pub struct SendHalf<P: Protocol, S: ByteStream = TcpStream> {
    pub(crate) inner: duologue_async::SendHalf<P, StreamTransport<S>, Clock>,
}

impl<P: Protocol, S: ByteStream> RecvHalf<P, S> {
    /// Waits for the next event; `None` after [`Event::Closed`]. [`Event::Writable`] is for the senders and does not
    /// appear here.
    pub fn next_event(&mut self) -> Option<Event<P::Event, P::Violation>> {
        wait(self.inner.next_event())
    }

    /// As [`next_event`](Self::next_event), but waits no longer than this: `Pending` if nothing came.
    pub fn next_event_within(&mut self, at_most: Duration) -> Poll<Option<Event<P::Event, P::Violation>>> {
        wait_within(at_most, self.inner.next_event())
    }

    /// Drives to the end and tells how it ended; messages on the way are dropped. After the end it tells it again.
    pub fn closed(&mut self) -> Closed<P::Violation> {
        wait(self.inner.closed())
    }

    /// Wants nothing more from the peer.
    pub fn shutdown_read(&mut self) {
        self.inner.shutdown_read();
    }

    /// Says goodbye and begins to end the session, for all handles.
    pub fn start_close(&mut self, intent: CloseIntent) {
        self.inner.start_close(intent);
    }

    /// Resets the connection, for all handles. [`Event::Closed`] follows.
    pub fn abort(&mut self, code: Code) {
        self.inner.abort(code);
    }

    /// Looks at the session: its states, counters, cause and deadline.
    pub fn inspect<R>(&self, look: impl FnOnce(&Session<P>) -> R) -> R {
        self.inner.inspect(look)
    }

    /// The session's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

impl<P: Protocol, S: ByteStream> SendHalf<P, S> {
    /// Queues a command and has it transmitted, waiting for room within
    /// [`Options::send_within`](crate::Options::send_within). Waiting senders are served in the order they came.
    ///
    /// # Errors
    /// The command comes back: see [`SendError`].
    pub fn send(&self, command: P::Command) -> Result<(), SendError<P::Command>> {
        wait(self.inner.send(command))
    }

    /// Queues a command if it fits now and nobody waits for room.
    ///
    /// # Errors
    /// The command comes back with the reason.
    pub fn try_send(&self, command: P::Command) -> Result<(), duologue_core::SendError<P::Command>> {
        self.inner.try_send(command)
    }

    /// Waits until everything queued was handed to the system, or nothing more can be.
    pub fn flush(&self) {
        wait(self.inner.flush());
    }

    /// Our half-close, for all clones: what was accepted is flushed, then FIN.
    pub fn finish(&self) {
        self.inner.finish();
    }

    /// Says goodbye and begins to end the session, for all handles.
    pub fn start_close(&self, intent: CloseIntent) {
        self.inner.start_close(intent);
    }

    /// Resets the connection, for all handles.
    pub fn abort(&self, code: Code) {
        self.inner.abort(code);
    }

    /// How the session ended, once it did and the receiver took the event.
    #[must_use]
    pub fn end(&self) -> Option<Closed<P::Violation>> {
        self.inner.end()
    }

    /// The session's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

impl<P: Protocol, S: ByteStream> Clone for SendHalf<P, S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<P: Protocol, S: ByteStream> fmt::Debug for RecvHalf<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<P: Protocol, S: ByteStream> fmt::Debug for SendHalf<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
