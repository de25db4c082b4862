//! The laws of streams, over yamux in both roles and over bRPC's streams.
//!
//! `DUOLOGUE_CASES` sets the number of scripts per subject, `DUOLOGUE_SEED` where they start.
// The helpers of tests unwrap as the tests do; what a run reached is worth seeing.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod brpc;
mod yamux;

use duologue_laws::streams::{StreamReport, StreamSubject, run};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn run_subject<S: StreamSubject>(subject: &S) -> StreamReport {
    let cases = setting("DUOLOGUE_CASES", 500);
    let report = run(subject, cases, 1 + setting("DUOLOGUE_SEED", 0)).unwrap_or_else(|failure| panic!("{failure}"));
    println!(
        "{}: {} scripts, {} calls, {} streams, {} bytes, longest wait {} bytes, {:?}",
        subject.name(),
        report.cases,
        report.steps,
        report.streams,
        report.bytes,
        report.longest_wait,
        report.ends
    );
    assert_eq!(report.cases, cases);
    report
}

#[test]
fn streams_of_yamux_keep_the_laws_and_end_in_every_way() {
    let report = run_subject(&yamux::OfYamux);
    assert!(report.bytes > 100_000 && report.longest_wait > 500, "{report:?}");
    let ways = ["finished", "reset by us", "reset by the peer", "deadline", "closed by us", "lost"];
    let missing: Vec<_> = ways.iter().filter(|way| !report.ends.contains_key(*way)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

#[test]
fn streams_of_brpc_keep_the_laws_and_end_in_every_way() {
    let report = run_subject(&brpc::OfBrpc);
    assert!(report.bytes > 100_000 && report.longest_wait > 500, "{report:?}");
    let ways = ["finished", "reset by us", "reset by the peer", "deadline", "closed by us", "lost"];
    let missing: Vec<_> = ways.iter().filter(|way| !report.ends.contains_key(*way)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
