//! A handler as a task that can be stopped, and whose panic is its own.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::seats::{Known, Place, Seats};

/// Runs a handler until it ends, panics or is stopped. What it held is dropped then.
pub(super) struct Task<F> {
    handler: Option<Pin<Box<F>>>,
    place: Arc<Place>,
    known: Known,
    seats: Arc<Seats>,
}

impl<F: Future<Output = ()>> Task<F> {
    pub(super) fn new(place: Arc<Place>, seats: Arc<Seats>, handler: F) -> Self {
        seats.task_began(&place);
        Self { handler: Some(Box::pin(handler)), place, known: Known::default(), seats }
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.place.poll_stop(cx, &mut this.known).is_pending() {
            let Some(handler) = &mut this.handler else { return Poll::Ready(()) };
            // The panic hook has told of a panic; the handler is dropped below, as after any end.
            match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {}
                Err(_) => self.seats.panicked(),
            }
        }
        self.handler = None;
        Poll::Ready(())
    }
}

impl<F> Drop for Task<F> {
    fn drop(&mut self) {
        // The connection ends before the server hears that its task did.
        self.handler = None;
        self.seats.task_ended(&self.place);
    }
}
