//! Random worlds under random faults, with oracles: one seed is one run.
//!
//! A seed picks a case: five field cases (F1 to F5) or random traffic over one of four protocols. Each run is judged
//! by what must hold in every case:
//!
//! * what was delivered is an exact prefix of what was sent, and all of it where the peer's end was seen;
//! * what was accepted was flushed or is counted as unsent;
//! * every session tells its end exactly once, in bounded virtual time; nothing spins.

mod cases;
mod polite;
mod reconnect;
mod short;
mod talk;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use duologue_core::FaultKind;

use crate::{Coverage, Fault, FaultSchedule, MachineId, Outcome, Scenario, World};

pub use polite::{Polite, UnknownKind};
pub use talk::{AsTalker, Ending, InPlaceTalker, Plan, Talker, message};
pub use traffic::Planted;

/// The cases, in the order of `seed % 10`.
pub const CASES: [&str; 10] = [
    "F1 push while the peer talks",
    "F2 dead peer under a stream",
    "F3 TIME_WAIT and ports",
    "F4 half-close, then receive",
    "F5 senders against close",
    "traffic: length-prefixed, heartbeat",
    "traffic: lines",
    "traffic: in place",
    "traffic: handshake and goodbye",
    "F5 writers against reconnects",
];

/// Every cause that the runs must reach, by name; time-outs with their reason.
pub const CAUSES: [&str; 22] = [
    "local-close",
    "local-abort",
    "local-finished",
    "peer-finished",
    "peer-close",
    "truncated",
    "peer-reset",
    "violation",
    "limit",
    "transport",
    "timeout connect",
    "timeout handshake",
    "timeout idle",
    "timeout keepalive-reply",
    "timeout write-stall",
    "connection refused",
    "given up by the kernel, bytes in flight",
    "given up by the kernel, none in flight",
    "ports exhausted",
    "stale handle fenced",
    "late fact of an old connection",
    "unsent and sent again",
];

/// Longer than any run may take in virtual time: one byte at a time over the slowest links generated.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1_000_000);

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The hash of its trace.
    pub hash: u64,
    /// Things that happened.
    pub steps: u64,
    /// Virtual time that passed.
    pub time: Duration,
    /// The faults of the schedule.
    pub schedule: FaultSchedule,
    /// Seed, numbers and faults; the numbers only if the run was recorded.
    pub scenario: Scenario,
    /// What was reached.
    pub coverage: Coverage,
    /// Causes of the sessions' ends.
    pub causes: BTreeSet<String>,
    /// How often each kind of fault happened.
    pub fired: [u32; Fault::KINDS.len()],
    /// What the network did: one bit for each of [`SEEN`](crate::SEEN).
    pub seen: u32,
    /// What broke.
    pub failure: Option<String>,
    /// The trace, if it was recorded.
    pub trace: Vec<crate::Entry>,
}

/// How to run a seed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another schedule than the seed's.
    pub schedule: Option<FaultSchedule>,
    /// Other numbers than the seed's, by name.
    pub numbers: BTreeMap<String, u64>,
    /// Trace lines to keep.
    pub record: usize,
    /// A bug to plant, to see that it is found.
    pub planted: Planted,
}

/// Runs the case of a seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Run {
    let given = Scenario { seed, numbers: options.numbers.clone(), schedule: options.schedule.clone() };
    let mut world = World::of(given).record(options.record);
    let mut run = match seed % CASES.len() as u64 {
        0 => cases::push(&mut world),
        1 => cases::dead_peer(&mut world),
        2 => short::time_wait(&mut world),
        3 => cases::half_close(&mut world),
        4 => cases::senders(&mut world),
        5 => traffic::heartbeat(&mut world, options),
        6 => traffic::lines(&mut world, options),
        7 => traffic::in_place(&mut world, options),
        8 => traffic::polite(&mut world, options),
        _ => reconnect::writers(&mut world, options),
    };
    run.seed = seed;
    run.scenario = Scenario { schedule: Some(run.schedule.clone()), ..world.scenario() };
    run
}

/// The smallest scenario found with which the seed still fails, and that run with its trace. At most 1 000 runs.
#[must_use]
pub fn shrink(failed: &Run, options: &Options) -> Run {
    let again = |scenario: &Scenario, record| {
        let (schedule, numbers) = (scenario.schedule.clone(), scenario.numbers.clone());
        run(scenario.seed, &Options { schedule, numbers, record, ..options.clone() })
    };
    let whole = again(&failed.scenario, 1);
    let (small, _) = whole.scenario.shrink(1_000, |scenario| {
        let run = again(scenario, 1);
        run.failure.is_some().then_some(run.scenario)
    });
    again(&small, 100_000)
}

/// Gathers a run's facts from its world, and judges what holds for every machine.
pub(crate) fn gather(world: &World, outcome: Outcome, schedule: FaultSchedule) -> Run {
    let mut run = Run {
        hash: world.hash(),
        steps: world.steps(),
        time: world.now(),
        schedule,
        trace: world.trace().to_vec(),
        seen: world.seen(),
        ..Run::default()
    };
    run.fired.copy_from_slice(world.faults_fired());
    if outcome != Outcome::Quiet {
        let live = world.machines().filter(|id| world.report(*id).ended.is_none()).map(|id| (id, world.report(id)));
        let live: Vec<_> = live.collect();
        run.fail(format!("the world did not come to rest: {outcome:?}, {live:?}"));
    }
    for id in world.machines() {
        run.coverage.merge(&world.coverage(id));
        run.judge(world, id);
    }
    run
}

impl Run {
    /// Notes what broke, the first thing only.
    pub(crate) fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    fn judge(&mut self, world: &World, id: MachineId) {
        let report = world.report(id);
        let name = || format!("{} on {}", id.0, world.name(world.host_of(id)));
        if let Some(ended) = &report.ended {
            self.causes.insert(match ended.timeout {
                Some(reason) => format!("{} {reason}", ended.cause),
                None => ended.cause.to_string(),
            });
            if ended.fault.is_some_and(|fault| fault.kind == FaultKind::Refused) {
                self.causes.insert("connection refused".into());
            }
            let stats = report.stats;
            if stats.accepted != stats.flushed + ended.unsent {
                let text = format!(
                    "{}: accepted {} is not flushed {} + unsent {}",
                    name(),
                    stats.accepted,
                    stats.flushed,
                    ended.unsent
                );
                self.fail(text);
            }
        }
        if world.is_alive(world.host_of(id)) && report.times_closed != 1 {
            self.fail(format!("{}: told {} times of its end: {:?}", name(), report.times_closed, report));
        }
    }
}
