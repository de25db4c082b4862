//! The suite of bRPC handles on async-std.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

/// The adapter under test.
mod adapter {
    pub(crate) use duologue_async_std::brpc::{BrpcClient, BrpcServer, BrpcServerHandle, BrpcStream, Exchange, Router};
    pub(crate) use duologue_async_std::{Connection, Options};

    pub(crate) const NAME: &str = "async-std";

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        async_std::task::block_on(future)
    }

    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
        drop(async_std::task::spawn(work));
    }
}

mod brpc;
