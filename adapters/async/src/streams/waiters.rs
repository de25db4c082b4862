//! Who waits for the same thing, and is woken with all others.

use std::task::Waker;

/// Who waits, each by the number of its wait: who goes away is forgotten, also where nothing ever comes.
#[derive(Default)]
pub(super) struct Waiters {
    waiting: Vec<(u64, Waker)>,
    last: u64,
}

/// The number of a wait, once it waits.
pub(super) type Wait = Option<u64>;

/// The number of all who poll without a wait of their own.
pub(super) const SHARED: Wait = Some(0);

impl Waiters {
    /// Has this one woken. Who polls again takes no second place. What comes back is to be dropped where no lock is
    /// held: it may be the last of a task that holds handles.
    pub(super) fn enlist(&mut self, wait: &mut Wait, waker: &Waker) -> Option<Waker> {
        let own = *wait.get_or_insert_with(|| {
            self.last += 1;
            self.last
        });
        let shared = *wait == SHARED;
        match self.waiting.iter_mut().find(|(of, other)| *of == own && (!shared || other.will_wake(waker))) {
            Some((_, other)) if other.will_wake(waker) => None,
            Some((_, other)) => Some(std::mem::replace(other, waker.clone())),
            None => {
                self.waiting.push((own, waker.clone()));
                None
            }
        }
    }

    /// It waits no more. What comes back is to be dropped where no lock is held.
    pub(super) fn leave(&mut self, wait: &mut Wait) -> Option<Waker> {
        let own = wait.take()?;
        let at = self.waiting.iter().position(|(of, _)| *of == own)?;
        Some(self.waiting.swap_remove(at).1)
    }

    /// All of them are to be woken.
    pub(super) fn call(&mut self, wakes: &mut Vec<Waker>) {
        wakes.extend(self.waiting.drain(..).map(|(_, waker)| waker));
    }
}
