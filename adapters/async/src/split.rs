//! Two handles on one connection: one that receives, and one that sends and can be cloned for any number of tasks.
//!
//! There is one driver behind a lock and no task of its own: whoever waits, drives, and wakes the others through the
//! [`Hub`]. A waiter that goes away passes its turn on.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::{CloseIntent, Closed, Code, Event, Instant, Protocol, SendState, Session, Stats};

use crate::error::SendError;
use crate::hub::{Hub, lock};
use crate::open::{EventOf, Open};

/// Receives. There is one per connection; it also drives it while it waits.
///
/// **Dropping** it throws away what still comes from the peer, so that senders can go on.
pub struct RecvHalf<P: Protocol, T: Transport, K: Timekeeper> {
    shared: Arc<Shared<P, T, K>>,
}

/// Sends. Clones share one queue; each message goes out whole, in the order of acceptance.
///
/// **Dropping** the last clone finishes sending: what was accepted is flushed, then FIN, while the receiving half is
/// polled. When both halves are gone the connection ends as a dropped [`Connection`](crate::Connection) does.
pub struct SendHalf<P: Protocol, T: Transport, K: Timekeeper> {
    shared: Arc<Shared<P, T, K>>,
}

struct Shared<P: Protocol, T: Transport, K: Timekeeper> {
    inner: Mutex<Inner<P, T, K>>,
    hub: Arc<Hub>,
    send_within: Duration,
}

struct Inner<P: Protocol, T: Transport, K: Timekeeper> {
    open: Open<P, T, K>,
    /// Senders that wait for room, in the order they came, and the room each needs.
    waiting: VecDeque<(u64, usize)>,
    next_id: u64,
    senders: usize,
}

pub(crate) fn split<P: Protocol, T: Transport, K: Timekeeper>(
    open: Open<P, T, K>,
    send_within: Duration,
) -> (RecvHalf<P, T, K>, SendHalf<P, T, K>) {
    let inner = Inner { open, waiting: VecDeque::new(), next_id: 0, senders: 1 };
    let shared = Arc::new(Shared { inner: Mutex::new(inner), hub: Arc::default(), send_within });
    (RecvHalf { shared: Arc::clone(&shared) }, SendHalf { shared })
}

impl<P: Protocol, T: Transport, K: Timekeeper> Shared<P, T, K> {
    /// Runs `step` under the lock, with the hub's waker, and wakes whoever can go on after the lock is released.
    fn drive<R>(&self, step: impl FnOnce(&mut Inner<P, T, K>, &mut Context<'_>) -> R) -> R {
        let mut inner = lock(&self.inner);
        self.hub.begin_drive();
        let waker = Waker::from(Arc::clone(&self.hub));
        let result = step(&mut inner, &mut Context::from_waker(&waker));
        self.mark(&inner);
        let wakes = self.hub.end_drive();
        drop(inner);
        wakes.fire();
        result
    }

    /// Marks whoever can go on now.
    fn mark(&self, inner: &Inner<P, T, K>) {
        let session = inner.open.session();
        if session.states().1 != SendState::Open {
            self.hub.mark_everyone();
        } else if inner.waiting.front().is_some_and(|(_, need)| *need <= session.room()) {
            self.hub.mark_first_sender();
        }
        if session.interest().event {
            self.hub.mark_receiver();
        }
    }

    fn poll_next_event(&self, cx: &mut Context<'_>) -> Poll<Option<EventOf<P>>> {
        // A message that is there costs one lock and no waker.
        // Senders wake by the room itself, so `Writable` is of no use here.
        let ready = {
            let mut inner = lock(&self.inner);
            std::iter::from_fn(|| inner.open.next_ready()).find(|event| !matches!(event, Event::Writable))
        };
        if ready.is_some() {
            return Poll::Ready(ready);
        }
        self.hub.register_receiver(cx.waker());
        self.drive(|inner, cx| {
            loop {
                let polled = inner.open.poll_event(cx);
                if let Poll::Ready(Some(Event::Writable)) = polled {
                    continue;
                }
                if polled.is_ready() {
                    self.hub.forget_receiver();
                    let _ = inner.open.poll_flush(cx);
                }
                return polled;
            }
        })
    }

    /// Carries an intent out, through the receiver if it waits, otherwise here and now.
    fn intend<R>(&self, intent: impl FnOnce(&mut Inner<P, T, K>) -> R) -> R {
        self.drive(|inner, cx| {
            let result = intent(inner);
            if self.hub.has_receiver() {
                self.hub.mark_receiver();
            } else {
                let _ = inner.open.poll_flush(cx);
            }
            result
        })
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> RecvHalf<P, T, K> {
    /// The next event; `None` after [`Event::Closed`]. [`Event::Writable`] is for the senders and does not appear
    /// here. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<EventOf<P>> {
        let waiting = Waiting { shared: &self.shared };
        poll_fn(|cx| waiting.shared.poll_next_event(cx)).await
    }

    /// As [`next_event`](Self::next_event), as a poll. Once it was pending, senders leave the transmission to this
    /// half: poll it again.
    pub fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<EventOf<P>>> {
        self.shared.poll_next_event(cx)
    }

    /// Drives to the end and tells how it ended; messages on the way are dropped. After the end it tells it again.
    pub async fn closed(&mut self) -> Closed<P::Violation> {
        loop {
            if let Some(closed) = lock(&self.shared.inner).open.end() {
                return closed;
            }
            self.next_event().await;
        }
    }

    /// Wants nothing more from the peer.
    pub fn shutdown_read(&mut self) {
        self.shared.intend(|inner| inner.open.shutdown_read());
    }

    /// Says goodbye and begins to end the session, for all handles.
    pub fn start_close(&mut self, intent: CloseIntent) {
        self.shared.intend(|inner| inner.open.close(intent));
    }

    /// Resets the connection, for all handles. [`Event::Closed`] follows.
    pub fn abort(&mut self, code: Code) {
        self.shared.intend(|inner| inner.open.abort(code));
    }

    /// Looks at the session: its states, counters, cause and deadline.
    pub fn inspect<R>(&self, look: impl FnOnce(&Session<P>) -> R) -> R {
        look(lock(&self.shared.inner).open.session())
    }

    /// The session's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.shared.inner).open.session().stats()
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Drop for RecvHalf<P, T, K> {
    fn drop(&mut self) {
        self.shared.hub.forget_receiver();
        self.shared.drive(|inner, cx| {
            inner.open.shutdown_read();
            // Nobody else drives from now on but the senders; what was left to this half is written here.
            let _ = inner.open.poll_flush(cx);
            self.shared.hub.mark_everyone();
        });
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> SendHalf<P, T, K> {
    /// Queues a command and has it transmitted, waiting for room within
    /// [`Options::send_within`](crate::Options::send_within). Waiting senders are served in the order they came.
    /// Cancel-safe: until it returns nothing was queued.
    ///
    /// # Errors
    /// The command comes back: see [`SendError`].
    pub async fn send(&self, command: P::Command) -> Result<(), SendError<P::Command>>
    where
        K: Clone,
    {
        let mut command = match self.try_send(command) {
            Ok(()) => return Ok(()),
            Err(refused) if refused.is_temporary() => Some(refused.into_command()),
            Err(refused) => return Err(refused.into()),
        };
        let mut clock = lock(&self.shared.inner).open.timekeeper().clone();
        let deadline = clock.now().after(self.shared.send_within);
        let mut place = Place { half: self, id: None };
        poll_fn(|cx| {
            let polled = place.poll_send(cx, &mut command);
            if polled.is_pending() {
                return self.give_up(&mut clock, deadline, cx, &mut command);
            }
            polled
        })
        .await
    }

    /// Times a waiting send out.
    fn give_up(
        &self,
        clock: &mut K,
        deadline: Instant,
        cx: &mut Context<'_>,
        command: &mut Option<P::Command>,
    ) -> Poll<Result<(), SendError<P::Command>>> {
        if clock.poll_until(cx, deadline).is_pending() {
            return Poll::Pending;
        }
        match command.take() {
            Some(command) => Poll::Ready(Err(SendError::TimedOut { command, waited: self.shared.send_within })),
            None => Poll::Pending,
        }
    }

    /// Queues a command if it fits now and nobody waits for room.
    ///
    /// # Errors
    /// The command comes back with the reason.
    pub fn try_send(&self, command: P::Command) -> Result<(), duologue_core::SendError<P::Command>> {
        self.shared.intend(|inner| {
            let session = inner.open.session();
            match inner.waiting.front() {
                Some((_, need)) if session.states().1 == SendState::Open => {
                    Err(duologue_core::SendError::Full { command, need: *need, room: session.room() })
                }
                _ => inner.open.send(command),
            }
        })
    }

    /// Waits until everything queued was handed to the transport, or nothing more can be.
    pub async fn flush(&self) {
        let mut place = Place { half: self, id: None };
        poll_fn(|cx| place.poll_flush(cx)).await;
    }

    /// Our half-close, for all clones: what was accepted is flushed, then FIN.
    pub fn finish(&self) {
        self.shared.intend(|inner| inner.open.finish());
    }

    /// Says goodbye and begins to end the session, for all handles.
    pub fn start_close(&self, intent: CloseIntent) {
        self.shared.intend(|inner| inner.open.close(intent));
    }

    /// Resets the connection, for all handles.
    pub fn abort(&self, code: Code) {
        self.shared.intend(|inner| inner.open.abort(code));
    }

    /// How the session ended, once it did and the receiver took the event.
    #[must_use]
    pub fn end(&self) -> Option<Closed<P::Violation>> {
        lock(&self.shared.inner).open.end()
    }

    /// The session's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.shared.inner).open.session().stats()
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Clone for SendHalf<P, T, K> {
    fn clone(&self) -> Self {
        lock(&self.shared.inner).senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Drop for SendHalf<P, T, K> {
    fn drop(&mut self) {
        let last = {
            let mut inner = lock(&self.shared.inner);
            inner.senders -= 1;
            inner.senders == 0
        };
        if last {
            self.finish();
        }
    }
}

/// A receiver's wait. Senders leave the transmission to a receiver that waits, so one that goes away makes up for it.
struct Waiting<'a, P: Protocol, T: Transport, K: Timekeeper> {
    shared: &'a Shared<P, T, K>,
}

impl<P: Protocol, T: Transport, K: Timekeeper> Drop for Waiting<'_, P, T, K> {
    fn drop(&mut self) {
        if self.shared.hub.forget_receiver() {
            let _ = self.shared.drive(|inner, cx| inner.open.poll_flush(cx));
        }
    }
}

/// A sender's place in the queue, given up when it is dropped.
struct Place<'a, P: Protocol, T: Transport, K: Timekeeper> {
    half: &'a SendHalf<P, T, K>,
    id: Option<u64>,
}

impl<P: Protocol, T: Transport, K: Timekeeper> Place<'_, P, T, K> {
    fn id(&mut self, inner: &mut Inner<P, T, K>) -> u64 {
        *self.id.get_or_insert_with(|| {
            inner.next_id += 1;
            inner.next_id
        })
    }

    /// Waits for its turn and for room; the command is taken only when it is sent or refused for good.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        command: &mut Option<P::Command>,
    ) -> Poll<Result<(), SendError<P::Command>>> {
        let shared = &self.half.shared;
        shared.drive(|inner, drive_cx| {
            let newcomer = self.id.is_none();
            let id = self.id(inner);
            if newcomer {
                inner.waiting.push_back((id, 1));
            }
            shared.hub.register_sender(id, cx.waker());
            loop {
                let first = inner.waiting.front().is_some_and(|(first, _)| *first == id);
                if first || inner.open.session().states().1 != SendState::Open {
                    let Some(waiting) = command.take() else { return Poll::Pending };
                    match inner.open.send(waiting) {
                        Ok(()) => {
                            inner.waiting.pop_front();
                            let _ = inner.open.poll_progress(drive_cx);
                            return Poll::Ready(Ok(()));
                        }
                        Err(refused) if refused.is_temporary() => {
                            if let (Some(place), duologue_core::SendError::Full { need, .. }) =
                                (inner.waiting.front_mut(), &refused)
                            {
                                place.1 = *need;
                            }
                            *command = Some(refused.into_command());
                        }
                        Err(refused) => return Poll::Ready(Err(refused.into())),
                    }
                }
                if inner.open.poll_progress(drive_cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &self.half.shared;
        shared.drive(|inner, drive_cx| {
            let id = self.id(inner);
            shared.hub.register_flusher(id, cx.waker());
            inner.open.poll_flush(drive_cx)
        })
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Drop for Place<'_, P, T, K> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let shared = &self.half.shared;
        shared.hub.forget(id);
        shared.drive(|inner, _| {
            inner.waiting.retain(|(other, _)| *other != id);
            // A wake meant for this sender must not end here.
            shared.hub.mark_first_sender();
        });
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> fmt::Debug for RecvHalf<P, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvHalf").field("session", lock(&self.shared.inner).open.session()).finish_non_exhaustive()
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> fmt::Debug for SendHalf<P, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = lock(&self.shared.inner);
        f.debug_struct("SendHalf")
            .field("senders", &inner.senders)
            .field("waiting", &inner.waiting.len())
            .field("session", inner.open.session())
            .finish_non_exhaustive()
    }
}
