//! The transport that gives any legal answer, the clock beside it, and wakers that are told apart.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::buf::Limit;
use bytes::{BufMut, BytesMut};
use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::{FaultKind, Instant, Operation, Release, TransportFault};

/// What the transport answers when it is asked next, whatever it is asked.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Answer {
    /// Later.
    Pending,
    /// Later, and it wakes at once.
    PendingAwake,
    /// At most so many bytes; a write may take none.
    Some(u8),
    /// All that there is.
    All,
    /// The peer's FIN, if it is a read; all that there is otherwise.
    Fin,
    /// An error.
    Error(u8),
}

/// Hands out a new waker for every poll, and knows whether that one was woken.
#[derive(Default)]
pub(super) struct Wakes {
    latest: Option<(Waker, Arc<Flag>)>,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Wakes {
    /// The waker of the next poll. Waking an older one is no use from now on.
    pub(super) fn next(&mut self) -> Waker {
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        self.latest = Some((waker.clone(), flag));
        waker
    }

    pub(super) fn wake(&self) {
        if let Some((_, flag)) = &self.latest {
            flag.0.store(true, Ordering::Relaxed);
        }
    }

    /// Before the first poll a task is ready to run.
    pub(super) fn is_woken(&self) -> bool {
        self.latest.as_ref().is_none_or(|(_, flag)| flag.0.load(Ordering::Relaxed))
    }

    fn is_latest(&self, waker: Option<&Waker>) -> bool {
        matches!((waker, &self.latest), (Some(waker), Some((latest, _))) if waker.will_wake(latest))
    }
}

const READ: usize = 0;
const WRITE: usize = 1;
const SHUTDOWN: usize = 2;
const RELEASE: usize = 3;

/// What the test may look at while the driver owns the transport.
#[derive(Default)]
struct Shared {
    /// Who waits for reading, writing, the shutdown, the release.
    wakers: [Option<Waker>; 4],
    answers: VecDeque<Answer>,
    /// Without further answers nothing is ready any more, but the release.
    dead: bool,
    incoming: VecDeque<u8>,
    given: Vec<u8>,
    written: Vec<u8>,
    fin_given: bool,
    fin_done: bool,
    failed: [bool; 4],
    released: bool,
    asked: usize,
}

/// The transport.
pub(super) struct Any(Rc<RefCell<Shared>>);

impl Any {
    pub(super) fn new(answers: &[Answer], incoming: Vec<u8>) -> Self {
        let shared =
            Shared { answers: answers.iter().copied().collect(), incoming: incoming.into(), ..Shared::default() };
        Self(Rc::new(RefCell::new(shared)))
    }

    /// Wakes who waits for these; whether anybody did.
    pub(super) fn make_ready(&self, which: [bool; 4]) -> bool {
        let mut shared = self.0.borrow_mut();
        let mut woken = false;
        for (slot, ready) in shared.wakers.iter_mut().zip(which) {
            if let Some(waker) = slot.take_if(|_| ready) {
                waker.wake();
                woken = true;
            }
        }
        woken
    }

    /// Which of the four wake the latest waker.
    pub(super) fn waits(&self, wakes: &Wakes) -> [bool; 4] {
        let shared = self.0.borrow();
        core::array::from_fn(|i| wakes.is_latest(shared.wakers[i].as_ref()))
    }

    /// No further answers: from now on all is ready, or nothing ever is.
    pub(super) fn run_out(&self, dead: bool) {
        let mut shared = self.0.borrow_mut();
        shared.answers.clear();
        shared.dead = dead;
    }

    pub(super) fn asked(&self) -> usize {
        self.0.borrow().asked
    }

    pub(super) fn given(&self) -> Vec<u8> {
        self.0.borrow().given.clone()
    }

    pub(super) fn written(&self) -> Vec<u8> {
        self.0.borrow().written.clone()
    }

    pub(super) fn is_released(&self) -> bool {
        self.0.borrow().released
    }
}

impl Shared {
    /// The next answer for `what`: how many of at most `most` bytes. What was pending is no longer registered.
    fn answer(&mut self, cx: &Context<'_>, what: usize, most: usize) -> Poll<Result<usize, FaultKind>> {
        self.asked += 1;
        assert!(!self.released, "it is asked for something after the release");
        assert!(!self.failed[what], "it is asked again for what failed");
        self.wakers[what] = None;
        let out_of_answers = if self.dead && what != RELEASE { Answer::Pending } else { Answer::All };
        match self.answers.pop_front().unwrap_or(out_of_answers) {
            Answer::Pending => {
                self.wakers[what] = Some(cx.waker().clone());
                Poll::Pending
            }
            Answer::PendingAwake => {
                self.wakers[what] = Some(cx.waker().clone());
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Answer::Some(n) => Poll::Ready(Ok(usize::from(n).min(most))),
            Answer::All => Poll::Ready(Ok(most)),
            Answer::Fin if what == READ => {
                self.incoming.clear();
                Poll::Ready(Ok(0))
            }
            Answer::Fin => Poll::Ready(Ok(most)),
            Answer::Error(kind) => {
                self.failed[what] = true;
                Poll::Ready(Err(match kind % 6 {
                    0 => FaultKind::Reset,
                    1 => FaultKind::BrokenPipe,
                    2 => FaultKind::TimedOut,
                    3 => FaultKind::Unreachable,
                    4 if what == READ => FaultKind::Truncated,
                    _ => FaultKind::Other,
                }))
            }
        }
    }
}

fn fault(operation: Operation) -> impl Fn(FaultKind) -> TransportFault {
    move |kind| TransportFault::new(kind, operation)
}

impl Transport for Any {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        let mut shared = self.0.borrow_mut();
        let room = buf.remaining_mut();
        assert!(room > 0, "L12: a read without room would look like the peer's FIN");
        assert!(!shared.fin_given, "a read after the peer's FIN");
        let most = shared.incoming.len().min(room);
        let Poll::Ready(answer) = shared.answer(cx, READ, most) else { return Poll::Pending };
        let mut n = answer.map_err(fault(Operation::Read))?;
        if !shared.incoming.is_empty() {
            // Nothing read would be the peer's FIN.
            n = n.max(1);
        }
        shared.fin_given = n == 0;
        let bytes: Vec<u8> = shared.incoming.drain(..n).collect();
        shared.given.extend_from_slice(&bytes);
        buf.put_slice(&bytes);
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        let mut shared = self.0.borrow_mut();
        assert!(!shared.fin_done, "L2: a write after FIN");
        let all = slices.concat();
        assert!(!all.is_empty(), "a write of nothing");
        let Poll::Ready(answer) = shared.answer(cx, WRITE, all.len()) else { return Poll::Pending };
        let n = answer.map_err(fault(Operation::Write))?;
        shared.written.extend_from_slice(&all[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        let mut shared = self.0.borrow_mut();
        assert!(!shared.fin_done, "L2: FIN twice");
        let Poll::Ready(answer) = shared.answer(cx, SHUTDOWN, 0) else { return Poll::Pending };
        answer.map_err(fault(Operation::ShutdownWrite))?;
        shared.fin_done = true;
        Poll::Ready(Ok(()))
    }

    fn poll_release(&mut self, cx: &mut Context<'_>, _how: Release) -> Poll<()> {
        let mut shared = self.0.borrow_mut();
        if shared.answer(cx, RELEASE, 0).is_pending() {
            return Poll::Pending;
        }
        shared.released = true;
        Poll::Ready(())
    }

    fn take_buffer(&mut self) -> Option<BytesMut> {
        Some(BytesMut::with_capacity(32))
    }

    fn give_buffer(&mut self, buffer: BytesMut) {
        assert!(buffer.is_empty(), "a buffer comes back with bytes in it");
    }
}

/// A clock that goes on a little whenever it is looked at, and its one timer.
#[derive(Clone, Default)]
pub(super) struct Clock(Rc<Time>);

#[derive(Default)]
struct Time {
    nanos: Cell<u64>,
    timer: RefCell<Option<(Instant, Waker)>>,
}

impl Clock {
    pub(super) fn time(&self) -> Instant {
        Instant::from_nanos(self.0.nanos.get())
    }

    pub(super) fn advance(&self, by: Duration) {
        self.go_to(self.time().after(by));
    }

    /// Goes on to `at`, and wakes who waits for that.
    pub(super) fn go_to(&self, at: Instant) {
        self.0.nanos.set(self.0.nanos.get().max(at.as_nanos()));
        let due = self.0.timer.borrow_mut().take_if(|(armed, _)| *armed <= at);
        if let Some((_, waker)) = due {
            waker.wake();
        }
    }

    /// For when the latest waker is registered, if it is.
    pub(super) fn armed(&self, wakes: &Wakes) -> Option<Instant> {
        let timer = self.0.timer.borrow();
        timer.as_ref().filter(|(_, waker)| wakes.is_latest(Some(waker))).map(|(at, _)| *at)
    }
}

impl Timekeeper for Clock {
    fn now(&self) -> Instant {
        self.0.nanos.set(self.0.nanos.get() + 1);
        self.time()
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.time() >= at {
            return Poll::Ready(());
        }
        *self.0.timer.borrow_mut() = Some((at, cx.waker().clone()));
        Poll::Pending
    }
}
