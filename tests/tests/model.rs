//! A model check of two sessions and a link of tiny capacity: every interleaving of partial writes and reads, events
//! taken, messages, closes of every kind, deadlines, FIN and RST, breadth first. Every law holds at every state, and from
//! every state both sides reach their release.
//!
//! `DUOLOGUE_STATES` sets where each search stops; `cargo test --release` with a million of them takes minutes.
// How far a search came is worth seeing.
#![allow(clippy::print_stdout)]

use std::hash::Hash;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::framed::{Endian, Framed, LengthPrefixed};
use duologue_core::{CloseOrder, Config, Limits, OnPeerFinish, Protocol, Rng, Timeouts};
use duologue_laws::subjects::{Chat, ChatEvent, ChatProtocol, Greeter, GreeterProtocol};
use duologue_laws::{
    CommandOf, End, EventOf, Model, Reference, Role, Script, Searched, Subject, ViolationOf, every_move, search,
};

/// States after which a search stops, unless it is complete before.
const STATES: usize = 12_000;

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

/// The smallest protocol with frames: one byte of length, and one letter or none.
struct Letters;

impl Subject for Letters {
    type Protocol = Framed<LengthPrefixed>;

    fn name(&self) -> &'static str {
        "letters"
    }

    fn protocol(&self, _role: Role, _variant: usize) -> Self::Protocol {
        Framed::new(LengthPrefixed::new(1, Endian::Big, 1))
    }

    fn config(&self, _role: Role, _variant: usize) -> Config {
        Config::new()
    }

    fn command(&self, _role: Role, _rng: &mut Rng) -> Bytes {
        Bytes::from_static(b"x")
    }

    fn event_for(&self, command: &Bytes) -> Option<Bytes> {
        Some(command.clone())
    }

    fn reference(&self, _receiver: Role, _variant: usize, bytes: &[u8]) -> Reference<Bytes> {
        let mut reference = Reference::default();
        let mut at = 0;
        while let Some(len) = bytes.get(at).map(|len| usize::from(*len)) {
            if len > 1 {
                reference.violated = true;
                return reference;
            }
            let Some(payload) = bytes.get(at + 1..at + 1 + len) else {
                reference.rest = End::Truncated;
                return reference;
            };
            at += 1 + len;
            reference.boundaries.push(at);
            reference.events.push((at, Bytes::copy_from_slice(payload)));
            reference.messages += 1;
        }
        reference
    }

    fn flood(&self, _receiver: Role, _rng: &mut Rng) -> Vec<u8> {
        b"\x01x\x00".to_vec()
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

/// A seed whose message is one letter.
fn one_letter<S: Subject>(subject: &S, length: impl Fn(&CommandOf<S>) -> usize) -> u64 {
    let one = |seed: &u64| length(&subject.command(Role::Client, &mut Rng::new(*seed))) == 1;
    (0..10_000).find(one).expect("some seed makes a message of one letter")
}

fn most_states() -> usize {
    std::env::var("DUOLOGUE_STATES").ok().and_then(|states| states.parse().ok()).unwrap_or(STATES)
}

/// Searches, prints how far it came, and wants at least as many states as there are at `depth`.
fn check<S: Subject>(what: &str, pair: &Pair<S>, model: Model) -> Searched
where
    S::Protocol: Clone + Hash,
    EventOf<S>: Hash,
    ViolationOf<S>: Hash,
{
    let began = Instant::now();
    let found = search(pair, &model).unwrap_or_else(|failure| panic!("{what}: {failure}"));
    println!("{} {what}: {found}, {:.1} s", pair.name(), began.elapsed().as_secs_f64());
    assert!(found.complete || found.states >= most_states(), "the search of {what} stopped early: {found}");
    found
}

fn model(seed: u64, messages: u64, capacity: usize) -> Model {
    let start = Script { capacity: [capacity; 2], ..Script::empty(0) };
    Model { start, moves: every_move(seed), messages, depth: usize::MAX, most_states: most_states() }
}

#[test]
fn letters_probe() {
    let both = narrow(2, 2);
    let pair = Pair { subject: Letters, configs: [both.clone(), both] };
    check("local first", &pair, model(0, 1, 1));
}
