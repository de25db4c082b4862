//! Every order of calls, to a small depth: from every state that is reached, every call is made and every law checked.
//!
//! What each call does in each pair of states is a snapshot in `snapshots/`, and the tables of the two halves are drawn
//! in `docs/states.md`. `UPDATE=1` rewrites both; a change of either is a change of behaviour and is to be read.
// What a run reached is worth seeing.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use duologue_core::halves::{RecvInput, SendInput};
use duologue_core::{FaultKind, Operation, RecvState, SendState};
use duologue_laws::subjects::{Chat, Greeter, Lines, Prefixed};
use duologue_laws::{Call, Ending, Failure, Op, Role, Script, Subject, World};

/// What is done at every state: a name, and the calls.
fn alphabet() -> Vec<(&'static str, Vec<Call>)> {
    let ours = |op: Op| vec![Call::At(Role::Client, op)];
    let fault = |operation| ours(Op::Fault { operation, kind: FaultKind::Other });
    let deadline = Call::UntilDeadline { role: Role::Client, offset: 0 };
    vec![
        ("transmit 1", ours(Op::Transmit { max: 1, slices: 1 })),
        ("transmit all", ours(Op::Transmit { max: 4096, slices: 8 })),
        ("read 1", ours(Op::Read { max: 1 })),
        ("read all", ours(Op::Read { max: 4096 })),
        ("poll", ours(Op::Poll { max: 1 })),
        ("send", ours(Op::Send { seed: 4 })),
        ("finish", ours(Op::Finish)),
        ("drain", ours(Op::Drain)),
        ("shutdown_read", ours(Op::ShutdownRead)),
        ("close goodbye", ours(Op::Close { flush: false, code: 1 })),
        ("close flush", ours(Op::Close { flush: true, code: 2 })),
        ("abort", ours(Op::Abort { code: 3 })),
        ("shutdown_done", ours(Op::ShutdownDone)),
        ("released", ours(Op::Release)),
        ("released unasked", ours(Op::ReleaseUnasked)),
        ("fault reading", fault(Operation::Read)),
        ("fault writing", fault(Operation::Write)),
        ("fault finishing", fault(Operation::ShutdownWrite)),
        ("fault truncated", ours(Op::Fault { operation: Operation::Read, kind: FaultKind::Truncated })),
        ("transmitted too much", ours(Op::Overreport)),
        ("deadline", vec![deadline, Call::At(Role::Client, Op::Timeout)]),
        ("peer speaks", vec![Call::At(Role::Server, Op::Transmit { max: 4096, slices: 8 })]),
        ("peer sends frames", ours(Op::Flood { seed: 1 })),
        ("peer sends garbage", ours(Op::Inject { seed: 7, len: 3 })),
        ("peer finishes", ours(Op::CutFin)),
    ]
}

/// Calls in a row. A deeper search checks the laws, and compares no snapshot.
const DEPTH: usize = 6;

type Pair = (RecvState, SendState);
type Table = BTreeMap<Pair, BTreeMap<&'static str, BTreeSet<Pair>>>;

struct Explored {
    states: usize,
    calls: usize,
    table: Table,
}

/// Breadth first from the start. A session cannot be copied, so each state is reached anew by its script; a state that
/// was seen before, by everything that can be seen of it, is not entered again.
fn explore<S: Subject>(subject: &S, variant: usize, depth: usize) -> Explored {
    let alphabet = alphabet();
    let mut explored = Explored { states: 1, calls: 0, table: Table::new() };
    let mut seen = BTreeSet::new();
    let mut frontier = vec![Script::empty(variant)];
    for _ in 0..depth {
        let mut next = Vec::new();
        for script in &frontier {
            for (name, calls) in &alphabet {
                let mut world = World::new(subject, script);
                script.calls.iter().for_each(|call| apply(subject, &mut world, call, script));
                let before = (world.states(Role::Client), world.fingerprint());
                let mut longer = script.clone();
                for call in calls {
                    longer.calls.push(call.clone());
                    apply(subject, &mut world, call, &longer);
                }
                explored.calls += 1;
                let after = (world.states(Role::Client), world.fingerprint());
                if before == after {
                    continue;
                }
                explored.table.entry(before.0).or_default().entry(name).or_default().insert(after.0);
                if seen.insert(after.1) {
                    explored.states += 1;
                    let ending = [Ending::Silent, Ending::Dead, Ending::Flooding][explored.states % 3];
                    let ended = world.end(ending, explored.states % 2 == 0);
                    ended.unwrap_or_else(|broken| report(subject, broken, &longer));
                    next.push(longer);
                }
            }
        }
        frontier = next;
    }
    println!("{} variant {variant}: {} states, {} calls", subject.name(), explored.states, explored.calls);
    explored
}

fn apply<S: Subject>(subject: &S, world: &mut World<'_, S>, call: &Call, script: &Script) {
    world.apply(call).unwrap_or_else(|broken| report(subject, broken, script));
}

fn report<S: Subject>(subject: &S, broken: duologue_laws::Broken, script: &Script) -> ! {
    panic!("{}", Failure { subject: subject.name(), broken, script: script.clone() })
}

fn depth() -> usize {
    std::env::var("DUOLOGUE_DEPTH").ok().and_then(|depth| depth.parse().ok()).unwrap_or(DEPTH)
}

/// Explores and compares the behaviour with the snapshot of that name.
fn snapshot<S: Subject>(subject: &S, variant: usize) {
    let explored = explore(subject, variant, depth());
    if depth() == DEPTH {
        let name = format!("{}-{variant}.txt", subject.name());
        compare(&here().join("tests/snapshots").join(name), &render(&explored.table));
    }
}

#[test]
fn lines_with_standard_timeouts() {
    snapshot(&Lines, 0);
}

#[test]
fn lines_where_the_peer_finishes_first() {
    snapshot(&Lines, 2);
}

#[test]
fn prefixed_that_keeps_sending() {
    snapshot(&Prefixed, 3);
}

#[test]
fn prefixed_that_aborts_half_closed_sessions() {
    snapshot(&Prefixed, 4);
}

#[test]
fn chat_with_a_close_handshake() {
    snapshot(&Chat, 1);
}

#[test]
fn greeter_with_an_opening() {
    snapshot(&Greeter, 1);
}

fn render(table: &Table) -> String {
    let pair = |(recv, send): &Pair| format!("{recv:?}/{send:?}");
    let mut text = String::from("# receive/send, call -> what it leads to. Calls that change nothing are left out.\n");
    for (from, calls) in table {
        let _ = writeln!(text, "\n{}", pair(from));
        for (call, to) in calls {
            let to: Vec<String> = to.iter().map(|to| if to == from { "same".into() } else { pair(to) }).collect();
            let _ = writeln!(text, "  {call:22} -> {}", to.join(", "));
        }
    }
    text
}

#[test]
fn the_state_diagrams_in_the_docs_are_current() {
    let mut text = String::from(
        "# The two halves of a session\n\n\
         Generated from the tables in `core/src/halves.rs` by `UPDATE=1 cargo test -p duologue-tests --test exhaustive`.\n\
         What is not drawn changes nothing. A session is over once its receive half is `Finished` or `Closed`, its send half\n\
         is `Finished` or `Closed`, and its transport is released.\n\n## Receiving\n\n",
    );
    text += &mermaid("Open", RecvState::TRANSITIONS, |i: &RecvInput| format!("{i:?}"));
    text += "\n## Sending\n\n";
    text += &mermaid("Open", SendState::TRANSITIONS, |i: &SendInput| format!("{i:?}"));
    compare(&here().join("../docs/states.md"), &text);
}

fn mermaid<St: std::fmt::Debug, In>(start: &str, table: &[(St, In, St)], name: impl Fn(&In) -> String) -> String {
    let mut text = format!("```mermaid\nstateDiagram-v2\n    [*] --> {start}\n");
    for (from, by, to) in table {
        let _ = writeln!(text, "    {from:?} --> {to:?}: {}", name(by));
    }
    let left: BTreeSet<String> = table.iter().map(|(from, _, _)| format!("{from:?}")).collect();
    let ends: BTreeSet<String> = table.iter().map(|(_, _, to)| format!("{to:?}")).collect();
    for end in ends.difference(&left) {
        let _ = writeln!(text, "    {end} --> [*]");
    }
    text + "```\n"
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn compare(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap_or(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        std::fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).find(|(a, b)| a != b);
    let hint = "UPDATE=1 rewrites it, and the difference is to be read";
    assert!(kept == text, "{} is not current ({hint}); first difference: {differs:?}", path.display());
}
