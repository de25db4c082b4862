//! What a runtime gives to clients that connect again and again.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use duologue_core::Protocol;
use duologue_core::driver::{Timekeeper, Transport};

use crate::error::ConnectError;
use crate::server::Runtime;
use crate::{Connection, Options};

/// A protocol whose sessions may move between threads, with all that they say.
pub trait SendProtocol:
    Protocol<
        Event: Send + 'static,
        Command: Send + 'static,
        Violation: Send + Sync + 'static,
        Timer: duologue_core::TimerSet<Slots: Send> + Send + 'static,
    > + Send
    + 'static
{
}

impl<P> SendProtocol for P where
    P: Protocol<
            Event: Send + 'static,
            Command: Send + 'static,
            Violation: Send + Sync + 'static,
            Timer: duologue_core::TimerSet<Slots: Send> + Send + 'static,
        > + Send
        + 'static
{
}

/// A connection of a runtime.
pub type ConnectionOn<P, R> = Connection<P, <R as Runtime>::Transport, <R as Runtime>::Clock>;

/// A connection in the making.
pub type Connecting<P, R> = Pin<
    Box<dyn Future<Output = Result<ConnectionOn<P, R>, ConnectError<<P as Protocol>::Violation>>> + Send + 'static>,
>;

/// A runtime whose TCP connections can be dialled again and again, at `host:port`.
pub trait Redial: Runtime<Transport: Send, Clock: Send> {
    /// Dials as [`Connection::connect`] does.
    fn connect<P: SendProtocol>(address: Arc<str>, protocol: P, options: Options) -> Connecting<P, Self>;

    /// Nothing waits to be read, neither bytes nor a FIN nor an error: what the kernel knows this moment. A connection
    /// that was unused and is not quiet must not be used again.
    fn is_quiet(transport: &Self::Transport) -> bool;
}

/// What the connections of a client that connects again are made of. Every [`Redial`] is one; adapters make one of their
/// transports over any stream, so that TLS and the like can be dialled again too.
pub trait Carrier: Sized + 'static {
    /// The transport of each connection.
    type Transport: Transport + Send;
    /// The clock; all clocks of a process must have one origin.
    type Clock: Timekeeper + Clone + Send;

    /// A clock for a new wait.
    #[must_use]
    fn clock() -> Self::Clock;
}

impl<R: Redial> Carrier for R {
    type Transport = <R as Runtime>::Transport;
    type Clock = <R as Runtime>::Clock;

    fn clock() -> Self::Clock {
        <R as Runtime>::clock()
    }
}

/// What the connections of a pool are made of. Every [`Redial`] is one.
pub trait PoolCarrier: Carrier {
    /// Runs the pool's task to its end beside the caller.
    ///
    /// # Errors
    /// There is nothing to run it on; it was dropped.
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()>;

    /// Nothing waits to be read that is of any concern to a protocol: see [`Redial::is_quiet`]. It is asked at the moment
    /// when a connection is given out, of one that was polled and is at rest; what it reads is gone, so that one that is
    /// not quiet must not be used again.
    fn is_quiet(transport: &mut Self::Transport) -> bool;
}

impl<R: Redial> PoolCarrier for R {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        <R as Runtime>::spawn(future)
    }

    #[inline]
    fn is_quiet(transport: &mut Self::Transport) -> bool {
        <R as Redial>::is_quiet(transport)
    }
}

/// A connection over a carrier.
pub type ConnectionOver<P, C> = Connection<P, <C as Carrier>::Transport, <C as Carrier>::Clock>;

/// A connection over a carrier, in the making.
pub type Dialling<P, C> = Pin<
    Box<dyn Future<Output = Result<ConnectionOver<P, C>, ConnectError<<P as Protocol>::Violation>>> + Send + 'static>,
>;
