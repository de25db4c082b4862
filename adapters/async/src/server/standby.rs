//! A deadline that is near while connections come.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duologue_core::driver::Timekeeper;

use super::Runtime;

/// How near: earlier than what connections usually wait for.
const NEAR: Duration = Duration::from_millis(500);

/// A runtime's timer must be woken, by a system call, for a deadline that is earlier than all it waits for: between two
/// connections that is every one. While connections come a task waits for a deadline in front of theirs. It has the
/// deadline to itself, so that accepting a connection asks no timer; nothing but time depends on it.
#[derive(Default)]
pub(super) struct Standby(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The task runs.
    waits: AtomicBool,
    /// A connection came since it looked.
    used: AtomicBool,
}

impl Standby {
    pub(super) fn accepted<R: Runtime>(&self) {
        self.0.used.store(true, Ordering::Relaxed);
        if !self.0.waits.load(Ordering::Relaxed) {
            self.0.waits.store(true, Ordering::Relaxed);
            let _ = R::spawn(stand_by(R::clock(), Arc::clone(&self.0)));
        }
    }
}

/// Waits as long as connections come: a server that is idle is not woken.
async fn stand_by<K: Timekeeper>(mut clock: K, shared: Arc<Shared>) {
    while shared.used.swap(false, Ordering::Relaxed) {
        let at = clock.now().after(NEAR);
        poll_fn(|cx| clock.poll_until(cx, at)).await;
    }
    shared.waits.store(false, Ordering::Relaxed);
}
