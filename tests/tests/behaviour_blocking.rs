//! The behaviour suite on plain threads.

#[macro_use]
#[path = "behaviour/without_await.rs"]
mod flavour;

/// The adapter under test.
mod adapter {
    pub(crate) use duologue_blocking::*;

    pub(crate) const NAME: &str = "blocking";

    #[cfg(unix)]
    pub(crate) type Unix = Async<std::os::unix::net::UnixStream>;

    pub(crate) const fn tcp(stream: std::net::TcpStream) -> std::net::TcpStream {
        stream
    }
}

mod behaviour;

#[path = "behaviour/busy_handler.rs"]
mod busy_handler;
