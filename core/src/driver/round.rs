//! One round of input and output.

use core::task::{Context, Poll};

use super::{Driver, Round, Then, Timekeeper, Transport};
use crate::closed::Release;
use crate::error::TransportFault;
use crate::protocol::Protocol;
use crate::session::Session;

/// Slices offered to one vectored write.
const SLICES: usize = 32;
/// Rounds in which something moved until the session's deadline is looked at all the same.
const LOOKED_AT: u64 = 16;

impl<P: Protocol, T: Transport, K: Timekeeper> Driver<P, T, K> {
    /// One write, one read, one look at the clock. Input and output come before time-outs: after a long sleep of the
    /// whole process what the peer said meanwhile counts. The clock is read once something happened, and not before.
    ///
    /// What is asked here, wish by wish, is [`Interest`](crate::Interest): looking for the earliest deadline costs most of that.
    pub(super) fn round(&mut self, cx: &mut Context<'_>, then: Then) -> Round {
        self.rounds += 1;
        (self.clock.looked, self.sent) = (false, false);
        if let Some(how) = self.session.wants_release() {
            return self.release(cx, how);
        }
        let read = self.session.wants_read();
        let written = self.session.wants_write() && self.write(cx) == Round::Moved;
        let mut moved = false;
        if self.session.wants_shutdown() {
            moved = self.shut_down_write(cx) == Round::Moved;
        }
        if read {
            self.look_at = None;
            // An earlier step of this round may have ended the reading.
            let goes_on = !(written || moved) || self.session.wants_read();
            moved |= !goes_on || self.read(cx) == Round::Moved;
        } else if T::WATCHED {
            moved |= self.look() == Round::Moved;
        }
        // Nor is the deadline looked at each time: the next round that moves nothing does. But a peer may never pause.
        if !moved || then == Then::MayLeave || self.rounds % LOOKED_AT == 0 {
            moved |= self.keep_time(cx) == Round::Moved;
        }
        match (moved, written) {
            (true, _) => Round::Moved,
            (false, true) if self.more_after_write(read) => Round::Moved,
            (false, true) => Round::Written,
            (false, false) => Round::Blocked,
        }
    }

    /// Whether a round in which only output moved left anything to do at once. The read of that round was refused, if
    /// one was wanted, and so has its waker.
    fn more_after_write(&self, read_refused: bool) -> bool {
        let session = &self.session;
        session.has_event()
            || session.wants_write()
            || session.wants_shutdown()
            || session.wants_release().is_some()
            || (session.wants_read() && !read_refused)
    }

    pub(super) fn shut_down_write(&mut self, cx: &mut Context<'_>) -> Round {
        let left_to_release = self.session.releases_behind_fin() && self.transport.release_sends_fin();
        let result = match left_to_release {
            true => Ok(()),
            false => match self.transport.poll_shutdown_write(cx) {
                Poll::Ready(result) => result,
                Poll::Pending => return Round::Blocked,
            },
        };
        let now = self.clock.look();
        match result {
            Ok(()) => self.session.shutdown_done(now),
            Err(fault) => self.session.transport_failed(now, fault),
        }
        debug_assert!(!left_to_release || self.session.wants_release() == Some(Release::Graceful));
        if self.session.wants_shutdown() { Round::Blocked } else { Round::Moved }
    }

    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> Round {
        // What lies in one piece, as most of it does, needs no list.
        let written = match self.session.only_slice() {
            Some(slice) => self.transport.poll_write(cx, &[slice]),
            None => Self::write_slices(&self.session, &mut self.transport, cx),
        };
        let result = match written {
            Poll::Ready(result) => result,
            Poll::Pending => return Round::Blocked,
        };
        let now = self.clock.look();
        match result {
            Ok(n) => self.session.transmitted(now, n),
            Err(fault) => self.session.transport_failed(now, fault),
        }
        if let Some(buffer) = self.session.reclaim_send() {
            self.transport.give_buffer(buffer);
        }
        Round::Moved
    }

    #[inline(never)]
    fn write_slices(
        session: &Session<P>,
        transport: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, TransportFault>> {
        let mut slices: [&[u8]; SLICES] = [&[]; SLICES];
        let filled = session.transmit(&mut slices);
        transport.poll_write(cx, &slices[..filled])
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Round {
        if self.session.wants_buffers().0 {
            // Who was woken probably reads something, and who has just read does not.
            if core::mem::take(&mut self.drained) && self.transport.poll_readable(cx).is_pending() {
                return Round::Blocked;
            }
            if let Some(unused) = self.transport.take_buffer().and_then(|buffer| self.session.lend_recv(buffer)) {
                self.transport.give_buffer(unused);
            }
        }
        let round = match self.transport.poll_read(cx, &mut self.session.recv_buf()) {
            Poll::Ready(result) => {
                let now = self.clock.look();
                self.drained = true;
                match result {
                    Ok(0) => self.session.received_eof(now),
                    Ok(_) => self.session.received(now),
                    Err(fault) => self.session.transport_failed(now, fault),
                }
                Round::Moved
            }
            Poll::Pending => Round::Blocked,
        };
        if let Some(buffer) = self.session.reclaim_recv() {
            self.transport.give_buffer(buffer);
        }
        round
    }

    #[inline]
    pub(super) fn lend_send(&mut self) {
        if self.session.wants_buffers().1 {
            if let Some(unused) = self.transport.take_buffer().and_then(|buffer| self.session.lend_send(buffer)) {
                self.transport.give_buffer(unused);
            }
        }
    }

    fn release(&mut self, cx: &mut Context<'_>, how: Release) -> Round {
        if self.transport.poll_release(cx, how).is_pending() {
            return Round::Blocked;
        }
        self.session.released();
        Round::Moved
    }
}
