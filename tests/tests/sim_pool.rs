//! A pool in the simulated network: connections that die at any byte, and an oracle that knows each request's fate.

mod simecho;
mod simlink;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use duologue_core::pool::{ConnId, Delivery, LeaseId, Loss, Order, Pool, PoolConfig, Refusal};
use duologue_core::{CloseIntent, Code, Config, Event, Instant, RecvState, Rng, SendState, Timeouts};
use duologue_sim::{ConnectError, FaultSchedule, HostId, Link as Wire, Listen, Machine, Net, Outcome, World};
use simecho::*;
use simlink::{earlier, network_faults};

const REQUESTS: u64 = 60;
const SEEDS: u64 = 250;

/// What became of a request. Each has one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Answered,
    /// Its connection died, and the server may have it.
    PossiblySent,
    Refused(Refusal<u32>),
}

/// Makes requests through a pool, each sent again only when it is known unsent.
struct Caller {
    pool: Pool<u32>,
    to: HostId,
    links: BTreeMap<ConnId, Link>,
    /// Requests whose time has not come.
    planned: Vec<(Instant, u64)>,
    waiting: BTreeMap<LeaseId, u64>,
    /// By connection: the requests under way in order, each with its place among the session's messages.
    under_way: BTreeMap<ConnId, VecDeque<(LeaseId, u64, u64)>>,
    told: BTreeMap<u64, Told>,
    retries: u64,
    over: bool,
}

impl Caller {
    fn tell(&mut self, request: u64, told: Told) {
        assert!(self.told.insert(request, told).is_none(), "request {request} has two fates");
    }

    fn ask(&mut self, now: Instant, request: u64) {
        match self.pool.acquire(now, 0, now.after(Duration::from_secs(20))) {
            Ok(lease) => assert!(self.waiting.insert(lease, request).is_none()),
            Err(why) => self.tell(request, Told::Refused(why)),
        }
    }

    fn drive_links(&mut self, net: &mut Net<'_>) -> bool {
        let conns: Vec<ConnId> = self.links.keys().copied().collect();
        let mut any = false;
        for conn in conns {
            let Some(link) = self.links.get_mut(&conn) else { continue };
            let was_connected = link.connected;
            let events = link.drive(net);
            any |= !events.is_empty();
            if link.connected && !was_connected {
                any = true;
                self.pool.connected(net.now(), conn);
            }
            for event in events {
                self.on_event(net.now(), conn, event);
            }
        }
        any
    }

    fn on_event(&mut self, now: Instant, conn: ConnId, event: FramesEvent) {
        match event {
            Event::App(message) => {
                let first = self.under_way.get_mut(&conn).and_then(VecDeque::pop_front);
                let (lease, request, _) = first.expect("a request is under way");
                assert_eq!(number(&message), request, "answers come in order");
                self.tell(request, Told::Answered);
                let open = |link: &Link| link.session.states() == (RecvState::Open, SendState::Open);
                let reusable = self.links.get(&conn).is_some_and(open);
                assert!(self.pool.release(now, lease, reusable));
            }
            Event::PeerFinished => self.pool.lost(now, conn, Loss::PeerFinished),
            Event::Writable => {}
            Event::Closed(closed) => {
                let link = self.links.remove(&conn).expect("known");
                for (lease, request, number) in self.under_way.remove(&conn).into_iter().flatten() {
                    // The one decision that must be right.
                    if Delivery::of(number, &link.session.stats()).may_retry(false) {
                        self.retries += 1;
                        self.ask(now, request);
                    } else {
                        self.tell(request, Told::PossiblySent);
                    }
                    self.pool.release(now, lease, false);
                }
                self.pool.closed(now, conn, closed.finished_first);
            }
        }
    }

    fn obey(&mut self, net: &mut Net<'_>) -> bool {
        let now = net.now();
        let mut any = false;
        while let Some(order) = self.pool.poll_order(now) {
            any = true;
            match order {
                Order::Dial { conn, .. } => match Link::dial(net, self.to, frames(), config()) {
                    Ok(link) => drop(self.links.insert(conn, link)),
                    Err(_) => self.pool.dial_failed(now, conn),
                },
                Order::Grant { lease, conn, .. } => {
                    let request = self.waiting.remove(&lease).expect("waiting");
                    let link = self.links.get_mut(&conn).expect("there");
                    let number = link.session.stats().accepted + 1;
                    assert!(!link.session.interest().event && link.closed.is_none(), "given out dead");
                    match link.session.send(now, numbered(request)) {
                        Ok(()) => self.under_way.entry(conn).or_default().push_back((lease, request, number)),
                        // It ended since it was last looked at.
                        Err(_) => {
                            self.pool.release(now, lease, false);
                            self.ask(now, request);
                        }
                    }
                }
                Order::Refuse { lease, why } => {
                    let request = self.waiting.remove(&lease).expect("waiting");
                    self.tell(request, Told::Refused(why));
                }
                Order::Close { conn, .. } => match self.links.get_mut(&conn) {
                    Some(link) => link.session.close(now, CloseIntent::Goodbye(Code(0))),
                    None => self.pool.closed(now, conn, None),
                },
                Order::Probe { conn, .. } => self.pool.probed(now, conn, true),
            }
        }
        any
    }
}

fn config() -> Config {
    let timeouts = Timeouts::new().connect(Some(Duration::from_secs(3))).idle(Some(Duration::from_secs(8)));
    Config::new().timeouts(timeouts.write_stall(Some(Duration::from_secs(4))).keepalive(None))
}

impl Machine for Caller {
    fn poll(&mut self, net: &mut Net<'_>) {
        for round in 0.. {
            assert!(round < 10_000, "it spins");
            let now = net.now();
            while self.planned.last().is_some_and(|(at, _)| *at <= now) {
                if let Some((_, request)) = self.planned.pop() {
                    self.ask(now, request);
                }
            }
            let moved = self.drive_links(net);
            let obeyed = self.obey(net);
            if !moved && !obeyed {
                break;
            }
        }
        if self.told.len() as u64 == REQUESTS {
            self.pool.drain(net.now());
            self.obey(net);
            self.drive_links(net);
            self.over = self.links.is_empty();
        }
        let planned = self.planned.last().map(|(at, _)| *at);
        if let Some(at) = earlier(planned, self.pool.deadline().map(|deadline| deadline.at)) {
            net.alarm(at);
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

struct Run {
    told: BTreeMap<u64, Told>,
    done: Vec<u64>,
    retries: u64,
    stats: duologue_core::pool::PoolStats,
    hash: u64,
    time_wait: u32,
}

fn run(seed: u64) -> Run {
    let mut rng = Rng::new(seed);
    let mut world = World::new(seed);
    let (client, server) = (world.host("client"), world.host("server"));
    let ledger = Ledger::default();
    let (of_server, mut seeds) = (ledger.clone(), Rng::new(seed ^ 77));
    world.listen(server, 80, Listen::default(), config(), move || {
        (frames(), Echo { ledger: of_server.clone(), rng: Rng::new(seeds.next_u64()), finish_one_in: 12 })
    });
    // So narrow that messages wait behind each other.
    world.set_link(Wire { capacity: 1 + rng.below(30) as usize, ..Wire::default() });
    world.faults(&FaultSchedule::swarm(seed, network_faults(12, 300)));
    let pool = PoolConfig::new()
        .per_target(1 + rng.below(4) as u32)
        .users_per_connection(1 + rng.below(4) as u32)
        .idle(Some(Duration::from_millis(1 + rng.below(800))))
        .dial_within(Duration::from_secs(5));
    let mut planned: Vec<_> = (0..REQUESTS).map(|n| (Duration::from_nanos(rng.below(4_000_000_000)), n)).collect();
    planned.sort();
    planned.reverse();
    let make = |net: &mut Net<'_>| {
        // The host's clock began when it began.
        let start = net.now();
        Caller {
            pool: Pool::new(pool, seed).expect("a configuration that works"),
            to: server,
            links: BTreeMap::new(),
            planned: planned.into_iter().map(|(after, n)| (start.after(after), n)).collect(),
            waiting: BTreeMap::new(),
            under_way: BTreeMap::new(),
            told: BTreeMap::new(),
            retries: 0,
            over: false,
        }
    };
    let id = world.add::<ConnectError>(client, |net| Ok(Box::new(make(net)))).expect("added");
    let outcome = world.run_until_quiet(Duration::from_secs(600));
    let hash = world.hash();
    let time_wait = world.time_wait(client);
    let caller = world.machine::<Caller>(id).expect("it is there");
    assert_eq!(outcome, Outcome::Quiet, "seed {seed}: {} of {REQUESTS} are told", caller.told.len());
    let (told, retries, stats) = (caller.told.clone(), caller.retries, caller.pool.stats());
    let done = ledger.borrow().clone();
    Run { told, done, retries, stats, hash, time_wait }
}

#[test]
fn every_request_is_answered_once_or_its_loss_is_reported() {
    let (mut answered, mut possibly, mut refused, mut retries, mut reused, mut granted) = (0, 0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let run = run(seed);
        assert_eq!(run.told.len() as u64, REQUESTS, "seed {seed}");
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        run.done.iter().for_each(|request| *times.entry(*request).or_default() += 1);
        for (request, told) in &run.told {
            let times = times.get(request).copied().unwrap_or(0);
            match told {
                Told::Answered => assert_eq!(times, 1, "seed {seed}: request {request} was answered"),
                Told::PossiblySent => assert!(times <= 1, "seed {seed}: request {request} was done {times} times"),
                Told::Refused(why) => {
                    assert_eq!(times, 0, "seed {seed}: request {request} was refused ({why}), and done")
                }
            }
            answered += u64::from(*told == Told::Answered);
            possibly += u64::from(*told == Told::PossiblySent);
            refused += u64::from(matches!(told, Told::Refused(_)));
        }
        assert!(u64::from(run.time_wait) <= run.stats.closed_by_us, "seed {seed}: more TIME_WAIT than was counted");
        retries += run.retries;
        reused += run.stats.reused;
        granted += run.stats.granted;
    }
    println!(
        "{answered} answered, {possibly} possibly sent, {refused} refused, {retries} retried, {reused} of {granted} reused"
    );
    assert!(answered > 1000 && possibly > 50 && refused > 20 && retries > 5, "not all of it was tried");
    assert!(reused * 2 > granted, "hardly anything was reused");
}

#[test]
fn a_seed_repeats_a_run() {
    for seed in 0..5 {
        let (a, b) = (run(seed), run(seed));
        assert_eq!((a.hash, a.told, a.done), (b.hash, b.told, b.done), "seed {seed}");
    }
}
