//! A client of any number of servers.

use std::fmt;

use duologue_http1::http::{Method, Uri};
use duologue_http1::{Body, Client, ClientSettings, Request};

use super::HttpError;
use super::carrier::{HttpCarrier, target};
use super::exchange::{HttpResponse, ask};
use super::sending::{Sending, Source};
use crate::pooled::{PoolClient, PoolOptions, PoolSetupError};
use crate::redial::PoolCarrier;

/// How often a request may be sent in all. Each time before, its connection ended.
const ATTEMPTS: u32 = 3;

/// Asks HTTP/1.1 servers over connections that are used again. Clones share one pool.
///
/// A request of which no byte was handed to a connection is sent on another one by itself: that harms nobody. One that the
/// server may know of comes back as [`HttpError::Lost`], unless its method is idempotent and the client was made with
/// [`retry_idempotent`](Self::retry_idempotent).
///
/// A connection that was used before may be answered 408 (Request Timeout) just as it is used again: the server gave up
/// waiting. A request with an idempotent method and all its content is then sent on another one by itself; any other has
/// that answer.
pub struct HttpClient<C: PoolCarrier> {
    pool: PoolClient<Client, C>,
    /// https can be asked.
    secure: bool,
    retry_idempotent: bool,
}

impl<C: HttpCarrier> HttpClient<C> {
    /// A client of `http://` with a pool of its own. The pool's task is spawned on the runtime.
    ///
    /// # Errors
    /// The pool's configuration cannot work, or there is no runtime to spawn on.
    pub fn new(settings: ClientSettings, options: PoolOptions) -> Result<Self, PoolSetupError> {
        Self::made(settings, None, options)
    }

    /// A client of `https://` and `http://` alike, over one pool; a connection of the one is never used for the other. The
    /// connector is the adapter's `TlsConnector`, and says whom to trust and who we are: roots and a client certificate are
    /// its caller's. The server's certificate has to be for the URI's host. Connecting and opening TLS are one dial of the
    /// pool, with one deadline. The connector may offer `http/1.1` by ALPN, or nothing.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_tls(
        settings: ClientSettings,
        connector: C::Connector,
        options: PoolOptions,
    ) -> Result<Self, PoolSetupError> {
        Self::made(settings, Some(connector), options)
    }

    fn made(
        settings: ClientSettings,
        connector: Option<C::Connector>,
        options: PoolOptions,
    ) -> Result<Self, PoolSetupError> {
        let secure = connector.is_some();
        let dial = move |target, protocol, options| C::connect(target, connector.clone(), protocol, options);
        let pool = PoolClient::dialled_by(move |_| Client::new(settings), dial, options)?;
        Ok(Self::on(pool).dials_https(secure))
    }
}

impl<C: PoolCarrier> HttpClient<C> {
    /// A client on a pool, of `http://`.
    #[must_use]
    pub const fn on(pool: PoolClient<Client, C>) -> Self {
        Self { pool, secure: false, retry_idempotent: false }
    }

    /// Whether the pool's dial opens TLS where the target is `https://host:port` and not `host:port`, so that `https://` can
    /// be asked. Default false, and true after [`with_tls`](Self::with_tls).
    #[must_use]
    pub const fn dials_https(mut self, dials: bool) -> Self {
        self.secure = dials;
        self
    }

    /// Whether GET, HEAD, OPTIONS, TRACE, PUT and DELETE are sent again although the server may know of them
    /// (RFC 9110, section 9.2.2). Default false: the caller's word is needed.
    #[must_use]
    pub const fn retry_idempotent(mut self, retry: bool) -> Self {
        self.retry_idempotent = retry;
        self
    }

    /// The pool: its counts, draining, connections for what this client does not do (CONNECT).
    #[must_use]
    pub const fn pool(&self) -> &PoolClient<Client, C> {
        &self.pool
    }

    /// Sends a request with all its content, to the host that its URI names, and waits for the answer's head. With
    /// `Expect: 100-continue` the content goes once the server asks for it, or says nothing for
    /// [`Waits::expect`](duologue_http1::Waits::expect).
    ///
    /// **Dropping** the future before it is ready ends the connection: nobody knows what is under way on it.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn request(&self, request: Request) -> Result<HttpResponse<C>, HttpError> {
        if !request.body.is_complete() {
            return Err(HttpError::Invalid("content that is made meanwhile: HttpClient::request_with"));
        }
        let target = target(&request.uri, self.secure)?;
        let mut attempts = 1;
        loop {
            let connection = self.pool.acquire(&target).await?;
            match ask(connection, |number| Sending::new(&request, number)).await {
                // Its drop ends the connection.
                Ok(late) if attempts < ATTEMPTS && late.says_too_late() && request.method.is_idempotent() => {
                    attempts += 1
                }
                Ok(response) => return Ok(response),
                Err((error, _)) if !self.repeats(&error, attempts, &request.method) => return Err(error),
                Err(_) => attempts += 1,
            }
        }
    }

    /// Sends a request whose content is made while it is sent, and waits for the answer's head: a [`Content`] with its
    /// sender, or any `http_body::Body`. Where [`Request::body`] is `Sized` or `Stream` it says how the content is framed;
    /// where it is `Empty`, content that knows its length is sent with that, and any other in chunks. Trailers go only in
    /// chunks.
    ///
    /// The content is asked for a piece once the connection has room for it, and goes on being sent while the answer is
    /// taken: see [`HttpResponse`]. With `Expect: 100-continue` it is not asked before the server is.
    ///
    /// A request of which no byte left is sent on another connection by itself, with all its content: before that nothing
    /// was taken from it. After that nothing of it is sent again, also if the caller allowed it: that is
    /// [`HttpError::ContentGone`].
    ///
    /// **Dropping** the future before it is ready ends the connection: nobody knows what is under way on it.
    ///
    /// # Errors
    /// See [`HttpError`].
    ///
    /// [`Content`]: super::Content
    pub async fn request_with<B>(&self, mut request: Request, content: B) -> Result<HttpResponse<C>, HttpError>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut source = Source::new(content);
        match request.body {
            Body::Full(_) => return Err(HttpError::Invalid("content given twice")),
            Body::Empty => request.body = source.framing(),
            Body::Sized(_) | Body::Stream => {}
        }
        let target = target(&request.uri, self.secure)?;
        let mut attempts = 1;
        loop {
            let connection = self.pool.acquire(&target).await?;
            let (error, left) = match ask(connection, |number| Sending::with_source(&request, source, number)).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            if !self.repeats(&error, attempts, &request.method) {
                return Err(error);
            }
            source = match (left, error) {
                (Some(left), _) if !left.is_touched() => left,
                (_, HttpError::Lost { delivery, closed }) => return Err(HttpError::ContentGone { delivery, closed }),
                (_, error) => return Err(error),
            };
            attempts += 1;
        }
    }

    /// Asks for `uri`.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn get(&self, uri: Uri) -> Result<HttpResponse<C>, HttpError> {
        self.request(Request { body: Body::Empty, ..Request::new(Method::GET, uri) }).await
    }

    /// Whether the request is sent once more.
    fn repeats(&self, error: &HttpError, attempts: u32, method: &Method) -> bool {
        let HttpError::Lost { delivery, .. } = error else { return false };
        attempts < ATTEMPTS && delivery.may_retry(self.retry_idempotent && method.is_idempotent())
    }
}

impl<C: PoolCarrier> Clone for HttpClient<C> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), secure: self.secure, retry_idempotent: self.retry_idempotent }
    }
}

impl<C: PoolCarrier> fmt::Debug for HttpClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("pool", &self.pool).finish_non_exhaustive()
    }
}
