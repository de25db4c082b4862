//! Runs many seeds of the swarm and prints what they reached; a row that nothing reached fails the run.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use duologue_sim::swarm::{CASES, CAUSES, Options, Planted, Run, run, shrink};
use duologue_sim::{Fault, FaultSchedule, SEEN, Scenario, svg};
use indicatif::{ProgressBar, ProgressStyle};

/// Simulated worlds under faults: F1 to F5 and random traffic.
#[derive(Parser)]
struct Arguments {
    /// Seeds to run, from 0 on.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Runs this seed alone, with its trace.
    #[arg(long)]
    seed: Option<u64>,
    /// Plants a bug, and fails unless it is found within 1000 seeds.
    #[arg(long)]
    canary: bool,
    /// Runs what this file holds: a scenario (seed, numbers, faults) as a failure printed and wrote it, or faults
    /// alone, for `--seed`.
    #[arg(long)]
    schedule: Option<PathBuf>,
    /// Shrinks the run of `--seed` if it fails.
    #[arg(long)]
    shrink: bool,
    /// The folder for the files of a run that is traced: scenario, trace, picture.
    #[arg(long, default_value = "target/swarm")]
    folder: PathBuf,
}

/// What all runs reached together, in runs.
#[derive(Default)]
struct Table {
    rows: BTreeMap<String, u64>,
    steps: u64,
    virtual_time: Duration,
    hash: u64,
}

impl Table {
    fn add(&mut self, run: &Run) {
        self.steps += run.steps;
        self.virtual_time += run.time;
        self.hash = self.hash.rotate_left(1) ^ run.hash;
        let mut count = |row: String, reached: bool| *self.rows.entry(row).or_default() += u64::from(reached);
        count(format!("case {}", CASES[(run.seed % CASES.len() as u64) as usize]), true);
        run.coverage.rows().into_iter().for_each(|(row, reached)| count(row, reached));
        CAUSES.iter().for_each(|cause| count(format!("cause {cause}"), run.causes.contains(*cause)));
        SEEN.iter().enumerate().for_each(|(i, seen)| count(format!("network {seen}"), run.seen >> i & 1 == 1));
        Fault::KINDS.iter().zip(run.fired).for_each(|(kind, fired)| count(format!("fault {kind}"), fired > 0));
    }
}

fn trace(run: &Run, folder: &Path) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for entry in &run.trace {
        writeln!(out, "{entry}")?;
    }
    writeln!(out, "\nseed {} ({})", run.seed, CASES[(run.seed % CASES.len() as u64) as usize])?;
    writeln!(out, "{}", run.scenario.to_json())?;
    writeln!(out, "trace hash {:016x}, {} steps, {:?} of virtual time", run.hash, run.steps, run.time)?;
    writeln!(out, "reached {:?}", run.causes)?;
    std::fs::create_dir_all(folder)?;
    let lines: String = run.trace.iter().map(|entry| format!("{entry}\n")).collect();
    for (kind, text) in [("json", run.scenario.to_json()), ("trace", lines), ("svg", svg(&run.trace, 400))] {
        let path = folder.join(format!("seed-{}.{kind}", run.seed));
        std::fs::write(&path, text)?;
        writeln!(out, "written: {}", path.display())?;
    }
    if let Some(failure) = &run.failure {
        writeln!(out, "FAILED: {failure}")?;
        writeln!(out, "to repeat it: --schedule {}", folder.join(format!("seed-{}.json", run.seed)).display())?;
    }
    Ok(())
}

/// A scenario, or the faults of the seed's.
fn read(path: &Path, seed: Option<u64>) -> std::io::Result<Scenario> {
    let json = std::fs::read_to_string(path)?;
    let faults = FaultSchedule::from_json(&json)
        .map(|schedule| Scenario { schedule: Some(schedule), ..Scenario::of(seed.unwrap_or_default()) });
    Ok(Scenario::from_json(&json).or(faults)?)
}

/// The oracles must find a planted bug, or their silence means nothing.
fn canary(folder: &Path) -> std::io::Result<ExitCode> {
    for planted in [Planted::WrongContent, Planted::ForeignStream, Planted::NoTimeouts, Planted::NoFence] {
        let options = Options { planted, ..Options::default() };
        let Some(found) = (0..1000).map(|seed| run(seed, &options)).find(|run| run.failure.is_some()) else {
            writeln!(std::io::stdout(), "{planted:?} was not found: the oracles are broken")?;
            return Ok(ExitCode::FAILURE);
        };
        trace(&shrink(&found, &options), folder)?;
        writeln!(std::io::stdout(), "planted and found: {planted:?}\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn one(scenario: Scenario, arguments: &Arguments) -> std::io::Result<ExitCode> {
    let (schedule, numbers) = (scenario.schedule, scenario.numbers);
    let options = Options { schedule, numbers, record: 100_000, ..Options::default() };
    let mut run = run(scenario.seed, &options);
    if arguments.shrink && run.failure.is_some() {
        run = shrink(&run, &options);
    }
    trace(&run, &arguments.folder)?;
    Ok(if run.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(path) = &arguments.schedule {
        return one(read(path, arguments.seed)?, &arguments);
    }
    if let Some(seed) = arguments.seed {
        return one(Scenario::of(seed), &arguments);
    }
    if arguments.canary {
        return canary(&arguments.folder);
    }
    let options = Options::default();
    let bar = ProgressBar::new(arguments.seeds);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left, {msg}") {
        bar.set_style(style);
    }
    let start = Instant::now();
    let mut table = Table::default();
    for seed in 0..arguments.seeds {
        let run = run(seed, &options);
        table.add(&run);
        if let Some(failure) = &run.failure {
            bar.abandon();
            // Shrinking may take long where a failure is a run that does not end.
            writeln!(std::io::stderr(), "seed {seed} failed: {failure}\nshrinking...")?;
            trace(&shrink(&run, &options), &arguments.folder)?;
            return Ok(ExitCode::FAILURE);
        }
        if seed % 256 == 0 {
            bar.set_position(seed);
            bar.set_message(format!("{:.0} events/s", table.steps as f64 / start.elapsed().as_secs_f64()));
        }
    }
    bar.finish_and_clear();
    let took = start.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    for (row, runs) in &table.rows {
        writeln!(out, "{:<52} {runs:>9}{}", row, if *runs == 0 { "  NEVER REACHED" } else { "" })?;
    }
    let (seeds, steps) = (arguments.seeds as f64, table.steps as f64);
    writeln!(
        out,
        "\n{} seeds in {took:.1} s: {:.0} seeds/s, {:.0} events/s, {} days of virtual time, hash of all {:016x}",
        arguments.seeds,
        seeds / took,
        steps / took,
        table.virtual_time.as_secs() / 86_400,
        table.hash
    )?;
    let never = table.rows.values().filter(|runs| **runs == 0).count();
    if never > 0 {
        writeln!(out, "{never} rows were never reached: run more seeds, or something can no longer happen")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
