//! A client that connects again whenever its connection ends, driven by the thread that waits on it.

use std::fmt;
use std::task::Poll;
use std::time::Duration;

use duologue_async::{Carrier, Dialling, ReconnectEventOf, SendProtocol};
use duologue_core::Code;
use duologue_core::reconnect::{BackoffError, Generation, Reconnect};

use crate::connection::wait_within;
use crate::{Options, Receipt, ReconnectOptions, ReconnectSendError, Threads, wait};

/// One logical client over any number of connections, one after the other. Its [`sender`](Self::sender)s survive them;
/// what a sender was told is true of one connection, whose [`Generation`] it gets.
///
/// No thread works behind it: connecting, input, output and time-outs happen while [`next_event`](Self::next_event)
/// waits. Have a thread that calls it again and again. **Dropping** it gives every message that waits back to its
/// sender and drops the connection.
pub struct Reconnecting<P: SendProtocol<Command: Clone>, R: Carrier = Threads> {
    inner: duologue_async::Reconnecting<P, R>,
}

impl<P: SendProtocol<Command: Clone>> Reconnecting<P> {
    /// A client of `address` (`host:port`), whose first attempt is made by the first wait. `make_protocol` makes the
    /// protocol of each connection.
    ///
    /// # Errors
    /// The pauses cannot work.
    pub fn new(
        address: impl fmt::Display,
        make_protocol: impl FnMut(Generation) -> P + Send + 'static,
        options: ReconnectOptions,
    ) -> Result<Self, BackoffError> {
        duologue_async::Reconnecting::new(address, make_protocol, options).map(|inner| Self { inner })
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> Reconnecting<P, R> {
    #[cfg(feature = "websocket")]
    pub(crate) const fn from_inner(inner: duologue_async::Reconnecting<P, R>) -> Self {
        Self { inner }
    }

    /// As [`new`](Reconnecting::new), where `dial` connects with the protocol and the options of one attempt; see
    /// [`duologue_async::Reconnecting::dialled_by`]. The future is polled by the thread that waits.
    ///
    /// # Errors
    /// The pauses cannot work.
    pub fn dialled_by(
        address: impl fmt::Display,
        dial: impl FnMut(P, Options) -> Dialling<P, R> + Send + 'static,
        make_protocol: impl FnMut(Generation) -> P + Send + 'static,
        options: ReconnectOptions,
    ) -> Result<Self, BackoffError> {
        duologue_async::Reconnecting::dialled_by(address, dial, make_protocol, options).map(|inner| Self { inner })
    }

    /// Sets which events prove a connection useful while [`ReconnectOptions::message_proves_use`]. All do if this is not
    /// said.
    #[must_use]
    pub fn useful_if(self, proof: impl FnMut(&P::Event) -> bool + Send + 'static) -> Self {
        Self { inner: self.inner.useful_if(proof) }
    }

    /// Sets what is sent on every connection before anything else: subscriptions, as a rule.
    #[must_use]
    pub fn resubscribe(self, first: impl FnMut(Generation) -> Vec<P::Command> + Send + 'static) -> Self {
        Self { inner: self.inner.resubscribe(first) }
    }

    /// A handle to send, to be cloned for any number of threads.
    #[must_use]
    pub fn sender(&self) -> ReconnectSender<P, R> {
        ReconnectSender { inner: self.inner.sender() }
    }

    /// Waits for the next event; `None` once it was closed and its last connection ended.
    pub fn next_event(&mut self) -> Option<ReconnectEventOf<P>> {
        wait(self.inner.next_event())
    }

    /// As [`next_event`](Self::next_event), but waits no longer than this: `Pending` if nothing came.
    pub fn next_event_within(&mut self, at_most: Duration) -> Poll<Option<ReconnectEventOf<P>>> {
        wait_within(at_most, self.inner.next_event())
    }

    /// The connection did what it is for: the pauses start anew. See [`ReconnectOptions::message_proves_use`].
    pub fn proved_useful(&mut self, generation: Generation) {
        self.inner.proved_useful(generation);
    }

    /// Makes no attempt within `pause` from now: the peer's word. See [`Reconnect::hold_off`].
    pub fn hold_off(&mut self, pause: Duration) {
        self.inner.hold_off(pause);
    }

    /// Begins to end the client: goodbye on its connection, no further one. Events go on up to `None`.
    pub fn start_close(&mut self, code: Code) {
        self.inner.start_close(code);
    }

    /// When the next attempt is made, failures in a row, whether there is a connection.
    #[must_use]
    pub fn machine(&self) -> &Reconnect {
        self.inner.machine()
    }
}

/// Sends through a [`Reconnecting`] client. Clones share its outbox; each message goes out whole, on one connection, in
/// the order of acceptance.
pub struct ReconnectSender<P: SendProtocol<Command: Clone>, R: Carrier = Threads> {
    inner: duologue_async::ReconnectSender<P, R>,
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> ReconnectSender<P, R> {
    /// Sends on the present connection or, if the policy is to wait, on the next. It returns once the message was handed
    /// wholly to a socket, and tells whose. Another thread must wait on the client meanwhile.
    ///
    /// # Errors
    /// The message comes back, with whether the peer can know of it: see [`ReconnectSendError`].
    pub fn send(&self, command: P::Command) -> Result<Receipt, ReconnectSendError<P::Command>> {
        wait(self.inner.send(command))
    }

    /// As [`send`](Self::send), on the connection `generation` or not at all.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`ReconnectSendError::Fenced`] once another connection took its place.
    pub fn send_on(
        &self,
        generation: Generation,
        command: P::Command,
    ) -> Result<Receipt, ReconnectSendError<P::Command>> {
        wait(self.inner.send_on(generation, command))
    }

    /// The present connection.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.inner.generation()
    }

    /// Begins to end the client, as [`Reconnecting::start_close`].
    pub fn start_close(&self, code: Code) {
        self.inner.start_close(code);
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> Clone for ReconnectSender<P, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> fmt::Debug for Reconnecting<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<P: SendProtocol<Command: Clone>, R: Carrier> fmt::Debug for ReconnectSender<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
