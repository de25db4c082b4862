//! Reading responses.

use duologue_core::{Cx, RecvBuf, Step};
use http::StatusCode;

use super::{Client, ClientEvent, Exchange, Reading};
use crate::error::Violation;
use crate::message::{Incoming, ResponseHead};
use crate::timer::Timer;
use crate::wire::{BodyDecoder, Facts, Pace, Piece, check_length, parse_response, version};

impl Client {
    pub(super) fn decode_head(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
    ) -> Result<Step<ClientEvent>, Violation> {
        if rx.is_empty() {
            return Ok(Step::NeedMore { hint: 0 });
        }
        // What comes unasked is the end of somebody else's response, or an answer to nobody.
        let Some(exchange) = self.exchange else { return Err(Violation::Unsolicited) };
        let limits = self.settings.limits;
        let Some(bytes) = self.scan.take_head(rx, &limits)? else { return Ok(Step::NeedMore { hint: 0 }) };
        let raw = parse_response(&bytes, &limits)?;
        let mut head = ResponseHead {
            status: raw.status,
            version: version(raw.http10),
            headers: raw.headers,
            body: Incoming::Empty,
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if !exchange.upgrade || exchange.connect {
                return Err(Violation::Unsolicited);
            }
            self.upgraded(cx);
            return Ok(Step::Event(ClientEvent::Response(head)));
        }
        if head.status.is_informational() {
            return self.interim(cx, head);
        }
        if exchange.connect && head.status.is_success() {
            self.upgraded(cx);
            return Ok(Step::Event(ClientEvent::Response(head)));
        }
        head.body = content(exchange, head.status, &raw.facts);
        check_length(head.body, &limits)?;
        self.closes |= raw.facts.close || (raw.http10 && !raw.facts.keep_alive) || head.body == Incoming::UntilClose;
        cx.timers.clear(Timer::Response);
        cx.timers.clear(Timer::Expect);
        match BodyDecoder::new(head.body) {
            Some(body) => {
                self.reading = Reading::Body(body);
                self.pace = Some(Pace::new(cx.now, 0));
                self.arm_body(cx, 0);
            }
            None => self.answered(cx),
        }
        Ok(Step::Event(ClientEvent::Response(head)))
    }

    #[inline]
    pub(super) fn decode_body(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
        mut body: BodyDecoder,
    ) -> Result<Step<ClientEvent>, Violation> {
        let piece = body.decode(rx, &self.settings.limits)?;
        self.reading = Reading::Body(body);
        Ok(match piece {
            Piece::NeedMore { hint } => Step::NeedMore { hint },
            Piece::Progress => Step::Progress,
            Piece::Data(data) => {
                self.arm_body(cx, body.received());
                Step::Event(ClientEvent::Data(data))
            }
            Piece::End(trailers) => {
                self.answered(cx);
                Step::Event(ClientEvent::End(trailers))
            }
        })
    }

    fn interim(&mut self, cx: &mut Cx<'_, Self>, head: ResponseHead) -> Result<Step<ClientEvent>, Violation> {
        let limit = self.settings.interim;
        self.interim += 1;
        if self.interim > limit {
            return Err(Violation::TooManyInterim { limit });
        }
        if head.status == StatusCode::CONTINUE {
            cx.timers.clear(Timer::Expect);
            if let Some(exchange) = &mut self.exchange {
                exchange.expects = false;
            }
        }
        Ok(Step::Event(ClientEvent::Interim(head)))
    }

    fn upgraded(&mut self, cx: &mut Cx<'_, Self>) {
        self.answered(cx);
        self.reading = Reading::Upgraded;
    }
}

/// How the content of a final response is framed (RFC 9112, section 6.3).
fn content(exchange: Exchange, status: StatusCode, facts: &Facts) -> Incoming {
    if exchange.head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Incoming::Empty;
    }
    match facts.length {
        _ if facts.chunked => Incoming::Chunked,
        Some(0) => Incoming::Empty,
        Some(length) => Incoming::Sized(length),
        None => Incoming::UntilClose,
    }
}
