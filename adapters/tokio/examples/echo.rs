//! An echo server for measuring and for newcomers: frames behind a 32-bit big-endian length, echoed as they come.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example echo -- --port 7000 --events borrowed
//! ```
//!
//! All default time-outs are armed. It serves any number of connections on 127.0.0.1 until SIGINT or
//! SIGTERM.

#[path = "common/mod.rs"]
mod common;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{Config, Delivery, Event, Limits, Timeouts};
use duologue_tokio::{Options, Served, Server};

use common::{DRAIN, Failure, MESSAGE, at, run, told_to_end};

/// The longest message, in bytes.
const MAX_FRAME: usize = 16 << 20;
/// Bytes of the length in front.
const HEADER: usize = 4;
/// Most bytes of answers that wait for a client, before further messages of it are taken. The queue has room for the longest
/// message behind them, and is not there to be filled with short ones.
const QUEUED: usize = 1 << 20;

#[derive(Parser)]
#[command(about = "Echoes u32-length-prefixed frames on 127.0.0.1")]
struct Args {
    /// Port to listen on; 0 takes a free one, and prints it.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How messages are taken: as owned events, or by a handler in place.
    #[arg(long, value_enum, default_value_t = Events::Owned)]
    events: Events,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Events {
    Owned,
    Borrowed,
}

type Protocol = Framed<LengthPrefixed>;

fn main() -> ExitCode {
    let args = Args::parse();
    run(args.threads, serve(args.port, args.events))
}

async fn serve(port: u16, events: Events) -> Result<(), Failure> {
    let delivery = if events == Events::Owned { Delivery::Owned } else { Delivery::InPlace };
    let limits = Limits::new().recv_buffer(HEADER + MAX_FRAME).send_buffer(QUEUED + HEADER + MAX_FRAME);
    let timeouts = Timeouts::new().message(Some(MESSAGE));
    let options = Options::new().config(Config::new().limits(limits).timeouts(timeouts).delivery(delivery));
    let server = at("listening on port", port, Server::bind(("127.0.0.1", port), options).await)?;
    eprintln!("echoing on {}", server.local_addr()?);
    let protocol = |_peer| Framed::new(LengthPrefixed::u32_be(MAX_FRAME));
    let handle = server.handle();
    tokio::spawn(async move {
        told_to_end().await;
        handle.drain(DRAIN);
    });
    let report = match events {
        Events::Owned => server.serve(protocol, echo_owned).await,
        Events::Borrowed => server.serve(protocol, echo_borrowed).await,
    };
    eprintln!("{report}; since the start: {:?}", report.stats);
    Ok(())
}

/// Takes each message and sends it back. The answers to everything that was read at once leave in one write.
async fn echo_owned(mut connection: Served<Protocol>) {
    while let Some(event) = connection.next_event().await {
        if let Event::App(message) = event {
            if connection.send(message).await.is_err() {
                connection.start_close(duologue_core::CloseIntent::Flush(duologue_core::Code(1)));
            }
            if connection.session().buffered().1 > QUEUED {
                connection.flush().await;
            }
        }
    }
}

/// Answers each message where it lies. Before each there is room for the longest answer, so none is refused.
async fn echo_borrowed(mut connection: Served<Protocol>) {
    let reply_room = HEADER + MAX_FRAME;
    while let Some(event) = connection.handle(reply_room, |message, replies| drop(replies.send(message))).await {
        if let Event::Closed(_) = event {
            return;
        }
    }
}
