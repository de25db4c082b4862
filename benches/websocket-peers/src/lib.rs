//! WebSocket: duologue next to loops by hand and to the crates people use, all in one run.
//!
//! | module | what it measures |
//! |---|---|
//! | `echo` | CPU of an echo server per message, each server in a process of its own |
//! | `memory` | time per message parsed or serialised, in memory |
//! | `instructions` | the same in user-space instructions, counted by valgrind |
//! | `servers` | the echo servers; `idle` (a binary) weighs their connections |

mod echo;
mod instructions;
#[path = "../../src/measure.rs"]
#[allow(dead_code, reason = "shared with the benchmarks of the main workspace, which use more of it")]
mod measure;
mod memory;
mod report;
pub mod servers;

use std::io;

use clap::{Parser, Subcommand};

pub use memory::Job;
pub use servers::Peer;

/// WebSocket: duologue next to loops by hand and to the crates people use. `benches/websocket.sh` runs all of it.
#[derive(Debug, Parser)]
#[command(name = "peers")]
pub struct Args {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Server CPU per echoed message, as a table.
    Echo {
        /// Rounds over all contestants; the median counts.
        #[arg(long, default_value_t = 7)]
        rounds: usize,
        /// Messages per round; those that write once per message get a tenth.
        #[arg(long, default_value_t = 600_000)]
        messages: usize,
    },
    /// Time per message parsed or serialised in memory, as tables.
    Memory {
        /// Rounds over all contestants; the median counts.
        #[arg(long, default_value_t = 7)]
        rounds: usize,
        /// Short messages per round; of the large ones a 5000th.
        #[arg(long, default_value_t = 600_000)]
        messages: usize,
    },
    /// User-space instructions per message of `echo` and `memory`, counted by valgrind, as tables.
    Instructions {
        /// Counts fewer messages: the figures are coarser.
        #[arg(long)]
        quick: bool,
    },
    /// Serves one contestant on 127.0.0.1 until standard input ends; prints its address.
    Serve {
        /// Who serves.
        #[arg(value_enum)]
        peer: Peer,
    },
    /// Does one job in memory and nothing else, to be counted or profiled from outside.
    Job {
        /// What is done.
        #[arg(value_enum)]
        job: Job,
        /// Messages.
        messages: usize,
    },
}

/// Does what the arguments say.
///
/// # Errors
/// A server could not be started, answered wrongly or broke; the system does not tell a process's CPU time; valgrind is
/// missing or told nothing.
pub fn run(args: &Args) -> io::Result<()> {
    match args.part {
        Part::Echo { rounds, messages } => {
            for connections in [1, 64] {
                report::times(&echo::compare(connections, rounds.max(1), messages)?)?;
            }
        }
        Part::Memory { rounds, messages } => {
            for table in memory::compare(rounds.max(1), messages)? {
                report::times(&table)?;
            }
        }
        Part::Instructions { quick } => {
            for table in instructions::compare(quick)? {
                report::counts(&table)?;
            }
        }
        Part::Serve { peer } => servers::serve_until_stdin_ends(peer)?,
        Part::Job { job, messages } => memory::only(job, messages)?,
    }
    Ok(())
}
