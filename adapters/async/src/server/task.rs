//! A handler as a task that can be stopped, and whose panic is its own.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::seats::{Handling, Known};

/// Runs a handler until it ends, panics or is stopped. What it held is dropped then.
pub(super) struct Task<F> {
    // Before its place, so that the connection ends before the server hears that its task did.
    handler: Option<Pin<Box<F>>>,
    handling: Handling,
    known: Known,
}

impl<F: Future<Output = ()>> Task<F> {
    pub(super) fn new(handling: Handling, handler: F) -> Self {
        Self { handler: Some(Box::pin(handler)), handling, known: Known::default() }
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let place = &this.handling.place;
        if !place.is_stopped() {
            let Some(handler) = &mut this.handler else { return Poll::Ready(()) };
            // The panic hook has told of a panic; the handler is dropped below, as after any end.
            match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
                // Only who waits needs to be woken. Stopped meanwhile, it is told so now.
                Ok(Poll::Pending) if place.poll_stop(cx, &mut this.known).is_pending() => return Poll::Pending,
                Ok(_) => {}
                Err(_) => this.handling.seats.panicked(),
            }
        }
        self.handler = None;
        Poll::Ready(())
    }
}
