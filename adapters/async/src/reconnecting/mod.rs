//! A client that connects again whenever its connection ends.

mod options;
mod sender;
mod shared;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use duologue_core::driver::Timekeeper;
use duologue_core::reconnect::{BackoffError, Circuit, Generation, Order, Outbox, Reconnect};
use duologue_core::{CloseIntent, Code, Event};

use crate::Options;
use crate::redial::{Carrier, ConnectionOver, Dialling, Redial, SendProtocol};
use shared::{Pinned, Shared};

pub use options::{Receipt, ReconnectEvent, ReconnectOptions, ReconnectSendError};
pub use sender::ReconnectSender;

type Link<P, R> = (Generation, State<P, R>);

enum State<P: SendProtocol, R: Carrier> {
    Down,
    Connecting(Dialling<P, R>),
    Up { connection: Box<ConnectionOver<P, R>>, said_goodbye: bool },
}

/// Dials with a protocol.
type DialAgain<P, R> = Box<dyn FnMut(P, Options) -> Dialling<P, R> + Send>;
/// Makes the protocol of a connection.
type Make<P> = Box<dyn FnMut(Generation) -> P + Send>;
/// Tells what goes out first on a connection.
type First<C> = Box<dyn FnMut(Generation) -> Vec<C> + Send>;
/// Tells whether an event proves its connection useful.
type Proof<E> = Box<dyn FnMut(&E) -> bool + Send>;

/// One logical client over any number of connections, one after the other. Its [`sender`](Self::sender)s survive them;
/// what a sender was told is true of one connection, whose [`Generation`] it gets.
///
/// No task works behind it: connecting, input, output and time-outs happen while [`next_event`](Self::next_event) is
/// polled. Keep it polled. **Dropping** it gives every message that waits back to its sender and drops the connection.
pub struct Reconnecting<P: SendProtocol<Command: Clone>, R: Carrier> {
    shared: Arc<Shared<P::Command>>,
    address: Arc<str>,
    options: ReconnectOptions,
    dial: DialAgain<P, R>,
    make: Make<P>,
    first: First<P::Command>,
    proof: Proof<P::Event>,
    machine: Reconnect,
    clock: R::Clock,
    link: Link<P, R>,
    over: bool,
}

/// An event of a reconnecting client with the protocol `P`.
pub type ReconnectEventOf<P> =
    ReconnectEvent<<P as duologue_core::Protocol>::Event, <P as duologue_core::Protocol>::Violation>;

impl<P: SendProtocol<Command: Clone>, R: Redial> Reconnecting<P, R> {
    /// A client of `address` (`host:port`), whose first attempt is made once it is polled. `make_protocol` makes the
    /// protocol of each connection.
    ///
    /// # Errors
    /// The pauses cannot work.
    pub fn new(
        address: impl fmt::Display,
        make_protocol: impl FnMut(Generation) -> P + Send + 'static,
        options: ReconnectOptions,
    ) -> Result<Self, BackoffError> {
        let address: Arc<str> = address.to_string().into();
        let target = Arc::clone(&address);
        let dial = move |protocol, options| R::connect(Arc::clone(&target), protocol, options);
        Self::dialled_by(address, dial, make_protocol, options)
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> Reconnecting<P, R> {
    /// As [`new`](Self::new), where `dial` connects with the protocol and the options of one attempt: through TLS, a proxy,
    /// to one of several addresses. `address` is what it is called. The attempt's time is
    /// [`Options::connect_within`]; whoever dials keeps to it.
    ///
    /// # Errors
    /// The pauses cannot work.
    pub fn dialled_by(
        address: impl fmt::Display,
        dial: impl FnMut(P, Options) -> Dialling<P, R> + Send + 'static,
        make_protocol: impl FnMut(Generation) -> P + Send + 'static,
        options: ReconnectOptions,
    ) -> Result<Self, BackoffError> {
        let clock = R::clock();
        let seed = options.connection.session_seed();
        let machine = Reconnect::new(options.backoff, options.breaker, seed, clock.now())?;
        let outbox = Outbox::<Pinned<P::Command>>::new(options.queued, options.outbox);
        Ok(Self {
            shared: Arc::new(Shared::new(outbox, options.outbox.max(1))),
            address: address.to_string().into(),
            options,
            dial: Box::new(dial),
            make: Box::new(make_protocol),
            first: Box::new(|_| Vec::new()),
            proof: Box::new(|_| true),
            machine,
            clock,
            link: (Generation(0), State::Down),
            over: false,
        })
    }

    /// Sets what is sent on every connection before anything else: subscriptions, as a rule.
    #[must_use]
    pub fn resubscribe(mut self, first: impl FnMut(Generation) -> Vec<P::Command> + Send + 'static) -> Self {
        self.first = Box::new(first);
        self
    }

    /// Sets which events prove a connection useful while [`ReconnectOptions::message_proves_use`]: not those of an opening,
    /// as a rule. All do if this is not said.
    #[must_use]
    pub fn useful_if(mut self, proof: impl FnMut(&P::Event) -> bool + Send + 'static) -> Self {
        self.proof = Box::new(proof);
        self
    }

    /// A handle to send, to be cloned for any number of tasks.
    #[must_use]
    pub fn sender(&self) -> ReconnectSender<P, R> {
        ReconnectSender::new(Arc::clone(&self.shared), self.options.connection.send_within)
    }

    /// The next event; `None` once it was closed and its last connection ended. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<ReconnectEventOf<P>> {
        poll_fn(|cx| self.poll_next_event(cx)).await
    }

    /// As [`next_event`](Self::next_event), as a poll.
    pub fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<ReconnectEventOf<P>>> {
        if self.over {
            return Poll::Ready(None);
        }
        self.shared.drives(cx);
        loop {
            let closing = self.shared.closing();
            let step = match &mut self.link.1 {
                State::Down if closing.is_some() => {
                    self.end();
                    return Poll::Ready(None);
                }
                State::Down => self.poll_pause(cx),
                State::Connecting(_) if closing.is_some() => {
                    self.link.1 = State::Down;
                    continue;
                }
                State::Connecting(_) => self.poll_connecting(cx),
                State::Up { .. } => self.poll_up(cx, closing),
            };
            match step {
                Poll::Ready(Some(event)) => return Poll::Ready(Some(event)),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Waits for the time of the next attempt, and begins it.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Option<ReconnectEventOf<P>>> {
        let now = self.clock.now();
        if let Some(Order::Connect { generation, deadline }) = self.machine.poll_order(now) {
            let options = self.options.connection.clone().connect_within(deadline.since(now));
            let connecting = (self.dial)((self.make)(generation), options);
            self.link = (generation, State::Connecting(connecting));
            return Poll::Ready(None);
        }
        match self.machine.deadline() {
            Some(deadline) => self.clock.poll_until(cx, deadline.at).map(|()| None),
            None => Poll::Pending,
        }
    }

    fn poll_connecting(&mut self, cx: &mut Context<'_>) -> Poll<Option<ReconnectEventOf<P>>> {
        let (generation, State::Connecting(connecting)) = &mut self.link else { return Poll::Ready(None) };
        let generation = *generation;
        let Poll::Ready(connected) = connecting.as_mut().poll(cx) else { return Poll::Pending };
        let now = self.clock.now();
        match connected {
            Ok(connection) => {
                self.machine.connected(now, generation);
                self.shared.connected(generation, (self.first)(generation));
                self.link.1 = State::Up { connection: Box::new(connection), said_goodbye: false };
                Poll::Ready(Some(ReconnectEvent::Connected { generation }))
            }
            Err(error) => {
                self.machine.connect_failed(now, generation);
                self.went_down();
                let retry_after = self.machine.deadline().map(|next| next.at.since(now)).unwrap_or_default();
                Poll::Ready(Some(ReconnectEvent::Failed { generation, error, retry_after }))
            }
        }
    }

    fn poll_up(&mut self, cx: &mut Context<'_>, closing: Option<Code>) -> Poll<Option<ReconnectEventOf<P>>> {
        let (generation, State::Up { connection, said_goodbye }) = &mut self.link else { return Poll::Ready(None) };
        let generation = *generation;
        self.shared.offer(|command| {
            let before = connection.session().stats().accepted;
            connection.try_send(command).map(|()| (before, connection.session().stats().accepted))
        });
        if let (Some(code), false) = (closing, *said_goodbye) {
            *said_goodbye = true;
            connection.start_close(CloseIntent::Goodbye(code));
        }
        let polled = connection.poll_next_event(cx);
        if polled.is_ready() {
            // Whoever sends does not wait for messages that come.
            let _ = connection.open.poll_flush(cx);
        }
        let stats = connection.session().stats();
        self.shared.flushed(&stats);
        let Poll::Ready(event) = polled else { return Poll::Pending };
        Poll::Ready(match event {
            Some(Event::App(event)) => {
                if self.options.message_proves_use && (self.proof)(&event) {
                    self.machine.proved_useful(generation);
                }
                Some(ReconnectEvent::App { generation, event })
            }
            Some(Event::Writable) => None,
            Some(Event::PeerFinished) => Some(ReconnectEvent::PeerFinished { generation }),
            Some(Event::Closed(closed)) => {
                self.shared.lost(&stats);
                self.machine.lost(self.clock.now(), generation);
                self.went_down();
                Some(ReconnectEvent::Lost { generation, closed, sent: stats.flushed })
            }
            None => {
                self.machine.lost(self.clock.now(), generation);
                self.went_down();
                None
            }
        })
    }

    fn went_down(&mut self) {
        self.link.1 = State::Down;
        if let Circuit::Open { .. } = self.machine.circuit() {
            self.shared.give_up();
        }
    }

    fn end(&mut self) {
        self.over = true;
        self.machine.stop();
        self.shared.end(None);
    }

    /// The connection did what it is for: the pauses start anew. See
    /// [`ReconnectOptions::message_proves_use`].
    pub fn proved_useful(&mut self, generation: Generation) {
        self.machine.proved_useful(generation);
    }

    /// Makes no attempt within `pause` from now: the peer's word. Of use when a connection was just lost or failed; see
    /// [`Reconnect::hold_off`].
    pub fn hold_off(&mut self, pause: std::time::Duration) {
        self.machine.hold_off(self.clock.now().after(pause));
    }

    /// Ends the present connection at once, if there is one. Another one follows.
    #[cfg(feature = "http1")]
    pub(crate) fn abort_connection(&mut self) {
        if let State::Up { connection, .. } = &mut self.link.1 {
            connection.abort(Code(0));
        }
    }

    /// Begins to end the client: goodbye on its connection, no further one. Events go on up to `None`. What waits goes
    /// back to its senders.
    pub fn start_close(&mut self, code: Code) {
        self.shared.close(code);
    }

    /// When the next attempt is made, failures in a row, whether there is a connection.
    #[must_use]
    pub fn machine(&self) -> &Reconnect {
        &self.machine
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> Reconnecting<P, R> {
    /// What dropping it does; of use where it lives on and has nothing more to do.
    pub(crate) fn let_go(&mut self) {
        let stats = match &mut self.link.1 {
            State::Up { connection, .. } => {
                // As a dropped connection does, but before senders are told: after that nothing may leave any more.
                connection.start_close(CloseIntent::Flush(Code(0)));
                let _ = connection.open.poll_flush(&mut Context::from_waker(Waker::noop()));
                let stats = connection.session().stats();
                if stats.accepted != stats.flushed {
                    connection.abort(Code(0));
                }
                Some(stats)
            }
            _ => None,
        };
        self.shared.end(stats.as_ref());
        self.link.1 = State::Down;
        self.machine.stop();
        self.over = true;
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> Drop for Reconnecting<P, R> {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> fmt::Debug for Reconnecting<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting")
            .field("address", &self.address)
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}
