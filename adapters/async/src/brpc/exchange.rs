//! The serving side of one connection.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use duologue_brpc::{AcceptError, Brpc, BrpcCommand, Checksum, Compression, Reply, Request, Status, prost};
use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::{CloseIntent, Closed, Code, Instant, SendError, Session};
use thiserror::Error;

use super::desk::Desk;
use super::{BrpcStream, BrpcTask, open};
use crate::Connection;
use crate::connect::within;
use crate::streams::Mux;

/// The requests of one connection. Clones are the same connection.
pub struct BrpcConnection<T: Transport, K: Timekeeper> {
    mux: Mux<Brpc, T, K>,
    desk: Desk,
}

/// One request, until it is replied to. **Dropping** it unanswered answers it by EINTERNAL: a client never waits for a
/// handler that panicked.
pub struct Exchange<T: Transport, K: Timekeeper> {
    mux: Mux<Brpc, T, K>,
    desk: Desk,
    request: Box<Request>,
    deadline: Option<Instant>,
    replied: bool,
}

/// Why nobody waits for the answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// The deadline passed.
    Late,
    /// The connection ended.
    Lost,
}

/// A good answer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// A protobuf message.
    pub body: Bytes,
    /// Bytes behind it.
    pub attachment: Bytes,
    /// Of the body.
    pub compression: Compression,
    /// Of the body.
    pub checksum: Checksum,
}

/// A reply that was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The connection ends, or has ended.
    #[error("the connection takes no reply any more")]
    Ended,
    /// It can never fit into the send queue. The client got EINTERNAL.
    #[error("a reply of {need} bytes; the send queue takes {limit}")]
    TooLarge {
        /// What it takes, in bytes.
        need: usize,
        /// [`Limits::send_buffer`](duologue_core::Limits::send_buffer).
        limit: usize,
    },
    /// It cannot be sent like this. The client got EINTERNAL.
    #[error("not a reply: {0}")]
    Invalid(&'static str),
}

impl Answer {
    /// These bytes.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// A protobuf message.
    #[must_use]
    pub fn message(message: &impl prost::Message) -> Self {
        Self::new(message.encode_to_vec())
    }

    /// With bytes behind it.
    #[must_use]
    pub fn attachment(mut self, attachment: impl Into<Bytes>) -> Self {
        self.attachment = attachment.into();
        self
    }

    /// Compressed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// With a checksum.
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }
}

impl<T: Transport, K: Timekeeper> BrpcConnection<T, K> {
    /// Takes a connection over. Spawn the task: nothing moves while nobody polls it.
    pub fn new(connection: Connection<Brpc, T, K>) -> (Self, BrpcTask<T, K>) {
        let (mux, task, desk) = open(connection);
        (Self { mux, desk }, task)
    }

    /// The next request; `None` once the connection ended. Hand each to a task of its own. Cancel-safe.
    pub async fn accept(&self) -> Option<Exchange<T, K>> {
        let request = poll_fn(|cx| self.desk.poll_request(cx)).await?;
        // From when it came, and not from when somebody had time for it.
        let deadline = request.timeout.map(|timeout| request.arrived.after(timeout));
        Some(Exchange { mux: self.mux.clone(), desk: self.desk.clone(), request, deadline, replied: false })
    }

    /// Ends in order: further requests are answered by ELOGOFF, and the connection ends once those that wait were
    /// replied to and the streams have ended.
    pub fn drain(&self) {
        self.mux.drain();
    }

    /// Ends the connection: what was accepted is sent.
    pub fn close(&self) {
        self.mux.close(CloseIntent::Goodbye(Code(0)));
    }

    /// Resets the connection.
    pub fn abort(&self, code: Code) {
        self.mux.abort(code);
    }

    /// Waits for the end of the connection. Cancel-safe.
    pub async fn closed(&self) -> Closed<duologue_brpc::BrpcViolation> {
        self.mux.closed().await
    }

    /// Looks at the session.
    pub fn inspect<R>(&self, look: impl FnOnce(&Session<Brpc>) -> R) -> R {
        self.mux.inspect(look)
    }
}

impl<T: Transport, K: Timekeeper> Exchange<T, K> {
    /// What is asked.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// When the client gives up, on the connection's clock, if it said how long it waits.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Waits until the client gave up: its [`deadline`](Self::deadline) passed; for ever if it said none. Cancel-safe.
    pub async fn expired(&self)
    where
        K: Clone,
    {
        let never = std::future::pending::<()>();
        match self.deadline {
            Some(at) => drop(within(self.clock(), at, never).await),
            None => never.await,
        }
    }

    /// Waits until the connection has ended: no answer arrives any more, and what is done for it is done for nobody. That
    /// is noticed as soon as the system tells; where it tells nothing, the session's keepalive finds out. Cancel-safe.
    pub async fn lost(&self) {
        poll_fn(|cx| self.desk.poll_lost(self.request.id.0, cx)).await;
    }

    /// Works until the client gave up or is gone.
    ///
    /// # Errors
    /// Which of them.
    pub(super) async fn unless_gone<F: Future>(&self, work: F) -> Result<F::Output, Gone>
    where
        K: Clone,
    {
        let mut work = pin!(work);
        let worked = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.desk.poll_lost(self.request.id.0, cx).map(|()| Err(Gone::Lost)),
        });
        match self.deadline {
            Some(at) => within(self.clock(), at, worked).await.unwrap_or(Err(Gone::Late)),
            None => worked.await,
        }
    }

    /// A clock to wait with.
    pub(super) fn clock(&self) -> K
    where
        K: Clone,
    {
        self.mux.clock().0
    }

    /// Accepts all streams that the request opens, in its order. What is sent on them goes behind the reply.
    ///
    /// # Errors
    /// See [`AcceptError`]; nothing was accepted.
    pub fn accept(&self) -> Result<Vec<BrpcStream<T, K>>, AcceptError> {
        self.mux.adopt(|brpc| brpc.accept(self.request.id))
    }

    /// Replies, waiting for room. Cancelled before it was queued, the client gets EINTERNAL.
    ///
    /// # Errors
    /// See [`ReplyError`].
    pub async fn reply(mut self, answer: Result<Answer, Status>) -> Result<(), ReplyError> {
        let to = self.request.id;
        let mut waiting = Some(Box::new(match answer {
            Ok(Answer { body, attachment, compression, checksum }) => {
                Reply { attachment, compression, checksum, ..Reply::ok(to, body) }
            }
            Err(status) => Reply::status(to, status),
        }));
        let mut room = self.desk.room();
        let sent = poll_fn(|cx| {
            if !room.may_try(cx) {
                return Poll::Pending;
            }
            // Polled further only while the reply is here.
            let Some(mut reply) = waiting.take() else { return Poll::Ready(Err(ReplyError::Ended)) };
            for registered in [false, true] {
                let refused = match self.mux.try_send(BrpcCommand::Reply(reply)) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(refused) => refused,
                };
                let BrpcCommand::Reply(back) = (match refused {
                    SendError::TooLarge { need, limit, .. } => {
                        return Poll::Ready(Err(ReplyError::TooLarge { need, limit }));
                    }
                    SendError::Invalid { why, .. } => return Poll::Ready(Err(ReplyError::Invalid(why))),
                    refused if refused.is_temporary() => refused.into_command(),
                    _ => return Poll::Ready(Err(ReplyError::Ended)),
                }) else {
                    return Poll::Ready(Err(ReplyError::Ended));
                };
                reply = back;
                // Room that came before the registration wakes nobody: it is looked for once more.
                if !registered {
                    room.await_room(cx);
                }
            }
            waiting = Some(reply);
            Poll::Pending
        })
        .await;
        self.replied = sent.is_ok();
        sent
    }
}

impl<T: Transport, K: Timekeeper> Drop for Exchange<T, K> {
    fn drop(&mut self) {
        self.desk.forget(self.request.id.0);
        if !self.replied {
            let _ = self.mux.try_send(BrpcCommand::Abandon(self.request.id));
        }
    }
}

impl<T: Transport, K: Timekeeper> Clone for BrpcConnection<T, K> {
    fn clone(&self) -> Self {
        Self { mux: self.mux.clone(), desk: self.desk.clone() }
    }
}

impl<T: Transport, K: Timekeeper> fmt::Debug for BrpcConnection<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrpcConnection").field("mux", &self.mux).finish_non_exhaustive()
    }
}

impl<T: Transport, K: Timekeeper> fmt::Debug for Exchange<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("request", &self.request).finish_non_exhaustive()
    }
}
