//! tokio's clock and timer as a timekeeper.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use duologue_core::Instant;
use duologue_core::driver::Timekeeper;
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

/// tokio's monotonic clock. All clocks of a process share one origin, so their instants can be compared. It follows
/// `tokio::time::pause`.
#[derive(Debug, Default)]
pub struct Clock {
    /// Made when first needed, then moved: one allocation per connection.
    sleep: Option<Pin<Box<Sleep>>>,
    /// What it waits for, and whom it wakes.
    waits: Option<(Instant, Waker)>,
}

impl Clock {
    /// A clock with a timer of its own.
    #[must_use]
    pub const fn new() -> Self {
        Self { sleep: None, waits: None }
    }
}

impl Clone for Clock {
    fn clone(&self) -> Self {
        Self::new()
    }
}

fn origin() -> TokioInstant {
    static ORIGIN: OnceLock<TokioInstant> = OnceLock::new();
    *ORIGIN.get_or_init(TokioInstant::now)
}

impl Timekeeper for Clock {
    fn now(&self) -> Instant {
        let origin = origin();
        Instant::from_origin(TokioInstant::now().saturating_duration_since(origin))
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if let (Some(sleep), Some((until, waker))) = (&self.sleep, &self.waits) {
            // It will wake the same task at the same time: nothing is to be said anew.
            if *until == at && waker.will_wake(cx.waker()) && !sleep.is_elapsed() {
                return Poll::Pending;
            }
        }
        // What tokio cannot express is too far away to matter.
        let Some(deadline) = origin().checked_add(at.since(Instant::ORIGIN)) else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        let polled = sleep.as_mut().poll(cx);
        self.waits = polled.is_pending().then(|| (at, cx.waker().clone()));
        polled
    }
}
