//! The benchmark binary; see the crate `duologue_benches`.

use std::process::ExitCode;

use clap::Parser;
use duologue_benches::{Args, run};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
