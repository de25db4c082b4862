//! A connection that a server handed out.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::task::{Context, Poll};

use duologue_core::{CloseIntent, Code, Event, InPlace, Protocol, Replies, WhyNot};

use super::Runtime;
use super::seats::{Call, Known, Seat};
use crate::Connection;
use crate::connection::PollNow;
use crate::error::SendError;
use crate::send::Sending;

type ConnectionOf<P, R> = Connection<P, <R as Runtime>::Transport, <R as Runtime>::Clock>;

/// A [`Connection`] from a [`Server`](super::Server). It hears when the server needs its seat: the protocol's goodbye is
/// then said by itself, and events go on up to `Closed`. When the server drains the same happens, unless the protocol
/// knows what is under way ([`Protocol::drain`]): then that is ended first, answers are still sent, and nothing new is
/// taken up.
pub struct Served<P: Protocol, R: Runtime> {
    // Before the seat, so that the connection has ended when the seat is free.
    connection: ConnectionOf<P, R>,
    seat: Seat,
    known: Known,
    heard: Heard,
    /// Events that were there since the server called.
    since_called: u32,
}

/// Events that a connection may tell before it hears the server's call: what was here already, and not what a peer that
/// never pauses goes on sending.
const BEFORE_HEARING: u32 = 64;

/// What was heard from the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Leave,
    Reset,
}

impl<P: Protocol, R: Runtime> Served<P, R> {
    pub(super) fn new(connection: ConnectionOf<P, R>, seat: Seat) -> Self {
        Self { connection, seat, known: Known::default(), heard: Heard::Nothing, since_called: 0 }
    }

    /// As [`Connection::upgrade`], with the seat and the server's calls: a server that drains calls the new protocol too.
    ///
    /// # Errors
    /// As [`Connection::upgrade`].
    pub fn upgrade<Q: Protocol>(mut self, change: impl FnOnce(P) -> Q) -> Result<Served<Q, R>, Box<(Self, WhyNot)>> {
        match self.connection.open.upgrade(change) {
            Ok(open) => {
                let connection = Connection { open: Box::new(open), send_within: self.connection.send_within };
                Ok(Served::new(connection, self.seat.hand_on()))
            }
            Err(why) => Err(Box::new((self, why))),
        }
    }

    /// Who connected.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        Some(self.seat.peer())
    }

    /// The server drains: answer what is asked, start nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.seat.is_draining()
    }

    /// As [`Connection::next_event`]. Cancel-safe.
    pub fn next_event(&mut self) -> impl Future<Output = Option<Event<P::Event, P::Violation>>> {
        PollNow(|cx: &mut Context<'_>| {
            if self.seat.place.is_called() {
                return self.poll_called(cx);
            }
            // What came with an earlier read costs no waker.
            let ready = self.connection.next_ready();
            if ready.is_some() {
                return Poll::Ready(ready);
            }
            self.poll_heard(cx, |connection, cx| connection.open.poll_new_event(cx))
        })
    }

    /// As [`Connection::handle`].
    pub async fn handle<H>(&mut self, reply_room: usize, mut handler: H) -> Option<Event<P::Event, P::Violation>>
    where
        P: InPlace,
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        poll_fn(|cx| self.poll_heard(cx, |connection, cx| connection.poll_handle(cx, reply_room, &mut handler))).await
    }

    /// As [`Connection::send`]; what is sent first after the server began to drain knows of it.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send(&mut self, command: P::Command) -> impl Future<Output = Result<(), SendError<P::Command>>>
    where
        R::Clock: Clone,
    {
        let mut sending = Sending::new(command);
        PollNow(move |cx: &mut Context<'_>| {
            self.hear_drain();
            self.connection.poll_send(cx, &mut sending)
        })
    }

    /// As [`Connection::feed`], see [`send`](Self::send).
    ///
    /// # Errors
    /// As [`Connection::feed`].
    pub fn feed(&mut self, command: P::Command) -> impl Future<Output = Result<(), SendError<P::Command>>>
    where
        R::Clock: Clone,
    {
        let mut sending = Sending::new(command);
        PollNow(move |cx: &mut Context<'_>| {
            self.hear_drain();
            self.connection.poll_feed(cx, &mut sending)
        })
    }

    /// As [`Connection::drive_during`]: `None` also when the server needs the seat, or drains and the protocol has no part
    /// in that.
    pub async fn drive_during<F: Future>(&mut self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_heard(cx, Connection::poll_ending).map(|()| None),
        })
        .await
    }

    /// As [`Connection::flush`]; the server's call is heard meanwhile.
    pub async fn flush(&mut self) {
        poll_fn(|cx| self.poll_heard(cx, |connection, cx| connection.open.poll_flush(cx))).await;
    }

    /// As [`Connection::try_send`], see [`send`](Self::send).
    ///
    /// # Errors
    /// As [`Connection::try_send`].
    pub fn try_send(&mut self, command: P::Command) -> Result<(), duologue_core::SendError<P::Command>> {
        self.hear_drain();
        self.connection.try_send(command)
    }

    /// A drain is heard before an answer is sent, so that the answer can say that it is the last. A protocol that has no
    /// part in it says its goodbye when events are next awaited, behind the answer.
    #[inline]
    fn hear_drain(&mut self) {
        if self.seat.place.is_draining() {
            self.drain_first();
        }
    }

    #[cold]
    fn drain_first(&mut self) {
        if self.heard == Heard::Nothing && self.connection.open.drain() {
            self.heard = Heard::Leave;
        }
    }

    /// The next event while the server calls.
    #[cold]
    fn poll_called(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event<P::Event, P::Violation>>> {
        self.poll_heard(cx, |connection, cx| connection.poll_next_event(cx))
    }

    /// Polls the connection, and does what the server called for.
    #[inline(always)]
    fn poll_heard<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut ConnectionOf<P, R>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        loop {
            if self.since_called >= BEFORE_HEARING {
                self.since_called = 0;
                let _ = self.poll_call(cx);
            }
            let polled = poll(&mut self.connection, cx);
            self.seat.place.touch(self.connection.session().last_activity());
            if polled.is_ready() {
                self.since_called += u32::from(self.seat.place.is_called());
            }
            if polled.is_ready() || self.heard == Heard::Reset {
                return polled;
            }
            // Almost always: nothing new, and the waker is known.
            if self.known.still(&self.seat.place, cx) || self.poll_call(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Does what the server called for, if anything is new.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.heard == Heard::Reset {
            return Poll::Pending;
        }
        self.seat.place.poll_call(cx, self.heard == Heard::Leave, &mut self.known).map(|call| match call {
            Call::Drain(code) => {
                self.heard = Heard::Leave;
                self.connection.start_drain(code);
            }
            Call::Goodbye(code) => {
                self.heard = Heard::Leave;
                self.connection.start_close(CloseIntent::Goodbye(code));
            }
            Call::Reset => {
                self.heard = Heard::Reset;
                self.connection.abort(Code(0));
            }
        })
    }
}

impl<P: Protocol, R: Runtime> Deref for Served<P, R> {
    type Target = ConnectionOf<P, R>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl<P: Protocol, R: Runtime> DerefMut for Served<P, R> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

impl<P: Protocol, R: Runtime> Drop for Served<P, R> {
    fn drop(&mut self) {
        if self.connection.open.is_upgraded() {
            return;
        }
        if self.seat.place.is_reset() {
            self.connection.abort(Code(0));
        }
        self.seat.ended(self.connection.session().cause());
    }
}

impl<P: Protocol, R: Runtime> fmt::Debug for Served<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("peer", &self.seat.peer())
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
