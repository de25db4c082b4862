//! A connection: one session, driven by whoever polls it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use duologue_core::driver::{Driver, Timekeeper, Transport};
use duologue_core::{CloseIntent, Closed, Code, Event, InPlace, Protocol, Replies, Session, WhyNot};

use crate::error::SendError;
use crate::open::Open;
use crate::send::Sending;
use crate::split::{RecvHalf, SendHalf, split};

/// Rounds of input and output beside a handler's work before other tasks get their turn.
const DRIVES: usize = 32;

/// One session over one transport, for one task at a time. [`split`](Self::split) it for several.
///
/// No task works behind it: input, output and time-outs happen while one of its futures is polled. Keep
/// [`next_event`](Self::next_event) polled and everything else happens by itself; where a handler must wait for something
/// else, [`drive_during`](Self::drive_during) that.
///
/// **Dropping** a connection that was not closed offers what is queued to the transport once, without waiting. If all of
/// it was taken the transport is closed normally, otherwise it is reset: the peer never takes a cut stream for a
/// complete one. To end in order, [`close`](Self::close) it.
pub struct Connection<P: Protocol, T: Transport, K: Timekeeper> {
    /// On the heap: a future keeps what it was given twice over, once as an argument and once as its own.
    pub(crate) open: Box<Open<P, T, K>>,
    pub(crate) send_within: Duration,
}

/// As [`poll_fn`], and made part of whoever awaits it: a message then lies where it is used, and is not moved there.
pub(crate) struct PollNow<F>(pub(crate) F);

/// Nothing in it is ever pinned.
impl<F> Unpin for PollNow<F> {}

impl<R, F: FnMut(&mut Context<'_>) -> Poll<R>> Future for PollNow<F> {
    type Output = R;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        (self.0)(cx)
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> fmt::Debug for Connection<P, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("session", self.driver().session()).finish_non_exhaustive()
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Connection<P, T, K> {
    /// A connection from its driver; `send` waits for room at most `send_within`.
    #[inline(always)]
    pub fn from_driver(driver: Driver<P, T, K>, send_within: Duration) -> Self {
        Self { open: Box::new(Open::new(driver)), send_within }
    }

    /// The next event; `None` after [`Event::Closed`]. Cancel-safe: dropping the future loses nothing.
    pub fn next_event(&mut self) -> impl Future<Output = Option<Event<P::Event, P::Violation>>> {
        PollNow(|cx: &mut Context<'_>| {
            // What came with an earlier read needs nothing of the connection.
            let ready = self.next_ready();
            if ready.is_some() { Poll::Ready(ready) } else { self.poll_next_event(cx) }
        })
    }

    /// The next event if it is there already: without waiting, and without any input or output.
    #[inline(always)]
    pub fn next_ready(&mut self) -> Option<Event<P::Event, P::Violation>> {
        self.open.next_ready()
    }

    /// As [`next_event`](Self::next_event), as a poll.
    pub fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event<P::Event, P::Violation>>> {
        self.open.poll_event(cx)
    }

    /// Queues a command, waiting for room within [`Options::send_within`](crate::Options::send_within), and starts to
    /// transmit unless further messages wait to be taken: a batch of answers leaves in one write, once its last
    /// message was taken. Cancel-safe: until it returns nothing was queued.
    ///
    /// # Errors
    /// The command comes back: see [`SendError`].
    pub fn send(&mut self, command: P::Command) -> impl Future<Output = Result<(), SendError<P::Command>>>
    where
        K: Clone,
    {
        let mut sending = Sending::new(command);
        PollNow(move |cx: &mut Context<'_>| self.poll_send(cx, &mut sending))
    }

    /// Queues a command, waiting for room, and leaves the transmission to the next poll of this connection.
    ///
    /// # Errors
    /// The command comes back: see [`SendError`].
    pub fn feed(&mut self, command: P::Command) -> impl Future<Output = Result<(), SendError<P::Command>>>
    where
        K: Clone,
    {
        let mut sending = Sending::new(command);
        PollNow(move |cx: &mut Context<'_>| self.poll_feed(cx, &mut sending))
    }

    /// Lets the connection go on while `work` is done: what is queued leaves, what comes is read as far as the limits
    /// allow, time-outs run and a dead peer is noticed. Events wait to be taken until afterwards. A handler that awaits
    /// anything else without it (a database, a timer) leaves its connection alone meanwhile.
    ///
    /// `None` if the session's end began first: `work` is dropped then, since nobody can be answered any more, and
    /// [`Event::Closed`] follows. The peer's half-close is not the end: it still gets its answer.
    pub async fn drive_during<F: Future>(&mut self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_ending(cx).map(|()| None),
        })
        .await
    }

    /// Drives without taking events; ready once the session's end has begun.
    pub(crate) fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..DRIVES {
            if self.driver().session().cause().is_some() {
                return Poll::Ready(());
            }
            if self.open.poll_progress(cx).is_pending() && !self.open.unpark() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Queues a command if it fits now.
    ///
    /// # Errors
    /// The command comes back with the reason.
    pub fn try_send(&mut self, command: P::Command) -> Result<(), duologue_core::SendError<P::Command>> {
        self.open.send(command)
    }

    /// Waits until everything queued was handed to the transport, or nothing more can be.
    pub async fn flush(&mut self) {
        poll_fn(|cx| self.open.poll_flush(cx)).await;
    }

    /// Our half-close: what was accepted is flushed, then FIN; receiving goes on. It is carried out as events are
    /// awaited.
    pub fn finish(&mut self) {
        self.open.finish();
    }

    /// Wants nothing more from the peer: what still comes is thrown away. Sending goes on.
    pub fn shutdown_read(&mut self) {
        self.open.shutdown_read();
    }

    /// Winds down: the protocol takes up nothing new, and ends the session once what is under way is done; see
    /// [`Session::drain`]. Answers go on being sent, and events are awaited up to [`Event::Closed`]. A protocol that has
    /// no part in that says goodbye at once, as by [`start_close`](Self::start_close).
    pub fn start_drain(&mut self, code: Code) {
        if !self.open.drain() {
            self.start_close(CloseIntent::Goodbye(code));
        }
    }

    /// Says goodbye and begins to end the session; carried out as events are awaited, up to [`Event::Closed`].
    pub fn start_close(&mut self, intent: CloseIntent) {
        self.open.close(intent);
    }

    /// Closes in order (goodbye, flush, FIN, bounded linger, release) and tells how it ended. Messages that come before
    /// the peer's end are dropped; take them with [`start_close`](Self::start_close) and
    /// [`next_event`](Self::next_event).
    pub async fn close(mut self, code: Code) -> Closed<P::Violation> {
        self.start_close(CloseIntent::Goodbye(code));
        self.closed().await
    }

    /// Resets the connection. [`Event::Closed`] follows.
    pub fn abort(&mut self, code: Code) {
        self.open.abort(code);
    }

    /// Drives to the end and tells how it ended; messages on the way are dropped. After the end it tells it again.
    pub async fn closed(&mut self) -> Closed<P::Violation> {
        loop {
            if let Some(closed) = self.open.end() {
                return closed;
            }
            self.next_event().await;
        }
    }

    /// Two handles: one to receive, and one to send that can be cloned for any number of tasks.
    #[must_use]
    pub fn split(self) -> (RecvHalf<P, T, K>, SendHalf<P, T, K>) {
        split(*self.open, self.send_within)
    }

    /// The protocol, to work on what it keeps; see [`Session::protocol_mut`]. What it makes due is transmitted as events
    /// are awaited.
    pub fn protocol_mut(&mut self) -> duologue_core::ProtocolMut<'_, P> {
        self.open.protocol_mut()
    }

    /// Goes on over the same transport with another protocol, once both sides agreed on that and the events before it were
    /// taken: see [`Session::upgrade`]. What came and was not decoded is the new protocol's, and what is queued goes out first.
    /// The new one has the handshake time for its opening, which happens as events are awaited.
    ///
    /// # Errors
    /// The connection comes back as it was, with the reason, and `change` is not called. A command that the sink keeps for
    /// want of room holds it up as well: flush first.
    pub fn upgrade<Q: Protocol>(
        mut self,
        change: impl FnOnce(P) -> Q,
    ) -> Result<Connection<Q, T, K>, Box<(Self, WhyNot)>> {
        match self.open.upgrade(change) {
            Ok(open) => Ok(Connection { open: Box::new(open), send_within: self.send_within }),
            Err(why) => Err(Box::new((self, why))),
        }
    }

    /// The session: its states, counters and cause.
    #[must_use]
    pub fn session(&self) -> &Session<P> {
        self.driver().session()
    }

    /// The transport: addresses, kernel counters.
    #[must_use]
    pub fn transport(&self) -> &T {
        self.driver().transport()
    }

    pub(crate) fn driver(&self) -> &Driver<P, T, K> {
        &self.open
    }

    pub(crate) fn driver_mut(&mut self) -> &mut Driver<P, T, K> {
        &mut self.open
    }
}

impl<P: InPlace, T: Transport, K: Timekeeper> Connection<P, T, K> {
    /// Hands messages to `handler` where they lie in the receive buffer, until there is something else to tell: an event
    /// (a message of the opening is one), or `None` after the end. Replies go straight into the send queue, and out in one write per read. Before each
    /// message at least `reply_room` bytes are free for replies. The session must be made with
    /// [`Delivery::InPlace`](duologue_core::Delivery::InPlace).
    pub async fn handle<H>(&mut self, reply_room: usize, mut handler: H) -> Option<Event<P::Event, P::Violation>>
    where
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        poll_fn(|cx| self.poll_handle(cx, reply_room, &mut handler)).await
    }

    /// As [`handle`](Self::handle), as a poll.
    pub fn poll_handle<H>(
        &mut self,
        cx: &mut Context<'_>,
        reply_room: usize,
        handler: &mut H,
    ) -> Poll<Option<Event<P::Event, P::Violation>>>
    where
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        self.open.poll_handle(cx, reply_room, handler)
    }

    /// As [`try_send`](Self::try_send), from borrowed bytes.
    ///
    /// # Errors
    /// Why it was not queued.
    pub fn try_send_in_place(&mut self, reply: P::Reply<'_>) -> Result<(), duologue_core::SendError<()>> {
        self.open.send_in_place(reply)
    }
}
