//! What an idle connection weighs: bytes that the server allocated for each, after one message went back and forth and
//! everything sleeps. duologue has all default time-outs armed, the others have none.

#[path = "../../../src/idle.rs"]
mod idle;

use std::io::{self, Write};
use std::thread;

use duologue_benches_websocket_peers::{Peer, servers};

/// nexus-web is left out: it is a codec, and its buffer for reads is as large as one makes it, whether idle or not.
const PEERS: [Peer; 6] = [
    Peer::Bare,
    Peer::DuologueBorrowed,
    Peer::DuologueOwned,
    Peer::Wtx,
    Peer::Fastwebsockets,
    Peer::TungsteniteForward,
];

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "\n### An idle connection: bytes allocated in the server\n\n| | bytes |\n|---|--:|")?;
    for peer in PEERS {
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || servers::serve(peer, |address| tell.send(address).is_ok()));
        let address = told.recv().map_err(io::Error::other)?;
        let bytes = idle::weigh(address)?;
        writeln!(out, "| {} | {bytes} |", peer.name())?;
    }
    Ok(())
}
