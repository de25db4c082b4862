//! A connection that a server handed out.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::task::Poll;

use duologue_core::driver::Timekeeper;
use duologue_core::{CloseIntent, Code, Event, InPlace, Protocol, Replies};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::seats::{Drain, Seat, wait_for_drain};
use crate::{Clock, Connection};

/// A [`Connection`] from a [`Server`](super::Server). It hears when the server drains or needs its seat: the
/// protocol's goodbye is then said by itself, and events go on up to `Closed`.
#[derive(Debug)]
pub struct Served<P: Protocol> {
    // Before the seat, so that the connection has ended when the seat is free.
    connection: Connection<P>,
    seat: Seat,
    drain: watch::Receiver<Option<Drain>>,
    closing: bool,
}

impl<P: Protocol> Served<P> {
    pub(super) fn new(connection: Connection<P>, seat: Seat, drain: watch::Receiver<Option<Drain>>) -> Self {
        seat.place.touch(Clock::new().now());
        Self { connection, seat, drain, closing: false }
    }

    /// Who connected.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.transport().stream().and_then(|stream: &TcpStream| stream.peer_addr().ok())
    }

    /// The server drains: answer what is asked, start nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// As [`Connection::next_event`]. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<Event<P::Event, P::Violation>> {
        // What the last read brought is taken without listening to the server in between.
        if let Some(event) = self.connection.next_ready() {
            return Some(event);
        }
        let Self { connection, seat, drain, closing } = self;
        let event = hear(connection, seat, drain, closing, |connection, cx| connection.poll_next_event(cx)).await;
        self.touch();
        event
    }

    /// As [`Connection::handle`].
    pub async fn handle<H>(&mut self, reply_room: usize, mut handler: H) -> Option<Event<P::Event, P::Violation>>
    where
        P: InPlace,
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        let Self { connection, seat, drain, closing } = self;
        let event = hear(connection, seat, drain, closing, |connection, cx| {
            let polled = connection.poll_handle(cx, reply_room, &mut handler);
            seat.place.touch(connection.session().last_activity());
            polled
        })
        .await;
        self.touch();
        event
    }

    fn touch(&self) {
        self.seat.place.touch(self.connection.session().last_activity());
    }
}

/// Polls the connection, and says goodbye once the server calls.
async fn hear<P: Protocol, R>(
    connection: &mut Connection<P>,
    seat: &Seat,
    drain: &mut watch::Receiver<Option<Drain>>,
    closing: &mut bool,
    mut poll: impl FnMut(&mut Connection<P>, &mut std::task::Context<'_>) -> Poll<R>,
) -> R {
    if *closing {
        return poll_fn(|cx| poll(connection, cx)).await;
    }
    let mut called = pin!(async {
        tokio::select! {
            drain = wait_for_drain(drain) => drain.code,
            () = seat.place.called.notified() => Code(0),
        }
    });
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = poll(connection, cx) {
                return Poll::Ready(result);
            }
            if *closing {
                return Poll::Pending;
            }
            match called.as_mut().poll(cx) {
                Poll::Ready(code) => {
                    *closing = true;
                    connection.start_close(CloseIntent::Goodbye(code));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

impl<P: Protocol> Deref for Served<P> {
    type Target = Connection<P>;

    fn deref(&self) -> &Connection<P> {
        &self.connection
    }
}

impl<P: Protocol> DerefMut for Served<P> {
    fn deref_mut(&mut self) -> &mut Connection<P> {
        &mut self.connection
    }
}

impl<P: Protocol> Drop for Served<P> {
    fn drop(&mut self) {
        if self.seat.place.is_reset() {
            self.connection.abort(Code(0));
        }
    }
}
