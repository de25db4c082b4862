//! What is to be done next, decided when it is asked.

use super::order::{CloseReason, ConnId, LeaseId, Order, Refusal};
use super::slots::{Conn, State};
use super::{Alarm, AtPortLimit, Lease, Pool};
use crate::time::Instant;

/// Where a dial that nobody waits for stands among the hungry: last.
const NOBODY: LeaseId = LeaseId(u64::MAX);

impl<K: Ord + Clone> Pool<K> {
    /// The next thing to be done; `None` if there is nothing until the next call or the deadline.
    pub fn poll_order(&mut self, now: Instant) -> Option<Order<K>> {
        self.handle_timeout(now);
        if let Some((conn, why)) = self.closes.pop_front() {
            return Some(Order::Close { conn, why });
        }
        if let Some((lease, why)) = self.refusals.pop_front() {
            return Some(Order::Refuse { lease, why });
        }
        if let Some((false, wanted_by, target)) = self.hungry.first().cloned() {
            return self.no_port(wanted_by, target);
        }
        if let Some((first, target)) = self.grantable.first().cloned() {
            // Who came before for another target waits for a place: a busy target would keep all there are for ever.
            let place = if self.is_full() { self.make_room(first) } else { None };
            return place.or_else(|| self.grant(now, &target));
        }
        let (_, wanted_by, target) = self.hungry.first().cloned()?;
        if !self.is_full() {
            return self.dial(now, &target);
        }
        if wanted_by == NOBODY { None } else { self.make_room(NOBODY) }
    }

    fn is_full(&self) -> bool {
        self.slots.open() >= self.config.total
    }

    /// Gives the first caller the connection used last, or has that probed first.
    fn grant(&mut self, now: Instant, key: &K) -> Option<Order<K>> {
        let target = self.targets.get_mut(key)?;
        let (conn, lease) = (target.available.top()?, *target.waiting.first()?);
        let slot = self.slots.get_mut(conn)?;
        let unused = slot.users == 0;
        if unused {
            self.idle.remove(&(slot.idle_since, conn));
            target.idle -= 1;
        }
        let quiet = now.since(slot.idle_since.max(slot.alive_at));
        if unused && self.config.probe_after.is_some_and(|after| quiet >= after) {
            slot.state = State::Probing;
            target.available.remove(&mut self.slots, conn);
            target.pending += 1;
            let deadline = now.after(self.config.probe_within);
            self.arm(conn, Some(deadline));
            self.refresh(key);
            return Some(Order::Probe { conn, deadline });
        }
        let reused = slot.uses > 0;
        slot.uses += 1;
        slot.users += 1;
        let (full, until) = (slot.users >= slot.capacity, slot.life_until);
        if full {
            target.available.remove(&mut self.slots, conn);
        }
        self.arm(conn, until);
        self.stats.granted += 1;
        self.stats.reused += u64::from(reused);
        if let Some(waiter) = self.dequeue(lease) {
            self.leases.insert(lease, Lease { conn, waiter });
        }
        self.refresh(key);
        Some(Order::Grant { lease, conn, reused })
    }

    /// Only under `AtPortLimit::Refuse` is a target hungry without a port.
    fn no_port(&mut self, wanted_by: LeaseId, key: K) -> Option<Order<K>> {
        let target = self.targets.get(&key)?;
        let why = Refusal::PortsExhausted {
            in_time_wait: u32::try_from(target.in_time_wait()).unwrap_or(u32::MAX),
            open: target.open,
            limit: self.config.ports.limit,
            retry_at: target.time_wait.front().copied(),
            target: key,
        };
        self.refuse(wanted_by, why);
        self.refusals.pop_front().map(|(lease, why)| Order::Refuse { lease, why })
    }

    fn dial(&mut self, now: Instant, key: &K) -> Option<Order<K>> {
        let deadline = now.after(self.config.dial_within);
        let conn = self.slots.insert(Conn {
            target: key.clone(),
            state: State::Dialing,
            users: 0,
            capacity: self.config.users_per_connection,
            uses: 0,
            idle_since: now,
            alive_at: now,
            idle_until: None,
            life_until: None,
            alarm: None,
            retiring: None,
            link: None,
        });
        if let Some(target) = self.targets.get_mut(key) {
            target.open += 1;
            target.pending += 1;
        }
        self.stats.dialled += 1;
        self.arm(conn, Some(deadline));
        self.refresh(key);
        Some(Order::Dial { conn, target: key.clone(), deadline })
    }

    /// Closes what was unused longest, for callers who came before this one and wait for another target. One close makes
    /// one place, so closes under way count.
    fn make_room(&mut self, before: LeaseId) -> Option<Order<K>> {
        let wanted = self.hungry.iter().filter(|(_, by, _)| *by < before).count();
        if self.closing as usize >= wanted {
            return None;
        }
        let (_, oldest) = *self.idle.first()?;
        self.retire(oldest, CloseReason::MadeRoom);
        self.closes.pop_front().map(|(conn, why)| Order::Close { conn, why })
    }

    pub(super) fn refuse(&mut self, lease: LeaseId, why: Refusal<K>) {
        if let Some(waiter) = self.dequeue(lease) {
            let why = self.refused(why);
            self.refusals.push_back((lease, why));
            self.refresh(&waiter.target);
        }
    }

    /// Takes a connection out of use, for good.
    pub(super) fn retire(&mut self, conn: ConnId, why: CloseReason) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        let key = slot.target.clone();
        let Some(target) = self.targets.get_mut(&key) else { return };
        match slot.state {
            State::Closing => return,
            State::Dialing | State::Probing => target.pending -= 1,
            State::Open => {
                target.idle -= u32::from(self.idle.remove(&(slot.idle_since, conn)));
                target.available.remove(&mut self.slots, conn);
            }
        }
        let Some(slot) = self.slots.get_mut(conn) else { return };
        if slot.users == 0 {
            slot.state = State::Closing;
            let why = slot.retiring.unwrap_or(why);
            self.closing += 1;
            self.closes.push_back((conn, why));
        } else {
            slot.retiring.get_or_insert(why);
        }
        self.arm(conn, None);
        self.refresh(&key);
    }

    /// Sets or takes back a connection's alarm.
    pub(super) fn arm(&mut self, conn: ConnId, at: Option<Instant>) {
        let Some(slot) = self.slots.get_mut(conn) else { return };
        if let Some(old) = core::mem::replace(&mut slot.alarm, at) {
            self.alarms.remove(&(old, Alarm::Conn(conn)));
        }
        if let Some(at) = at {
            self.alarms.insert((at, Alarm::Conn(conn)));
        }
    }

    /// Brings what is derived from a target's state up to date. Every change of the state ends here.
    pub(super) fn refresh(&mut self, key: &K) {
        let Some(target) = self.targets.get_mut(key) else { return };
        let grantable = target.waiting.first().copied().filter(|_| !target.available.is_empty());
        if grantable != target.grantable {
            if let Some(old) = target.grantable {
                self.grantable.remove(&(old, key.clone()));
            }
            if let Some(new) = grantable {
                self.grantable.insert((new, key.clone()));
            }
            target.grantable = grantable;
        }
        let ports_left = target.ports() < u64::from(self.config.ports.limit);
        let promised = u64::from(target.pending) * u64::from(self.config.users_per_connection);
        let unserved = target.waiting.len() as u64 > promised && target.available.is_empty();
        let warm = target.idle + target.pending < target.min_idle && target.warm_after.is_none();
        let wanted_by = match target.waiting.first() {
            Some(first) if unserved => Some(*first),
            _ if warm && ports_left => Some(NOBODY),
            _ => None,
        };
        let may = target.open < self.config.per_target
            && (ports_left || self.config.ports.at_limit == AtPortLimit::Refuse)
            && !self.draining;
        let hungry = wanted_by.filter(|_| may).map(|by| (ports_left, by));
        if hungry != target.hungry {
            if let Some((port, by)) = target.hungry {
                self.hungry.remove(&(port, by, key.clone()));
            }
            if let Some((port, by)) = hungry {
                self.hungry.insert((port, by, key.clone()));
            }
            target.hungry = hungry;
        }
        // Who waits for a port wants the first; otherwise they are forgotten all at once.
        let starved = unserved && !ports_left;
        let port_alarm = if starved { target.time_wait.front() } else { target.time_wait.back() }.copied();
        if port_alarm != target.port_alarm {
            if let Some(old) = target.port_alarm {
                self.alarms.remove(&(old, Alarm::Ports(key.clone())));
            }
            if let Some(new) = port_alarm {
                self.alarms.insert((new, Alarm::Ports(key.clone())));
            }
            target.port_alarm = port_alarm;
        }
        if target.is_empty() {
            if let Some(at) = target.warm_after {
                self.alarms.remove(&(at, Alarm::Warm(key.clone())));
            }
            self.targets.remove(key);
        }
    }
}
