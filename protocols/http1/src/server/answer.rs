//! Writing responses, and what follows when one is complete.

use bytes::Bytes;
use duologue_core::{Cx, Refusal};
use http::{HeaderMap, StatusCode};

use super::{Exchange, Reading, Server};
use crate::DONE;
use crate::limits::Continue;
use crate::message::{Body, Response};
use crate::timer::Timer;
use crate::wire::{BodyEncoder, Count, Digits, Out, Pace, Place, Survey, field, fields, owned, put_data, put_end};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How a response goes out, decided before a byte is written.
#[derive(Clone, Copy, Debug)]
struct Plan {
    framing: Framing,
    /// What follows the head, unless all of it goes with it.
    encoder: Option<BodyEncoder>,
    /// The full body is written behind the head.
    writes_body: bool,
    connection: Connection,
    closes: bool,
    upgrades: bool,
}

/// The line that frames the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// What the head says about the connection beside the application's own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Unsaid,
    Close,
    KeepAlive,
}

impl Server {
    pub(super) fn respond(&mut self, cx: &mut Cx<'_, Self>, response: &Response) -> Result<(), Refusal> {
        let survey = Survey::of(&response.headers);
        let plan = self.plan(response, survey).map_err(Refusal::Invalid)?;
        let body = match &response.body {
            Body::Full(body) if plan.writes_body => Some(body),
            _ => None,
        };
        write(cx, response, &plan, survey.len, body)?;
        cx.timers.clear(Timer::Answer);
        self.last_answer = plan.closes;
        if plan.upgrades {
            self.exchanges.clear();
            self.reading = Reading::Upgraded;
        } else if plan.encoder.is_some() {
            self.answer = plan.encoder;
        } else {
            self.answered(cx);
        }
        Ok(())
    }

    pub(super) fn data(&mut self, cx: &mut Cx<'_, Self>, data: &Bytes) -> Result<(), Refusal> {
        let Some(encoder) = &mut self.answer else { return Err(Refusal::Invalid("no response has begun")) };
        put_data(cx.tx, encoder, owned(data))
    }

    pub(super) fn end(&mut self, cx: &mut Cx<'_, Self>, trailers: Option<&HeaderMap>) -> Result<(), Refusal> {
        let Some(encoder) = self.answer else { return Err(Refusal::Invalid("no response has begun")) };
        put_end(cx.tx, encoder, trailers)?;
        self.answered(cx);
        Ok(())
    }

    pub(super) fn say_continue(&mut self, cx: &mut Cx<'_, Self>) -> Result<(), Refusal> {
        let Some(front) = self.front()? else { return Ok(()) };
        if front.expects {
            cx.tx.message(CONTINUE.len())?.put_slice(CONTINUE);
            self.continued(cx);
        }
        Ok(())
    }

    pub(super) fn interim(&mut self, cx: &mut Cx<'_, Self>, response: &Response) -> Result<(), Refusal> {
        let status = response.status;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS || response.body != Body::Empty {
            return Err(Refusal::Invalid("an interim response is 1xx, not 101, and without content"));
        }
        let survey = Survey::of(&response.headers);
        if survey.frames {
            return Err(Refusal::Invalid("Content-Length and Transfer-Encoding are written by the session"));
        }
        match self.front()? {
            Some(front) if !front.http10 => {}
            _ => return Ok(()),
        }
        let plan = Plan {
            framing: Framing::None,
            encoder: None,
            writes_body: false,
            connection: Connection::Unsaid,
            closes: false,
            upgrades: false,
        };
        write(cx, response, &plan, survey.len, None)?;
        if status == StatusCode::CONTINUE {
            self.continued(cx);
        }
        Ok(())
    }

    /// What was asked is answered; a request that is being received is the last.
    pub(super) fn wind_down(&mut self, cx: &mut Cx<'_, Self>) {
        if self.is_upgraded() {
            return;
        }
        self.draining = true;
        self.last_request = true;
        if self.reading == Reading::Head && !self.head_has_begun() {
            if self.exchanges.is_empty() {
                return self.end_now(cx);
            }
            // What follows an offer to change the protocol may be the other one's.
            if !self.exchanges.back().is_some_and(|back| back.upgrade) {
                self.reading = Reading::Nothing;
            }
        }
    }

    /// The empty line that may stand before a request is none yet: clients send one after their content.
    pub(super) const fn head_has_begun(&self) -> bool {
        self.scan.has_begun()
    }

    /// The drain ends with the response to the front: no request follows it.
    fn drains_with_this(&self) -> bool {
        let head_follows = self.reading == Reading::Head && self.head_has_begun();
        self.draining && self.exchanges.len() == 1 && !head_follows && self.violation.is_none()
    }

    /// 100 (Continue) by itself, once it is this request's turn.
    pub(super) fn continue_if_due(&mut self, cx: &mut Cx<'_, Self>) {
        let due = self.exchanges.len() == 1 && self.exchanges.front().is_some_and(|front| front.expects);
        if due && self.settings.continues == Continue::Automatic {
            cx.tx.control(CONTINUE.len()).put_slice(CONTINUE);
            self.continued(cx);
        }
    }

    /// No further byte of this connection has a meaning.
    pub(super) fn end_now(&mut self, cx: &mut Cx<'_, Self>) {
        self.reading = Reading::Nothing;
        self.clear_reading_timers(cx);
        cx.close(DONE);
    }

    /// Nothing waits for an answer, and nothing of a request is being received.
    pub(super) fn between_requests(&mut self, cx: &mut Cx<'_, Self>) {
        if !self.exchanges.is_empty() {
            return;
        }
        if self.draining && !self.head_has_begun() {
            self.end_now(cx);
        } else if self.peer_done {
            cx.finish();
        } else if self.reading == Reading::Head && self.violation.is_none() {
            self.await_request(cx);
        }
    }

    fn continued(&mut self, cx: &mut Cx<'_, Self>) {
        cx.timers.clear(Timer::Answer);
        if let Some(front) = self.exchanges.front_mut() {
            front.expects = false;
        }
        if let (1, Reading::Body(body)) = (self.exchanges.len(), self.reading) {
            self.pace = Some(Pace::new(cx.now, body.received()));
            self.arm_body(cx, body.received());
        }
    }

    /// The front's response is complete.
    #[inline]
    fn answered(&mut self, cx: &mut Cx<'_, Self>) {
        self.answer = None;
        self.exchanges.pop_front();
        if self.last_answer {
            return self.end_now(cx);
        }
        match self.reading {
            Reading::Body(body) if self.exchanges.is_empty() => self.await_leftover(cx, body.received()),
            _ if self.exchanges.is_empty() => self.between_requests(cx),
            _ => {
                self.continue_if_due(cx);
                self.await_response(cx);
            }
        }
    }

    fn clear_reading_timers(&mut self, cx: &mut Cx<'_, Self>) {
        for timer in [Timer::Head, Timer::Body, Timer::Idle] {
            cx.timers.clear(timer);
        }
    }

    /// The request whose response is due, if its head was not written yet.
    fn front(&self) -> Result<Option<&Exchange>, Refusal> {
        if self.answer.is_some() {
            return Err(Refusal::Invalid("the response has begun: Data and End complete it"));
        }
        match self.exchanges.front() {
            Some(front) => Ok(Some(front)),
            None => Err(Refusal::Invalid("no request waits for a response")),
        }
    }

    fn plan(&self, response: &Response, survey: Survey) -> Result<Plan, &'static str> {
        let Response { status, headers: _, body } = response;
        let front = match self.front() {
            Ok(Some(front)) => *front,
            Err(Refusal::Invalid(why)) => return Err(why),
            _ => return Err("no request waits for a response"),
        };
        let switches = *status == StatusCode::SWITCHING_PROTOCOLS;
        let upgrades = switches || (front.connect && status.is_success());
        if status.is_informational() && !switches {
            return Err("an interim response: use ServerCommand::Interim");
        }
        if switches && (!front.upgrade || front.connect) {
            return Err("101 answers only a request with Upgrade");
        }
        if upgrades && matches!(self.reading, Reading::Body(_)) {
            return Err("the request's content has to come first");
        }
        if survey.frames {
            return Err("Content-Length and Transfer-Encoding are written by the session");
        }
        let bare = upgrades || *status == StatusCode::NO_CONTENT;
        let empty = match body {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Sized(_) | Body::Stream => false,
        };
        // 205 too has none, but says so by its length (RFC 9110, section 15.3.6).
        if (bare || *status == StatusCode::RESET_CONTENT) && !empty {
            return Err("a response with this status has no content");
        }
        let unwritten = front.head || *status == StatusCode::NOT_MODIFIED;
        let (framing, encoder) = match body {
            _ if bare => (Framing::None, None),
            Body::Empty if unwritten && !front.head => (Framing::None, None),
            Body::Empty => (Framing::Length(0), None),
            Body::Full(bytes) => (Framing::Length(bytes.len() as u64), None),
            Body::Sized(left) if unwritten => (Framing::Length(*left), Some(BodyEncoder::Unwritten)),
            Body::Sized(left) => (Framing::Length(*left), Some(BodyEncoder::Sized { left: *left })),
            Body::Stream if front.http10 && unwritten => (Framing::None, Some(BodyEncoder::Unwritten)),
            Body::Stream if front.http10 => (Framing::None, Some(BodyEncoder::UntilClose)),
            Body::Stream if unwritten => (Framing::Chunked, Some(BodyEncoder::Unwritten)),
            Body::Stream => (Framing::Chunked, Some(BodyEncoder::Chunked)),
        };
        let closes = survey.closes
            || self.drains_with_this()
            || !front.keep_alive
            // The client may have sent somebody else's bytes ahead into the tunnel it did not get: they are no request
            // (RFC 9931, for HTTP/1.1: who refuses CONNECT closes).
            || (front.connect && !upgrades)
            // The client that still waits for 100 may or may not send its content: what follows cannot be told apart.
            || front.expects
            || encoder == Some(BodyEncoder::UntilClose)
            || (body.is_complete() && self.leftover_is_too_much());
        let connection = match (closes && !upgrades, front.http10) {
            (true, _) if survey.closes => Connection::Unsaid,
            (true, _) => Connection::Close,
            (false, true) => Connection::KeepAlive,
            (false, false) => Connection::Unsaid,
        };
        Ok(Plan { framing, encoder, writes_body: !unwritten, connection, closes, upgrades })
    }

    /// The rest of the request that is answered is known to be more than is drained.
    fn leftover_is_too_much(&self) -> bool {
        match self.reading {
            Reading::Body(body) if self.exchanges.len() == 1 => {
                body.left().is_some_and(|left| left > self.settings.drain)
            }
            _ => false,
        }
    }
}

/// Writes a head, of which `fields` bytes are the response's own, and the content that goes with it.
#[inline]
fn write(
    cx: &mut Cx<'_, Server>,
    response: &Response,
    plan: &Plan,
    fields: usize,
    body: Option<&Bytes>,
) -> Result<(), Refusal> {
    let digits = match plan.framing {
        Framing::Length(length) => Digits::decimal(length),
        Framing::None | Framing::Chunked => Digits::NONE,
    };
    let mut count = Count(fields);
    put_start(&mut count, response.status);
    put_end_of_head(&mut count, plan, digits.as_slice());
    let (head, rest) = (count.0, body.map_or(0, Bytes::len));
    let mut out = cx.tx.message(head + rest)?;
    match body {
        // Small content goes with the head, in one piece.
        Some(body) if out.copies(rest) => out.put_with(head + rest, |place| {
            let mut place = Place(place);
            put_head(&mut place, response, plan, digits.as_slice());
            place.put(body);
        }),
        _ => {
            out.put_with(head, |place| put_head(&mut Place(place), response, plan, digits.as_slice()));
            out.put_bytes(body.cloned().unwrap_or_default());
        }
    }
    Ok(())
}

#[inline(always)]
fn put_head(out: &mut impl Out, response: &Response, plan: &Plan, length: &[u8]) {
    put_start(out, response.status);
    fields(out, &response.headers);
    put_end_of_head(out, plan, length);
}

#[inline(always)]
fn put_start(out: &mut impl Out, status: StatusCode) {
    match status {
        StatusCode::OK => out.put(b"HTTP/1.1 200 OK\r\n"),
        status => {
            out.put(b"HTTP/1.1 ");
            out.put(status.as_str().as_bytes());
            out.put(b" ");
            out.put(status.canonical_reason().unwrap_or_default().as_bytes());
            out.put(b"\r\n");
        }
    }
}

/// What the head says beside the application's own fields.
#[inline(always)]
fn put_end_of_head(out: &mut impl Out, plan: &Plan, length: &[u8]) {
    match plan.connection {
        Connection::Unsaid => {}
        Connection::Close => out.put(b"connection: close\r\n"),
        Connection::KeepAlive => out.put(b"connection: keep-alive\r\n"),
    }
    match plan.framing {
        Framing::None => {}
        Framing::Length(_) => field(out, "content-length", length),
        Framing::Chunked => out.put(b"transfer-encoding: chunked\r\n"),
    }
    out.put(b"\r\n");
}
