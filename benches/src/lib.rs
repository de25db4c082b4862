//! Side-by-side benchmarks: duologue against a loop written by hand and against tokio-util's codecs.
//!
//! One run measures everything, interleaved, and prints it as ratios, because ratios of one run on one machine are
//! what can be compared. Nothing here passes or fails by time.
//!
//! | module | what it measures |
//! |---|---|
//! | `echo` | CPU of an echo server per message, each server in a process of its own |
//! | `decode` | time per frame of decoding alone, from memory |
//! | `size` | bytes of an idle session |
//! | `websocket` | time per WebSocket message parsed or serialised, in memory |

mod args;
mod decode;
mod echo;
mod measure;
mod report;
mod size;
mod websocket;

use std::io;

pub use args::{Args, Part};
pub use decode::Decoder;
pub use echo::Contestant;
pub use websocket::Frames;

/// Does what the arguments say.
///
/// # Errors
/// A server could not be started or a connection broke; the system does not tell a process's CPU time.
pub fn run(args: &Args) -> io::Result<()> {
    if let Some(contestant) = args.serve {
        return echo::serve(contestant, args.port);
    }
    if let Some(decoder) = args.decode_only {
        return decode::only(decoder, args.frames);
    }
    if let Some(frames) = args.websocket_only {
        return websocket::only(frames, args.frames);
    }
    if args.runs(Part::Echo) {
        for connections in [1, 64] {
            report::echo(&echo::compare(args, connections)?, connections)?;
        }
    }
    if args.runs(Part::Decode) {
        report::decode(&decode::compare(args))?;
    }
    if args.runs(Part::Websocket) {
        report::decode(&websocket::compare(args))?;
    }
    if args.runs(Part::Size) {
        report::sizes(&size::sizes())?;
    }
    report::closing_words(args.quick)
}
