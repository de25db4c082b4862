//! Sending a command: at once where there is room, as a wait on the heap where there is none.
//!
//! Written as polls, because an `async fn` keeps what it was given twice over, and every layer of them moves a command
//! once more.

use std::task::{Context, Poll};

use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::{Instant, Protocol};

use crate::connection::Connection;
use crate::error::SendError;

/// How far a command has come.
pub(crate) enum Sending<C, K> {
    /// It was not offered to the session yet.
    Fresh(C),
    /// There was no room. On the heap, for it is rare and large.
    Waiting(Box<Waiting<C, K>>),
    /// It was accepted, or given back.
    Done,
}

pub(crate) struct Waiting<C, K> {
    /// Absent only while the session looks at it.
    command: Option<C>,
    clock: K,
    deadline: Instant,
}

type Sent<C> = Poll<Result<(), SendError<C>>>;

impl<P: Protocol, T: Transport, K: Timekeeper + Clone> Connection<P, T, K> {
    /// Queues the command of `sending`, and leaves the transmission to somebody else.
    #[inline(always)]
    pub(crate) fn poll_feed(&mut self, cx: &mut Context<'_>, sending: &mut Sending<P::Command, K>) -> Sent<P::Command> {
        match std::mem::replace(sending, Sending::Done) {
            Sending::Fresh(command) => match self.open.send(command) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(refused) => self.poll_refused(cx, refused, sending),
            },
            Sending::Waiting(waiting) => self.poll_room(cx, waiting, sending),
            Sending::Done => Poll::Ready(Ok(())),
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

    #[cold]
    fn poll_refused(
        &mut self,
        cx: &mut Context<'_>,
        refused: duologue_core::SendError<P::Command>,
        sending: &mut Sending<P::Command, K>,
    ) -> Sent<P::Command> {
        if !refused.is_temporary() {
            return Poll::Ready(Err(refused.into()));
        }
        let clock = self.driver().timekeeper().clone();
        let deadline = clock.now().after(self.send_within);
        let waiting = Waiting { command: Some(refused.into_command()), clock, deadline };
        self.poll_room(cx, Box::new(waiting), sending)
    }

    #[inline(never)]
    fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        mut waiting: Box<Waiting<P::Command, K>>,
        sending: &mut Sending<P::Command, K>,
    ) -> Sent<P::Command> {
        loop {
            let Some(command) = waiting.command.take() else { return Poll::Ready(Ok(())) };
            match self.open.send(command) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(refused) if refused.is_temporary() => waiting.command = Some(refused.into_command()),
                Err(refused) => return Poll::Ready(Err(refused.into())),
            }
            if self.open.poll_progress(cx).is_pending() {
                break;
            }
        }
        if waiting.clock.poll_until(cx, waiting.deadline).is_ready() {
            if let Some(command) = waiting.command.take() {
                return Poll::Ready(Err(SendError::TimedOut { command, waited: self.send_within }));
            }
        }
        *sending = Sending::Waiting(waiting);
        Poll::Pending
    }
}
