//! One session on one socket, with its application: the machine that most worlds are made of.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use duologue_core::{
    Cause, Closed, Config, Delivery, Event, Interest, LimitsError, Protocol, RecvState, SendState, Session,
};

use crate::app::{App, Io, Wishes};
use crate::coverage::Coverage;
use crate::kernel::{Read, end};
use crate::machine::{Ended, Machine, Net, Report, SocketId};
use crate::trace::End;

/// Rounds of a poll before the rest of the world has its turn.
const ROUNDS: usize = 256;
/// Messages taken before what they led to is written.
const BATCH: usize = 64;
/// Slices offered to one write.
const SLICES: usize = 8;

/// A session, its socket and its application.
pub struct Endpoint<P: Protocol, A> {
    session: Session<P>,
    app: A,
    socket: SocketId,
    dialling: bool,
    started: bool,
    in_place: bool,
    wishes: Wishes,
    states: (RecvState, SendState),
    coverage: Coverage,
    closed: Option<Closed<P::Violation>>,
    closed_at: u64,
    times_closed: u32,
}

impl<P: Protocol, A> fmt::Debug for Endpoint<P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("session", &self.session).field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl<P: Protocol, A> Endpoint<P, A> {
    /// Over a socket that is being dialled.
    ///
    /// # Errors
    /// The limits cannot work.
    pub fn dialling(
        net: &mut Net<'_>,
        socket: SocketId,
        protocol: P,
        config: impl Into<Arc<Config>>,
        app: A,
    ) -> Result<Self, LimitsError> {
        let session = Session::connecting(protocol, config, net.random(), net.now())?;
        Ok(Self::new(session, socket, true, app))
    }

    /// Over a socket that was accepted.
    ///
    /// # Errors
    /// The limits cannot work.
    pub fn accepted(
        net: &mut Net<'_>,
        socket: SocketId,
        protocol: P,
        config: impl Into<Arc<Config>>,
        app: A,
    ) -> Result<Self, LimitsError> {
        let session = Session::new(protocol, config, net.random(), net.now())?;
        Ok(Self::new(session, socket, false, app))
    }

    fn new(session: Session<P>, socket: SocketId, dialling: bool, app: A) -> Self {
        let states = session.states();
        let in_place = session.config().delivery == Delivery::InPlace;
        Self {
            session,
            app,
            socket,
            dialling,
            started: false,
            in_place,
            wishes: Wishes::default(),
            states,
            coverage: Coverage::start(states),
            closed: None,
            closed_at: 0,
            times_closed: 0,
        }
    }

    /// The application.
    #[must_use]
    pub fn app(&self) -> &A {
        &self.app
    }

    /// Which end of which connection it is.
    #[must_use]
    pub fn socket(&self) -> End {
        end(self.socket.0)
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session<P> {
        &self.session
    }

    /// How the session ended.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed<P::Violation>> {
        self.closed.as_ref()
    }

    /// Lets the application, or a test in its place, do something of its own accord. Poll the machine after.
    pub fn with<R>(&mut self, net: &Net<'_>, act: impl FnOnce(&mut A, &mut Io<'_, P>) -> R) -> R {
        let mut io = Io { session: &mut self.session, now: net.now(), wishes: &mut self.wishes };
        act(&mut self.app, &mut io)
    }

    /// Notes the transitions since the last look.
    #[inline]
    fn watch(&mut self) {
        let states = self.session.states();
        if states != self.states {
            self.coverage.moved(self.states, states);
            self.states = states;
        }
    }
}

impl<P: Protocol, A: App<P>> Endpoint<P, A> {
    fn connect(&mut self, net: &mut Net<'_>) {
        if self.dialling {
            match net.is_connected(self.socket) {
                Ok(true) => self.session.connected(net.now()),
                Ok(false) => return,
                Err(fault) => self.session.transport_failed(net.now(), fault),
            }
            self.dialling = false;
        }
        if !self.started {
            self.started = true;
            self.with(net, |app, io| app.on_start(io));
        }
    }

    /// One message, or what waits in place. True if something was taken.
    #[inline]
    fn deliver(&mut self, net: &mut Net<'_>) -> bool {
        let now = net.now();
        if self.wishes.paused_until.is_some_and(|until| now < until) {
            return false;
        }
        let mut io = Io { session: &mut self.session, now, wishes: &mut self.wishes };
        if self.in_place && self.app.on_messages(&mut io) > 0 {
            return true;
        }
        let Some(event) = self.session.poll_event(now) else { return false };
        if let Event::Closed(closed) = &event {
            self.times_closed += 1;
            self.closed_at = net.true_nanos();
            self.coverage.ended(closed.phase);
            net.note_closed(self.socket, closed.cause.kind());
            self.closed = Some(closed.clone());
        }
        let mut io = Io { session: &mut self.session, now, wishes: &mut self.wishes };
        self.app.on_event(&mut io, event);
        true
    }

    #[inline]
    fn write(&mut self, net: &mut Net<'_>) -> bool {
        if self.dialling || !self.session.states().1.writes() || self.session.buffered().1 == 0 {
            return false;
        }
        let mut slices: [&[u8]; SLICES] = [&[]; SLICES];
        let filled = self.session.transmit(&mut slices);
        match net.write(self.socket, &slices[..filled]) {
            Ok(0) => return false,
            Ok(n) => self.session.transmitted(net.now(), n),
            Err(fault) => self.session.transport_failed(net.now(), fault),
        }
        true
    }

    #[inline]
    fn read(&mut self, net: &mut Net<'_>) -> bool {
        match net.read(self.socket, &mut self.session.recv_buf()) {
            Ok(Read::Blocked) => return false,
            Ok(Read::Eof) => self.session.received_eof(net.now()),
            Ok(Read::Bytes(_)) => self.session.received(net.now()),
            Err(fault) => self.session.transport_failed(net.now(), fault),
        }
        true
    }

    /// One round over all that the session wants. False if nothing could be done.
    fn round(&mut self, net: &mut Net<'_>) -> bool {
        let before = self.session.interest();
        let Interest { event, read, write, shutdown_write, release, deadline } = before;
        let mut moved = false;
        if let Some(how) = release {
            net.release(self.socket, how);
            self.session.released();
            moved = true;
        }
        if read {
            moved = self.read(net);
        }
        if event || moved {
            // Several messages make one write.
            let batch = if self.in_place { 1 } else { BATCH };
            moved |= (0..batch).take_while(|_| self.deliver(net)).count() > 0;
        }
        // What was read or taken may have led to output: this saves asking again.
        if write || moved {
            moved |= self.write(net);
        }
        if shutdown_write && self.session.states().1 == SendState::ShuttingDown {
            match net.shutdown_write(self.socket) {
                Ok(()) => self.session.shutdown_done(net.now()),
                Err(fault) => self.session.transport_failed(net.now(), fault),
            }
            moved = true;
        }
        // Handling may find a violation instead of a message: nothing was taken, and yet everything changed.
        if event && !moved {
            moved = self.session.interest() != before;
        }
        if let Some(deadline) = deadline.filter(|_| !moved) {
            if deadline.at <= net.now() {
                self.session.handle_timeout(net.now());
                moved = true;
            } else {
                net.alarm(deadline.at);
            }
        }
        self.watch();
        moved
    }
}

impl<P: Protocol + 'static, A: App<P> + 'static> Machine for Endpoint<P, A> {
    fn poll(&mut self, net: &mut Net<'_>) {
        if self.dialling || !self.started {
            self.connect(net);
        }
        if self.wishes.alarm.is_some_and(|at| at <= net.now()) {
            self.wishes.alarm = None;
            self.with(net, |app, io| app.on_alarm(io));
        }
        if self.wishes.paused_until.is_some_and(|until| until <= net.now()) {
            self.wishes.paused_until = None;
        }
        let mut rounds = 0;
        while self.round(net) {
            rounds += 1;
            if rounds == ROUNDS {
                return net.poll_again();
            }
        }
        for at in [self.wishes.alarm, self.wishes.paused_until].into_iter().flatten() {
            net.alarm(at);
        }
    }

    fn is_over(&self) -> bool {
        self.session.is_over()
    }

    fn report(&self) -> Report {
        Report {
            states: Some(self.session.states()),
            stats: self.session.stats(),
            ended: self.closed.as_ref().map(|closed| Ended {
                cause: closed.cause.kind(),
                timeout: if let Cause::Timeout(reason) = &closed.cause { Some(*reason) } else { None },
                fault: if let Cause::Transport(fault) = &closed.cause { Some(*fault) } else { None },
                text: closed.to_string(),
                phase: closed.phase,
                unsent: closed.unsent,
                undelivered: closed.undelivered,
                peer_finished: closed.peer_finished,
                finished_first: closed.finished_first,
                at: self.closed_at,
            }),
            times_closed: self.times_closed,
        }
    }

    fn coverage(&self) -> Coverage {
        self.coverage
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
