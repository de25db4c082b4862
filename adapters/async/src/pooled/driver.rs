//! The pool's task: dials, watches what nobody uses, and closes.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use duologue_core::driver::Timekeeper;
use duologue_core::pool::{ConnId, Loss};
use duologue_core::{CloseIntent, Code, Event};

use super::state::{Inner, Shared, is_at_rest};
use crate::Options;
use crate::redial::{Connecting, ConnectionOn, Redial, SendProtocol};

/// A connection, or why there is none.
type Dialled<P, R> = Result<ConnectionOn<P, R>, String>;

pub(super) struct Driver<P: SendProtocol, R: Redial> {
    shared: Arc<Shared<P, R>>,
    make: Box<dyn Fn(&str) -> P + Send + Sync>,
    options: Options,
    clock: R::Clock,
    dialling: Vec<(ConnId, Connecting<P, R>)>,
    closing: Vec<(ConnId, ConnectionOn<P, R>)>,
}

impl<P: SendProtocol, R: Redial> Driver<P, R> {
    pub(super) fn new(shared: Arc<Shared<P, R>>, make: Box<dyn Fn(&str) -> P + Send + Sync>, options: Options) -> Self {
        Self { shared, make, options, clock: R::clock(), dialling: Vec::new(), closing: Vec::new() }
    }

    /// Works until the pool is drained.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.shared.lock().task = Some(cx.waker().clone());
            let dialled = self.poll_dialling(cx);
            let closed = self.poll_closing(cx);
            self.shared.change_by_task(|inner, now| {
                for (conn, connected) in dialled {
                    match connected {
                        Ok(connection) => {
                            inner.hold(conn, connection);
                            inner.pool.connected(now, conn);
                        }
                        Err(why) => {
                            inner.failure = why;
                            inner.pool.dial_failed(now, conn);
                        }
                    }
                    // At once: who waits is told why this dial failed and not another, and who gets a new connection
                    // that the peer has closed already is refused. Seen by the watch, it would be dialled again.
                    inner.obey(now);
                }
                for (conn, first) in closed {
                    inner.pool.closed(now, conn, first);
                }
                watch(inner, now, cx);
                inner.watched();
            });
            if !self.take_up() {
                let (deadline, over) = {
                    let mut inner = self.shared.lock();
                    let deadline = inner.pool.deadline();
                    inner.armed = deadline.map(|deadline| deadline.at);
                    (deadline, inner.pool.is_drained() && inner.held.is_empty())
                };
                if over && self.closing.is_empty() {
                    return Poll::Ready(());
                }
                match deadline {
                    Some(deadline) if self.clock.poll_until(cx, deadline.at).is_ready() => {}
                    _ => return Poll::Pending,
                }
            }
        }
    }

    fn poll_dialling(&mut self, cx: &mut Context<'_>) -> Vec<(ConnId, Dialled<P, R>)> {
        let mut done = Vec::new();
        self.dialling.retain_mut(|(conn, dial)| match dial.as_mut().poll(cx) {
            Poll::Ready(connected) => {
                done.push((*conn, connected.map_err(|error| error.to_string())));
                false
            }
            Poll::Pending => true,
        });
        done
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Vec<(ConnId, Option<duologue_core::Side>)> {
        let mut done = Vec::new();
        self.closing.retain_mut(|(conn, connection)| {
            loop {
                if let Some(end) = connection.open.end() {
                    done.push((*conn, end.finished_first));
                    return false;
                }
                if connection.poll_next_event(cx).is_pending() {
                    return true;
                }
            }
        });
        done
    }

    /// Takes up what only this task can do. False if there is nothing.
    fn take_up(&mut self) -> bool {
        let (dials, closes, mut connections, now) = {
            let mut inner = self.shared.lock();
            let (dials, closes) = (std::mem::take(&mut inner.dials), std::mem::take(&mut inner.closes));
            let connections: Vec<_> = closes.iter().map(|conn| inner.held.remove(conn)).collect();
            (dials, closes, connections, self.clock.now())
        };
        let any = !dials.is_empty() || !closes.is_empty();
        for (conn, target, deadline) in dials {
            let options = self.options.clone().connect_within(deadline.since(now));
            let protocol = (self.make)(&target);
            self.dialling.push((conn, R::connect(target, protocol, options)));
        }
        for (conn, connection) in closes.into_iter().zip(&mut connections) {
            match connection.take() {
                Some(mut connection) => {
                    connection.start_close(CloseIntent::Goodbye(Code(0)));
                    self.closing.push((conn, connection));
                }
                // A dial that took too long, or that nobody wants any more.
                None => {
                    self.dialling.retain(|(other, _)| *other != conn);
                    self.shared.change_by_task(|inner, now| inner.pool.closed(now, conn, None));
                }
            }
        }
        any
    }
}

/// Notices what happens to connections that nobody uses.
fn watch<P: SendProtocol, R: Redial>(inner: &mut Inner<P, R>, now: duologue_core::Instant, cx: &mut Context<'_>) {
    for (conn, connection) in &mut inner.held {
        let loss = loop {
            match connection.poll_next_event(cx) {
                Poll::Ready(Some(Event::Writable)) => {}
                Poll::Ready(Some(Event::App(_))) => break Some(Loss::Unsolicited),
                Poll::Ready(Some(Event::PeerFinished)) => break Some(Loss::PeerFinished),
                Poll::Ready(Some(Event::Closed(_)) | None) => break Some(Loss::Failed),
                Poll::Pending if is_at_rest::<P, R>(connection) => break None,
                // A part of a message, or the session is ending.
                Poll::Pending => break Some(Loss::Unsolicited),
            }
        };
        if let Some(loss) = loss {
            inner.pool.lost(now, *conn, loss);
        }
    }
}
