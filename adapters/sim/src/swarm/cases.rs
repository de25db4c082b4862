//! The five field cases in simulation, each with what it must show whatever the network does.

use std::time::Duration;

use bytes::Bytes;
use duologue_core::framed::{Delimited, Framed, Heartbeat, LengthPrefixed};
use duologue_core::{
    Cause, CloseIntent, CloseOrder, Code, Config, Event, Limits, OnPeerFinish, Protocol, Rng, SendError, Timeouts,
};

use super::talk::{Ending, Plan, Talker};
use super::traffic::{compare, pick, random_link};
use super::{Options, PATIENCE, Run, gather};
use crate::{App, ConnectError, Fault, FaultSchedule, Io, Link, Listen, Shape, Way, World};

type Frames = Framed<LengthPrefixed>;
type Lines = Framed<Delimited>;

const SECOND: u64 = 1_000_000_000;

fn frames() -> Frames {
    Framed::new(LengthPrefixed::u32_be(108))
}

fn plan(seeds: [u64; 2], messages: u32, ending: Ending) -> Plan {
    Plan { seeds, messages, longest: 100, gap: None, busy: None, deaf_after: None, ending }
}

/// Two talkers over one connection under the seed's faults; they end by half-close.
fn two(seed: u64, options: &Options, plans: [Plan; 2], link: Link) -> Run {
    let shape = Shape { connections: 1, hosts: 2, horizon: 5 * SECOND, bytes: 2_000, allowed: Shape::ALL };
    // Every third run is undisturbed, and must be perfect.
    let drawn = || if seed / 9 % 3 == 0 { FaultSchedule::none() } else { FaultSchedule::swarm(seed, shape) };
    let schedule = options.schedule.clone().unwrap_or_else(drawn);
    let mut world = World::new(seed).record(options.record);
    let (a, b) = (world.host("client"), world.host("server"));
    let [client, server] = plans;
    let config = Config::new().on_peer_finish(OnPeerFinish::KeepSending).limits(Limits::new().send_buffer(300));
    world.set_link(link);
    world.listen(b, 80, Listen::default(), config.clone(), move || (frames(), Talker::new(server)));
    let _ = world.connect(a, (b, 80), config, frames(), Talker::new(client));
    world.faults(&schedule);
    let outcome = world.run_until_quiet(PATIENCE);
    let undisturbed = schedule.faults.is_empty();
    let mut run = gather(&world, outcome, schedule);
    compare::<Frames, Talker>(&mut world, &mut run);
    if undisturbed {
        for id in world.machines() {
            let report = world.report(id);
            let ended = report.ended.as_ref();
            let perfect = ended.is_some_and(|e| {
                e.peer_finished && e.unsent == 0 && e.undelivered == 0 && e.cause.ends_with("-finished")
            });
            if !perfect {
                run.fail(format!("undisturbed, and yet {report:?}"));
            }
        }
    }
    run
}

/// F1: the server speaks first and pushes while the client talks; frames are cut anywhere; the client half-closes
/// early, which does not harm what the server still sends.
pub(super) fn push(seed: u64, options: &Options) -> Run {
    let mut rng = Rng::new(seed);
    let seeds = [rng.next_u64(), rng.next_u64()];
    let client = plan(seeds, 1 + rng.below(20) as u32, Ending::Finish);
    let server = plan([seeds[1], seeds[0]], 20 + rng.below(40) as u32, Ending::Finish);
    let link = Link { capacity: 1 + rng.below(200) as usize, latency: Duration::from_millis(1), ..Link::default() };
    two(seed, options, [client, server], link)
}

/// F4: the client finishes at once and receives for long.
pub(super) fn half_close(seed: u64, options: &Options) -> Run {
    let mut rng = Rng::new(seed);
    let seeds = [rng.next_u64(), rng.next_u64()];
    let client = plan(seeds, rng.below(2) as u32, Ending::Finish);
    let gap = Duration::from_millis(rng.below(3_000));
    let server = Plan { gap: Some(gap), ..plan([seeds[1], seeds[0]], 30, Ending::Finish) };
    two(seed, options, [client, server], random_link(&mut rng))
}

/// F2: the peer vanishes under a stream, or while nothing is in flight. Both roles find it within their bound.
pub(super) fn dead_peer(seed: u64, options: &Options) -> Run {
    let mut rng = Rng::new(seed);
    let (stall, beat) = (Duration::from_secs(1 + rng.below(20)), Duration::from_secs(2 + rng.below(20)));
    let beats = rng.below(2) == 0;
    let dies_at = SECOND + rng.below(5 * SECOND);
    let death = match rng.below(3) {
        0 => Fault::BlackHole { connection: 0, way: Way::Both, nanos: None },
        1 => Fault::HostDies { host: 0 },
        _ => Fault::HostDies { host: 1 },
    };
    let schedule = options.schedule.clone().unwrap_or_else(|| FaultSchedule::none().with(dies_at, death));
    let protocol = move || {
        if beats {
            frames().heartbeat(Heartbeat::new(Bytes::new()).send_after(beat / 2).expect_within(beat))
        } else {
            frames()
        }
    };
    let idle = Duration::from_secs(25);
    let config = Config::new().timeouts(Timeouts::new().write_stall(Some(stall)).idle(Some(idle)));
    let mut world = World::new(seed).record(options.record);
    let hosts = [world.host("client"), world.host("server")];
    let seeds = [rng.next_u64(), rng.next_u64()];
    // With bytes in flight at the death, or with none.
    let streams = rng.below(2) == 0;
    let messages = if streams { u32::MAX } else { 1 };
    let quick = |plan: Plan| Plan { gap: streams.then(|| Duration::from_millis(100)), ..plan };
    let client = quick(plan(seeds, messages, Ending::Nothing));
    let server = quick(plan([seeds[1], seeds[0]], messages, Ending::Nothing));
    world.set_link(Link { capacity: pick(&mut rng, &[50, 1_000, 65_536]), ..Link::default() });
    world.listen(hosts[1], 80, Listen::default(), config.clone(), move || (protocol(), Talker::new(server)));
    let _ = world.connect(hosts[0], (hosts[1], 80), config.clone(), protocol(), Talker::new(client));
    world.faults(&schedule);
    let outcome = world.run_until_quiet(PATIENCE);
    let planned = schedule.faults.iter().any(|timed| timed.fault == death);
    let mut run = gather(&world, outcome, schedule);
    compare::<Frames, Talker>(&mut world, &mut run);
    // The stream fills what the kernel holds first; then the stall is measured. Flush and linger come after idle.
    let filling = Duration::from_secs(2 * 65_536 / 500);
    let bound = if beats { beat + beat / 2 } else { (filling + stall).max(idle + Duration::from_secs(35)) };
    for id in world.machines().filter(|_| planned) {
        let report = world.report(id);
        let (Some(ended), true) = (&report.ended, world.is_alive(world.host_of(id))) else { continue };
        let took = Duration::from_nanos(ended.at.saturating_sub(dies_at));
        let names_time = ended.cause == "timeout";
        if !names_time || took > bound + Duration::from_secs(1) {
            run.fail(format!("dead peer: {} after {took:?}, within {bound:?} was promised", ended.text));
        }
    }
    run
}

/// F3: short connections. Who finishes first carries TIME_WAIT, and ports run out with a typed error.
pub(super) fn time_wait(seed: u64, options: &Options) -> Run {
    let mut rng = Rng::new(seed);
    let ports = 3 + rng.below(10) as u16;
    let client_first = rng.below(2) == 0;
    let order =
        if client_first { CloseOrder::LocalFirst } else { CloseOrder::PeerFirst { within: Duration::from_secs(5) } };
    let mut world = World::new(seed).record(options.record);
    let (a, b) = (world.host("client"), world.host("server"));
    world.set_ports(a, 40_000..=40_000 + ports - 1);
    let seeds = [1, 2];
    let first = if client_first { Ending::Nothing } else { Ending::Finish };
    let server = plan([seeds[1], seeds[0]], 1, first);
    world.listen(b, 80, Listen::default(), Config::new(), move || (frames(), Talker::new(server)));
    let config = Config::new().close_order(order);
    let mut refused = None;
    for _ in 0..=ports {
        let client = plan(seeds, 1, if client_first { Ending::Close } else { Ending::Nothing });
        if let Err(error) = world.connect(a, (b, 80), config.clone(), frames(), Talker::new(client)) {
            refused = Some(error);
        }
        let _ = world.run_until_quiet(Duration::from_secs(4));
    }
    let held = [world.time_wait(a), world.time_wait(b)];
    let mut run = gather(&world, crate::Outcome::Quiet, options.schedule.clone().unwrap_or_default());
    // With the client first the last dial finds no port; with the server first all are free again.
    let expected = if client_first { [u32::from(ports), 0] } else { [0, u32::from(ports) + 1] };
    if held != expected {
        run.fail(format!("TIME_WAIT is {held:?} where {expected:?} was due"));
    }
    match refused {
        Some(ConnectError::PortsExhausted { .. }) if client_first => drop(run.causes.insert("ports exhausted".into())),
        None if !client_first => {}
        other => run.fail(format!("{ports} ports, client first {client_first}: {other:?}")),
    }
    let _ = world.run_for(Duration::from_secs(61));
    if (world.time_wait(a), world.time_wait(b), world.ports_used(a)) != (0, 0, 0) {
        run.fail("TIME_WAIT is not over after a minute".into());
    }
    run
}

/// F5: many senders against opening, close and reconnect; and a line without an end.
pub(super) fn senders(seed: u64, options: &Options) -> Run {
    let mut rng = Rng::new(seed);
    let shape = Shape { connections: 3, hosts: 2, horizon: 2 * SECOND, bytes: 500, allowed: Shape::ALL };
    let schedule = options.schedule.clone().unwrap_or_else(|| FaultSchedule::swarm(seed, shape));
    let mut world = World::new(seed).record(options.record);
    let (a, b) = (world.host("client"), world.host("server"));
    world.set_link(random_link(&mut rng));
    let limit = 64;
    let config = Config::new().limits(Limits::new().send_buffer(200).recv_buffer(limit + 8));
    world.listen(b, 80, Listen::default(), config.clone(), move || (lines(limit), Collector::default()));
    world.faults(&schedule);
    let mut sent = 0_u32;
    let mut wrong = Vec::new();
    for _ in 0..3 {
        let Ok(id) = world.connect(a, (b, 80), config.clone(), lines(1 << 20), Collector::default()) else { break };
        let early = world.with(id, |_: &mut Collector, io: &mut Io<'_, Lines>| io.send(Bytes::from_static(b"early")));
        if !matches!(early, Some(Err(SendError::NotOpen { .. }))) {
            wrong.push(format!("before the opening: {early:?}"));
        }
        for _ in 0..rng.below(12) {
            let _ = world.run_for(Duration::from_millis(rng.below(400)));
            world.with(id, |_: &mut Collector, io: &mut Io<'_, Lines>| {
                for _sender in 0..4 {
                    sent += u32::from(io.send(Bytes::from(format!("m{sent}"))).is_ok());
                }
            });
        }
        let endless = rng.below(3) == 0;
        let late = world.with(id, |_: &mut Collector, io: &mut Io<'_, Lines>| {
            if endless {
                let _ = io.send(Bytes::from(vec![b'x'; 100]));
            }
            io.close(CloseIntent::Goodbye(Code(0)));
            io.send(Bytes::from_static(b"late"))
        });
        if !matches!(late, Some(Err(SendError::Closed { .. } | SendError::Finished { .. }))) {
            wrong.push(format!("after the close: {late:?}"));
        }
    }
    let outcome = world.run_until_quiet(PATIENCE);
    let mut run = gather(&world, outcome, schedule);
    wrong.into_iter().for_each(|wrong| run.fail(wrong));
    let ids: Vec<_> = world.machines().collect();
    let mut seen = Vec::new();
    for id in ids {
        if let Some(Cause::Violation(error)) = world.closed::<Lines, Collector>(id).map(|closed| &closed.cause) {
            let text = error.to_string();
            if !text.contains(&format!("where at most {limit} are allowed")) {
                run.fail(format!("an endless line ended with: {text}"));
            }
        }
        if let Some(endpoint) = world.endpoint::<Lines, Collector>(id) {
            seen.extend(endpoint.app().lines.iter().cloned());
        }
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    if once.len() != seen.len() {
        run.fail("a message was delivered twice".into());
    }
    run
}

fn lines(limit: usize) -> Lines {
    Framed::new(Delimited::lines(limit))
}

/// Keeps what it gets.
#[derive(Debug, Default)]
struct Collector {
    lines: Vec<Bytes>,
}

impl App<Lines> for Collector {
    fn on_event(&mut self, _io: &mut Io<'_, Lines>, event: Event<Bytes, <Lines as Protocol>::Violation>) {
        if let Event::App(line) = event {
            self.lines.push(line);
        }
    }
}
