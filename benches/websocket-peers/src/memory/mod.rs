//! Frames alone: out of memory and into memory. The wire, the loops by hand, duologue, tungstenite and fastwebsockets are
//! the files of the main workspace's benchmark.
//!
//! | part | what it does |
//! |---|---|
//! | `parse` | a server takes masked binary messages of 128 bytes out of reads of 64 KiB |
//! | `large` | a server takes masked binary messages of 1 MiB out of reads of 4 KiB |
//! | `serialise` | a client masks and writes binary messages of 128 bytes |
//!
//! Of each message the length and the last byte are added up, so that everybody has looked at what it took; a sum that is
//! wrong ends the run.

#[path = "../../../src/websocket/by_hand.rs"]
mod by_hand;
#[path = "../../../src/websocket/duologue.rs"]
mod duologue;
mod nexus;
#[path = "../../../src/websocket/others.rs"]
mod others;
mod sans_io;
#[path = "../../../src/websocket/wire.rs"]
#[allow(dead_code, reason = "shared with the benchmarks of the main workspace, which use more of it in tests")]
mod wire;
mod wtx;

use std::io::{self, Write, stdout};

use clap::ValueEnum;

use crate::measure::{Series, per_unit};
use crate::report::Table;
use wire::Wire;

/// Bytes of a short message.
const SHORT: usize = 128;
/// Bytes of a large one.
const LARGE: usize = 1 << 20;
/// Messages that a serialiser writes before its output is thrown away, as a driver would write it.
const BATCH: usize = 256;

/// Who does what with WebSocket frames: `parse`, `large` (messages), `serialise`.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Job {
    /// Only copies the reads, as all others have to: to be taken off.
    ParseCopy,
    ParseByHand,
    ParseBorrowed,
    ParseOwned,
    ParseNexusWeb,
    ParseSansIo,
    ParseWtx,
    ParseFastwebsockets,
    ParseTungstenite,
    LargeByHand,
    LargeParts,
    LargeOwned,
    LargeNexusWeb,
    LargeSansIo,
    LargeWtx,
    LargeFastwebsockets,
    LargeTungstenite,
    SerialiseByHand,
    SerialiseBorrowed,
    SerialiseOwned,
    SerialiseNexusWeb,
    SerialiseSansIo,
    SerialiseWtx,
    SerialiseFastwebsockets,
    SerialiseTungstenite,
}

impl Job {
    pub(crate) const PARSE: [Self; 8] = [
        Self::ParseByHand,
        Self::ParseBorrowed,
        Self::ParseOwned,
        Self::ParseNexusWeb,
        Self::ParseSansIo,
        Self::ParseWtx,
        Self::ParseFastwebsockets,
        Self::ParseTungstenite,
    ];
    pub(crate) const LARGE: [Self; 8] = [
        Self::LargeByHand,
        Self::LargeParts,
        Self::LargeOwned,
        Self::LargeNexusWeb,
        Self::LargeSansIo,
        Self::LargeWtx,
        Self::LargeFastwebsockets,
        Self::LargeTungstenite,
    ];
    pub(crate) const SERIALISE: [Self; 8] = [
        Self::SerialiseByHand,
        Self::SerialiseBorrowed,
        Self::SerialiseOwned,
        Self::SerialiseNexusWeb,
        Self::SerialiseSansIo,
        Self::SerialiseWtx,
        Self::SerialiseFastwebsockets,
        Self::SerialiseTungstenite,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ParseCopy => "copying alone",
            Self::ParseByHand | Self::LargeByHand | Self::SerialiseByHand => "by hand",
            Self::ParseBorrowed | Self::SerialiseBorrowed => "duologue, in place",
            Self::LargeParts => "duologue, in parts",
            Self::ParseOwned | Self::LargeOwned | Self::SerialiseOwned => "duologue, owned",
            Self::ParseNexusWeb | Self::LargeNexusWeb | Self::SerialiseNexusWeb => "nexus-web",
            Self::ParseSansIo | Self::LargeSansIo | Self::SerialiseSansIo => "websocket-sans-io",
            Self::ParseWtx | Self::LargeWtx | Self::SerialiseWtx => "wtx",
            Self::ParseFastwebsockets | Self::LargeFastwebsockets | Self::SerialiseFastwebsockets => "fastwebsockets",
            Self::ParseTungstenite | Self::LargeTungstenite | Self::SerialiseTungstenite => "tungstenite",
        }
    }

    fn wire(self, messages: usize) -> Wire {
        if Self::LARGE.contains(&self) {
            Wire::new(LARGE, 4 << 10, messages)
        } else {
            Wire::new(SHORT, 64 << 10, messages)
        }
    }

    /// Does it with all messages and returns the sum over them.
    fn run(self, wire: &Wire) -> u64 {
        match self {
            Self::ParseCopy => by_hand::copy(wire),
            Self::ParseByHand | Self::LargeByHand => by_hand::parse(wire),
            Self::ParseBorrowed => duologue::borrowed(wire),
            Self::LargeParts => duologue::parts(wire),
            Self::ParseOwned | Self::LargeOwned => duologue::owned(wire),
            Self::ParseNexusWeb | Self::LargeNexusWeb => nexus::parse(wire),
            Self::ParseSansIo | Self::LargeSansIo => sans_io::parse(wire),
            Self::ParseWtx | Self::LargeWtx => wtx::parse(wire),
            Self::ParseFastwebsockets | Self::LargeFastwebsockets => others::fastwebsockets(wire),
            Self::ParseTungstenite | Self::LargeTungstenite => others::tungstenite(wire),
            Self::SerialiseByHand => by_hand::serialise(wire),
            Self::SerialiseBorrowed => duologue::serialise_in_place(wire),
            Self::SerialiseOwned => duologue::serialise(wire),
            Self::SerialiseNexusWeb => nexus::serialise(wire),
            Self::SerialiseSansIo => sans_io::serialise(wire),
            Self::SerialiseWtx => wtx::serialise(wire),
            Self::SerialiseFastwebsockets => others::fastwebsockets_writes(wire),
            Self::SerialiseTungstenite => others::tungstenite_writes(wire),
        }
    }

    /// With the sum checked.
    fn checked(self, wire: &Wire) -> io::Result<u64> {
        let sum = self.run(wire);
        let last = wire.payload.last().copied().unwrap_or_default();
        let right = wire.messages as u64 * (wire.payload.len() as u64 + u64::from(last));
        if self == Self::ParseCopy || sum == right {
            Ok(sum)
        } else {
            Err(io::Error::other(format!("{self:?} saw a sum of {sum}, and {right} is right")))
        }
    }
}

pub(crate) fn compare(rounds: usize, messages: usize) -> io::Result<[Table; 3]> {
    let title = "Parse and unmask, 128-byte messages out of 64 KiB reads: time per message";
    let parse = table(title, Job::PARSE, rounds, 20_000, messages)?;
    let title = "Large messages, 1 MiB out of 4 KiB reads: time per message";
    let large = table(title, Job::LARGE, rounds, 10, messages / 5000)?;
    let title = "Serialise and mask as a client, 128-byte messages: time per message";
    let serialise = table(title, Job::SERIALISE, rounds, 20_000, messages)?;
    Ok([parse, large, serialise])
}

fn table(title: &str, jobs: [Job; 8], rounds: usize, slice: usize, messages: usize) -> io::Result<Table> {
    let slices = messages.div_ceil(slice);
    let mut series: Vec<_> = jobs.iter().map(|job| Series::new(job.name(), None)).collect();
    for job in jobs {
        job.checked(&job.wire(slice))?;
    }
    for round in 1..=rounds {
        eprint!("memory, {title}, round {round} of {rounds}:");
        for (job, series) in jobs.iter().zip(&mut series) {
            let wire = job.wire(slice);
            let spent = per_unit(slices, slice, || job.run(&wire));
            eprint!(" {spent:.1}");
            series.rounds.push(spent);
        }
        eprintln!(" ns");
    }
    Ok(Table { title: title.to_owned(), series })
}

/// One of them alone, for counting instructions from outside.
pub(crate) fn only(job: Job, messages: usize) -> io::Result<()> {
    let sum = job.checked(&job.wire(messages))?;
    writeln!(stdout(), "{messages} messages, sum {sum}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_sees_and_writes_every_message() {
        for job in Job::value_variants() {
            job.checked(&job.wire(if Job::LARGE.contains(job) { 3 } else { 3000 })).unwrap();
        }
    }

    /// What the writers of this folder write is what the parser by hand takes.
    #[test]
    fn what_is_written_is_right() {
        let wire = Wire::new(SHORT, 64 << 10, 10);
        for written in [nexus::written(&wire), sans_io::written(&wire), wtx::written(&wire)] {
            assert_eq!(written.len(), 10 * (SHORT + 8));
            for frame in written.chunks(SHORT + 8) {
                assert_eq!(frame[..4], [0x82, 0xFE, 0, SHORT as u8]);
                let key = &frame[4..8];
                let payload: Vec<u8> = frame[8..].iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
                assert_eq!(payload, wire.payload);
            }
        }
    }
}
