//! The protocol's own timers: a fixed array, no heap, no wheel.

use core::fmt::Debug;
use core::hash::{Hash, Hasher};

use crate::time::{Deadline, Instant, TimeoutReason, earlier};

/// The names of a protocol's timers: a small enum, its variants numbered from 0.
///
/// ```
/// use duologue_core::{Instant, TimeoutReason, TimerSet};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq)]
/// enum Timer { Poll, Answer }
///
/// impl TimerSet for Timer {
///     type Slots = [Option<Instant>; 2];
///     const ALL: &'static [Self] = &[Timer::Poll, Timer::Answer];
///     fn index(self) -> usize { self as usize }
///     fn reason(self) -> TimeoutReason {
///         match self {
///             Timer::Poll => TimeoutReason::Protocol("poll"),
///             Timer::Answer => TimeoutReason::Request,
///         }
///     }
/// }
/// ```
pub trait TimerSet: Copy + Debug + Eq + 'static {
    /// `[Option<Instant>; N]` with `N` the number of variants.
    type Slots: AsRef<[Option<Instant>]> + AsMut<[Option<Instant>]> + Default + Clone + Debug;
    /// Every variant, each at the position of its [`index`](Self::index).
    const ALL: &'static [Self];
    /// The variant's position in [`ALL`](Self::ALL) and in the slots.
    fn index(self) -> usize;
    /// Why the deadline is armed, for whoever looks at it.
    fn reason(self) -> TimeoutReason;
}

/// No timers: the set of a protocol that needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTimers {}

impl TimerSet for NoTimers {
    type Slots = [Option<Instant>; 0];
    const ALL: &'static [Self] = &[];
    fn index(self) -> usize {
        match self {}
    }
    fn reason(self) -> TimeoutReason {
        match self {}
    }
}

/// The deadlines of a [`TimerSet`]. Arming is a store; the earliest is found by looking at all of them.
#[derive(Clone, Debug)]
pub struct Timers<T: TimerSet> {
    slots: T::Slots,
}

impl<T: TimerSet> Hash for Timers<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.slots.as_ref().hash(state);
    }
}

impl<T: TimerSet> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { slots: T::Slots::default() }
    }

    /// Arms `timer` for `at`, replacing what was armed before.
    #[inline]
    pub fn set(&mut self, timer: T, at: Instant) {
        if let Some(slot) = self.slots.as_mut().get_mut(timer.index()) {
            *slot = Some(at);
        }
    }

    /// Disarms `timer`.
    #[inline]
    pub fn clear(&mut self, timer: T) {
        if let Some(slot) = self.slots.as_mut().get_mut(timer.index()) {
            *slot = None;
        }
    }

    /// When `timer` is due, if it is armed.
    #[must_use]
    #[inline]
    pub fn get(&self, timer: T) -> Option<Instant> {
        self.slots.as_ref().get(timer.index()).copied().flatten()
    }

    /// The earliest armed deadline.
    #[must_use]
    #[inline]
    pub fn next(&self) -> Option<Deadline> {
        T::ALL.iter().fold(None, |earliest, timer| {
            let candidate = self.get(*timer).map(|at| Deadline { at, reason: timer.reason() });
            Deadline::earlier(earliest, candidate)
        })
    }

    /// When the earliest is due.
    #[inline]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.slots.as_ref().iter().fold(None, |earliest, at| earlier(earliest, *at))
    }

    pub(crate) fn clear_all(&mut self) {
        for slot in self.slots.as_mut() {
            *slot = None;
        }
    }

    /// The timers that are due at `now`, as they are armed at this moment.
    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = T> + use<T> {
        let slots = self.slots.clone();
        T::ALL
            .iter()
            .copied()
            .filter(move |t| slots.as_ref().get(t.index()).copied().flatten().is_some_and(|at| at <= now))
    }

    /// A timer that its owner armed for the past comes one tick later, so that time always moves (law L7).
    pub(crate) fn push_past(&mut self, now: Instant) {
        let tick = now.after(core::time::Duration::from_nanos(1));
        for slot in self.slots.as_mut().iter_mut().flatten() {
            if *slot <= now {
                *slot = tick;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Two {
        A,
        B,
    }

    impl TimerSet for Two {
        type Slots = [Option<Instant>; 2];
        const ALL: &'static [Self] = &[Self::A, Self::B];

        fn index(self) -> usize {
            self as usize
        }

        fn reason(self) -> TimeoutReason {
            TimeoutReason::Protocol(if self == Self::A { "a" } else { "b" })
        }
    }

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn due(timers: &Timers<Two>, now: u64) -> alloc::vec::Vec<Two> {
        timers.due(at(now)).collect()
    }

    #[test]
    fn the_earliest_is_next_and_what_is_due_is_told_to_the_nanosecond() {
        let mut timers = Timers::new();
        assert_eq!((timers.next(), due(&timers, u64::MAX)), (None, alloc::vec![]));
        timers.set(Two::A, at(20));
        timers.set(Two::B, at(10));
        assert_eq!(timers.next(), Some(Deadline { at: at(10), reason: TimeoutReason::Protocol("b") }));
        assert_eq!(due(&timers, 9), []);
        assert_eq!(due(&timers, 10), [Two::B]);
        assert_eq!(due(&timers, 20), [Two::A, Two::B]);
        timers.set(Two::B, at(30));
        assert_eq!((timers.get(Two::A), timers.get(Two::B)), (Some(at(20)), Some(at(30))), "armed anew, it moves");
    }

    #[test]
    fn disarming_one_leaves_the_other() {
        let mut timers = Timers::new();
        timers.set(Two::A, at(1));
        timers.set(Two::B, at(2));
        timers.clear(Two::A);
        assert_eq!((timers.get(Two::A), timers.get(Two::B)), (None, Some(at(2))));
        timers.clear_all();
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn what_was_armed_for_the_past_comes_one_tick_later_and_the_rest_stays() {
        let mut timers = Timers::new();
        timers.set(Two::A, at(5));
        timers.set(Two::B, at(11));
        timers.push_past(at(10));
        assert_eq!((timers.get(Two::A), timers.get(Two::B)), (Some(at(11)), Some(at(11))));
        timers.push_past(at(11));
        assert_eq!((timers.get(Two::A), timers.get(Two::B)), (Some(at(12)), Some(at(12))), "due now is past as well");
        timers.set(Two::A, at(20));
        timers.push_past(at(11));
        assert_eq!(timers.get(Two::A), Some(at(20)));
    }
}
