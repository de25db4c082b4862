//! Many seeds over one test; a failure comes with all that is needed to understand and to repeat it.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::scenario::Scenario;
use crate::svg::svg;
use crate::trace::Entry;
use crate::world::World;

/// Names a file with a [`Scenario`] as JSON: every [`Check`] then runs that alone, and not its seeds.
pub const SCENARIO_VARIABLE: &str = "DUOLOGUE_SCENARIO";

/// Lines of the trace that a report's text shows, and rows of its picture.
const SHOWN: usize = 60;
const ROWS: usize = 400;

/// What a test says at its end: nothing, if it asserts by panicking, or a `Result`.
pub trait Verdict {
    /// What broke.
    fn failure(self) -> Option<String>;
}

impl Verdict for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> Verdict for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// Runs `test` in a fresh world for every seed, and panics with the [`Failure`] of the first that fails: its seed, its
/// shrunk [`Scenario`], the end of its trace. [`Check`] also writes them into a folder, with a picture.
///
/// # Panics
/// A seed fails: an assertion, an `Err`.
pub fn check<V: Verdict>(seeds: Range<u64>, test: impl FnMut(&mut World) -> V) {
    if let Err(report) = Check::new(seeds).run(test) {
        panic!("{report}");
    }
}

/// How to check: see [`check`] for the short form.
#[derive(Clone, Debug)]
#[must_use]
pub struct Check {
    seeds: Range<u64>,
    scenario: Option<Scenario>,
    folder: Option<PathBuf>,
    shrink_runs: usize,
    lines: usize,
}

/// What a check that held did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Seeds that were run.
    pub seeds: u64,
    /// Things that happened in all of them.
    pub steps: u64,
    /// The hash of all their traces, in order.
    pub hash: u64,
}

/// A failure, with all that is needed to understand and to repeat it. Its text shows it to people.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that failed.
    pub seed: u64,
    /// What broke at first.
    pub first: String,
    /// What broke in the smallest run that still failed: mostly the same.
    pub last: String,
    /// That run as data: [`Check::scenario`] repeats it.
    pub scenario: Scenario,
    /// The hash of its trace.
    pub hash: u64,
    /// Its trace, the last lines of it.
    pub trace: Vec<Entry>,
    /// Runs that shrinking took.
    pub shrink_runs: usize,
    /// The files that were written: the scenario, the whole trace, the picture.
    pub files: Vec<PathBuf>,
}

impl Check {
    /// Over these seeds, with at most 500 runs to shrink a failure, 20 000 lines of its trace, and no files.
    pub fn new(seeds: Range<u64>) -> Self {
        Self { seeds, scenario: None, folder: None, shrink_runs: 500, lines: 20_000 }
    }

    /// Runs this scenario alone, as it is: what a report told.
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenario = Some(scenario);
        self
    }

    /// Writes the files of a failure into this folder, which is made: `seed-N.json`, `.trace` and `.svg`.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// At most this many runs to shrink a failure; 0: it is reported as it is.
    pub fn shrink_runs(mut self, most: usize) -> Self {
        self.shrink_runs = most;
        self
    }

    /// Keeps this many of the last lines of a failing trace.
    pub fn lines(mut self, most: usize) -> Self {
        self.lines = most;
        self
    }

    /// Runs `test` in a fresh world for every seed, until one fails.
    ///
    /// # Errors
    /// A seed failed: an assertion, an `Err`, or it did not repeat itself.
    pub fn run<V: Verdict>(self, mut test: impl FnMut(&mut World) -> V) -> Result<Held, Box<Failure>> {
        let mut held = Held::default();
        let scenario = self.scenario.clone().or_else(from_environment);
        if let Some(scenario) = scenario {
            let tried = self.attempt(&scenario, &mut test);
            return match tried.failure.clone() {
                Some(first) => Err(self.report(scenario.seed, first, tried, 0)),
                None => Ok(Held { seeds: 1, steps: tried.steps, hash: tried.hash }),
            };
        }
        for seed in self.seeds.clone() {
            let mut world = World::new(seed);
            let failure = judge(&mut world, &mut test);
            held.seeds += 1;
            held.steps += world.steps();
            held.hash = held.hash.rotate_left(1) ^ world.hash();
            if let Some(first) = failure {
                return Err(self.explain(seed, first, world.hash(), &mut test));
            }
        }
        Ok(held)
    }

    /// Runs the seed again with everything recorded, shrinks it, and writes it down.
    fn explain<V: Verdict>(
        &self,
        seed: u64,
        first: String,
        hash: u64,
        test: &mut impl FnMut(&mut World) -> V,
    ) -> Box<Failure> {
        let again = self.attempt(&Scenario::of(seed), test);
        if again.hash != hash || again.failure.is_none() {
            let first = format!(
                "the test does not repeat itself: trace hash {hash:016x} and then {:016x}. Something in it depends on \
                 more than its seed (a hash map's order, the clock, a static). It failed with: {first}",
                again.hash
            );
            return self.report(seed, first, again, 0);
        }
        let (small, runs) = again.scenario.shrink(self.shrink_runs, |scenario| {
            let tried = self.attempt(scenario, test);
            tried.failure.is_some().then_some(tried.scenario)
        });
        let last = self.attempt(&small, test);
        self.report(seed, first, last, runs)
    }

    fn attempt<V: Verdict>(&self, scenario: &Scenario, test: &mut impl FnMut(&mut World) -> V) -> Attempt {
        let mut world = World::of(scenario.clone()).record(self.lines);
        let failure = quietly(|| judge(&mut world, test));
        let (scenario, hash, steps) = (world.scenario(), world.hash(), world.steps());
        Attempt { failure, scenario, hash, steps, trace: world.trace().to_vec() }
    }

    fn report(&self, seed: u64, first: String, last: Attempt, shrink_runs: usize) -> Box<Failure> {
        let mut report = Failure {
            seed,
            last: last.failure.unwrap_or_else(|| first.clone()),
            first,
            scenario: last.scenario,
            hash: last.hash,
            trace: last.trace,
            shrink_runs,
            files: Vec::new(),
        };
        if let Some(folder) = &self.folder {
            // A failure that cannot be written down is still told.
            match report.write(folder) {
                Ok(files) => report.files = files,
                Err(error) => report.first.push_str(&format!(" ({}: {error})", folder.display())),
            }
        }
        Box::new(report)
    }
}

struct Attempt {
    failure: Option<String>,
    scenario: Scenario,
    hash: u64,
    steps: u64,
    trace: Vec<Entry>,
}

impl Failure {
    /// Writes the scenario, the trace and the picture into a folder, and tells their paths.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, folder: &Path) -> std::io::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder)?;
        let lines: String = self.trace.iter().map(|entry| format!("{entry}\n")).collect();
        let files = [("json", self.scenario.to_json()), ("trace", lines), ("svg", svg(&self.trace, ROWS))];
        let write = |(kind, text): (&str, String)| {
            let path = folder.join(format!("seed-{}.{kind}", self.seed));
            std::fs::write(&path, text).map(|()| path)
        };
        files.into_iter().map(write).collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} failed: {}", self.seed, self.first)?;
        if self.last != self.first {
            writeln!(f, "after shrinking: {}", self.last)?;
        }
        let shown = &self.trace[self.trace.len().saturating_sub(SHOWN)..];
        writeln!(f, "the last {} of {} lines of its trace:", shown.len(), self.trace.len())?;
        for entry in shown {
            writeln!(f, "{entry}")?;
        }
        writeln!(f, "trace hash {:016x}, shrunk in {} runs to", self.hash, self.shrink_runs)?;
        writeln!(f, "{}", self.scenario.to_json())?;
        for file in &self.files {
            writeln!(f, "written: {}", file.display())?;
        }
        write!(f, "to repeat it: {SCENARIO_VARIABLE}=a file with that line, or Check::scenario")
    }
}

fn from_environment() -> Option<Scenario> {
    let path = std::env::var_os(SCENARIO_VARIABLE)?;
    let json = std::fs::read_to_string(&path);
    let read = json.map_err(|e| e.to_string()).and_then(|json| Scenario::from_json(&json).map_err(|e| e.to_string()));
    // A typing error must not look like a test that holds.
    Some(read.unwrap_or_else(|error| panic!("{SCENARIO_VARIABLE} names {}: {error}", Path::new(&path).display())))
}

fn judge<V: Verdict>(world: &mut World, test: &mut impl FnMut(&mut World) -> V) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| test(world).failure())) {
        Ok(failure) => failure,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            Some(format!("panicked: {}", text.unwrap_or("with something that is no text")))
        }
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Shrinking panics hundreds of times: this thread's panics are not printed meanwhile.
fn quietly<R>(run: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.with(Cell::get) {
                before(info);
            }
        }));
    });
    let before = QUIET.with(|quiet| quiet.replace(true));
    let result = run();
    QUIET.with(|quiet| quiet.set(before));
    result
}
