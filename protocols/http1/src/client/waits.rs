//! The client's deadlines.

use duologue_core::{Cx, Fault, Step, TimerSet};

use super::{Client, ClientEvent, Reading};
use crate::error::Violation;
use crate::timer::Timer;
use crate::wire::Pace;

impl Client {
    pub(super) fn await_response(&mut self, cx: &mut Cx<'_, Self>) {
        if let Some(wait) = self.settings.waits.response {
            cx.timers.set(Timer::Response, cx.after(wait));
        }
    }

    pub(super) fn await_continue(&mut self, cx: &mut Cx<'_, Self>) {
        if let Some(wait) = self.settings.waits.expect {
            cx.timers.set(Timer::Expect, cx.after(wait));
        }
    }

    pub(super) fn arm_body(&mut self, cx: &mut Cx<'_, Self>, received: u64) {
        match self.pace.and_then(|pace| pace.deadline(&self.settings.waits, received)) {
            Some(at) => cx.timers.set(Timer::Body, at),
            None => cx.timers.clear(Timer::Body),
        }
    }

    /// The application took what was decoded last: the peer's time goes on, from now if it was over meanwhile.
    #[inline]
    pub(super) fn taken(&mut self, cx: &mut Cx<'_, Self>) {
        if self.overdue {
            self.overdue = false;
            match self.reading {
                Reading::Body(body) => {
                    self.pace = Some(Pace::new(cx.now, body.received()));
                    self.arm_body(cx, body.received());
                }
                Reading::Head if self.exchange.is_some() && self.sending.is_none() => self.await_response(cx),
                _ => {}
            }
        }
    }

    pub(super) fn timed_out(
        &mut self,
        _cx: &mut Cx<'_, Self>,
        timer: Timer,
    ) -> Result<Step<ClientEvent>, Fault<Violation>> {
        if timer == Timer::Expect {
            if let Some(exchange) = &mut self.exchange {
                exchange.expects = false;
            }
            return Ok(Step::Event(ClientEvent::ContinueOverdue));
        }
        if self.untaken {
            // What the server sent may lie undecoded behind the event that nobody takes.
            self.overdue = true;
            return Ok(Step::Progress);
        }
        Err(Fault::Timeout(timer.reason()))
    }
}
