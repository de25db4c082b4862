//! Sending a command: at once where there is room, as a wait on the heap where there is none.
//!
//! Written as polls, because an `async fn` keeps what it was given twice over, and every layer of them moves a command
//! once more. The session takes it from where it lies.

use std::task::{Context, Poll};

use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::{Instant, Protocol};

use crate::connection::Connection;
use crate::error::SendError;

/// A command on its way to the session.
pub(crate) struct Sending<C, K> {
    /// Until it was accepted, or given back.
    command: Option<C>,
    /// Where there was no room. On the heap, for it is rare.
    wait: Option<Box<Wait<K>>>,
}

struct Wait<K> {
    clock: K,
    deadline: Instant,
}

impl<C, K> Sending<C, K> {
    pub(crate) const fn new(command: C) -> Self {
        Self { command: Some(command), wait: None }
    }
}

type Sent<C> = Poll<Result<(), SendError<C>>>;

impl<P: Protocol, T: Transport, K: Timekeeper + Clone> Connection<P, T, K> {
    /// Queues the command of `sending`, and leaves the transmission to somebody else.
    #[inline(always)]
    pub(crate) fn poll_feed(&mut self, cx: &mut Context<'_>, sending: &mut Sending<P::Command, K>) -> Sent<P::Command> {
        if sending.command.is_none() {
            return Poll::Ready(Ok(()));
        }
        match self.open.send_from(&mut sending.command) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(why) => self.poll_room(cx, why, sending),
        }
    }

    /// Queues the command of `sending`, and transmits once unless further messages wait to be taken.
    #[inline(always)]
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, sending: &mut Sending<P::Command, K>) -> Sent<P::Command> {
        match self.poll_feed(cx, sending) {
            Poll::Ready(Ok(())) => {
                if !self.driver().session().has_message() {
                    self.open.poll_write_once(cx);
                }
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    /// Waits for room until the deadline, after the session refused the command for `why`.
    #[cold]
    fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        mut why: duologue_core::SendError<()>,
        sending: &mut Sending<P::Command, K>,
    ) -> Sent<P::Command> {
        let Sending { command, wait } = sending;
        while why.is_temporary() {
            let wait = wait.get_or_insert_with(|| {
                let clock = self.driver().timekeeper().clone();
                let deadline = clock.now().after(self.send_within);
                Box::new(Wait { clock, deadline })
            });
            if self.open.poll_progress(cx).is_ready() {
                match self.open.send_from(command) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(other) => why = other,
                }
                continue;
            }
            if wait.clock.poll_until(cx, wait.deadline).is_pending() {
                return Poll::Pending;
            }
            let Some(command) = command.take() else { break };
            return Poll::Ready(Err(SendError::TimedOut { command, waited: self.send_within }));
        }
        match command.take() {
            None => Poll::Ready(Ok(())),
            Some(command) => Poll::Ready(Err(why.map(|()| command).into())),
        }
    }
}
