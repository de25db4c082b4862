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
mod talk;
mod traffic;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{Coverage, Fault, FaultSchedule, MachineId, Outcome, World};

pub use polite::{Polite, UnknownKind};
pub use talk::{AsTalker, Ending, InPlaceTalker, Plan, Talker, message};
pub use traffic::Planted;

/// The cases, in the order of `seed % 9`.
pub const CASES: [&str; 9] = [
    "F1 push while the peer talks",
    "F2 dead peer under a stream",
    "F3 TIME_WAIT and ports",
    "F4 half-close, then receive",
    "F5 senders against close",
    "traffic: length-prefixed, heartbeat",
    "traffic: lines",
    "traffic: in place",
    "traffic: handshake and goodbye",
];

/// Every cause that the runs must reach, by name; time-outs with their reason.
pub const CAUSES: [&str; 16] = [
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
    "ports exhausted",
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
    /// What was reached.
    pub coverage: Coverage,
    /// Causes of the sessions' ends.
    pub causes: BTreeSet<String>,
    /// How often each kind of fault happened.
    pub fired: [u32; Fault::KINDS.len()],
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
    /// Trace lines to keep.
    pub record: usize,
    /// A bug to plant, to see that it is found.
    pub planted: Planted,
}

/// Runs the case of a seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Run {
    let mut run = match seed % CASES.len() as u64 {
        0 => cases::push(seed, options),
        1 => cases::dead_peer(seed, options),
        2 => cases::time_wait(seed, options),
        3 => cases::half_close(seed, options),
        4 => cases::senders(seed, options),
        5 => traffic::heartbeat(seed, options),
        6 => traffic::lines(seed, options),
        7 => traffic::in_place(seed, options),
        _ => traffic::polite(seed, options),
    };
    run.seed = seed;
    run
}

/// The smallest schedule with which the seed still fails, and that run with its trace.
#[must_use]
pub fn shrink(failed: &Run, options: &Options) -> Run {
    let with = |schedule: &FaultSchedule, record| {
        run(failed.seed, &Options { schedule: Some(schedule.clone()), record, ..options.clone() })
    };
    let small = failed.schedule.shrink(|schedule| with(schedule, 0).failure.is_some());
    with(&small, 100_000)
}

/// Gathers a run's facts from its world, and judges what holds for every machine.
pub(crate) fn gather(world: &World, outcome: Outcome, schedule: FaultSchedule) -> Run {
    let mut run = Run {
        hash: world.hash(),
        steps: world.steps(),
        time: world.now(),
        schedule,
        trace: world.trace().to_vec(),
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
