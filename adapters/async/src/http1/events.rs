//! Server-sent events for applications: one stream over any number of connections (WHATWG HTML, section 9.2).

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use duologue_core::Code;
use duologue_core::reconnect::{BackoffError, Reconnect};
use duologue_http1::http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use duologue_http1::http::uri::Scheme;
use duologue_http1::http::{Method, StatusCode, Uri};
use duologue_http1::{Client, ClientCommand, ClientEvent, ClientSettings, Request, ResponseHead, sse};
use thiserror::Error;

use super::HttpError;
use super::carrier::{HttpCarrier, target};
use crate::hub::lock;
use crate::reconnecting::{ReconnectEvent, ReconnectOptions, Reconnecting};
use crate::redial::Carrier;
use crate::tls::TlsError;

/// How long to wait before connecting again, unless the server said otherwise.
const RETRY: Duration = Duration::from_secs(3);
/// Most bytes of a line, and of an event's data.
const LONGEST: usize = 1 << 20;

/// Receives server-sent events, and connects again whenever the stream ends or breaks, with `Last-Event-ID`: an event is
/// told once it is complete, and what was told is not asked for again. Events without ids that the server sends while there
/// is no connection are lost, as anywhere.
///
/// The pauses are [`Reconnect`]'s, and at least the server's retry time (3 s if it gave none). An event proves a connection
/// useful. An answer of 408 (Request Timeout) is a connection that failed. Silence is no error: for a server that sends
/// heartbeats set the session's idle time-out, in [`ReconnectOptions::connection`].
///
/// No task works behind it: everything happens while [`next_event`](Self::next_event) is polled. **Dropping** it drops its
/// connection.
pub struct EventSource<C: Carrier> {
    link: Reconnecting<Client, C>,
    parser: sse::Parser,
    /// What the next connection asks with.
    last_event_id: Arc<Mutex<String>>,
    ready: VecDeque<sse::Event>,
    retry: Duration,
    present: Present,
    /// Why it gave up, until that was told.
    error: Option<EventSourceError>,
    over: bool,
    connections: u64,
    /// Why there is no stream of events now.
    trouble: Option<String>,
}

/// What the present connection has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Present {
    /// No answer yet.
    Asked,
    /// A stream of events.
    Streams,
    /// The server's word that the request did not come whole in time.
    Late,
}

/// An event source that cannot begin.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum EventSourceSetupError {
    /// The target is none that it can ask.
    #[error(transparent)]
    Target(#[from] HttpError),
    /// No certificate can be for the target's host.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The pauses cannot work.
    #[error(transparent)]
    Backoff(#[from] BackoffError),
}

/// Why an event source gave up. Its connection is gone, and it makes no other.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventSourceError {
    /// The server answered with another status than 200, and than 408, which says that the request did not come whole in
    /// time. 204 says that there is nothing more to come.
    #[error("the server answered {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The answer is no stream of events.
    #[error("the answer is not text/event-stream")]
    ContentType,
    /// An event is longer than this client takes.
    #[error(transparent)]
    TooLong(#[from] sse::TooLong),
}

impl<C: HttpCarrier> EventSource<C> {
    /// The events of an `http://` URI. The first attempt to connect is made once it is polled.
    ///
    /// # Errors
    /// See [`EventSourceSetupError`].
    pub fn new(uri: Uri, options: ReconnectOptions) -> Result<Self, EventSourceSetupError> {
        Self::with_request(Request::new(Method::GET, uri), options)
    }

    /// As [`new`](Self::new), with a request of one's own: authorization, the id to begin after. `Accept`, `Cache-Control`
    /// and `Connection` are set here.
    ///
    /// # Errors
    /// See [`EventSourceSetupError`].
    pub fn with_request(request: Request, options: ReconnectOptions) -> Result<Self, EventSourceSetupError> {
        Self::made(request, None, options)
    }

    /// As [`with_request`](Self::with_request), of an `https://` URI, or of an `http://` one. Each attempt dials and opens
    /// TLS anew, with one deadline; for the connector see [`HttpClient::with_tls`](super::HttpClient::with_tls). TLS that is
    /// refused is an attempt that failed like any other: [`trouble`](Self::trouble) says why.
    ///
    /// # Errors
    /// See [`EventSourceSetupError`].
    pub fn with_tls(
        request: Request,
        connector: C::Connector,
        options: ReconnectOptions,
    ) -> Result<Self, EventSourceSetupError> {
        Self::made(request, Some(connector), options)
    }

    fn made(
        mut request: Request,
        connector: Option<C::Connector>,
        options: ReconnectOptions,
    ) -> Result<Self, EventSourceSetupError> {
        let target: Arc<str> = target(&request.uri, connector.is_some())?.into();
        if request.uri.scheme() == Some(&Scheme::HTTPS) {
            // No attempt could ever do better.
            C::check_host(request.uri.host().unwrap_or_default())?;
        }
        let first = request.headers.remove(sse::LAST_EVENT_ID);
        let first = first.and_then(|id| String::from_utf8(id.as_bytes().to_vec()).ok()).unwrap_or_default();
        request.headers.insert(ACCEPT, HeaderValue::from_static(sse::CONTENT_TYPE));
        request.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // The stream is all that its connection is for.
        request.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let parser = sse::Parser::new(LONGEST).after(&first);
        let last_event_id = Arc::new(Mutex::new(first));
        let id = Arc::clone(&last_event_id);
        let ask = move |_| {
            let mut request = request.clone();
            // An id may be any text; one that no field can hold is left out, as if there were none.
            let id = lock(&id);
            if let Some(id) = Some(id.as_bytes()).filter(|id| !id.is_empty()) {
                if let Ok(id) = HeaderValue::from_bytes(id) {
                    request.headers.insert(sse::LAST_EVENT_ID, id);
                }
            }
            vec![ClientCommand::Request(request)]
        };
        let mut settings = ClientSettings::new();
        // A stream has no end to wait for.
        settings.waits = settings.waits.body(None);
        let options = options.message_proves_use(false);
        let address = Arc::clone(&target);
        let dial = move |protocol, options| C::connect(Arc::clone(&target), connector.clone(), protocol, options);
        let link = Reconnecting::dialled_by(address, dial, move |_| Client::new(settings), options)?.resubscribe(ask);
        Ok(Self {
            link,
            parser,
            last_event_id,
            ready: VecDeque::new(),
            retry: RETRY,
            present: Present::Asked,
            error: None,
            over: false,
            connections: 0,
            trouble: None,
        })
    }
}

impl<C: Carrier> EventSource<C> {
    /// Sets how long to wait before connecting again while the server gave no retry time. Default 3 s.
    #[must_use]
    pub const fn default_retry(mut self, retry: Duration) -> Self {
        self.retry = retry;
        self
    }

    /// The next event; `None` once it was [`close`](Self::close)d, or after an error. Cancel-safe.
    ///
    /// # Errors
    /// It gave up: see [`EventSourceError`].
    pub async fn next_event(&mut self) -> Result<Option<sse::Event>, EventSourceError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            if self.over {
                return Ok(None);
            }
            match self.link.next_event().await {
                None => return Ok(None),
                Some(ReconnectEvent::Connected { .. }) => {
                    self.connections += 1;
                    self.present = Present::Asked;
                }
                // The network was slow, or this program was stopped meanwhile: the request may be repeated on a new
                // connection (RFC 9110, section 15.5.9).
                Some(ReconnectEvent::App { event: ClientEvent::Response(head), .. })
                    if head.status == StatusCode::REQUEST_TIMEOUT =>
                {
                    self.present = Present::Late;
                    self.trouble = Some(format!("the server answered {}", head.status));
                    self.link.abort_connection();
                }
                Some(ReconnectEvent::App { event: ClientEvent::Response(head), .. }) => match check(&head) {
                    Ok(()) => self.present = Present::Streams,
                    Err(error) => self.give_up(error),
                },
                Some(ReconnectEvent::App { generation, event: ClientEvent::Data(data) })
                    if self.present == Present::Streams =>
                {
                    let Self { parser, ready, .. } = self;
                    let fed = parser.feed(&data, |event| ready.push_back(event));
                    if !self.ready.is_empty() {
                        self.trouble = None;
                        self.link.proved_useful(generation);
                    }
                    lock(&self.last_event_id).replace_range(.., self.parser.last_event_id());
                    if let Err(too_long) = fed {
                        self.give_up(too_long.into());
                    }
                }
                Some(ReconnectEvent::Lost { closed, .. }) => {
                    if self.present != Present::Late {
                        self.trouble = Some(closed.to_string());
                    }
                    self.parser = std::mem::replace(&mut self.parser, sse::Parser::new(LONGEST)).resume();
                    self.link.hold_off(self.parser.retry().unwrap_or(self.retry));
                }
                Some(ReconnectEvent::Failed { error, .. }) => {
                    self.trouble = Some(error.to_string());
                    self.link.hold_off(self.parser.retry().unwrap_or(self.retry));
                }
                Some(_) => {}
            }
        }
    }

    /// The id of the last event that was complete; empty if there was none.
    #[must_use]
    pub fn last_event_id(&self) -> String {
        lock(&self.last_event_id).clone()
    }

    /// Connections made so far.
    #[must_use]
    pub const fn connections(&self) -> u64 {
        self.connections
    }

    /// Why the last connection ended or did not come about, for people: an event source goes on trying, and says nothing by
    /// itself. `None` once an event came, and before the first failure. To look while waiting, interrupt
    /// [`next_event`](Self::next_event): it is cancel-safe.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// When the next attempt is made, failures in a row, whether there is a connection.
    #[must_use]
    pub fn machine(&self) -> &Reconnect {
        self.link.machine()
    }

    /// Begins to end it: events go on up to `None`.
    pub fn close(&mut self) {
        self.link.start_close(Code(0));
    }

    /// Events that came before are told first. The connection is of no use to anybody.
    fn give_up(&mut self, error: EventSourceError) {
        self.error = Some(error);
        self.over = true;
        self.link.let_go();
    }
}

fn check(head: &ResponseHead) -> Result<(), EventSourceError> {
    if head.status != StatusCode::OK {
        return Err(EventSourceError::Status { status: head.status });
    }
    let of_events = head.headers.get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(sse::CONTENT_TYPE.as_bytes())
    });
    if of_events { Ok(()) } else { Err(EventSourceError::ContentType) }
}

impl<C: Carrier> fmt::Debug for EventSource<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource").field("link", &self.link).field("present", &self.present).finish_non_exhaustive()
    }
}
