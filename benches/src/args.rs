//! The command line.

use clap::{Parser, ValueEnum};

use crate::decode::Decoder;
use crate::echo::Contestant;
use crate::websocket::Frames;

/// Compares duologue with a loop written by hand and with tokio-util, in one run, as ratios.
///
/// Echo: 64-byte payloads behind a 32-bit big-endian length over loopback, 256 in flight per connection; what counts is
/// the CPU time of the server's process per message. Decode: 128-byte frames and lines out of 64 KiB chunks. Size: an
/// idle session. Nothing passes or fails by time.
#[derive(Clone, Debug, Parser)]
#[command(name = "sessions")]
pub struct Args {
    /// A short run that only shows that everything works: its figures mean little.
    #[arg(long)]
    pub quick: bool,
    /// Runs only this part; may be given several times.
    #[arg(long, value_enum)]
    pub only: Vec<Part>,
    /// Rounds over all contestants; the median of the rounds counts.
    #[arg(long, default_value_t = 9)]
    pub rounds: usize,
    /// Messages echoed per round and contestant.
    #[arg(long, default_value_t = 3_000_000)]
    pub messages: usize,
    /// Frames decoded per round and decoder, and by `--decode-only`.
    #[arg(long, default_value_t = 1_000_000)]
    pub frames: usize,
    /// Serves one of the contestants on 127.0.0.1 until standard input ends; prints its address.
    #[arg(long, value_enum, value_name = "NAME")]
    pub serve: Option<Contestant>,
    /// The port to serve on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Runs one decoder and nothing else, to be counted or profiled from outside.
    #[arg(long, value_enum, value_name = "NAME")]
    pub decode_only: Option<Decoder>,
    /// Runs one part of the WebSocket comparison and nothing else, to be counted or profiled from outside.
    #[arg(long, value_enum, value_name = "NAME")]
    pub websocket_only: Option<Frames>,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Server CPU per echoed message.
    Echo,
    /// Time per decoded frame.
    Decode,
    /// Bytes of an idle session.
    Size,
    /// Time per WebSocket message parsed or serialised.
    Websocket,
}

impl Args {
    pub(crate) fn runs(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 3 } else { self.rounds.max(1) }
    }

    pub(crate) fn messages(&self) -> usize {
        if self.quick { 50_000 } else { self.messages }
    }

    pub(crate) fn decoded_frames(&self) -> usize {
        if self.quick { 100_000 } else { self.frames }
    }
}
