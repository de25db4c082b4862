//! The client's deadlines.

use duologue_core::{Cx, Fault, Instant, Step, TimeoutReason, TimerSet};

use super::{Client, ClientEvent, Reading};
use crate::error::Violation;
use crate::wire::Pace;

/// The client's timers. A server that does not answer ends the session with
/// [`TimeoutReason::Request`]; the others are `response-body` and `expect-continue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTimer {
    /// The response's head, from the end of the request.
    Response,
    /// The response's content, from its head.
    Body,
    /// 100 (Continue); it ends nothing.
    Expect,
}

impl TimerSet for ClientTimer {
    type Slots = [Option<Instant>; 3];
    const ALL: &'static [Self] = &[Self::Response, Self::Body, Self::Expect];

    fn index(self) -> usize {
        self as usize
    }

    fn reason(self) -> TimeoutReason {
        match self {
            Self::Response => TimeoutReason::Request,
            Self::Body => TimeoutReason::Protocol("response-body"),
            Self::Expect => TimeoutReason::Protocol("expect-continue"),
        }
    }
}

impl Client {
    pub(super) fn await_response(&mut self, cx: &mut Cx<'_, Self>) {
        if let Some(wait) = self.settings.waits.response {
            cx.timers.set(ClientTimer::Response, cx.after(wait));
        }
    }

    pub(super) fn await_continue(&mut self, cx: &mut Cx<'_, Self>) {
        if let Some(wait) = self.settings.waits.expect {
            cx.timers.set(ClientTimer::Expect, cx.after(wait));
        }
    }

    pub(super) fn arm_body(&mut self, cx: &mut Cx<'_, Self>, received: u64) {
        match self.pace.and_then(|pace| pace.deadline(&self.settings.waits, received)) {
            Some(at) => cx.timers.set(ClientTimer::Body, at),
            None => cx.timers.clear(ClientTimer::Body),
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
        timer: ClientTimer,
    ) -> Result<Step<ClientEvent>, Fault<Violation>> {
        if timer == ClientTimer::Expect {
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
