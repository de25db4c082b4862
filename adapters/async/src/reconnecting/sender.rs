//! Sending through whichever connection there is.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use duologue_core::driver::Timekeeper;
use duologue_core::reconnect::{Generation, Ticket};
use duologue_core::{Code, Instant};

use super::options::{Receipt, ReconnectSendError};
use super::shared::{Pinned, Sent, Shared};
use crate::redial::{Carrier, SendProtocol};

/// Sends through a [`Reconnecting`](super::Reconnecting) client. Clones share its outbox; each message goes out whole, on
/// one connection, in the order of acceptance.
pub struct ReconnectSender<P: SendProtocol<Command: Clone>, R: Carrier> {
    shared: Arc<Shared<P::Command>>,
    send_within: Duration,
    runtime: PhantomData<fn() -> R>,
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> ReconnectSender<P, R> {
    pub(super) fn new(shared: Arc<Shared<P::Command>>, send_within: Duration) -> Self {
        Self { shared, send_within, runtime: PhantomData }
    }

    /// Sends on the present connection or, if the policy is to wait, on the next. It returns once the message was handed
    /// wholly to a transport, and tells whose; until a connection has it, it waits no longer than
    /// [`Options::send_within`](crate::Options::send_within). Dropping the future takes the message back if no
    /// connection has it yet.
    ///
    /// # Errors
    /// The message comes back, with whether the peer can know of it: see [`ReconnectSendError`].
    pub async fn send(&self, command: P::Command) -> Result<Receipt, ReconnectSendError<P::Command>> {
        self.deliver(Pinned { to: None, command }).await
    }

    /// As [`send`](Self::send), on the connection `generation` or not at all.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`ReconnectSendError::Fenced`] once another connection took its place.
    pub async fn send_on(
        &self,
        generation: Generation,
        command: P::Command,
    ) -> Result<Receipt, ReconnectSendError<P::Command>> {
        self.deliver(Pinned { to: Some(generation), command }).await
    }

    async fn deliver(&self, message: Pinned<P::Command>) -> Sent<P::Command> {
        let mut clock = R::clock();
        let deadline = clock.now().after(self.send_within);
        let ticket = self.shared.push(message, Waker::noop())?;
        let mut place = Place { shared: &self.shared, ticket: Some(ticket) };
        poll_fn(|cx| {
            let polled = self.shared.poll_fate(ticket, cx);
            if polled.is_ready() {
                place.ticket = None;
                return polled;
            }
            self.give_up(&mut clock, deadline, ticket, cx)
        })
        .await
    }

    /// Times out what no connection has. What one has gets its fate from it.
    fn give_up(
        &self,
        clock: &mut R::Clock,
        deadline: Instant,
        ticket: Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Sent<P::Command>> {
        if clock.now() < deadline && clock.poll_until(cx, deadline).is_pending() {
            return Poll::Pending;
        }
        match self.shared.cancel(ticket) {
            Some(command) => Poll::Ready(Err(ReconnectSendError::TimedOut { command, waited: self.send_within })),
            None => Poll::Pending,
        }
    }

    /// The present connection.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.shared.generation()
    }

    /// Begins to end the client, as [`Reconnecting::start_close`](super::Reconnecting::start_close).
    pub fn start_close(&self, code: Code) {
        self.shared.close(code);
    }
}

/// A message's place in the outbox, given up when it is dropped.
struct Place<'a, C: Clone> {
    shared: &'a Shared<C>,
    ticket: Option<Ticket>,
}

impl<C: Clone> Drop for Place<'_, C> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.forget(ticket);
        }
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> Clone for ReconnectSender<P, R> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared), self.send_within)
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> fmt::Debug for ReconnectSender<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectSender").field("generation", &self.generation()).finish_non_exhaustive()
    }
}
