//! A model check: every interleaving of calls at two sessions and the link between them, breadth first, every law
//! checked at every state, and from every state the way to the release.
//!
//! A state that was seen before is not entered again, by a hash of all that decides how it goes on. What the laws
//! compare with the past (bytes received, messages taken) is that of the first way there.

use core::fmt;
use core::hash::{Hash, Hasher};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::DefaultHasher;

use duologue_core::{CloseOrder, RecvState, SendState};

use crate::call::{Call, Op};
use crate::coverage::Coverage;
use crate::law::{Broken, Law, Verdict, law};
use crate::run::{Failure, Script};
use crate::subject::{EventOf, Role, Subject, ViolationOf};
use crate::world::{Pipe, World};

/// Rounds of both sides, and waits, that an end may take.
const ROUNDS: usize = 400;

/// What is searched.
#[derive(Clone, Debug)]
pub struct Model {
    /// The configuration, the link's capacity and whether the client is still connecting at the start.
    pub start: Script,
    /// What may happen at any moment: a name, and the calls.
    pub moves: Vec<(String, Vec<Call>)>,
    /// The two sides are alike: the same protocol, configuration and link. Of two states that differ only in who is
    /// who, one is searched.
    pub alike: bool,
    /// Messages that each side may send.
    pub messages: u64,
    /// Moves in a row.
    pub depth: usize,
    /// The search stops at this many states.
    pub most_states: usize,
}

/// How far both sides came: of each the two halves, and whether its transport was released.
pub type Joint = [(RecvState, SendState, bool); 2];

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// Different states, each with every law checked and its way to the release gone.
    pub states: usize,
    /// Moves tried.
    pub moves: usize,
    /// Moves from the start to the states furthest away.
    pub depth: usize,
    /// Nothing was left out: every state that can be reached was seen.
    pub complete: bool,
    /// States in which both transports were released.
    pub released: usize,
    /// From which pair of states each move, by its place among the moves, leads to which others.
    pub joint: BTreeMap<Joint, BTreeSet<(usize, Joint)>>,
    /// What was reached.
    pub coverage: Coverage,
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, moves, depth, released, .. } = self;
        let whole = if self.complete { "complete" } else { "cut off" };
        write!(f, "{states} states, {released} of them released, by {moves} moves, depth {depth}, {whole}")
    }
}

/// Everything that may happen at each side and to the link towards it; `seed` gives the message that is sent.
#[must_use]
pub fn every_move(seed: u64) -> Vec<(String, Vec<Call>)> {
    use duologue_core::{FaultKind, Operation};
    let ops = [
        ("transmit 1", Op::Transmit { max: 1, slices: 1 }),
        ("transmit all", Op::Transmit { max: 4096, slices: 8 }),
        ("read 1", Op::Read { max: 1 }),
        ("read all", Op::Read { max: 4096 }),
        ("poll", Op::Poll { max: 1 }),
        ("send", Op::Send { seed }),
        ("finish", Op::Finish),
        ("drain", Op::Drain),
        ("shutdown_read", Op::ShutdownRead),
        ("close goodbye", Op::Close { flush: false, code: 1 }),
        ("close flush", Op::Close { flush: true, code: 2 }),
        ("abort", Op::Abort { code: 3 }),
        ("shutdown_done", Op::ShutdownDone),
        ("release", Op::Release),
        ("connected", Op::Connected),
        ("write fails", Op::Fault { operation: Operation::Write, kind: FaultKind::BrokenPipe }),
        ("FIN of the link", Op::CutFin),
        ("RST of the link", Op::CutReset),
    ];
    let at = |role: Role, name: &str, calls: Vec<Call>| (format!("{} {name}", role.as_str()), calls);
    let each = |role: Role| {
        let deadline = vec![Call::UntilDeadline { role, offset: 0 }, Call::At(role, Op::Timeout)];
        let ops = ops.clone().into_iter().map(move |(name, op)| at(role, name, vec![Call::At(role, op)]));
        ops.chain([at(role, "deadline", deadline)])
    };
    Role::BOTH.into_iter().flat_map(each).collect()
}

/// Searches through all that can happen.
///
/// ```
/// use duologue_laws::subjects::Letters;
/// use duologue_laws::{Model, Script, every_move, search};
///
/// let start = Script { capacity: [1, 1], ..Script::empty(0) };
/// let model =
///     Model { start, moves: every_move(0), alike: true, messages: 1, depth: 3, most_states: 100_000 };
/// let found = search(&Letters, &model).unwrap_or_else(|failure| panic!("{failure}"));
/// assert!(found.states > 100, "{found}");
/// ```
///
/// # Errors
/// A law was broken, or a state has no way to the release: with the shortest script that leads there.
pub fn search<S: Subject>(subject: &S, model: &Model) -> Result<Searched, Box<Failure>>
where
    S::Protocol: Clone + Hash,
    EventOf<S>: Hash,
    ViolationOf<S>: Hash,
{
    let seed = model.start.seed;
    let start = World::seeded(subject, &model.start, [seed, seed]);
    let mut search = Search { subject, model, ways: vec![(0, 0)], seen: HashSet::new(), ends: Default::default() };
    let mut found = Searched { states: 1, complete: true, ..Searched::default() };
    search.seen.insert(start.state_if(model.alike));
    let mut frontier = vec![(0, start)];
    while !frontier.is_empty() && found.depth < model.depth {
        let mut next = Vec::new();
        for (way, mut world) in frontier {
            for (index, (_, calls)) in model.moves.iter().enumerate() {
                if !world.may(calls, model.messages) {
                    continue;
                }
                found.moves += 1;
                let mut after = world.fork();
                let moved = calls.iter().try_for_each(|call| after.apply(call));
                moved.map_err(|broken| search.report(way, Some(index), broken))?;
                let (from, to) = (world.joint(), after.joint());
                if from != to {
                    found.joint.entry(from).or_default().insert((index, to));
                }
                if !search.seen.insert(after.state_if(model.alike)) {
                    continue;
                }
                found.states += 1;
                found.released += usize::from(after.is_released());
                search.ways.push((way, index));
                search.check_ends(&after).map_err(|broken| search.report(way, Some(index), broken))?;
                next.push((search.ways.len() - 1, after));
                if found.states >= model.most_states {
                    found.complete = false;
                    found.coverage.merge(&world.coverage);
                    next.iter().for_each(|(_, world)| found.coverage.merge(&world.coverage));
                    return Ok(found);
                }
            }
            found.coverage.merge(&std::mem::take(&mut world.coverage));
        }
        found.depth += 1;
        frontier = next;
    }
    found.complete = frontier.is_empty();
    Ok(found)
}

struct Search<'a, S> {
    subject: &'a S,
    model: &'a Model,
    /// How each state was reached: from which one, by which move.
    ways: Vec<(usize, usize)>,
    seen: HashSet<u64>,
    /// States of which it is known that they come to the end that is looked for.
    ends: [HashSet<u64>; 2],
}

impl<S: Subject> Search<'_, S>
where
    S::Protocol: Clone + Hash,
    EventOf<S>: Hash,
    ViolationOf<S>: Hash,
{
    /// L8: whoever is left alone is released in the end; two sides that finish need no time for it.
    fn check_ends(&mut self, world: &World<'_, S>) -> Verdict {
        let [left_alone, finished] = &mut self.ends;
        let mut alone = world.fork();
        if !alone.ends_by_itself() {
            alone.close_both()?;
        }
        alone.come_to_an_end(left_alone, self.model.alike, true)?;
        if world.can_end_in_no_time() {
            let mut together = world.fork();
            together.finish_both()?;
            together.come_to_an_end(finished, self.model.alike, false)?;
        }
        Ok(())
    }

    fn report(&self, mut way: usize, last: Option<usize>, broken: Broken) -> Box<Failure> {
        let mut moves: Vec<usize> = last.into_iter().collect();
        while way != 0 {
            let (from, by) = self.ways[way];
            moves.push(by);
            way = from;
        }
        let calls = moves.iter().rev().flat_map(|index| self.model.moves[*index].1.clone()).collect();
        Box::new(Failure { subject: self.subject.name(), broken, script: Script { calls, ..self.model.start.clone() } })
    }
}

impl<S: Subject> World<'_, S>
where
    S::Protocol: Clone + Hash,
    EventOf<S>: Hash,
    ViolationOf<S>: Hash,
{
    /// A copy that goes on as this would. What was reached so far stays with the original.
    #[must_use]
    pub fn fork(&self) -> Self {
        let [client, server] = &self.sides;
        Self {
            subject: self.subject,
            variant: self.variant,
            sides: [client.clone(), server.clone()],
            pipes: self.pipes.clone(),
            now: self.now,
            clock_back: self.clock_back,
            steps: self.steps,
            tampered: self.tampered,
            trace: self.trace,
            coverage: Coverage::default(),
        }
    }

    /// A number for everything that decides how the world and the laws go on.
    #[must_use]
    pub fn state(&self) -> u64 {
        self.state_of([self.side_state(0), self.side_state(1)])
    }

    /// The same for worlds whose sides are alike: it makes no difference which of them is where.
    fn state_if(&self, alike: bool) -> u64 {
        let mut sides = [self.side_state(0), self.side_state(1)];
        if alike {
            sides.sort_unstable();
        }
        self.state_of(sides)
    }

    fn state_of(&self, sides: [u64; 2]) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.now, self.clock_back, self.tampered, sides).hash(&mut hasher);
        hasher.finish()
    }

    fn side_state(&self, i: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        let side = &self.sides[i];
        side.session.hash(&mut hasher);
        (side.connected, side.told, side.heard, side.spoke, side.lingered).hash(&mut hasher);
        (side.peer_finished, side.closed.is_some(), side.after_closed, side.accepted_count).hash(&mut hasher);
        (side.eof_given, side.fin_done, side.eof_before_fin, side.released).hash(&mut hasher);
        (side.finish_called, side.read_shut, side.misused).hash(&mut hasher);
        (&side.first_cause, side.wants, side.due, side.queued_since).hash(&mut hasher);
        let Pipe { bytes, capacity, frozen, fin, reset, cut } = &self.pipes[i];
        (bytes, capacity, frozen, fin, reset, cut).hash(&mut hasher);
        hasher.finish()
    }

    fn joint(&self) -> Joint {
        [0, 1].map(|i| {
            let (recv, send) = self.sides[i].session.states();
            (recv, send, self.sides[i].released)
        })
    }

    fn is_released(&self) -> bool {
        self.sides.iter().all(|side| side.released)
    }

    /// Leaves out what cannot have an effect, and messages beyond their number.
    fn may(&self, calls: &[Call], messages: u64) -> bool {
        calls.iter().all(|call| match call {
            Call::UntilDeadline { role, .. } => self.sides[role.index()].session.interest().deadline.is_some(),
            Call::At(role, op) => {
                let side = &self.sides[role.index()];
                let interest = side.session.interest();
                match op {
                    Op::Transmit { .. } => interest.write,
                    Op::Read { .. } => interest.read,
                    Op::Poll { .. } => interest.event,
                    Op::ShutdownDone => interest.shutdown_write,
                    Op::Release => interest.release.is_some(),
                    Op::Send { .. } => side.accepted_count < messages && !side.released,
                    Op::CutFin | Op::CutReset => !self.pipes[role.index()].cut,
                    Op::Connected => !side.connected,
                    Op::Finish | Op::Drain | Op::ShutdownRead | Op::Close { .. } | Op::Abort { .. } => !side.released,
                    _ => true,
                }
            }
            _ => true,
        })
    }

    fn ends_by_itself(&self) -> bool {
        let bounded = |side: &crate::side::Side<S>| {
            let t = &side.config.timeouts;
            let waits = [t.connect, t.handshake, t.idle, t.close_handshake, t.flush, t.linger];
            waits.iter().all(Option::is_some)
        };
        self.sides.iter().all(bounded)
    }

    /// Nobody is deaf, nothing was cut or failed, and there are no two that each let the other finish first.
    fn can_end_in_no_time(&self) -> bool {
        let healthy = |side: &crate::side::Side<S>| {
            let failed = side.first_cause.as_ref().is_some_and(|cause| cause == "PeerReset");
            side.connected && !failed && !side.read_shut
        };
        let defers = |side: &crate::side::Side<S>| side.config.close_order != CloseOrder::LocalFirst;
        let closing = self.sides.iter().any(|side| side.first_cause.is_some());
        let both_defer = closing && self.sides.iter().all(defers);
        !self.tampered && !both_defer && self.sides.iter().all(healthy)
    }

    fn close_both(&mut self) -> Verdict {
        Role::BOTH.into_iter().try_for_each(|role| self.at(role, &Op::Close { flush: false, code: 4 }))
    }

    fn finish_both(&mut self) -> Verdict {
        Role::BOTH.into_iter().try_for_each(|role| self.at(role, &Op::Finish))
    }

    /// Both sides do what they want, and time passes where nothing moves, until both are released. States on the way
    /// are remembered, so that what is known to end is gone but once.
    fn come_to_an_end(&mut self, known: &mut HashSet<u64>, alike: bool, time_passes: bool) -> Verdict {
        let mut way = Vec::new();
        for _ in 0..ROUNDS {
            let state = self.state_if(alike);
            if self.is_released() || known.contains(&state) {
                known.extend(way);
                return Ok(());
            }
            way.push(state);
            self.obey(Role::Client, true, true)?;
            self.obey(Role::Server, true, true)?;
            if self.state_if(alike) == state {
                law(Law::L8Ends, time_passes, || {
                    format!("two sides that finished wait for a deadline: {}", self.describe())
                })?;
                self.pass_time(&Role::BOTH)?;
            }
        }
        law(Law::L8Ends, false, || format!("not released after {ROUNDS} rounds: {}", self.describe()))
    }
}
