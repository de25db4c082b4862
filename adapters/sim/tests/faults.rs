//! Every kind of fault, one by one: what it does, when, and to whom not.

use std::time::Duration;

use bytes::Bytes;
use duologue_sim::core::framed::{Delimited, Framed};
use duologue_sim::core::{Config, Event, FaultKind, Instant, OnPeerFinish, Protocol, Timeouts};
use duologue_sim::{App, Fault, Happening, HostId, Io, Link, Listen, MachineId, Outcome, Way, World};

type Lines = Framed<Delimited>;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
const LATENCY: Duration = Duration::from_millis(10);

/// Sends lines when it can, and finishes if told to; notes what it gets, and when.
#[derive(Default)]
struct Side {
    lines: Vec<&'static str>,
    finishes: bool,
    got: Vec<(u64, Bytes)>,
    peer_finished: bool,
}

impl App<Lines> for Side {
    fn on_start(&mut self, io: &mut Io<'_, Lines>) {
        self.lines.iter().for_each(|line| io.send(Bytes::from_static(line.as_bytes())).unwrap_or_default());
        if self.finishes {
            io.finish();
        }
    }

    fn on_event(&mut self, io: &mut Io<'_, Lines>, event: Event<Bytes, <Lines as Protocol>::Violation>) {
        match event {
            Event::App(line) => self.got.push((since_start(io.now()), line)),
            Event::PeerFinished => self.peer_finished = true,
            _ => {}
        }
    }
}

/// Every clock shows a day at the start.
fn since_start(now: Instant) -> u64 {
    now.as_nanos() - 86_400 * SECOND
}

fn side(lines: &[&'static str], finishes: bool) -> Side {
    Side { lines: lines.to_vec(), finishes, ..Side::default() }
}

fn frames() -> Lines {
    Framed::new(Delimited::lines(100))
}

fn config() -> Config {
    Config::new().on_peer_finish(OnPeerFinish::KeepSending)
}

/// A server that says two lines and a link of 10 ms.
fn world() -> (World, HostId, HostId) {
    let mut world = World::new(5).record(10_000);
    world.set_link(Link::with_latency(LATENCY));
    let (a, b) = (world.host("a"), world.host("b"));
    world.listen(b, 80, Listen::default(), config(), || (frames(), side(&["down 1", "down 2"], true)));
    (world, a, b)
}

fn dial(world: &mut World, a: HostId, b: HostId) -> MachineId {
    world.connect(a, (b, 80), config(), frames(), side(&["up 1", "up 2"], true)).expect("it is there")
}

fn server(world: &World) -> MachineId {
    world.machines().last().expect("it is there")
}

fn quiet(world: &mut World) {
    assert_eq!(world.run_until_quiet(Duration::from_secs(500)), Outcome::Quiet);
}

fn got(world: &mut World, id: MachineId) -> Vec<(u64, String)> {
    let app = world.endpoint::<Lines, Side>(id).expect("it is there").app();
    app.got.iter().map(|(at, line)| (at / MILLI, String::from_utf8_lossy(line).into_owned())).collect()
}

fn cause(world: &World, id: MachineId) -> &'static str {
    world.report(id).ended.expect("it is there").cause
}

/// All is well: what the other tests differ from.
#[test]
fn without_a_fault_everything_arrives_after_one_latency() {
    let (mut world, a, b) = world();
    let client = dial(&mut world, a, b);
    quiet(&mut world);
    assert_eq!(got(&mut world, client), [(20, "down 1".into()), (20, "down 2".into())]);
    let server = server(&world);
    assert_eq!(got(&mut world, server), [(30, "up 1".into()), (30, "up 2".into())]);
}

#[test]
fn bandwidth_makes_bytes_take_their_time() {
    let (mut world, a, b) = world();
    world.inject(Fault::Bandwidth { connection: 0, bytes_per_second: 100 });
    let client = dial(&mut world, a, b);
    quiet(&mut world);
    // 14 bytes at 100 per second, in one write.
    assert_eq!(got(&mut world, client), [(160, "down 1".into()), (160, "down 2".into())]);
    let (mut world, a, b) = self::world();
    world.set_link(Link { bandwidth: 1_000, ..Link::with_latency(LATENCY) });
    let client = dial(&mut world, a, b);
    quiet(&mut world);
    assert_eq!(got(&mut world, client)[0].0, 34, "also as a property of the link");
}

#[test]
fn latency_and_jitter_change_and_order_within_a_connection_stays() {
    let (mut world, a, b) = world();
    world.inject(Fault::Latency { connection: 0, nanos: 300 * MILLI, jitter_nanos: 0 });
    let client = dial(&mut world, a, b);
    quiet(&mut world);
    assert_eq!(got(&mut world, client)[0].0, 600, "of the request and of the answer");
    for seed in 0..50 {
        let mut world = World::new(seed);
        let (a, b) = (world.host("a"), world.host("b"));
        world.set_link(Link { jitter: Duration::from_millis(500), capacity: 4, ..Link::with_latency(LATENCY) });
        world.listen(b, 80, Listen::default(), config(), || (frames(), side(&[], true)));
        dial(&mut world, a, b);
        quiet(&mut world);
        let server = server(&world);
        let lines: Vec<_> = got(&mut world, server).into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, ["up 1", "up 2"], "seed {seed}");
    }
}

#[test]
fn connections_overtake_one_another_by_jitter() {
    let (mut first, mut second) = (0, 0);
    for seed in 0..40 {
        let mut world = World::new(seed);
        let (a, b) = (world.host("a"), world.host("b"));
        world.set_link(Link { jitter: Duration::from_millis(50), ..Link::with_latency(LATENCY) });
        world.listen(b, 80, Listen::default(), config(), || (frames(), side(&["x"], true)));
        let ids = [dial(&mut world, a, b), dial(&mut world, a, b)];
        quiet(&mut world);
        let at = ids.map(|id| world.endpoint::<Lines, Side>(id).unwrap().app().got[0].0);
        first += u32::from(at[0] < at[1]);
        second += u32::from(at[0] > at[1]);
    }
    assert!(first > 5 && second > 5, "dialled in order, answered in any: {first} and {second}");
}

#[test]
fn capacity_bounds_what_is_on_its_way() {
    let (mut world, a, b) = world();
    world.inject(Fault::Capacity { connection: 0, bytes: 3 });
    let client = dial(&mut world, a, b);
    quiet(&mut world);
    // 14 bytes in pieces of 3, each a latency there and one back for the news of room.
    assert_eq!(got(&mut world, client).last().unwrap(), &(100, "down 2".into()));
    let wrote = world.trace().iter().filter_map(|e| if let Happening::Wrote(n) = e.what { Some(n) } else { None });
    assert!(wrote.max() == Some(3));
}

#[test]
fn reads_and_writes_are_cut_as_small_as_wanted() {
    for most in [1, 2, 5] {
        for fault in [Fault::PartialReads { connection: 0, most }, Fault::PartialWrites { connection: 0, most }] {
            let (mut world, a, b) = world();
            world.inject(fault);
            let client = dial(&mut world, a, b);
            quiet(&mut world);
            assert_eq!(got(&mut world, client).len(), 2);
            let pieces = world.trace().iter().filter_map(|entry| match (entry.what, fault) {
                (Happening::Read(n), Fault::PartialReads { .. }) => Some(n),
                (Happening::Wrote(n), Fault::PartialWrites { .. }) => Some(n),
                _ => None,
            });
            assert_eq!(pieces.max(), Some(most), "{fault:?}");
        }
    }
}

#[test]
fn a_stall_holds_one_direction_back_and_loses_nothing() {
    let (mut world, a, b) = world();
    world.inject(Fault::Stall { connection: 0, way: Way::ToClient, nanos: 3 * SECOND });
    let client = dial(&mut world, a, b);
    quiet(&mut world);
    assert_eq!(got(&mut world, client), [(3_010, "down 1".into()), (3_010, "down 2".into())]);
    let server = server(&world);
    assert_eq!(got(&mut world, server)[0].0, 30, "the other direction is as it was");
}

#[test]
fn a_black_hole_one_way_leaves_the_other_way_alone() {
    // Whose FIN got through has told its peer all; only who hears nothing has to find out.
    for (way, client_gets, server_gets, causes) in [
        (Way::ToServer, 2, 0, ["local-finished", "timeout"]),
        (Way::ToClient, 0, 2, ["timeout", "local-finished"]),
        (Way::Both, 0, 0, ["timeout", "timeout"]),
    ] {
        let (mut world, a, b) = world();
        let client = dial(&mut world, a, b);
        // Connected, and nothing sent yet has arrived.
        let _ = world.run_until(Duration::from_nanos(20 * MILLI - 1));
        world.inject(Fault::BlackHole { connection: 0, way, nanos: None });
        quiet(&mut world);
        let server = server(&world);
        // What the server wrote before is swallowed as well.
        assert_eq!(
            (got(&mut world, client).len(), got(&mut world, server).len()),
            (client_gets, server_gets),
            "{way:?}"
        );
        assert_eq!([client, server].map(|id| cause(&world, id)), causes, "{way:?}");
    }
}

#[test]
fn fin_and_reset_come_at_any_byte() {
    const STREAM: &str = "down 1\ndown 2\n";
    for byte in 0..=STREAM.len() {
        let whole = STREAM[..byte].matches('\n').count();
        let (mut world, a, b) = world();
        world.inject(Fault::FinAt { connection: 0, way: Way::ToClient, byte: byte as u64 });
        let client = dial(&mut world, a, b);
        quiet(&mut world);
        assert_eq!(got(&mut world, client).len(), whole, "FIN at {byte}");
        assert!(world.is_forged(0, 1));
        let cut = byte % 7 != 0;
        assert_eq!(cause(&world, client) == "truncated", cut, "FIN at {byte}: {}", cause(&world, client));
        assert_eq!(world.endpoint::<Lines, Side>(client).unwrap().app().peer_finished, !cut);

        let (mut world, a, b) = self::world();
        world.reset_keeps_unread(true);
        world.inject(Fault::ResetAt { connection: 0, way: Way::ToClient, byte: byte as u64 });
        let client = dial(&mut world, a, b);
        quiet(&mut world);
        assert_eq!(got(&mut world, client).len(), whole, "RST at {byte}");
        assert_eq!(cause(&world, client), "peer-reset", "RST at {byte}");
        assert_eq!(cause(&world, server(&world)), "peer-reset", "RST at {byte}: both sides");
    }
}

#[test]
fn a_reset_hits_both_sides_after_what_is_in_flight() {
    let (mut world, a, b) = world();
    world.reset_keeps_unread(true);
    world.listen(b, 81, Listen::default(), config(), || (frames(), side(&["down 1", "down 2"], false)));
    let client = world.connect(a, (b, 81), config(), frames(), side(&["up 1"], false)).unwrap();
    let _ = world.run_until(Duration::from_millis(25));
    world.inject(Fault::Reset { connection: 0 });
    quiet(&mut world);
    let server = server(&world);
    assert_eq!((cause(&world, client), cause(&world, server)), ("peer-reset", "peer-reset"));
    assert_eq!((got(&mut world, client).len(), got(&mut world, server).len()), (2, 1));
}

#[test]
fn a_host_refuses_for_a_while() {
    let (mut world, a, b) = world();
    world.inject(Fault::RefuseConnects { host: 1, nanos: SECOND });
    let early = dial(&mut world, a, b);
    quiet(&mut world);
    let fault = world.report(early).ended.unwrap().fault.unwrap();
    assert_eq!(fault.kind, FaultKind::Refused);
    let _ = world.run_until(Duration::from_secs(1));
    let late = dial(&mut world, a, b);
    quiet(&mut world);
    assert_eq!(got(&mut world, late).len(), 2);
}

#[test]
fn a_slow_connect_is_waited_for_or_given_up() {
    for (slow, connects) in [(2, true), (20, false)] {
        let (mut world, a, b) = world();
        world.inject(Fault::SlowConnects { host: 1, nanos: slow * SECOND });
        let client = dial(&mut world, a, b);
        quiet(&mut world);
        assert_eq!(got(&mut world, client).len(), if connects { 2 } else { 0 });
        let ended = world.report(client).ended.unwrap();
        assert_eq!(ended.text == "timed out: connect", !connects, "{}", ended.text);
        assert_eq!(world.saw(Happening::Accepted), connects);
    }
}

#[test]
fn an_accept_stall_keeps_connections_waiting() {
    let (mut world, a, b) = world();
    world.inject(Fault::AcceptStall { host: 1, nanos: 2 * SECOND });
    let client = dial(&mut world, a, b);
    quiet(&mut world);
    assert_eq!(got(&mut world, client), [(2_010, "down 1".into()), (2_010, "down 2".into())]);
}

#[test]
fn a_fault_for_a_connection_that_is_not_there_yet_waits_for_it() {
    let (mut world, a, b) = world();
    world.inject(Fault::Stall { connection: 1, way: Way::Both, nanos: SECOND });
    let ids = [dial(&mut world, a, b), dial(&mut world, a, b)];
    quiet(&mut world);
    assert_eq!(ids.map(|id| got(&mut world, id)[0].0), [20, 1_010]);
}

#[test]
fn a_host_that_dies_tells_nobody() {
    let (mut world, a, b) = world();
    let timeouts = Timeouts::new().idle(Some(Duration::from_secs(7)));
    let client = world.connect(a, (b, 80), config().timeouts(timeouts), frames(), side(&["up 1"], false)).unwrap();
    let _ = world.run_until(Duration::from_millis(35));
    world.inject(Fault::HostDies { host: 1 });
    quiet(&mut world);
    assert_eq!(world.report(client).ended.unwrap().text, "timed out: idle");
    assert!(!world.is_alive(b) && !world.saw(Happening::ResetSent));
}
