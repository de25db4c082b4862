//! The behaviour suite on tokio.

#[macro_use]
#[path = "behaviour/with_await.rs"]
mod flavour;

/// The adapter under test.
mod adapter {
    pub(crate) use duologue_tokio::*;

    pub(crate) const NAME: &str = "tokio";

    #[cfg(unix)]
    pub(crate) type Unix = tokio::net::UnixStream;

    fn runtime() -> &'static tokio::runtime::Runtime {
        static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
        RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"))
    }

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        runtime().block_on(future)
    }

    pub(crate) fn tcp(stream: std::net::TcpStream) -> tokio::net::TcpStream {
        stream.set_nonblocking(true).expect("non-blocking");
        tokio::net::TcpStream::from_std(stream).expect("registered")
    }
}

mod behaviour;
