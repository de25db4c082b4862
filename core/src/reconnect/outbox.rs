//! What waits to be sent, across connections.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{Generation, Queued};
use crate::pool::Delivery;
use crate::session::Stats;

/// One message of an outbox. Tickets rise and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What became of a message. Each gets exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate<C> {
    /// All of it was handed to the transport of this connection.
    Sent {
        /// The connection.
        generation: Generation,
        /// Its place among the messages that this connection accepted; the first is 1.
        number: u64,
    },
    /// It comes back: see the delivery.
    Returned {
        /// The message.
        command: C,
        /// Whether the peer can know of it.
        delivery: Delivery,
        /// The connection that accepted it, if one did.
        generation: Option<Generation>,
    },
}

/// A message, and the first and the last of the session's messages that it became.
#[derive(Clone, Debug)]
struct Accepted<C> {
    ticket: Option<Ticket>,
    first: u64,
    last: u64,
    command: C,
}

/// A bounded queue in front of connections that come and go. The messages of one connection go out in order; the
/// protocol must encode commands in the order of acceptance for their numbers to be true.
#[derive(Clone, Debug)]
pub struct Outbox<C> {
    policy: Queued,
    limit: usize,
    next: u64,
    /// Accepted by no connection.
    /// Without a ticket: what goes first on each connection.
    waiting: VecDeque<(Option<Ticket>, C)>,
    /// Accepted by the present connection, and not wholly handed to its transport.
    accepted: VecDeque<Accepted<C>>,
    generation: Option<Generation>,
    fates: VecDeque<(Ticket, Fate<C>)>,
}

impl<C: Clone> Outbox<C> {
    /// An empty outbox for at most `limit` messages, at least one.
    #[must_use]
    pub fn new(policy: Queued, limit: usize) -> Self {
        Self {
            policy,
            limit: limit.max(1),
            next: 0,
            waiting: VecDeque::new(),
            accepted: VecDeque::new(),
            generation: None,
            fates: VecDeque::new(),
        }
    }

    /// Takes a message.
    ///
    /// # Errors
    /// The outbox is full, or there is no connection and the policy is [`Queued::Drop`]: the message comes back.
    pub fn push(&mut self, command: C) -> Result<Ticket, C> {
        let dropped = self.policy == Queued::Drop && self.generation.is_none();
        if dropped || self.len() >= self.limit {
            return Err(command);
        }
        self.next += 1;
        let ticket = Ticket(self.next);
        self.waiting.push_back((Some(ticket), command));
        Ok(ticket)
    }

    /// There is a connection. `first` goes out before anything that waits: what subscribes anew, as a rule. It
    /// counts among the messages of this connection, is not bounded, has no fate, and goes with the connection.
    pub fn connected(&mut self, generation: Generation, first: Vec<C>) {
        self.generation = Some(generation);
        for command in first.into_iter().rev() {
            self.waiting.push_front((None, command));
        }
    }

    /// The message that the connection is to accept next; none without a connection.
    #[must_use]
    pub fn front(&self) -> Option<&C> {
        self.generation?;
        self.waiting.front().map(|(_, command)| command)
    }

    /// The connection accepted the front. `before` and `after` are its [`Stats::accepted`] around that.
    pub fn accept_front(&mut self, before: u64, after: u64) {
        if let Some((ticket, command)) = self.waiting.pop_front() {
            self.accepted.push_back(Accepted { ticket, first: before + 1, last: after, command });
        }
    }

    /// The connection can never accept the front: it goes back.
    pub fn reject_front(&mut self) {
        if let Some((ticket, command)) = self.waiting.pop_front() {
            self.give_back(ticket, command, Delivery::NotSent, self.generation);
        }
    }

    /// The present connection's counters now.
    pub fn flushed(&mut self, stats: &Stats) {
        let Some(generation) = self.generation else { return };
        while self.accepted.front().is_some_and(|front| front.last <= stats.flushed) {
            if let Some(Accepted { ticket, last: number, .. }) = self.accepted.pop_front() {
                self.fates.extend(ticket.map(|ticket| (ticket, Fate::Sent { generation, number })));
            }
        }
    }

    /// The connection ended with these counters.
    pub fn lost(&mut self, stats: &Stats) {
        self.flushed(stats);
        self.waiting.retain(|(ticket, _)| ticket.is_some());
        let generation = self.generation.take();
        let mut unsent = VecDeque::new();
        while let Some(Accepted { ticket, first, last: _, command }) = self.accepted.pop_front() {
            match Delivery::of(first, stats) {
                Delivery::NotSent if self.policy == Queued::ResendUnsent && ticket.is_some() => {
                    unsent.push_back((ticket, command));
                }
                delivery => self.give_back(ticket, command, delivery, generation),
            }
        }
        if self.policy == Queued::Drop {
            self.give_all_back();
        } else {
            // Older than what waits.
            unsent.append(&mut self.waiting);
            self.waiting = unsent;
        }
    }

    /// Nothing more is sent: what waits goes back.
    pub fn give_all_back(&mut self) {
        while let Some((ticket, command)) = self.waiting.pop_front() {
            self.give_back(ticket, command, Delivery::NotSent, None);
        }
    }

    fn give_back(&mut self, ticket: Option<Ticket>, command: C, delivery: Delivery, generation: Option<Generation>) {
        let fate = Fate::Returned { command, delivery, generation };
        self.fates.extend(ticket.map(|ticket| (ticket, fate)));
    }

    /// Takes a message back, if no connection accepted it yet.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<C> {
        let at = self.waiting.iter().position(|(other, _)| *other == Some(ticket))?;
        self.waiting.remove(at).map(|(_, command)| command)
    }

    /// What became of a message, in the order in which it was known. Take them all: each is told once.
    pub fn poll_fate(&mut self) -> Option<(Ticket, Fate<C>)> {
        self.fates.pop_front()
    }

    /// Messages of unknown fate, and those whose fate nobody took.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len() + self.accepted.len() + self.fates.len()
    }

    /// No message is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection that accepts messages now.
    #[must_use]
    pub const fn generation(&self) -> Option<Generation> {
        self.generation
    }
}
