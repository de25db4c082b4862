//! Random calls: any legal order, with moods that make some orders likely.

use duologue_core::{Delivery, FaultKind, Operation, Rng};

use crate::call::{Call, Op};
use crate::subject::{Role, Subject};
use crate::world::World;

/// What a script is likely to do. Every mood can do everything, but traffic that is closed after ten calls never
/// reaches a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Much traffic, few ends.
    Talkative,
    /// Ends early and in every way.
    Hasty,
    /// A hostile peer and a bad network.
    Hostile,
    /// An application that hardly takes events.
    Sleepy,
    /// Time passes more than bytes do.
    Slow,
    /// Sending is blocked for long.
    Blocked,
}

impl Mood {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Talkative, Self::Hasty, Self::Hostile, Self::Sleepy, Self::Slow, Self::Blocked];
}

const KINDS: [FaultKind; 7] = [
    FaultKind::Reset,
    FaultKind::BrokenPipe,
    FaultKind::TimedOut,
    FaultKind::Unreachable,
    FaultKind::Refused,
    FaultKind::Truncated,
    FaultKind::Other,
];

const OPERATIONS: [Operation; 4] = [Operation::Connect, Operation::Read, Operation::Write, Operation::ShutdownWrite];

/// Of so many calls while one thing was begun of late, one drains.
const DRAINS: u64 = 16;

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

/// The next calls of a script.
pub(crate) fn next<S: Subject>(world: &World<'_, S>, rng: &mut Rng, mood: Mood, out: &mut Vec<Call>) {
    let role = Role::of(rng.below(2) as usize);
    if let Some(op) = drains(world, rng, role) {
        return out.push(Call::At(role, op));
    }
    let roll = rng.below(1000);
    let (ends, hostile, time) = match mood {
        Mood::Talkative => (6, 4, 40),
        Mood::Hasty => (110, 10, 60),
        Mood::Hostile => (25, 90, 60),
        Mood::Sleepy => (12, 12, 60),
        Mood::Slow => (20, 10, 300),
        Mood::Blocked => (15, 40, 50),
    };
    if roll < ends {
        out.push(Call::At(role, end(rng)));
    } else if roll < ends + hostile {
        out.push(Call::At(role, tamper(rng, mood)));
    } else if roll < ends + hostile + time {
        pass_time(rng, role, out);
    } else if roll < ends + hostile + time + 60 {
        out.push(Call::At(role, spurious(rng)));
    } else if roll < ends + hostile + time + 60 + 170 {
        out.push(Call::At(role, Op::Send { seed: rng.next_u64() }));
    } else {
        out.push(Call::At(role, wanted(world, rng, role, mood)));
    }
}

/// A drain while something is under way, and then what it waits for. Left to chance, most find nothing to end.
fn drains<S: Subject>(world: &World<'_, S>, rng: &mut Rng, role: Role) -> Option<Op> {
    let side = &world.sides[role.index()];
    let begun = side.delivered.iter().rev().take(4).filter(|event| world.subject.begins(event)).count();
    if begun == 0 {
        return None;
    }
    let op = if side.drained.is_some() { Op::Send { seed: rng.next_u64() } } else { Op::Drain };
    (rng.below(if side.drained.is_some() { 2 } else { DRAINS / begun as u64 }) == 0).then_some(op)
}

/// Something that the side wants.
fn wanted<S: Subject>(world: &World<'_, S>, rng: &mut Rng, role: Role, mood: Mood) -> Op {
    let side = &world.sides[role.index()];
    let interest = side.session.interest();
    if !side.connected && rng.below(4) == 0 {
        return Op::Connected;
    }
    let takes = mood != Mood::Sleepy || rng.below(12) == 0;
    let in_place = side.config.delivery == Delivery::InPlace;
    let small = |rng: &mut Rng| match rng.below(4) {
        0 => 1,
        1 => 1 + rng.below(4) as usize,
        2 => 1 + rng.below(24) as usize,
        _ => 4096,
    };
    let mut wishes = Vec::new();
    if interest.write {
        let (max, slices) = (small(rng), 1 + rng.below(4) as usize);
        wishes.push(Op::Transmit { max, slices });
    }
    if interest.read {
        wishes.push(Op::Read { max: small(rng) });
    }
    if interest.event && takes {
        let (budget, room) = (1 + rng.below(4) as usize, rng.below(3) as usize * 14);
        let reply = (rng.below(2) == 0).then(|| rng.next_u64());
        if in_place && rng.below(4) > 0 {
            wishes.push(Op::Handle { budget, room, reply });
        } else {
            wishes.push(Op::Poll { max: 1 + rng.below(3) as usize });
        }
    }
    if interest.shutdown_write {
        wishes.push(Op::ShutdownDone);
    }
    if interest.release.is_some() {
        wishes.push(Op::Release);
    }
    if interest.deadline.is_some_and(|d| d.at <= world.now) {
        wishes.push(Op::Timeout);
    }
    match wishes.len() {
        0 => Op::Poll { max: 1 },
        n => wishes.swap_remove(rng.below(n as u64) as usize),
    }
}

fn end(rng: &mut Rng) -> Op {
    match rng.below(22) {
        20.. => Op::Drain,
        0..5 => Op::Finish,
        5 => Op::ShutdownRead,
        6..10 => Op::Close { flush: rng.below(3) == 0, code: rng.below(5) as u32 },
        10 => Op::Abort { code: rng.below(5) as u32 },
        11..18 => Op::Fault { operation: pick(rng, &OPERATIONS), kind: pick(rng, &KINDS) },
        18 => Op::Overreport,
        _ => Op::ReleaseUnasked,
    }
}

fn tamper(rng: &mut Rng, mood: Mood) -> Op {
    if mood == Mood::Blocked {
        return if rng.below(3) == 0 { Op::Thaw } else { Op::Freeze };
    }
    match rng.below(8) {
        0 => Op::Inject { seed: rng.next_u64(), len: 1 + rng.below(30) as usize },
        1 | 2 => Op::Flood { seed: rng.next_u64() },
        3 => Op::CutFin,
        4 => Op::CutReset,
        5 | 6 => Op::Freeze,
        _ => Op::Thaw,
    }
}

fn spurious(rng: &mut Rng) -> Op {
    match rng.below(8) {
        0 | 1 => Op::Timeout,
        2 => Op::ShutdownDone,
        3 => Op::Read { max: 0 },
        4 => Op::Transmit { max: 0, slices: 2 },
        5 => Op::Lend,
        6 => Op::Reclaim,
        _ => Op::Poll { max: 1 },
    }
}

fn pass_time(rng: &mut Rng, role: Role, out: &mut Vec<Call>) {
    match rng.below(8) {
        0..3 => out.push(Call::Wait { nanos: 1 + rng.below(50_000_000) }),
        3 => out.push(Call::Wait { nanos: rng.below(40_000_000_000) }),
        4 => out.push(Call::ClockBack { nanos: rng.below(5_000_000_000) }),
        5 => out.push(Call::UntilDeadline { role, offset: -1 }),
        6 => {
            let offset = pick(rng, &[0, 0, 0, 1, 1_000_000_000]);
            out.push(Call::UntilDeadline { role, offset });
        }
        _ => {
            out.push(Call::UntilDeadline { role, offset: 0 });
            out.push(Call::At(role, Op::Timeout));
        }
    }
    if rng.below(2) == 0 {
        out.push(Call::At(role, Op::Timeout));
    }
}
