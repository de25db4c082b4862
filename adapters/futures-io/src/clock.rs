//! async-io's timer as a timekeeper: for async-std, smol and plain threads alike.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use async_io::Timer;
use duologue_core::Instant;
use duologue_core::driver::Timekeeper;

/// The system's monotonic clock with a timer of async-io. All clocks of a process share one origin, so their instants
/// can be compared.
#[derive(Debug, Default)]
pub struct Clock {
    /// Made when first needed, then moved; and the instant it is set to, until it fires.
    timer: Option<(Timer, Option<StdInstant>)>,
}

impl Clock {
    /// A clock with a timer of its own.
    #[must_use]
    pub const fn new() -> Self {
        Self { timer: None }
    }
}

impl Clone for Clock {
    fn clone(&self) -> Self {
        Self::new()
    }
}

fn origin() -> StdInstant {
    static ORIGIN: OnceLock<StdInstant> = OnceLock::new();
    *ORIGIN.get_or_init(StdInstant::now)
}

impl Timekeeper for Clock {
    fn now(&self) -> Instant {
        let origin = origin();
        Instant::from_origin(StdInstant::now().saturating_duration_since(origin))
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        // What the system cannot express is too far away to matter.
        let Some(deadline) = origin().checked_add(at.since(Instant::ORIGIN)) else { return Poll::Pending };
        let (timer, set_to) = self.timer.get_or_insert_with(|| (Timer::at(deadline), Some(deadline)));
        if *set_to != Some(deadline) {
            timer.set_at(deadline);
            *set_to = Some(deadline);
        }
        let fired = Pin::new(timer).poll(cx).map(drop);
        if fired.is_ready() {
            *set_to = None;
        }
        fired
    }
}
