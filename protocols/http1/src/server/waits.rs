//! The server's deadlines, one for each phase, none moved by a single byte.

use duologue_core::{Cx, Fault, Step, TimerSet};

use super::{Reading, Server, ServerEvent};
use crate::error::Violation;
use crate::timer::Timer;
use crate::wire::Pace;

impl Server {
    /// Nothing is asked: the next request is waited for.
    pub(super) fn await_request(&mut self, cx: &mut Cx<'_, Self>) {
        let waits = &self.settings.waits;
        let begun = self.head_has_begun();
        let (timer, wait) =
            if begun || self.requests == 0 { (Timer::Head, waits.head) } else { (Timer::Idle, waits.idle) };
        if let Some(wait) = wait {
            cx.timers.set(timer, cx.after(wait));
        }
    }

    /// A part of a head is here. While earlier requests wait for their answers the client may take its time.
    pub(super) fn head_began(&mut self, cx: &mut Cx<'_, Self>) {
        if self.exchanges.is_empty() && cx.timers.get(Timer::Head).is_none() {
            cx.timers.clear(Timer::Idle);
            if let Some(wait) = self.settings.waits.head {
                cx.timers.set(Timer::Head, cx.after(wait));
            }
        }
    }

    pub(super) fn head_ended(&mut self, cx: &mut Cx<'_, Self>) {
        cx.timers.clear(Timer::Head);
        cx.timers.clear(Timer::Idle);
    }

    /// Arms the deadline of the content; after an early answer there is another one, and the earlier counts.
    pub(super) fn arm_body(&mut self, cx: &mut Cx<'_, Self>, received: u64) {
        let waits = &self.settings.waits;
        if self.answered_at.is_some() {
            return;
        }
        match self.pace.and_then(|pace| pace.deadline(waits, received)) {
            Some(at) => cx.timers.set(Timer::Body, at),
            None => cx.timers.clear(Timer::Body),
        }
    }

    /// The answer is complete, the request is not: what is left of it has a little time.
    pub(super) fn await_leftover(&mut self, cx: &mut Cx<'_, Self>, received: u64) {
        self.answered_at = Some(received);
        if let Some(wait) = self.settings.waits.drain {
            let at = cx.after(wait);
            let at = cx.timers.get(Timer::Body).map_or(at, |earlier| earlier.min(at));
            cx.timers.set(Timer::Body, at);
        }
    }

    /// The front request is complete, or waits for our 100 (Continue): the application is asked for its answer.
    pub(super) fn await_response(&mut self, cx: &mut Cx<'_, Self>) {
        let Some(front) = self.exchanges.front() else { return };
        let complete = self.exchanges.len() > 1 || !matches!(self.reading, Reading::Body(_));
        if self.answer.is_none() && (complete || front.expects) && cx.timers.get(Timer::Answer).is_none() {
            if let Some(wait) = self.settings.waits.response {
                cx.timers.set(Timer::Answer, cx.after(wait));
            }
        }
    }

    /// The application took what was decoded last: the peer's time goes on, from now if it was over meanwhile.
    #[inline]
    pub(super) fn taken(&mut self, cx: &mut Cx<'_, Self>) {
        self.untaken = false;
        if self.overdue {
            self.overdue = false;
            match self.reading {
                Reading::Body(body) => {
                    self.pace = self.pace.map(|_| Pace::new(cx.now, body.received()));
                    self.arm_body(cx, body.received());
                    if self.answered_at.is_some() {
                        self.await_leftover(cx, body.received());
                    }
                }
                Reading::Head if self.exchanges.is_empty() => self.await_request(cx),
                _ => {}
            }
        }
    }

    pub(super) fn timed_out(
        &mut self,
        cx: &mut Cx<'_, Self>,
        timer: Timer,
    ) -> Result<Step<ServerEvent>, Fault<Violation>> {
        if timer != Timer::Answer && self.untaken {
            // What the peer sent may lie undecoded behind the event that nobody takes.
            self.overdue = true;
            return Ok(Step::Progress);
        }
        if timer == Timer::Body && self.answered_at.is_some() {
            self.end_now(cx);
            return Ok(Step::Progress);
        }
        Err(Fault::Timeout(timer.reason()))
    }
}
