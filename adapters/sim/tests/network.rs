//! What the simulated network does, seen by sessions.

use std::time::Duration;

use bytes::Bytes;
use duologue_sim::core::framed::{Delimited, Framed};
use duologue_sim::core::{Cause, CloseIntent, Code, Config, Event, FaultKind, Protocol, Side, Timeouts};
use duologue_sim::{App, ConnectError, Fault, HostId, Io, Link, Listen, MachineId, Outcome, Overflow, Way, World};

type Lines = Framed<Delimited>;

/// Answers lines until `keeps` is false; keeps them all.
#[derive(Default)]
struct Echo {
    got: Vec<Bytes>,
    silent: bool,
}

impl App<Lines> for Echo {
    fn on_event(&mut self, io: &mut Io<'_, Lines>, event: Event<Bytes, <Lines as Protocol>::Violation>) {
        if let Event::App(line) = event {
            self.got.push(line.clone());
            if !self.silent {
                let _ = io.send(line);
            }
        }
    }
}

/// Sends lines once it can, and then does as it is told.
struct Client {
    lines: u32,
    got: u32,
    closes: bool,
}

impl App<Lines> for Client {
    fn on_start(&mut self, io: &mut Io<'_, Lines>) {
        (0..self.lines).for_each(|n| io.send(Bytes::from(format!("line {n}"))).unwrap_or_default());
    }

    fn on_event(&mut self, io: &mut Io<'_, Lines>, event: Event<Bytes, <Lines as Protocol>::Violation>) {
        if let Event::App(_) = event {
            self.got += 1;
            if self.got == self.lines && self.closes {
                io.close(CloseIntent::Goodbye(Code(0)));
            }
        }
    }
}

fn lines() -> Lines {
    Framed::new(Delimited::lines(100))
}

fn world() -> (World, HostId, HostId) {
    let mut world = World::new(7).record(10_000);
    let (a, b) = (world.host("a"), world.host("b"));
    world.listen(b, 80, Listen::default(), Config::new(), || (lines(), Echo::default()));
    (world, a, b)
}

fn dial(world: &mut World, a: HostId, b: HostId, closes: bool) -> Result<MachineId, ConnectError> {
    world.connect(a, (b, 80), Config::new(), lines(), Client { lines: 3, got: 0, closes })
}

fn cause(world: &World, id: MachineId) -> String {
    world.report(id).ended.map(|ended| ended.text).unwrap_or_default()
}

#[test]
fn the_side_that_finishes_first_carries_time_wait_for_a_minute() {
    let (mut world, a, b) = world();
    let id = dial(&mut world, a, b, true).unwrap();
    assert_eq!(world.run_until_quiet(Duration::from_secs(10)), Outcome::Quiet);
    assert_eq!((world.time_wait(a), world.time_wait(b), world.ports_used(a)), (1, 0, 1));
    assert_eq!(world.report(id).ended.unwrap().finished_first, Some(Side::Local));
    let _ = world.run_for(Duration::from_secs(59));
    assert_eq!(world.time_wait(a), 1);
    let _ = world.run_for(Duration::from_secs(2));
    assert_eq!((world.time_wait(a), world.ports_used(a)), (0, 0));
}

#[test]
fn ports_run_out_with_a_typed_error() {
    let (mut world, a, b) = world();
    world.set_ports(a, 50_000..=50_001);
    for _ in 0..2 {
        dial(&mut world, a, b, true).unwrap();
        let _ = world.run_for(Duration::from_secs(1));
    }
    let refused = dial(&mut world, a, b, true);
    assert_eq!(refused, Err(ConnectError::PortsExhausted { ports: 2, time_wait: 2 }));
}

#[test]
fn nobody_listening_refuses_and_a_dead_host_times_out() {
    let (mut world, a, b) = world();
    let id = world.connect(a, (b, 81), Config::new(), lines(), Echo::default()).unwrap();
    assert_eq!(world.run_until_quiet(Duration::from_secs(1)), Outcome::Quiet);
    let closed = world.closed::<Lines, Echo>(id).unwrap();
    assert!(matches!(closed.cause, Cause::Transport(fault) if fault.kind == FaultKind::Refused), "{closed}");
    world.inject(Fault::HostDies { host: 1 });
    let id = dial(&mut world, a, b, true).unwrap();
    let before = world.now();
    assert_eq!(world.run_until_quiet(Duration::from_secs(60)), Outcome::Quiet);
    assert_eq!(cause(&world, id), "timed out: connect");
    let at = Duration::from_nanos(world.report(id).ended.unwrap().at);
    assert_eq!(at - before, Duration::from_secs(10), "time jumps to the deadline exactly");
}

#[test]
fn a_full_accept_queue_drops_requests_that_come_again_or_refuses_them() {
    for overflow in [Overflow::Drop, Overflow::Refuse] {
        let mut world = World::new(1).record(1000);
        let (a, b) = (world.host("a"), world.host("b"));
        world.listen(b, 80, Listen { backlog: 1, overflow }, Config::new(), || (lines(), Echo::default()));
        world.inject(Fault::AcceptStall { host: 1, nanos: 1_500_000_000 });
        let first = dial(&mut world, a, b, true).unwrap();
        let second = dial(&mut world, a, b, true).unwrap();
        assert_eq!(world.run_until_quiet(Duration::from_secs(60)), Outcome::Quiet);
        let ended = |id| world.report(id).ended.unwrap();
        assert_eq!(ended(first).cause, "local-close");
        match overflow {
            Overflow::Drop => {
                assert_eq!(ended(second).cause, "local-close");
                assert!(ended(second).at > 3_000_000_000, "asked again after 1 and 2 s");
            }
            Overflow::Refuse => assert_eq!(ended(second).cause, "transport"),
        }
    }
}

#[test]
fn data_for_a_closed_socket_is_answered_by_a_reset() {
    let mut world = World::new(1).record(1000);
    let (a, b) = (world.host("a"), world.host("b"));
    // No linger: the server lets go at once, and what still comes finds nobody.
    let hasty = Config::new().timeouts(Timeouts::new().linger(None));
    world.listen(b, 80, Listen::default(), hasty, || (lines(), Echo { silent: true, ..Echo::default() }));
    let id = dial(&mut world, a, b, false).unwrap();
    let _ = world.run_for(Duration::from_millis(20));
    let server = world.machines().nth(1).unwrap();
    world.with(server, |_: &mut Echo, io: &mut Io<'_, Lines>| io.close(CloseIntent::Flush(Code(0)))).unwrap();
    let _ = world.run_for(Duration::from_micros(1));
    world.with(id, |_: &mut Client, io: &mut Io<'_, Lines>| io.send(Bytes::from("late")).unwrap()).unwrap();
    assert_eq!(world.run_until_quiet(Duration::from_secs(600)), Outcome::Quiet);
    assert!(world.saw(duologue_sim::Happening::ResetSent) && world.saw(duologue_sim::Happening::ResetArrived));
    assert_eq!((world.time_wait(a), world.time_wait(b), world.ports_used(a)), (0, 0, 0));
}

#[test]
fn a_black_hole_that_ends_loses_nothing() {
    let (mut world, a, b) = world();
    world.set_link(Link { latency: Duration::from_millis(10), capacity: 5, ..Link::default() });
    let id = dial(&mut world, a, b, true).unwrap();
    let _ = world.run_for(Duration::from_millis(45));
    world.inject(Fault::BlackHole { connection: 0, way: Way::Both, nanos: Some(5_000_000_000) });
    assert_eq!(world.run_until_quiet(Duration::from_secs(60)), Outcome::Quiet);
    assert_eq!(cause(&world, id), "closed by us with code 0");
    assert_eq!(world.endpoint::<Lines, Client>(id).unwrap().app().got, 3);
    assert!(world.now() > Duration::from_secs(5));
}

#[test]
fn a_fast_clock_and_a_jump_move_a_hosts_deadlines_and_nobody_elses() {
    for (fault, idle_at) in [
        (Fault::ClockSkew { host: 0, ppm: 1_000_000 }, 150),
        (Fault::ClockJump { host: 0, nanos: 200_000_000_000 }, 100),
        (Fault::ClockJump { host: 0, nanos: -200_000_000_000 }, 300),
    ] {
        let (mut world, a, b) = world();
        let id = dial(&mut world, a, b, false).unwrap();
        let _ = world.run_for(Duration::from_secs(1));
        world.inject(fault);
        assert_eq!(world.run_until_quiet(Duration::from_secs(10_000)), Outcome::Quiet);
        assert!(cause(&world, id).contains("idle") || cause(&world, id).contains("peer"), "{}", cause(&world, id));
        let at = world.report(id).ended.unwrap().at / 1_000_000_000;
        assert!(at.abs_diff(idle_at) <= 4, "{fault:?}: {at}");
    }
}

#[test]
fn a_dead_host_does_nothing_and_one_world_carries_several_protocols() {
    let (mut world, a, b) = world();
    let frames = || Framed::new(duologue_sim::core::framed::LengthPrefixed::u32_be(100));
    struct Quiet;
    impl<P: Protocol> App<P> for Quiet {
        fn on_event(&mut self, _: &mut Io<'_, P>, _: Event<P::Event, P::Violation>) {}
    }
    world.listen(b, 90, Listen::default(), Config::new(), move || (frames(), Quiet));
    let one = dial(&mut world, a, b, true).unwrap();
    let other = world.connect(a, (b, 90), Config::new(), frames(), Quiet).unwrap();
    let _ = world.run_for(Duration::from_secs(1));
    world.inject(Fault::HostDies { host: 1 });
    assert_eq!(world.run_until_quiet(Duration::from_secs(1000)), Outcome::Quiet);
    assert_eq!(cause(&world, one), "closed by us with code 0");
    assert_eq!(cause(&world, other), "timed out: idle");
    assert!(dial(&mut world, b, a, true).is_err(), "a dead host dials nobody");
}
