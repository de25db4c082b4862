//! How the loop is told not to sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Duration;

/// Set by every wake-up, from any thread, also while the loop is busy: the next nap is then no nap.
#[derive(Debug)]
pub struct Flag {
    woken: AtomicBool,
    thread: Thread,
}

impl Flag {
    /// A flag for the loop of this thread.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(false), thread: thread::current() })
    }

    /// Sleeps for at most `longest`, and not at all if there was a wake-up since the last nap.
    pub fn nap(&self, longest: Duration) {
        if !self.woken.swap(false, Ordering::Acquire) {
            thread::park_timeout(longest);
        }
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
