//! HTTP/1.1 on plain threads: a pooled client, and server-sent events. A server is a [`crate::Server`] whose protocol is
//! [`Server`].

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use duologue_core::pool::PoolStats;
use duologue_core::reconnect::Reconnect;

use crate::connection::wait_within;
use crate::{PlainOrTls, PoolOptions, PoolSetupError, ReconnectOptions, Threads, wait};

#[doc(inline)]
pub use duologue_async::http1::*;

use http::{HeaderMap, Uri};

/// Most bytes that are read at a time.
const PIECE: usize = 16 << 10;

/// Asks HTTP/1.1 servers over connections that are used again. Clones share one pool. What is sent again by itself, and
/// what is not: see [`duologue_async::http1::HttpClient`].
#[derive(Clone)]
pub struct HttpClient {
    inner: duologue_async::http1::HttpClient<PlainOrTls<Threads>>,
}

impl HttpClient {
    /// A client of `http://` with a pool of its own, and the pool's thread.
    ///
    /// # Errors
    /// The pool's configuration cannot work, or there is no thread to be had.
    pub fn new(settings: ClientSettings, options: PoolOptions) -> Result<Self, PoolSetupError> {
        duologue_async::http1::HttpClient::new(settings, options).map(|inner| Self { inner })
    }

    /// A client of `https://` and `http://` alike, over one pool: see [`duologue_async::http1::HttpClient::with_tls`].
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[cfg(feature = "rustls")]
    pub fn with_tls(
        settings: ClientSettings,
        connector: crate::TlsConnector,
        options: PoolOptions,
    ) -> Result<Self, PoolSetupError> {
        duologue_async::http1::HttpClient::with_tls(settings, connector, options).map(|inner| Self { inner })
    }

    /// Whether idempotent requests are sent again although the server may know of them. Default false.
    #[must_use]
    pub fn retry_idempotent(self, retry: bool) -> Self {
        Self { inner: self.inner.retry_idempotent(retry) }
    }

    /// Sends a request with all its content, to the host that its URI names, and waits for the answer's head.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn request(&self, request: Request) -> Result<HttpResponse, HttpError> {
        wait(self.inner.request(request)).map(|inner| HttpResponse { inner })
    }

    /// Sends a request whose content is read while it is sent, and waits for the answer's head. [`Request::body`] says how
    /// it is framed: `Sized`, or else in chunks. See [`duologue_async::http1::HttpClient::request_with`]; a source that
    /// fails cuts the request.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn request_with(
        &self,
        request: Request,
        content: impl io::Read + Send + 'static,
    ) -> Result<HttpResponse, HttpError> {
        wait(self.inner.request_with(request, FromRead(content))).map(|inner| HttpResponse { inner })
    }

    /// Asks for `uri`.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn get(&self, uri: Uri) -> Result<HttpResponse, HttpError> {
        wait(self.inner.get(uri)).map(|inner| HttpResponse { inner })
    }

    /// The pool's counts now.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.inner.pool().stats()
    }

    /// Refuses requests from now on, closes connections that are unused, and the rest once their answers are over.
    pub fn drain(&self) {
        self.inner.pool().drain();
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Content that is read when there is room for it. Reading blocks the thread that waits for the answer, and no other.
struct FromRead<C>(C);

// Nothing of it is ever pinned.
impl<C> Unpin for FromRead<C> {}

impl<C: io::Read> http_body::Body for FromRead<C> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        let mut piece = vec![0; PIECE];
        loop {
            match self.0.read(&mut piece) {
                Ok(0) => return Poll::Ready(None),
                Ok(n) => {
                    piece.truncate(n);
                    return Poll::Ready(Some(Ok(http_body::Frame::data(piece.into()))));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Some(Err(e))),
            }
        }
    }
}

/// An answer whose content is taken piece by piece. Its connection goes back to the pool with the content's end;
/// **dropped** before that it ends its connection.
pub struct HttpResponse {
    inner: duologue_async::http1::HttpResponse<PlainOrTls<Threads>>,
}

impl HttpResponse {
    /// The status, the header fields, the framing.
    #[must_use]
    pub const fn head(&self) -> &ResponseHead {
        self.inner.head()
    }

    /// The trailers, once the content is over and if there were any.
    #[must_use]
    pub const fn trailers(&self) -> Option<&HeaderMap> {
        self.inner.trailers()
    }

    /// Its connection had carried other requests before.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        self.inner.is_reused()
    }

    /// A part of the request's content is still to be sent: this goes on while the answer is taken.
    #[must_use]
    pub const fn is_sending(&self) -> bool {
        self.inner.is_sending()
    }

    /// Waits for the next piece of the content; `None` at its end.
    ///
    /// # Errors
    /// The connection ended inside the content.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        wait(self.inner.chunk())
    }

    /// All that is left of the content, at most `limit` bytes.
    ///
    /// # Errors
    /// It is longer, or the connection ended inside it.
    pub fn bytes(&mut self, limit: usize) -> Result<Bytes, HttpError> {
        wait(self.inner.bytes(limit))
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Receives server-sent events, and connects again whenever the stream ends or breaks, with `Last-Event-ID`; see
/// [`duologue_async::http1::EventSource`]. Everything happens while a thread waits for an event.
pub struct EventSource {
    inner: duologue_async::http1::EventSource<PlainOrTls<Threads>>,
}

impl EventSource {
    /// The events of an `http://` URI. The first attempt to connect is made by the first wait.
    ///
    /// # Errors
    /// See [`EventSourceSetupError`].
    pub fn new(uri: Uri, options: ReconnectOptions) -> Result<Self, EventSourceSetupError> {
        duologue_async::http1::EventSource::new(uri, options).map(|inner| Self { inner })
    }

    /// As [`new`](Self::new), with a request of one's own.
    ///
    /// # Errors
    /// See [`EventSourceSetupError`].
    pub fn with_request(request: Request, options: ReconnectOptions) -> Result<Self, EventSourceSetupError> {
        duologue_async::http1::EventSource::with_request(request, options).map(|inner| Self { inner })
    }

    /// As [`with_request`](Self::with_request), of an `https://` URI, or of an `http://` one: see
    /// [`duologue_async::http1::EventSource::with_tls`].
    ///
    /// # Errors
    /// See [`EventSourceSetupError`].
    #[cfg(feature = "rustls")]
    pub fn with_tls(
        request: Request,
        connector: crate::TlsConnector,
        options: ReconnectOptions,
    ) -> Result<Self, EventSourceSetupError> {
        duologue_async::http1::EventSource::with_tls(request, connector, options).map(|inner| Self { inner })
    }

    /// Sets how long to wait before connecting again while the server gave no retry time. Default 3 s.
    #[must_use]
    pub fn default_retry(self, retry: Duration) -> Self {
        Self { inner: self.inner.default_retry(retry) }
    }

    /// Connections made so far.
    #[must_use]
    pub const fn connections(&self) -> u64 {
        self.inner.connections()
    }

    /// When the next attempt is made, failures in a row, whether there is a connection.
    #[must_use]
    pub fn machine(&self) -> &Reconnect {
        self.inner.machine()
    }

    /// Why the last connection ended or did not come about, for people; see [`duologue_async::http1::EventSource::trouble`].
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.inner.trouble()
    }

    /// Waits for the next event; `None` once it was closed, or after an error.
    ///
    /// # Errors
    /// It gave up: see [`EventSourceError`].
    pub fn next_event(&mut self) -> Result<Option<sse::Event>, EventSourceError> {
        wait(self.inner.next_event())
    }

    /// As [`next_event`](Self::next_event), but waits no longer than this: `Pending` if nothing came.
    ///
    /// # Errors
    /// It gave up: see [`EventSourceError`].
    pub fn next_event_within(&mut self, at_most: Duration) -> Poll<Result<Option<sse::Event>, EventSourceError>> {
        wait_within(at_most, self.inner.next_event())
    }

    /// The id of the last event that was complete; empty if there was none.
    #[must_use]
    pub fn last_event_id(&self) -> String {
        self.inner.last_event_id()
    }

    /// Begins to end it: events go on up to `None`.
    pub fn close(&mut self) {
        self.inner.close();
    }
}

impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use duologue_core::driver::Timekeeper;

    use super::*;

    #[test]
    fn an_event_source_waits_as_long_as_it_was_told_before_it_asks_again() {
        // Nobody listens where somebody did.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let uri = format!("http://{}/", listener.local_addr().expect("an address")).parse().expect("a URI");
        drop(listener);
        let source = EventSource::new(uri, ReconnectOptions::new()).expect("a source");
        let mut source = source.default_retry(Duration::from_secs(1000));
        for _ in 0..100 {
            assert!(source.next_event_within(Duration::from_millis(50)).is_pending());
            if source.trouble().is_some() {
                break;
            }
        }
        let next = source.machine().deadline().expect("it tries again").at.since(crate::Clock::new().now());
        assert!(next > Duration::from_secs(900), "{next:?}");
        assert_eq!((source.connections(), source.machine().failures()), (0, 1));
    }
}
