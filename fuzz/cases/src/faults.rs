//! Schedules of faults in the simulated network, judged by the swarm's own oracles: what was delivered is a prefix of
//! what was sent, nothing vanishes, every session tells its end once and in bounded virtual time, nothing spins.
//!
//! The swarm draws a schedule from its seed; here coverage draws it, which finds the fault at just the wrong byte.

use arbitrary::Arbitrary;
use duologue_sim::swarm::{CASES, Options, run as run_seed};
use duologue_sim::{Fault, FaultSchedule, Way};

/// A world and what goes wrong in it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    /// Decides everything but the faults.
    seed: u16,
    case: u8,
    /// The run is repeated, and must be the same bit for bit.
    again: bool,
    faults: Vec<Timed>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Timed {
    millis: u16,
    nanos: u16,
    what: What,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum What {
    Stall { at: Place, millis: u16 },
    BlackHole { at: Place, millis: Option<u16> },
    PartialReads { at: Place, most: u8 },
    PartialWrites { at: Place, most: u8 },
    ResetAt { at: Place, byte: u16 },
    FinAt { at: Place, byte: u16 },
    Reset { at: Place },
    Latency { at: Place, millis: u16, jitter: u8 },
    Bandwidth { at: Place, bytes_per_second: u16 },
    Capacity { at: Place, bytes: u8 },
    HostDies { at: Place },
    ClockJump { at: Place, millis: i32 },
    ClockSkew { at: Place, percent: i8 },
    RefuseConnects { at: Place, millis: u16 },
    SlowConnects { at: Place, millis: u16 },
    AcceptStall { at: Place, millis: u16 },
}

/// Which connection or host, and which direction.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Place(u8);

/// Faults of one run at most.
const MOST: usize = 12;
/// The cases that make sense under any schedule: the dead peer streams until somebody dies, and TIME_WAIT counts.
const ANY_SCHEDULE: [u64; 7] = [0, 3, 4, 5, 6, 7, 8];

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    let cases = CASES.len() as u64;
    let case = ANY_SCHEDULE[usize::from(input.case) % ANY_SCHEDULE.len()];
    let seed = u64::from(input.seed) * cases + case;
    let schedule = schedule(&input.faults);
    let options = Options { schedule: Some(schedule.clone()), ..Options::default() };
    let run = run_seed(seed, &options);
    if let Some(failure) = run.failure {
        panic!("{}, seed {seed}: {failure}\nschedule {}", CASES[case as usize], schedule.to_json());
    }
    if input.again {
        let again = run_seed(seed, &options);
        assert_eq!((again.hash, again.steps, again.time), (run.hash, run.steps, run.time), "L15: seed {seed}");
    }
}

fn schedule(faults: &[Timed]) -> FaultSchedule {
    faults.iter().take(MOST).fold(FaultSchedule::none(), |schedule, timed| {
        let at = nanos(timed.millis) + u64::from(timed.nanos);
        schedule.with(at, timed.what.fault())
    })
}

fn nanos(millis: u16) -> u64 {
    u64::from(millis) * 1_000_000
}

impl Place {
    fn connection(self) -> u32 {
        u32::from(self.0 % 4)
    }

    fn host(self) -> u32 {
        u32::from(self.0 % 3)
    }

    fn one_way(self) -> Way {
        if self.0 & 4 == 0 { Way::ToServer } else { Way::ToClient }
    }

    fn way(self) -> Way {
        if self.0 & 8 == 0 { self.one_way() } else { Way::Both }
    }
}

impl What {
    fn fault(self) -> Fault {
        match self {
            Self::Stall { at, millis } => {
                Fault::Stall { connection: at.connection(), way: at.way(), nanos: nanos(millis) }
            }
            Self::BlackHole { at, millis } => {
                Fault::BlackHole { connection: at.connection(), way: at.way(), nanos: millis.map(nanos) }
            }
            Self::PartialReads { at, most } => {
                Fault::PartialReads { connection: at.connection(), most: u32::from(most).max(1) }
            }
            Self::PartialWrites { at, most } => {
                Fault::PartialWrites { connection: at.connection(), most: u32::from(most).max(1) }
            }
            Self::ResetAt { at, byte } => {
                Fault::ResetAt { connection: at.connection(), way: at.one_way(), byte: u64::from(byte) }
            }
            Self::FinAt { at, byte } => {
                Fault::FinAt { connection: at.connection(), way: at.one_way(), byte: u64::from(byte) }
            }
            Self::Reset { at } => Fault::Reset { connection: at.connection() },
            Self::Latency { at, millis, jitter } => Fault::Latency {
                connection: at.connection(),
                nanos: nanos(millis) / 20,
                jitter_nanos: nanos(u16::from(jitter)),
            },
            Self::Bandwidth { at, bytes_per_second } => {
                Fault::Bandwidth { connection: at.connection(), bytes_per_second: 50 + u64::from(bytes_per_second) }
            }
            Self::Capacity { at, bytes } => {
                Fault::Capacity { connection: at.connection(), bytes: u32::from(bytes).max(1) }
            }
            Self::HostDies { at } => Fault::HostDies { host: at.host() },
            Self::ClockJump { at, millis } => {
                Fault::ClockJump { host: at.host(), nanos: i64::from(millis % 100_000_000) * 1_000_000 }
            }
            Self::ClockSkew { at, percent } => {
                Fault::ClockSkew { host: at.host(), ppm: i32::from(percent).clamp(-50, 100) * 10_000 }
            }
            Self::RefuseConnects { at, millis } => Fault::RefuseConnects { host: at.host(), nanos: nanos(millis) },
            Self::SlowConnects { at, millis } => Fault::SlowConnects { host: at.host(), nanos: nanos(millis) / 4 },
            Self::AcceptStall { at, millis } => Fault::AcceptStall { host: at.host(), nanos: nanos(millis) },
        }
    }
}
