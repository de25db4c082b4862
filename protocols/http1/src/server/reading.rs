//! Reading requests.

use alloc::boxed::Box;

use duologue_core::{Cx, RecvBuf, Step};
use http::Method;
use memchr::memchr;

use super::{Exchange, Reading, Server, ServerEvent};
use crate::error::Violation;
use crate::headers::Headers;
use crate::limits::Limits;
use crate::message::{Incoming, RequestHead};
use crate::timer::Timer;
use crate::wire::{
    BodyDecoder, LONGEST_METHOD, Pace, Piece, RawRequest, Scan, check_length, parse_at_once, parse_request, version,
};

/// Bytes of a request line beside its method and its target: two spaces, the version, CR LF.
const LINE_REST: usize = 12;

impl Server {
    pub(super) fn decode_head(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
    ) -> Result<Step<ServerEvent>, Violation> {
        if rx.is_empty() {
            return Ok(Step::NeedMore { hint: 0 });
        }
        if self.is_full() {
            return Ok(self.leave(cx, rx));
        }
        if !self.scan.has_begun() && !self.skipped_blank && rx.first() == Some(&b'\r') {
            match rx.get(1) {
                // RFC 9112, section 2.2: at least one empty line is to be ignored. One it is.
                Some(b'\n') => {
                    self.skipped_blank = true;
                    rx.advance(2);
                    return Ok(Step::Progress);
                }
                None => {
                    self.head_began(cx);
                    return Ok(Step::NeedMore { hint: 0 });
                }
                Some(_) => return Err(Violation::LineEnd),
            }
        }
        let limits = &self.settings.limits;
        if !self.scan.has_begun() {
            if let Some((len, raw)) = parse_at_once(rx, limits) {
                self.skipped_blank = false;
                let alone = rx.len() == len;
                let head = rx.view(len);
                return self.take_request(cx, raw, alone, |headers| headers.copy(head));
            }
        }
        check_request_line(rx, &self.scan, limits)?;
        let Some(head) = self.scan.take_head(rx, limits)? else {
            self.head_began(cx);
            return Ok(Step::NeedMore { hint: 0 });
        };
        self.skipped_blank = false;
        let raw = parse_request(&head, limits)?;
        self.take_request(cx, raw, rx.is_empty(), |headers| *headers = Headers::of(head))
    }

    /// A whole head is here, `alone` if nothing came behind it; `fill` puts its fields where they stay.
    #[inline(always)]
    fn take_request(
        &mut self,
        cx: &mut Cx<'_, Self>,
        raw: RawRequest,
        alone: bool,
        fill: impl FnOnce(&mut Headers),
    ) -> Result<Step<ServerEvent>, Violation> {
        let body = incoming(raw.facts.chunked, raw.facts.length);
        check_length(body, &self.settings.limits)?;
        let facts = &raw.facts;
        self.requests += 1;
        let mut keep_alive = if raw.http10 { facts.keep_alive && !facts.close } else { !facts.close };
        let connect = raw.method == Method::CONNECT;
        // RFC 9112, section 9.6: behind a request that says so the client sends no other. Nor anything else, but there are
        // old ones that send an empty line behind content.
        if !keep_alive && body == Incoming::Empty && !connect && !facts.upgrade && alone {
            cx.waive_linger();
        }
        keep_alive &= self.requests < self.settings.requests;
        self.last_request |= !keep_alive;
        let exchange = Exchange {
            head: raw.method == Method::HEAD,
            connect,
            http10: raw.http10,
            keep_alive,
            upgrade: connect || facts.upgrade,
            expects: facts.expects_continue && body != Incoming::Empty,
        };
        self.exchanges.push_back(exchange);
        self.head_ended(cx);
        match BodyDecoder::new(body) {
            Some(decoder) => {
                self.reading = Reading::Body(decoder);
                self.body_began(cx);
            }
            None => self.request_ended(cx),
        }
        let mut request = Box::new(RequestHead {
            method: raw.method,
            uri: raw.uri,
            version: version(raw.http10),
            headers: Headers::default(),
            body,
            expects_continue: exchange.expects,
            upgrade: exchange.upgrade,
        });
        fill(&mut request.headers);
        Ok(Step::Event(ServerEvent::Request(request)))
    }

    #[inline]
    pub(super) fn decode_body(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
        mut body: BodyDecoder,
    ) -> Result<Step<ServerEvent>, Violation> {
        let piece = body.decode(rx, &self.settings.limits)?;
        self.reading = Reading::Body(body);
        Ok(match piece {
            Piece::NeedMore { hint } => Step::NeedMore { hint },
            Piece::Progress => Step::Progress,
            Piece::Data(data) => {
                self.body_went_on(cx, body.received());
                Step::Event(ServerEvent::Data(data))
            }
            Piece::End(trailers) => {
                self.request_ended(cx);
                Step::Event(ServerEvent::End(trailers))
            }
        })
    }

    /// Bytes that are not, or not yet, a request of ours.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Step<ServerEvent> {
        if rx.is_empty() {
            return Step::NeedMore { hint: 0 };
        }
        if self.reading == Reading::Nothing || self.finished {
            rx.advance(rx.len());
            return Step::Progress;
        }
        cx.await_command();
        Step::NeedMore { hint: 0 }
    }

    /// A request that cannot be understood: nothing after it can. What was asked before is answered first, so that the
    /// error is not taken for an answer to that.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        cx: &mut Cx<'_, Self>,
        violation: Violation,
    ) -> Result<Step<ServerEvent>, Violation> {
        if self.earlier() == 0 || self.finished {
            return Err(violation);
        }
        self.violation = Some(violation);
        cx.timers.clear(Timer::Head);
        cx.timers.clear(Timer::Body);
        cx.await_command();
        Ok(Step::NeedMore { hint: 0 })
    }

    /// No further request is decoded now: enough wait for their answers, or the next bytes may be another protocol's.
    fn is_full(&self) -> bool {
        self.exchanges.len() >= self.settings.pipelined.max(1) || self.exchanges.back().is_some_and(|e| e.upgrade)
    }

    fn body_began(&mut self, cx: &mut Cx<'_, Self>) {
        self.answered_at = None;
        let waits_for_us = self.exchanges.back().is_some_and(|exchange| exchange.expects);
        if waits_for_us {
            self.pace = None;
            self.continue_if_due(cx);
            self.await_response(cx);
        } else {
            self.pace = Some(Pace::new(cx.now, 0));
        }
        self.arm_body(cx, 0);
    }

    fn body_went_on(&mut self, cx: &mut Cx<'_, Self>, received: u64) {
        // A client that does not wait for 100 (Continue) needs none.
        if let Some(exchange) = self.exchanges.back_mut().filter(|exchange| exchange.expects) {
            exchange.expects = false;
            // An earlier request's answer is due all the same.
            if self.exchanges.len() == 1 {
                cx.timers.clear(Timer::Answer);
            }
        }
        self.pace.get_or_insert(Pace::new(cx.now, received));
        self.arm_body(cx, received);
        let unwanted = self.answered_at.is_some_and(|at| received - at > self.settings.drain);
        if unwanted {
            self.end_now(cx);
        }
    }

    /// The request is complete.
    #[inline]
    fn request_ended(&mut self, cx: &mut Cx<'_, Self>) {
        cx.timers.clear(Timer::Body);
        self.pace = None;
        self.reading = if self.last_request { Reading::Nothing } else { Reading::Head };
        if self.answered_at.take().is_some() {
            self.between_requests(cx);
        } else {
            self.await_response(cx);
        }
    }
}

fn incoming(chunked: bool, length: Option<u64>) -> Incoming {
    match length {
        _ if chunked => Incoming::Chunked,
        Some(length @ 1..) => Incoming::Sized(length),
        _ => Incoming::Empty,
    }
}

/// A request line that is too long is found as soon as it is, and the same however it was cut.
fn check_request_line(bytes: &[u8], scan: &Scan, limits: &Limits) -> Result<(), Violation> {
    let longest = limits.target.saturating_add(LONGEST_METHOD + LINE_REST);
    let start = match bytes.get(..longest) {
        Some(start) if scan.lines() == 0 && bytes.len() > longest => start,
        _ => return Ok(()),
    };
    if memchr(b'\n', start).is_some() {
        return Ok(());
    }
    Err(match memchr(b' ', start) {
        Some(0..=LONGEST_METHOD) => Violation::TargetTooLong { limit: limits.target },
        _ => Violation::MethodTooLong { limit: LONGEST_METHOD },
    })
}
