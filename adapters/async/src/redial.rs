//! What a runtime gives to clients that connect again and again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use duologue_core::Protocol;

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
