//! See [`duologue_benches_websocket_peers`].

use clap::Parser;

fn main() -> std::io::Result<()> {
    duologue_benches_websocket_peers::run(&duologue_benches_websocket_peers::Args::parse())
}
