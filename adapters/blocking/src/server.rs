//! A TCP server with one thread per connection: accepting, limiting, draining.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use duologue_async::{
    Bind, Connecting, Connection, Dial, DialTls, Opening, Redial, Runtime, SendProtocol, is_quiet, set_backlog,
};
use duologue_core::{CloseIntent, Closed, Code, Event, InPlace, Protocol, Replies, Session, TransportFault};
use duologue_futures_io::reset_on_drop;

use crate::connection::{methods, upgrade};
use crate::{Async, AtLimit, Clock, DrainReport, Options, SendError, ServerHandle, StreamTransport, TcpStream, wait};

/// Threads of the standard library in the place of a runtime. Nothing holds one.
#[derive(Clone, Copy, Debug)]
pub enum Threads {}

impl Runtime for Threads {
    type Listener = Async<TcpListener>;
    type Stream = std::net::TcpStream;
    type Transport = StreamTransport<TcpStream>;
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(std::net::TcpStream, SocketAddr)> {
        listener.read_with(TcpListener::accept).await
    }

    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr> {
        listener.get_ref().local_addr()
    }

    fn set_backlog(listener: &Self::Listener, backlog: u32) -> io::Result<()> {
        set_backlog(listener.get_ref(), backlog)
    }

    fn reset(stream: std::net::TcpStream) {
        reset_on_drop(&stream);
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        thread::Builder::new().name("duologue".into()).spawn(move || wait(future)).map(drop)
    }
}

impl Redial for Threads {
    fn connect<P: SendProtocol>(address: Arc<str>, protocol: P, options: Options) -> Connecting<P, Self> {
        Box::pin(async move { Connection::connect(address.to_string(), protocol, options).await })
    }

    fn is_quiet(transport: &Self::Transport) -> bool {
        transport.stream().is_some_and(is_quiet)
    }
}

impl DialTls for Threads {
    #[cfg(feature = "rustls")]
    type Tls = duologue_futures_io::Rustls;
    #[cfg(not(feature = "rustls"))]
    type Tls = duologue_async::NoTls;

    fn dial(address: String, options: Options) -> Opening<Self::Transport, TransportFault> {
        Box::pin(async move { <Self::Transport as Dial<String>>::dial(address, &options).await })
    }
}

impl<A: ToSocketAddrs> Bind<A> for Threads {
    async fn bind(address: A) -> io::Result<Self::Listener> {
        Async::new(TcpListener::bind(address)?)
    }
}

/// A listening server. It does nothing until [`serve`](Self::serve) is called.
pub struct Server {
    inner: duologue_async::Server<Threads>,
}

impl Server {
    /// Listens on `address`. Connections are made with `options`.
    ///
    /// # Errors
    /// The address cannot be resolved or bound.
    pub fn bind(address: impl ToSocketAddrs, options: Options) -> io::Result<Self> {
        wait(duologue_async::Server::bind(address, options)).map(|inner| Self { inner })
    }

    /// Serves on a listener made elsewhere: inherited, or with socket options of its own.
    #[must_use]
    pub fn from_listener(listener: Async<TcpListener>, options: Options) -> Self {
        Self { inner: duologue_async::Server::from_listener(listener, options) }
    }

    /// Serves at most `limit` connections at a time.
    #[must_use]
    pub fn limit(self, limit: usize, at_limit: AtLimit) -> Self {
        Self { inner: self.inner.limit(limit, at_limit) }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The way to drain it and to look at it while it serves.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.inner.handle()
    }

    /// Accepts until it is drained, and runs `handler` on a thread of its own for each connection. A handler that
    /// returns before its connection is closed drops it, see [`Connection`](crate::Connection). A panic in a handler
    /// ends its connection only.
    ///
    /// A thread cannot be stopped from outside. At the deadline of a drain a handler that waits for an event gets the
    /// end of its reset connection; one that is busy elsewhere is left alone, and its connection is reset once it
    /// waits for an event or drops it.
    pub fn serve<P, M, H>(self, make_protocol: M, handler: H) -> DrainReport
    where
        P: Protocol + 'static,
        M: Fn(SocketAddr) -> P,
        H: Fn(Served<P>) + Send + Sync + 'static,
        duologue_async::Served<P, Threads>: Send,
    {
        let handler = Arc::new(handler);
        wait(self.inner.serve(make_protocol, move |inner| {
            let handler = Arc::clone(&handler);
            async move { handler(Served { inner }) }
        }))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A [`Connection`](crate::Connection) from a [`Server`]. It hears when the server drains or needs its seat: the
/// protocol's goodbye is then said by itself, and events go on up to `Closed`.
pub struct Served<P: Protocol> {
    inner: duologue_async::Served<P, Threads>,
}

impl<P: Protocol> Served<P> {
    /// Who connected.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.inner.peer_addr()
    }

    /// The server drains: answer what is asked, start nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.is_draining()
    }

    methods!(TcpStream);
    upgrade!(Served);
}

impl<P: Protocol> fmt::Debug for Served<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
