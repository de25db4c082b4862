//! Random calls, with moods that make some orders likely.

use duologue_core::Rng;

use super::call::{StreamCall, StreamOp};
use super::subject::StreamSubject;
use super::world::StreamWorld;
use crate::subject::Role;

/// What a script is likely to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamMood {
    /// Much data on few streams.
    Bulk,
    /// Streams come and go.
    Churn,
    /// Applications that hardly read.
    Stalled,
    /// A bad network.
    Faulty,
    /// Sending is blocked for long.
    Blocked,
    /// A hostile peer.
    Hostile,
}

impl StreamMood {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Bulk, Self::Churn, Self::Stalled, Self::Faulty, Self::Blocked, Self::Hostile];
}

pub(crate) fn next<S: StreamSubject>(world: &StreamWorld<'_, S>, rng: &mut Rng, mood: StreamMood) -> StreamCall {
    let index = rng.below(2) as usize;
    let role = Role::of(index);
    let which = rng.next_u64() as u32;
    let open = world.sides[index].accounts.values().filter(|account| account.closed.is_none()).count();
    let op = match rng.below(1000) {
        roll if roll < faults(mood) => fault(rng, mood),
        _ if open == 0 => open_one(rng, mood),
        _ => match rng.below(100) {
            0..4 if mood != StreamMood::Bulk || open < 4 => open_one(rng, mood),
            4..8 if mood == StreamMood::Churn => open_one(rng, mood),
            8..10 => StreamOp::Finish(which),
            10 if mood != StreamMood::Bulk => StreamOp::Reset(which),
            11 if rng.below(3) == 0 => StreamOp::Stop(which),
            12 if rng.below(2) == 0 => {
                StreamOp::Deadline { which, after: [0, 1, 3_000_000, 40_000_000][rng.below(4) as usize] }
            }
            13 => StreamOp::OverRelease(which),
            14 => StreamOp::Timeout,
            15 | 16 => return StreamCall::Wait(rng.below(4_000_000)),
            17 if mood == StreamMood::Blocked => {
                if rng.below(3) == 0 {
                    StreamOp::Thaw
                } else {
                    StreamOp::Freeze
                }
            }
            18..40 => StreamOp::Send { which, len: length(rng), owned: rng.below(3) == 0 },
            40..52 => StreamOp::Recv { which, most: length(rng) },
            52..58 => StreamOp::Copy { which, most: length(rng) },
            58..64 => StreamOp::Release { which, most: length(rng) },
            64..74 => StreamOp::Poll(1 + rng.below(3) as u32),
            74..88 => StreamOp::Transmit(length(rng).max(1)),
            _ => StreamOp::Read(length(rng).max(1)),
        },
    };
    StreamCall::At(role, op)
}

fn open_one(rng: &mut Rng, mood: StreamMood) -> StreamOp {
    let deaf = rng.below(if mood == StreamMood::Stalled { 2 } else { 8 }) == 0;
    StreamOp::Open { weight: [1, 4, 16, 16, 64, 255][rng.below(6) as usize], deaf }
}

fn length(rng: &mut Rng) -> u32 {
    match rng.below(8) {
        0 => rng.below(3) as u32,
        1..4 => 1 + rng.below(40) as u32,
        4..7 => 1 + rng.below(1500) as u32,
        _ => rng.below(6000) as u32,
    }
}

const fn faults(mood: StreamMood) -> u64 {
    match mood {
        StreamMood::Faulty => 12,
        StreamMood::Hostile => 30,
        _ => 0,
    }
}

fn fault(rng: &mut Rng, mood: StreamMood) -> StreamOp {
    if mood == StreamMood::Hostile {
        return StreamOp::Inject { seed: rng.next_u64(), len: 1 + rng.below(40) as u32 };
    }
    match rng.below(8) {
        0 | 1 => StreamOp::CutFin,
        2 => StreamOp::Fail,
        3 | 4 => StreamOp::Close,
        5 => StreamOp::Abort,
        6 => StreamOp::Freeze,
        _ => StreamOp::Thaw,
    }
}
