//! Content that one task makes while another sends it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use duologue_http1::http::HeaderMap;
use thiserror::Error;

use crate::hub::lock;

/// A handle to write content into, and the content itself: for [`HttpClient::request_with`](super::HttpClient::request_with).
/// Between them is room for one piece: who writes waits until the piece before is on its way.
///
/// ```
/// use duologue_async::http1::content;
///
/// let (mut sender, body) = content();
/// let made = async move {
///     for piece in ["one", "two"] {
///         sender.send(piece.into()).await?;
///     }
///     sender.finish(None);
///     Ok::<_, duologue_async::http1::ContentGone>(())
/// };
/// // Beside `client.request_with(request, body)`, in another task or joined with it.
/// # drop((made, body));
/// ```
#[must_use]
pub fn content() -> (ContentSender, Content) {
    let shared = Arc::new(Mutex::new(State::default()));
    (ContentSender { shared: Arc::clone(&shared) }, Content { shared })
}

#[derive(Debug, Default)]
struct State {
    piece: Option<Bytes>,
    end: Option<End>,
    /// Nobody takes anything any more.
    gone: bool,
    maker: Option<Waker>,
    taker: Option<Waker>,
}

#[derive(Debug)]
enum End {
    Finished(Option<HeaderMap>),
    /// The sender was dropped before.
    Cut,
}

/// Makes content. **Dropped** before [`finish`](Self::finish) it cuts the request: the server never takes what it has for
/// the whole.
pub struct ContentSender {
    shared: Arc<Mutex<State>>,
}

/// Content that its [`ContentSender`] makes.
pub struct Content {
    shared: Arc<Mutex<State>>,
}

/// Nobody takes the content any more: the request was answered without it, failed, or was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the content is not wanted any more; the request's answer or error says why")]
pub struct ContentGone;

/// The sender was dropped before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the content's sender was dropped before it said that the content is complete")]
struct ContentCut;

impl ContentSender {
    /// Hands on a piece, once the one before was taken. Dropped before it is ready it has handed on nothing.
    ///
    /// # Errors
    /// Nobody takes it any more.
    pub async fn send(&mut self, piece: Bytes) -> Result<(), ContentGone> {
        let mut piece = Some(piece);
        poll_fn(|cx| {
            let mut state = lock(&self.shared);
            if state.gone {
                return Poll::Ready(Err(ContentGone));
            }
            if state.piece.is_some() {
                state.maker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.piece = piece.take();
            let taker = state.taker.take();
            drop(state);
            taker.into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// The content is complete; trailers go only in chunks.
    pub fn finish(self, trailers: Option<HeaderMap>) {
        self.end(End::Finished(trailers));
    }

    fn end(&self, end: End) {
        let mut state = lock(&self.shared);
        state.end.get_or_insert(end);
        let taker = state.taker.take();
        drop(state);
        taker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for ContentSender {
    fn drop(&mut self) {
        self.end(End::Cut);
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.gone = true;
        let (maker, piece) = (state.maker.take(), state.piece.take());
        drop(state);
        drop(piece);
        maker.into_iter().for_each(Waker::wake);
    }
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let mut state = lock(&self.shared);
        if let Some(piece) = state.piece.take() {
            let maker = state.maker.take();
            drop(state);
            maker.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(Ok(http_body::Frame::data(piece))));
        }
        match &mut state.end {
            None => {
                state.taker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(End::Finished(trailers)) => {
                Poll::Ready(trailers.take().map(|trailers| Ok(http_body::Frame::trailers(trailers))))
            }
            Some(End::Cut) => Poll::Ready(Some(Err(ContentCut.into()))),
        }
    }
}

impl fmt::Debug for ContentSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentSender").field("is_wanted", &!lock(&self.shared).gone).finish()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").finish_non_exhaustive()
    }
}
