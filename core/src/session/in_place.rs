//! Messages handled where they lie in the receive buffer, and answered into the send queue.

use core::fmt;

use super::intents::refused;
use super::receive::NoMessage;
use super::{Opening, Session, context};
use crate::config::Delivery;
use crate::error::SendError;
use crate::halves::SendState;
use crate::protocol::{Cx, InPlace, Protocol, Step};
use crate::time::Instant;

impl<P: Protocol> Session<P> {
    /// Messages are handled where they lie. Those of the opening are events: who opens a conversation needs no handler.
    #[inline]
    pub(super) fn is_in_place(&self) -> bool {
        self.config.delivery == Delivery::InPlace && self.opening == Opening::Established
    }
}

impl<P: InPlace> Session<P> {
    /// Hands messages to `handler` where they lie in the receive buffer, at most `budget` of them, and tells how
    /// many. Before each, at least `reply_room` bytes must be free in the send queue; otherwise it stops, and goes
    /// on when it is called after bytes were transmitted. With a `reply_room` of 0 it never waits for that.
    ///
    /// Only for sessions made with [`Delivery::InPlace`]; otherwise messages are events and this does nothing. It waits
    /// for the end of the opening, whose messages are events too, and until those were taken.
    #[inline]
    pub fn handle<H>(&mut self, now: Instant, reply_room: usize, budget: usize, mut handler: H) -> usize
    where
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        let now = self.observe(now);
        let mut handled = 0;
        if !self.is_in_place() || self.event.is_some() {
            return handled;
        }
        let reply_room = reply_room.min(self.tx.limit());
        while self.can_decode() {
            handled += self.handle_short(now, reply_room, budget - handled, &mut handler);
            // The short run may have ended the decoding too.
            if handled >= budget || !self.has_reply_room(reply_room) || !self.can_decode() {
                break;
            }
            let before = self.rx.len();
            match self.handle_one(now, &mut handler) {
                None => {
                    handled += 1;
                    self.took_message();
                    self.after_protocol(now);
                }
                Some(step) => {
                    self.after_protocol(now);
                    self.take_no_message(now, before, step);
                }
            }
        }
        if handled == 0 || self.is_unsettled() || self.starved {
            self.settle(now);
        }
        handled
    }

    #[inline(always)]
    fn has_reply_room(&self, reply_room: usize) -> bool {
        self.tx.room() >= reply_room || self.send != SendState::Open
    }

    /// Hands over messages as long as they lie whole one behind the other and leave nothing behind: the loop that most
    /// of them go through.
    #[inline(always)]
    fn handle_short<H>(&mut self, now: Instant, reply_room: usize, budget: usize, handler: &mut H) -> usize
    where
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        let open = self.send == SendState::Open;
        let mut handled = 0;
        while handled < budget && self.has_reply_room(reply_room) {
            let Some(view) = self.protocol.decode_short_in_place(&mut self.rx) else { break };
            let cx = context!(self, now);
            let wanted_room = &mut self.wanted_room;
            handler(view, &mut Replies { protocol: &mut self.protocol, cx, open, wanted_room });
            handled += 1;
            self.took_message();
            if self.is_left_behind() {
                break;
            }
        }
        if handled > 0 {
            self.after_protocol(now);
        }
        handled
    }

    /// Hands a message to the handler, or tells what there was instead.
    #[inline(never)]
    fn handle_one<H>(&mut self, now: Instant, handler: &mut H) -> Option<Result<NoMessage, P::Violation>>
    where
        H: FnMut(P::View<'_>, &mut Replies<'_, '_, P>),
    {
        Some(Ok(match self.protocol.decode_in_place(&mut context!(self, now), &mut self.rx) {
            Ok(Step::Event(view)) => {
                let open = self.send == SendState::Open;
                let cx = context!(self, now);
                let wanted_room = &mut self.wanted_room;
                handler(view, &mut Replies { protocol: &mut self.protocol, cx, open, wanted_room });
                return None;
            }
            Ok(Step::NeedMore { hint }) => NoMessage::NeedMore { hint },
            Ok(Step::Progress) => NoMessage::Progress,
            Ok(Step::Close(code)) => NoMessage::Close(code),
            Err(violation) => return Some(Err(violation)),
        }))
    }

    /// As [`send`](Self::send), from borrowed bytes.
    ///
    /// # Errors
    /// As [`send`](Self::send), without a command to give back.
    #[inline]
    pub fn send_in_place(&mut self, now: Instant, reply: P::Reply<'_>) -> Result<(), SendError<()>> {
        let now = self.observe(now);
        self.check_open()?;
        self.tx.begin();
        let outcome = self.protocol.reply(&mut context!(self, now), reply);
        self.conclude_command(now, outcome)
    }
}

/// The way to answer from inside a handler of [`Session::handle`]: straight into the send queue.
pub struct Replies<'a, 'b, P: InPlace> {
    protocol: &'a mut P,
    cx: Cx<'b, P>,
    open: bool,
    wanted_room: &'a mut Option<usize>,
}

impl<P: InPlace> fmt::Debug for Replies<'_, '_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("room", &self.room()).finish_non_exhaustive()
    }
}

impl<P: InPlace> Replies<'_, '_, P> {
    /// Queues a reply.
    ///
    /// # Errors
    /// The queue has no room (see `reply_room`), the protocol cannot express it, or sending is over.
    #[inline(always)]
    pub fn send(&mut self, reply: P::Reply<'_>) -> Result<(), SendError<()>> {
        if !self.open {
            return Err(SendError::Closed { command: () });
        }
        self.cx.tx.begin();
        match self.protocol.reply(&mut self.cx, reply) {
            Ok(()) => {
                self.cx.tx.commit();
                Ok(())
            }
            Err(why) => {
                self.cx.tx.rollback();
                Err(refused((), why, self.wanted_room))
            }
        }
    }

    /// Bytes that are free for replies.
    #[must_use]
    pub fn room(&self) -> usize {
        self.cx.tx.room()
    }
}
