//! One stream: whole, or as a sender and a receiver.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::streams::{
    Multiplex, Received, RecvStatus, RefusedData, StreamEnd, StreamError, StreamId, StreamMut,
};
use duologue_core::{Code, Instant};

use super::waiters::{SHARED, Wait};
use super::{Shared, Waiting};
use crate::hub::lock;

/// A stream, both ways. It is also a byte stream for `AsyncRead` and `AsyncWrite`.
pub struct MuxStream<P: Multiplex, T: Transport, K: Timekeeper> {
    pub(super) sender: StreamSender<P, T, K>,
    pub(super) receiver: StreamReceiver<P, T, K>,
}

/// Sends on one stream. Clones are the same stream; what each sends goes out whole, in the order of acceptance, up to
/// the stream's send buffer. In streams of bytes it is also an `AsyncWrite`.
///
/// **Dropping** the last clone of a stream that was not finished resets it: the peer never takes a cut stream for a
/// whole one.
pub struct StreamSender<P: Multiplex, T: Transport, K: Timekeeper> {
    shared: Arc<Shared<P, T, K>>,
    id: StreamId,
    /// As a byte stream: who waits is the handle.
    wait: Wait,
}

/// Receives on one stream. In streams of bytes it is also an `AsyncRead`.
///
/// **Dropping** it before the end says that nothing more is wanted.
pub struct StreamReceiver<P: Multiplex, T: Transport, K: Timekeeper> {
    shared: Arc<Shared<P, T, K>>,
    id: StreamId,
    /// The beginning of a message whose end did not come yet.
    begun: BytesMut,
}

impl<P: Multiplex, T: Transport, K: Timekeeper> MuxStream<P, T, K> {
    pub(super) fn new(shared: Arc<Shared<P, T, K>>, id: StreamId) -> Self {
        let sender = StreamSender { shared: Arc::clone(&shared), id, wait: None };
        Self { sender, receiver: StreamReceiver { shared, id, begun: BytesMut::new() } }
    }

    /// A sender, to be cloned for any number of tasks, and a receiver.
    #[must_use]
    pub fn split(self) -> (StreamSender<P, T, K>, StreamReceiver<P, T, K>) {
        (self.sender, self.receiver)
    }

    /// The sender.
    #[must_use]
    pub fn sender(&self) -> &StreamSender<P, T, K> {
        &self.sender
    }

    /// As [`StreamSender::send`].
    ///
    /// # Errors
    /// As [`StreamSender::send`].
    pub async fn send(&self, data: Bytes) -> Result<(), RefusedData> {
        self.sender.send(data).await
    }

    /// As [`StreamReceiver::recv`].
    ///
    /// # Errors
    /// As [`StreamReceiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        self.receiver.recv().await
    }

    /// As [`StreamReceiver::recv_message`].
    ///
    /// # Errors
    /// As [`StreamReceiver::recv`].
    pub async fn recv_message(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        self.receiver.recv_message().await
    }

    /// Our half-close; receiving goes on.
    pub fn finish(&self) {
        self.sender.finish();
    }

    /// As [`StreamSender::end_within`].
    pub fn end_within(&self, wait: Option<Duration>) {
        self.sender.end_within(wait);
    }

    /// Cancels the stream, both ways.
    pub fn reset(&self, code: Code) {
        self.sender.reset(code);
    }

    /// Its name in this connection.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.sender.id
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Shared<P, T, K> {
    /// Works on a stream; `None` if it ended and that was told.
    fn on<R>(&self, id: StreamId, act: impl FnOnce(&mut StreamMut<'_, P::Data>) -> R) -> Option<R> {
        self.act(|inner| inner.open.protocol_mut().streams_mut().get_mut(id).map(|mut stream| act(&mut stream)))
    }

    /// How a stream ended that is there no more.
    fn end_of(&self, id: StreamId) -> StreamEnd {
        let inner = lock(&self.inner);
        inner.streams.get(id).and_then(|waiting| waiting.closed).map_or(StreamEnd::Lost, |closed| closed.end)
    }

    /// Registers, and looks once more: what happened before the registration wakes nobody.
    fn wait<R>(
        &self,
        id: StreamId,
        register: impl FnOnce(&mut Waiting) -> Option<Waker>,
        act: impl Fn(&mut StreamMut<'_, P::Data>) -> Option<R>,
        ended: impl FnOnce(StreamEnd) -> R,
    ) -> Poll<R> {
        // Whose place was taken, dropped where no lock is held.
        let mut before = None;
        let found = self.act(|inner| {
            let mut protocol = inner.open.protocol_mut();
            let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return Some(None) };
            let found = act(&mut stream);
            drop(protocol);
            if found.is_none() {
                before = inner.streams.get_mut(id).and_then(register);
            }
            found.map(Some)
        });
        match found {
            Some(Some(result)) => Poll::Ready(result),
            Some(None) => Poll::Ready(ended(self.end_of(id))),
            None => Poll::Pending,
        }
    }
}

/// A wait for room in a stream, of one `send`: it is forgotten with it.
struct Room<'a, P: Multiplex, T: Transport, K: Timekeeper> {
    sender: &'a StreamSender<P, T, K>,
    wait: Wait,
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Room<'_, P, T, K> {
    fn poll_send(&mut self, cx: &mut Context<'_>, part: &Bytes) -> Poll<Result<(), StreamError>> {
        self.sender.shared.wait(
            self.sender.id,
            |waiting| waiting.writers.enlist(&mut self.wait, cx.waker()),
            |stream| match stream.send(part.clone()).map_err(|refused| refused.why) {
                Err(StreamError::Full { .. }) => None,
                other => Some(other),
            },
            |end| Err(StreamError::Ended(end)),
        )
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Drop for Room<'_, P, T, K> {
    fn drop(&mut self) {
        self.sender.shared.leave(self.sender.id, &mut self.wait);
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> StreamSender<P, T, K> {
    /// Accepts all of `data`, waiting for room. In streams of bytes, data larger than the stream's send buffer is
    /// accepted piece by piece; what was not accepted comes back with an error. Cancel-safe up to pieces that were
    /// accepted.
    ///
    /// # Errors
    /// The rest of the data, and why it was not accepted.
    pub async fn send(&self, mut data: Bytes) -> Result<(), RefusedData> {
        let (messages, limit) = self.shared.inspect_config(|config| (config.messages, config.send_buffer as usize));
        // What can never fit at once goes in halves of the buffer: while one is sent, the next is there.
        let most = if messages || data.len() <= limit { data.len() } else { (limit / 2).max(1) };
        let mut room = Room { sender: self, wait: None };
        loop {
            let piece = data.len().min(most);
            let part = data.slice(..piece);
            let sent = poll_fn(|cx| room.poll_send(cx, &part)).await;
            if let Err(why) = sent {
                return Err(RefusedData { data, why });
            }
            bytes::Buf::advance(&mut data, piece);
            if data.is_empty() {
                return Ok(());
            }
        }
    }

    /// Copies in as many bytes as fit, waiting for room for the first.
    ///
    /// # Errors
    /// Nothing can be sent any more.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, StreamError>> {
        self.poll_write_as(&mut SHARED.clone(), cx, bytes)
    }

    /// As the handle itself, whose waker is forgotten with it.
    pub(super) fn poll_write_own(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, StreamError>> {
        let mut wait = self.wait;
        let polled = self.poll_write_as(&mut wait, cx, bytes);
        self.wait = wait;
        polled
    }

    fn poll_write_as(&self, wait: &mut Wait, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, StreamError>> {
        self.shared.wait(
            self.id,
            |waiting| waiting.writers.enlist(wait, cx.waker()),
            |stream| match stream.write(bytes) {
                Err(StreamError::Full { .. }) => None,
                other => Some(other),
            },
            |end| Err(StreamError::Ended(end)),
        )
    }

    /// Our half-close: what was accepted is sent, then the finish; receiving goes on.
    pub fn finish(&self) {
        self.shared.on(self.id, |stream| stream.finish());
    }

    /// Cancels the stream, both ways; the peer is told by this code.
    pub fn reset(&self, code: Code) {
        self.shared.on(self.id, |stream| stream.reset(code));
    }

    /// The stream ends by itself unless it is over within this time; `None` for never.
    pub fn end_within(&self, wait: Option<Duration>) {
        self.shared.act_and_wake(|inner| {
            let at = wait.map(|wait| inner.open.now().after(wait));
            set_deadline(inner, self.id, at);
        });
    }

    /// Its name in this connection.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }
}

fn set_deadline<P: Multiplex, T: Transport, K: Timekeeper>(
    inner: &mut super::Inner<P, T, K>,
    id: StreamId,
    at: Option<Instant>,
) {
    if let Some(mut stream) = inner.open.protocol_mut().streams_mut().get_mut(id) {
        stream.set_deadline(at);
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> StreamReceiver<P, T, K> {
    /// What came next; `None` once the peer finished. Its credit goes back to the peer at once: what the
    /// application holds is its own. Cancel-safe.
    ///
    /// # Errors
    /// The stream ended before the peer finished.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), as a poll.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamEnd>> {
        self.poll_piece(cx).map_ok(|piece| piece.map(|(bytes, _)| bytes))
    }

    /// The next whole message, in streams of messages: [`recv`](Self::recv) hands out pieces of one as they come. `None`
    /// once the peer finished. How long a message may become is the protocol's bound. Cancel-safe.
    ///
    /// # Errors
    /// The stream ended before the peer finished.
    pub async fn recv_message(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        poll_fn(|cx| self.poll_recv_message(cx)).await
    }

    /// As [`recv_message`](Self::recv_message), as a poll.
    pub fn poll_recv_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamEnd>> {
        loop {
            match ready!(self.poll_piece(cx)) {
                Ok(Some((bytes, true))) if self.begun.is_empty() => return Poll::Ready(Ok(Some(bytes))),
                Ok(Some((bytes, ends))) => {
                    self.begun.extend_from_slice(&bytes);
                    if ends {
                        return Poll::Ready(Ok(Some(std::mem::take(&mut self.begun).freeze())));
                    }
                }
                // Half a message is none, and its end will not come.
                Ok(None) if !self.begun.is_empty() => return Poll::Ready(Err(StreamEnd::Lost)),
                Ok(None) => return Poll::Ready(Ok(None)),
                Err(end) => return Poll::Ready(Err(end)),
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(Bytes, bool)>, StreamEnd>> {
        self.shared.wait(
            self.id,
            |waiting| waiting.reader.replace(cx.waker().clone()),
            |stream| match stream.recv(usize::MAX) {
                Received::Data { bytes, ends } => {
                    // It was just taken.
                    let _ = stream.release(bytes.len());
                    Some(Ok(Some((bytes, ends))))
                }
                Received::Nothing => None,
                Received::Finished => Some(Ok(None)),
                Received::Ended(end) => Some(finished(end)),
            },
            finished,
        )
    }

    /// Copies out as many bytes as there are and fit; 0 once the peer finished, or where nothing fits. Where messages
    /// end is not told, and empty ones are passed over.
    ///
    /// # Errors
    /// The stream ended before the peer finished.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, StreamEnd>> {
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let into = std::cell::RefCell::new(into);
        self.shared.wait(
            self.id,
            |waiting| waiting.reader.replace(cx.waker().clone()),
            |stream| loop {
                match stream.status() {
                    RecvStatus::Data(_) => match stream.read(&mut into.borrow_mut()) {
                        // Empty messages, and nothing behind them.
                        0 => {}
                        n => return Some(Ok(n)),
                    },
                    RecvStatus::Nothing => return None,
                    RecvStatus::Finished => return Some(Ok(0)),
                    RecvStatus::Ended(end) => return Some(finished::<()>(end).map(|_| 0)),
                }
            },
            |end| finished::<()>(end).map(|_| 0),
        )
    }

    /// Wants nothing more of the peer; sending goes on.
    pub fn stop(self, code: Code) {
        self.shared.on(self.id, |stream| stream.stop_reading(code));
    }

    /// Its name in this connection.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }
}

/// A stream that ended well has nothing more; any other end is an error.
fn finished<X>(end: StreamEnd) -> Result<Option<X>, StreamEnd> {
    if end == StreamEnd::Finished { Ok(None) } else { Err(end) }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Shared<P, T, K> {
    fn inspect_config<R>(&self, look: impl FnOnce(&duologue_core::streams::StreamsConfig) -> R) -> R {
        look(lock(&self.inner).open.session().protocol().streams().config())
    }

    /// Who waited for room in a stream waits no more.
    fn leave(&self, id: StreamId, wait: &mut Wait) {
        if wait.is_some() {
            let left = lock(&self.inner).streams.get_mut(id).and_then(|waiting| waiting.writers.leave(wait));
            drop(left);
        }
    }

    fn drop_stream_handle(&self, id: StreamId, gone: impl FnOnce(&mut Waiting) -> bool, last: impl FnOnce()) {
        let was_last = lock(&self.inner).streams.get_mut(id).is_some_and(gone);
        if was_last {
            last();
        }
        lock(&self.inner).forget_if_unused(id);
        self.drop_handle();
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Clone for StreamSender<P, T, K> {
    fn clone(&self) -> Self {
        let mut inner = lock(&self.shared.inner);
        inner.handles += 1;
        if let Some(waiting) = inner.streams.get_mut(self.id) {
            waiting.senders += 1;
        }
        drop(inner);
        Self { shared: Arc::clone(&self.shared), id: self.id, wait: None }
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Drop for StreamSender<P, T, K> {
    fn drop(&mut self) {
        self.shared.leave(self.id, &mut self.wait);
        let gone = |waiting: &mut Waiting| {
            waiting.senders -= 1;
            waiting.senders == 0
        };
        let code = self.shared.options.dropped;
        self.shared.drop_stream_handle(self.id, gone, || {
            self.shared.on(self.id, |stream| {
                if stream.states().1 == duologue_core::streams::StreamSendState::Open {
                    stream.reset(code);
                }
            });
        });
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Drop for StreamReceiver<P, T, K> {
    fn drop(&mut self) {
        let gone = |waiting: &mut Waiting| {
            waiting.receivers -= 1;
            waiting.receivers == 0
        };
        let code = self.shared.options.dropped;
        self.shared.drop_stream_handle(self.id, gone, || {
            self.shared.on(self.id, |stream| stream.stop_reading(code));
        });
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> fmt::Debug for MuxStream<P, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MuxStream").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> fmt::Debug for StreamSender<P, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> fmt::Debug for StreamReceiver<P, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReceiver").field("id", &self.id).finish_non_exhaustive()
    }
}
