//! Hundreds of streams in the simulated network, under faults, and an oracle that knows what each sent, took and was
//! told.
// The helpers of tests unwrap as the tests do; what a run reached is worth seeing.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use duologue_core::streams::{
    Multiplex, Received, StreamEnd, StreamEvent, StreamId, StreamRecvState, StreamSendState, StreamsConfig,
};
use duologue_core::{CloseIntent, Code, Config, Event, Instant, Keepalive, Rng, Timeouts};
use duologue_sim::{App, Fault, FaultSchedule, Io, Link, Listen, Outcome, Shape, World};
use duologue_yamux::{Role, Yamux, YamuxConfig, YamuxEvent, YamuxViolation};

const SEEDS: u64 = 304;

/// What one side did with a stream, and was told of it.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    sent: u64,
    taken: u64,
    finished: bool,
    /// The peer's finish was read.
    heard: bool,
    /// Cut by this side: reset, deadline, or no more reading.
    cut: bool,
    stopped: bool,
    ends: u32,
    end: Option<StreamEnd>,
    /// What this side may still send, and may still get, when nothing was on its way.
    quiet: Option<(i64, i64)>,
}

/// By name on the wire: the client's half and the server's.
type Oracle = Rc<RefCell<BTreeMap<u64, [Half; 2]>>>;

/// What happens when, since the connection stands.
const BUSY: Duration = Duration::from_secs(2);
const ISOLATION: Duration = Duration::from_secs(8);
const QUIET: Duration = Duration::from_secs(20);
const FINISH: Duration = Duration::from_secs(21);
const CLOSE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Busy,
    /// Nobody does anything new; some streams are still not read.
    Isolation,
    /// All are read.
    Reading,
    Finishing,
    Closing,
}

struct Party {
    side: usize,
    rng: Rng,
    oracle: Oracle,
    streams: BTreeMap<StreamId, u64>,
    began: Option<Instant>,
    phase: Phase,
    to_open: u32,
    /// No fault is planned: everything that was not cut must arrive.
    calm: bool,
    /// A stream that nobody reads is sent on until it is full.
    heavy: bool,
    over: bool,
}

fn byte_at(key: u64, from: usize, at: u64) -> u8 {
    (key.wrapping_mul(31) ^ at.wrapping_mul(7) ^ (at >> 8) ^ from as u64) as u8
}

/// Nobody reads it before all are read.
fn is_unread(key: u64) -> bool {
    key % 11 < 2
}

/// One unread stream of each side, sent on until its window is full, in some runs.
fn is_heavy(key: u64) -> bool {
    key == 1 || key == 12
}

impl Party {
    fn half(&self, key: u64, act: impl FnOnce(&mut Half)) {
        act(&mut self.oracle.borrow_mut().entry(key).or_default()[self.side]);
    }

    fn open(&mut self, io: &mut Io<'_, Yamux>) {
        let now = io.now();
        let mut protocol = io.protocol_mut();
        let Ok(id) = protocol.open(now) else { return };
        let key = protocol.streams_mut().get_mut(id).unwrap().key();
        drop(protocol);
        self.to_open -= 1;
        self.half(key, |_| {});
        self.streams.insert(id, key);
        if self.rng.below(20) == 0 {
            let at = now.after(Duration::from_millis(1 + self.rng.below(3000)));
            self.half(key, |half| half.cut = true);
            io.protocol_mut().streams_mut().get_mut(id).unwrap().set_deadline(Some(at));
        }
    }

    fn send(&mut self, io: &mut Io<'_, Yamux>, id: StreamId, key: u64) {
        let n = match self.rng.below(40) {
            _ if self.heavy && is_heavy(key) => 33_000,
            0 => 12_000,
            n => n * n / 4,
        };
        let from = self.oracle.borrow().get(&key).map_or(0, |halves| halves[self.side].sent);
        let bytes: Vec<u8> = (from..from + n).map(|at| byte_at(key, self.side, at)).collect();
        let mut protocol = io.protocol_mut();
        let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return };
        let accepted = stream.write(&bytes).unwrap_or(0) as u64;
        drop(protocol);
        self.half(key, |half| half.sent += accepted);
    }

    /// Takes what came, in odd pieces, and looks at every byte.
    fn read(&mut self, io: &mut Io<'_, Yamux>, id: StreamId, key: u64) {
        loop {
            let most = 1 + self.rng.below(20_000) as usize;
            let received = match io.protocol_mut().streams_mut().get_mut(id) {
                Some(mut stream) => {
                    let received = stream.recv(most);
                    if let Received::Data { bytes, .. } = &received {
                        stream.release(bytes.len()).unwrap();
                    }
                    received
                }
                None => return,
            };
            let mut oracle = self.oracle.borrow_mut();
            let halves = oracle.get_mut(&key).unwrap();
            match received {
                Received::Data { bytes, .. } => {
                    let at = halves[self.side].taken;
                    let faithful = bytes.iter().zip(at..).all(|(byte, at)| *byte == byte_at(key, 1 - self.side, at));
                    assert!(faithful, "stream {key}: other bytes after {at}");
                    halves[self.side].taken += bytes.len() as u64;
                    assert!(halves[self.side].taken <= halves[1 - self.side].sent, "more than was sent");
                }
                Received::Finished => {
                    let peer = halves[1 - self.side];
                    assert!(peer.finished, "stream {key}: a finish that nobody said");
                    assert_eq!(halves[self.side].taken, peer.sent, "stream {key}: finished and not whole");
                    halves[self.side].heard = true;
                    return;
                }
                Received::Nothing | Received::Ended(_) => return,
            }
        }
    }

    fn read_all(&mut self, io: &mut Io<'_, Yamux>) {
        for (id, key) in self.streams.clone() {
            self.read(io, id, key);
        }
    }

    fn busy(&mut self, io: &mut Io<'_, Yamux>) {
        for _ in 0..self.rng.below(12).min(u64::from(self.to_open)) {
            self.open(io);
        }
        let known: Vec<_> = self.streams.iter().map(|(id, key)| (*id, *key)).collect();
        let heavy = self.heavy;
        for (id, key) in known.iter().filter(|(_, key)| heavy && is_heavy(*key)) {
            self.send(io, *id, *key);
        }
        for _ in 0..known.len().min(5) {
            let (id, key) = known[self.rng.below(known.len() as u64) as usize];
            let choice = self.rng.below(100);
            if choice < 60 {
                self.send(io, id, key);
                continue;
            }
            let mut protocol = io.protocol_mut();
            let Some(mut stream) = protocol.streams_mut().get_mut(id) else { continue };
            match choice {
                60..=66 => {
                    stream.finish();
                    drop(protocol);
                    self.half(key, |half| half.finished = true);
                }
                67 => {
                    let code = Code(self.rng.below(9) as u32);
                    stream.reset(code);
                    drop(protocol);
                    self.half(key, |half| half.cut = true);
                }
                68 => {
                    stream.stop_reading(Code(1));
                    drop(protocol);
                    self.half(key, |half| half.stopped = true);
                }
                _ => drop(protocol),
            }
        }
    }

    /// Streams that are read got everything, though others were not read and are full.
    fn check_isolation(&mut self, io: &mut Io<'_, Yamux>) {
        for (id, key) in &self.streams {
            let halves = self.oracle.borrow()[key];
            let cut = halves.iter().any(|half| half.cut) || halves[self.side].stopped;
            if !is_unread(*key) && !cut && io.protocol_mut().streams_mut().get_mut(*id).is_some() {
                assert_eq!(halves[self.side].taken, halves[1 - self.side].sent, "stream {key} waits for others");
            }
        }
    }

    /// Nothing moves: what one side may send is what the other may get.
    fn note_credit(&mut self, io: &mut Io<'_, Yamux>) {
        for (id, key) in &self.streams {
            if let Some(stream) = io.protocol_mut().streams_mut().get_mut(*id).filter(|stream| stream.end().is_none()) {
                let (send, recv) = stream.credit();
                assert_eq!(recv.granted(), recv.used() + recv.available(), "stream {key}");
                assert_eq!(recv.used(), recv.released() + recv.held(), "stream {key}");
                assert_eq!(recv.held(), stream.buffered().0 as i64, "stream {key}: all that was taken was released");
                let open = stream.states() == (StreamRecvState::Open, StreamSendState::Open);
                let credit = (send.available(), recv.available());
                self.half(*key, |half| half.quiet = open.then_some(credit));
            }
        }
    }

    fn finish_all(&mut self, io: &mut Io<'_, Yamux>) {
        for (id, key) in &self.streams {
            if let Some(mut stream) = io.protocol_mut().streams_mut().get_mut(*id) {
                stream.finish();
                self.half(*key, |half| half.finished = true);
            }
        }
    }
}

impl App<Yamux> for Party {
    fn on_start(&mut self, io: &mut Io<'_, Yamux>) {
        self.began = Some(io.now());
        io.wake_at(io.now());
    }

    fn on_event(&mut self, io: &mut Io<'_, Yamux>, event: Event<YamuxEvent, YamuxViolation>) {
        assert!(!self.over, "nothing comes after Closed");
        let event = match event {
            Event::App(event) => Yamux::as_stream_event(&event),
            Event::Closed(closed) => {
                self.over = true;
                let blamed = matches!(closed.cause, duologue_core::Cause::Violation(_));
                assert!(!blamed, "two honest sides: {}", closed.cause);
                self.read_all(io);
                return;
            }
            _ => None,
        };
        match event {
            Some(StreamEvent::Opened(id)) => {
                let key = io.protocol_mut().streams_mut().get_mut(id).unwrap().key();
                assert!(self.streams.insert(id, key).is_none());
                self.half(key, |_| {});
            }
            Some(StreamEvent::Readable(id)) => {
                let key = self.streams[&id];
                if self.phase > Phase::Isolation || !is_unread(key) {
                    self.read(io, id, key);
                }
            }
            Some(StreamEvent::Closed(id, closed)) => {
                let key = self.streams[&id];
                self.half(key, |half| {
                    half.ends += 1;
                    half.end = Some(closed.end);
                    assert_eq!(half.ends, 1, "stream {key}: one end");
                });
            }
            _ => {}
        }
    }

    fn on_alarm(&mut self, io: &mut Io<'_, Yamux>) {
        let began = self.began.unwrap();
        let since = io.now().since(began);
        let next = match self.phase {
            Phase::Busy if since < BUSY => {
                self.busy(io);
                return io.wake_at(io.now().after(Duration::from_millis(1 + self.rng.below(60))));
            }
            Phase::Busy => (Phase::Isolation, ISOLATION),
            Phase::Isolation => {
                if self.calm {
                    self.check_isolation(io);
                }
                self.phase = Phase::Reading;
                self.read_all(io);
                (Phase::Reading, QUIET)
            }
            Phase::Reading => {
                self.note_credit(io);
                (Phase::Finishing, FINISH)
            }
            Phase::Finishing => {
                self.finish_all(io);
                (Phase::Closing, CLOSE)
            }
            Phase::Closing => {
                if self.calm {
                    assert!(io.session().protocol().streams().is_empty(), "every end was taken, and nothing is left");
                }
                return io.close(CloseIntent::Goodbye(Code(0)));
            }
        };
        self.phase = next.0;
        io.wake_at(began.after(next.1));
    }
}

fn config() -> Config {
    let keepalive = Some(Keepalive { quiet: Duration::from_secs(4), reply: Duration::from_secs(6) });
    let timeouts = Timeouts::new().keepalive(keepalive).write_stall(Some(Duration::from_secs(10)));
    Config::new().timeouts(timeouts.connect(Some(Duration::from_secs(5))))
}

/// Any fault of the network; not of clocks and hosts, after which nothing can be promised.
fn network_faults() -> Shape {
    let network = |kind: &&str| !kind.contains("clock") && !kind.contains("host");
    let allowed = Fault::KINDS.iter().enumerate().filter(|(_, kind)| network(kind)).map(|(n, _)| 1 << n).sum();
    Shape { connections: 1, hosts: 2, horizon: 4_000_000_000, bytes: 200_000, allowed }
}

/// What a run reached.
#[derive(Default)]
struct Reached {
    streams: usize,
    bytes: u64,
    ends: BTreeMap<String, u32>,
    compared: u32,
}

fn run(seed: u64, reached: &mut Reached) -> u64 {
    let mut rng = Rng::new(seed);
    let calm = seed % 3 == 0;
    let mut world = World::new(seed);
    let (client, server) = (world.host("client"), world.host("server"));
    let oracle = Oracle::default();
    let most = if seed % 40 == 0 { 300 } else { 10 + rng.below(25) as u32 };
    let party = move |side: usize, oracle: &Oracle| Party {
        side,
        rng: Rng::new(seed * 2 + side as u64),
        oracle: oracle.clone(),
        streams: BTreeMap::new(),
        began: None,
        phase: Phase::Busy,
        to_open: most,
        calm,
        heavy: seed % 9 == 0,
        over: false,
    };
    let yamux = |role| {
        let streams = StreamsConfig::new().max_local(400).max_peer(400).send_buffer(32 << 10);
        Yamux::new(role, YamuxConfig::new().streams(streams)).unwrap()
    };
    let of_server = oracle.clone();
    world.listen(server, 80, Listen::default(), config(), move || (yamux(Role::Server), party(1, &of_server)));
    // Fast enough that what was sent has arrived when the oracle looks.
    let narrowest = if calm { 30_000 } else { 200 };
    let link = Link {
        capacity: narrowest + rng.below(60_000) as usize,
        ..Link::with_latency(Duration::from_millis(1 + rng.below(30)))
    };
    world.set_link(link);
    if !calm {
        world.faults(&FaultSchedule::swarm(seed, network_faults()));
    }
    world.connect(client, (server, 80), config(), yamux(Role::Client), party(0, &oracle)).unwrap();
    let outcome = world.run_until_quiet(Duration::from_secs(600));
    assert_eq!(outcome, Outcome::Quiet, "seed {seed}");
    for (key, halves) in oracle.borrow().iter() {
        reached.streams += 1;
        for (half, peer) in [(halves[0], halves[1]), (halves[1], halves[0])] {
            reached.bytes += half.taken;
            if let Some(end) = half.end {
                let name = format!("{end:?}");
                *reached.ends.entry(name.split('(').next().unwrap_or_default().to_owned()).or_default() += 1;
            }
            if half.end == Some(StreamEnd::Finished) && !half.stopped {
                assert!(
                    peer.finished && half.taken == peer.sent,
                    "seed {seed}, stream {key}: finished is whole, {halves:?}"
                );
            }
            if calm && !half.cut && !peer.cut && !half.stopped {
                assert_eq!(half.end, Some(StreamEnd::Finished), "seed {seed}, stream {key}: {halves:?}");
                assert_eq!(half.taken, peer.sent, "seed {seed}, stream {key}");
            }
            if let (true, Some((sends, _)), Some((_, gets))) = (calm, half.quiet, peer.quiet) {
                assert_eq!(sends, gets, "seed {seed}, stream {key}: credit was lost or made");
                reached.compared += 1;
            }
        }
        let opener = if key % 2 == 1 { 0 } else { 1 };
        assert_eq!(halves[opener].ends, 1, "seed {seed}, stream {key}: its opener is told one end");
        let other = halves[1 - opener];
        let touched = other.sent + other.taken > 0 || other.finished || other.heard;
        assert!(other.ends == 1 || !touched, "seed {seed}, stream {key}: so is the other side if it knew of it");
    }
    world.hash()
}

#[test]
fn each_stream_keeps_its_promises_under_any_faults_of_the_network() {
    let mut reached = Reached::default();
    for seed in 0..SEEDS {
        run(seed, &mut reached);
    }
    let Reached { streams, bytes, ends, compared } = reached;
    println!("{streams} streams, {bytes} bytes, {compared} credits compared, ends {ends:?}");
    assert!(streams > 10_000 && compared > 2_000, "not enough of it was tried");
    for end in ["Finished", "Lost", "LocalReset", "PeerReset", "Deadline"] {
        assert!(ends.get(end).copied().unwrap_or(0) > 100, "{end} hardly came");
    }
}

#[test]
fn a_seed_repeats_a_run() {
    for seed in 0..4 {
        assert_eq!(run(seed, &mut Reached::default()), run(seed, &mut Reached::default()), "seed {seed}");
    }
}
