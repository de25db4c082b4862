//! What dropping means.

use std::ops::{Deref, DerefMut};
use std::task::{Context, Waker};

use duologue_core::driver::{Driver, Timekeeper, Transport};
use duologue_core::{CloseIntent, Code, Interest, Protocol};

/// A driver that ends its transport honestly when it is dropped.
///
/// Without a `close` there is nobody left to wait for a flush. What is queued is offered to the transport once. If all
/// of it was taken, the transport is closed normally; if not, it is reset, so that the peer never takes a cut
/// stream for a complete one.
#[derive(Debug)]
pub(crate) struct Open<P: Protocol, T: Transport, K: Timekeeper>(pub(crate) Driver<P, T, K>);

impl<P: Protocol, T: Transport, K: Timekeeper> Drop for Open<P, T, K> {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        if self.0.session().cause().is_none() {
            self.0.close(CloseIntent::Flush(Code(0)));
        }
        let _ = self.0.poll_flush(&mut cx);
        let Interest { event: _, read: _, write, shutdown_write, release: _, deadline: _ } =
            self.0.session().interest();
        let (_, send) = self.0.session().states();
        if write || shutdown_write || !send.is_over() {
            self.0.abort(Code(0));
            let _ = self.0.poll_flush(&mut cx);
        }
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Deref for Open<P, T, K> {
    type Target = Driver<P, T, K>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> DerefMut for Open<P, T, K> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
