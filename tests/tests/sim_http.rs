//! HTTP/1.1 clients over a pool in the simulated network: connections that die at any byte, and an oracle that knows
//! each request's fate.

mod simhttp;
mod simlink;

use std::collections::BTreeMap;
use std::time::Duration;

use duologue_core::pool::{Pool, PoolConfig, PoolStats};
use duologue_core::{Config, Limits, Rng};
use duologue_http1::{Server, ServerSettings, Waits};
use duologue_sim::{ConnectError, Fault, FaultSchedule, HostId, Link as Wire, Listen, Net, Outcome, Shape, Way, World};
use simhttp::*;
use simlink::network_faults;

const REQUESTS: u64 = 40;
const SEEDS: u64 = 240;
/// Faults that some run must have seen.
const NETWORK: [&str; 7] = ["stall", "black-hole", "reset-at", "fin-at", "reset", "partial-writes", "refuse-connects"];

/// Says which seed it was when an assertion inside the world fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was seed {}", self.0);
        }
    }
}

struct Run {
    plans: BTreeMap<u64, Plan>,
    told: BTreeMap<u64, Fate>,
    deliveries: BTreeMap<u64, u32>,
    done: Vec<(u32, u64)>,
    counts: Counts,
    stats: PoolStats,
    /// How often each kind of fault happened.
    fired: Vec<u32>,
    hash: u64,
}

fn server_config() -> Config {
    let config = Server::config();
    let timeouts = config.timeouts.write_stall(Some(Duration::from_secs(4)));
    config.timeouts(timeouts).limits(Limits::new().send_buffer(600))
}

fn server_settings(rng: &mut Rng) -> ServerSettings {
    let waits = Waits::default()
        .idle(Some(Duration::from_millis(50 + rng.below(1500))))
        .head(Some(Duration::from_millis(700)))
        .body(Some(Duration::from_millis(700)))
        .drain(Some(Duration::from_millis(1 + rng.below(500))));
    ServerSettings::new().waits(waits).requests(1 + rng.below(10)).drain(rng.below(1500))
}

/// A swarm, and in half of the runs deaths at single bytes of many connections.
fn faults(seed: u64, rng: &mut Rng) -> FaultSchedule {
    let shape = Shape { hosts: 1 + TARGETS, ..network_faults(30, 1500) };
    let mut schedule = FaultSchedule::swarm(seed, shape);
    if rng.below(2) == 0 {
        for connection in 0..30 {
            if rng.below(3) > 0 {
                continue;
            }
            // Heads are about a hundred bytes long, messages up to some thousand.
            let most = if rng.below(2) == 0 { 300 } else { 3000 };
            let way = if rng.below(2) == 0 { Way::ToServer } else { Way::ToClient };
            let byte = rng.below(most);
            let cut = Fault::FinAt { connection, way, byte };
            let reset = Fault::ResetAt { connection, way, byte };
            schedule = schedule.with(0, if rng.below(2) == 0 { cut } else { reset });
        }
    }
    schedule
}

fn run(seed: u64) -> Run {
    let _seed = Seed(seed);
    let mut rng = Rng::new(seed);
    let mut world = World::new(seed);
    let client = world.host("client");
    let hosts: Vec<HostId> = (0..TARGETS).map(|n| world.host(&format!("origin-{n}"))).collect();
    let ledger = Ledger::default();
    for (target, host) in (0..).zip(&hosts) {
        let (ledger, settings, mut seeds) = (ledger.clone(), server_settings(&mut rng), Rng::new(rng.next_u64()));
        world.listen(*host, 80, Listen::default(), server_config(), move || {
            (Server::new(settings), Origin::new(target, ledger.clone(), seeds.next_u64()))
        });
    }
    // Often so narrow that a message goes in many parts.
    world.set_link(Wire { capacity: 1 + rng.below(300) as usize, ..Wire::default() });
    let schedule = faults(seed, &mut rng);
    world.faults(&schedule);
    let pool = PoolConfig::new()
        .total(2 + rng.below(8) as u32)
        .per_target(1 + rng.below(3) as u32)
        .idle(Some(Duration::from_millis(1 + rng.below(1500))))
        .dial_within(Duration::from_secs(5));
    let plans: BTreeMap<u64, Plan> = (0..REQUESTS).map(|id| (id, Plan::draw(&mut rng, id))).collect();
    let mut times: Vec<(Duration, Plan)> =
        plans.values().map(|plan| (Duration::from_nanos(rng.below(4_000_000_000)), *plan)).collect();
    times.sort_by_key(|(after, plan)| std::cmp::Reverse((*after, plan.id)));
    let make = |net: &mut Net<'_>| {
        // The host's clock began when it began.
        let start = net.now();
        let planned = times.into_iter().map(|(after, plan)| (start.after(after), plan)).collect();
        Caller::new(Pool::new(pool, seed).expect("a configuration that works"), hosts, planned)
    };
    let id = world.add::<ConnectError>(client, |net| Ok(Box::new(make(net)))).expect("added");
    let outcome = world.run_until_quiet(Duration::from_secs(600));
    let (hash, fired) = (world.hash(), world.faults_fired().to_vec());
    let caller = world.machine::<Caller>(id).expect("it is there");
    assert_eq!(outcome, Outcome::Quiet, "{} of {REQUESTS} are told", caller.told.len());
    let (told, deliveries, counts) = (caller.told.clone(), caller.deliveries.clone(), caller.counts);
    let stats = caller.pool.stats();
    let done = ledger.borrow().clone();
    let run = Run { plans, told, deliveries, done, counts, stats, fired, hash };
    judge(&run);
    run
}

/// What the caller was told, against what the servers did.
fn judge(run: &Run) {
    assert_eq!(run.told.len() as u64, REQUESTS, "a request without a fate");
    assert_eq!((run.stats.waiting, run.stats.in_use, run.stats.open), (0, 0, 0), "the pool still has somebody");
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for (target, request) in &run.done {
        assert_eq!(*target, run.plans[request].target, "request {request} went to another server");
        *times.entry(*request).or_default() += 1;
    }
    for (request, fate) in &run.told {
        let plan = &run.plans[request];
        let times = times.get(request).copied().unwrap_or(0);
        let deliveries = run.deliveries.get(request).copied().unwrap_or(0);
        let case = format!("request {request} was done {times} times, told {fate:?}: {plan:?}");
        assert!(times <= deliveries, "{case}; the server had it at most {deliveries} times");
        assert!(plan.idempotent || times <= 1, "{case}");
        match fate {
            Fate::Answered | Fate::Cut => assert!(times >= 1, "{case}"),
            // Who acts on a request before it is whole may have done so.
            Fate::TooSlow => assert!(plan.early || times < deliveries, "{case}"),
            Fate::PossiblySent => assert!(deliveries >= 1, "{case}"),
            Fate::NotSent | Fate::Refused(_) => assert!(plan.idempotent || deliveries == 0, "{case}"),
        }
    }
}

#[test]
fn every_request_is_answered_once_or_its_loss_is_reported() {
    let mut fates: BTreeMap<&str, u64> = BTreeMap::new();
    let mut total: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let Run { told, counts, stats, fired, .. } = run(seed);
        for fate in told.values() {
            *fates.entry(name(fate)).or_default() += 1;
        }
        let seen = [
            ("retried unsent", counts.retried_unsent),
            ("retried idempotent", counts.retried_idempotent),
            ("answered early", counts.early),
            ("ended unused", counts.ended_unused),
            ("granted", stats.granted),
            ("reused", stats.reused),
            ("closed by us", stats.closed_by_us),
            ("closed by the peer", stats.closed_by_peer),
            ("ended without FIN", stats.closed_by_reset),
        ];
        let fired = Fault::KINDS.into_iter().zip(fired.into_iter().map(u64::from));
        let fired = fired.filter(|(kind, _)| NETWORK.contains(kind));
        seen.into_iter().chain(fired).for_each(|(what, times)| *total.entry(what).or_default() += times);
    }
    println!("{fates:?}\n{total:?}");
    let floors = [("answered", 5000), ("possibly sent", 300), ("cut", 100), ("too slow", 1), ("refused", 50)];
    for (fate, floor) in floors {
        assert!(fates.get(fate).is_some_and(|times| *times >= floor), "{fate}: not tried enough: {fates:?}");
    }
    for (what, times) in &total {
        assert!(*times > 0, "{what}: never seen: {total:?}");
    }
}

fn name(fate: &Fate) -> &'static str {
    match fate {
        Fate::Answered => "answered",
        Fate::Cut => "cut",
        Fate::TooSlow => "too slow",
        Fate::PossiblySent => "possibly sent",
        Fate::NotSent => "not sent",
        Fate::Refused(_) => "refused",
    }
}

#[test]
fn a_seed_repeats_a_run() {
    for seed in 0..5 {
        let (a, b) = (run(seed), run(seed));
        assert_eq!((a.hash, a.told, a.done), (b.hash, b.told, b.done), "seed {seed}");
    }
}
