//! The suite of bRPC handles on smol.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

/// The adapter under test.
mod adapter {
    pub(crate) use duologue_smol::brpc::{BrpcClient, BrpcServer, BrpcServerHandle, BrpcStream, Exchange, Router};
    pub(crate) use duologue_smol::{Connection, Options};

    pub(crate) const NAME: &str = "smol";

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }

    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(work).detach();
    }
}

mod brpc;
