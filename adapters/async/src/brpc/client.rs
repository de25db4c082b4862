//! The calling side.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use duologue_brpc::{Brpc, BrpcCommand, Call, CallId, Response, prost};
use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::{CloseIntent, Closed, Code, Instant, SendError, Session};

use super::desk::{Desk, Place, Turn};
use super::error::RpcError;
use super::{BrpcStream, BrpcTask, open};
use crate::Connection;
use crate::connect::within;
use crate::streams::Mux;

type ClosedOf = Closed<duologue_brpc::BrpcViolation>;

/// Calls over one connection. Clones share it; when the last one and the last stream are gone it closes in order.
///
/// A call waits for its turn (room in the queue, places for its streams) and for its answer, all within its deadline.
/// **Dropping** the future of a call cancels it: nobody waits for its answer any more, and streams that it opened are reset.
pub struct BrpcClient<T: Transport, K: Timekeeper> {
    mux: Mux<Brpc, T, K>,
    desk: Desk,
}

/// A call that was sent. It is a future of the answer; dropping it cancels the call.
#[must_use = "dropping it cancels the call"]
pub struct PendingCall<T: Transport, K: Timekeeper> {
    client: BrpcClient<T, K>,
    place: Place,
    answered: bool,
}

impl<T: Transport, K: Timekeeper> BrpcClient<T, K> {
    /// Takes a connection over. Spawn the task: nothing moves while nobody polls it.
    pub fn new(connection: Connection<Brpc, T, K>) -> (Self, BrpcTask<T, K>) {
        let (mux, task, desk) = open(connection);
        (Self { mux, desk }, task)
    }

    /// Ends in order: no further call or stream; the connection ends once the calls that wait are answered and the streams
    /// have ended. Nothing bounds that but their own deadlines: see [`close`](Self::close) and [`abort`](Self::abort).
    pub fn drain(&self) {
        self.mux.drain();
    }

    /// Ends the connection: what was accepted is sent; calls without an answer are lost.
    pub fn close(&self) {
        self.mux.close(CloseIntent::Goodbye(Code(0)));
    }

    /// Resets the connection.
    pub fn abort(&self, code: Code) {
        self.mux.abort(code);
    }

    /// Waits for the end of the connection. Cancel-safe.
    pub async fn closed(&self) -> ClosedOf {
        self.mux.closed().await
    }

    /// Looks at the session: its states, counters, streams.
    pub fn inspect<R>(&self, look: impl FnOnce(&Session<Brpc>) -> R) -> R {
        self.mux.inspect(look)
    }
}

impl<T: Transport, K: Timekeeper + Clone> BrpcClient<T, K> {
    /// Calls, and waits for the answer: within [`Call::timeout`] from now, or the configuration's. The call's `id` and
    /// `streams` are chosen here.
    ///
    /// # Errors
    /// See [`RpcError`]; an error of the server is [`RpcError::Status`].
    pub async fn call(&self, call: Call) -> Result<Response, RpcError> {
        let at = self.until(&call);
        self.call_until(call, at).await
    }

    /// Calls, and waits for the answer until `deadline`, a moment of the connection's clock; see
    /// [`deadline_in`](Self::deadline_in). One that passed already is an error at once, and nothing is sent.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn call_until(&self, call: Call, deadline: Instant) -> Result<Response, RpcError> {
        self.start(call, &[], deadline).await?.await
    }

    /// Calls with a protobuf message, and waits for one.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn call_message<M: prost::Message + Default>(
        &self,
        service: &str,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<M, RpcError> {
        Ok(self.call(Call::message(service, method, request)).await?.message()?)
    }

    /// Calls with `n` streams, and waits for the answer. What comes are the streams that the server accepted: the first
    /// ones, maybe none.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn call_with_streams(&self, call: Call, n: usize) -> Result<(Response, Vec<BrpcStream<T, K>>), RpcError> {
        let (pending, mut streams) = self.start_with_streams(call, n).await?;
        let response = pending.await?;
        streams.truncate(response.streams);
        Ok((response, streams))
    }

    /// Calls with `n` streams that can be sent on at once: what is sent before the answer waits for it, and then flows in
    /// order. Streams that the server does not accept end as refused.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn start_with_streams(
        &self,
        call: Call,
        n: usize,
    ) -> Result<(PendingCall<T, K>, Vec<BrpcStream<T, K>>), RpcError> {
        let deadline = self.until(&call);
        let (clock, _) = self.mux.clock();
        let opening = async {
            let mut streams = Vec::with_capacity(n.min(64));
            for _ in 0..n {
                streams.push(self.mux.open().await?);
            }
            Ok::<_, RpcError>(streams)
        };
        let streams = within(clock, deadline, opening).await.ok_or(RpcError::Timeout)??;
        let ids: Vec<_> = streams.iter().map(BrpcStream::id).collect();
        Ok((self.start(call, &ids, deadline).await?, streams))
    }

    /// The moment `from_now` on, on the connection's clock: one deadline for several calls.
    #[must_use]
    pub fn deadline_in(&self, from_now: Duration) -> Instant {
        self.mux.clock().1.after(from_now)
    }

    fn until(&self, call: &Call) -> Instant {
        let timeout =
            call.timeout.unwrap_or_else(|| self.mux.inspect(|session| session.protocol().config().call_timeout));
        self.deadline_in(timeout)
    }

    /// Sends a call as soon as there is room, within its deadline.
    async fn start(
        &self,
        mut call: Call,
        streams: &[duologue_core::streams::StreamId],
        deadline: Instant,
    ) -> Result<PendingCall<T, K>, RpcError> {
        let (clock, now) = self.mux.clock();
        if deadline <= now {
            return Err(RpcError::Timeout);
        }
        call.streams = streams.to_vec();
        let most = self.mux.inspect(|session| session.protocol().config().max_calls);
        // Polled further only while the call is here.
        let mut waiting = Some(Box::new(call));
        let mut place = None;
        let (mut turn, mut room) = (self.desk.place(), self.desk.room());
        let sending = poll_fn(|cx| {
            if place.is_none() {
                place = Some(ready!(turn.reserve(most, cx)));
            }
            if !room.may_try(cx) {
                return Poll::Pending;
            }
            let (Some(mut call), Some(place)) = (waiting.take(), &place) else {
                return Poll::Ready(Err(RpcError::Ended));
            };
            call.id = place.id;
            self.poll_send(cx, call, deadline, &mut waiting, &mut room)
        });
        within(clock, deadline, sending).await.ok_or(RpcError::Timeout)??;
        let place = place.ok_or(RpcError::Ended)?;
        Ok(PendingCall { client: self.clone(), place, answered: false })
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        mut call: Box<Call>,
        deadline: Instant,
        waiting: &mut Option<Box<Call>>,
        room: &mut Turn,
    ) -> Poll<Result<(), RpcError>> {
        for registered in [false, true] {
            // What is told to the server is what is left.
            let left = deadline.since(self.mux.clock().1);
            call.timeout = Some(left);
            let refused = match self.mux.try_send(BrpcCommand::Call(call)) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(refused) => refused,
            };
            let BrpcCommand::Call(back) = (match refused {
                SendError::TooLarge { need, limit, .. } => return Poll::Ready(Err(RpcError::TooLarge { need, limit })),
                SendError::Invalid { why, .. } => return Poll::Ready(Err(RpcError::Invalid(why))),
                refused if refused.is_temporary() => refused.into_command(),
                _ => return Poll::Ready(Err(RpcError::Ended)),
            }) else {
                return Poll::Ready(Err(RpcError::Ended));
            };
            call = back;
            // Room that came before the registration wakes nobody: it is looked for once more.
            if !registered {
                room.await_room(cx);
            }
        }
        *waiting = Some(call);
        Poll::Pending
    }
}

impl<T: Transport, K: Timekeeper> Future for PendingCall<T, K> {
    type Output = Result<Response, RpcError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.place.poll(cx));
        self.answered = true;
        let response = result?;
        response.status()?;
        Poll::Ready(Ok(*response))
    }
}

impl<T: Transport, K: Timekeeper> Drop for PendingCall<T, K> {
    fn drop(&mut self) {
        if !self.answered {
            // It may have been answered meanwhile, or the connection is no more: then there is nothing to cancel.
            let _ = self.client.mux.try_send(BrpcCommand::Cancel(CallId(self.place.id)));
        }
    }
}

impl<T: Transport, K: Timekeeper> Clone for BrpcClient<T, K> {
    fn clone(&self) -> Self {
        Self { mux: self.mux.clone(), desk: self.desk.clone() }
    }
}

impl<T: Transport, K: Timekeeper> fmt::Debug for BrpcClient<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrpcClient").field("mux", &self.mux).finish_non_exhaustive()
    }
}

impl<T: Transport, K: Timekeeper> fmt::Debug for PendingCall<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCall").field("id", &self.place.id).finish_non_exhaustive()
    }
}
