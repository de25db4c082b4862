//! Opening streams, and waiting for a place in the order of coming.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::streams::{Multiplex, OpenError, StreamId};

use super::{Inner, Mux, MuxStream, Shared, Wakes};
use crate::line::Ticket;

/// A wait for a place. Whoever goes away in line, or after it was called, keeps nobody behind it waiting.
struct Opening<'a, P: Multiplex, T: Transport, K: Timekeeper> {
    shared: &'a Shared<P, T, K>,
    ticket: Ticket,
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Mux<P, T, K> {
    /// Opens a stream, waiting for a place if there are too many: first come, first served. Cancel-safe.
    ///
    /// # Errors
    /// No stream can be opened on this connection any more.
    pub async fn open(&self) -> Result<MuxStream<P, T, K>, OpenError> {
        let mut opening = Opening { shared: &self.shared, ticket: None };
        let id = poll_fn(|cx| opening.poll(cx)).await?;
        Ok(MuxStream::new(Arc::clone(&self.shared), id))
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Opening<'_, P, T, K> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<StreamId, OpenError>> {
        let mut wakes = Wakes::default();
        let opened = self.shared.act(|inner| inner.open_in_turn(&mut self.ticket, cx.waker(), &mut wakes));
        wakes.fire();
        opened.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Drop for Opening<'_, P, T, K> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        let mut wakes = Wakes::default();
        self.shared.act(|inner| {
            inner.openers.leave(&mut self.ticket);
            inner.call_openers(&mut wakes);
        });
        wakes.fire();
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> Inner<P, T, K> {
    /// Opens a stream if it is this one's turn and there is a place; otherwise it is in line afterwards.
    fn open_in_turn(
        &mut self,
        ticket: &mut Ticket,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Option<Result<StreamId, OpenError>> {
        // Who joins may be called at once; a place that is none after all is not tried again.
        for _ in 0..2 {
            if self.over || self.openers.is_empty() || self.openers.is_called(*ticket) {
                let opened = self.open_now();
                if !matches!(opened, Err(OpenError::TooMany { .. } | OpenError::NoSlot { .. })) {
                    if ticket.is_some() {
                        self.openers.leave(ticket);
                        self.call_openers(wakes);
                    }
                    return Some(opened);
                }
            }
            self.openers.join(ticket);
            self.call_openers(wakes);
            if !self.openers.is_called(*ticket) {
                break;
            }
        }
        self.openers.wake_by(*ticket, waker);
        None
    }

    fn open_now(&mut self) -> Result<StreamId, OpenError> {
        if self.over {
            return Err(OpenError::Ended);
        }
        let now = self.open.now();
        let id = self.open.protocol_mut().open(now)?;
        self.adopt(id);
        Ok(id)
    }

    /// Calls as many as there are places. Where there are none, asking has the streams tell of the next one: while
    /// anybody waits, somebody was called or will be.
    pub(super) fn call_openers(&mut self, wakes: &mut Wakes) {
        if self.openers.is_empty() {
            return;
        }
        let mut protocol = self.open.protocol_mut();
        let streams = protocol.streams_mut();
        match streams.may_open() {
            Ok(()) => self.openers.call(streams.places() as usize, &mut wakes.0),
            Err(OpenError::TooMany { .. } | OpenError::NoSlot { .. }) => {}
            Err(_) => self.openers.call_all(&mut wakes.0),
        }
    }
}
