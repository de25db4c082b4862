//! The one loop for all runtimes: a session, its transport and its clock, on `core::task` alone.
//!
//! An adapter implements [`Transport`] and [`Timekeeper`]; [`Driver`] does the rest. Every round writes once, reads
//! once and looks at the clock, so that neither direction starves the other; after a number of rounds the driver wakes
//! itself and lets other tasks run.

mod round;
mod waiting;

use core::fmt;
use core::task::{Context, Poll};

use bytes::BytesMut;
use bytes::buf::Limit;

use crate::closed::{CloseIntent, Code, Release};
use crate::error::{SendError, TransportFault};
use crate::protocol::{InPlace, Protocol};
use crate::session::{Event, ProtocolMut, Replies, Session};
use crate::time::{Instant, ReadTime};

/// Rounds of writing and reading before other tasks get their turn.
const ROUNDS: usize = 32;
/// Messages handled in place between two rounds.
const BATCH: usize = 4096;

/// Moves bytes. Each method is a poll: it does its work now, or registers the waker of `cx` for the moment when it could
/// and returns `Pending`, having done nothing at all. Reading and writing wait at the same time, so each needs a place of
/// its own for its waker; the newest one counts. Methods may be polled without need, and must then say the same again.
///
/// A transport decides nothing: it does not retry, has no time-outs, and does not close by itself after an error.
pub trait Transport {
    /// Whether [`failure`](Self::failure) can tell anything. Default false.
    const WATCHED: bool = false;

    /// Reads into `buf`, never more than its limit, and tells how many bytes: 0 is the peer's FIN. It is only asked for
    /// while there is room, so 0 never means that there was none; nothing to read is `Pending`.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>>;

    /// Writes from the front of `slices`, in order, and tells how many bytes were taken: at least 1, or it is an error.
    /// A transport without a vectored write takes from the first slice only. What it buffers inside (TLS) it must push
    /// on by itself, also when only `poll_read` is called.
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>>;

    /// Sends FIN: the peer reads the end of our stream, and we can still read. Everything written before arrives first.
    /// The `poll_close` of some runtimes' sockets sends nothing; `shutdown` for writing does. A transport that has no end
    /// of stream to send is done at once.
    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>>;

    /// Lets the transport go: [`Release::Abort`] resets it where that exists.
    fn poll_release(&mut self, cx: &mut Context<'_>, how: Release) -> Poll<()>;

    /// Whether a graceful [`poll_release`](Self::poll_release) sends FIN by itself where none was sent, as the close of a
    /// socket does that nobody else holds. A FIN that the release follows at once is then left to it. False, the default, is
    /// always right.
    fn release_sends_fin(&self) -> bool {
        false
    }

    /// Whether there may be something to read: asked before a buffer is taken, so that who waits holds none. `Pending`
    /// promises that [`poll_read`](Self::poll_read) would say the same, and has registered the waker as it would.
    /// `Ready`, the default, promises nothing.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// What has befallen the transport by itself, told once. It is asked every second while the session wants neither to
    /// read nor to write, because its application has not taken what came before: a peer's reset would be seen by nobody.
    fn failure(&mut self) -> Option<TransportFault> {
        None
    }

    /// An empty buffer for the session, from a pool if there is one. None lets the session allocate its own.
    fn take_buffer(&mut self) -> Option<BytesMut> {
        None
    }

    /// Takes an empty buffer back into the pool.
    fn give_buffer(&mut self, buffer: BytesMut) {
        drop(buffer);
    }
}

/// Tells the time and waits for it.
pub trait Timekeeper {
    /// The time now, never earlier than it was before.
    fn now(&self) -> Instant;

    /// Ready once [`now`](Self::now) is at or after `at`; otherwise registers the waker for then.
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()>;
}

/// Drives one session over one transport.
///
/// It does nothing by itself: whoever polls it drives it. Dropping it drops the transport as it is, without goodbye and
/// without flushing; [`close`](Self::close) and poll until [`Event::Closed`] to end in order.
pub struct Driver<P: Protocol, T, K> {
    session: Session<P>,
    transport: T,
    clock: Clock<K>,
    /// The last send read the clock.
    sent: bool,
    /// The last read took all there was: the next one is not worth a buffer before the transport has said so.
    drained: bool,
    /// What the timekeeper waits for: at or before the session's deadline, so traffic never re-arms it.
    armed: Option<Instant>,
    /// When to ask a transport of which nothing is wanted whether it has failed.
    look_at: Option<Instant>,
    rounds: u64,
}

impl<P: Protocol, T, K> fmt::Debug for Driver<P, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("session", &self.session).field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

/// The timekeeper, and the time as it was last read.
struct Clock<K> {
    timekeeper: K,
    now: Instant,
    /// It was read in this round: what is done now happens at that time. Between two calls any time may pass, so that it
    /// is not asked for there.
    looked: bool,
}

impl<K: Timekeeper> Clock<K> {
    /// The time of what happens in this round: the clock is read once.
    #[inline]
    fn look(&mut self) -> Instant {
        if self.looked { self.now } else { self.refresh() }
    }

    #[inline]
    fn refresh(&mut self) -> Instant {
        self.now = self.now.max(self.timekeeper.now());
        self.looked = true;
        self.now
    }
}

impl<K: Timekeeper> ReadTime for Clock<K> {
    fn read_time(&mut self) -> Instant {
        self.refresh()
    }
}

/// What whoever drives does after a round in which something moved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Polls again before anything is waited for: the round needs to arm nothing, and who never waits needs no timer.
    PollsAgain,
    /// Leaves it at that, and others wait: a sender, while the receiver does.
    MayLeave,
}

/// What one round of input and output achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Something moved, and more may move now.
    Moved,
    /// Output moved, and that was all: whatever else is wanted waits for a waker.
    Written,
    /// Nothing moved: whatever is wanted waits for a waker.
    Blocked,
}

impl<P: Protocol, T: Transport, K: Timekeeper> Driver<P, T, K> {
    /// Drives `session` over `transport`.
    // A session is large: inlined, it is moved once to where it stays.
    #[inline(always)]
    pub fn new(session: Session<P>, transport: T, timekeeper: K) -> Self {
        let clock = Clock { now: session.now(), timekeeper, looked: false };
        Self { session, transport, clock, sent: false, drained: false, armed: None, look_at: None, rounds: 0 }
    }

    /// The transport was connected when the session was made: as [`Session::connected`] at that time.
    pub fn connected(&mut self) {
        self.session.connected(self.session.now());
    }

    /// The next event; `None` after [`Event::Closed`] was returned. Dropping the wait loses nothing.
    #[inline]
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event<P::Event, P::Violation>>> {
        let ready = self.next_ready();
        if ready.is_some() {
            return Poll::Ready(ready);
        }
        self.poll_new_event(cx)
    }

    /// As [`poll_event`](Self::poll_event), when [`next_ready`](Self::next_ready) has just said that there is none.
    #[inline]
    pub fn poll_new_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event<P::Event, P::Violation>>> {
        for _ in 0..ROUNDS {
            if self.session.is_over() {
                return Poll::Ready(None);
            }
            let round = self.round(cx, Then::PollsAgain);
            // If the clock was not read in this round, nothing happened that could be told.
            if self.session.has_event() {
                let event = self.session.poll_event(self.clock.now);
                if event.is_some() {
                    return Poll::Ready(event);
                }
            }
            match round {
                Round::Moved => {}
                Round::Written | Round::Blocked => return Poll::Pending,
            }
        }
        self.yield_now(cx)
    }

    /// An event that is there already, without any input or output.
    #[inline(always)]
    pub fn next_ready(&mut self) -> Option<Event<P::Event, P::Violation>> {
        if !self.session.has_event() {
            return None;
        }
        let now = self.send_time();
        self.session.poll_event(now)
    }

    /// Reads and writes as far as it goes without waiting, whether or not events wait: for a task that only sends.
    /// Ready once nothing is queued any more or the session can send no more; registers the waker otherwise.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let session = &self.session;
            if !session.wants_write() && !session.wants_shutdown() && session.wants_release().is_none() {
                return Poll::Ready(());
            }
            if self.round(cx, Then::MayLeave) == Round::Blocked {
                return Poll::Pending;
            }
        }
        self.yield_now(cx)
    }

    /// One round of writing, reading and looking at the clock, whether or not events wait: for an application that waits
    /// for room before it takes further events. Ready if something moved; otherwise the waker is registered.
    pub fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.round(cx, Then::MayLeave) {
            Round::Moved | Round::Written => Poll::Ready(()),
            Round::Blocked => Poll::Pending,
        }
    }

    /// Writes what is queued once, if the transport takes it now, and the FIN if that was the last. It waits for nothing:
    /// poll something else afterwards. Right behind a send, that is: it happens at the time of the send.
    #[inline]
    pub fn poll_write_once(&mut self, cx: &mut Context<'_>) {
        if self.session.wants_write() {
            // Right behind a send that read the clock its time will do.
            self.clock.looked = core::mem::take(&mut self.sent);
            let _ = self.write(cx);
            if self.session.wants_shutdown() {
                let _ = self.shut_down_write(cx);
            }
        }
    }

    /// Queues a command; see [`Session::send`]. It is transmitted when the driver is next polled.
    ///
    /// # Errors
    /// As [`Session::send`].
    #[inline(always)]
    pub fn send(&mut self, command: P::Command) -> Result<(), SendError<P::Command>> {
        let now = self.send_time();
        self.lend_send();
        self.session.send(now, command)
    }

    /// As [`send`](Self::send), see [`Session::send_from`].
    ///
    /// # Errors
    /// As [`Session::send`].
    #[inline(always)]
    pub fn send_from(&mut self, command: &mut Option<P::Command>) -> Result<(), SendError<()>> {
        let now = self.send_time();
        self.lend_send();
        self.session.send_from(now, command)
    }

    /// As [`Session::protocol_mut`]. What it makes due is transmitted when the driver is next polled.
    pub fn protocol_mut(&mut self) -> ProtocolMut<'_, P> {
        self.lend_send();
        self.session.protocol_mut_by(&mut self.clock)
    }

    /// The time now, by the timekeeper.
    pub fn now(&mut self) -> Instant {
        self.clock.refresh()
    }

    /// As [`Session::finish`].
    pub fn finish(&mut self) {
        let now = self.clock.refresh();
        self.session.finish(now);
    }

    /// As [`Session::drain`]; what it makes due is transmitted when the driver is next polled.
    #[must_use = "where the protocol has no part in it, the owner closes"]
    pub fn drain(&mut self) -> bool {
        let now = self.clock.refresh();
        self.lend_send();
        self.session.drain(now)
    }

    /// As [`Session::shutdown_read`].
    pub fn shutdown_read(&mut self) {
        let now = self.clock.refresh();
        self.session.shutdown_read(now);
    }

    /// As [`Session::close`]; poll until [`Event::Closed`].
    pub fn close(&mut self, intent: CloseIntent) {
        let now = self.clock.refresh();
        self.session.close(now, intent);
    }

    /// As [`Session::abort`]; poll until [`Event::Closed`].
    pub fn abort(&mut self, code: Code) {
        let now = self.clock.refresh();
        self.session.abort(now, code);
    }

    /// The transport failed in a way that only its owner saw.
    pub fn transport_failed(&mut self, fault: TransportFault) {
        let now = self.clock.refresh();
        self.session.transport_failed(now, fault);
    }

    /// The session.
    #[must_use]
    #[inline]
    pub fn session(&self) -> &Session<P> {
        &self.session
    }

    /// The transport, to ask it something (addresses, kernel counters).
    #[must_use]
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// The transport, to ask it something that it must look for (whether TLS below has read anything). What is read from
    /// it here the session never sees.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// The timekeeper.
    #[must_use]
    pub fn timekeeper(&self) -> &K {
        &self.clock.timekeeper
    }

    /// Rounds of input and output since the start: a measure of work.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// The parts, as they are.
    pub fn into_parts(self) -> (Session<P>, T, K) {
        (self.session, self.transport, self.clock.timekeeper)
    }

    /// The time for an intent: read anew, unless time means nothing to the intent. With output queued already none of the
    /// session's own clocks starts by it either.
    #[inline]
    fn send_time(&mut self) -> Instant {
        self.sent = P::TIMED || self.session.buffered().1 == 0 || !self.session.is_plain();
        if self.sent { self.clock.refresh() } else { self.clock.now }
    }

    fn yield_now<R>(&self, cx: &mut Context<'_>) -> Poll<R> {
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<P: InPlace, T: Transport, K: Timekeeper> Driver<P, T, K> {
    /// Hands messages to `handler` in place until there is something else to tell: [`Event::PeerFinished`],
    /// [`Event::Writable`], [`Event::Closed`], a message of the opening, the last message of a stream that ended without
    /// its end mark; `None` after the end. See [`Session::handle`] for `reply_room`.
    pub fn poll_handle<H>(
        &mut self,
        cx: &mut Context<'_>,
        reply_room: usize,
        handler: &mut H,
    ) -> Poll<Option<Event<P::Event, P::Violation>>>
    where
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        self.clock.looked = false;
        for _ in 0..ROUNDS {
            self.lend_send();
            let now = if self.session.has_event() { self.clock.look() } else { self.clock.now };
            let handled = self.session.handle(now, reply_room, BATCH, |view, replies| handler(view, replies));
            // Under in-place delivery this brings everything but messages behind the opening.
            if let Some(event) = self.session.poll_event(self.clock.now) {
                return Poll::Ready(Some(event));
            }
            if self.session.is_over() {
                return Poll::Ready(None);
            }
            if self.round(cx, Then::PollsAgain) != Round::Moved && handled < BATCH {
                return Poll::Pending;
            }
        }
        self.yield_now(cx)
    }

    /// As [`Session::send_in_place`].
    ///
    /// # Errors
    /// As [`Session::send_in_place`].
    #[inline]
    pub fn send_in_place(&mut self, reply: P::Reply<'_>) -> Result<(), SendError<()>> {
        let now = self.send_time();
        self.lend_send();
        self.session.send_in_place(now, reply)
    }
}
