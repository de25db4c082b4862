//! The laws, over every standard subject and every configuration.
//!
//! `DUOLOGUE_CASES` sets the number of scripts per subject, `DUOLOGUE_SEED` where they start.
// What a run reached is worth seeing.
#![allow(clippy::print_stdout)]

use duologue_laws::subjects::{Chat, Greeter, Lines, Prefixed};
use duologue_laws::{Coverage, Report, Subject, run};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn run_subject<S: Subject>(subject: &S) {
    run_seeded(subject, setting("DUOLOGUE_CASES", 2_500), 1);
}

fn run_seeded<S: Subject>(subject: &S, cases: u64, seed: u64) -> Report {
    let report = run(subject, cases, seed + setting("DUOLOGUE_SEED", 0));
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    println!(
        "{}: {} cases, {} steps, {} pairs of states",
        subject.name(),
        report.cases,
        report.steps,
        report.coverage.states.len()
    );
    report
}

#[test]
fn prefixed() {
    run_subject(&Prefixed);
}

#[test]
fn lines() {
    run_subject(&Lines);
}

#[test]
fn chat() {
    run_subject(&Chat);
}

#[test]
fn greeter() {
    run_subject(&Greeter);
}

#[test]
fn every_transition_cause_and_phase_is_reached() {
    let mut coverage = Coverage::default();
    let cases = setting("DUOLOGUE_CASES", 2_500).max(1_000);
    // Seeds of their own, so that this finds what the others did not look at.
    coverage.merge(&run_seeded(&Prefixed, cases, 1_001).coverage);
    coverage.merge(&run_seeded(&Lines, cases, 1_002).coverage);
    coverage.merge(&run_seeded(&Chat, cases, 1_003).coverage);
    coverage.merge(&run_seeded(&Greeter, cases, 1_004).coverage);
    let missing = coverage.missing();
    assert!(missing.is_empty(), "never reached:\n{}", missing.join("\n"));
}
