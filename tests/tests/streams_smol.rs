//! The suite of stream handles on smol.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

/// The adapter under test.
mod adapter {
    use std::net::TcpListener;

    pub(crate) use duologue_smol::streams::{Mux, MuxOptions, MuxStream, MuxTask};
    use duologue_smol::{Connection, Options};
    use duologue_yamux::Yamux;

    pub(crate) const NAME: &str = "smol";

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }

    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(work).detach();
    }

    /// Two sides of one TCP connection.
    pub(crate) fn pair(client: Yamux, server: Yamux) -> [(Mux<Yamux>, MuxTask<Yamux>); 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        [(dialled, client), (accepted, server)].map(|(socket, protocol)| {
            let connection = Connection::accept(tcp(socket), protocol, &Options::new()).unwrap();
            Mux::new(connection, MuxOptions::new().dropped(crate::streams::DROPPED))
        })
    }

    fn tcp(stream: std::net::TcpStream) -> smol::net::TcpStream {
        stream.try_into().unwrap()
    }
}

mod streams;
