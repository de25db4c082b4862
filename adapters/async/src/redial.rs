//! What a runtime gives to clients that connect again and again.

use std::future::Future;
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

/// A connection over a carrier.
pub type ConnectionOver<P, C> = Connection<P, <C as Carrier>::Transport, <C as Carrier>::Clock>;

/// A connection over a carrier, in the making.
pub type Dialling<P, C> = Pin<
    Box<dyn Future<Output = Result<ConnectionOver<P, C>, ConnectError<<P as Protocol>::Violation>>> + Send + 'static>,
>;
