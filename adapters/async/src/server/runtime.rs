//! What a server needs of a runtime.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use duologue_core::driver::Timekeeper;

use crate::{Adopt, Options};

/// A runtime that connections can be served on.
pub trait Runtime: Sized + 'static {
    /// A listening socket.
    type Listener;
    /// A connected socket, as the listener hands it out.
    type Stream;
    /// The transport over it.
    type Transport: Adopt<Self::Stream, Clock = Self::Clock>;
    /// The clock; all clocks of a process must have one origin.
    type Clock: Timekeeper + Clone + Send + 'static;

    /// A clock for a new wait.
    #[must_use]
    fn clock() -> Self::Clock;

    /// Waits for a connection. It may be dropped while it waits.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// The address that is listened on.
    ///
    /// # Errors
    /// The system does not tell.
    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr>;

    /// Lets `backlog` connections wait on a listener that was just bound. By default it keeps the number that it has.
    ///
    /// # Errors
    /// The system refused it.
    fn set_backlog(listener: &Self::Listener, backlog: u32) -> io::Result<()> {
        let _ = (listener, backlog);
        Ok(())
    }

    /// Sets what `options` says about TCP on the listener, and tells whether accepted sockets may take it over from there.
    /// False, the default: it is set on each.
    fn prepare(listener: &Self::Listener, options: &Options) -> bool {
        let _ = (listener, options);
        false
    }

    /// Whether an accepted socket has taken over what `options` says about TCP.
    fn is_prepared(stream: &Self::Stream, options: &Options) -> bool {
        let _ = (stream, options);
        false
    }

    /// Closes a connection at once, with a reset.
    fn reset(stream: Self::Stream);

    /// Runs a future to its end beside the caller.
    ///
    /// # Errors
    /// There is nothing to run it on; it was dropped.
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()>;
}

/// A runtime that can listen on addresses of the type `A`.
pub trait Bind<A>: Runtime {
    /// Listens on `address`.
    fn bind(address: A) -> impl Future<Output = io::Result<Self::Listener>>;
}
