//! What a reconnecting client and its senders share: the outbox, and who waits for which message.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use duologue_core::reconnect::{Fate, Generation, Outbox, Ticket};
use duologue_core::{Code, SendError, Stats};

use super::options::{Receipt, ReconnectSendError};
use crate::hub::lock;

/// A message, and the only connection that may take it, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Pinned<C> {
    pub(super) to: Option<Generation>,
    pub(super) command: C,
}

pub(super) type Sent<C> = Result<Receipt, ReconnectSendError<C>>;

pub(super) struct Shared<C> {
    state: Mutex<State<C>>,
    limit: usize,
}

struct State<C> {
    outbox: Outbox<Pinned<C>>,
    waits: BTreeMap<Ticket, Wait<C>>,
    /// Whoever drives the client.
    driver: Option<Waker>,
    /// Who is to be woken once the lock is released.
    wakes: Vec<Waker>,
    /// Attempts are made: there is sense in waiting for a connection.
    hopeful: bool,
    closing: Option<Code>,
    over: bool,
}

enum Wait<C> {
    Waits(Waker),
    Done(Sent<C>),
}

impl<C: Clone> Shared<C> {
    pub(super) fn new(outbox: Outbox<Pinned<C>>, limit: usize) -> Self {
        let state = State {
            outbox,
            waits: BTreeMap::new(),
            driver: None,
            wakes: Vec::new(),
            hopeful: true,
            closing: None,
            over: false,
        };
        Self { state: Mutex::new(state), limit }
    }

    /// Takes a message into the outbox and wakes the driver.
    pub(super) fn push(&self, message: Pinned<C>, waker: &Waker) -> Result<Ticket, ReconnectSendError<C>> {
        let mut state = lock(&self.state);
        let present = state.outbox.generation();
        let command = message.command.clone();
        if state.over || state.closing.is_some() {
            return Err(ReconnectSendError::Closed { command });
        }
        if message.to.is_some_and(|to| Some(to) != present) {
            return Err(ReconnectSendError::Fenced { command });
        }
        if present.is_none() && !state.hopeful {
            return Err(ReconnectSendError::NotConnected { command });
        }
        let full = state.outbox.len() >= self.limit;
        let Ok(ticket) = state.outbox.push(message) else {
            return Err(match full {
                true => ReconnectSendError::Full { command, limit: self.limit },
                false => ReconnectSendError::NotConnected { command },
            });
        };
        state.waits.insert(ticket, Wait::Waits(waker.clone()));
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        Ok(ticket)
    }

    pub(super) fn poll_fate(&self, ticket: Ticket, cx: &Context<'_>) -> Poll<Sent<C>> {
        let mut state = lock(&self.state);
        match state.waits.remove(&ticket) {
            Some(Wait::Done(sent)) => Poll::Ready(sent),
            _ => {
                state.waits.insert(ticket, Wait::Waits(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// Takes a message back if no connection has it.
    pub(super) fn cancel(&self, ticket: Ticket) -> Option<C> {
        let mut state = lock(&self.state);
        let message = state.outbox.cancel(ticket)?;
        state.waits.remove(&ticket);
        Some(message.command)
    }

    /// The sender went away.
    pub(super) fn forget(&self, ticket: Ticket) {
        let mut state = lock(&self.state);
        state.outbox.cancel(ticket);
        state.waits.remove(&ticket);
    }

    pub(super) fn generation(&self) -> Option<Generation> {
        lock(&self.state).outbox.generation()
    }

    pub(super) fn close(&self, code: Code) {
        let driver = {
            let mut state = lock(&self.state);
            state.closing.get_or_insert(code);
            state.driver.take()
        };
        driver.into_iter().for_each(Waker::wake);
    }

    pub(super) fn closing(&self) -> Option<Code> {
        lock(&self.state).closing
    }

    pub(super) fn drives(&self, cx: &Context<'_>) {
        lock(&self.state).driver = Some(cx.waker().clone());
    }

    pub(super) fn connected(&self, generation: Generation, first: Vec<C>) {
        let first = first.into_iter().map(|command| Pinned { to: Some(generation), command }).collect();
        let mut state = lock(&self.state);
        state.hopeful = true;
        state.outbox.connected(generation, first);
    }

    /// Hands over what waits, as far as `accept` goes. It tells the counters around the acceptance.
    pub(super) fn offer(&self, mut accept: impl FnMut(C) -> Result<(u64, u64), SendError<C>>) {
        self.settle(|state| {
            let present = state.outbox.generation();
            while let Some(front) = state.outbox.front() {
                if front.to.is_some() && front.to != present {
                    state.reject_front(Reason::Fenced);
                    continue;
                }
                match accept(front.command.clone()) {
                    Ok((before, after)) => state.outbox.accept_front(before, after),
                    Err(refused @ (SendError::TooLarge { .. } | SendError::Invalid { .. })) => {
                        state.reject_front(Reason::Refused(refused.map(drop)));
                    }
                    // Room will come, or the next connection.
                    Err(_) => return,
                }
            }
        });
    }

    pub(super) fn flushed(&self, stats: &Stats) {
        self.settle(|state| state.outbox.flushed(stats));
    }

    pub(super) fn lost(&self, stats: &Stats) {
        self.settle(|state| {
            state.outbox.lost(stats);
            state.tell_fates(None);
            // Whose message came back into the queue waits by its own deadline again, which may have passed meanwhile.
            let State { waits, wakes, .. } = state;
            wakes.extend(waits.values().filter_map(|wait| match wait {
                Wait::Waits(waker) => Some(waker.clone()),
                Wait::Done(_) => None,
            }));
        });
    }

    /// The circuit is open: nobody is to wait for it.
    pub(super) fn give_up(&self) {
        self.settle(|state| {
            state.hopeful = false;
            state.outbox.give_all_back();
        });
    }

    /// Nothing is sent any more.
    pub(super) fn end(&self, stats: Option<&Stats>) {
        self.settle(|state| {
            state.over = true;
            if let Some(stats) = stats {
                state.outbox.lost(stats);
            }
            state.outbox.give_all_back();
        });
    }

    /// Makes a change and tells senders what became of their messages.
    fn settle(&self, change: impl FnOnce(&mut State<C>)) {
        let mut state = lock(&self.state);
        change(&mut state);
        state.tell_fates(None);
        let wakes = std::mem::take(&mut state.wakes);
        drop(state);
        wakes.into_iter().for_each(Waker::wake);
    }
}

/// Why a message can go nowhere.
enum Reason {
    Fenced,
    Refused(SendError<()>),
}

impl<C: Clone> State<C> {
    fn reject_front(&mut self, why: Reason) {
        // Older fates have other reasons.
        self.tell_fates(None);
        self.outbox.reject_front();
        self.tell_fates(Some(why));
    }

    fn tell_fates(&mut self, mut why: Option<Reason>) {
        while let Some((ticket, fate)) = self.outbox.poll_fate() {
            let sent = self.explain(fate, why.take());
            if let Some(wait) = self.waits.get_mut(&ticket) {
                if let Wait::Waits(waker) = std::mem::replace(wait, Wait::Done(sent)) {
                    self.wakes.push(waker);
                }
            }
        }
    }

    fn explain(&self, fate: Fate<Pinned<C>>, why: Option<Reason>) -> Sent<C> {
        let (command, delivery, generation) = match fate {
            Fate::Returned { command: Pinned { command, .. }, delivery, generation } => (command, delivery, generation),
            Fate::Sent { generation, number } => return Ok(Receipt { generation, number }),
        };
        Err(match (why, generation) {
            (Some(Reason::Fenced), _) => ReconnectSendError::Fenced { command },
            (Some(Reason::Refused(refused)), _) => ReconnectSendError::Refused(refused.map(|()| command)),
            (None, Some(generation)) => ReconnectSendError::Lost { command, delivery, generation },
            (None, None) if self.over => ReconnectSendError::Closed { command },
            (None, None) => ReconnectSendError::NotConnected { command },
        })
    }
}
