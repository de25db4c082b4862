//! The server: requests in, responses out in the same order.
//!
//! ```text
//!          head ──────▶ body ──────▶ head ...     reading, up to `pipelined` requests ahead of the answers
//!            │            │
//!            ▼            ▼
//!   exchanges: │ front │  ...  │ back │           who waits for an answer
//!                 │
//!                 ▼
//!          response head ──▶ content ──▶ end      writing, always for the front
//! ```

mod answer;
mod exchanges;
mod reading;
mod waits;

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;
use duologue_core::{
    Cause, CloseStep, Config, Cx, EofAction, Fault, OnPeerFinish, Protocol, RecvBuf, Refusal, Refused, Step,
    TimeoutReason,
};
use http::{HeaderMap, StatusCode};

use crate::error::Violation;
use crate::limits::ServerSettings;
use crate::message::{RequestHead, Response};
use crate::timer::{self, Timer};
use crate::wire::{BodyDecoder, BodyEncoder, Digits, Pace, Scan};
use exchanges::{Exchange, Exchanges};

/// Bytes per second that a client reads of an answer that waits for it: slower than any link people wait at.
const LEAST_RATE: u32 = 240;

/// What a server hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A request began. Unless its [`body`](RequestHead::body) is empty, `Data` and `End` follow.
    Request(Box<RequestHead>),
    /// A piece of the request's content, of at most 64 KiB.
    Data(Bytes),
    /// The request's content is complete; with trailers, if there were any.
    End(Option<HeaderMap>),
}

/// What a server says. Each is about the oldest request that was not wholly answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCommand {
    /// 100 (Continue): the client may send the content. Nothing, if it does not wait for that.
    Continue,
    /// Another interim response (103). Nothing, for a client of HTTP/1.0, which would not understand it.
    Interim(Response),
    /// The response, or its head; 101, and 2xx to CONNECT, end HTTP on this connection: see
    /// [`Session::upgrade`](duologue_core::Session::upgrade).
    Respond(Response),
    /// A piece of the response's content.
    Data(Bytes),
    /// The response's content is complete. Trailers go only with [`Body::Stream`](crate::Body::Stream).
    End(Option<HeaderMap>),
    /// No further request is wanted: what was asked is answered, the last response says `Connection: close`, and the
    /// session ends. At once, if nothing was asked. [`Session::drain`](duologue_core::Session::drain) does the same.
    Drain,
}

/// HTTP/1.1 on the server's side, as a [`Protocol`].
#[derive(Debug)]
pub struct Server {
    settings: Arc<ServerSettings>,
    reading: Reading,
    scan: Scan,
    /// The one empty line that may stand before a request line was there.
    skipped_blank: bool,
    exchanges: Exchanges,
    /// The content of the front's response, once its head was written.
    answer: Option<BodyEncoder>,
    /// The front's response says that it is the last.
    last_answer: bool,
    /// Requests decoded.
    requests: u64,
    /// No request after those decoded is looked at.
    last_request: bool,
    /// What is wrong with the next request, while earlier ones wait for their answers.
    violation: Option<Violation>,
    pace: Option<Pace>,
    /// Content received when the request was answered early.
    answered_at: Option<u64>,
    /// The application has not taken the last event: time is not the peer's.
    untaken: bool,
    /// A deadline came meanwhile.
    overdue: bool,
    draining: bool,
    peer_done: bool,
    /// We finished: nothing can be answered any more.
    finished: bool,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Head,
    /// The content of the back exchange.
    Body(BodyDecoder),
    /// Another protocol's.
    Upgraded,
    /// Nobody's: the connection ends after what was asked.
    Nothing,
}

impl Server {
    /// A server for one connection. Many connections can share their settings.
    #[must_use]
    pub fn new(settings: impl Into<Arc<ServerSettings>>) -> Self {
        Self {
            settings: settings.into(),
            reading: Reading::Head,
            scan: Scan::default(),
            skipped_blank: false,
            exchanges: Exchanges::default(),
            answer: None,
            last_answer: false,
            requests: 0,
            last_request: false,
            violation: None,
            pace: None,
            answered_at: None,
            untaken: false,
            overdue: false,
            draining: false,
            peer_done: false,
            finished: false,
        }
    }

    /// The session's configuration that fits a server: a client that half-closes after its request is still answered
    /// ([`OnPeerFinish::KeepSending`]), the session's own idle and keepalive clocks leave waiting to the phases of
    /// [`Waits`](crate::Waits), and a client that reads its answer must read 240 bytes per second of it
    /// ([`Timeouts::write_rate`](duologue_core::Timeouts::write_rate)).
    #[must_use]
    pub fn config() -> Config {
        let config = Config::new().on_peer_finish(OnPeerFinish::KeepSending);
        let timeouts = config.timeouts.idle(None).keepalive(None).write_rate(LEAST_RATE);
        config.timeouts(timeouts)
    }

    /// Requests that were not wholly answered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.exchanges.len()
    }

    /// Requests decoded since the start.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// The application answered 101, or 2xx to CONNECT: what follows is the other protocol's.
    #[must_use]
    pub fn is_upgraded(&self) -> bool {
        self.reading == Reading::Upgraded
    }

    /// Requests before the one that is being read.
    fn earlier(&self) -> usize {
        self.exchanges.len() - usize::from(matches!(self.reading, Reading::Body(_)) && !self.exchanges.is_empty())
    }

    #[inline]
    fn say(&mut self, cx: &mut Cx<'_, Self>, command: &ServerCommand) -> Result<(), Refusal> {
        match command {
            ServerCommand::Respond(response) => self.respond(cx, response),
            ServerCommand::Data(data) => self.data(cx, data),
            ServerCommand::End(trailers) => self.end(cx, trailers.as_ref()),
            ServerCommand::Continue => self.say_continue(cx),
            ServerCommand::Interim(response) => self.interim(cx, response),
            ServerCommand::Drain => {
                self.wind_down(cx);
                Ok(())
            }
        }
    }

    /// The status that tells the client why the session ends, where it would be taken for the answer to the right
    /// request.
    fn last_words(&self, cause: &Cause<Violation>) -> Option<StatusCode> {
        if self.answer.is_some() || self.answered_at.is_some() {
            return None;
        }
        match cause {
            Cause::Violation(violation) if self.earlier() == 0 => Some(violation.status()),
            Cause::Timeout(TimeoutReason::Protocol(timer::HEAD)) if self.exchanges.is_empty() => {
                (self.scan.has_begun() || self.skipped_blank).then_some(StatusCode::REQUEST_TIMEOUT)
            }
            Cause::Timeout(TimeoutReason::Protocol(timer::BODY)) if self.earlier() == 0 => {
                Some(StatusCode::REQUEST_TIMEOUT)
            }
            Cause::Timeout(TimeoutReason::Protocol(timer::ANSWER)) => Some(StatusCode::SERVICE_UNAVAILABLE),
            _ => None,
        }
    }
}

impl Protocol for Server {
    type Event = ServerEvent;
    type Command = ServerCommand;
    type Timer = Timer;
    type Violation = Violation;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        self.await_request(cx);
        cx.establish();
    }

    #[inline]
    fn needs_bytes(&mut self) -> bool {
        // Content may end without a further byte.
        let needs = !self.overdue && !matches!(self.reading, Reading::Body(_)) && self.violation.is_none();
        // The application has taken what was decoded before.
        self.untaken &= !needs;
        needs
    }

    #[inline]
    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<ServerEvent>, Violation> {
        self.taken(cx);
        let step = match (&self.violation, &self.reading) {
            (Some(violation), _) => Err(*violation),
            (None, Reading::Head) => self.decode_head(cx, rx),
            (None, Reading::Body(body)) => {
                let body = *body;
                self.decode_body(cx, rx, body)
            }
            (None, Reading::Upgraded | Reading::Nothing) => Ok(self.leave(cx, rx)),
        };
        self.untaken = matches!(step, Ok(Step::Event(_)));
        match step {
            Err(violation) => self.refuse(cx, violation),
            step => step,
        }
    }

    fn eof(&mut self, cx: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<ServerEvent>, Violation> {
        self.peer_done = true;
        let truncated = match self.reading {
            Reading::Head if rest.is_empty() => None,
            Reading::Head => Some(EofAction::Truncated { missing: None }),
            Reading::Body(body) => Some(EofAction::Truncated { missing: body.left() }),
            Reading::Upgraded | Reading::Nothing => None,
        };
        if let Some(truncated) = truncated {
            if self.earlier() > 0 && !self.finished {
                // What was asked before is answered first.
                cx.await_command();
            }
            return Ok(truncated);
        }
        if self.exchanges.is_empty() && !self.is_upgraded() {
            cx.finish();
        }
        Ok(EofAction::Clean)
    }

    #[inline]
    fn command(&mut self, cx: &mut Cx<'_, Self>, command: ServerCommand) -> Result<(), Refused<ServerCommand>> {
        self.say(cx, &command).map_err(|why| Refused::new(command, why))
    }

    #[inline]
    fn command_from(&mut self, cx: &mut Cx<'_, Self>, command: &mut Option<ServerCommand>) -> Result<(), Refusal> {
        if let Some(said) = command {
            self.say(cx, said)?;
            *command = None;
        }
        Ok(())
    }

    fn timer(&mut self, cx: &mut Cx<'_, Self>, timer: Timer) -> Result<Step<ServerEvent>, Fault<Violation>> {
        self.timed_out(cx, timer)
    }

    fn drain(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        self.wind_down(cx);
        !self.is_upgraded()
    }

    fn finish(&mut self, _cx: &mut Cx<'_, Self>) {
        self.finished = true;
    }

    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, cause: &Cause<Violation>) -> CloseStep {
        if let Some(status) = self.last_words(cause) {
            let code = Digits::decimal(u64::from(status.as_u16()));
            let parts: [&[u8]; 5] = [
                b"HTTP/1.1 ",
                code.as_slice(),
                b" ",
                status.canonical_reason().unwrap_or_default().as_bytes(),
                b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            ];
            let mut out = cx.tx.control(parts.iter().map(|part| part.len()).sum());
            parts.iter().for_each(|part| out.put_slice(part));
        }
        CloseStep::Done
    }

    fn max_unit(&self) -> usize {
        self.settings.limits.max_unit()
    }
}
