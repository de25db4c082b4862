//! Echo servers, each in a process of its own on one core, and the load that they answer from another.

mod child;
mod load;

use std::io;

use crate::measure::{Series, cpu_of};
use crate::report::Table;
use crate::servers::Peer;
pub(crate) use child::{Child, collected};
use child::{cores, pin};
pub(crate) use load::Load;

/// Messages on their way per connection.
pub(crate) const IN_FLIGHT: usize = 256;

/// In the order of the tables; the first is what the ratios are to.
pub(crate) const PEERS: [Peer; 9] = [
    Peer::ByHandPrefix,
    Peer::ByHand,
    Peer::DuologueBorrowed,
    Peer::DuologueOwned,
    Peer::NexusWeb,
    Peer::TungsteniteForward,
    Peer::TungsteniteSend,
    Peer::Fastwebsockets,
    Peer::Wtx,
];

/// Server CPU per message of every contestant, in rounds over all of them.
pub(crate) fn compare(connections: usize, rounds: usize, messages: usize) -> io::Result<Table> {
    let children = PEERS.iter().map(|peer| Child::start(*peer)).collect::<io::Result<Vec<_>>>()?;
    let mut series: Vec<_> = PEERS.iter().map(|peer| Series::new(peer.name(), None)).collect();
    if let Some((_, load)) = cores() {
        pin(load)?;
    }
    for round in 1..=rounds {
        eprint!("echo, {connections} connections, round {round} of {rounds}:");
        for (child, series) in children.iter().zip(&mut series) {
            let messages = if writes_each(child.peer()) { messages / 10 } else { messages };
            let spent = measure(child, connections, messages)?;
            eprint!(" {spent:.0}");
            series.rounds.push(spent);
        }
        eprintln!(" ns");
    }
    let plural = if connections == 1 { "" } else { "s" };
    let title = format!("Echo of 64 bytes, 256 in flight, {connections} connection{plural}: server CPU per message");
    Ok(Table { title, series })
}

/// Those take up to a hundred times as long.
pub(crate) fn writes_each(peer: Peer) -> bool {
    matches!(peer, Peer::TungsteniteSend | Peer::Fastwebsockets | Peer::Wtx)
}

/// Connections are opened and warmed up before the clock starts, and closed after it stopped.
fn measure(child: &Child, connections: usize, messages: usize) -> io::Result<f64> {
    let mut load = Load::open(child.peer(), child.address(), connections)?;
    load.echo(2 * IN_FLIGHT)?;
    let before = cpu_of(child.pid())?;
    let each = messages.div_ceil(connections).max(1);
    load.echo(each)?;
    let spent = cpu_of(child.pid())? - before;
    Ok(spent as f64 / (each * connections) as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use clap::ValueEnum;

    use super::*;

    /// The load checks each byte and the count, and has a time limit of its own.
    #[test]
    fn every_server_echoes() {
        for peer in Peer::value_variants() {
            let (tell, told) = mpsc::channel();
            thread::spawn(|| crate::servers::serve(*peer, move |address| tell.send(address).is_ok()));
            let address = told.recv().unwrap();
            if *peer != Peer::Bare {
                let mut load = Load::open(*peer, address, 3).unwrap();
                load.echo(1000).unwrap();
                load.echo(7).unwrap();
            }
        }
    }

    #[test]
    fn a_wrong_echo_is_seen() {
        let (tell, told) = mpsc::channel();
        thread::spawn(|| crate::servers::serve(Peer::ByHandPrefix, move |address| tell.send(address).is_ok()));
        let mut load = Load::open(Peer::ByHandPrefix, told.recv().unwrap(), 1).unwrap();
        load.expect_otherwise();
        assert_eq!(load.echo(10).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
