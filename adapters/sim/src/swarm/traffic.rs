//! Random traffic: several connections, both sides talk, everything about them is drawn from the seed.

use std::time::Duration;

use bytes::Bytes;
use duologue_core::framed::{Delimited, Framed, Heartbeat, LengthPrefixed};
use duologue_core::{CloseOrder, Config, Delivery, Keepalive, Limits, OnPeerFinish, Protocol, Rng, Timeouts};

use super::talk::{AsTalker, Ending, InPlaceTalker, Plan, Talker};
use super::{Options, PATIENCE, Polite, Run, gather};
use crate::{App, Endpoint, Link, Listen, MachineId, Overflow, Shape, SocketOptions, TcpKeepalive, World};

/// A bug to plant in a run, to see that the oracles find it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// None.
    #[default]
    Nothing,
    /// Servers expect another stream than they get, as if messages went to the wrong connection.
    ForeignStream,
    /// Servers send some messages with other content and length than clients expect.
    WrongContent,
    /// Neither side has any time-out.
    NoTimeouts,
    /// A handle of an old connection writes into the new one.
    NoFence,
}

pub(super) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

pub(super) fn random_link(world: &mut World, connection: u32, rng: &mut Rng) -> Link {
    let latency = pick(rng, &[0, 50, 1_000, 30_000, 400_000]);
    let jitter = pick(rng, &[0, 0, 10, 5_000, 100_000]);
    let bandwidth = pick(rng, &[0, 0, 0, 20_000, 1_000_000]);
    let capacity = pick(rng, &[1, 7, 100, 1_000, 65_536]);
    Link {
        latency: Duration::from_micros(world.draw_for("latency us", connection, latency / 2..=latency)),
        jitter: Duration::from_micros(world.draw_for("jitter us", connection, jitter / 2..=jitter)),
        bandwidth,
        capacity: world.draw_for("capacity", connection, capacity / 2 + 1..=capacity) as usize,
    }
}

/// Most sockets ask their kernel for nothing, as most do.
fn random_options(rng: &mut Rng) -> SocketOptions {
    let user_timeout = pick(rng, &[None, None, None, Some(Duration::from_secs(3)), Some(Duration::from_secs(20))]);
    let (idle, interval) = (Duration::from_secs(pick(rng, &[1, 5, 20])), Duration::from_secs(1));
    let keepalive = (rng.below(4) == 0).then_some(TcpKeepalive { idle, interval, probes: 3 });
    SocketOptions { user_timeout, keepalive }
}

/// Small limits and short waits, so that a small run meets them.
pub(super) fn random_config(rng: &mut Rng, max_unit: usize) -> Config {
    let seconds = |rng: &mut Rng, of: &[u64]| Some(Duration::from_secs(pick(rng, of)));
    let timeouts = Timeouts::new()
        .connect(seconds(rng, &[3, 10]))
        .handshake(seconds(rng, &[2, 10]))
        .idle(seconds(rng, &[5, 30, 300]))
        .keepalive(Some(Keepalive { quiet: Duration::from_secs(pick(rng, &[2, 30])), reply: Duration::from_secs(4) }))
        .write_stall(seconds(rng, &[2, 30]))
        .close_handshake(seconds(rng, &[1, 5]))
        .flush(seconds(rng, &[3, 30]))
        .linger(pick(rng, &[None, Some(Duration::from_secs(2)), Some(Duration::from_secs(2))]));
    let limits = Limits::new()
        .recv_buffer(max_unit + pick(rng, &[0, 1, 64, 4096]))
        .send_buffer(pick(rng, &[128, 300, 4096]))
        .control_reserve(pick(rng, &[4, 16, 256]))
        .linger_bytes(pick(rng, &[0, 100, 1 << 20]))
        .read_chunk(pick(rng, &[1, 16, 4096]))
        .share_threshold(pick(rng, &[1, 50, 4096]));
    let order = pick(rng, &[CloseOrder::LocalFirst, CloseOrder::PeerFirst { within: Duration::from_secs(3) }]);
    let policy = pick(
        rng,
        &[OnPeerFinish::FlushThenFinish, OnPeerFinish::FlushThenFinish, OnPeerFinish::KeepSending, OnPeerFinish::Abort],
    );
    Config::new().timeouts(timeouts).limits(limits).close_order(order).on_peer_finish(policy)
}

/// The plan of one side of a connection; what a failure can be made smaller by is drawn by name.
fn random_plan(
    world: &mut World,
    rng: &mut Rng,
    names: [&str; 3],
    connection: u32,
    seeds: [u64; 2],
    endings: &[Ending],
) -> Plan {
    let most = pick(rng, &[1, 7, 39]);
    let [messages, longest, gap] = names;
    let gaps = pick(rng, &[0, 0, 10, 3_000]);
    let gap = world.draw_for(gap, connection, 0..=gaps);
    Plan {
        seeds,
        messages: world.draw_for(messages, connection, 0..=most) as u32,
        longest: world.draw_for(longest, connection, 1..=100),
        expects: 100,
        gap: (gap > 0).then(|| Duration::from_millis(gap)),
        busy: pick(rng, &[None, None, None, Some(1), Some(2_000)]).map(Duration::from_millis),
        deaf_after: pick(rng, &[None, None, None, None, None, None, Some(3)]),
        ending: pick(rng, endings),
    }
}

use Ending::{Abort, Close, Finish, Flush, Nothing};
const ANY: &[Ending] = &[Finish, Finish, Close, Close, Flush, Abort, Nothing];
/// A heartbeat keeps a session alive for as long as nobody ends it.
const ENDS: &[Ending] = &[Close, Close, Flush, Abort];

pub(super) fn heartbeat(world: &mut World, options: &Options) -> Run {
    traffic::<_, Talker>(world, options, ENDS, Delivery::Owned, |rng, mismatch| {
        let beat = Heartbeat::new(Bytes::new())
            .send_after(Duration::from_secs(pick(rng, &[1, 4])))
            .expect_within(Duration::from_secs(pick(rng, &[6, 15])));
        Framed::new(LengthPrefixed::u32_be(if mismatch { 40 } else { 108 })).heartbeat(beat)
    })
}

pub(super) fn lines(world: &mut World, options: &Options) -> Run {
    traffic::<_, Talker>(world, options, ANY, Delivery::Owned, |_, mismatch| {
        Framed::new(Delimited::lines(if mismatch { 40 } else { 108 }))
    })
}

pub(super) fn in_place(world: &mut World, options: &Options) -> Run {
    traffic::<_, InPlaceTalker>(world, options, ANY, Delivery::InPlace, |_, mismatch| {
        Framed::new(LengthPrefixed::u32_be(if mismatch { 40 } else { 108 }))
    })
}

pub(super) fn polite(world: &mut World, options: &Options) -> Run {
    traffic::<_, Talker>(world, options, ENDS, Delivery::Owned, |rng, _| Polite { mute: rng.below(12) == 0 })
}

fn traffic<P, A>(
    world: &mut World,
    options: &Options,
    endings: &[Ending],
    delivery: Delivery,
    make: impl Fn(&mut Rng, bool) -> P,
) -> Run
where
    P: Protocol<Event = Bytes, Command = Bytes> + Clone + 'static,
    A: App<P> + AsTalker + 'static,
{
    let mut rng = Rng::new(world.seed());
    let connections = world.draw("connections", 1..=4) as u32;
    let shape = Shape { connections, hosts: 3, horizon: 20_000_000_000, bytes: 3_000, allowed: Shape::ALL };
    let hosts = [world.host("east"), world.host("west"), world.host("centre")];
    let backlog = pick(&mut rng, &[0, 1, 128]);
    let overflow = pick(&mut rng, &[Overflow::Drop, Overflow::Refuse]);
    world.reset_keeps_unread(rng.below(2) == 0);
    for connection in 0..connections {
        let seeds = [rng.next_u64(), rng.next_u64()];
        let mismatch = rng.below(12) == 0;
        let (client, server) = (make(&mut rng, false), make(&mut rng, mismatch));
        let with = |config: Config| {
            let timeouts = if options.planted == Planted::NoTimeouts { Timeouts::none() } else { config.timeouts };
            config.delivery(delivery).timeouts(timeouts)
        };
        let configs =
            [with(random_config(&mut rng, client.max_unit())), with(random_config(&mut rng, client.max_unit()))];
        let names = ["client messages", "client longest", "client gap ms"];
        let mut client_plan = random_plan(world, &mut rng, names, connection, seeds, endings);
        let names = ["server messages", "server longest", "server gap ms"];
        let mut server_plan = random_plan(world, &mut rng, names, connection, [seeds[1], seeds[0]], endings);
        client_plan.expects = server_plan.longest;
        server_plan.expects = client_plan.longest;
        if mismatch {
            // It would not frame what the client does.
            server_plan.messages = 0;
        }
        plant(&mut server_plan, options.planted);
        let port = 1000 + connection as u16;
        let (to, [client_config, server_config]) = (hosts[2], configs);
        let listen = Listen { backlog: backlog.max(usize::from(mismatch)), overflow };
        world.listen(to, port, listen, server_config, move || (server.clone(), A::of(server_plan)));
        let link = random_link(world, connection, &mut rng);
        world.set_link(link);
        let from = hosts[rng.below(2) as usize];
        for host in [from, to] {
            world.set_socket_options(host, random_options(&mut rng));
        }
        // Ports are many: this cannot be refused.
        let _ = world.connect(from, (to, port), client_config, client, A::of(client_plan));
    }
    let schedule = world.draw_faults(shape);
    let outcome = world.run_until_quiet(PATIENCE);
    let mut run = gather(world, outcome, schedule);
    compare::<P, A>(world, &mut run);
    run
}

fn plant(plan: &mut Plan, planted: Planted) {
    match planted {
        Planted::Nothing | Planted::NoTimeouts | Planted::NoFence => {}
        Planted::ForeignStream => plan.seeds[1] = plan.seeds[1].wrapping_add(1 << 32),
        Planted::WrongContent => plan.longest += 1,
    }
}

/// The two ends of each connection against each other.
pub(super) fn compare<P, A>(world: &mut World, run: &mut Run)
where
    P: Protocol<Event = Bytes, Command = Bytes> + 'static,
    A: App<P> + AsTalker + 'static,
{
    let ids: Vec<MachineId> = world.machines().collect();
    let mut facts = Vec::new();
    for id in ids {
        let Some(endpoint) = world.endpoint::<P, A>(id) else { continue };
        let endpoint: &Endpoint<P, A> = endpoint;
        let (talker, socket) = (endpoint.app().talker(), endpoint.socket());
        if let Some(wrong) = &talker.wrong {
            run.fail(format!("{socket}: {wrong}"));
        }
        facts.push((socket, talker.accepted, talker.got, talker.peer_finished));
    }
    for (socket, _, got, peer_finished) in &facts {
        let peer = facts.iter().find(|(other, ..)| other.connection == socket.connection && other.side != socket.side);
        let sent = peer.map_or(0, |(_, accepted, ..)| *accepted);
        if *got > sent {
            run.fail(format!("{socket}: got {got} messages where {sent} were sent"));
        }
        let forged = world.is_forged(socket.connection, usize::from(socket.side ^ 1));
        if *peer_finished && !forged && *got != sent {
            run.fail(format!("{socket}: the peer finished after {sent} messages and {got} were delivered"));
        }
    }
}
