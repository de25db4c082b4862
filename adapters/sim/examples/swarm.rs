//! Runs many seeds of the swarm and prints what they reached; a row that nothing reached fails the run.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use duologue_sim::swarm::{CASES, CAUSES, Options, Planted, Run, run, shrink};
use duologue_sim::{Fault, FaultSchedule, svg};
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
    /// A schedule of faults to use instead of the seed's, as JSON.
    #[arg(long)]
    schedule: Option<String>,
    /// Where to write the picture of a run that is traced.
    #[arg(long, default_value = "swarm.svg")]
    svg: PathBuf,
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
        Fault::KINDS.iter().zip(run.fired).for_each(|(kind, fired)| count(format!("fault {kind}"), fired > 0));
    }
}

fn trace(run: &Run, picture: &PathBuf) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for entry in &run.trace {
        writeln!(out, "{entry}")?;
    }
    writeln!(out, "\nseed {} ({})", run.seed, CASES[(run.seed % CASES.len() as u64) as usize])?;
    writeln!(out, "schedule {}", run.schedule.to_json())?;
    writeln!(out, "trace hash {:016x}, {} steps, {:?} of virtual time", run.hash, run.steps, run.time)?;
    writeln!(out, "causes {:?}", run.causes)?;
    std::fs::write(picture, svg(&run.trace, 400))?;
    writeln!(out, "timeline: {}", picture.display())?;
    if let Some(failure) = &run.failure {
        writeln!(out, "FAILED: {failure}")?;
    }
    Ok(())
}

/// The oracles must find a planted bug, or their silence means nothing.
fn canary(picture: &PathBuf) -> std::io::Result<ExitCode> {
    let options = Options { planted: Planted::WrongContent, ..Options::default() };
    let Some(found) = (0..1000).map(|seed| run(seed, &options)).find(|run| run.failure.is_some()) else {
        writeln!(std::io::stdout(), "the planted bug was not found: the oracles are broken")?;
        return Ok(ExitCode::FAILURE);
    };
    trace(&shrink(&found, &options), picture)?;
    writeln!(std::io::stdout(), "the planted bug was found")?;
    Ok(ExitCode::SUCCESS)
}

fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let schedule = arguments.schedule.as_deref().map(FaultSchedule::from_json).transpose()?;
    if let Some(seed) = arguments.seed {
        let run = run(seed, &Options { schedule, record: 100_000, ..Options::default() });
        trace(&run, &arguments.svg)?;
        return Ok(if run.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    if arguments.canary {
        return canary(&arguments.svg);
    }
    let options = Options { schedule, ..Options::default() };
    let bar = ProgressBar::new(arguments.seeds);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left, {msg}") {
        bar.set_style(style);
    }
    let start = Instant::now();
    let mut table = Table::default();
    for seed in 0..arguments.seeds {
        let run = run(seed, &options);
        table.add(&run);
        if run.failure.is_some() {
            bar.abandon();
            trace(&shrink(&run, &options), &arguments.svg)?;
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
