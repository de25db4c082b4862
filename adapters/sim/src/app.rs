//! The application on top of a session.

use std::fmt;

use duologue_core::{CloseIntent, Code, Event, InPlace, Instant, Protocol, ProtocolMut, Replies, SendError, Session};

/// What an application does with its session. Every method may use `io` at once.
pub trait App<P: Protocol> {
    /// The transport is connected, or will never be.
    fn on_start(&mut self, io: &mut Io<'_, P>) {
        let _ = io;
    }

    /// The session tells something. Under in-place delivery messages come by [`on_messages`](Self::on_messages).
    fn on_event(&mut self, io: &mut Io<'_, P>, event: Event<P::Event, P::Violation>);

    /// Under in-place delivery: messages may wait. Call [`Io::handle`] and return what it returned.
    fn on_messages(&mut self, io: &mut Io<'_, P>) -> usize {
        let _ = io;
        0
    }

    /// The time given to [`Io::wake_at`] came.
    fn on_alarm(&mut self, io: &mut Io<'_, P>) {
        let _ = io;
    }
}

/// What an application asked of its endpoint.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) alarm: Option<Instant>,
    pub(crate) paused_until: Option<Instant>,
}

/// A session in the hands of its application.
pub struct Io<'a, P: Protocol> {
    pub(crate) session: &'a mut Session<P>,
    pub(crate) now: Instant,
    pub(crate) wishes: &'a mut Wishes,
}

impl<P: Protocol> fmt::Debug for Io<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("now", &self.now).field("session", &self.session).finish_non_exhaustive()
    }
}

impl<P: Protocol> Io<'_, P> {
    /// What the host's clock shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The session, to ask it something.
    #[must_use]
    pub fn session(&self) -> &Session<P> {
        self.session
    }

    /// As [`Session::send`].
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send(&mut self, command: P::Command) -> Result<(), SendError<P::Command>> {
        self.session.send(self.now, command)
    }

    /// As [`Session::finish`].
    pub fn finish(&mut self) {
        self.session.finish(self.now);
    }

    /// As [`Session::shutdown_read`].
    pub fn shutdown_read(&mut self) {
        self.session.shutdown_read(self.now);
    }

    /// As [`Session::close`].
    pub fn close(&mut self, intent: CloseIntent) {
        self.session.close(self.now, intent);
    }

    /// As [`Session::abort`].
    pub fn abort(&mut self, code: Code) {
        self.session.abort(self.now, code);
    }

    /// The protocol, to work on what it keeps; see [`Session::protocol_mut`].
    pub fn protocol_mut(&mut self) -> ProtocolMut<'_, P> {
        self.session.protocol_mut(self.now)
    }

    /// Calls [`App::on_alarm`] at this time of the host's clock. There is one alarm; asking again moves it.
    pub fn wake_at(&mut self, at: Instant) {
        self.wishes.alarm = Some(at);
    }

    /// Takes no events until this time: a busy application, so that the peer feels back-pressure.
    pub fn pause_until(&mut self, at: Instant) {
        self.wishes.paused_until = Some(at);
    }
}

impl<P: InPlace> Io<'_, P> {
    /// As [`Session::handle`].
    #[inline]
    pub fn handle<H>(&mut self, reply_room: usize, budget: usize, handler: H) -> usize
    where
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        self.session.handle(self.now, reply_room, budget, handler)
    }

    /// As [`Session::send_in_place`].
    ///
    /// # Errors
    /// As [`Session::send_in_place`].
    #[inline]
    pub fn send_in_place(&mut self, reply: P::Reply<'_>) -> Result<(), SendError<()>> {
        self.session.send_in_place(self.now, reply)
    }
}
