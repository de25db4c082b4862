//! WebSocket frames alone: out of memory and into memory, in duologue and in the crates people use.
//!
//! | part | what it does |
//! |---|---|
//! | `parse` | a server takes masked binary messages of 128 bytes out of reads of 64 KiB |
//! | `large` | a server takes masked binary messages of 1 MiB out of reads of 4 KiB |
//! | `serialise` | a client masks and writes binary messages of 128 bytes |
//!
//! Of each message the length and the last byte are added up, so that everybody has looked at what it took.

mod by_hand;
mod duologue;
mod others;
mod wire;

use std::io::{self, Write, stdout};

use clap::ValueEnum;

use crate::args::Args;
use crate::decode::Comparison;
use crate::measure::{Series, per_unit};
use wire::Wire;

/// Bytes of a short message.
const SHORT: usize = 128;
/// Bytes of a large one.
const LARGE: usize = 1 << 20;
/// Messages that a serialiser writes before its output is thrown away, as a driver would write it.
const BATCH: usize = 256;

/// Who does what with WebSocket frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Frames {
    /// Only copies the reads, as all others have to: to be taken off.
    ParseCopy,
    /// Parse, by hand.
    ParseByHand,
    /// Parse, a session's `poll_event`.
    ParseOwned,
    /// Parse, a session's `handle`.
    ParseBorrowed,
    /// Parse, tungstenite.
    ParseTungstenite,
    /// Parse, fastwebsockets.
    ParseFastwebsockets,
    /// Large messages, by hand.
    LargeByHand,
    /// Large messages, a session's `poll_event`.
    LargeOwned,
    /// Large messages in parts, a session's `handle`.
    LargeParts,
    /// Large messages, tungstenite.
    LargeTungstenite,
    /// Large messages, fastwebsockets.
    LargeFastwebsockets,
    /// Serialise, by hand.
    SerialiseByHand,
    /// Serialise, a session's `send`.
    SerialiseOwned,
    /// Serialise, a session's `send_in_place`.
    SerialiseBorrowed,
    /// Serialise, tungstenite's `write`.
    SerialiseTungstenite,
    /// Serialise, fastwebsockets' `write_frame`.
    SerialiseFastwebsockets,
}

impl Frames {
    const PARSE: [Self; 5] =
        [Self::ParseByHand, Self::ParseOwned, Self::ParseBorrowed, Self::ParseTungstenite, Self::ParseFastwebsockets];
    const LARGE: [Self; 5] =
        [Self::LargeByHand, Self::LargeOwned, Self::LargeParts, Self::LargeTungstenite, Self::LargeFastwebsockets];
    const SERIALISE: [Self; 5] = [
        Self::SerialiseByHand,
        Self::SerialiseOwned,
        Self::SerialiseBorrowed,
        Self::SerialiseTungstenite,
        Self::SerialiseFastwebsockets,
    ];

    fn series(self) -> Series {
        let name = match self {
            Self::ParseCopy => "copying alone",
            Self::ParseByHand | Self::LargeByHand | Self::SerialiseByHand => "by-hand",
            Self::ParseOwned | Self::LargeOwned | Self::SerialiseOwned => "duologue-owned",
            Self::ParseBorrowed | Self::SerialiseBorrowed => "duologue-borrowed",
            Self::LargeParts => "duologue-parts",
            Self::ParseTungstenite | Self::LargeTungstenite | Self::SerialiseTungstenite => "tungstenite",
            Self::ParseFastwebsockets | Self::LargeFastwebsockets | Self::SerialiseFastwebsockets => "fastwebsockets",
        };
        Series::new(name, None)
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
            Self::ParseOwned | Self::LargeOwned => duologue::owned(wire),
            Self::ParseBorrowed => duologue::borrowed(wire),
            Self::LargeParts => duologue::parts(wire),
            Self::ParseTungstenite | Self::LargeTungstenite => others::tungstenite(wire),
            Self::ParseFastwebsockets | Self::LargeFastwebsockets => others::fastwebsockets(wire),
            Self::SerialiseByHand => by_hand::serialise(wire),
            Self::SerialiseOwned => duologue::serialise(wire),
            Self::SerialiseBorrowed => duologue::serialise_in_place(wire),
            Self::SerialiseTungstenite => others::tungstenite_writes(wire),
            Self::SerialiseFastwebsockets => others::fastwebsockets_writes(wire),
        }
    }
}

pub(crate) fn compare(args: &Args) -> Vec<Comparison> {
    let frames = args.decoded_frames();
    vec![
        rounds(
            args,
            "WebSocket: parse and unmask alone, 128-byte messages out of 64 KiB reads: time per message",
            Frames::PARSE,
            20_000,
            frames,
        ),
        rounds(
            args,
            "WebSocket: large messages, 1 MiB out of 4 KiB reads: time per message",
            Frames::LARGE,
            20,
            frames / 5000,
        ),
        rounds(
            args,
            "WebSocket: serialise and mask as a client, 128-byte messages: time per message",
            Frames::SERIALISE,
            20_000,
            frames,
        ),
    ]
}

fn rounds(args: &Args, title: &'static str, frames: [Frames; 5], slice: usize, messages: usize) -> Comparison {
    let slices = messages.div_ceil(slice);
    let mut series: Vec<_> = frames.iter().map(|frames| frames.series()).collect();
    for round in 1..=args.rounds() {
        eprint!("websocket, round {round} of {}:", args.rounds());
        for (frames, series) in frames.iter().zip(&mut series) {
            let wire = frames.wire(slice);
            let spent = per_unit(slices, slice, || frames.run(&wire));
            eprint!(" {} {spent:.1}", series.name);
            series.rounds.push(spent);
        }
        eprintln!(" ns");
    }
    Comparison { title, series }
}

/// One of them alone, for counting instructions from outside.
pub(crate) fn only(frames: Frames, messages: usize) -> io::Result<()> {
    let sum = frames.run(&frames.wire(messages));
    writeln!(stdout(), "{messages} messages, sum {sum}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_sees_and_writes_every_message() {
        for frames in Frames::value_variants() {
            let wire = frames.wire(if Frames::LARGE.contains(frames) { 3 } else { 3000 });
            if *frames != Frames::ParseCopy {
                assert_eq!(frames.run(&wire), wire.sum(), "{frames:?}");
            }
        }
    }
}
