//! Where all wakes of one split connection meet.
//!
//! The transport and the clock know one waker, the hub's. A wake is passed to the receiver, to the first sender that
//! waits for room, and to everybody who waits for a flush: whichever is polled first drives for all, and marks who can
//! go on. Marks made while somebody drives are carried out after its lock is released, because wakers run foreign
//! code.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

#[derive(Default)]
pub(crate) struct Hub {
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    receiver: Option<Waker>,
    /// The receiver found nothing and has not been back since, so that what was queued may be left to it.
    receiver_waits: bool,
    /// Senders that wait for room, in the order they came.
    senders: VecDeque<(u64, Waker)>,
    flushers: Vec<(u64, Waker)>,
    driving: bool,
    due: Due,
}

/// Who is to be woken.
#[derive(Clone, Copy, Default)]
struct Due {
    receiver: bool,
    first_sender: bool,
    everyone: bool,
}

/// Wakers to be called once no lock is held.
#[derive(Default)]
#[must_use]
pub(crate) struct Wakes(Vec<Waker>);

impl Wakes {
    pub(crate) fn fire(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

/// A panic while a lock was held cannot have left anything half done: no foreign code runs under it.
pub(crate) fn lock<X>(mutex: &Mutex<X>) -> MutexGuard<'_, X> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wake for Hub {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakes = {
            let mut waiters = lock(&self.waiters);
            waiters.due.receiver = true;
            waiters.due.first_sender = true;
            if waiters.driving {
                return;
            }
            waiters.collect()
        };
        wakes.fire();
    }
}

impl Hub {
    /// Somebody drives: wakes are marked until [`end_drive`](Self::end_drive).
    pub(crate) fn begin_drive(&self) {
        lock(&self.waiters).driving = true;
    }

    pub(crate) fn end_drive(&self) -> Wakes {
        let mut waiters = lock(&self.waiters);
        waiters.driving = false;
        waiters.collect()
    }

    pub(crate) fn mark_receiver(&self) {
        lock(&self.waiters).due.receiver = true;
    }

    pub(crate) fn mark_first_sender(&self) {
        lock(&self.waiters).due.first_sender = true;
    }

    pub(crate) fn mark_everyone(&self) {
        lock(&self.waiters).due.everyone = true;
    }

    pub(crate) fn has_receiver(&self) -> bool {
        lock(&self.waiters).receiver.is_some()
    }

    pub(crate) fn register_receiver(&self, waker: &Waker) {
        let mut waiters = lock(&self.waiters);
        waiters.receiver_waits = true;
        match &mut waiters.receiver {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// The receiver waits no longer; tells whether it did.
    pub(crate) fn forget_receiver(&self) -> bool {
        let mut waiters = lock(&self.waiters);
        waiters.receiver = None;
        std::mem::take(&mut waiters.receiver_waits)
    }

    pub(crate) fn register_sender(&self, id: u64, waker: &Waker) {
        let mut waiters = lock(&self.waiters);
        match waiters.senders.iter_mut().find(|(other, _)| *other == id) {
            Some((_, old)) => old.clone_from(waker),
            None => waiters.senders.push_back((id, waker.clone())),
        }
    }

    pub(crate) fn register_flusher(&self, id: u64, waker: &Waker) {
        let mut waiters = lock(&self.waiters);
        match waiters.flushers.iter_mut().find(|(other, _)| *other == id) {
            Some((_, old)) => old.clone_from(waker),
            None => waiters.flushers.push((id, waker.clone())),
        }
    }

    /// A waiter went away.
    pub(crate) fn forget(&self, id: u64) {
        let mut waiters = lock(&self.waiters);
        waiters.senders.retain(|(other, _)| *other != id);
        waiters.flushers.retain(|(other, _)| *other != id);
    }
}

impl Waiters {
    fn collect(&mut self) -> Wakes {
        let due = std::mem::take(&mut self.due);
        let mut wakes = Wakes::default();
        if due.receiver || due.everyone {
            wakes.0.extend(self.receiver.take());
        }
        if due.everyone {
            wakes.0.extend(self.senders.iter().map(|(_, waker)| waker.clone()));
        } else if due.first_sender {
            wakes.0.extend(self.senders.front().map(|(_, waker)| waker.clone()));
        }
        if due.first_sender || due.everyone {
            wakes.0.extend(self.flushers.iter().map(|(_, waker)| waker.clone()));
        }
        wakes
    }
}
