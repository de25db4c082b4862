//! A client of any number of servers.

use std::fmt;

use duologue_http1::http::{Method, Uri, uri::Scheme};
use duologue_http1::{Body, Client, ClientSettings, Request};

use super::HttpError;
use super::exchange::{HttpResponse, ask};
use super::sending::{Sending, Source};
use crate::pooled::{PoolClient, PoolOptions, PoolSetupError};
use crate::redial::Redial;

/// How often a request may be sent in all. Each time before, its connection ended.
const ATTEMPTS: u32 = 3;

/// Asks HTTP/1.1 servers over connections that are used again. Clones share one pool.
///
/// A request of which no byte was handed to a connection is sent on another one by itself: that harms nobody. One that the
/// server may know of comes back as [`HttpError::Lost`], unless its method is idempotent and the client was made with
/// [`retry_idempotent`](Self::retry_idempotent).
pub struct HttpClient<R: Redial> {
    pool: PoolClient<Client, R>,
    retry_idempotent: bool,
}

impl<R: Redial> HttpClient<R> {
    /// A client with a pool of its own. The pool's task is spawned on the runtime.
    ///
    /// # Errors
    /// The pool's configuration cannot work, or there is no runtime to spawn on.
    pub fn new(settings: ClientSettings, options: PoolOptions) -> Result<Self, PoolSetupError> {
        PoolClient::new(move |_| Client::new(settings), options).map(Self::on)
    }

    /// A client on a pool.
    #[must_use]
    pub const fn on(pool: PoolClient<Client, R>) -> Self {
        Self { pool, retry_idempotent: false }
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
    pub const fn pool(&self) -> &PoolClient<Client, R> {
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
    pub async fn request(&self, request: Request) -> Result<HttpResponse<R>, HttpError> {
        if !request.body.is_complete() {
            return Err(HttpError::Invalid("content that is made meanwhile: HttpClient::request_with"));
        }
        let target = target(&request.uri)?;
        let mut attempts = 1;
        loop {
            let connection = self.pool.acquire(&target).await?;
            match ask(connection, |number| Sending::new(&request, number)).await {
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
    pub async fn request_with<B>(&self, mut request: Request, content: B) -> Result<HttpResponse<R>, HttpError>
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
        let target = target(&request.uri)?;
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
    pub async fn get(&self, uri: Uri) -> Result<HttpResponse<R>, HttpError> {
        self.request(Request { body: Body::Empty, ..Request::new(Method::GET, uri) }).await
    }

    /// Whether the request is sent once more.
    fn repeats(&self, error: &HttpError, attempts: u32, method: &Method) -> bool {
        let HttpError::Lost { delivery, .. } = error else { return false };
        attempts < ATTEMPTS && delivery.may_retry(self.retry_idempotent && method.is_idempotent())
    }
}

/// `host:port` of a URI.
pub(super) fn target(uri: &Uri) -> Result<String, HttpError> {
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err(HttpError::Target("the scheme has to be http"));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(HttpError::Target("it names no host"))?;
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}

impl<R: Redial> Clone for HttpClient<R> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), retry_idempotent: self.retry_idempotent }
    }
}

impl<R: Redial> fmt::Debug for HttpClient<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("pool", &self.pool).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_host_and_a_port() {
        let rows = [
            ("http://a/b", Some("a:80")),
            ("http://a:81", Some("a:81")),
            ("http://[::1]:81/", Some("[::1]:81")),
            ("https://a/", None),
            ("/only/a/path", None),
        ];
        for (uri, expected) in rows {
            let uri = uri.parse::<Uri>().expect("a URI");
            assert_eq!(target(&uri).ok().as_deref(), expected, "{uri}");
        }
    }
}
