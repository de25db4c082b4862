//! Echo servers, each in a process of its own, and the load that they answer.

mod by_hand;
mod child;
mod duologue;
mod load;
mod tokio_util;

use std::io::{self, Write};

use ::tokio::net::TcpListener;
use ::tokio::runtime::{Builder, Runtime};
use clap::ValueEnum;

use crate::args::Args;
use crate::measure::{Series, cpu_of};
use child::Child;
use load::Load;

/// Bytes of the length in front of a payload.
const HEADER: usize = 4;
/// Bytes of a payload of the load.
const PAYLOAD: usize = 64;
/// Messages on their way per connection.
const IN_FLIGHT: usize = 256;
/// The longest payload that the servers take.
const MAX_PAYLOAD: usize = (64 << 10) - HEADER;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contestant {
    /// A loop on tokio alone: one scratch buffer per thread, one write per read. No time-outs.
    ByHand,
    /// tokio-util's `Framed` with `LengthDelimitedCodec`, its stream forwarded into its sink.
    FramedForward,
    /// The same with one `send`, and so one flush, per message.
    FramedSend,
    /// `next_event` and `send`, all default time-outs armed.
    DuologueOwned,
    /// `handle`: messages answered where they lie, all default time-outs armed.
    DuologueBorrowed,
}

impl Contestant {
    fn name(self) -> &'static str {
        match self {
            Self::ByHand => "by-hand",
            Self::FramedForward => "framed-forward",
            Self::FramedSend => "framed-send",
            Self::DuologueOwned => "duologue-owned",
            Self::DuologueBorrowed => "duologue-borrowed",
        }
    }

    fn target(self) -> Option<f64> {
        match self {
            Self::DuologueOwned => Some(2.5),
            Self::DuologueBorrowed => Some(1.6),
            _ => None,
        }
    }

    /// The one that flushes per message takes fifty times as long for each.
    fn messages(self, asked: usize) -> usize {
        if self == Self::FramedSend { asked / 10 } else { asked }
    }
}

/// Serves until standard input ends, which it does when the process that started this one is gone.
pub(crate) fn serve(contestant: Contestant, port: u16) -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    runtime()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        writeln!(io::stdout(), "{}", listener.local_addr()?)?;
        match contestant {
            Contestant::ByHand => by_hand::serve(listener).await,
            Contestant::FramedForward => tokio_util::serve_forward(listener).await,
            Contestant::FramedSend => tokio_util::serve_send(listener).await,
            Contestant::DuologueOwned => duologue::serve_owned(listener).await,
            Contestant::DuologueBorrowed => duologue::serve_borrowed(listener).await,
        }
    })
}

/// Server CPU per message of every contestant, in rounds over all of them.
pub(crate) fn compare(args: &Args, connections: usize) -> io::Result<Vec<Series>> {
    let contestants = Contestant::value_variants();
    let children = contestants.iter().map(|c| Child::start(*c)).collect::<io::Result<Vec<_>>>()?;
    let mut series: Vec<_> = contestants.iter().map(|c| Series::new(c.name(), c.target())).collect();
    let runtime = runtime()?;
    for round in 1..=args.rounds() {
        eprint!("echo, {connections} connections, round {round} of {}:", args.rounds());
        for ((contestant, child), series) in contestants.iter().zip(&children).zip(&mut series) {
            let messages = contestant.messages(args.messages());
            let spent = runtime.block_on(measure(child, connections, messages))?;
            eprint!(" {} {spent:.0}", contestant.name());
            series.rounds.push(spent);
        }
        eprintln!(" ns");
    }
    Ok(series)
}

/// Connections are opened and warmed up before the clock starts, and closed after it stopped.
async fn measure(child: &Child, connections: usize, messages: usize) -> io::Result<f64> {
    let mut load = Load::open(child.address(), connections).await?;
    load = load.echo(2 * IN_FLIGHT).await?;
    let before = cpu_of(child.pid())?;
    let each = messages.div_ceil(connections).max(1);
    load = load.echo(each).await?;
    let spent = cpu_of(child.pid())? - before;
    drop(load);
    Ok(spent as f64 / (each * connections) as f64)
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every server echoes what the load sends: the load checks each byte.
    #[test]
    fn every_contestant_echoes() {
        runtime()
            .unwrap()
            .block_on(async {
                for contestant in Contestant::value_variants() {
                    let listener = TcpListener::bind("127.0.0.1:0").await?;
                    let address = listener.local_addr()?;
                    let served = async {
                        match contestant {
                            Contestant::ByHand => by_hand::serve(listener).await,
                            Contestant::FramedForward => tokio_util::serve_forward(listener).await,
                            Contestant::FramedSend => tokio_util::serve_send(listener).await,
                            Contestant::DuologueOwned => duologue::serve_owned(listener).await,
                            Contestant::DuologueBorrowed => duologue::serve_borrowed(listener).await,
                        }
                    };
                    let load = async { Load::open(address, 3).await?.echo(1000).await.map(drop) };
                    ::tokio::select! {
                        ended = served => ended?,
                        done = load => done?,
                    }
                }
                io::Result::Ok(())
            })
            .unwrap();
    }
}
