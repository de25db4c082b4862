//! TCP_USER_TIMEOUT and keepalive of the simulated kernels, as a session with no time-out of its own meets them.

use std::time::Duration;

use bytes::Bytes;
use duologue_sim::core::framed::{Delimited, Framed};
use duologue_sim::core::{Cause, Config, Event, FaultKind, Protocol, Timeouts};
use duologue_sim::{
    App, Fault, Happening, HostId, Io, Link, Listen, MachineId, Outcome, SocketOptions, TcpKeepalive, Way, World,
};

type Lines = Framed<Delimited>;

/// Does what the test tells it.
#[derive(Default)]
struct Idle {
    got: u32,
}

impl App<Lines> for Idle {
    fn on_event(&mut self, _: &mut Io<'_, Lines>, event: Event<Bytes, <Lines as Protocol>::Violation>) {
        self.got += u32::from(matches!(event, Event::App(_)));
    }
}

const LATENCY: Duration = Duration::from_millis(5);
const HOLE: Fault = Fault::BlackHole { connection: 0, way: Way::Both, nanos: None };

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn user_timeout() -> SocketOptions {
    SocketOptions { user_timeout: Some(seconds(9)), keepalive: None }
}

fn keepalive() -> SocketOptions {
    let keepalive = TcpKeepalive { idle: seconds(30), interval: seconds(5), probes: 4 };
    SocketOptions { user_timeout: None, keepalive: Some(keepalive) }
}

/// Connected, at 1 s, with one side asking its kernel for something.
fn world(asks: usize, options: SocketOptions) -> (World, [MachineId; 2]) {
    let mut world = World::new(2).record(10_000);
    let hosts: [HostId; 2] = [world.host("a"), world.host("b")];
    world.set_link(Link::with_latency(LATENCY));
    world.set_socket_options(hosts[asks], options);
    let lines = || Framed::new(Delimited::lines(100));
    let config = Config::new().timeouts(Timeouts::none());
    world.listen(hosts[1], 80, Listen::default(), config.clone(), move || (lines(), Idle::default()));
    let client = world.connect(hosts[0], (hosts[1], 80), config, lines(), Idle::default()).expect("it is there");
    let _ = world.run_until(seconds(1));
    let server = world.machines().nth(1).expect("it is there");
    (world, [client, server])
}

fn send(world: &mut World, id: MachineId) {
    world
        .with(id, |_: &mut Idle, io: &mut Io<'_, Lines>| io.send(Bytes::from_static(b"hello")).expect("it is there"))
        .expect("it is there");
}

fn ended(world: &mut World, id: MachineId) -> Option<(Duration, FaultKind)> {
    let at = Duration::from_nanos(world.report(id).ended?.at);
    match world.closed::<Lines, Idle>(id)?.cause {
        Cause::Transport(fault) => Some((at, fault.kind)),
        Cause::PeerReset => Some((at, FaultKind::Reset)),
        _ => None,
    }
}

#[test]
fn without_options_a_black_hole_is_for_ever() {
    let (mut world, [client, server]) = world(0, SocketOptions::default());
    world.inject(HOLE);
    send(&mut world, client);
    assert_eq!(world.run_for(seconds(1_000_000)), Outcome::TimeUp);
    assert_eq!((ended(&mut world, client), ended(&mut world, server)), (None, None));
}

#[test]
fn the_user_timeout_finds_bytes_in_flight_in_either_role() {
    for role in [0, 1] {
        let (mut world, ids) = world(role, user_timeout());
        world.inject(HOLE);
        let _ = world.run_until(seconds(3));
        send(&mut world, ids[role]);
        let _ = world.run_for(seconds(1_000));
        assert_eq!(ended(&mut world, ids[role]), Some((seconds(12), FaultKind::TimedOut)), "9 s after the write");
        assert_eq!(ended(&mut world, ids[1 - role]), None, "the other side asked for nothing");
        assert!(world.saw(Happening::GaveUp));
    }
}

#[test]
fn the_user_timeout_alone_sees_nothing_when_nothing_is_in_flight() {
    let (mut world, ids) = world(0, user_timeout());
    world.inject(HOLE);
    let _ = world.run_for(seconds(100_000));
    assert_eq!(ended(&mut world, ids[0]), None);
}

#[test]
fn keepalive_finds_a_dead_peer_with_nothing_in_flight_in_either_role() {
    for role in [0, 1] {
        let (mut world, ids) = world(role, keepalive());
        let _ = world.run_until(seconds(3));
        send(&mut world, ids[1 - role]);
        let _ = world.run_until(seconds(4));
        world.inject(HOLE);
        let _ = world.run_for(seconds(1_000));
        let (at, kind) = ended(&mut world, ids[role]).unwrap();
        assert_eq!(kind, FaultKind::TimedOut);
        assert_eq!(at, seconds(3 + 30 + 4 * 5) + LATENCY, "role {role}: after the last byte heard");
        let probes = world.trace().iter().filter(|entry| entry.what == Happening::Probed).count();
        assert_eq!(probes, 4);
    }
}

#[test]
fn a_user_timeout_overrules_the_number_of_probes() {
    let options = SocketOptions { user_timeout: Some(seconds(32)), ..keepalive() };
    let (mut world, ids) = world(0, options);
    world.inject(HOLE);
    let _ = world.run_for(seconds(1_000));
    let (at, kind) = ended(&mut world, ids[0]).unwrap();
    assert_eq!((at.as_secs(), kind), (35, FaultKind::TimedOut), "at the first probe after 32 s");
}

#[test]
fn a_live_peer_answers_for_ever_and_nobody_is_harmed() {
    let (mut world, ids) = world(0, SocketOptions { user_timeout: Some(seconds(9)), ..keepalive() });
    for _ in 0..20 {
        let _ = world.run_for(seconds(60));
        send(&mut world, ids[0]);
        send(&mut world, ids[1]);
    }
    let _ = world.run_for(seconds(100));
    assert_eq!((ended(&mut world, ids[0]), ended(&mut world, ids[1])), (None, None));
    assert!(world.saw(Happening::Probed));
    assert_eq!(world.endpoint::<Lines, Idle>(ids[1]).unwrap().app().got, 20);
}

#[test]
fn acknowledgements_lost_on_the_way_back_count_as_none() {
    let (mut world, ids) = world(0, user_timeout());
    world.inject(Fault::BlackHole { connection: 0, way: Way::ToClient, nanos: None });
    send(&mut world, ids[0]);
    let _ = world.run_for(seconds(100));
    assert_eq!(ended(&mut world, ids[0]), Some((seconds(10), FaultKind::TimedOut)));
    assert_eq!(world.endpoint::<Lines, Idle>(ids[1]).unwrap().app().got, 1, "the bytes did arrive");
}

#[test]
fn a_black_hole_shorter_than_the_timers_is_survived() {
    for way in [Way::ToServer, Way::ToClient, Way::Both] {
        let (mut world, ids) = world(0, SocketOptions { user_timeout: Some(seconds(9)), ..keepalive() });
        world.inject(Fault::BlackHole { connection: 0, way, nanos: Some(8_000_000_000) });
        send(&mut world, ids[0]);
        let _ = world.run_for(seconds(1_000));
        assert_eq!(ended(&mut world, ids[0]), None, "{way:?}");
        assert_eq!(world.endpoint::<Lines, Idle>(ids[1]).unwrap().app().got, 1);
    }
}

#[test]
fn a_probe_finds_that_the_peer_forgot_the_connection() {
    let (mut world, ids) = world(0, keepalive());
    // The peer's reset is lost.
    world.inject(Fault::BlackHole { connection: 0, way: Way::Both, nanos: Some(2_000_000_000) });
    world.with(ids[1], |_: &mut Idle, io: &mut Io<'_, Lines>| io.abort(duologue_sim::core::Code(0))).unwrap();
    let _ = world.run_for(seconds(1_000));
    let (at, kind) = ended(&mut world, ids[0]).unwrap();
    assert_eq!((at.as_secs(), kind), (30, FaultKind::Reset), "the first probe is answered by a reset");
}

#[test]
fn a_slow_link_is_not_a_dead_one() {
    let (mut world, ids) = world(0, user_timeout());
    world.inject(Fault::Bandwidth { connection: 0, bytes_per_second: 1 });
    for _ in 0..10 {
        send(&mut world, ids[0]);
    }
    let _ = world.run_for(seconds(1_000));
    assert_eq!(ended(&mut world, ids[0]), None);
    assert_eq!(world.endpoint::<Lines, Idle>(ids[1]).unwrap().app().got, 10);
}
