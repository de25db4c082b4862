//! How connections come about: by dialling, or by taking over a stream that is connected already.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use duologue_core::driver::{Driver, Timekeeper, Transport};
use duologue_core::{Code, Config, Event, Instant, Protocol, Session, TransportFault};

use crate::connection::Connection;
use crate::error::ConnectError;

/// What a connection is made with, apart from its protocol.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Limits, time-outs and close order; shared by all connections made with clones of these options.
    pub config: Arc<Config>,
    /// The seed of the protocol's randomness; from the system's entropy if not set.
    pub seed: Option<u64>,
    /// The one deadline over resolving, connecting and the protocol's opening. Default 10 s.
    pub connect_within: Duration,
    /// How long `send` waits for room. Default 30 s.
    pub send_within: Duration,
    /// Sends small writes at once (TCP_NODELAY). Default true.
    pub no_delay: bool,
    /// The kernel probes a silent peer after this long, then at a third of it, three times (SO_KEEPALIVE).
    /// Default 30 s. It finds a dead peer that nothing is in flight to.
    pub tcp_keepalive: Option<Duration>,
    /// The kernel gives up on bytes that the peer does not acknowledge for this long (TCP_USER_TIMEOUT, where the
    /// system has it). Default 30 s.
    pub tcp_user_timeout: Option<Duration>,
    /// How many connections may wait at a server's door until it accepts them: more in one moment, and the rest of them
    /// connect again after a second or are refused, as the system does it. The system has a bound of its own
    /// (`net.core.somaxconn` on Linux). Set by [`Server::bind`](crate::Server::bind); a listener that is handed over keeps
    /// what it has. Default 4096.
    pub backlog: u32,
    /// Accepted sockets have the TCP options above from their listener.
    pub(crate) inherited: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config: Arc::default(),
            seed: None,
            connect_within: Duration::from_secs(10),
            send_within: Duration::from_secs(30),
            no_delay: true,
            tcp_keepalive: Some(Duration::from_secs(30)),
            tcp_user_timeout: Some(Duration::from_secs(30)),
            backlog: 4096,
            inherited: false,
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets limits, time-outs and close order.
    #[must_use]
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// Sets the seed, to repeat a run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the one deadline over resolving, connecting and opening.
    #[must_use]
    pub fn connect_within(mut self, wait: Duration) -> Self {
        self.connect_within = wait;
        self
    }

    /// Sets how long `send` waits for room.
    #[must_use]
    pub fn send_within(mut self, wait: Duration) -> Self {
        self.send_within = wait;
        self
    }

    /// Switches TCP_NODELAY.
    #[must_use]
    pub fn no_delay(mut self, on: bool) -> Self {
        self.no_delay = on;
        self
    }

    /// Sets the kernel's keepalive.
    #[must_use]
    pub fn tcp_keepalive(mut self, after: Option<Duration>) -> Self {
        self.tcp_keepalive = after;
        self
    }

    /// Sets the kernel's patience with unacknowledged bytes.
    #[must_use]
    pub fn tcp_user_timeout(mut self, wait: Option<Duration>) -> Self {
        self.tcp_user_timeout = wait;
        self
    }

    /// Sets how many connections may wait at a server's door.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    pub(crate) fn session_seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            // The hasher's keys are the standard library's only source of entropy.
            use std::hash::{BuildHasher, Hasher};
            std::collections::hash_map::RandomState::new().build_hasher().finish()
        })
    }
}

/// A transport that can be dialled at addresses of the type `A`.
pub trait Dial<A>: Transport + Sized {
    /// The clock of the same runtime.
    type Clock: Timekeeper + Clone;

    /// What dialling is called when it takes too long.
    const DOING: &'static str = "connecting";

    /// A clock for a new connection.
    fn clock() -> Self::Clock;

    /// Resolves, connects and sets the socket's options. The caller bounds it in time by dropping it.
    fn dial(address: A, options: &Options) -> impl Future<Output = Result<Self, TransportFault>>;
}

/// A transport that can take over a connected stream of the type `S`.
pub trait Adopt<S>: Transport + Sized {
    /// The clock of the same runtime.
    type Clock: Timekeeper + Clone;

    /// A clock for a new connection.
    fn clock() -> Self::Clock;

    /// Takes the stream over and sets the socket's options.
    ///
    /// # Errors
    /// The socket refused an option.
    fn adopt(stream: S, options: &Options) -> std::io::Result<Self>;
}

impl<P: Protocol, T: Transport, K: Timekeeper + Clone> Connection<P, T, K> {
    /// Connects and waits until the protocol is established, all within [`Options::connect_within`].
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing of the connection is left.
    pub async fn connect<A>(address: A, protocol: P, options: Options) -> Result<Self, ConnectError<P::Violation>>
    where
        T: Dial<A, Clock = K>,
    {
        let opening = async { T::dial(address, &options).await.map_err(ConnectError::Transport) };
        Self::opened_by(T::clock(), opening, T::DOING, protocol, &options).await
    }

    /// As [`connect`](Self::connect), where `opening` makes the transport; `doing` is what that is called when it takes too
    /// long.
    pub(crate) async fn opened_by(
        clock: K,
        opening: impl Future<Output = Result<T, ConnectError<P::Violation>>>,
        doing: &'static str,
        protocol: P,
        options: &Options,
    ) -> Result<Self, ConnectError<P::Violation>> {
        let start = clock.now();
        let deadline = start.after(options.connect_within);
        let timed_out = |doing| ConnectError::TimedOut { after: options.connect_within, doing };
        let seed = options.session_seed();
        let mut session = Session::connecting(protocol, Arc::clone(&options.config), seed, start)?;
        let opened = within(clock.clone(), deadline, opening).await;
        let transport = opened.ok_or_else(|| timed_out(doing))??;
        session.connected(clock.now());
        let driver = Driver::new(session, transport, clock.clone());
        let mut connection = Self::from_driver(driver, options.send_within);
        match within(clock, deadline, connection.establish()).await {
            Some(established) => established.map(|()| connection),
            None => {
                connection.abort(Code(0));
                Err(timed_out("opening the protocol"))
            }
        }
    }

    /// Takes over a stream that is connected, as a server or a client. The protocol's opening goes on as the
    /// connection is used, within the handshake time-out.
    ///
    /// # Errors
    /// The limits cannot work, or the socket refused an option.
    pub fn accept<S>(stream: S, protocol: P, options: &Options) -> Result<Self, ConnectError<P::Violation>>
    where
        T: Adopt<S, Clock = K>,
    {
        let clock = T::clock();
        let transport = T::adopt(stream, options).map_err(ConnectError::Socket)?;
        let config = Arc::clone(&options.config);
        let session = Session::connecting(protocol, config, options.session_seed(), clock.now())?;
        let mut connection = Self::from_driver(Driver::new(session, transport, clock), options.send_within);
        connection.open.connected();
        Ok(connection)
    }

    /// Drives until the protocol is established. Messages that come before are kept for `next_event`.
    async fn establish(&mut self) -> Result<(), ConnectError<P::Violation>> {
        let limit = self.driver().session().config().limits.events;
        while !self.driver().session().is_established() {
            let event = poll_fn(|cx| {
                if let Some(event) = self.driver_mut().next_ready() {
                    return Poll::Ready(Some(event));
                }
                self.driver_mut().poll_progress(cx).map(|()| None)
            });
            match event.await {
                Some(Event::Closed(closed)) => return Err(ConnectError::Closed(closed)),
                Some(event) if self.open.early() < limit => self.open.push_early(event),
                Some(_) => return Err(ConnectError::TooManyEarlyEvents { limit }),
                None => {}
            }
        }
        Ok(())
    }
}

/// The future's output, or `None` once the deadline passed.
pub(crate) async fn within<K: Timekeeper, F: Future>(mut clock: K, deadline: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        clock.poll_until(cx, deadline).map(|()| None)
    })
    .await
}
