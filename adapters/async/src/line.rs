//! Who waits for a place: first come, first served, and no more are woken than there are places.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

/// Tickets in the order in which they came. Who is called has a place of its own until it takes it, gives it up or goes
/// away. Whoever keeps the line sees to it that somebody is called, or will be told of places, while anybody waits.
#[derive(Default)]
pub(crate) struct Line {
    /// A place in line is taken before anything is waited for.
    waiting: BTreeMap<u64, Option<Waker>>,
    called: BTreeSet<u64>,
    next: u64,
}

/// A ticket, once it was drawn.
pub(crate) type Ticket = Option<u64>;

impl Line {
    /// Nobody waits, and nobody who was called has yet to come.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.called.is_empty()
    }

    pub(crate) fn is_called(&self, ticket: Ticket) -> bool {
        ticket.is_some_and(|ticket| self.called.contains(&ticket))
    }

    /// Draws a ticket. Who has one keeps its place in line, and if it was called, it is so no more.
    pub(crate) fn join(&mut self, ticket: &mut Ticket) {
        let own = *ticket.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.called.remove(&own);
        self.waiting.entry(own).or_default();
    }

    /// Whom to wake when this ticket is called.
    pub(crate) fn wake_by(&mut self, ticket: Ticket, waker: &Waker) {
        if let Some(waiting) = ticket.and_then(|ticket| self.waiting.get_mut(&ticket)) {
            *waiting = Some(waker.clone());
        }
    }

    /// Leaves the line, with a place or without. Whoever keeps it calls the next.
    pub(crate) fn leave(&mut self, ticket: &mut Ticket) {
        if let Some(own) = ticket.take() {
            self.called.remove(&own);
            self.waiting.remove(&own);
        }
    }

    /// Calls the first in line until as many are called as there are places.
    pub(crate) fn call(&mut self, places: usize, wakes: &mut Vec<Waker>) {
        while self.called.len() < places {
            let Some((ticket, waker)) = self.waiting.pop_first() else { return };
            self.called.insert(ticket);
            wakes.extend(waker);
        }
    }

    /// Calls everybody: there is nothing to wait for any more.
    pub(crate) fn call_all(&mut self, wakes: &mut Vec<Waker>) {
        self.call(usize::MAX, wakes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(line: &mut Line) -> Ticket {
        let mut ticket = None;
        line.join(&mut ticket);
        line.wake_by(ticket, Waker::noop());
        ticket
    }

    fn called(line: &mut Line, places: usize) -> usize {
        let mut wakes = Vec::new();
        line.call(places, &mut wakes);
        wakes.len()
    }

    #[test]
    fn as_many_are_called_as_there_are_places_in_the_order_they_came() {
        let mut line = Line::default();
        let mut tickets: Vec<Ticket> = (0..5).map(|_| join(&mut line)).collect();
        assert_eq!(called(&mut line, 2), 2);
        assert_eq!(called(&mut line, 2), 0, "both places are spoken for");
        assert_eq!(tickets.iter().map(|t| line.is_called(*t)).collect::<Vec<_>>(), [true, true, false, false, false]);
        line.leave(&mut tickets[0]);
        assert_eq!(called(&mut line, 1), 0, "one place is left, and it is the second's");
        line.leave(&mut tickets[3]);
        line.leave(&mut tickets[1]);
        assert_eq!((called(&mut line, 2), line.is_called(tickets[4])), (2, true), "who left in line is passed over");
    }

    #[test]
    fn who_found_no_place_after_all_is_first_again() {
        let mut line = Line::default();
        let (mut first, second) = (join(&mut line), join(&mut line));
        assert_eq!(called(&mut line, 1), 1);
        line.join(&mut first);
        line.wake_by(first, Waker::noop());
        assert_eq!(called(&mut line, 1), 1);
        assert_eq!((line.is_called(first), line.is_called(second)), (true, false));
        let mut wakes = Vec::new();
        line.call_all(&mut wakes);
        assert_eq!((wakes.len(), line.is_empty()), (1, false));
        let (mut first, mut second) = (first, second);
        line.leave(&mut first);
        line.leave(&mut second);
        assert!(line.is_empty());
    }
}
