//! Connections that were refused and are told so, until they have gone.

use std::task::{Context, Poll};

use duologue_core::driver::Timekeeper;
use duologue_core::{CloseIntent, Code, Instant, Protocol};

use super::Runtime;
use crate::ConnectionOn;

pub(super) struct Leaving<P: Protocol, R: Runtime> {
    connections: Vec<(ConnectionOn<P, R>, Instant)>,
    clock: R::Clock,
}

impl<P: Protocol, R: Runtime> Leaving<P, R> {
    pub(super) fn new() -> Self {
        Self { connections: Vec::new(), clock: R::clock() }
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Says goodbye to a connection, which has until `deadline` to go.
    pub(super) fn add(&mut self, mut connection: ConnectionOn<P, R>, code: Code, deadline: Instant) {
        connection.start_close(CloseIntent::Goodbye(code));
        self.connections.push((connection, deadline));
    }

    /// Drives them all; who has gone or is late is dropped, with a reset if it is late.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        // Almost always: the clock is read for somebody only.
        while !self.connections.is_empty() {
            let now = self.clock.now();
            self.connections.retain_mut(|(connection, deadline)| {
                if *deadline <= now {
                    connection.abort(Code(0));
                }
                loop {
                    match connection.poll_next_event(cx) {
                        Poll::Ready(Some(_)) => {}
                        Poll::Ready(None) => return false,
                        Poll::Pending => return *deadline > now,
                    }
                }
            });
            let Some(first) = self.connections.iter().map(|(_, deadline)| *deadline).min() else { return };
            if self.clock.poll_until(cx, first).is_pending() {
                return;
            }
        }
    }
}
