//! The laws of many streams under one session, for any protocol that is [`Multiplex`](duologue_core::streams::Multiplex).
//!
//! As for sessions, an adversarial driver makes any legal order of calls on two sides joined by a link of tiny capacity:
//! it opens, sends, finishes, resets, reads late or never, lets deadlines pass, and does to the link what networks do.
//! After each call an account kept beside is compared with what the streams say. A run is a script; one that breaks a
//! law is replayed, shrunk, and printed with its seed.
//!
//! Describe a protocol as a [`StreamSubject`] and call [`run`]. The laws are listed in [`StreamLaw`]; each is a function in
//! `laws.rs`.

mod account;
mod call;
mod generate;
mod laws;
mod settle;
mod subject;
mod world;

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use duologue_core::Rng;

pub use call::{StreamCall, StreamOp};
pub use generate::StreamMood;
pub use subject::{KnownStream, StreamEventOf, StreamSubject};
pub use world::StreamWorld;

use crate::run::fnv;

/// Replays that shrinking may take.
const ATTEMPTS: usize = 800;

/// A law that every protocol of many streams keeps, in every order of legal calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamLaw {
    /// Nothing panics, and two honest sides never accuse each other.
    S0Total,
    /// Credit is neither made up nor lost, per stream and per connection, on one side and between both; every byte that
    /// was accepted was sent, waits, or is counted.
    S1Conserved,
    /// A stream that nobody reads stalls itself only: all others deliver everything.
    S2Isolated,
    /// Exactly one end for each stream that the application heard of, and nothing about it afterwards.
    S3OneEnd,
    /// No data after a finish, in neither direction.
    S4FinishLast,
    /// No stream waits for more than one turn of each other stream.
    S5Fair,
    /// Who waits for data, room, a place or a deadline is woken as soon as it is there.
    S6Woken,
    /// Buffers, slots and queues stay inside their limits.
    S7Bounded,
    /// What is taken is a prefix of what was sent, with the same message ends; complete if the peer finished.
    S8Faithful,
    /// Finish, cancel, deadline, close and loss are told apart.
    S9ToldApart,
    /// Reading never waits for writing.
    S10ReadsNeverWait,
    /// Everything was ended and exchanged: no stream, no credit and no wish is left.
    S11QuietEnd,
    /// The same calls, the same outcome.
    S12Deterministic,
}

/// A law that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamBroken {
    /// Which.
    pub law: StreamLaw,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for StreamBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.law, self.what)
    }
}

type Verdict = Result<(), StreamBroken>;

fn law(law: StreamLaw, held: bool, what: impl FnOnce() -> String) -> Verdict {
    if held { Ok(()) } else { Err(StreamBroken { law, what: what() }) }
}

/// A run as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamScript {
    /// The seed it was made from.
    pub seed: u64,
    /// The configuration.
    pub variant: usize,
    /// Bytes that the link holds, towards the client and towards the server.
    pub capacity: [usize; 2],
    /// The calls.
    pub calls: Vec<StreamCall>,
}

impl fmt::Display for StreamScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, variant {}, link {:?} bytes", self.seed, self.variant, self.capacity)?;
        self.calls.iter().enumerate().try_for_each(|(i, call)| writeln!(f, "{i:4}  {call:?}"))
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamReport {
    /// Scripts.
    pub cases: u64,
    /// Calls.
    pub steps: u64,
    /// Streams, as each side counts them.
    pub streams: u64,
    /// Bytes that applications took.
    pub bytes: u64,
    /// Streams that ended, by how: for sometimes-assertions.
    pub ends: std::collections::BTreeMap<&'static str, u64>,
    /// Bytes that a stream waited for another's turn, at most: that the bound on fairness was approached.
    pub longest_wait: u64,
    /// A hash of everything seen.
    pub trace: u64,
}

impl StreamReport {
    fn merge(&mut self, other: &Self) {
        self.cases += other.cases;
        self.steps += other.steps;
        self.streams += other.streams;
        self.bytes += other.bytes;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        other.ends.iter().for_each(|(end, n)| *self.ends.entry(end).or_default() += n);
        self.trace = fnv(self.trace, other.trace);
    }
}

/// A law was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFailure {
    /// Of which subject.
    pub subject: &'static str,
    /// Which law, and how.
    pub broken: StreamBroken,
    /// The shortest script found that breaks it.
    pub script: StreamScript,
}

impl fmt::Display for StreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} breaks {}\n{}", self.subject, self.broken, self.script)
    }
}

impl core::error::Error for StreamFailure {}

/// Checks `cases` random scripts.
///
/// # Errors
/// A law was broken: the first failure, shrunk.
pub fn run<S: StreamSubject>(subject: &S, cases: u64, seed: u64) -> Result<StreamReport, Box<StreamFailure>> {
    let mut total = StreamReport::default();
    for case in 0..cases {
        total.merge(&check(subject, seed.wrapping_mul(1_000_003).wrapping_add(case))?);
    }
    Ok(total)
}

/// Makes one random script and checks every law after each call.
///
/// # Errors
/// A law was broken; the script is shrunk.
pub fn check<S: StreamSubject>(subject: &S, seed: u64) -> Result<StreamReport, Box<StreamFailure>> {
    let mut rng = Rng::new(seed);
    let mut below = |n: usize| rng.below(n as u64) as usize;
    let variant = below(subject.variants());
    let capacity = [[1, 60, 700, 20_000][below(4)], [1, 60, 700, 20_000][below(4)]];
    let mood = StreamMood::ALL[below(StreamMood::ALL.len())];
    let steps = 60 + below(500);
    let mut script = StreamScript { seed, variant, capacity, calls: Vec::new() };
    let outcome = guarded(|| {
        let mut world = StreamWorld::new(subject, &script);
        while script.calls.len() < steps {
            let call = generate::next(&world, &mut rng, mood);
            script.calls.push(call);
            world.apply(&call)?;
        }
        world.end()
    });
    let outcome = match outcome {
        Ok(report) if seed % 8 == 0 => guarded(|| play(subject, &script)).and_then(|again| {
            law(StreamLaw::S12Deterministic, again == report, || "the same script gave another trace".into())?;
            Ok(report)
        }),
        outcome => outcome,
    };
    outcome.map_err(|broken| {
        let (script, broken) = shrink(subject, script, broken);
        Box::new(StreamFailure { subject: subject.name(), broken, script })
    })
}

/// Plays a script again.
///
/// # Errors
/// A law was broken.
pub fn replay<S: StreamSubject>(subject: &S, script: &StreamScript) -> Result<StreamReport, Box<StreamFailure>> {
    let failure = |broken| Box::new(StreamFailure { subject: subject.name(), broken, script: script.clone() });
    guarded(|| play(subject, script)).map_err(failure)
}

fn play<S: StreamSubject>(subject: &S, script: &StreamScript) -> Result<StreamReport, StreamBroken> {
    let mut world = StreamWorld::new(subject, script);
    script.calls.iter().try_for_each(|call| world.apply(call))?;
    world.end()
}

fn guarded<R>(run: impl FnOnce() -> Result<R, StreamBroken>) -> Result<R, StreamBroken> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(StreamBroken { law: StreamLaw::S0Total, what: format!("panicked: {}", text.unwrap_or_default()) })
    })
}

/// Takes ever smaller stretches of calls out, as long as the same law stays broken.
fn shrink<S: StreamSubject>(
    subject: &S,
    mut script: StreamScript,
    mut broken: StreamBroken,
) -> (StreamScript, StreamBroken) {
    let mut attempts = 0;
    let mut stretch = script.calls.len().div_ceil(2);
    while stretch > 0 && attempts < ATTEMPTS {
        let (mut at, mut shorter) = (0, false);
        while at < script.calls.len() && attempts < ATTEMPTS {
            let mut candidate = script.clone();
            candidate.calls.drain(at..(at + stretch).min(script.calls.len()));
            attempts += 1;
            match guarded(|| play(subject, &candidate)) {
                Err(again) if again.law == broken.law => (script, broken, shorter) = (candidate, again, true),
                _ => at += stretch,
            }
        }
        stretch = if stretch == 1 && shorter { 1 } else { stretch / 2 };
    }
    (script, broken)
}
