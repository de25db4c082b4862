//! The pool's task: dials, watches what nobody uses, and closes.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use duologue_core::driver::Timekeeper;
use duologue_core::pool::{ConnId, Loss};
use duologue_core::{CloseIntent, Code, Event};

use super::PoolError;
use super::state::{Held, Inner, Shared, is_at_rest};
use super::woken::{Bell, Woken};
use crate::Options;
use crate::redial::{ConnectionOver, Dialling, PoolCarrier, SendProtocol};

/// A connection, or why there is none.
type Dialled<P, C> = Result<ConnectionOver<P, C>, PoolError>;

/// Makes the protocol of a connection to a target, and dials it.
pub(super) type Dial<P, C> = Box<dyn Fn(Arc<str>, Options) -> Dialling<P, C> + Send + Sync>;

pub(super) struct Driver<P: SendProtocol, C: PoolCarrier> {
    shared: Arc<Shared<P, C>>,
    dial: Dial<P, C>,
    options: Options,
    clock: C::Clock,
    woken: Arc<Woken>,
    dialling: BTreeMap<ConnId, (Dialling<P, C>, Arc<Bell>)>,
    closing: BTreeMap<ConnId, (ConnectionOver<P, C>, Arc<Bell>)>,
}

impl<P: SendProtocol, C: PoolCarrier> Driver<P, C> {
    pub(super) fn new(shared: Arc<Shared<P, C>>, dial: Dial<P, C>, options: Options) -> Self {
        let woken = Arc::clone(&shared.lock().woken);
        Self { shared, dial, options, clock: C::clock(), woken, dialling: BTreeMap::new(), closing: BTreeMap::new() }
    }

    /// Works until the pool is drained.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.shared.lock().task = Some(cx.waker().clone());
            self.woken.register(cx.waker());
            // Only who was woken is looked at: a wake costs the same however many connections there are.
            let woken = self.woken.take();
            let dialled = self.poll_dialling(&woken);
            let closed = self.poll_closing(&woken);
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
                watch(inner, now, &woken);
                let fresh = inner.take_fresh();
                watch(inner, now, &fresh);
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

    fn poll_dialling(&mut self, woken: &[ConnId]) -> Vec<(ConnId, Dialled<P, C>)> {
        let mut done = Vec::new();
        for conn in woken {
            let Some((dial, bell)) = self.dialling.get_mut(conn) else { continue };
            if let Poll::Ready(connected) = dial.as_mut().poll(&mut Context::from_waker(&bell.listen())) {
                done.push((*conn, connected.map_err(PoolError::from_dial)));
                self.dialling.remove(conn);
            }
        }
        done
    }

    fn poll_closing(&mut self, woken: &[ConnId]) -> Vec<(ConnId, Option<duologue_core::Side>)> {
        let mut done = Vec::new();
        for conn in woken {
            let Some((connection, bell)) = self.closing.get_mut(conn) else { continue };
            let waker = bell.listen();
            let first = loop {
                match connection.poll_next_event(&mut Context::from_waker(&waker)) {
                    Poll::Ready(Some(Event::Closed(closed))) => break closed.finished_first,
                    Poll::Ready(Some(_)) => {}
                    // Its end was told before.
                    Poll::Ready(None) => break connection.open.end().and_then(|end| end.finished_first),
                    Poll::Pending => break None,
                }
            };
            if connection.session().is_over() {
                done.push((*conn, first));
                self.closing.remove(conn);
            }
        }
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
            self.dialling.insert(conn, ((self.dial)(target, options), Bell::new(conn, &self.woken)));
            self.woken.add(conn);
        }
        for (conn, connection) in closes.into_iter().zip(&mut connections) {
            match connection.take() {
                Some(Held { mut connection, bell }) => {
                    connection.start_close(CloseIntent::Goodbye(Code(0)));
                    self.closing.insert(conn, (connection, bell));
                    self.woken.add(conn);
                }
                // A dial that took too long, or that nobody wants any more.
                None => {
                    self.dialling.remove(&conn);
                    self.shared.change_by_task(|inner, now| inner.pool.closed(now, conn, None));
                }
            }
        }
        any
    }
}

/// Notices what happens to connections that nobody uses.
fn watch<P: SendProtocol, C: PoolCarrier>(inner: &mut Inner<P, C>, now: duologue_core::Instant, woken: &[ConnId]) {
    for conn in woken {
        let Some(Held { connection, bell }) = inner.held.get_mut(conn) else { continue };
        let waker = bell.listen();
        let cx = &mut Context::from_waker(&waker);
        let loss = loop {
            // What came while it was dialled is its first user's: what comes now is nobody's.
            let early = connection.open.early() > 0;
            let polled = if early { connection.driver_mut().poll_event(cx) } else { connection.poll_next_event(cx) };
            match polled {
                Poll::Ready(Some(Event::Writable)) => {}
                Poll::Ready(Some(Event::App(_))) => break Some(Loss::Unsolicited),
                Poll::Ready(Some(Event::PeerFinished)) => break Some(Loss::PeerFinished),
                Poll::Ready(Some(Event::Closed(_)) | None) => break Some(Loss::Failed),
                Poll::Pending if is_at_rest::<P, C>(connection) => break None,
                // A part of a message, or the session is ending.
                Poll::Pending => break Some(Loss::Unsolicited),
            }
        };
        if let Some(loss) = loss {
            inner.pool.lost(now, *conn, loss);
        }
    }
}
