//! Schedules of faults: generated as a swarm, shrunk, written down.

use duologue_core::Rng;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, TimedFault, Way};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

/// Faults and their times. The same schedule and the same seed make the same run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSchedule {
    /// The faults; their order matters only at the same time.
    pub faults: Vec<TimedFault>,
}

/// What a generated schedule may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Connections that will be dialled.
    pub connections: u32,
    /// Hosts that there are.
    pub hosts: u32,
    /// The latest time of a fault, in nanoseconds.
    pub horizon: u64,
    /// Bytes that a direction carries, about.
    pub bytes: u64,
    /// Which kinds are allowed: one bit for each of [`Fault::KINDS`].
    pub allowed: u32,
}

impl Shape {
    /// Every kind of fault.
    pub const ALL: u32 = (1 << Fault::KINDS.len()) - 1;
}

impl FaultSchedule {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a fault at `at` nanoseconds after the start.
    #[must_use]
    pub fn with(mut self, at: u64, fault: Fault) -> Self {
        self.faults.push(TimedFault { at, fault });
        self
    }

    /// A random schedule. Each seed turns on a random subset of the allowed kinds: runs in which everything is a
    /// little wrong hide what only one thing gone wrong shows.
    #[must_use]
    pub fn swarm(seed: u64, shape: Shape) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed_fa17);
        // The average run has three kinds on, some have none and some have all.
        let on = (0..4).fold(0, |on, _| on | (rng.next_u32() & rng.next_u32() & rng.next_u32()));
        let on = on & rng.next_u32() & shape.allowed;
        let mut faults = Vec::new();
        for kind in (0..Fault::KINDS.len()).filter(|kind| on >> kind & 1 == 1) {
            for _ in 0..1 + rng.below(3) {
                // Half of them early, where the openings are.
                let horizon = if rng.below(2) == 0 { shape.horizon / 16 } else { shape.horizon };
                faults.push(TimedFault { at: rng.below(horizon.max(1)), fault: random(&mut rng, kind, shape) });
            }
        }
        Self { faults }
    }

    /// The smallest schedule found that still fails: halves, quarters, ... are left out as long as `fails` holds, and
    /// in the end no single fault can be left out.
    #[must_use]
    pub fn shrink(&self, mut fails: impl FnMut(&Self) -> bool) -> Self {
        let mut best = self.clone();
        let mut part = best.faults.len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            let mut smaller = false;
            while from < best.faults.len() {
                let mut trial = best.clone();
                trial.faults.drain(from..(from + part).min(best.faults.len()));
                if fails(&trial) {
                    best = trial;
                    smaller = true;
                } else {
                    from += part;
                }
            }
            if part == 1 && !smaller {
                return best;
            }
            part = (part / 2).max(1);
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A schedule is numbers and names: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From JSON.
    ///
    /// # Errors
    /// It is not a schedule.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

fn random(rng: &mut Rng, kind: usize, shape: Shape) -> Fault {
    let connection = rng.below(u64::from(shape.connections.max(1))) as u32;
    let host = rng.below(u64::from(shape.hosts.max(1))) as u32;
    let one_way = if rng.below(2) == 0 { Way::ToServer } else { Way::ToClient };
    let way = if rng.below(3) == 0 { Way::Both } else { one_way };
    let wait = [10 * MILLI, SECOND, 10 * SECOND, 90 * SECOND][rng.below(4) as usize];
    let nanos = 1 + rng.below(wait);
    let most = [1, 4, 32, 4096][rng.below(4) as usize];
    let few = 1 + rng.below(most) as u32;
    let byte = rng.below(shape.bytes.max(1));
    match kind {
        0 => Fault::Stall { connection, way, nanos },
        1 => Fault::BlackHole { connection, way, nanos: (rng.below(3) > 0).then_some(nanos) },
        2 => Fault::PartialReads { connection, most: few },
        3 => Fault::PartialWrites { connection, most: few },
        4 => Fault::ResetAt { connection, way: one_way, byte },
        5 => Fault::FinAt { connection, way: one_way, byte },
        6 => Fault::Reset { connection },
        7 => Fault::Latency { connection, nanos: nanos / 50, jitter_nanos: rng.below(nanos / 20 + 1) },
        8 => Fault::Bandwidth { connection, bytes_per_second: 100 + rng.below(1_000_000) },
        9 => Fault::Capacity { connection, bytes: few },
        10 => Fault::HostDies { host },
        11 => {
            let jump = nanos as i64;
            Fault::ClockJump { host, nanos: if rng.below(2) == 0 { jump } else { -jump } }
        }
        12 => Fault::ClockSkew { host, ppm: rng.below(400_001) as i32 - 200_000 },
        13 => Fault::RefuseConnects { host, nanos },
        14 => Fault::SlowConnects { host, nanos: nanos / 4 },
        _ => Fault::AcceptStall { host, nanos },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { connections: 3, hosts: 2, horizon: SECOND, bytes: 1000, allowed: Shape::ALL };

    #[test]
    fn a_schedule_survives_json_and_is_the_same_for_the_same_seed() {
        for seed in 0..200 {
            let schedule = FaultSchedule::swarm(seed, SHAPE);
            assert_eq!(schedule, FaultSchedule::swarm(seed, SHAPE));
            assert_eq!(FaultSchedule::from_json(&schedule.to_json()).unwrap(), schedule);
        }
    }

    #[test]
    fn every_kind_is_generated_and_none_that_is_not_allowed() {
        let mut kinds = 0_u32;
        for seed in 0..2000 {
            let schedule = FaultSchedule::swarm(seed, SHAPE);
            kinds |= schedule.faults.iter().fold(0, |kinds, f| kinds | 1 << f.fault.kind());
            assert!(FaultSchedule::swarm(seed, Shape { allowed: 1 << 6, ..SHAPE }).faults.len() <= 3);
        }
        assert_eq!(kinds, Shape::ALL);
    }

    #[test]
    fn shrinking_leaves_only_what_is_needed() {
        let schedule = (0..40).fold(FaultSchedule::none(), |s, host| s.with(1, Fault::HostDies { host }));
        let needs = |s: &FaultSchedule, host| s.faults.iter().any(|f| f.fault == Fault::HostDies { host });
        let mut trials = 0;
        let small = schedule.shrink(|s| {
            trials += 1;
            needs(s, 7) && needs(s, 31)
        });
        assert_eq!(small.faults.len(), 2);
        assert!(trials < 200, "{trials}");
    }
}
