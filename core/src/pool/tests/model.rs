//! Any calls in any order, against an oracle that knows what each socket and each caller went through.

extern crate std;

use alloc::collections::{BTreeMap, BTreeSet};

use super::*;

const TARGETS: [&str; 3] = ["x", "y", "z"];
const CASES: u64 = 1500;
const CALLS: usize = 250;
/// More orders than this between two calls would be a loop.
const MOST_ORDERS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Dialing,
    Probing,
    Up,
    /// Seen dead or unwelcome.
    Lost,
    Closing,
}

#[derive(Debug)]
struct Socket {
    target: &'static str,
    stage: Stage,
    users: BTreeSet<LeaseId>,
    used: bool,
}

/// What is true, as told to the pool and by it.
struct Model {
    pool: Pool<&'static str>,
    config: PoolConfig,
    rng: Rng,
    now: Instant,
    sockets: BTreeMap<ConnId, Socket>,
    gone: Vec<ConnId>,
    waiting: BTreeMap<LeaseId, (&'static str, Instant)>,
    using: BTreeMap<LeaseId, ConnId>,
    time_wait: Vec<(&'static str, Instant)>,
    answered: u64,
    asked: u64,
    cancelled: u64,
    draining: bool,
    log: Vec<Order<&'static str>>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut pick = |bound: u64| rng.below(bound) as u32;
        let config = PoolConfig::new()
            .total(1 + pick(6))
            .per_target(1 + pick(4))
            .users_per_connection(1 + pick(2) * pick(3))
            .waiting(1 + pick(8) as usize)
            .dial_within(Duration::from_secs(1 + u64::from(pick(5))))
            .idle((pick(4) > 0).then_some(Duration::from_secs(10)))
            .life((pick(4) > 0).then_some(Duration::from_secs(40)))
            .probe_after((pick(2) > 0).then_some(Duration::from_millis(1200)))
            .ports(PortBudget {
                limit: 2 + pick(6),
                time_wait: Duration::from_secs(20),
                at_limit: if pick(2) > 0 { AtPortLimit::Queue } else { AtPortLimit::Refuse },
            });
        let pool = Pool::new(config, seed).expect("a configuration that works");
        Self {
            pool,
            config,
            rng,
            now: at(0),
            sockets: BTreeMap::new(),
            gone: Vec::new(),
            waiting: BTreeMap::new(),
            using: BTreeMap::new(),
            time_wait: Vec::new(),
            answered: 0,
            asked: 0,
            cancelled: 0,
            draining: false,
            log: Vec::new(),
        }
    }

    fn pick<X: Copy>(&mut self, from: impl IntoIterator<Item = X>) -> Option<X> {
        let all: Vec<X> = from.into_iter().collect();
        let at = self.rng.below(all.len() as u64) as usize;
        all.get(at).copied()
    }

    fn socket_in(&mut self, stages: &[Stage]) -> Option<ConnId> {
        let fitting = self.sockets.iter().filter(|(_, s)| stages.contains(&s.stage)).map(|(id, _)| *id);
        let fitting: Vec<_> = fitting.collect();
        self.pick(fitting)
    }

    fn call(&mut self) {
        match self.rng.below(16) {
            0..4 => self.acquire(),
            4..6 => {
                if let Some(conn) = self.socket_in(&[Stage::Dialing]) {
                    if self.rng.below(4) > 0 {
                        self.sockets.get_mut(&conn).expect("there").stage = Stage::Up;
                        self.pool.connected(self.now, conn);
                    } else {
                        self.forget(conn);
                        self.pool.dial_failed(self.now, conn);
                    }
                }
            }
            6 => {
                if let Some(conn) = self.socket_in(&[Stage::Probing]) {
                    let alive = self.rng.below(3) > 0;
                    self.sockets.get_mut(&conn).expect("there").stage = if alive { Stage::Up } else { Stage::Lost };
                    self.pool.probed(self.now, conn, alive);
                }
            }
            7..10 => {
                if let Some(lease) = self.pick(self.using.keys().copied().collect::<Vec<_>>()) {
                    let reusable = self.rng.below(5) > 0;
                    self.leave(lease, reusable);
                    assert!(self.pool.release(self.now, lease, reusable));
                    assert!(!self.pool.release(self.now, lease, reusable), "released twice");
                }
            }
            10 => {
                if let Some(conn) = self.socket_in(&[Stage::Up]) {
                    let loss = self.pick([Loss::PeerFinished, Loss::Unsolicited, Loss::Failed, Loss::GoingAway]);
                    self.sockets.get_mut(&conn).expect("there").stage = Stage::Lost;
                    self.pool.lost(self.now, conn, loss.expect("one"));
                }
            }
            11 => {
                if let Some(conn) = self.socket_in(&[Stage::Closing]) {
                    let first = self.pick([None, Some(Side::Local), Some(Side::Peer)]).expect("one");
                    if first == Some(Side::Local) {
                        self.time_wait.push((self.sockets[&conn].target, self.now.after(20 * SECOND)));
                    }
                    self.forget(conn);
                    self.pool.closed(self.now, conn, first);
                }
            }
            12 => {
                if let Some(lease) = self.pick(self.waiting.keys().copied().collect::<Vec<_>>()) {
                    self.waiting.remove(&lease);
                    self.cancelled += 1;
                    assert!(self.pool.cancel(self.now, lease));
                    assert!(!self.pool.cancel(self.now, lease));
                }
            }
            13 => self.late_facts(),
            14 if self.rng.below(8) == 0 => {
                let (target, warm) = (self.pick(TARGETS).expect("one"), self.rng.below(3) as u32);
                self.pool.keep_warm(self.now, target, warm);
            }
            _ => self.pass(),
        }
    }

    fn acquire(&mut self) {
        let target = self.pick(TARGETS).expect("one");
        let deadline = self.now.after(Duration::from_secs(1 + self.rng.below(15)));
        match self.pool.acquire(self.now, target, deadline) {
            Ok(lease) => {
                self.asked += 1;
                assert!(self.waiting.insert(lease, (target, deadline)).is_none(), "an id used twice");
            }
            Err(Refusal::QueueFull { .. }) => assert!(self.waiting.len() >= self.config.waiting),
            Err(Refusal::Draining) => assert!(self.draining),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Facts of connections that are gone: nothing may change (law L16).
    fn late_facts(&mut self) {
        let Some(old) = self.pick(self.gone.clone()) else { return };
        let before = (self.pool.stats(), self.pool.deadline());
        self.pool.lost(self.now, old, Loss::Failed);
        self.pool.closed(self.now, old, Some(Side::Local));
        self.pool.connected(self.now, old);
        self.pool.dial_failed(self.now, old);
        self.pool.probed(self.now, old, true);
        assert_eq!((self.pool.stats(), self.pool.deadline()), before);
    }

    fn pass(&mut self) {
        self.now = self.now.after(Duration::from_millis(self.rng.below(3000)));
        self.pool.handle_timeout(self.now);
    }

    fn leave(&mut self, lease: LeaseId, reusable: bool) {
        let conn = self.using.remove(&lease).expect("in use");
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.users.remove(&lease);
            if !reusable && socket.stage == Stage::Up {
                socket.stage = Stage::Lost;
            }
        }
    }

    fn forget(&mut self, conn: ConnId) {
        let socket = self.sockets.remove(&conn).expect("known");
        assert!(socket.users.is_empty());
        self.gone.push(conn);
    }

    fn settle(&mut self) {
        for n in 0.. {
            assert!(n < MOST_ORDERS, "orders without end");
            let Some(order) = self.pool.poll_order(self.now) else { break };
            self.log.push(order.clone());
            self.obey(order);
        }
        self.check();
    }

    fn obey(&mut self, order: Order<&'static str>) {
        match order {
            Order::Dial { conn, target, deadline } => {
                assert!(deadline > self.now);
                let socket = Socket { target, stage: Stage::Dialing, users: BTreeSet::new(), used: false };
                assert!(self.sockets.insert(conn, socket).is_none());
                assert!(!self.gone.contains(&conn), "a generation used twice");
                let open = self.sockets.values().filter(|s| s.target == target).count();
                assert!(self.sockets.len() <= self.config.total as usize && open <= self.config.per_target as usize);
                let (open, waits) = self.ports(target);
                assert!(open + waits <= self.config.ports.limit as usize, "{open} open, {waits} in TIME_WAIT");
            }
            Order::Probe { conn, .. } => {
                let socket = self.sockets.get_mut(&conn).expect("known");
                assert!(socket.stage == Stage::Up && socket.users.is_empty());
                socket.stage = Stage::Probing;
            }
            Order::Grant { lease, conn, reused } => {
                let (target, deadline) = self.waiting.remove(&lease).expect("waiting, and not answered before");
                assert!(deadline > self.now, "granted after its deadline");
                let earlier = self.waiting.iter().any(|(other, (t, _))| *other < lease && *t == target);
                assert!(!earlier, "somebody came before");
                self.check_other_targets(lease, conn);
                let socket = self.sockets.get_mut(&conn).expect("known");
                assert_eq!((socket.target, socket.stage), (target, Stage::Up), "given out dead");
                assert_eq!(core::mem::replace(&mut socket.used, true), reused);
                assert!(socket.users.insert(lease) && socket.users.len() <= self.config.users_per_connection as usize);
                self.using.insert(lease, conn);
                self.answered += 1;
                if reused && self.rng.below(12) == 0 {
                    self.found_stale(lease, conn);
                }
            }
            Order::Refuse { lease, why } => {
                let (target, deadline) = self.waiting.remove(&lease).expect("waiting, and not answered before");
                self.answered += 1;
                match why {
                    Refusal::TimedOut => assert!(deadline <= self.now),
                    Refusal::PortsExhausted { target: told, in_time_wait, open, limit, retry_at } => {
                        assert_eq!((told, limit), (target, self.config.ports.limit));
                        assert_eq!((open as usize, in_time_wait as usize), self.ports(target));
                        assert!(retry_at.is_none_or(|at| at > self.now) && open + in_time_wait >= limit);
                    }
                    Refusal::Draining => assert!(self.draining),
                    Refusal::DialFailed => {}
                    other => panic!("{other:?}"),
                }
            }
            Order::Close { conn, .. } => {
                let socket = self.sockets.get_mut(&conn).expect("known");
                assert!(socket.users.is_empty() && socket.stage != Stage::Closing);
                socket.stage = Stage::Closing;
            }
        }
    }

    /// Nobody of another target came before, for whom this connection could have made room.
    fn check_other_targets(&self, lease: LeaseId, conn: ConnId) {
        let full = self.sockets.len() >= self.config.total as usize;
        let closing = self.sockets.values().any(|s| s.stage == Stage::Closing);
        if !full || closing || !self.sockets[&conn].users.is_empty() {
            return;
        }
        for (target, _) in self.waiting.iter().filter(|(other, _)| **other < lease).map(|(_, waiter)| waiter) {
            let (open, waits) = self.ports(target);
            let ports_left = open + waits < self.config.ports.limit as usize;
            let coming = |s: &Socket| s.target == *target && matches!(s.stage, Stage::Dialing | Stage::Probing);
            let waits_for_room = open < self.config.per_target as usize && !self.sockets.values().any(coming);
            assert!(!(waits_for_room && ports_left), "somebody who waits for {target} came before");
        }
    }

    fn found_stale(&mut self, lease: LeaseId, conn: ConnId) {
        let deadline = self.now.after(SECOND);
        let target = self.sockets[&conn].target;
        self.leave(lease, false);
        // Its own deadline stands; the model only needs one that has not passed.
        self.waiting.insert(lease, (target, deadline));
        self.answered -= 1;
        assert!(self.pool.stale(self.now, lease, Loss::PeerFinished));
        self.waiting.insert(lease, (target, self.pool.waiting[&lease].deadline));
    }

    fn ports(&self, target: &str) -> (usize, usize) {
        let open = self.sockets.values().filter(|s| s.target == target).count();
        (open, self.time_wait.iter().filter(|(t, until)| *t == target && *until > self.now).count())
    }

    /// What holds whenever every order was taken.
    fn check(&self) {
        let stats = self.pool.stats();
        assert_eq!(stats.open as usize, self.sockets.len());
        assert_eq!((stats.waiting, stats.in_use), (self.waiting.len(), self.using.len()));
        let idle = self.sockets.values().filter(|s| s.stage == Stage::Up && s.users.is_empty()).count();
        assert_eq!(stats.idle as usize, idle);
        assert_eq!(self.asked, self.answered + self.cancelled + self.waiting.len() as u64, "a caller was forgotten");
        assert!(self.pool.deadline().is_none_or(|deadline| deadline.at > self.now), "time does not move");
        assert!(self.waiting.is_empty() || self.pool.deadline().is_some(), "somebody waits without a deadline");
        if let Some(first) = self.waiting.values().map(|(_, deadline)| *deadline).min() {
            assert!(self.pool.deadline().is_some_and(|deadline| deadline.at <= first));
        }
        let capacity = self.config.users_per_connection as usize;
        for (target, _) in self.waiting.values() {
            let free = |s: &Socket| s.target == *target && s.stage == Stage::Up && s.users.len() < capacity;
            assert!(!self.sockets.values().any(free), "a caller waits beside a free connection");
            let (open, waits) = self.ports(target);
            let room = self.sockets.len() < self.config.total as usize && open < self.config.per_target as usize;
            if room && open + waits < self.config.ports.limit as usize {
                let pending = |s: &&Socket| s.target == *target && matches!(s.stage, Stage::Dialing | Stage::Probing);
                let promised = self.sockets.values().filter(pending).count() * capacity;
                let callers = self.waiting.values().filter(|(t, _)| t == target).count();
                assert!(promised >= callers, "{callers} callers, {promised} promised, and room to dial");
            }
        }
    }

    /// After a drain, and with all time there is, everybody has an answer and nothing is left.
    fn end(&mut self) {
        self.draining = true;
        self.pool.drain(self.now);
        self.settle();
        assert!(self.waiting.is_empty());
        for lease in self.using.keys().copied().collect::<Vec<_>>() {
            self.leave(lease, true);
            assert!(self.pool.release(self.now, lease, true));
        }
        self.settle();
        for conn in self.sockets.keys().copied().collect::<Vec<_>>() {
            assert_eq!(self.sockets[&conn].stage, Stage::Closing);
            self.forget(conn);
            self.pool.closed(self.now, conn, None);
        }
        self.settle();
        assert!(self.pool.is_drained(), "{:?}", self.pool.stats());
        self.pool.handle_timeout(self.now.after(100 * SECOND));
        assert_eq!(self.pool.deadline(), None);
        assert!(self.pool.targets.is_empty() && self.pool.hungry.is_empty() && self.pool.grantable.is_empty());
    }
}

fn run(seed: u64) -> Vec<Order<&'static str>> {
    let mut model = Model::new(seed);
    for _ in 0..CALLS {
        model.call();
        model.settle();
    }
    model.end();
    model.log
}

#[test]
fn every_caller_gets_one_answer_and_every_limit_holds() {
    let mut seen = [0_usize; 5];
    for seed in 0..CASES {
        let log = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("seed {seed}"));
        for order in log {
            let kind = match order {
                Order::Dial { .. } => 0,
                Order::Probe { .. } => 1,
                Order::Grant { .. } => 2,
                Order::Refuse { .. } => 3,
                Order::Close { .. } => 4,
            };
            seen[kind] += 1;
        }
    }
    assert!(seen.iter().all(|n| *n > 500), "an order that hardly comes is hardly tested: {seen:?}");
}

#[test]
fn the_same_calls_give_the_same_orders() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
