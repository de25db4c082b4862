//! Futures polled by hand, and whether their tasks were woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A waker that counts its wakes.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future and the bell of its task, polled by hand.
pub(crate) struct Task<'a, X> {
    future: Pin<Box<dyn Future<Output = X> + 'a>>,
    bell: Arc<Bell>,
}

impl<'a, X> Task<'a, X> {
    pub(crate) fn new(future: impl Future<Output = X> + 'a) -> Self {
        Self { future: Box::pin(future), bell: Arc::default() }
    }

    pub(crate) fn poll(&mut self) -> Option<X> {
        self.bell.0.store(0, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.bell));
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    pub(crate) fn rang(&self) -> bool {
        self.bell.0.load(Ordering::SeqCst) > 0
    }
}
