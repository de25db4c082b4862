//! The swarm itself: it passes, it repeats itself, and it finds what is planted.

use duologue_sim::swarm::{CASES, CAUSES, Options, Planted, Run, run, shrink};
use duologue_sim::{Coverage, Fault, FaultSchedule, SEEN, Scenario, svg};

fn ran(seed: u64) -> Run {
    let run = run(seed, &Options::default());
    assert_eq!(run.failure, None, "seed {seed}, schedule {}", run.schedule.to_json());
    run
}

#[test]
fn some_hundred_seeds_hold_and_reach_most_of_what_there_is() {
    let (mut coverage, mut causes) = (Coverage::default(), std::collections::BTreeSet::new());
    let (mut fired, mut seen) = ([0; Fault::KINDS.len()], 0);
    for seed in 0..900 {
        let run = ran(seed);
        coverage.merge(&run.coverage);
        causes.extend(run.causes);
        seen |= run.seen;
        fired.iter_mut().zip(run.fired).for_each(|(all, fired)| *all += fired);
    }
    let missing: Vec<_> = coverage.rows().into_iter().filter(|(_, reached)| !reached).collect();
    assert!(missing.len() <= 2, "{missing:?}");
    let missing: Vec<_> = CAUSES.iter().filter(|cause| !causes.contains(**cause)).collect();
    assert!(missing.len() <= 2, "{missing:?}");
    let missing: Vec<_> = SEEN.iter().enumerate().filter(|(i, _)| seen >> i & 1 == 0).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let missing: Vec<_> = Fault::KINDS.iter().zip(fired).filter(|(_, fired)| *fired == 0).collect();
    assert!(missing.is_empty(), "{missing:?}");
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
    let hashes: Vec<String> = (0..20).map(|seed| format!("{:016x}", ran(seed).hash)).collect();
    assert_eq!(hashes, GOLDEN, "seeds 0 to 19");
    let all = (0..500).fold(0_u64, |all, seed| all.rotate_left(1) ^ ran(seed).hash);
    assert_eq!(format!("{all:016x}"), GOLDEN_OF_500);
}

const GOLDEN_OF_500: &str = "93d9ff42df265507";

const GOLDEN: [&str; 20] = [
    "ad4ce2d635ece358",
    "5a54c369aede4269",
    "9c42afce9618edb3",
    "ddc39bf1347d4f98",
    "8ba24dc3380f9d85",
    "a1d2d04a754a3f7c",
    "67301c8bd50278df",
    "3a7eec195ceb0c3f",
    "1fbff037b0297833",
    "736b1b81e7501f82",
    "994f1f2cbf53dce1",
    "be4ea8475ef97148",
    "90eecf6e8c15957b",
    "55af8d5844c418f7",
    "ad0aa4f6120c3666",
    "711d54a327d1aac2",
    "5451b7b4c57030ce",
    "89f924fa111edb1b",
    "7376c8dd47825e0c",
    "10782cd4ed0ef654",
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
    let leaky = caught(Planted::NoFence, 9);
    assert!(leaky.failure.is_some_and(|failure| failure.contains("another generation's handle")));
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

#[test]
fn a_shrunk_scenario_is_smaller_in_its_numbers_too_and_repeats_from_json() {
    let options = Options { planted: Planted::NoFence, ..Options::default() };
    let found = (0..40).map(|n| n * CASES.len() as u64 + 9).find_map(|seed| {
        let run = run(seed, &Options { record: 1, ..options.clone() });
        (run.failure.is_some() && run.scenario.numbers["messages of each"] > 3).then_some(run)
    });
    let found = found.expect("one in forty fails");
    let small = shrink(&found, &options);
    assert!(small.scenario.numbers["messages of each"] <= 3, "{:?}", small.scenario);
    assert!(small.scenario.numbers.values().sum::<u64>() < found.scenario.numbers.values().sum(), "{found:?}");
    let read = Scenario::from_json(&small.scenario.to_json()).unwrap();
    let again = run(read.seed, &Options { schedule: read.schedule, numbers: read.numbers, ..options });
    assert_eq!((again.hash, again.failure), (small.hash, small.failure));
}
