//! A client that reconnects, in the simulated network: connections that die at any byte, and an oracle that knows each
//! message's fate.

mod simecho;
mod simlink;

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use duologue_core::pool::Delivery;
use duologue_core::reconnect::{Backoff, Fate, Generation, Order, Outbox, Queued, Reconnect, Ticket};
use duologue_core::{CloseIntent, Code, Config, Event, Instant, Rng, SendError, Timeouts};
use duologue_sim::{ConnectError, FaultSchedule, HostId, Link as Wire, Listen, Machine, Net, Outcome, World};
use simecho::*;
use simlink::{earlier, network_faults};

const MESSAGES: u64 = 80;
const SEEDS: u64 = 400;

struct Client {
    reconnect: Reconnect,
    outbox: Outbox<u64>,
    to: HostId,
    link: Option<(Generation, Link)>,
    planned: Vec<(Instant, u64)>,
    sent: BTreeMap<Ticket, u64>,
    told: BTreeMap<u64, Fate<u64>>,
    /// A network that is gone for good ends the waiting.
    give_up_at: Instant,
    over: bool,
}

impl Client {
    fn note_fates(&mut self) {
        while let Some((ticket, fate)) = self.outbox.poll_fate() {
            let message = self.sent[&ticket];
            assert!(self.told.insert(message, fate).is_none(), "message {message} has two fates");
        }
    }

    /// Everything that can be done at once. True if something was.
    fn step(&mut self, net: &mut Net<'_>) -> bool {
        let now = net.now();
        let mut moved = false;
        while self.planned.last().is_some_and(|(at, _)| *at <= now) {
            let Some((_, message)) = self.planned.pop() else { break };
            match self.outbox.push(message) {
                Ok(ticket) => assert!(self.sent.insert(ticket, message).is_none()),
                Err(command) => {
                    let fate = Fate::Returned { command, delivery: Delivery::NotSent, generation: None };
                    assert!(self.told.insert(message, fate).is_none());
                }
            }
            moved = true;
        }
        self.reconnect.handle_timeout(now);
        if let Some(Order::Connect { generation, .. }) = self.reconnect.poll_order(now) {
            match Link::dial(net, self.to, frames(), config()) {
                Ok(link) => self.link = Some((generation, link)),
                Err(_) => self.reconnect.connect_failed(now, generation),
            }
            moved = true;
        }
        let Some((generation, link)) = &mut self.link else { return moved };
        let generation = *generation;
        let was_connected = link.connected;
        let events = link.drive(net);
        if link.connected && !was_connected {
            self.reconnect.connected(now, generation);
            self.outbox.connected(generation, Vec::new());
        }
        while let Some(message) = self.outbox.front() {
            let before = link.session.stats().accepted;
            match link.session.send(now, numbered(*message)) {
                Ok(()) => self.outbox.accept_front(before, link.session.stats().accepted),
                Err(SendError::TooLarge { .. } | SendError::Invalid { .. }) => self.outbox.reject_front(),
                Err(_) => break,
            }
            moved = true;
        }
        let stats = link.session.stats();
        self.outbox.flushed(&stats);
        moved |= !events.is_empty();
        for event in events {
            match event {
                Event::App(_) => self.reconnect.proved_useful(generation),
                Event::Closed(_) if was_connected || self.reconnect.is_up() => {
                    self.outbox.lost(&stats);
                    self.reconnect.lost(now, generation);
                    self.link = None;
                }
                Event::Closed(_) => {
                    self.reconnect.connect_failed(now, generation);
                    self.link = None;
                }
                Event::PeerFinished | Event::Writable => {}
            }
        }
        self.note_fates();
        moved
    }
}

fn config() -> Config {
    let timeouts = Timeouts::new().connect(Some(Duration::from_secs(3))).idle(Some(Duration::from_secs(6)));
    Config::new().timeouts(timeouts.write_stall(Some(Duration::from_secs(4))).keepalive(None))
}

impl Machine for Client {
    fn poll(&mut self, net: &mut Net<'_>) {
        for round in 0.. {
            assert!(round < 10_000, "it spins");
            if !self.step(net) {
                break;
            }
        }
        if net.now() >= self.give_up_at {
            self.outbox.give_all_back();
            self.note_fates();
        }
        if self.told.len() as u64 == MESSAGES {
            self.reconnect.stop();
            match &mut self.link {
                Some((_, link)) => link.session.close(net.now(), CloseIntent::Flush(Code(0))),
                None => self.over = true,
            }
            self.step(net);
            self.over |= self.link.is_none();
        }
        let planned = self.planned.last().map(|(at, _)| *at);
        net.alarm(self.give_up_at.max(net.now().after(Duration::from_secs(1))));
        if let Some(at) = earlier(planned, self.reconnect.deadline().map(|deadline| deadline.at)) {
            net.alarm(at);
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

struct Run {
    policy: Queued,
    told: BTreeMap<u64, Fate<u64>>,
    arrived: Vec<u64>,
    generations: u64,
    hash: u64,
}

fn run(seed: u64) -> Run {
    let mut rng = Rng::new(seed);
    let policy = [Queued::Drop, Queued::Keep, Queued::ResendUnsent][seed as usize % 3];
    let mut world = World::new(seed);
    let (client, server) = (world.host("client"), world.host("server"));
    let ledger = Ledger::default();
    let (of_server, mut seeds) = (ledger.clone(), Rng::new(seed ^ 99));
    world.listen(server, 80, Listen::default(), config(), move || {
        (frames(), Echo { ledger: of_server.clone(), rng: Rng::new(seeds.next_u64()), finish_one_in: 15 })
    });
    // So narrow that messages wait behind each other.
    world.set_link(Wire { capacity: 1 + rng.below(40) as usize, ..Wire::default() });
    world.faults(&FaultSchedule::swarm(seed, network_faults(12, 300)));
    let backoff = Backoff::new().initial(Duration::from_millis(20)).cap(Duration::from_millis(500));
    let mut planned: Vec<_> = (0..MESSAGES).map(|n| (Duration::from_nanos(rng.below(4_000_000_000)), n)).collect();
    planned.sort();
    planned.reverse();
    let make = |net: &mut Net<'_>| {
        // The host's clock began when it began.
        let start = net.now();
        Client {
            reconnect: Reconnect::new(backoff, None, seed, start).expect("pauses that work"),
            outbox: Outbox::new(policy, 30),
            to: server,
            link: None,
            planned: planned.into_iter().map(|(after, n)| (start.after(after), n)).collect(),
            sent: BTreeMap::new(),
            told: BTreeMap::new(),
            give_up_at: start.after(Duration::from_secs(120)),
            over: false,
        }
    };
    let id = world.add::<ConnectError>(client, |net| Ok(Box::new(make(net)))).expect("added");
    let outcome = world.run_until_quiet(Duration::from_secs(600));
    let hash = world.hash();
    let machine = world.machine::<Client>(id).expect("it is there");
    assert_eq!(outcome, Outcome::Quiet, "seed {seed}: {} of {MESSAGES} are told", machine.told.len());
    let (told, generations) = (machine.told.clone(), machine.reconnect.generation().0);
    let arrived = ledger.borrow().clone();
    Run { policy, told, arrived, generations, hash }
}

#[test]
fn every_message_arrives_at_most_once_and_what_is_called_unsent_never() {
    let (mut sent, mut arrived, mut unsent, mut cut, mut generations) = (0, 0, 0, 0, 0);
    let mut unsent_while_up = 0;
    for seed in 0..SEEDS {
        let run = run(seed);
        assert_eq!(run.told.len() as u64, MESSAGES, "seed {seed}");
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        run.arrived.iter().for_each(|message| *times.entry(*message).or_default() += 1);
        assert!(times.values().all(|times| *times == 1), "seed {seed}: doubled");
        for (message, fate) in &run.told {
            let there = times.contains_key(message);
            match fate {
                Fate::Sent { generation, .. } => {
                    assert!(generation.0 <= run.generations, "seed {seed}");
                    sent += 1;
                    arrived += u64::from(there);
                }
                Fate::Returned { command, delivery, generation } => {
                    assert_eq!(command, message, "seed {seed}");
                    match delivery {
                        Delivery::NotSent => {
                            assert!(!there, "seed {seed}: message {message} was called unsent, and arrived");
                            let resent = run.policy == Queued::ResendUnsent && generation.is_some();
                            assert!(!resent, "seed {seed}: message {message} should have been sent again");
                            unsent_while_up += u64::from(generation.is_some());
                            unsent += 1;
                        }
                        Delivery::PossiblySent => cut += 1,
                    }
                }
            }
        }
        generations += run.generations;
    }
    println!("{sent} sent, {arrived} of them arrived, {unsent} returned unsent, {cut} cut, {generations} connections");
    assert!(sent > 10_000 && arrived < sent && unsent > 100 && cut > 50 && unsent_while_up > 20, "not all was tried");
    assert!(generations > 3 * SEEDS, "they hardly reconnected");
}

#[test]
fn a_seed_repeats_a_run() {
    for seed in 0..6 {
        let (a, b) = (run(seed), run(seed));
        assert_eq!((a.hash, a.told, a.arrived), (b.hash, b.told, b.arrived), "seed {seed}");
    }
}
