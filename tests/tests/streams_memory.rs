//! The suite of stream handles over a pipe in memory, so narrow that frames are cut anywhere.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

/// The handles themselves, without a runtime's transport; tasks run on smol.
mod adapter {
    use duologue_async::{Connection, Pipe, pipe};
    use duologue_core::driver::{Driver, Timekeeper};
    use duologue_core::{Config, Session};
    use duologue_smol::Clock;
    use duologue_yamux::Yamux;

    pub(crate) type Mux<P> = duologue_async::streams::Mux<P, Pipe, Clock>;
    pub(crate) type MuxTask<P> = duologue_async::streams::MuxTask<P, Pipe, Clock>;
    pub(crate) type MuxStream<P> = duologue_async::streams::MuxStream<P, Pipe, Clock>;

    pub(crate) const NAME: &str = "memory";

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }

    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(work).detach();
    }

    /// Two sides of one pipe.
    pub(crate) fn pair(client: Yamux, server: Yamux) -> [(Mux<Yamux>, MuxTask<Yamux>); 2] {
        let (near, far) = pipe(1021);
        [(near, client), (far, server)].map(|(pipe, protocol)| {
            let clock = Clock::new();
            let session = Session::new(protocol, Config::new(), 1, clock.now()).unwrap();
            let connection =
                Connection::from_driver(Driver::new(session, pipe, clock), std::time::Duration::from_secs(5));
            let options = duologue_async::streams::MuxOptions::new().dropped(crate::streams::DROPPED);
            Mux::new(connection, options)
        })
    }
}

mod streams;
