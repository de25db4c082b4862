//! Running, replaying and shrinking scripts.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use duologue_core::Rng;

use crate::call::Call;
use crate::coverage::Coverage;
use crate::ending::Ending;
use crate::generate::{self, Mood};
use crate::law::{Broken, Law, law};
use crate::side::{Side, View};
use crate::subject::Subject;
use crate::world::World;

/// Replays that shrinking may take.
const ATTEMPTS: usize = 1500;

/// A run as data: everything that decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The seed it was made from.
    pub seed: u64,
    /// The configuration.
    pub variant: usize,
    /// Whether the client's transport is still being connected at the start.
    pub connecting: bool,
    /// Bytes that the link holds, towards the client and towards the server.
    pub capacity: [usize; 2],
    /// The calls.
    pub calls: Vec<Call>,
    /// What happens after them.
    pub ending: Ending,
    /// Whether the application takes no events while it is being closed.
    pub lazy: bool,
}

impl Script {
    /// A script without calls, over a link that holds everything.
    #[must_use]
    pub const fn empty(variant: usize) -> Self {
        let calls = Vec::new();
        let capacity = [1 << 20; 2];
        Self { seed: 0, variant, connecting: false, capacity, calls, ending: Ending::Silent, lazy: false }
    }

    fn random<S: Subject>(subject: &S, seed: u64) -> (Self, Mood, Rng) {
        let mut rng = Rng::new(seed);
        let mut below = |n: usize| rng.below(n as u64) as usize;
        let script = Self {
            seed,
            variant: below(subject.variants()),
            connecting: below(5) == 0,
            capacity: [1 + below(60), [1, 7, 40, 4096][below(4)]],
            calls: Vec::new(),
            ending: Ending::ALL[below(Ending::ALL.len())],
            lazy: below(3) == 0,
        };
        let mood = Mood::ALL[below(Mood::ALL.len())];
        (script, mood, rng)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, variant, connecting, capacity, calls, ending, lazy } = self;
        writeln!(f, "seed {seed}, variant {variant}, connecting {connecting}, link {capacity:?} bytes")?;
        calls.iter().enumerate().try_for_each(|(i, call)| writeln!(f, "{i:4}  {call}"))?;
        write!(f, "then {ending:?}{}", if *lazy { ", with an application that takes no events" } else { "" })
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Scripts.
    pub cases: u64,
    /// Calls that had an effect.
    pub steps: u64,
    /// What was reached.
    pub coverage: Coverage,
    /// A hash of everything seen from outside.
    pub trace: u64,
}

impl Report {
    /// Adds another run.
    pub fn merge(&mut self, other: &Self) {
        self.cases += other.cases;
        self.steps += other.steps;
        self.coverage.merge(&other.coverage);
        self.trace ^= other.trace.rotate_left((self.cases % 63) as u32);
    }
}

/// A law was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of which subject.
    pub subject: &'static str,
    /// Which law, and how.
    pub broken: Broken,
    /// The shortest script found that breaks it.
    pub script: Script,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} breaks {}\n{}", self.subject, self.broken, self.script)
    }
}

impl core::error::Error for Failure {}

/// Makes one random script of about `steps` calls and checks every law after each.
///
/// # Errors
/// A law was broken; the script is shrunk.
pub fn check<S: Subject>(subject: &S, seed: u64, steps: usize) -> Result<Report, Box<Failure>> {
    let (mut script, mood, mut rng) = Script::random(subject, seed);
    let outcome = guarded(|| {
        let mut world = World::new(subject, &script);
        let mut fresh = Vec::new();
        while script.calls.len() < steps {
            generate::next(&world, &mut rng, mood, &mut fresh);
            for call in fresh.drain(..) {
                script.calls.push(call.clone());
                world.apply(&call)?;
            }
        }
        finish(&mut world, &script)
    });
    let outcome = match outcome {
        // L15: what a script does is decided by the script.
        Ok(report) if seed % 4 == 0 => guarded(|| play(subject, &script)).and_then(|again| {
            law(Law::L15Deterministic, again == report, || "the same script gave another trace".into())?;
            Ok(report)
        }),
        outcome => outcome,
    };
    outcome.map_err(|broken| {
        let (script, broken) = shrink(subject, script, broken);
        Box::new(Failure { subject: subject.name(), broken, script })
    })
}

/// Checks `cases` random scripts.
///
/// # Errors
/// A law was broken: the first failure, shrunk.
pub fn run<S: Subject>(subject: &S, cases: u64, seed: u64) -> Result<Report, Box<Failure>> {
    let mut total = Report::default();
    for case in 0..cases {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(case);
        let steps = 20 + (seed % 7) as usize * 25;
        total.merge(&check(subject, seed, steps)?);
    }
    Ok(total)
}

/// Plays a script again.
///
/// # Errors
/// A law was broken.
pub fn replay<S: Subject>(subject: &S, script: &Script) -> Result<Report, Box<Failure>> {
    let failure = |broken| Box::new(Failure { subject: subject.name(), broken, script: script.clone() });
    guarded(|| play(subject, script)).map_err(failure)
}

fn play<S: Subject>(subject: &S, script: &Script) -> Result<Report, Broken> {
    let mut world = World::new(subject, script);
    script.calls.iter().try_for_each(|call| world.apply(call))?;
    finish(&mut world, script)
}

fn finish<S: Subject>(world: &mut World<'_, S>, script: &Script) -> Result<Report, Broken> {
    world.end(script.ending, script.lazy)?;
    let wire = world.sides.iter().flat_map(|side| side.transmitted.iter().chain(&side.received));
    let trace = wire.fold(world.trace, |hash, byte| fnv(hash, u64::from(*byte)));
    Ok(Report { cases: 1, steps: world.steps, coverage: world.coverage.clone(), trace })
}

/// L0: a panic is a broken law like any other.
fn guarded<R>(run: impl FnOnce() -> Result<R, Broken>) -> Result<R, Broken> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Broken { law: Law::L0Total, what: format!("panicked: {}", text.unwrap_or_default()) })
    })
}

/// Delta debugging: takes ever smaller stretches of calls out, as long as the same law stays broken.
fn shrink<S: Subject>(subject: &S, mut script: Script, mut broken: Broken) -> (Script, Broken) {
    let mut attempts = 0;
    let mut stretch = script.calls.len().div_ceil(2);
    while stretch > 0 && attempts < ATTEMPTS {
        let mut at = 0;
        let mut shorter = false;
        while at < script.calls.len() && attempts < ATTEMPTS {
            let mut candidate = script.clone();
            let end = (at + stretch).min(candidate.calls.len());
            candidate.calls.drain(at..end);
            attempts += 1;
            match guarded(|| play(subject, &candidate)) {
                Err(again) if again.law == broken.law => {
                    (script, broken, shorter) = (candidate, again, true);
                }
                _ => at += stretch,
            }
        }
        stretch = if stretch == 1 && shorter { 1 } else { stretch / 2 };
    }
    (script, broken)
}

/// Adds what is seen of a side to the trace.
pub(crate) fn mix<S: Subject>(trace: u64, side: &Side<S>, view: &View) -> u64 {
    let i = &view.interest;
    let wishes = [i.event, i.read, i.write, i.shutdown_write, i.release.is_some(), view.established];
    let numbers = [
        wishes.iter().fold(0, |bits, wish| bits << 1 | u64::from(*wish)),
        i.deadline.map_or(0, |d| d.at.as_nanos()),
        view.recv as u64,
        view.send as u64,
        view.room as u64,
        view.buffered.0 as u64,
        view.buffered.1 as u64,
        view.stats.events,
        view.stats.accepted,
        view.stats.flushed,
        side.delivered.len() as u64,
    ];
    let cause = view.cause.iter().flat_map(|cause| cause.bytes()).map(u64::from);
    numbers.into_iter().chain(cause).fold(trace, fnv)
}

pub(crate) const fn fnv(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3)
}
