//! Waits that end, on any runtime.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use duologue_async::Carrier;
use duologue_core::driver::Timekeeper;

use crate::sockets::STEP;

/// Waits for a step of a test, within [`STEP`] by the clock of the runtime.
///
/// # Panics
/// It takes longer.
pub async fn step<R: Carrier, F: Future>(what: &str, future: F) -> F::Output {
    let mut clock = R::clock();
    let until = clock.now().after(STEP);
    let mut future = pin!(future);
    let in_time = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => clock.poll_until(cx, until).map(|()| None),
    });
    in_time.await.unwrap_or_else(|| panic!("{what} takes too long"))
}

/// Lets time pass.
pub async fn pause<R: Carrier>(time: Duration) {
    let mut clock = R::clock();
    let until = clock.now().after(time);
    poll_fn(|cx| clock.poll_until(cx, until)).await;
}

/// Runs a test on tokio.
///
/// # Panics
/// There is no runtime to be had.
pub fn on_tokio(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}
