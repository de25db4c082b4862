//! Handles for the streams of one connection: open, accept, send, receive, from any number of tasks.
//!
//! One future, [`MuxTask`], moves the bytes and hands out the wakes; spawn it on whatever runtime there is. The handles
//! work on the streams directly, under one lock that is held for one step of the machine and never across a wait.
//!
//! **Dropping**: the last sender of a stream that was not finished resets it with
//! [`MuxOptions::dropped`]; a receiver that goes away before the end wants nothing more of its stream. When the last
//! handle of the connection is gone it closes in order.

mod events;
mod handle;
mod io;
mod opening;
mod options;
mod table;
mod waiters;

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::streams::{Multiplex, StreamEnd, StreamEvent, StreamId};
use duologue_core::{CloseIntent, Closed, Code, Event, Protocol, Session};

use crate::connection::Connection;
use crate::hub::lock;
use crate::line::Line;
use crate::open::Open;

use events::Told;
use table::{Table, Waiting};
use waiters::{SHARED, Wait, Waiters};

pub use options::MuxOptions;

pub use handle::{MuxStream, StreamReceiver, StreamSender};

/// Events handed out before other tasks get their turn.
const BUDGET: usize = 128;

/// One connection of many streams. Clones are the same connection.
pub struct Mux<P: Multiplex, T: Transport, K: Timekeeper> {
    shared: Arc<Shared<P, T, K>>,
}

/// Drives the connection until it ends, and tells how. Nothing happens while nobody polls it.
#[must_use = "spawn it: nothing moves while nobody polls it"]
pub struct MuxTask<P: Multiplex, T: Transport, K: Timekeeper> {
    shared: Arc<Shared<P, T, K>>,
}

pub(crate) struct Shared<P: Multiplex, T: Transport, K: Timekeeper> {
    inner: Mutex<Inner<P, T, K>>,
    options: MuxOptions,
}

pub(crate) struct Inner<P: Multiplex, T: Transport, K: Timekeeper> {
    open: Open<P, T, K>,
    /// The streams that handles exist for, or will when they are accepted.
    streams: Table,
    incoming: VecDeque<StreamId>,
    acceptors: Waiters,
    openers: Line,
    enders: Waiters,
    task: Option<Waker>,
    /// Connection handles and stream handles.
    handles: usize,
    over: bool,
    /// What the protocol tells besides its streams, where nobody else hears it.
    told: Told<P::Event>,
    /// Who hears what the protocol tells besides its streams.
    beside: Option<Box<dyn Beside<P>>>,
}

/// Takes what the protocol tells besides its streams. It runs under the connection's lock: it puts things down, and names
/// who is to be woken.
pub(crate) trait Beside<P: Protocol>: Send {
    /// An event, the session's own included, but for those of streams.
    fn told(&mut self, event: Event<P::Event, P::Violation>, wakes: &mut Vec<Waker>);

    /// Nothing more will be told.
    fn over(&mut self, wakes: &mut Vec<Waker>);
}

type WaitersOf<P, T, K> = fn(&mut Inner<P, T, K>) -> &mut Waiters;

/// A wait for something of the connection's.
struct Waited<'a, P: Multiplex, T: Transport, K: Timekeeper> {
    shared: &'a Shared<P, T, K>,
    waiters: WaitersOf<P, T, K>,
    wait: Wait,
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Drop for Waited<'_, P, T, K> {
    fn drop(&mut self) {
        if self.wait.is_some() {
            let left = (self.waiters)(&mut lock(&self.shared.inner)).leave(&mut self.wait);
            drop(left);
        }
    }
}

/// Wakers to be called once no lock is held.
#[derive(Default)]
struct Wakes(Vec<Waker>);

impl Wakes {
    fn fire(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Mux<P, T, K> {
    /// Takes a connection over. Spawn the task.
    pub fn new(connection: Connection<P, T, K>, options: MuxOptions) -> (Self, MuxTask<P, T, K>) {
        Self::with(connection, options, None)
    }

    pub(crate) fn with(
        connection: Connection<P, T, K>,
        options: MuxOptions,
        beside: Option<Box<dyn Beside<P>>>,
    ) -> (Self, MuxTask<P, T, K>) {
        let inner = Inner {
            open: *connection.open,
            streams: Table::default(),
            incoming: VecDeque::new(),
            acceptors: Waiters::default(),
            openers: Line::default(),
            enders: Waiters::default(),
            task: None,
            handles: 1,
            over: false,
            told: Told::new(options.events),
            beside,
        };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), options });
        (Self { shared: Arc::clone(&shared) }, MuxTask { shared })
    }

    /// The next stream that the peer opened; `None` once the connection ended. Cancel-safe.
    pub async fn accept(&self) -> Option<MuxStream<P, T, K>> {
        self.waits(|inner| &mut inner.acceptors, |wait, cx| self.poll_accept_as(wait, cx)).await
    }

    /// As [`accept`](Self::accept), as a poll.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<MuxStream<P, T, K>>> {
        self.poll_accept_as(&mut SHARED.clone(), cx)
    }

    fn poll_accept_as(&self, wait: &mut Wait, cx: &mut Context<'_>) -> Poll<Option<MuxStream<P, T, K>>> {
        let take = |inner: &mut Inner<P, T, K>| match inner.incoming.pop_front() {
            Some(id) => {
                inner.adopt(id);
                Some(Some(id))
            }
            None => inner.over.then_some(None),
        };
        let taken = self.take_or_wait(take, |inner| &mut inner.acceptors, wait, cx);
        taken.map(|id| id.map(|id| MuxStream::new(Arc::clone(&self.shared), id)))
    }

    /// Takes what is there, or has this one woken.
    fn take_or_wait<R>(
        &self,
        take: impl FnOnce(&mut Inner<P, T, K>) -> Option<R>,
        waiters: WaitersOf<P, T, K>,
        wait: &mut Wait,
        cx: &Context<'_>,
    ) -> Poll<R> {
        let mut inner = lock(&self.shared.inner);
        match take(&mut inner) {
            Some(taken) => Poll::Ready(taken),
            None => {
                let before = waiters(&mut inner).enlist(wait, cx.waker());
                drop(inner);
                drop(before);
                Poll::Pending
            }
        }
    }

    /// Waits, and is forgotten when it goes away.
    fn waits<R>(
        &self,
        waiters: WaitersOf<P, T, K>,
        mut poll: impl FnMut(&mut Wait, &mut Context<'_>) -> Poll<R>,
    ) -> impl Future<Output = R> {
        let mut waiting = Waited { shared: &self.shared, waiters, wait: None };
        poll_fn(move |cx| {
            // The whole of it belongs to the future, not only what is looked at.
            let waiting = &mut waiting;
            poll(&mut waiting.wait, cx)
        })
    }

    /// Begins to end the connection: what streams accepted is sent, then the goodbye.
    pub fn close(&self, intent: CloseIntent) {
        self.shared.act(|inner| inner.open.close(intent));
    }

    /// Winds down, see [`Session::drain`]: what is under way is ended first where the protocol can tell, otherwise this is
    /// [`close`](Self::close) with a goodbye.
    pub fn drain(&self) {
        self.shared.act(|inner| {
            if !inner.open.drain() {
                inner.open.close(CloseIntent::Goodbye(Code(0)));
            }
        });
    }

    /// Takes streams that came about otherwise than by [`open`](Self::open) or [`accept`](Self::accept).
    #[cfg(feature = "brpc")]
    pub(crate) fn adopt<E>(
        &self,
        make: impl FnOnce(&mut P) -> Result<Vec<StreamId>, E>,
    ) -> Result<Vec<MuxStream<P, T, K>>, E> {
        let ids = self.shared.act(|inner| {
            let made = make(&mut inner.open.protocol_mut());
            made.iter().flatten().for_each(|id| inner.adopt(*id));
            made
        })?;
        Ok(ids.into_iter().map(|id| MuxStream::new(Arc::clone(&self.shared), id)).collect())
    }

    /// The connection's clock: a copy to wait with, and the time.
    #[cfg(feature = "brpc")]
    pub(crate) fn clock(&self) -> (K, duologue_core::Instant)
    where
        K: Clone,
    {
        let mut inner = lock(&self.shared.inner);
        (inner.open.timekeeper().clone(), inner.open.now())
    }

    /// Resets the connection, and with it every stream.
    pub fn abort(&self, code: Code) {
        self.shared.act(|inner| inner.open.abort(code));
    }

    /// Sends a command of the protocol's own. What it tells in answer comes by [`event`](Self::event).
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn try_send(&self, command: P::Command) -> Result<(), duologue_core::SendError<P::Command>> {
        self.shared.act(|inner| inner.open.send(command))
    }

    /// Waits for the end of the connection. If the task was dropped before it, who waits here drives the rest.
    /// Cancel-safe.
    pub async fn closed(&self) -> Closed<P::Violation> {
        let closed = |wait: &mut Wait, cx: &mut Context<'_>| {
            let mut wakes = Wakes::default();
            let mut inner = lock(&self.shared.inner);
            let mut left = BUDGET;
            while inner.over && !inner.open.session().is_over() {
                left -= 1;
                if left == 0 {
                    cx.waker().wake_by_ref();
                    break;
                }
                match inner.open.poll_event(cx) {
                    // It was the last: others may wait for it as well.
                    Poll::Ready(Some(Event::Closed(_))) => inner.enders.call(&mut wakes.0),
                    Poll::Ready(Some(event)) => inner.take(event, &mut wakes),
                    Poll::Ready(None) | Poll::Pending => break,
                }
            }
            let (polled, before) = match inner.open.end() {
                Some(closed) => (Poll::Ready(closed), None),
                None => (Poll::Pending, inner.enders.enlist(wait, cx.waker())),
            };
            drop(inner);
            drop(before);
            wakes.fire();
            polled
        };
        self.waits(|inner| &mut inner.enders, closed).await
    }

    /// Looks at the session: its states, counters, streams.
    pub fn inspect<R>(&self, look: impl FnOnce(&Session<P>) -> R) -> R {
        look(lock(&self.shared.inner).open.session())
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Shared<P, T, K> {
    /// Works on the connection, and has the task carry out what became due.
    fn act<R>(&self, act: impl FnOnce(&mut Inner<P, T, K>) -> R) -> R {
        let mut inner = lock(&self.inner);
        let result = act(&mut inner);
        // A task that was woken and did not run yet looks by itself; asking for every message would cost as much as it.
        let moved = inner.task.is_some() && {
            let interest = inner.open.session().interest();
            interest.event || interest.write || interest.shutdown_write || interest.release.is_some()
        };
        let task = if moved { inner.task.take() } else { None };
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
        result
    }

    /// A deadline changed: the task must look at it.
    fn act_and_wake<R>(&self, act: impl FnOnce(&mut Inner<P, T, K>) -> R) -> R {
        let mut inner = lock(&self.inner);
        let result = act(&mut inner);
        let task = inner.task.take();
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
        result
    }

    fn drop_handle(&self) {
        self.act(|inner| {
            inner.handles -= 1;
            if inner.handles == 0 {
                inner.open.close(CloseIntent::Goodbye(Code(0)));
            }
        });
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Inner<P, T, K> {
    /// One sender and one receiver exist for a stream from now on.
    fn adopt(&mut self, id: StreamId) {
        let waiting = self.streams.entry(id);
        waiting.taken = true;
        waiting.senders = 1;
        waiting.receivers = 1;
        self.handles += 2;
    }

    fn take(&mut self, event: Event<P::Event, P::Violation>, wakes: &mut Wakes) {
        if let Event::App(event) = &event {
            if let Some(event) = P::as_stream_event(event) {
                return self.dispatch(event, wakes);
            }
        }
        match (&mut self.beside, event) {
            (Some(beside), event) => beside.told(event, &mut wakes.0),
            (None, Event::App(event)) => self.told.put(event, wakes),
            (None, _) => {}
        }
    }

    fn dispatch(&mut self, event: StreamEvent, wakes: &mut Wakes) {
        match event {
            StreamEvent::Opened(id) => {
                self.streams.entry(id);
                self.incoming.push_back(id);
                self.acceptors.call(&mut wakes.0);
            }
            StreamEvent::Readable(id) => wakes.0.extend(self.streams.get_mut(id).and_then(|w| w.reader.take())),
            StreamEvent::Writable(id) => {
                if let Some(waiting) = self.streams.get_mut(id) {
                    waiting.writers.call(&mut wakes.0);
                }
            }
            StreamEvent::Closed(id, closed) => {
                if let Some(waiting) = self.streams.get_mut(id) {
                    waiting.closed = Some(closed);
                    wakes.0.extend(waiting.reader.take());
                    waiting.writers.call(&mut wakes.0);
                    // Nothing is left of a stream that the peer took back before anybody took it; keeping them all
                    // would let the peer fill our memory.
                    if !waiting.taken && matches!(closed.end, StreamEnd::PeerReset(_)) {
                        self.streams.remove(id);
                        self.incoming.retain(|other| *other != id);
                    }
                    self.forget_if_unused(id);
                }
            }
            StreamEvent::CanOpen | StreamEvent::Draining => self.call_openers(wakes),
            _ => {}
        }
    }

    /// A stream that ended and that nobody holds.
    fn forget_if_unused(&mut self, id: StreamId) {
        let unused = |w: &Waiting| w.closed.is_some() && w.taken && w.senders == 0 && w.receivers == 0;
        if self.streams.get(id).is_some_and(unused) {
            self.streams.remove(id);
        }
    }

    fn end(&mut self, wakes: &mut Wakes) {
        self.over = true;
        if let Some(beside) = &mut self.beside {
            beside.over(&mut wakes.0);
        }
        self.told.over(wakes);
        self.acceptors.call(&mut wakes.0);
        self.openers.call_all(&mut wakes.0);
        self.enders.call(&mut wakes.0);
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Future for MuxTask<P, T, K> {
    type Output = Closed<P::Violation>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut wakes = Wakes::default();
        let mut inner = lock(&self.shared.inner);
        inner.task = Some(cx.waker().clone());
        let mut left = BUDGET;
        let polled = loop {
            // The streams' own tasks get their turn.
            left -= 1;
            if left == 0 {
                cx.waker().wake_by_ref();
                break Poll::Pending;
            }
            match inner.open.poll_event(cx) {
                Poll::Ready(Some(Event::Closed(closed))) => {
                    inner.end(&mut wakes);
                    break Poll::Ready(closed);
                }
                Poll::Ready(Some(event)) => inner.take(event, &mut wakes),
                Poll::Ready(None) => match inner.open.end() {
                    // It had ended before it was taken over.
                    Some(closed) => {
                        inner.end(&mut wakes);
                        break Poll::Ready(closed);
                    }
                    None => break Poll::Pending,
                },
                Poll::Pending => break Poll::Pending,
            }
        };
        drop(inner);
        wakes.fire();
        polled
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Drop for MuxTask<P, T, K> {
    /// Nobody drives any more: whoever waits must not wait for ever.
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        let mut inner = lock(&self.shared.inner);
        if !inner.over {
            inner.open.abort(self.shared.options.dropped);
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..1_000_000 {
                match inner.open.poll_event(&mut cx) {
                    Poll::Ready(Some(event)) => inner.take(event, &mut wakes),
                    _ => break,
                }
            }
            inner.end(&mut wakes);
        }
        drop(inner);
        wakes.fire();
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Clone for Mux<P, T, K> {
    fn clone(&self) -> Self {
        lock(&self.shared.inner).handles += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Drop for Mux<P, T, K> {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> fmt::Debug for Mux<P, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux").field("session", lock(&self.shared.inner).open.session()).finish_non_exhaustive()
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> fmt::Debug for MuxTask<P, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MuxTask").finish_non_exhaustive()
    }
}
