//! A transport in memory and a clock set by hand: to try a connection without a network.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::buf::Limit;
use bytes::{Buf, BufMut, BytesMut};
use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::{FaultKind, Instant, Operation, Release, TransportFault};

use crate::hub::lock;

/// One end of a byte stream in memory. See [`pipe`].
#[derive(Debug)]
pub struct Pipe {
    out: Arc<Mutex<Lane>>,
    into: Arc<Mutex<Lane>>,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    bytes: BytesMut,
    capacity: usize,
    finished: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends of a byte stream, each direction holding at most `capacity` bytes on the way.
#[must_use]
pub fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let lane = || Arc::new(Mutex::new(Lane { capacity: capacity.max(1), ..Lane::default() }));
    let (a, b) = (lane(), lane());
    (Pipe { out: Arc::clone(&a), into: Arc::clone(&b) }, Pipe { out: b, into: a })
}

impl Lane {
    fn wake_both(&mut self) -> [Option<Waker>; 2] {
        [self.reader.take(), self.writer.take()]
    }
}

fn fire(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

impl Transport for Pipe {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        let mut lane = lock(&self.into);
        if lane.reset {
            return Poll::Ready(Err(TransportFault::new(FaultKind::Reset, Operation::Read)));
        }
        if lane.bytes.is_empty() {
            if lane.finished {
                return Poll::Ready(Ok(0));
            }
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = lane.bytes.len().min(buf.remaining_mut());
        buf.put_slice(&lane.bytes[..n]);
        lane.bytes.advance(n);
        let writer = lane.writer.take();
        drop(lane);
        fire([writer]);
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        let mut lane = lock(&self.out);
        if lane.reset || lane.finished {
            return Poll::Ready(Err(TransportFault::new(FaultKind::BrokenPipe, Operation::Write)));
        }
        let mut taken = 0;
        for slice in slices {
            let n = slice.len().min(lane.capacity - lane.bytes.len());
            lane.bytes.put_slice(&slice[..n]);
            taken += n;
        }
        if taken == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let reader = lane.reader.take();
        drop(lane);
        fire([reader]);
        Poll::Ready(Ok(taken))
    }

    fn poll_shutdown_write(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        let mut lane = lock(&self.out);
        lane.finished = true;
        let wakers = lane.wake_both();
        drop(lane);
        fire(wakers);
        Poll::Ready(Ok(()))
    }

    fn poll_release(&mut self, _cx: &mut Context<'_>, how: Release) -> Poll<()> {
        // As a kernel does it: letting go of unread input resets as well.
        let reset = how == Release::Abort || !lock(&self.into).bytes.is_empty();
        for lane in [&self.out, &self.into] {
            let mut lane = lock(lane);
            lane.reset |= reset;
            lane.finished = true;
            let wakers = lane.wake_both();
            drop(lane);
            fire(wakers);
        }
        Poll::Ready(())
    }
}

/// A clock that stands still until it is set. Clones show the same time; the connections that use it must be polled
/// after it was set.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
    wakers: Arc<Mutex<Vec<Waker>>>,
}

impl ManualClock {
    /// A clock at its origin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `time` pass, and wakes who waits.
    pub fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::SeqCst);
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Timekeeper for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.nanos.load(Ordering::SeqCst))
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.now() >= at {
            return Poll::Ready(());
        }
        let mut wakers = lock(&self.wakers);
        wakers.retain(|waker| !waker.will_wake(cx.waker()));
        wakers.push(cx.waker().clone());
        Poll::Pending
    }
}
