//! The suite of bRPC handles on tokio.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

/// The adapter under test.
mod adapter {
    pub(crate) use duologue_tokio::brpc::{BrpcClient, BrpcServer, BrpcServerHandle, BrpcStream, Exchange, Router};
    pub(crate) use duologue_tokio::{Connection, Options};

    pub(crate) const NAME: &str = "tokio";

    fn runtime() -> &'static tokio::runtime::Runtime {
        static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
        RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap())
    }

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        runtime().block_on(future)
    }

    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(work));
    }
}

mod brpc;
