//! What two sessions go through together, found by the model check and drawn in `docs/joint-states.md`.
//!
//! `UPDATE=1` rewrites the drawing; a change of it is a change of behaviour and is to be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use duologue_laws::subjects::Letters;
use duologue_laws::{Joint, Model, Script, every_move, search};

/// A pair of states without who is who.
type Node = [String; 2];

fn node(joint: &Joint) -> Node {
    let mut sides = joint.map(
        |(recv, send, released)| {
            if released { "released".to_string() } else { format!("{recv:?}/{send:?}") }
        },
    );
    sides.sort();
    sides
}

/// Every way from the start to the release, when only these things happen.
fn draw(moves: &[&str]) -> String {
    let own = |name: &str| name.split_once(' ').map_or(String::new(), |(_, own)| own.to_string());
    let moves: Vec<_> = every_move(0).into_iter().filter(|(name, _)| moves.contains(&own(name).as_str())).collect();
    let names: Vec<String> = moves.iter().map(|(name, _)| own(name)).collect();
    let start = Script { capacity: [1; 2], ..Script::empty(0) };
    let model = Model { start, moves, alike: true, messages: 0, depth: 100, most_states: 20_000 };
    let found = search(&Letters, &model).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(found.complete && found.released > 0, "{found}");

    let mut edges: BTreeMap<(Node, Node), BTreeSet<&str>> = BTreeMap::new();
    for (from, ways) in &found.joint {
        for (by, to) in ways {
            edges.entry((node(from), node(to))).or_default().insert(&names[*by]);
        }
    }
    let nodes: BTreeSet<&Node> = edges.keys().flat_map(|(from, to)| [from, to]).collect();
    let id = |wanted: &Node| nodes.iter().position(|node| *node == wanted).unwrap_or_default();
    let start = ["Open/Open".to_string(), "Open/Open".to_string()];
    let mut text = format!("```mermaid\nstateDiagram-v2\n    [*] --> s{}\n", id(&start));
    for (i, [one, other]) in nodes.iter().enumerate() {
        let _ = writeln!(text, "    s{i}: {one} and {other}");
    }
    for ((from, to), by) in &edges {
        let by: Vec<&str> = by.iter().copied().collect();
        let _ = writeln!(text, "    s{} --> s{}: {}", id(from), id(to), by.join(", "));
    }
    let left: BTreeSet<&Node> = edges.keys().map(|(from, _)| from).collect();
    for (i, _) in nodes.iter().enumerate().filter(|(_, node)| !left.contains(**node)) {
        let _ = writeln!(text, "    s{i} --> [*]");
    }
    text + "```\n"
}

#[test]
fn the_drawing_of_two_sessions_is_current() {
    const ALWAYS: [&str; 6] = ["transmit all", "read all", "poll", "send", "shutdown_done", "release"];
    let mut text = String::from(
        "# Two sessions, from the start to their release\n\n\
         Found by the model check of the laws kit and drawn by `UPDATE=1 cargo test -p duologue-tests --test joint_states`.\n\
         Each state is what the two sides are in, receiving and sending, without who is who. Every way that is possible\n\
         is drawn, and none other, as long as no deadline passes; each of them ends with both sides released.\n\n\
         ## Two sides that finish\n\n",
    );
    text += &draw(&[&ALWAYS[..], &["finish"]].concat());
    text += "\n## Two sides that close\n\n";
    text += &draw(&[&ALWAYS[..], &["close flush"]].concat());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/joint-states.md");
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(&path, text).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{} is not current; UPDATE=1 rewrites it", path.display());
}
