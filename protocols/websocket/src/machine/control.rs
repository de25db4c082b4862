//! Control frames: pings and their answers, Close in both directions.

use alloc::boxed::Box;

use duologue_core::{Cause, CloseStep, Code, Cx, Instant, RecvBuf, Step, TimeoutReason};

use super::{Found, Opening, WebSocket, What};
use crate::error::Violation;
use crate::message::Role;
use crate::wire::{
    self, CLOSE, CloseCode, FIN, HeaderBytes, MAX_CONTROL, MAX_HEADER, PING, PONG, close_body, parse_close,
};

/// The most bytes of a control frame.
const MOST: usize = MAX_HEADER + MAX_CONTROL;

/// What is remembered about control frames.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// The ping that is still to be answered: only the newest (RFC 6455 section 5.5.3).
    owed: Option<Box<[u8]>>,
    window: Option<Instant>,
    count: u32,
}

impl Control {
    pub(super) const fn owes(&self) -> bool {
        self.owed.is_some()
    }
}

impl WebSocket {
    /// A whole control frame lies at the front, its header consumed and its payload unmasked.
    #[cold]
    pub(super) fn take_control(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
        opcode: u8,
        len: usize,
    ) -> Result<Step<Found>, Violation> {
        let body = rx.get(..len).unwrap_or_default();
        if opcode == CLOSE {
            let close = parse_close(body)?;
            rx.advance(len);
            self.close_received = Some(Box::new(close.clone()));
            // The application hears of it first, so that it can still answer the messages before it.
            self.closing = true;
            return Ok(Step::Event(Found::Close(close)));
        }
        self.count_control(cx.now)?;
        if opcode == PING && !self.close_sent {
            self.control.owed = Some(Box::from(body));
            self.answer_owed(cx);
        }
        if !self.settings.get().control_events {
            rx.advance(len);
            return Ok(Step::Progress);
        }
        Ok(Step::Event(Found::Front { what: if opcode == PING { What::Ping } else { What::Pong }, len }))
    }

    /// The peer said Close, and whoever wanted to answer what came before did: now it is answered, with its own code
    /// (RFC 6455 section 5.5.1), or without one where there was none.
    pub(super) fn end_of_conversation(&mut self, cx: &mut Cx<'_, Self>) -> Step<Found> {
        let code = self.close_code();
        self.write_close(cx, code, "");
        Step::Close(Code(u32::from(code.0)))
    }

    fn count_control(&mut self, now: Instant) -> Result<(), Violation> {
        let (limit, window) = (self.limits().control_frames, self.limits().control_window);
        if self.control.window.is_none_or(|start| start.after(window) <= now) {
            self.control.window = Some(now);
            self.control.count = 0;
        }
        self.control.count += 1;
        if self.control.count > limit { Err(Violation::ControlFlood { limit, window }) } else { Ok(()) }
    }

    /// Answers the newest ping if not too many answers wait to be transmitted; otherwise later. Room for a Close is
    /// always left.
    pub(super) fn answer_owed(&mut self, cx: &mut Cx<'_, Self>) {
        let Some(body) = &self.control.owed else { return };
        let waiting = cx.tx.control_len();
        let full = waiting > 0 && waiting + MAX_HEADER + body.len() > self.limits().pong_backlog;
        if full || cx.tx.control_room() < 2 * MOST {
            // With nothing queued there is no transmission to wait for.
            if cx.tx.is_empty() {
                self.control.owed = None;
            }
            return;
        }
        if let Some(body) = self.control.owed.take() {
            self.write_control(cx, PONG, &body);
        }
    }

    /// Asks for a sign of life.
    pub(super) fn probe(&mut self, cx: &mut Cx<'_, Self>) {
        if !self.close_sent && cx.tx.control_room() >= 2 * MOST {
            self.write_control(cx, PING, &[]);
        }
    }

    /// Says Close, unless it was said.
    pub(super) fn say_close(&mut self, cx: &mut Cx<'_, Self>, code: CloseCode) {
        let reason = self.reason.take();
        self.write_close(cx, code, reason.as_deref().unwrap_or_default());
    }

    fn write_close(&mut self, cx: &mut Cx<'_, Self>, code: CloseCode, reason: &str) {
        self.control.owed = None;
        if self.close_sent || self.opening.is_some() {
            return;
        }
        self.close_sent = true;
        let mut body = [0; MAX_CONTROL];
        let len = close_body(code, reason, &mut body);
        if cx.tx.control_room() >= MAX_HEADER + len {
            self.write_control(cx, CLOSE, &body[..len]);
        }
    }

    /// The goodbye that fits the end.
    pub(super) fn say_goodbye(&mut self, cx: &mut Cx<'_, Self>, cause: &Cause<Violation>) -> CloseStep {
        if self.opening.is_some() {
            self.refuse(cx, cause);
            return CloseStep::Done;
        }
        let code = match cause {
            Cause::LocalClose(Code(code)) => {
                let code = CloseCode(u16::try_from(*code).unwrap_or_default());
                if code.is_sendable() { code } else { CloseCode::NORMAL }
            }
            Cause::Violation(violation) => violation.close_code(),
            Cause::Limit(_) => CloseCode::TOO_BIG,
            Cause::Timeout(_) => CloseCode::GOING_AWAY,
            _ => CloseCode::PROTOCOL_ERROR,
        };
        self.say_close(cx, code);
        match cause {
            Cause::LocalClose(_) | Cause::Timeout(TimeoutReason::Idle) => CloseStep::AwaitPeer,
            _ => CloseStep::Done,
        }
    }

    /// The HTTP answer to a request that leads to nothing.
    fn refuse(&mut self, cx: &mut Cx<'_, Self>, cause: &Cause<Violation>) {
        if self.role == Role::Client {
            return;
        }
        let status = |status, body: &'static str| {
            crate::handshake::HandshakeError::Refused(crate::Rejection::new(status, body)).response()
        };
        let response = match cause {
            Cause::Violation(Violation::Handshake(error)) => error.response(),
            // Nothing was asked: a connection that was made ahead of need. Whatever is asked later would take it for its answer.
            Cause::Timeout(_) if !self.opening.as_ref().is_some_and(Opening::has_begun) => return,
            Cause::Timeout(_) => status(408, "the request did not come in time"),
            Cause::Truncated { .. } => status(400, "the request was cut off"),
            // Nothing was asked.
            Cause::PeerFinished => return,
            _ => status(503, "going away"),
        };
        if cx.tx.control_room() >= response.len() {
            cx.tx.control(response.len()).put_slice(response.as_bytes());
        }
    }

    fn write_control(&mut self, cx: &mut Cx<'_, Self>, opcode: u8, body: &[u8]) {
        let key = self.new_mask(cx.rng);
        let header = HeaderBytes::new(FIN | opcode, body.len(), key);
        let mut out = cx.tx.control(HeaderBytes::size(body.len(), key.is_some()) + body.len());
        out.put_slice(header.as_slice());
        match key {
            Some(key) => out.put_changed(body, |copy| wire::apply_mask(copy, key)),
            None => out.put_slice(body),
        }
    }
}
