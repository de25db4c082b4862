//! One request and its answer on one connection.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use duologue_core::pool::Delivery;
use duologue_core::{Closed, Event};
use duologue_http1::http::{HeaderMap, StatusCode};
use duologue_http1::{Client, ClientEvent, Incoming, ResponseHead, Violation};

use super::HttpError;
use super::sending::{Sending, Source};
use crate::pooled::Pooled;
use crate::redial::PoolCarrier;

/// Steps before other tasks get their turn.
const STEPS: usize = 32;

/// An answer whose content is taken piece by piece; as an `http_body::Body` too. A piece that is not taken stays with the
/// server: the connection is not read meanwhile.
///
/// What is left of the request's content is sent meanwhile, if the answer is a success (2xx); any other says that it is
/// not wanted. The connection goes back to the pool once both contents are over; **dropped** before that it ends its
/// connection.
pub struct HttpResponse<C: PoolCarrier> {
    head: ResponseHead,
    /// What of the request was not sent yet.
    sending: Sending,
    trailers: Option<HeaderMap>,
    /// The content is over.
    ended: bool,
    /// A body tells its trailers once.
    trailers_told: bool,
    reused: bool,
    /// Content that is still to come, if its length was announced.
    left: Option<u64>,
    /// Gone with the end of both contents.
    connection: Option<Pooled<Client, C>>,
}

// Nothing of it is ever pinned.
impl<C: PoolCarrier> Unpin for HttpResponse<C> {}

impl<C: PoolCarrier> HttpResponse<C> {
    fn new(head: ResponseHead, mut sending: Sending, connection: Pooled<Client, C>) -> Self {
        let (reused, upgraded) = (connection.is_reused(), connection.session().protocol().is_upgraded());
        if !head.status.is_success() || upgraded {
            sending.stop();
        }
        // A success says as much as 100 (Continue).
        sending.go_on();
        let left = match head.body {
            Incoming::Empty => Some(0),
            Incoming::Sized(length) => Some(length),
            Incoming::Chunked | Incoming::UntilClose => None,
        };
        let connection = Some(connection);
        let mut response =
            Self { head, sending, trailers: None, ended: false, trailers_told: false, reused, left, connection };
        if response.head.body == Incoming::Empty && !upgraded {
            response.end(None);
        }
        response
    }

    /// The status, the header fields, the framing.
    #[must_use]
    pub const fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// The trailers, once the content is over and if there were any.
    #[must_use]
    pub const fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Its connection had carried other requests before.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        self.reused
    }

    /// A server that gave up waiting for a request said so to the one that came after all (RFC 9110, section 15.5.9). On a
    /// new connection it would be about this request, and likely to come again.
    pub(super) fn says_too_late(&self) -> bool {
        self.reused && self.head.status == StatusCode::REQUEST_TIMEOUT
    }

    /// A part of the request's content is still to be sent: this goes on while the answer is taken.
    #[must_use]
    pub const fn is_sending(&self) -> bool {
        self.connection.is_some() && !self.sending.is_over()
    }

    /// The next piece of the content; `None` at its end, and once the rest of the request's content was sent.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The connection ended inside the content, or the source of the request's content failed. The connection has ended.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// As [`chunk`](Self::chunk), as a poll.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, HttpError>> {
        for _ in 0..STEPS {
            let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(None)) };
            if let Err(error) = self.sending.poll(cx, connection) {
                self.connection = None;
                return Poll::Ready(Err(error));
            }
            if self.ended && self.sending.is_over() {
                self.give_back();
                return Poll::Ready(Ok(None));
            }
            match connection.poll_next_event(cx) {
                Poll::Ready(Some(Event::App(ClientEvent::Data(data)))) => {
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Ok(Some(data)));
                }
                Poll::Ready(Some(Event::App(ClientEvent::End(trailers)))) => self.end(trailers),
                Poll::Ready(Some(Event::App(_) | Event::Writable | Event::PeerFinished)) => {}
                Poll::Ready(end @ (Some(Event::Closed(_)) | None)) => {
                    let closed = ended(end, connection);
                    self.connection = None;
                    return Poll::Ready(match closed {
                        Some(closed) if !self.ended => Err(HttpError::Cut { closed: Box::new(closed) }),
                        // The answer is whole: that the server read no more of the request is its answer's business.
                        _ => Ok(None),
                    });
                }
                Poll::Pending if self.sending.is_due(connection) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// All that is left of the content, at most `limit` bytes.
    ///
    /// # Errors
    /// It is longer, or the connection ended inside it.
    pub async fn bytes(&mut self, limit: usize) -> Result<Bytes, HttpError> {
        let mut all = BytesMut::new();
        let mut first = None;
        while let Some(piece) = self.chunk().await? {
            if piece.len() > limit - all.len() - first.as_ref().map_or(0, Bytes::len) {
                self.connection = None;
                return Err(HttpError::TooLong { limit });
            }
            // Content in one piece is not copied.
            match first.take() {
                None if all.is_empty() => first = Some(piece),
                kept => {
                    all.extend_from_slice(&kept.unwrap_or_default());
                    all.extend_from_slice(&piece);
                }
            }
        }
        Ok(first.unwrap_or_else(|| all.freeze()))
    }

    /// Takes the connection, where the server changed the protocol (101, or 2xx to CONNECT), or to end it in one's own way.
    /// `None` once the content is over.
    #[must_use]
    pub fn into_connection(self) -> Option<Pooled<Client, C>> {
        self.connection
    }

    /// The content is over.
    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.trailers = trailers;
        self.ended = true;
        self.sending.answered();
        if self.sending.is_over() {
            self.give_back();
        }
    }

    /// Back to the pool, to be used again if the protocol allows it.
    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            // 408 says that the server ends the connection, whether or not it says so in a header field.
            let usable = self.head.status != StatusCode::REQUEST_TIMEOUT && connection.session().protocol().is_idle();
            if usable { connection.release() } else { connection.discard() }
        }
    }
}

/// How the connection ended: told just now, or before.
fn ended<C: PoolCarrier>(
    told: Option<Event<ClientEvent, Violation>>,
    connection: &Pooled<Client, C>,
) -> Option<Closed<Violation>> {
    match told {
        Some(Event::Closed(closed)) => Some(closed),
        _ => connection.open.end(),
    }
}

/// Why there is no answer, with the source of the content if it can still be used.
pub(super) type Failed = (HttpError, Option<Source>);

/// Sends a request on `connection` and waits for the answer's head.
pub(super) async fn ask<C: PoolCarrier>(
    connection: Pooled<Client, C>,
    sending: impl FnOnce(u64) -> Sending,
) -> Result<HttpResponse<C>, Failed> {
    // The head's place among all that this connection was given.
    let sending = sending(connection.session().stats().accepted + 1);
    let mut exchange = Some((connection, sending));
    poll_fn(move |cx| {
        let Some((connection, sending)) = &mut exchange else { return Poll::Pending };
        let answered = std::task::ready!(poll_head(cx, connection, sending));
        let Some((connection, mut sending)) = exchange.take() else { return Poll::Pending };
        Poll::Ready(match answered {
            Ok(head) => Ok(HttpResponse::new(head, sending, connection)),
            Err(error) => Err((error, sending.take_source())),
        })
    })
    .await
}

fn poll_head<C: PoolCarrier>(
    cx: &mut Context<'_>,
    connection: &mut Pooled<Client, C>,
    sending: &mut Sending,
) -> Poll<Result<ResponseHead, HttpError>> {
    for _ in 0..STEPS {
        if let Err(error) = sending.poll(cx, connection) {
            return Poll::Ready(Err(error));
        }
        match connection.poll_next_event(cx) {
            Poll::Ready(Some(Event::App(ClientEvent::Response(head)))) => return Poll::Ready(Ok(head)),
            Poll::Ready(Some(Event::App(ClientEvent::Interim(head)))) if head.status == StatusCode::CONTINUE => {
                sending.go_on();
            }
            Poll::Ready(Some(Event::App(ClientEvent::ContinueOverdue))) => sending.go_on(),
            Poll::Ready(Some(Event::App(_) | Event::Writable | Event::PeerFinished)) => {}
            Poll::Ready(end @ (Some(Event::Closed(_)) | None)) => {
                let Some(closed) = ended(end, connection) else { return Poll::Pending };
                let delivery = Delivery::of(sending.number(), &connection.session().stats());
                return Poll::Ready(Err(HttpError::Lost { delivery, closed: Box::new(closed) }));
            }
            Poll::Pending if sending.is_due(connection) => {}
            Poll::Pending => return Poll::Pending,
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The content, then the trailers.
impl<C: PoolCarrier> http_body::Body for HttpResponse<C> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, HttpError>>> {
        let response = self.get_mut();
        let chunk = std::task::ready!(response.poll_chunk(cx));
        Poll::Ready(match chunk {
            Ok(Some(data)) => Some(Ok(http_body::Frame::data(data))),
            Ok(None) if response.trailers_told => None,
            Ok(None) => {
                response.trailers_told = true;
                response.trailers.clone().map(|trailers| Ok(http_body::Frame::trailers(trailers)))
            }
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() && (self.trailers_told || self.trailers.is_none())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.left {
            Some(left) => http_body::SizeHint::with_exact(left),
            None => http_body::SizeHint::new(),
        }
    }
}

impl<C: PoolCarrier> fmt::Debug for HttpResponse<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse").field("head", &self.head).field("reused", &self.reused).finish_non_exhaustive()
    }
}
