//! Checking a protocol of one's own: what a failure brings.

use std::time::Duration;

use bytes::Bytes;
use duologue_sim::core::framed::{Delimited, Framed};
use duologue_sim::core::{Config, Event, Protocol};
use duologue_sim::{App, Check, Fault, Io, Listen, Outcome, Scenario, Shape, World, check};

type Lines = Framed<Delimited>;

/// Counts lines, in a way that forgets what came before a reset.
#[derive(Default)]
struct Counter {
    to_send: u64,
    got: u64,
}

impl App<Lines> for Counter {
    fn on_start(&mut self, io: &mut Io<'_, Lines>) {
        (0..self.to_send).for_each(|n| io.send(Bytes::from(format!("line {n}"))).unwrap_or_default());
        io.finish();
    }

    fn on_event(&mut self, _: &mut Io<'_, Lines>, event: Event<Bytes, <Lines as Protocol>::Violation>) {
        self.got += u64::from(matches!(event, Event::App(_)));
    }
}

/// Holds only if no connection is ever reset.
fn every_line_arrives(world: &mut World) {
    let (a, b) = (world.host("a"), world.host("b"));
    let lines = || Framed::new(Delimited::lines(40));
    world.listen(b, 7, Listen::default(), Config::new(), move || (lines(), Counter::default()));
    let to_send = world.draw("lines", 0..=50);
    world.connect(a, (b, 7), Config::new(), lines(), Counter { to_send, got: 0 }).expect("a port is free");
    let only = |kind| Fault::KINDS.iter().position(|name| *name == kind).map_or(0, |bit| 1 << bit);
    let allowed = only("reset-at") | only("stall") | only("partial-reads");
    world.draw_faults(Shape { connections: 1, hosts: 2, horizon: 1_000_000_000, bytes: 400, allowed });
    assert_eq!(world.run_until_quiet(Duration::from_secs(1_000)), Outcome::Quiet);
    let got = world
        .machines()
        .nth(1)
        .map_or(0, |id| world.endpoint::<Lines, Counter>(id).map_or(0, |endpoint| endpoint.app().got));
    assert_eq!(got, to_send, "lines that arrived");
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("duologue-sim-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[test]
fn a_failure_is_shrunk_written_down_and_repeatable() {
    let folder = folder("check");
    let failure = Check::new(0..500).folder(&folder).run(every_line_arrives).unwrap_err();
    assert!(failure.first.contains("lines that arrived"), "{}", failure.first);
    let faults = &failure.scenario.schedule.as_ref().unwrap().faults;
    assert!(matches!(faults[..], [timed] if matches!(timed.fault, Fault::ResetAt { .. })), "{faults:?}");
    assert_eq!(failure.scenario.numbers["lines"], 1, "one line is enough");
    assert!(failure.shrink_runs <= 500);

    let text = failure.to_string();
    for part in [&format!("seed {} failed", failure.seed), &failure.scenario.to_json(), "RST", "written: "] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let read = |kind: &str| std::fs::read_to_string(folder.join(format!("seed-{}.{kind}", failure.seed))).unwrap();
    assert!(read("svg").ends_with("</svg>\n") && read("trace").contains("sent FIN"));
    assert_eq!(failure.files.len(), 3);

    let again = Check::new(0..0).scenario(Scenario::from_json(&read("json")).unwrap()).run(every_line_arrives);
    let again = again.unwrap_err();
    assert_eq!((again.hash, &again.first), (failure.hash, &failure.last), "bit for bit");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_holds_tells_how_much_it_ran() {
    let calm = |world: &mut World| -> Result<(), String> {
        let a = world.host("a");
        let messages = world.draw("messages", 2..=4);
        (2..=4).contains(&messages).then_some(()).ok_or("out of range")?;
        (world.now() == Duration::ZERO && world.is_alive(a)).then_some(()).ok_or_else(|| "a".to_string())
    };
    let held = Check::new(10..30).run(calm).unwrap();
    assert_eq!(held.seeds, 20);
    assert_eq!(held, Check::new(10..30).run(calm).unwrap(), "the same each time");
    check(0..3, calm);
}

#[test]
fn an_err_fails_as_a_panic_does() {
    let test = |world: &mut World| if world.seed() == 4 { Err("four".to_string()) } else { Ok(()) };
    let failure = Check::new(0..9).run(test).unwrap_err();
    assert_eq!((failure.seed, &*failure.first, failure.files.len()), (4, "four", 0));
}

#[test]
fn a_test_that_depends_on_more_than_its_seed_is_told_so() {
    let mut runs = 0;
    let failure = Check::new(0..9)
        .run(|_: &mut World| {
            runs += 1;
            if runs == 3 { Err("only once") } else { Ok(()) }
        })
        .unwrap_err();
    assert!(failure.first.contains("does not repeat itself") && failure.first.contains("only once"), "{failure}");
}

#[test]
#[should_panic(expected = "seed 0 failed: panicked: on purpose")]
fn the_short_form_panics_with_the_report() {
    check(0..5, |world: &mut World| assert!(world.seed() > 4, "on purpose"));
}
