//! tokio's clock and timer as a timekeeper.

use std::future::Future;
use std::pin::{Pin, pin};
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
    #[inline]
    fn now(&self) -> Instant {
        let origin = origin();
        Instant::from_origin(TokioInstant::now().saturating_duration_since(origin))
    }

    #[inline]
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if let (Some(sleep), Some((until, waker))) = (&self.sleep, &self.waits) {
            // It will wake the same task at the same time: nothing is to be said anew.
            if *until == at && waker.will_wake(cx.waker()) && !sleep.is_elapsed() {
                return Poll::Pending;
            }
        }
        self.set(cx, at)
    }
}

impl Clock {
    /// Sets the timer, and whom it wakes.
    fn set(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        // What tokio cannot express is too far away to matter.
        let Some(deadline) = origin().checked_add(at.since(Instant::ORIGIN)) else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        // Out of budget a timer says `Pending` and has registered nothing.
        let polled = pin!(tokio::task::unconstrained(sleep.as_mut())).poll(cx);
        self.waits = polled.is_pending().then(|| (at, cx.waker().clone()));
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    /// tokio lets a task do so much and then answers `Pending` for everything, timers too, until the task was polled
    /// anew: such an answer has registered nothing.
    #[tokio::test]
    async fn a_time_that_was_asked_for_without_budget_comes_all_the_same() {
        let mut clock = Clock::new();
        let at = clock.now().after(Duration::from_millis(20));
        let mut first = true;
        let comes = poll_fn(|cx| {
            if std::mem::take(&mut first) {
                while tokio::task::coop::has_budget_remaining() {
                    let _ = pin!(tokio::task::coop::consume_budget()).poll(cx);
                }
                assert!(clock.poll_until(cx, at).is_pending());
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            clock.poll_until(cx, at)
        });
        assert!(tokio::time::timeout(Duration::from_secs(5), comes).await.is_ok(), "the timer was never set");
    }
}
