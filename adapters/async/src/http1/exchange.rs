//! One request and its answer on one connection.

use std::fmt;

use bytes::{Bytes, BytesMut};
use duologue_core::Event;
use duologue_core::pool::Delivery;
use duologue_http1::http::HeaderMap;
use duologue_http1::{Body, Client, ClientCommand, ClientEvent, Incoming, Request, ResponseHead};

use super::HttpError;
use crate::pooled::Pooled;
use crate::redial::Redial;

/// Content up to this size goes with its head; longer content goes piece by piece, as the server takes it.
const WITH_HEAD: usize = 16 << 10;

/// An answer whose content is taken piece by piece. What is left of the request's content is sent meanwhile, if the answer
/// is a success (2xx); any other says that it is not wanted. The connection goes back to the pool with the content's end;
/// **dropped** before that it ends its connection.
pub struct HttpResponse<R: Redial> {
    head: ResponseHead,
    /// What of the request was not sent yet.
    parts: Parts,
    trailers: Option<HeaderMap>,
    reused: bool,
    /// Gone with the end of the content.
    connection: Option<Pooled<Client, R>>,
}

impl<R: Redial> HttpResponse<R> {
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

    /// The next piece of the content; `None` at its end. Cancel-safe.
    ///
    /// # Errors
    /// The connection ended inside the content.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let Some(connection) = &mut self.connection else { return Ok(None) };
            self.parts.offer(connection)?;
            match connection.next_event().await {
                Some(Event::App(ClientEvent::Data(data))) => return Ok(Some(data)),
                Some(Event::App(ClientEvent::End(trailers))) => {
                    self.trailers = trailers;
                    self.connection.take().into_iter().for_each(give_back);
                }
                Some(Event::App(_) | Event::Writable | Event::PeerFinished) => {}
                Some(Event::Closed(_)) | None => {
                    let closed = Box::new(connection.closed().await);
                    self.connection = None;
                    return Err(HttpError::Cut { closed });
                }
            }
        }
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
    pub fn into_connection(self) -> Option<Pooled<Client, R>> {
        self.connection
    }
}

/// Back to the pool, to be used again if the protocol allows it.
fn give_back<R: Redial>(connection: Pooled<Client, R>) {
    if connection.session().protocol().is_idle() { connection.release() } else { connection.discard() }
}

/// Sends `request` on `connection` and waits for the answer's head.
pub(super) async fn ask<R: Redial>(
    mut connection: Pooled<Client, R>,
    request: &Request,
) -> Result<HttpResponse<R>, HttpError> {
    let mut parts = Parts::new(request);
    // The head's place among all that this connection was given.
    let number = connection.session().stats().accepted + 1;
    loop {
        parts.offer(&mut connection)?;
        match connection.next_event().await {
            Some(Event::App(ClientEvent::Response(head))) => {
                let (reused, upgraded) = (connection.is_reused(), connection.session().protocol().is_upgraded());
                if !head.status.is_success() || upgraded {
                    parts = Parts::default();
                }
                let mut response = HttpResponse { head, parts, trailers: None, reused, connection: Some(connection) };
                if response.head.body == Incoming::Empty && !upgraded {
                    response.connection.take().into_iter().for_each(give_back);
                }
                return Ok(response);
            }
            Some(Event::App(_) | Event::Writable | Event::PeerFinished) => {}
            Some(Event::Closed(_)) | None => {
                let delivery = Delivery::of(number, &connection.session().stats());
                return Err(HttpError::Lost { delivery, closed: Box::new(connection.closed().await) });
            }
        }
    }
}

/// A request as the commands that send it, one after the other.
#[derive(Default)]
struct Parts {
    /// What was refused for want of room, or not sent yet.
    next: Option<ClientCommand>,
    content: Bytes,
    /// The content goes by itself, and its end is still to be said.
    ends: bool,
}

impl Parts {
    fn new(request: &Request) -> Self {
        let mut head = request.clone();
        let mut content = Bytes::new();
        if let Body::Full(whole) = &request.body {
            if whole.len() > WITH_HEAD {
                content.clone_from(whole);
                head.body = Body::Sized(whole.len() as u64);
            }
        }
        let ends = !content.is_empty();
        Self { next: Some(ClientCommand::Request(head)), content, ends }
    }

    /// Sends as much of it as there is room for.
    fn offer<R: Redial>(&mut self, connection: &mut Pooled<Client, R>) -> Result<(), HttpError> {
        while let Some(part) = self.take() {
            match connection.try_send(part) {
                Ok(()) => {}
                Err(full) if full.is_temporary() => {
                    self.next = Some(full.into_command());
                    break;
                }
                Err(duologue_core::SendError::Invalid { why, .. }) => return Err(HttpError::Invalid(why)),
                Err(duologue_core::SendError::TooLarge { .. }) => {
                    return Err(HttpError::Invalid("its head does not fit the send queue"));
                }
                // The connection is ending: its last event says how.
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<ClientCommand> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        if !self.content.is_empty() {
            return Some(ClientCommand::Data(self.content.split_to(self.content.len().min(WITH_HEAD))));
        }
        std::mem::take(&mut self.ends).then_some(ClientCommand::End(None))
    }
}

impl<R: Redial> fmt::Debug for HttpResponse<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse").field("head", &self.head).field("reused", &self.reused).finish_non_exhaustive()
    }
}
