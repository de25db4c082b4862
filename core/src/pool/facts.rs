//! What happened to connections, and the time.

use super::order::{CloseReason, ConnId, LeaseId, Loss, Refusal};
use super::slots::State;
use super::{Alarm, Pool};
use crate::closed::Side;
use crate::time::Instant;

impl<K: Ord + Clone> Pool<K> {
    /// The dial succeeded. Like every fact it changes nothing if the connection is not the pool's any more.
    pub fn connected(&mut self, now: Instant, conn: ConnId) {
        self.handle_timeout(now);
        let Some(slot) = self.slots.get(conn).filter(|slot| slot.state == State::Dialing) else { return };
        let key = slot.target.clone();
        let life = self.config.life.map(|life| now.after(self.jittered(life)));
        if let Some(slot) = self.slots.get_mut(conn) {
            slot.life_until = life;
        }
        self.came_up(now, conn, &key);
    }

    /// The peer answered the probe, or did not.
    pub fn probed(&mut self, now: Instant, conn: ConnId, alive: bool) {
        self.handle_timeout(now);
        let Some(slot) = self.slots.get(conn).filter(|slot| slot.state == State::Probing) else { return };
        let key = slot.target.clone();
        if alive {
            self.came_up(now, conn, &key);
        } else {
            self.retire(conn, CloseReason::ProbeFailed);
        }
    }

    /// A pending connection can be used.
    fn came_up(&mut self, now: Instant, conn: ConnId, key: &K) {
        if let Some(slot) = self.slots.get_mut(conn) {
            slot.state = State::Open;
            slot.alive_at = now;
        }
        if let Some(target) = self.targets.get_mut(key) {
            target.pending -= 1;
            target.warm_after = None;
        }
        self.put_idle(now, conn, key);
        self.refresh(key);
    }

    /// Nobody uses the connection: it can be given out, until it was idle for too long.
    fn put_idle(&mut self, now: Instant, conn: ConnId, key: &K) {
        let idle = self.config.idle.map(|idle| now.after(self.jittered(idle)));
        let Some(slot) = self.slots.get_mut(conn) else { return };
        slot.idle_since = now;
        slot.idle_until = idle;
        let at = [slot.idle_until, slot.life_until].into_iter().flatten().min();
        self.idle.insert((now, conn));
        if let Some(target) = self.targets.get_mut(key) {
            target.available.push(&mut self.slots, conn);
            target.idle += 1;
        }
        self.arm(conn, at);
    }

    /// The dial failed, and left no socket. The caller that it was made for is refused: the one that waits longest.
    pub fn dial_failed(&mut self, now: Instant, conn: ConnId) {
        // A dial that the pool gave up a moment ago may still fail by itself.
        if self.slots.get(conn).is_some_and(|slot| matches!(slot.state, State::Dialing | State::Closing)) {
            self.closed(now, conn, None);
        }
    }

    /// Counts a failed dial and answers for it.
    fn dial_ended(&mut self, now: Instant, conn: ConnId) {
        let Some(key) = self.slots.get(conn).map(|slot| slot.target.clone()) else { return };
        self.stats.dials_failed += 1;
        let Some(target) = self.targets.get_mut(&key) else { return };
        match target.waiting.first().copied() {
            Some(first) => self.refuse(first, Refusal::DialFailed),
            None => self.pause_warming(now, &key),
        }
    }

    fn pause_warming(&mut self, now: Instant, key: &K) {
        let until = now.after(self.config.warm_retry);
        let Some(target) = self.targets.get_mut(key).filter(|target| target.min_idle > 0) else { return };
        if let Some(old) = target.warm_after.replace(until) {
            self.alarms.remove(&(old, Alarm::Warm(key.clone())));
        }
        self.alarms.insert((until, Alarm::Warm(key.clone())));
        self.refresh(key);
    }

    /// Something was seen of the connection after which it must not be given out again. Present users keep it, and
    /// learn it by themselves; it is closed once they have gone.
    pub fn lost(&mut self, now: Instant, conn: ConnId, loss: Loss) {
        self.handle_timeout(now);
        match self.slots.get(conn).map(|slot| slot.state) {
            Some(State::Dialing) => {
                self.dial_ended(now, conn);
                self.retire(conn, loss.into());
            }
            Some(State::Probing | State::Open) => {
                let retired = self.slots.get(conn).is_some_and(|slot| slot.retiring.is_some());
                self.stats.unsolicited += u64::from(loss == Loss::Unsolicited && !retired);
                self.retire(conn, loss.into());
                // A peer that takes connections and drops them would otherwise be dialled as fast as it can.
                if let Some(slot) = self.slots.get(conn).filter(|slot| slot.uses == 0) {
                    let key = slot.target.clone();
                    self.pause_warming(now, &key);
                }
            }
            Some(State::Closing) | None => {}
        }
    }

    /// The peer takes this many users at a time from now on; present users stay.
    pub fn set_capacity(&mut self, now: Instant, conn: ConnId, users: u32) {
        self.handle_timeout(now);
        let Some(slot) = self.slots.get_mut(conn) else { return };
        slot.capacity = users.max(1);
        let (takes, used) = (slot.users < slot.capacity, slot.users > 0);
        let open = slot.state == State::Open && slot.retiring.is_none();
        let key = slot.target.clone();
        if open && used {
            if let Some(target) = self.targets.get_mut(&key) {
                target.available.remove(&mut self.slots, conn);
                if takes {
                    target.available.push(&mut self.slots, conn);
                }
            }
            self.refresh(&key);
        }
    }

    /// The caller is done with its connection. `reusable`: nothing is under way on it, and nothing unread. False if the
    /// pool does not know the caller (any more): a second release changes nothing.
    pub fn release(&mut self, now: Instant, lease: LeaseId, reusable: bool) -> bool {
        self.handle_timeout(now);
        let Some(ended) = self.leases.remove(&lease) else { return false };
        let conn = ended.conn;
        let Some(slot) = self.slots.get_mut(conn) else { return true };
        slot.users -= 1;
        slot.alive_at = now;
        let (unused, retiring, key) = (slot.users == 0, slot.retiring, slot.target.clone());
        if !reusable || retiring.is_some() {
            self.retire(conn, CloseReason::Discarded);
            return true;
        }
        if unused {
            self.put_idle(now, conn, &key);
        } else if let Some(target) = self.targets.get_mut(&key) {
            target.available.remove(&mut self.slots, conn);
            if slot_takes(self.slots.get(conn)) {
                target.available.push(&mut self.slots, conn);
            }
        }
        self.refresh(&key);
        true
    }

    /// The connection just granted turned out dead before its caller saw it, and is closed. The caller goes on waiting
    /// in its old place; if the connection had just been dialled, that dial failed.
    pub fn stale(&mut self, now: Instant, lease: LeaseId, loss: Loss) -> bool {
        let Some(granted) = self.leases.remove(&lease) else { return false };
        self.stats.granted -= 1;
        self.stats.stale += 1;
        let mut fresh = false;
        if let Some(slot) = self.slots.get_mut(granted.conn) {
            slot.users -= 1;
            // A connection that was never used is not counted among the reused ones.
            slot.uses -= 1;
            fresh = slot.uses == 0;
            self.stats.reused -= u64::from(!fresh);
            self.retire(granted.conn, loss.into());
        }
        self.enqueue(lease, granted.waiter);
        if self.draining {
            self.refuse(lease, Refusal::Draining);
        } else if fresh {
            self.refuse(lease, Refusal::DialFailed);
        }
        self.handle_timeout(now);
        true
    }

    /// The socket is gone. `first`: whose FIN came first, if anybody's; if ours, its port stays in TIME_WAIT.
    pub fn closed(&mut self, now: Instant, conn: ConnId, first: Option<Side>) {
        self.handle_timeout(now);
        let state = self.slots.get(conn).map(|slot| slot.state);
        if state == Some(State::Dialing) {
            self.dial_ended(now, conn);
        }
        if state != Some(State::Closing) {
            // It ended by itself. What is left of it is only its place.
            self.retire(conn, CloseReason::Failed);
        }
        self.arm(conn, None);
        let Some(slot) = self.slots.remove(conn) else { return };
        if slot.state == State::Closing {
            self.closing -= 1;
            self.closes.retain(|(other, _)| *other != conn);
        }
        match first {
            None if state == Some(State::Dialing) => {}
            Some(Side::Local) => self.stats.closed_by_us += 1,
            Some(Side::Peer) => self.stats.closed_by_peer += 1,
            None => self.stats.closed_by_reset += 1,
        }
        if let Some(target) = self.targets.get_mut(&slot.target) {
            target.open -= 1;
            if first == Some(Side::Local) {
                // Its alarm moves with the last one: who never rests would count all that there ever were.
                target.forget_time_wait(now);
                target.time_wait.push_back(now.after(self.config.ports.time_wait));
            }
        }
        self.refresh(&slot.target);
    }

    /// Does what is due. Every other call does it as well.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(at) = self.alarms.first().map(|(at, _)| *at) {
            if at > now {
                return;
            }
            let Some((_, alarm)) = self.alarms.pop_first() else { return };
            match alarm {
                Alarm::Waiter(lease) => self.refuse(lease, Refusal::TimedOut),
                Alarm::Conn(conn) => self.conn_is_due(now, conn),
                Alarm::Ports(key) => {
                    if let Some(target) = self.targets.get_mut(&key) {
                        target.port_alarm = None;
                        target.forget_time_wait(now);
                    }
                    self.refresh(&key);
                }
                Alarm::Warm(key) => {
                    // A connection may have come up since, and a later pause begun.
                    if let Some(target) = self.targets.get_mut(&key).filter(|target| target.warm_after == Some(at)) {
                        target.warm_after = None;
                    }
                    self.refresh(&key);
                }
            }
        }
    }

    fn conn_is_due(&mut self, now: Instant, conn: ConnId) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        slot.alarm = None;
        let old = slot.life_until.is_some_and(|at| at <= now);
        let key = slot.target.clone();
        match slot.state {
            State::Dialing => {
                self.dial_ended(now, conn);
                self.retire(conn, CloseReason::DialTimedOut);
            }
            State::Probing => self.retire(conn, CloseReason::ProbeFailed),
            State::Open if old => self.retire(conn, CloseReason::Life),
            State::Open => {
                let keep = self.targets.get(&key).is_some_and(|target| target.idle <= target.min_idle);
                if keep {
                    self.idle_again(now, conn);
                } else {
                    self.retire(conn, CloseReason::Idle);
                }
            }
            State::Closing => {}
        }
    }

    /// One of those that are kept warm: its idle time begins anew, what a probe goes by does not.
    fn idle_again(&mut self, now: Instant, conn: ConnId) {
        let idle = self.config.idle.map(|idle| now.after(self.jittered(idle)));
        let Some(slot) = self.slots.get_mut(conn) else { return };
        slot.idle_until = idle;
        let at = [slot.idle_until, slot.life_until].into_iter().flatten().min();
        self.arm(conn, at);
    }
}

fn slot_takes<K>(slot: Option<&super::slots::Conn<K>>) -> bool {
    slot.is_some_and(|slot| slot.users < slot.capacity)
}
