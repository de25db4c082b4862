//! A model check of two sessions and a link of tiny capacity: every interleaving of partial writes and reads, events
//! taken, messages, closes of every kind, deadlines, FIN and RST, breadth first. Every law holds at every state, and from
//! every state both sides reach their release.
//!
//! `cargo test --release -p duologue-laws --test model` searches further than a debug build; `DUOLOGUE_STATES` sets where
//! each search stops.
// How far a search came is worth seeing.
#![allow(clippy::print_stdout)]

use std::hash::Hash;
use std::time::{Duration, Instant};

use duologue_core::{CloseOrder, Config, Limits, OnPeerFinish, Rng, Timeouts};
use duologue_laws::subjects::{Chat, Greeter, Letters};
use duologue_laws::{
    CommandOf, EventOf, Model, Reference, Role, Script, Searched, Subject, ViolationOf, every_move, search,
};

/// States after which a search stops, unless it is complete before: what takes a minute in all.
const STATES: usize = if cfg!(debug_assertions) { 6_000 } else { 120_000 };

/// A subject with two configurations of its own: the client's and the server's.
struct Pair<S> {
    subject: S,
    configs: [Config; 2],
}

impl<S: Subject> Subject for Pair<S> {
    type Protocol = S::Protocol;

    fn name(&self) -> &'static str {
        self.subject.name()
    }

    fn protocol(&self, role: Role, variant: usize) -> S::Protocol {
        self.subject.protocol(role, variant)
    }

    fn config(&self, role: Role, _variant: usize) -> Config {
        self.configs[usize::from(role == Role::Server)].clone()
    }

    fn command(&self, role: Role, rng: &mut Rng) -> CommandOf<S> {
        self.subject.command(role, rng)
    }

    fn event_for(&self, command: &CommandOf<S>) -> Option<EventOf<S>> {
        self.subject.event_for(command)
    }

    fn is_from_timer(&self, event: &EventOf<S>) -> bool {
        self.subject.is_from_timer(event)
    }

    fn is_from_command(&self, event: &EventOf<S>) -> bool {
        self.subject.is_from_command(event)
    }

    fn reference(&self, receiver: Role, variant: usize, bytes: &[u8]) -> Reference<EventOf<S>> {
        self.subject.reference(receiver, variant, bytes)
    }

    fn flood(&self, receiver: Role, rng: &mut Rng) -> Vec<u8> {
        self.subject.flood(receiver, rng)
    }
}

/// Every wait is bounded, and no two are equal; there is no probe, whose repetition would have no end.
fn bounded() -> Timeouts {
    Timeouts::new()
        .connect(Some(Duration::from_millis(7_013)))
        .handshake(Some(Duration::from_millis(5_011)))
        .idle(Some(Duration::from_millis(19_037)))
        .keepalive(None)
        .write_stall(Some(Duration::from_millis(6_029)))
        .close_handshake(Some(Duration::from_millis(1_009)))
        .flush(Some(Duration::from_millis(3_001)))
        .linger(Some(Duration::from_millis(907)))
}

/// Buffers that hold little more than one message.
fn narrow(unit: usize, send: usize) -> Config {
    let limits = Limits::new().recv_buffer(unit).send_buffer(send).control_reserve(8).linger_bytes(6).read_chunk(2);
    Config::new().limits(limits.share_threshold(64).events(1)).timeouts(bounded())
}

fn peer_first(config: Config) -> Config {
    config.close_order(CloseOrder::PeerFirst { within: Duration::from_millis(2_503) })
}

fn most_states() -> usize {
    std::env::var("DUOLOGUE_STATES").ok().and_then(|states| states.parse().ok()).unwrap_or(STATES)
}

/// Bytes that the link holds in each direction.
const CAPACITY: usize = 1;

/// The names of moves, without the side.
const WHOLE: &[&str] = &["transmit all", "read all", "poll", "send", "shutdown_done", "release"];
const PARTIAL: &[&str] = &["transmit 1", "read 1", "poll", "send", "shutdown_done", "release"];

/// One search.
struct Case {
    what: &'static str,
    configs: [Config; 2],
    /// The moves that are made at each side; all of them if there are none.
    moves: Vec<&'static str>,
    messages: u64,
    connecting: bool,
    /// All the states that there are, where a search came to its end.
    whole: Option<usize>,
}

impl Case {
    fn new(what: &'static str, config: Config, moves: &[&[&'static str]]) -> Self {
        let configs = [config.clone(), config];
        Self { what, configs, moves: moves.concat(), messages: 1, connecting: false, whole: None }
    }

    /// Searches, prints how far it came, and wants at least as many states as the floor.
    fn check<S: Subject>(self, subject: S) -> Searched
    where
        S::Protocol: Clone + Hash,
        EventOf<S>: Hash,
        ViolationOf<S>: Hash,
    {
        let began = Instant::now();
        let chosen = |name: &str| {
            let own = name.split_once(' ').map_or(name, |(_, own)| own);
            self.moves.is_empty() || self.moves.contains(&own)
        };
        let alike = self.configs[0] == self.configs[1] && !self.connecting && subject.name() != "greeter";
        let empty = Script::empty(0);
        let model = Model {
            start: Script { capacity: [CAPACITY; 2], connecting: self.connecting, ..empty },
            alike,
            moves: every_move(one_letter(&subject)).into_iter().filter(|(name, _)| chosen(name)).collect(),
            messages: self.messages,
            depth: usize::MAX,
            most_states: most_states(),
        };
        let pair = Pair { subject, configs: self.configs };
        let what = format!("{}, {}", pair.name(), self.what);
        let found = search(&pair, &model).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        println!("{what}: {found}, {:.1} s", began.elapsed().as_secs_f64());
        let floor = self.whole.unwrap_or(usize::MAX).min(most_states());
        assert!(found.states >= floor, "{what}: only {found}, where {floor} states are known");
        let complete = self.whole.is_some_and(|whole| whole < most_states());
        assert!(found.complete || !complete, "{what}: {found}, and all of it is known to be {:?} states", self.whole);
        found
    }
}

/// A seed whose message is short.
fn one_letter<S: Subject>(subject: &S) -> u64 {
    let length = |seed: u64| format!("{:?}", subject.command(Role::Client, &mut Rng::new(seed))).len();
    (0..1_000).filter(|seed| length(*seed) > 3).min_by_key(|seed| length(*seed)).unwrap_or_default()
}

#[test]
fn everything_that_may_happen() {
    Case::new("every move", narrow(2, 2), &[]).check(Letters);
}

#[test]
fn everything_that_may_happen_with_a_close_handshake() {
    Case::new("every move", narrow(22, 6), &[]).check(Chat);
}

#[test]
fn two_messages_each_way_byte_by_byte() {
    let mut case = Case::new("finish, byte by byte", narrow(2, 3), &[PARTIAL, &["finish"]]);
    case.messages = 2;
    case.whole = Some(14_426);
    case.check(Letters);
}

#[test]
fn closing_and_the_clock() {
    let closing = ["finish", "close goodbye", "close flush", "deadline"];
    Case::new("closing, us first", narrow(2, 2), &[WHOLE, &closing]).check(Letters);
    Case::new("closing, the peer first", peer_first(narrow(2, 2)), &[WHOLE, &closing]).check(Letters);
    let mut mixed = Case::new("closing, both want the server first", narrow(2, 2), &[WHOLE, &closing]);
    mixed.configs[0] = peer_first(narrow(2, 2));
    mixed.check(Letters);
}

#[test]
fn goodbyes_and_the_clock() {
    let closing = ["finish", "close goodbye", "close flush", "deadline"];
    Case::new("closing, us first", narrow(22, 6), &[WHOLE, &closing]).check(Chat);
    Case::new("closing, the peer first", peer_first(narrow(22, 6)), &[WHOLE, &closing]).check(Chat);
}

#[test]
fn half_closed_sessions() {
    let moves = ["finish", "shutdown_read", "close goodbye", "deadline", "FIN of the link"];
    for (what, policy) in [
        ("half-closed, flush then finish", OnPeerFinish::FlushThenFinish),
        ("half-closed, keep sending", OnPeerFinish::KeepSending),
        ("half-closed, abort", OnPeerFinish::Abort),
    ] {
        Case::new(what, narrow(2, 2).on_peer_finish(policy), &[WHOLE, &moves]).check(Letters);
    }
}

#[test]
fn a_link_that_fails() {
    let moves = ["abort", "close goodbye", "write fails", "FIN of the link", "RST of the link"];
    Case::new("a link that fails", narrow(2, 2), &[PARTIAL, &moves]).check(Letters);
    Case::new("a link that fails", narrow(22, 6), &[PARTIAL, &moves]).check(Chat);
}

/// Without the clock, the link's faults and aborts, every end there is.
#[test]
fn every_orderly_end() {
    let closing = ["finish", "close goodbye", "close flush"];
    let mut case = Case::new("orderly ends", narrow(2, 2), &[WHOLE, &closing]);
    case.whole = Some(50_485);
    case.check(Letters);
    let mut case = Case::new("orderly ends, the peer first", peer_first(narrow(2, 2)), &[WHOLE, &closing]);
    case.whole = Some(27_101);
    case.check(Letters);
    let mut case = Case::new("orderly ends", narrow(22, 6), &[WHOLE, &closing]);
    case.whole = Some(860_819);
    case.check(Chat);
}

/// No deadline is armed but the peer-first one, so whatever waits for time to pass is a deadlock.
#[test]
fn without_any_time_out() {
    let timeless = |config: Config| config.timeouts(Timeouts::none());
    let moves = ["finish", "close goodbye", "close flush", "abort"];
    Case::new("no time-outs", timeless(narrow(2, 2)), &[PARTIAL, &moves]).check(Letters);
    Case::new("no time-outs", timeless(narrow(22, 6)), &[PARTIAL, &moves]).check(Chat);
    let lingers = Timeouts::none().linger(Some(Duration::from_millis(907)));
    let both = peer_first(narrow(22, 6).timeouts(lingers));
    Case::new("both want the peer first", both, &[WHOLE, &moves, &["deadline"]]).check(Chat);
}

#[test]
fn an_opening() {
    let mut case =
        Case::new("an opening", narrow(16, 20), &[WHOLE, &["connected", "finish", "close goodbye", "deadline"]]);
    case.connecting = true;
    case.check(Greeter);
}
