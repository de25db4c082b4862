//! The tour: five real failures of session code that do not happen here, live on loopback sockets.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example tour
//! cargo run --release -p duologue-tokio --example tour -- --case F3 --svg out/
//! ```
//!
//! Each case starts servers and clients on 127.0.0.1, prints what was measured, and gives a verdict. The exit code is
//! 0 if all verdicts are good.

#![allow(unreachable_pub)] // a program: nothing is reachable from outside

mod f1_push;
mod f2_black_hole;
mod f2_dead_peer;
mod f3_reuse;
mod f3_time_wait;
mod f4_half_close;
mod f5_writers;
mod kernel;
mod report;
mod timeline;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use report::{Outcome, Progress};

/// No case may take longer: a hang is a failure, not a wait.
const CASE_LIMIT: Duration = Duration::from_secs(60);

#[derive(Parser)]
#[command(
    about = "Plays five real-world session failures on loopback sockets and shows that they do not happen",
    long_about = "Plays the five field cases on real loopback sockets:\n\
        F1  a server pushes while the client talks\n\
        F2  the peer of a big stream dies: stops reading, hangs, or vanishes\n\
        F3  short connections: which side carries TIME_WAIT, and reuse\n\
        F4  half-close, then go on receiving\n\
        F5  many writers against close and reconnect\n\
        The exit code is 0 if every case is good."
)]
struct Args {
    /// Play only this case; may be given several times.
    #[arg(long = "case", value_enum, ignore_case = true)]
    cases: Vec<Case>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write a timeline of each case as SVG into this folder.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Frames each way in F1.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// Used by the tour itself for the two hosts of the black hole.
    #[arg(long, hide = true)]
    role: Option<f2_black_hole::Role>,
    /// Where that role connects or listens.
    #[arg(long, hide = true)]
    address: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    F1,
    F2,
    F3,
    F4,
    F5,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("cannot start the runtime: {e}");
            return ExitCode::FAILURE;
        }
    };
    if let (Some(role), Some(address)) = (args.role, &args.address) {
        return runtime.block_on(f2_black_hole::play(role, address));
    }
    runtime.block_on(tour(&args))
}

async fn tour(args: &Args) -> ExitCode {
    let all = [Case::F1, Case::F2, Case::F3, Case::F4, Case::F5];
    let cases = if args.cases.is_empty() { &all[..] } else { &args.cases };
    println!("duologue tour: {} cases on 127.0.0.1, seed {}\n", cases.len(), args.seed);
    let mut good = 0;
    for case in cases {
        let outcome = play(*case, args).await;
        outcome.print();
        good += usize::from(outcome.is_good());
        if let Some(folder) = &args.svg {
            match outcome.timeline.write(folder, &format!("{case:?}").to_lowercase()) {
                Ok(path) => println!("      timeline: {}\n", path.display()),
                Err(e) => eprintln!("cannot write the timeline into {}: {e}", folder.display()),
            }
        }
    }
    println!("{good} of {} cases good", cases.len());
    if good == cases.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn play(case: Case, args: &Args) -> Outcome {
    let title = match case {
        Case::F1 => "F1  push while the peer talks",
        Case::F2 => "F2  dead peer under a big stream",
        Case::F3 => "F3  naive and pooled clients, and who carries TIME_WAIT",
        Case::F4 => "F4  half-close, then keep receiving",
        Case::F5 => "F5  many writers against close and reconnect",
    };
    let progress = Progress::new(title);
    let played = tokio::time::timeout(CASE_LIMIT, async {
        let outcome = Outcome::new(title);
        match case {
            Case::F1 => f1_push::play(outcome, args.frames, args.seed, &progress).await,
            Case::F2 => f2_dead_peer::play(outcome, args.seed, &progress).await,
            Case::F3 => {
                let outcome = f3_time_wait::play(outcome, args.seed, &progress).await?;
                f3_reuse::play(outcome, args.seed, &progress).await
            }
            Case::F4 => f4_half_close::play(outcome, args.seed, &progress).await,
            Case::F5 => f5_writers::play(outcome, args.seed, &progress).await,
        }
    });
    let played = played.await;
    progress.finish();
    match played {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(e)) => Outcome::new(title).check(false, format!("the case could not be played: {e}")),
        Err(_) => Outcome::new(title).check(false, format!("still running after {CASE_LIMIT:?}: a hang")),
    }
}

/// What a case may fail with before it has a verdict.
type Error = Box<dyn std::error::Error + Send + Sync>;
