//! WebSockets in the simulated network: both roles with their opening and their Close, compressed or not, whole or in parts,
//! taken as events or in place, under faults of the network at any byte.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, CloseIntent, Code, Config, Delivery, Event as SessionEvent, Limits as Buffers};
use duologue_sim::{App, Check, Fault, FaultSchedule, Io, Link, Listen, Outcome, Shape, World};
use duologue_websocket::{
    AsBytes, ClientHandshake, CloseCode, Command, Deflate, Event, Kind, Part, Role, ServerHandshake, Settings,
    Violation, WebSocket,
};

type Told = SessionEvent<Event, Violation>;

const SEEDS: u64 = 1_500;
/// What the client's Close says.
const BYE: Code = Code(4_000);

/// Message `n`: text or binary, short or longer than what is read at once.
fn message(n: u64) -> (Kind, Bytes) {
    let len = [3, 0, 40, 130, 2_000][(n % 5) as usize];
    let kind = if n % 2 == 0 { Kind::Text } else { Kind::Binary };
    (kind, Bytes::from(format!("{n} {}", "x".repeat(len))))
}

fn command((kind, data): (Kind, Bytes)) -> Command {
    match kind {
        Kind::Text => Command::Text(duologue_websocket::Text::new(data).expect("UTF-8")),
        Kind::Binary => Command::Binary(data),
    }
}

/// A message as it came.
fn came<B: AsBytes>(event: Event<B>) -> Option<(Kind, Bytes)> {
    match event {
        Event::Text(text) => Some((Kind::Text, Bytes::copy_from_slice(text.as_bytes()))),
        Event::Binary(data) => Some((Kind::Binary, Bytes::copy_from_slice(data.as_bytes()))),
        _ => None,
    }
}

/// Either side. The client says all its messages, as fast as there is room, and Close behind the last; the server answers
/// each.
#[derive(Debug, Default)]
struct Talker {
    /// What is to be said; nothing on a server.
    messages: u64,
    parts: bool,
    next: u64,
    opened: bool,
    came: Vec<(Kind, Bytes)>,
    /// Answers without room.
    owed: Vec<(Kind, Bytes)>,
    server: bool,
    /// What an echo that was accepted is.
    answered: u64,
    closed: bool,
}

impl Talker {
    fn talk(&mut self, io: &mut Io<'_, WebSocket>) {
        if !self.opened {
            return;
        }
        while let Some(first) = self.owed.first() {
            if io.send(command(first.clone())).is_err() {
                return;
            }
            self.owed.remove(0);
            self.answered += 1;
        }
        while self.next < self.messages {
            let (kind, data) = message(self.next);
            // In parts where all of them fit: who is refused between two has said half a message.
            let sent = if self.parts && io.session().room() >= 2 * data.len() + 100 {
                self.say_in_parts(io, kind, &data)
            } else {
                io.send(command((kind, data))).is_ok()
            };
            if !sent {
                return;
            }
            self.next += 1;
        }
        if self.messages > 0 && self.next == self.messages {
            self.messages = 0;
            io.close(CloseIntent::Goodbye(BYE));
        }
    }

    fn say_in_parts(&self, io: &mut Io<'_, WebSocket>, kind: Kind, data: &Bytes) -> bool {
        let cut = data.len() / 2;
        let parts = [(true, data.slice(..cut)), (false, data.slice(cut..))];
        parts.into_iter().all(|(first, data)| io.send(Command::Part(Part { kind, first, last: !first, data })).is_ok())
    }

    fn take(&mut self, message: (Kind, Bytes)) {
        assert!(!self.closed, "a message behind Closed");
        if self.server {
            self.owed.push(message.clone());
        }
        self.came.push(message);
    }
}

impl App<WebSocket> for Talker {
    fn on_event(&mut self, io: &mut Io<'_, WebSocket>, event: Told) {
        match event {
            SessionEvent::App(Event::Opened(opened)) => {
                assert!(!self.opened && self.came.is_empty(), "opened twice, or late");
                assert_eq!(opened.target, "/sim");
                self.opened = true;
            }
            SessionEvent::App(event) => {
                assert!(self.opened, "a message before the opening");
                if let Some(message) = came(event) {
                    self.take(message);
                }
            }
            SessionEvent::Closed(_) => self.closed = true,
            SessionEvent::Writable | SessionEvent::PeerFinished => {}
        }
        self.talk(io);
    }

    fn on_messages(&mut self, io: &mut Io<'_, WebSocket>) -> usize {
        let mut some = Vec::new();
        let handled = io.handle(0, 8, |event, _| some.extend(came(event)));
        some.into_iter().for_each(|message| self.take(message));
        self.talk(io);
        handled
    }
}

/// What was reached in some run; a run in which one is never reached fails.
type Reached = BTreeMap<&'static str, u64>;

fn settings(deflate: bool) -> Settings {
    Settings::new().deflate(deflate.then(|| Deflate::new().min_len(0).level(1)))
}

fn config(role: Role, settings: &Settings, in_place: bool) -> Config {
    let delivery = if in_place { Delivery::InPlace } else { Delivery::Owned };
    let buffers = Buffers::new().send_buffer(6_000);
    settings.config(role, Config::new().limits(buffers).delivery(delivery))
}

fn shape() -> Shape {
    let network = |kind: &&str| !kind.contains("clock") && !kind.contains("host") && !kind.contains("forge");
    let allowed = Fault::KINDS.iter().enumerate().filter(|(_, kind)| network(kind)).map(|(n, _)| 1 << n).sum();
    Shape { connections: 1, hosts: 2, horizon: 4_000_000_000, bytes: 20_000, allowed }
}

fn a_conversation(world: &mut World, reached: &mut Reached) {
    let (client, server) = (world.host("client"), world.host("server"));
    let capacity = [64, 700, 1 << 16][world.draw("capacity", 0..=2) as usize];
    world.set_link(Link { capacity, ..Link::default() });
    let settings = settings(world.draw("deflate", 0..=1) == 1);
    let in_place = |world: &mut World, side| world.draw(side, 0..=1) == 1;
    let (ours, theirs) = (in_place(world, "client in place"), in_place(world, "server in place"));
    let handshake = std::sync::Arc::new(ServerHandshake::new(settings));
    let served =
        move || (WebSocket::server(std::sync::Arc::clone(&handshake)), Talker { server: true, ..Talker::default() });
    world.listen(server, 80, Listen::default(), config(Role::Server, &settings, theirs), served);
    let messages = world.draw("messages", 1..=40);
    let parts = world.draw("parts", 0..=1) == 1;
    let asking = WebSocket::client(ClientHandshake::new("h", "/sim").settings(settings)).expect("a request");
    let talker = Talker { messages, parts, ..Talker::default() };
    let id =
        world.connect(client, (server, 80), config(Role::Client, &settings, ours), asking, talker).expect("dialled");
    let faults = if world.seed() % 8 == 0 { FaultSchedule::none() } else { world.draw_faults(shape()) };

    assert_eq!(world.run_until_quiet(Duration::from_secs(100_000)), Outcome::Quiet, "it ends");
    let quiet = faults.faults.is_empty();
    let said: Vec<_> = (0..messages).map(message).collect();
    let accepted = world.machines().nth(1);
    let client = judge(world, id, &said, reached);
    // A connection that was never accepted has no second side.
    let server = accepted.map(|id| judge(world, id, &said, reached));
    if let Some(server) = &server {
        assert!(client.came.len() as u64 <= server.answered, "an echo of nothing");
        if server.code == CloseCode(4_000) {
            *reached.entry("the server was told 4000").or_default() += 1;
            assert_eq!(server.came, said, "the Close comes behind every message");
        }
        if client.code == CloseCode(4_000) {
            *reached.entry("the client's Close was answered").or_default() += 1;
            assert_eq!(server.code, CloseCode(4_000), "it answers what came");
        }
    }
    if quiet {
        *reached.entry("without a fault").or_default() += 1;
        assert_eq!((client.kind, client.code), ("local-close", CloseCode(4_000)));
        let server = server.expect("accepted");
        assert_eq!((server.kind, server.code), ("peer-close", CloseCode(4_000)));
        // Who is slow to take the last messages answers them after the Close was said: those answers cannot be sent.
        assert_eq!(client.came.len() as u64, server.answered, "what was accepted before the Close arrives");
        assert!(world.time_wait(world.host_of(id)) == 0, "the server ends TCP first");
    }
}

/// How a side ended.
struct Ended {
    kind: &'static str,
    code: CloseCode,
    came: Vec<(Kind, Bytes)>,
    answered: u64,
}

fn judge(world: &mut World, id: duologue_sim::MachineId, said: &[(Kind, Bytes)], reached: &mut Reached) -> Ended {
    assert_eq!(world.report(id).times_closed, 1, "exactly one end");
    let endpoint = world.endpoint::<WebSocket, Talker>(id).expect("a WebSocket");
    let talker: &Talker = endpoint.app();
    let cause = &endpoint.closed().expect("closed").cause;
    let kind = cause.kind();
    *reached.entry(kind).or_default() += 1;
    assert!(!matches!(cause, Cause::Violation(_) | Cause::Misuse(_)), "nobody broke the protocol: {cause:?}");
    // Echoes come in order, from the first on, whole.
    assert!(said.starts_with(&talker.came), "{:?} of {said:?}", talker.came);
    let code = endpoint.session().protocol().close_code();
    let told = endpoint.session().protocol().close_received().is_some();
    assert_eq!(told, code != CloseCode::ABNORMAL, "1006 means that no Close came");
    *reached.entry(if told { "with a Close" } else { "with 1006" }).or_default() += 1;
    *reached.entry(if talker.opened { "opened" } else { "never opened" }).or_default() += 1;
    Ended { kind, code, came: talker.came.clone(), answered: talker.answered }
}

#[test]
fn both_roles_under_faults_of_the_network() {
    let mut reached = Reached::new();
    let checked = Check::new(0..SEEDS).run(|world: &mut World| a_conversation(world, &mut reached));
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    let needed = [
        "opened",
        "never opened",
        "with a Close",
        "with 1006",
        "without a fault",
        "the server was told 4000",
        "the client's Close was answered",
        "local-close",
        "peer-close",
        "peer-reset",
        "timeout",
    ];
    for what in needed {
        assert!(reached.contains_key(what), "never reached: {what}; reached: {reached:?}");
    }
}

#[test]
fn a_seed_is_one_run_bit_for_bit() {
    for seed in [1, 8, 77] {
        let hash = || {
            let mut world = World::new(seed);
            a_conversation(&mut world, &mut Reached::new());
            world.hash()
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
