//! The five field cases in simulation, each with what it must show whatever the network does.

use std::time::Duration;

use bytes::Bytes;
use duologue_core::framed::{Delimited, Framed, Heartbeat, LengthPrefixed};
use duologue_core::{
    Cause, CloseIntent, Code, Config, Event, FaultKind, Limits, OnPeerFinish, Protocol, Rng, SendError, Timeouts,
};

use super::talk::{Ending, Plan, Talker};
use super::traffic::{compare, pick, random_link};
use super::{CASES, PATIENCE, Run, gather};
use crate::{App, Fault, FaultSchedule, Io, Link, Listen, Shape, SocketOptions, TcpKeepalive, Way, World};

type Frames = Framed<LengthPrefixed>;
pub(super) type Lines = Framed<Delimited>;

const SECOND: u64 = 1_000_000_000;

fn frames() -> Frames {
    Framed::new(LengthPrefixed::u32_be(108))
}

fn plan(seeds: [u64; 2], messages: u32, ending: Ending) -> Plan {
    Plan { seeds, messages, longest: 100, expects: 100, gap: None, busy: None, deaf_after: None, ending }
}

/// Two talkers over one connection under the seed's faults; they end by half-close.
fn two(world: &mut World, plans: [Plan; 2], link: Link) -> Run {
    let shape = Shape { connections: 1, hosts: 2, horizon: 5 * SECOND, bytes: 2_000, allowed: Shape::ALL };
    // Every third run is undisturbed, and must be perfect.
    let seed = world.seed();
    let calm = seed / CASES.len() as u64 % 3 == 0;
    let make = || if calm { FaultSchedule::none() } else { FaultSchedule::swarm(seed, shape) };
    let schedule = world.draw_faults_or(make);
    let (a, b) = (world.host("client"), world.host("server"));
    let [client, server] = plans;
    let config = Config::new().on_peer_finish(OnPeerFinish::KeepSending).limits(Limits::new().send_buffer(300));
    world.set_link(link);
    world.listen(b, 80, Listen::default(), config.clone(), move || (frames(), Talker::new(server)));
    let _ = world.connect(a, (b, 80), config, frames(), Talker::new(client));
    let outcome = world.run_until_quiet(PATIENCE);
    let undisturbed = schedule.faults.is_empty();
    let mut run = gather(world, outcome, schedule);
    compare::<Frames, Talker>(world, &mut run);
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
pub(super) fn push(world: &mut World) -> Run {
    let mut rng = Rng::new(world.seed());
    let seeds = [rng.next_u64(), rng.next_u64()];
    let client = plan(seeds, world.draw("client messages", 1..=20) as u32, Ending::Finish);
    let server = plan([seeds[1], seeds[0]], world.draw("server messages", 1..=60) as u32, Ending::Finish);
    let link = Link {
        capacity: world.draw("capacity", 1..=200) as usize,
        latency: Duration::from_millis(1),
        ..Link::default()
    };
    two(world, [client, server], link)
}

/// F4: the client finishes at once and receives for long.
pub(super) fn half_close(world: &mut World) -> Run {
    let mut rng = Rng::new(world.seed());
    let seeds = [rng.next_u64(), rng.next_u64()];
    let client = plan(seeds, world.draw("client messages", 0..=1) as u32, Ending::Finish);
    let gap = Duration::from_millis(world.draw("server gap ms", 0..=2_999));
    let messages = world.draw("server messages", 0..=30) as u32;
    let server = Plan { gap: Some(gap), ..plan([seeds[1], seeds[0]], messages, Ending::Finish) };
    let link = random_link(world, 0, &mut rng);
    two(world, [client, server], link)
}

/// F2: the peer vanishes under a stream, or while nothing is in flight. Both roles find it within their bound.
pub(super) fn dead_peer(world: &mut World) -> Run {
    let mut rng = Rng::new(world.seed());
    let (stall, beat) = (Duration::from_secs(1 + rng.below(20)), Duration::from_secs(2 + rng.below(20)));
    // A third leaves it all to the kernels.
    let kernel = world.draw("left to the kernel", 0..=2) == 2;
    let beats = !kernel && rng.below(2) == 0;
    let dies_at = SECOND + rng.below(5 * SECOND);
    let death = match rng.below(3) {
        0 => Fault::BlackHole { connection: 0, way: Way::Both, nanos: None },
        1 => Fault::HostDies { host: 0 },
        _ => Fault::HostDies { host: 1 },
    };
    let schedule = world.draw_faults_or(|| FaultSchedule::none().with(dies_at, death));
    let protocol = move || {
        if beats {
            frames().heartbeat(Heartbeat::new(Bytes::new()).send_after(beat / 2).expect_within(beat))
        } else {
            frames()
        }
    };
    let idle = Duration::from_secs(25);
    let timeouts = if kernel { Timeouts::none() } else { Timeouts::new().write_stall(Some(stall)).idle(Some(idle)) };
    let config = Config::new().timeouts(timeouts);
    let hosts = [world.host("client"), world.host("server")];
    let seeds = [rng.next_u64(), rng.next_u64()];
    // With bytes in flight at the death, or with none.
    let streams = rng.below(2) == 0;
    let messages = if streams { u32::MAX } else { 1 };
    let quick = |plan: Plan| Plan { gap: streams.then(|| Duration::from_millis(100)), ..plan };
    let client = quick(plan(seeds, messages, Ending::Nothing));
    let server = quick(plan([seeds[1], seeds[0]], messages, Ending::Nothing));
    let capacity = pick(&mut rng, &[50, 1_000, 65_536]);
    world.set_link(Link { capacity, ..Link::default() });
    let probing = TcpKeepalive { idle: beat, interval: Duration::from_secs(1), probes: 3 };
    let asked = SocketOptions { user_timeout: Some(stall), keepalive: Some(probing) };
    if kernel {
        hosts.iter().for_each(|host| world.set_socket_options(*host, asked));
    }
    world.listen(hosts[1], 80, Listen::default(), config.clone(), move || (protocol(), Talker::new(server)));
    let _ = world.connect(hosts[0], (hosts[1], 80), config.clone(), protocol(), Talker::new(client));
    let outcome = world.run_until_quiet(PATIENCE);
    let planned = schedule.faults.iter().any(|timed| timed.fault == death);
    let mut run = gather(world, outcome, schedule);
    compare::<Frames, Talker>(world, &mut run);
    // The stream fills what the kernel holds first; then the stall is measured. Flush and linger come after idle.
    let filling = Duration::from_secs(2 * capacity as u64 / 500);
    let bound = match (kernel, beats) {
        // A user time-out overrules the number of probes, at the next of them.
        (true, _) => {
            if streams {
                stall + Duration::from_secs(1)
            } else {
                beat.max(stall) + Duration::from_secs(2)
            }
        }
        (_, true) => beat + beat / 2,
        // Nothing but the stall may find it, unless that takes longer than idle does.
        _ if streams && filling.is_zero() => stall + Duration::from_secs(1),
        _ => (filling + stall).max(idle + Duration::from_secs(35)),
    };
    for id in world.machines().filter(|_| planned) {
        let report = world.report(id);
        let (Some(ended), true) = (&report.ended, world.is_alive(world.host_of(id))) else { continue };
        let took = Duration::from_nanos(ended.at.saturating_sub(dies_at));
        let gave_up = ended.fault.is_some_and(|fault| fault.kind == FaultKind::TimedOut);
        let names_time = if kernel { gave_up } else { ended.cause == "timeout" };
        if kernel && gave_up {
            let how = if streams { "bytes in flight" } else { "none in flight" };
            run.causes.insert(format!("given up by the kernel, {how}"));
        }
        if !names_time || took > bound + Duration::from_secs(1) {
            run.fail(format!("dead peer: {} after {took:?}, within {bound:?} was promised", ended.text));
        }
    }
    run
}

/// F5: many senders against opening, close and reconnect; and a line without an end.
pub(super) fn senders(world: &mut World) -> Run {
    let mut rng = Rng::new(world.seed());
    let shape = Shape { connections: 3, hosts: 2, horizon: 2 * SECOND, bytes: 500, allowed: Shape::ALL };
    let (a, b) = (world.host("client"), world.host("server"));
    let link = random_link(world, 0, &mut rng);
    world.set_link(link);
    let limit = 64;
    let config = Config::new().limits(Limits::new().send_buffer(200).recv_buffer(limit + 8));
    // It may send lines that are longer than the server takes.
    let sender = Config::new().limits(Limits::new().send_buffer(200));
    world.listen(b, 80, Listen::default(), config.clone(), move || (lines(limit), Collector::default()));
    let schedule = world.draw_faults(shape);
    let rounds = world.draw("connections", 1..=3) as u32;
    let mut sent = 0_u32;
    let mut wrong = Vec::new();
    let mut dialled = 0;
    for round in 0..rounds {
        let Ok(id) = world.connect(a, (b, 80), sender.clone(), lines(1 << 10), Collector::default()) else { break };
        dialled += 1;
        let early = world.with(id, |_: &mut Collector, io: &mut Io<'_, Lines>| io.send(Bytes::from_static(b"early")));
        if !matches!(early, Some(Err(SendError::NotOpen { .. }))) {
            wrong.push(format!("before the opening: {early:?}"));
        }
        for _ in 0..world.draw_for("batches", round, 0..=11) {
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
    let mut run = gather(world, outcome, schedule);
    wrong.into_iter().for_each(|wrong| run.fail(wrong));
    if dialled < rounds && world.is_alive(a) {
        run.fail(format!("only {dialled} of {rounds} connections could be dialled"));
    }
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

pub(super) fn lines(limit: usize) -> Lines {
    Framed::new(Delimited::lines(limit))
}

/// Keeps what it gets.
#[derive(Debug, Default)]
pub(super) struct Collector {
    pub(super) lines: Vec<Bytes>,
    pub(super) peer_finished: bool,
}

impl App<Lines> for Collector {
    fn on_event(&mut self, _io: &mut Io<'_, Lines>, event: Event<Bytes, <Lines as Protocol>::Violation>) {
        match event {
            Event::App(line) => self.lines.push(line),
            Event::PeerFinished => self.peer_finished = true,
            Event::Writable | Event::Closed(_) => {}
        }
    }
}
