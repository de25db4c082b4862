//! What a connection and its halves have in common: the driver, what waits in front of it, and what dropping means.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll, Waker, ready};

use duologue_core::driver::{Driver, Timekeeper, Transport};
use duologue_core::{CloseIntent, Closed, Code, Event, InPlace, Interest, Protocol, Replies, SendError};

/// An event of the protocol `P`.
pub(crate) type EventOf<P> = Event<<P as Protocol>::Event, <P as Protocol>::Violation>;

/// A driver that ends its transport honestly when it is dropped.
///
/// Without a `close` there is nobody left to wait for a flush. What is queued is offered to the transport once. If all
/// of it was taken, the transport is closed normally; if not, it is reset, so that the peer never takes a cut
/// stream for a complete one.
pub(crate) struct Open<P: Protocol, T: Transport, K: Timekeeper> {
    driver: Driver<P, T, K>,
    /// Events that came while connecting; this and the next are pointers, because most connections never have any.
    #[allow(clippy::box_collection, reason = "three words less in each connection")]
    early: Option<Box<VecDeque<EventOf<P>>>>,
    /// A command that the sink accepted and the session has no room for yet. It goes before any other.
    pub(crate) parked: Option<Box<P::Command>>,
    /// How the session ended, once that was told.
    end: Option<Box<Closed<P::Violation>>>,
}

impl<P: Protocol, T: Transport, K: Timekeeper> Open<P, T, K> {
    pub(crate) const fn new(driver: Driver<P, T, K>) -> Self {
        Self { driver, early: None, parked: None, end: None }
    }

    /// Keeps an event that came while connecting.
    pub(crate) fn keep_early(&mut self, event: EventOf<P>) {
        self.early.get_or_insert_default().push_back(event);
    }

    /// How many of them wait.
    pub(crate) fn early(&self) -> usize {
        self.early.as_ref().map_or(0, |events| events.len())
    }

    #[inline]
    fn take_early(&mut self) -> Option<EventOf<P>> {
        let events = self.early.as_mut()?;
        let event = events.pop_front();
        if events.is_empty() {
            self.early = None;
        }
        event
    }

    /// The next event; `None` after the end.
    #[inline]
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<EventOf<P>>> {
        loop {
            if let Some(event) = self.take_early() {
                return Poll::Ready(Some(event));
            }
            if let Poll::Ready(mut event) = self.driver.poll_event(cx) {
                self.note(&mut event);
                return Poll::Ready(event);
            }
            if !self.unpark() {
                return Poll::Pending;
            }
        }
    }

    /// Drives until there is an event for [`take_ready`](Self::take_ready), or after the end.
    #[inline]
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.early.is_some() || self.driver.poll_ready(cx).is_ready() {
                return Poll::Ready(());
            }
            if !self.unpark() {
                return Poll::Pending;
            }
        }
    }

    /// The event that [`poll_ready`](Self::poll_ready) was ready for.
    #[inline]
    pub(crate) fn take_ready(&mut self) -> Option<EventOf<P>> {
        if self.early.is_some() {
            return self.take_early();
        }
        // As in `next_ready`.
        if self.driver.session().has_message() {
            return self.driver.take_ready();
        }
        let mut event = self.driver.take_ready();
        self.note(&mut event);
        event
    }

    /// An event that is there without any input or output.
    #[inline]
    pub(crate) fn next_ready(&mut self) -> Option<EventOf<P>> {
        if self.early.is_some() {
            return self.take_early();
        }
        // A message is not the end, and is moved as little as possible: it is larger than what is done with it.
        if self.driver.session().has_message() {
            return self.driver.next_ready();
        }
        let mut event = self.driver.next_ready();
        self.note(&mut event);
        event
    }

    /// Keeps the end, and counts what the sink accepted in vain.
    #[inline]
    fn note(&mut self, event: &mut Option<EventOf<P>>) {
        if let Some(Event::Closed(closed)) = event {
            self.note_end(closed);
        }
    }

    #[cold]
    fn note_end(&mut self, closed: &mut Closed<P::Violation>) {
        closed.unsent += u64::from(self.parked.take().is_some());
        self.end = Some(Box::new(closed.clone()));
    }

    /// How the session ended, once that was told.
    pub(crate) fn end(&self) -> Option<&Closed<P::Violation>> {
        self.end.as_deref()
    }

    /// Queues a command, after the parked one.
    #[inline(always)]
    pub(crate) fn send(&mut self, command: P::Command) -> Result<(), SendError<P::Command>> {
        let command = self.after_parked(command)?;
        self.driver.send(command)
    }

    /// Queues a command from where it lies, after the parked one.
    #[inline(always)]
    pub(crate) fn send_from(&mut self, command: &mut Option<P::Command>) -> Result<(), SendError<()>> {
        if self.parked.is_some() {
            self.after_parked(())?;
        }
        self.driver.send_from(command)
    }

    /// Lets a command pass if none is parked any more.
    #[inline]
    fn after_parked<C>(&mut self, command: C) -> Result<C, SendError<C>> {
        let Some(first) = self.parked.take() else { return Ok(command) };
        match self.driver.send(*first) {
            Ok(()) => Ok(command),
            Err(refused) if refused.is_temporary() => Err(refused.map(|first| {
                self.parked = Some(Box::new(first));
                command
            })),
            // Sending is over; the other command will hear it too.
            Err(refused) => {
                self.parked = Some(Box::new(refused.into_command()));
                Ok(command)
            }
        }
    }

    /// Queues the parked command if it fits by now, and tells whether it did.
    pub(crate) fn unpark(&mut self) -> bool {
        self.parked.is_some() && self.after_parked(()).is_ok() && self.parked.is_none()
    }

    /// Waits until everything queued was handed to the transport, or nothing more can be.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.driver.poll_flush(cx));
            if !self.unpark() {
                return Poll::Ready(());
            }
        }
    }
}

impl<P: InPlace, T: Transport, K: Timekeeper> Open<P, T, K> {
    /// Hands messages to `handler` in place until there is something else to tell.
    pub(crate) fn poll_handle<H>(
        &mut self,
        cx: &mut Context<'_>,
        reply_room: usize,
        handler: &mut H,
    ) -> Poll<Option<EventOf<P>>>
    where
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        loop {
            if let Some(event) = self.take_early() {
                return Poll::Ready(Some(event));
            }
            if let Poll::Ready(mut event) = self.driver.poll_handle(cx, reply_room, handler) {
                self.note(&mut event);
                return Poll::Ready(event);
            }
            if !self.unpark() {
                return Poll::Pending;
            }
        }
    }

    /// Queues a reply from borrowed bytes, after the parked command.
    pub(crate) fn send_in_place(&mut self, reply: P::Reply<'_>) -> Result<(), SendError<()>> {
        self.after_parked(())?;
        self.driver.send_in_place(reply)
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Drop for Open<P, T, K> {
    fn drop(&mut self) {
        // The end was told, and the transport is gone.
        if self.driver.session().is_over() {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        self.unpark();
        // Nobody is left to wait for an answer to a goodbye.
        self.driver.close(CloseIntent::Flush(Code(0)));
        let _ = self.poll_flush(&mut cx);
        let Interest { event: _, read: _, write, shutdown_write, release: _, deadline: _ } = self.session().interest();
        let stats = self.session().stats();
        if write || shutdown_write || self.parked.is_some() || stats.accepted != stats.flushed {
            self.driver.abort(Code(0));
            let _ = self.driver.poll_flush(&mut cx);
        }
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Deref for Open<P, T, K> {
    type Target = Driver<P, T, K>;

    fn deref(&self) -> &Self::Target {
        &self.driver
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> DerefMut for Open<P, T, K> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.driver
    }
}
