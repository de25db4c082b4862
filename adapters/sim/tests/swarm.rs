//! The swarm itself: it passes, it repeats itself, and it finds what is planted.

use duologue_sim::swarm::{CASES, CAUSES, Options, Planted, Run, run, shrink};
use duologue_sim::{Coverage, FaultSchedule, svg};

fn ran(seed: u64) -> Run {
    let run = run(seed, &Options::default());
    assert_eq!(run.failure, None, "seed {seed}, schedule {}", run.schedule.to_json());
    run
}

#[test]
fn some_hundred_seeds_hold_and_reach_most_of_what_there_is() {
    let (mut coverage, mut causes) = (Coverage::default(), std::collections::BTreeSet::new());
    for seed in 0..900 {
        let run = ran(seed);
        coverage.merge(&run.coverage);
        causes.extend(run.causes);
    }
    let missing: Vec<_> = coverage.rows().into_iter().filter(|(_, reached)| !reached).collect();
    assert!(missing.len() <= 2, "{missing:?}");
    let missing: Vec<_> = CAUSES.iter().filter(|cause| !causes.contains(**cause)).collect();
    assert!(missing.len() <= 2, "{missing:?}");
}

#[test]
fn a_seed_repeats_itself_bit_for_bit() {
    for seed in 0..90 {
        let (first, second) = (ran(seed), ran(seed));
        assert_eq!((first.hash, first.steps, first.time), (second.hash, second.steps, second.time), "seed {seed}");
        let recorded = run(seed, &Options { record: 10_000, ..Options::default() });
        assert_eq!(recorded.hash, first.hash, "recording changes nothing");
    }
}

/// Committed, and the same in debug and release and on every platform. A change of the simulator, of the core's wire
/// behaviour or of the cases changes it: look whether it should, and write down the new one.
#[test]
fn the_golden_hashes_hold() {
    let hashes: Vec<String> = (1..=9).map(|seed| format!("{:016x}", ran(seed).hash)).collect();
    assert_eq!(hashes, GOLDEN, "seeds 1 to 9");
}

const GOLDEN: [&str; 9] = [
    "dcab1bbfc608275b",
    "1e316951d45b185d",
    "5341ea8fcfce84bb",
    "ed9f19f614f72ebe",
    "1f460655586e73e0",
    "e1d64d3a3fe2f26b",
    "1fe1d4c2089d6ae5",
    "84c5499dd97a330f",
    "30e446bc3bfb1bae",
];

fn caught(planted: Planted, traffic: u64) -> Run {
    let options = Options { planted, record: 0, ..Options::default() };
    let found = (0..60).map(|n| n * CASES.len() as u64 + traffic).find_map(|seed| {
        let run = run(seed, &options);
        run.failure.is_some().then_some(run)
    });
    let found = found.unwrap_or_else(|| panic!("{planted:?} was not found in 60 runs of {}", CASES[traffic as usize]));
    let small = shrink(&found, &options);
    assert!(small.failure.is_some() && small.schedule.faults.len() <= found.schedule.faults.len());
    small
}

#[test]
fn planted_bugs_are_found_and_explained() {
    for traffic in 5..=8 {
        let run = caught(Planted::WrongContent, traffic);
        assert!(run.failure.is_some_and(|failure| failure.contains("expected")));
        assert!(!run.trace.is_empty());
        assert!(svg(&run.trace, 100).contains("</svg>"));
        caught(Planted::ForeignStream, traffic);
    }
    let inert = caught(Planted::NoTimeouts, 6);
    assert!(inert.failure.is_some_and(|failure| failure.contains("rest")));
}

#[test]
fn a_failure_that_needs_one_fault_shrinks_to_it() {
    let options = Options { planted: Planted::NoTimeouts, ..Options::default() };
    let seeds = (0..200).map(|n| n * CASES.len() as u64 + 6);
    let needs_a_fault = seeds.filter_map(|seed| {
        let whole = run(seed, &options);
        let without = run(seed, &Options { schedule: Some(FaultSchedule::none()), ..options.clone() });
        (whole.failure.is_some() && without.failure.is_none() && whole.schedule.faults.len() > 3).then_some(whole)
    });
    let small: Vec<usize> = needs_a_fault.take(3).map(|run| shrink(&run, &options).schedule.faults.len()).collect();
    assert!(!small.is_empty() && small.iter().all(|faults| (1..=2).contains(faults)), "{small:?}");
}
