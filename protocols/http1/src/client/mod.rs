//! The client: one request at a time, its response, the next request.
//!
//! ```text
//!   request head ──▶ content ──▶ end           writing
//!   (interim)* ──▶ head ──▶ content ──▶ end    reading
//! ```
//!
//! Both go on at the same time; the next request may be sent once both are complete, and [`Client::is_idle`] says so.

mod reading;
mod request;
mod waits;

use bytes::Bytes;
use duologue_core::{CloseStep, Cx, EofAction, Fault, Protocol, RecvBuf, Refused, Step};
use http::HeaderMap;

use crate::DONE;
use crate::error::Violation;
use crate::limits::ClientSettings;
use crate::message::{Request, ResponseHead};
use crate::timer::Timer;
use crate::wire::{BodyDecoder, BodyEncoder, Pace, Scan};

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// An interim response: 100 (Continue), 103 (Early Hints).
    Interim(ResponseHead),
    /// No 100 (Continue) came within [`Waits::expect`](crate::Waits::expect): send the content all the same.
    ContinueOverdue,
    /// The response. Unless its [`body`](ResponseHead::body) is empty, `Data` and `End` follow.
    Response(ResponseHead),
    /// A piece of the response's content, of at most 64 KiB.
    Data(Bytes),
    /// The response's content is complete; with trailers, if there were any.
    End(Option<HeaderMap>),
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCommand {
    /// A request, or its head. A previous one must be complete, and so must its response.
    Request(Request),
    /// A piece of the request's content.
    Data(Bytes),
    /// The request's content is complete. Trailers go only with [`Body::Stream`](crate::Body::Stream).
    End(Option<HeaderMap>),
}

/// HTTP/1.1 on the client's side, as a [`Protocol`].
#[derive(Debug)]
pub struct Client {
    settings: ClientSettings,
    exchange: Option<Exchange>,
    reading: Reading,
    scan: Scan,
    /// The content of the request, once its head was written.
    sending: Option<BodyEncoder>,
    pace: Option<Pace>,
    interim: u32,
    requests: u64,
    /// The connection ends after this exchange.
    closes: bool,
    /// The application has not taken the last event: time is not the peer's.
    untaken: bool,
    overdue: bool,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Head,
    Body(BodyDecoder),
    /// Another protocol's.
    Upgraded,
}

/// The request that waits for its response, up to the end of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exchange {
    head: bool,
    connect: bool,
    upgrade: bool,
    /// We wait for 100 (Continue).
    expects: bool,
}

impl Client {
    /// A client for one connection.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Self {
        Self {
            settings,
            exchange: None,
            reading: Reading::Head,
            scan: Scan::default(),
            sending: None,
            pace: None,
            interim: 0,
            requests: 0,
            closes: false,
            untaken: false,
            overdue: false,
        }
    }

    /// The next request may be sent: nothing is outstanding in either direction, and nobody said that the connection
    /// ends. What a pool asks before it hands the connection on.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.exchange.is_none() && self.sending.is_none() && !self.closes && self.reading == Reading::Head
    }

    /// Content of the request is still to be sent: `Data` and `End` are taken.
    #[must_use]
    pub const fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Requests sent since the start.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// The server changed the protocol: what follows is the other one's.
    #[must_use]
    pub fn is_upgraded(&self) -> bool {
        self.reading == Reading::Upgraded
    }

    /// The response is complete.
    fn answered(&mut self, cx: &mut Cx<'_, Self>) {
        self.exchange = None;
        self.reading = Reading::Head;
        cx.timers.clear(Timer::Response);
        cx.timers.clear(Timer::Body);
        cx.timers.clear(Timer::Expect);
        // A server that answers early and closes has no use for the rest of the request.
        if self.closes {
            self.sending = None;
            cx.close(DONE);
        }
    }

    /// The request is complete.
    fn sent(&mut self, cx: &mut Cx<'_, Self>) {
        self.sending = None;
        cx.timers.clear(Timer::Expect);
        if self.exchange.is_some() && self.reading == Reading::Head {
            self.await_response(cx);
        }
    }
}

impl Protocol for Client {
    type Event = ClientEvent;
    type Command = ClientCommand;
    type Timer = Timer;
    type Violation = Violation;

    #[inline]
    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<ClientEvent>, Violation> {
        self.taken(cx);
        let step = match self.reading {
            Reading::Head => self.decode_head(cx, rx),
            Reading::Body(body) => self.decode_body(cx, rx, body),
            Reading::Upgraded if rx.is_empty() => Ok(Step::NeedMore { hint: 0 }),
            Reading::Upgraded => {
                cx.await_command();
                Ok(Step::NeedMore { hint: 0 })
            }
        };
        self.untaken = matches!(step, Ok(Step::Event(_)));
        step
    }

    fn eof(&mut self, cx: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<ClientEvent>, Violation> {
        Ok(match self.reading {
            Reading::Body(body) if body.ends_with_the_connection() => {
                self.closes = false;
                self.answered(cx);
                self.closes = true;
                cx.finish();
                EofAction::Final(ClientEvent::End(None))
            }
            Reading::Body(body) => EofAction::Truncated { missing: body.left() },
            Reading::Head if self.exchange.is_some() || !rest.is_empty() => EofAction::Truncated { missing: None },
            Reading::Head => {
                // Nobody is there to be asked any more.
                self.closes = true;
                cx.finish();
                EofAction::Clean
            }
            Reading::Upgraded => EofAction::Clean,
        })
    }

    #[inline]
    fn command(&mut self, cx: &mut Cx<'_, Self>, command: ClientCommand) -> Result<(), Refused<ClientCommand>> {
        let written = match &command {
            ClientCommand::Request(request) => self.request(cx, request),
            ClientCommand::Data(data) => self.data(cx, data),
            ClientCommand::End(trailers) => self.end(cx, trailers.as_ref()),
        };
        written.map_err(|why| Refused::new(command, why))
    }

    fn timer(&mut self, cx: &mut Cx<'_, Self>, timer: Timer) -> Result<Step<ClientEvent>, Fault<Violation>> {
        self.timed_out(cx, timer)
    }

    fn begin_close(&mut self, _cx: &mut Cx<'_, Self>, _cause: &duologue_core::Cause<Violation>) -> CloseStep {
        self.closes = true;
        CloseStep::Done
    }

    fn max_unit(&self) -> usize {
        self.settings.limits.max_unit()
    }
}
