//! A connection: one session, driven by the thread that waits on it.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use duologue_core::driver::Timekeeper;
use duologue_core::{CloseIntent, Closed, Code, Event, InPlace, Protocol, Replies, Session};

use crate::split::{RecvHalf, SendHalf};
use crate::{Adopt, ByteStream, Clock, ConnectError, Dial, Options, SendError, StreamTransport, wait};

type Inner<P, S> = duologue_async::Connection<P, StreamTransport<S>, Clock>;

/// One session over one stream, for one thread at a time. [`split`](Self::split) it for several.
///
/// No thread works behind it: input, output and time-outs happen while one of its methods waits. Keep calling
/// [`next_event`](Self::next_event) and everything else happens by itself.
///
/// **Dropping** a connection that was not closed offers what is queued to the system once, without waiting. If all of
/// it was taken the socket is closed normally, otherwise it is reset: the peer never takes a cut stream for a complete
/// one. To end in order, [`close`](Self::close) it.
pub struct StreamConnection<P: Protocol, S: ByteStream> {
    inner: Inner<P, S>,
}

impl<P: Protocol, S: ByteStream> fmt::Debug for StreamConnection<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The methods that a connection, one from a server and one from a pool have in common.
macro_rules! methods {
    ($stream:ty) => {
        /// Waits for the next event; `None` after [`Event::Closed`](duologue_core::Event::Closed).
        pub fn next_event(&mut self) -> Option<Event<P::Event, P::Violation>> {
            wait(self.inner.next_event())
        }

        /// The next event if it is there already: without waiting, and without any input or output.
        pub fn next_ready(&mut self) -> Option<Event<P::Event, P::Violation>> {
            self.inner.next_ready()
        }

        /// As [`next_event`](Self::next_event), but waits no longer than this: `Pending` if nothing came.
        pub fn next_event_within(&mut self, at_most: Duration) -> Poll<Option<Event<P::Event, P::Violation>>> {
            crate::connection::wait_within(at_most, self.inner.next_event())
        }

        /// Queues a command, waiting for room within [`Options::send_within`](crate::Options::send_within), and starts
        /// to transmit unless further messages wait to be taken.
        ///
        /// # Errors
        /// The command comes back: see [`SendError`](crate::SendError).
        pub fn send(&mut self, command: P::Command) -> Result<(), SendError<P::Command>> {
            wait(self.inner.send(command))
        }

        /// Queues a command, waiting for room, and leaves the transmission to the next wait on this connection.
        ///
        /// # Errors
        /// The command comes back: see [`SendError`](crate::SendError).
        pub fn feed(&mut self, command: P::Command) -> Result<(), SendError<P::Command>> {
            wait(self.inner.feed(command))
        }

        /// Waits for `work` while the connection goes on: what is queued leaves, what comes is read as far as the limits
        /// allow, time-outs run and a dead peer is noticed. Work of another thread is waited for through a channel
        /// with a future. `None` if the session's end began first; `work` is dropped then.
        pub fn drive_during<F: std::future::Future>(&mut self, work: F) -> Option<F::Output> {
            wait(self.inner.drive_during(work))
        }

        /// Queues a command if it fits now.
        ///
        /// # Errors
        /// The command comes back with the reason.
        pub fn try_send(&mut self, command: P::Command) -> Result<(), duologue_core::SendError<P::Command>> {
            self.inner.try_send(command)
        }

        /// Waits until everything queued was handed to the system, or nothing more can be.
        pub fn flush(&mut self) {
            wait(self.inner.flush());
        }

        /// Our half-close: what was accepted is flushed, then FIN; receiving goes on. It is carried out while events
        /// are awaited.
        pub fn finish(&mut self) {
            self.inner.finish();
        }

        /// Wants nothing more from the peer: what still comes is thrown away. Sending goes on.
        pub fn shutdown_read(&mut self) {
            self.inner.shutdown_read();
        }

        /// Says goodbye and begins to end the session; carried out while events are awaited, up to
        /// [`Event::Closed`](duologue_core::Event::Closed).
        pub fn start_close(&mut self, intent: CloseIntent) {
            self.inner.start_close(intent);
        }

        /// Winds down: nothing new is taken up, and the session ends once what is under way is done, see
        /// [`Session::drain`](duologue_core::Session::drain). A protocol that has no part in that says goodbye at once.
        pub fn start_drain(&mut self, code: Code) {
            self.inner.start_drain(code);
        }

        /// Resets the connection. [`Event::Closed`](duologue_core::Event::Closed) follows.
        pub fn abort(&mut self, code: Code) {
            self.inner.abort(code);
        }

        /// Drives to the end and tells how it ended; messages on the way are dropped. After the end it tells it again.
        pub fn closed(&mut self) -> Closed<P::Violation> {
            wait(self.inner.closed())
        }

        /// The protocol, to work on what it keeps. What it makes due is transmitted as events are awaited.
        pub fn protocol_mut(&mut self) -> duologue_core::ProtocolMut<'_, P> {
            self.inner.protocol_mut()
        }

        /// The session: its states, counters and cause.
        #[must_use]
        pub fn session(&self) -> &Session<P> {
            self.inner.session()
        }

        /// The transport: addresses, kernel counters.
        #[must_use]
        pub fn transport(&self) -> &StreamTransport<$stream> {
            self.inner.transport()
        }

        /// Hands messages to `handler` where they lie in the receive buffer, until there is something else to tell: an
        /// event, or `None` after the end. Replies go straight into the send queue, and out in one write per read.
        /// Before each message at least `reply_room` bytes are free for replies. The session must be made with
        /// [`Delivery::InPlace`](duologue_core::Delivery::InPlace).
        pub fn handle<H>(&mut self, reply_room: usize, handler: H) -> Option<Event<P::Event, P::Violation>>
        where
            P: InPlace,
            H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
        {
            wait(self.inner.handle(reply_room, handler))
        }

        /// As [`try_send`](Self::try_send), from borrowed bytes.
        ///
        /// # Errors
        /// Why it was not queued.
        pub fn try_send_in_place(&mut self, reply: P::Reply<'_>) -> Result<(), duologue_core::SendError<()>>
        where
            P: InPlace,
        {
            self.inner.try_send_in_place(reply)
        }
    };
}
pub(crate) use methods;

/// What a connection and one from a server have in common besides: each becomes one of its own kind.
macro_rules! upgrade {
    ($own:ident $(, $over:ident)?) => {
        /// Goes on over the same transport with another protocol, once both sides agreed on that and the events before it
        /// were taken: see [`Session::upgrade`](duologue_core::Session::upgrade). The new one has the handshake time for its
        /// opening, which happens as events are awaited.
        ///
        /// # Errors
        /// The connection comes back as it was, with the reason, and `change` is not called.
        pub fn upgrade<Q: Protocol>(
            self,
            change: impl FnOnce(P) -> Q,
        ) -> Result<$own<Q $(, $over)?>, Box<(Self, duologue_core::WhyNot)>> {
            match self.inner.upgrade(change) {
                Ok(inner) => Ok($own { inner }),
                Err(refused) => {
                    let (inner, why) = *refused;
                    Err(Box::new((Self { inner }, why)))
                }
            }
        }
    };
}
pub(crate) use upgrade;

impl<P: Protocol, S: ByteStream> StreamConnection<P, S> {
    #[cfg(feature = "websocket")]
    pub(crate) const fn from_inner(inner: Inner<P, S>) -> Self {
        Self { inner }
    }

    #[cfg(feature = "streams")]
    pub(crate) fn into_inner(self) -> Inner<P, S> {
        self.inner
    }

    /// Connects and waits until the protocol is established, all within [`Options::connect_within`]. Only resolving a
    /// name is as slow as the system makes it.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing of the connection is left.
    pub fn connect<A>(address: A, protocol: P, options: Options) -> Result<Self, ConnectError<P::Violation>>
    where
        StreamTransport<S>: Dial<A, Clock = Clock>,
    {
        wait(Inner::connect(address, protocol, options)).map(|inner| Self { inner })
    }

    /// Takes over a stream that is connected, as a server or a client. The protocol's opening goes on as the
    /// connection is used, within the handshake time-out.
    ///
    /// # Errors
    /// The limits cannot work, or the socket refused an option.
    pub fn accept<A>(stream: A, protocol: P, options: &Options) -> Result<Self, ConnectError<P::Violation>>
    where
        StreamTransport<S>: Adopt<A, Clock = Clock>,
    {
        Inner::accept(stream, protocol, options).map(|inner| Self { inner })
    }

    methods!(S);
    upgrade!(StreamConnection, S);

    /// Closes in order (goodbye, flush, FIN, bounded linger, release) and tells how it ended. Messages that come before
    /// the peer's end are dropped; take them with [`start_close`](Self::start_close) and
    /// [`next_event`](Self::next_event).
    pub fn close(self, code: Code) -> Closed<P::Violation> {
        wait(self.inner.close(code))
    }

    /// Two handles: one to receive, and one to send that can be cloned for any number of threads.
    #[must_use]
    pub fn split(self) -> (RecvHalf<P, S>, SendHalf<P, S>) {
        let (receiver, sender) = self.inner.split();
        (RecvHalf { inner: receiver }, SendHalf { inner: sender })
    }

    /// The async connection within, for code that has a runtime after all.
    pub fn into_async(self) -> Inner<P, S> {
        self.inner
    }
}

/// Waits for `future`, but no longer than `at_most`.
pub(crate) fn wait_within<F: Future>(at_most: Duration, future: F) -> Poll<F::Output> {
    let mut clock = Clock::new();
    let deadline = clock.now().after(at_most);
    let mut future = std::pin::pin!(future);
    wait(poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Poll::Ready(output)),
        Poll::Pending => clock.poll_until(cx, deadline).map(|()| Poll::Pending),
    }))
}
