//! The behaviour suite on smol.

#[macro_use]
#[path = "behaviour/with_await.rs"]
mod flavour;

/// The adapter under test.
mod adapter {
    pub(crate) use duologue_smol::*;

    pub(crate) const NAME: &str = "smol";

    #[cfg(unix)]
    pub(crate) type Unix = smol::net::unix::UnixStream;

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }

    pub(crate) fn tcp(stream: std::net::TcpStream) -> smol::net::TcpStream {
        stream.try_into().expect("registered")
    }
}

mod behaviour;
