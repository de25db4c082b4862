//! What a connection and its halves have in common: the driver, what waits in front of it, and what dropping means.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll, Waker, ready};

use duologue_core::driver::{Driver, Timekeeper, Transport};
use duologue_core::{CloseIntent, Closed, Code, Event, InPlace, Interest, Protocol, Replies, SendError, WhyNot};

/// An event of the protocol `P`.
pub(crate) type EventOf<P> = Event<<P as Protocol>::Event, <P as Protocol>::Violation>;

/// Who upgrades owns the connection and drops it.
const UPGRADED: &str = "a connection that was upgraded is used by nobody";

/// A driver that ends its transport honestly when it is dropped.
///
/// Without a `close` there is nobody left to wait for a flush. What is queued is offered to the transport once. If all
/// of it was taken, the transport is closed normally; if not, it is reset, so that the peer never takes a cut
/// stream for a complete one.
pub(crate) struct Open<P: Protocol, T: Transport, K: Timekeeper> {
    /// Always there, but in what [`upgrade`](Self::upgrade) leaves behind.
    driver: Option<Driver<P, T, K>>,
    /// What is rare; idle connections weigh less without it.
    aside: Option<Box<Aside<P>>>,
}

/// What waits in front of the session.
struct Aside<P: Protocol> {
    /// Events that came while connecting.
    early: VecDeque<EventOf<P>>,
    /// A command that the sink accepted and the session has no room for yet. It goes before any other.
    parked: Option<P::Command>,
    /// The end was told while a command was parked.
    lost: bool,
}

impl<P: Protocol, T: Transport, K: Timekeeper> Open<P, T, K> {
    #[inline(always)]
    pub(crate) const fn new(driver: Driver<P, T, K>) -> Self {
        Self { driver: Some(driver), aside: None }
    }

    /// The same transport with another protocol. What is left of this one is over, and does nothing when it is dropped.
    pub(crate) fn upgrade<Q: Protocol>(&mut self, change: impl FnOnce(P) -> Q) -> Result<Open<Q, T, K>, WhyNot> {
        if self.early() > 0 {
            return Err(WhyNot::EventsWaiting);
        }
        if self.is_parked() {
            return Err(WhyNot::Holding);
        }
        match self.driver.take().ok_or(WhyNot::NotOpen)?.upgrade(change) {
            Ok(driver) => Ok(Open::new(driver)),
            Err(refused) => {
                let (driver, why) = *refused;
                self.driver = Some(driver);
                Err(why)
            }
        }
    }

    /// Another protocol has its transport.
    pub(crate) const fn is_upgraded(&self) -> bool {
        self.driver.is_none()
    }

    fn aside(&mut self) -> &mut Aside<P> {
        self.aside.get_or_insert_with(|| Box::new(Aside { early: VecDeque::new(), parked: None, lost: false }))
    }

    /// Events that came while connecting and were not taken yet.
    pub(crate) fn early(&self) -> usize {
        self.aside.as_ref().map_or(0, |aside| aside.early.len())
    }

    pub(crate) fn push_early(&mut self, event: EventOf<P>) {
        self.aside().early.push_back(event);
    }

    #[inline]
    fn pop_early(&mut self) -> Option<EventOf<P>> {
        self.aside.as_mut()?.early.pop_front()
    }

    /// Whether the sink's command waits.
    #[inline]
    pub(crate) fn is_parked(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.parked.is_some())
    }

    pub(crate) fn park(&mut self, command: P::Command) {
        self.aside().parked = Some(command);
    }

    pub(crate) fn take_parked(&mut self) -> Option<P::Command> {
        self.aside.as_mut()?.parked.take()
    }

    /// The next event; `None` after the end.
    #[inline]
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<EventOf<P>>> {
        let ready = self.next_ready();
        if ready.is_some() { Poll::Ready(ready) } else { self.poll_new_event(cx) }
    }

    /// The next event, when [`next_ready`](Self::next_ready) has just said that there is none.
    #[inline(always)]
    pub(crate) fn poll_new_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<EventOf<P>>> {
        loop {
            if let Poll::Ready(mut event) = self.deref_mut().poll_new_event(cx) {
                self.note(&mut event);
                return Poll::Ready(event);
            }
            if !self.is_parked() || !self.unpark() {
                return Poll::Pending;
            }
        }
    }

    /// An event that is there without any input or output.
    #[inline(always)]
    pub(crate) fn next_ready(&mut self) -> Option<EventOf<P>> {
        if self.early() > 0 {
            return self.pop_early();
        }
        if !self.session().has_event() {
            return None;
        }
        // A message is not the end, and is moved as little as possible: it is larger than what is done with it.
        if self.session().has_message() {
            return self.deref_mut().next_ready();
        }
        let mut event = self.deref_mut().next_ready();
        self.note(&mut event);
        event
    }

    /// Counts what the sink accepted in vain.
    #[inline]
    fn note(&mut self, event: &mut Option<EventOf<P>>) {
        if let Some(Event::Closed(closed)) = event {
            self.note_end(closed);
        }
    }

    #[cold]
    fn note_end(&mut self, closed: &mut Closed<P::Violation>) {
        if let Some(aside) = &mut self.aside {
            aside.lost = aside.parked.take().is_some();
        }
        closed.unsent += self.lost();
    }

    /// How the session ended, once that was told.
    pub(crate) fn end(&self) -> Option<Closed<P::Violation>> {
        let mut closed = self.session().ended()?;
        closed.unsent += self.lost();
        Some(closed)
    }

    /// Commands that the sink accepted in vain.
    fn lost(&self) -> u64 {
        self.aside.as_ref().map_or(0, |aside| u64::from(aside.lost))
    }

    /// Queues a command, after the parked one.
    #[inline(always)]
    pub(crate) fn send(&mut self, command: P::Command) -> Result<(), SendError<P::Command>> {
        // A command is large: the way of almost all of them moves it once.
        if !self.is_parked() {
            return self.deref_mut().send(command);
        }
        let command = self.after_parked(command)?;
        self.deref_mut().send(command)
    }

    /// Queues a command from where it lies, after the parked one: taken if it is accepted, left if it is refused.
    #[inline(always)]
    pub(crate) fn send_from(&mut self, command: &mut Option<P::Command>) -> Result<(), SendError<()>> {
        if self.is_parked() {
            self.after_parked(())?;
        }
        self.deref_mut().send_from(command)
    }

    /// Lets a command pass if none is parked any more.
    #[inline]
    fn after_parked<C>(&mut self, command: C) -> Result<C, SendError<C>> {
        let Some(first) = self.take_parked() else { return Ok(command) };
        match self.deref_mut().send(first) {
            Ok(()) => Ok(command),
            Err(refused) if refused.is_temporary() => Err(refused.map(|first| {
                self.park(first);
                command
            })),
            // Sending is over; the other command will hear it too.
            Err(refused) => {
                self.park(refused.into_command());
                Ok(command)
            }
        }
    }

    /// Queues the parked command if it fits by now, and tells whether it did.
    pub(crate) fn unpark(&mut self) -> bool {
        self.is_parked() && self.after_parked(()).is_ok() && !self.is_parked()
    }

    /// Waits until everything queued was handed to the transport, or nothing more can be.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.deref_mut().poll_flush(cx));
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
            if let Some(event) = self.pop_early() {
                return Poll::Ready(Some(event));
            }
            if let Poll::Ready(mut event) = self.deref_mut().poll_handle(cx, reply_room, handler) {
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
        self.deref_mut().send_in_place(reply)
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Drop for Open<P, T, K> {
    fn drop(&mut self) {
        // Another protocol has the transport, or the end was told, and it is gone.
        if self.is_upgraded() || self.session().is_over() {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        self.unpark();
        // Nobody is left to wait for an answer to a goodbye.
        self.deref_mut().close(CloseIntent::Flush(Code(0)));
        let _ = self.poll_flush(&mut cx);
        let Interest { event: _, read: _, write, shutdown_write, release: _, deadline: _ } = self.session().interest();
        let stats = self.session().stats();
        if write || shutdown_write || self.is_parked() || stats.accepted != stats.flushed {
            self.deref_mut().abort(Code(0));
            let _ = self.deref_mut().poll_flush(&mut cx);
        }
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Deref for Open<P, T, K> {
    type Target = Driver<P, T, K>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        self.driver.as_ref().expect(UPGRADED)
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> DerefMut for Open<P, T, K> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.driver.as_mut().expect(UPGRADED)
    }
}
