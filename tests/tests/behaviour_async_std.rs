//! The behaviour suite on async-std.

#[macro_use]
#[path = "behaviour/with_await.rs"]
mod flavour;

/// The adapter under test.
mod adapter {
    pub(crate) use duologue_async_std::*;

    pub(crate) const NAME: &str = "async_std";

    #[cfg(unix)]
    pub(crate) type Unix = async_std::os::unix::net::UnixStream;

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        async_std::task::block_on(future)
    }

    pub(crate) fn tcp(stream: std::net::TcpStream) -> async_std::net::TcpStream {
        stream.into()
    }
}

mod behaviour;
