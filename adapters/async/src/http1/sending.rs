//! What of a request is still to be sent.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use duologue_core::SendError;
use duologue_http1::http::HeaderMap;
use duologue_http1::http::header::EXPECT;
use duologue_http1::{Body, Client, ClientCommand, Request};

use super::HttpError;
use crate::pooled::Pooled;
use crate::redial::PoolCarrier;

/// Content up to this size goes with its head; longer content goes piece by piece, as the server takes it.
const WITH_HEAD: usize = 16 << 10;
/// How often a source is asked before the connection and other tasks get their turn.
const ASKED: usize = 32;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>;

/// Content that is made while it is sent. The mutex is never locked: it lets the whole be shared (`Sync`).
pub(super) struct Source {
    body: Mutex<BoxBody>,
    /// It was asked for something: what it gave then cannot be had again.
    touched: bool,
}

impl Source {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        Self { body: Mutex::new(Box::pin(Plain(Box::pin(body)))), touched: false }
    }

    /// How its message is framed, unless the caller said.
    pub(super) fn framing(&mut self) -> Body {
        match self.body().size_hint().exact() {
            Some(length) => Body::Sized(length),
            None => Body::Stream,
        }
    }

    pub(super) const fn is_touched(&self) -> bool {
        self.touched
    }

    fn body(&mut self) -> Pin<&mut (dyn http_body::Body<Data = Bytes, Error = BoxError> + Send)> {
        self.body.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        self.touched = true;
        self.body().poll_frame(cx)
    }
}

/// Any body, with its data as `Bytes` and its error boxed.
struct Plain<B>(Pin<Box<B>>);

impl<B> http_body::Body for Plain<B>
where
    B: http_body::Body<Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_frame(cx).map(|frame| {
            frame.map(|frame| {
                let whole = |mut data: B::Data| data.copy_to_bytes(data.remaining());
                frame.map(|frame| frame.map_data(whole)).map_err(Into::into)
            })
        })
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

/// A request as the commands that send it, one after the other.
#[derive(Default)]
pub(super) struct Sending {
    /// What was refused for want of room, or not sent yet.
    next: Option<ClientCommand>,
    /// Content that is here.
    ready: Bytes,
    trailers: Option<HeaderMap>,
    /// Where more comes from.
    source: Option<Source>,
    /// The content goes by itself, and its end is still to be said.
    ends: bool,
    /// The server is to say that it wants the content.
    waits: bool,
    /// The answer is complete: a refusal says that the rest is not wanted.
    answered: bool,
    /// The head's place among all that the connection was given.
    number: u64,
}

impl Sending {
    /// A request with all its content, as the `number`th message of its connection.
    pub(super) fn new(request: &Request, number: u64) -> Self {
        let mut head = request.clone();
        let waits = expects_continue(&request.headers);
        let mut ready = Bytes::new();
        if let Body::Full(whole) = &request.body {
            if whole.len() > WITH_HEAD || (waits && !whole.is_empty()) {
                ready.clone_from(whole);
                head.body = Body::Sized(whole.len() as u64);
            }
        }
        let ends = !ready.is_empty();
        Self { next: Some(ClientCommand::Request(head)), ready, ends, waits: waits && ends, number, ..Self::default() }
    }

    /// A request whose content is made while it is sent; its body says how it is framed.
    pub(super) fn with_source(request: &Request, source: Source, number: u64) -> Self {
        let waits = expects_continue(&request.headers);
        let next = Some(ClientCommand::Request(request.clone()));
        Self { next, source: Some(source), ends: true, waits, number, ..Self::default() }
    }

    /// The server wants the content, or did not say in time that it does not.
    pub(super) fn go_on(&mut self) {
        self.waits = false;
    }

    /// The answer is complete.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }

    /// Nothing more is sent.
    pub(super) fn stop(&mut self) {
        *self = Self { number: self.number, answered: self.answered, ..Self::default() };
    }

    /// All is with the session.
    pub(super) const fn is_over(&self) -> bool {
        self.next.is_none() && self.ready.is_empty() && self.source.is_none() && !self.ends
    }

    pub(super) fn take_source(&mut self) -> Option<Source> {
        self.source.take()
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Sends as much of it as there is room for. The source is asked for a piece once there is room for it, and not before
    /// a byte of the head has left: up to then the request can go on another connection.
    ///
    /// # Errors
    /// It cannot be sent: the source failed, or the session refuses it for good.
    pub(super) fn poll<C: PoolCarrier>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Pooled<Client, C>,
    ) -> Result<(), HttpError> {
        let mut asked = 0;
        loop {
            if let Some(next) = self.next.take() {
                match connection.try_send(next) {
                    Ok(()) => continue,
                    Err(full) if full.is_temporary() => self.next = Some(full.into_command()),
                    // The answer came first, and with it the end: what is left is not wanted.
                    Err(refused) if self.answered || is_unwanted(&refused, connection) => self.stop(),
                    Err(SendError::Invalid { why, command: ClientCommand::Request(_) }) => {
                        return Err(HttpError::Invalid(why));
                    }
                    Err(SendError::Invalid { why, .. }) => return Err(HttpError::content(why)),
                    Err(SendError::TooLarge { .. }) => {
                        return Err(HttpError::Invalid("its head does not fit the send queue"));
                    }
                    // The connection is ending: its last event says how.
                    Err(_) => self.stop_unless_untouched(),
                }
                return Ok(());
            }
            if self.waits {
                return Ok(());
            }
            if !self.ready.is_empty() {
                let piece = self.ready.split_to(self.ready.len().min(WITH_HEAD));
                self.next = Some(ClientCommand::Data(piece));
            } else if let Some(source) = &mut self.source {
                if !has_left(self.number, connection) {
                    return Ok(());
                }
                asked += 1;
                if asked > ASKED {
                    // Pieces that fill nothing must not keep this thread from the answer, the clock and other tasks.
                    cx.waker().wake_by_ref();
                    return Ok(());
                }
                match source.poll_frame(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => self.ready = data,
                        Err(other) => self.trailers = other.into_trailers().ok(),
                    },
                    Poll::Ready(Some(Err(why))) => return Err(HttpError::Content { source: Arc::from(why) }),
                    Poll::Ready(None) => self.source = None,
                }
            } else if self.ends {
                self.ends = false;
                self.next = Some(ClientCommand::End(self.trailers.take()));
            } else {
                return Ok(());
            }
        }
    }

    /// A source that gave nothing yet is kept for another connection.
    fn stop_unless_untouched(&mut self) {
        let source = self.source.take().filter(|source| !source.is_touched());
        self.stop();
        self.source = source;
    }

    /// The head has left since [`poll`](Self::poll) waited for it: poll once more.
    pub(super) fn is_due<C: PoolCarrier>(&self, connection: &Pooled<Client, C>) -> bool {
        let asks = self.next.is_none() && self.ready.is_empty() && !self.waits;
        let untouched = self.source.as_ref().is_some_and(|source| !source.is_touched());
        asks && untouched && has_left(self.number, connection)
    }
}

/// A part of the content that the session has no use for any more.
fn is_unwanted<C: PoolCarrier>(refused: &SendError<ClientCommand>, connection: &Pooled<Client, C>) -> bool {
    let content = matches!(refused, SendError::Invalid { command: ClientCommand::Data(_) | ClientCommand::End(_), .. });
    content && !connection.session().protocol().is_sending()
}

fn has_left<C: PoolCarrier>(number: u64, connection: &Pooled<Client, C>) -> bool {
    connection.session().stats().begun >= number
}

fn expects_continue(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(EXPECT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    values.any(|value| value.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}
