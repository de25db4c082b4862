//! F5: several writers of one client against opening, close and reconnect. A handle belongs to one generation; old
//! connections end beside the new one, and nothing that they still tell may touch it (law L16).

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{CloseIntent, Code, Config, Instant, Limits, Rng, SendError, Timeouts};

use super::cases::{Collector, Lines, lines};
use super::traffic::random_link;
use super::{Options, PATIENCE, Planted, Run, gather};
use crate::{ConnectError, Coverage, Endpoint, HostId, Io, Listen, Machine, MachineId, Net, Report, Shape, World};

/// One connection of the client, current or old.
struct Generation {
    number: u32,
    endpoint: Endpoint<Lines, Collector>,
    /// What its session took, in order.
    accepted: Vec<Bytes>,
    reconciled: bool,
}

/// One of several that write; it holds a handle of some generation.
struct Writer {
    handle: u32,
    /// Its next message, given back as often as it was not accepted.
    held: Option<Bytes>,
    left: u32,
    made: u32,
}

/// A client that always has one current connection and replaces it when it ends, or at a whim.
struct Client {
    to: HostId,
    config: Arc<Config>,
    generations: Vec<Generation>,
    /// The current one counts from 1.
    current: u32,
    dials_left: u32,
    writers: Vec<Writer>,
    /// Known to be unsent: sent again in the next generation.
    again: VecDeque<Bytes>,
    tick: Duration,
    next_tick: Instant,
    rng: Rng,
    fence: bool,
    ended: bool,
    seen: BTreeSet<&'static str>,
    wrong: Option<String>,
}

impl Client {
    fn dial(&mut self, net: &mut Net<'_>) {
        if self.dials_left == 0 {
            self.ended = true;
            return;
        }
        self.dials_left -= 1;
        let Ok(socket) = net.dial(self.to, 80) else { return };
        match Endpoint::dialling(net, socket, lines(80), self.config.clone(), Collector::default()) {
            Ok(endpoint) => {
                self.current += 1;
                let number = self.current;
                self.generations.push(Generation { number, endpoint, accepted: Vec::new(), reconciled: false });
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn fail(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// All connections do what they can; what an old one does must not be seen in the current one.
    fn poll_all(&mut self, net: &mut Net<'_>) {
        let current = self.current;
        let (old, new): (Vec<_>, Vec<_>) = self.generations.iter_mut().partition(|g| g.number != current);
        let mut new: Option<&mut Generation> = new.into_iter().next();
        let look = |new: &Option<&mut Generation>| {
            new.as_ref().map(|g| {
                let session = g.endpoint.session();
                (session.interest(), session.stats(), session.states(), session.cause().is_none(), g.accepted.len())
            })
        };
        for old in old {
            let before = look(&new);
            let stats = old.endpoint.session().stats();
            let was_over = old.endpoint.is_over();
            old.endpoint.poll(net);
            if !was_over && (old.endpoint.is_over() || old.endpoint.session().stats() != stats) && before.is_some() {
                self.seen.insert("late fact of an old connection");
            }
            if look(&new) != before {
                self.wrong.get_or_insert(format!("generation {} changed generation {current}", old.number));
            }
        }
        if let Some(new) = &mut new {
            new.endpoint.poll(net);
        }
    }

    /// What an ended session reports as unsent is the end of what it accepted; that and nothing else is sent again.
    fn reconcile(&mut self) {
        for generation in self.generations.iter_mut().filter(|g| !g.reconciled) {
            let Some(closed) = generation.endpoint.closed() else { continue };
            generation.reconciled = true;
            let unsent = usize::try_from(closed.unsent).unwrap_or(usize::MAX);
            match generation.accepted.len().checked_sub(unsent) {
                Some(sent) => self.again.extend(generation.accepted.drain(sent..)),
                None => drop(self.wrong.get_or_insert(format!("{unsent} unsent and fewer accepted"))),
            }
            if unsent > 0 {
                self.seen.insert("unsent and sent again");
            }
        }
    }

    fn send(&mut self, net: &Net<'_>, handle: u32, message: Bytes) -> Result<(), Bytes> {
        if self.fence && handle != self.current {
            self.seen.insert("stale handle fenced");
            return Err(message);
        }
        let Some(generation) = self.generations.iter_mut().rfind(|g| g.number == self.current) else {
            return Err(message);
        };
        let open = generation.endpoint.session().is_established();
        // On the wire it says whose handle it came by, so that the other side would see a fence with a gap.
        let line = [format!("{handle}:").as_bytes(), &message].concat();
        let sent = generation.endpoint.with(net, |_, io: &mut Io<'_, Lines>| io.send(line.into()));
        match sent {
            Ok(()) => {
                generation.accepted.push(message);
                Ok(())
            }
            Err(error) => {
                let expected = match &error {
                    SendError::NotOpen { .. } => !open,
                    SendError::Full { .. } | SendError::Closed { .. } | SendError::Finished { .. } => true,
                    _ => false,
                };
                if !expected {
                    self.wrong.get_or_insert(error.to_string());
                }
                Err(message)
            }
        }
    }

    /// Every writer tries one message; then perhaps the connection is closed or reset under them.
    fn write(&mut self, net: &mut Net<'_>) {
        if let Some(message) = self.again.pop_front() {
            let fresh = self.current;
            if let Err(message) = self.send(net, fresh, message) {
                self.again.push_front(message);
            }
        }
        for i in 0..self.writers.len() {
            let writer = &mut self.writers[i];
            let Some(message) = writer.held.take().or_else(|| writer.make(i)) else { continue };
            let handle = writer.handle;
            let sent = self.send(net, handle, message);
            let writer = &mut self.writers[i];
            if let Err(message) = sent {
                // Given back, it is kept, and the writer asks for a new handle.
                writer.held = Some(message);
                writer.handle = self.current;
            }
        }
        let whim = self.rng.below(12);
        let replaced = self.generations.last_mut().filter(|_| whim < 2 && self.dials_left > 0);
        if let Some(generation) = replaced {
            generation.endpoint.with(net, |_, io| match whim {
                0 => io.close(CloseIntent::Flush(Code(0))),
                _ => io.abort(Code(1)),
            });
            self.dial(net);
        }
    }

    fn is_done(&self) -> bool {
        self.again.is_empty() && self.writers.iter().all(|w| w.held.is_none() && w.left == 0)
    }
}

impl Writer {
    fn make(&mut self, index: usize) -> Option<Bytes> {
        self.left = self.left.checked_sub(1)?;
        self.made += 1;
        Some(Bytes::from(format!("writer {index} message {}", self.made)))
    }
}

impl Machine for Client {
    fn poll(&mut self, net: &mut Net<'_>) {
        self.poll_all(net);
        self.reconcile();
        if !self.ended && net.now() >= self.next_tick {
            self.next_tick = net.now().after(self.tick);
            if self.generations.last().is_none_or(|g| g.endpoint.closed().is_some()) {
                self.dial(net);
            }
            self.write(net);
            if self.is_done() || self.ended {
                self.ended = true;
                if let Some(generation) = self.generations.last_mut() {
                    generation.endpoint.with(net, |_, io| io.close(CloseIntent::Flush(Code(0))));
                }
            }
            // What was written wants to go out.
            self.poll_all(net);
            self.reconcile();
        }
        if !self.ended {
            net.alarm(self.next_tick);
        }
    }

    fn is_over(&self) -> bool {
        self.ended && self.generations.iter().all(|g| g.endpoint.is_over())
    }

    fn report(&self) -> Report {
        let all_once = self.generations.iter().all(|g| g.endpoint.report().times_closed == 1);
        Report { times_closed: if self.is_over() && all_once { 1 } else { 0 }, ..Report::default() }
    }

    fn coverage(&self) -> Coverage {
        let mut all = Coverage::default();
        self.generations.iter().for_each(|g| all.merge(&g.endpoint.coverage()));
        all
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

pub(super) fn writers(world: &mut World, options: &Options) -> Run {
    let mut rng = Rng::new(world.seed());
    let dials = world.draw("connections", 1..=8) as u32;
    let shape = Shape { connections: dials, hosts: 2, horizon: 5_000_000_000, bytes: 600, allowed: Shape::ALL };
    let hosts = [world.host("client"), world.host("server")];
    let link = random_link(world, 0, &mut rng);
    world.set_link(link);
    let wait = |seconds| Some(Duration::from_secs(seconds));
    let timeouts = Timeouts::new().connect(wait(3)).idle(wait(20)).write_stall(wait(5)).flush(wait(5));
    let limits = Limits::new().send_buffer(world.draw("send buffer", 64..=400) as usize);
    let config = Arc::new(Config::new().timeouts(timeouts).limits(limits));
    world.listen(hosts[1], 80, Listen::default(), config.clone(), || (lines(80), Collector::default()));
    let count = world.draw("writers", 1..=6);
    let left = world.draw("messages of each", 0..=12) as u32;
    let tick = Duration::from_millis(world.draw("tick ms", 1..=300));
    let seed = rng.next_u64();
    let client: Result<MachineId, ConnectError> = world.add(hosts[0], |net| {
        Ok(Box::new(Client {
            to: hosts[1],
            config,
            generations: Vec::new(),
            current: 0,
            dials_left: dials,
            writers: (0..count).map(|_| Writer { handle: 0, held: None, left, made: 0 }).collect(),
            again: VecDeque::new(),
            tick,
            next_tick: net.now(),
            rng: Rng::new(seed),
            fence: options.planted != Planted::NoFence,
            ended: false,
            seen: BTreeSet::new(),
            wrong: None,
        }))
    });
    let schedule = world.draw_faults(shape);
    let outcome = world.run_until_quiet(PATIENCE);
    let mut run = gather(world, outcome, schedule);
    if let Ok(id) = client {
        judge(world, id, &mut run);
    }
    run
}

/// Each message was delivered once, or is known to be unsent, or was on its way when its connection was lost.
fn judge(world: &mut World, id: MachineId, run: &mut Run) {
    // What each connection's server got, and whether it saw the client's own end.
    let mut servers = BTreeMap::new();
    let calm = run.schedule.faults.is_empty();
    for machine in world.machines().collect::<Vec<_>>() {
        let Some(server) = world.endpoint::<Lines, Collector>(machine) else { continue };
        let (connection, app) = (server.socket().connection, server.app());
        if calm && server.closed().is_some_and(|closed| closed.cause.kind() == "transport") {
            run.fail(format!("server of connection {connection}: undisturbed, and yet its transport failed"));
        }
        servers.insert(connection, (app.lines.clone(), app.peer_finished));
    }
    let forged: Vec<bool> = (0..world.connections()).map(|connection| world.is_forged(connection, 0)).collect();
    let Some(client) = world.machine::<Client>(id) else { return };
    if let Some(wrong) = &client.wrong {
        run.fail(wrong.clone());
    }
    run.causes.extend(client.seen.iter().map(ToString::to_string));
    let mut known: BTreeSet<&Bytes> = client.again.iter().collect();
    known.extend(client.writers.iter().filter_map(|writer| writer.held.as_ref()));
    let mut delivered = BTreeSet::new();
    for generation in &client.generations {
        // Without a fault nobody but the two sides ends a connection: least of all another connection's end.
        let cause = generation.endpoint.closed().map(|closed| closed.cause.kind());
        if calm && cause == Some("transport") {
            run.fail(format!("generation {}: undisturbed, and yet its transport failed", generation.number));
        }
        let connection = generation.endpoint.socket().connection;
        let Some((lines, peer_finished)) = servers.get(&connection) else { continue };
        let own = format!("{}:", generation.number);
        if let Some(line) = lines.iter().find(|line| !line.starts_with(own.as_bytes())) {
            run.fail(format!("generation {} carried {line:?}, of another generation's handle", generation.number));
            continue;
        }
        let got: Vec<Bytes> = lines.iter().map(|line| line.slice(own.len()..)).collect();
        if !generation.accepted.starts_with(&got) {
            let what =
                format!("generation {}: got {got:?} where {:?} was sent", generation.number, generation.accepted);
            run.fail(what);
        }
        if *peer_finished && !forged[connection as usize] && got.len() != generation.accepted.len() {
            run.fail(format!("generation {} finished, and messages are missing", generation.number));
        }
        for message in got {
            if known.contains(&message) {
                run.fail(format!("{message:?} was delivered and is reported unsent"));
            }
            if let Some(twice) = delivered.replace(message) {
                run.fail(format!("{twice:?} was delivered twice"));
            }
        }
    }
    // In one generation a writer's messages keep their order, and belong to whom they should.
    let stale = client.generations.iter().flat_map(|g| g.accepted.iter()).count();
    let made: u32 = client.writers.iter().map(|writer| writer.made).sum();
    if stale + known.len() != made as usize && run.failure.is_none() && client.is_over() {
        run.fail(format!("{made} messages were made; {stale} were sent and {} are held", known.len()));
    }
}
