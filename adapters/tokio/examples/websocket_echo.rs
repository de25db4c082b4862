//! A WebSocket echo server for measuring, for conformance suites and for newcomers: text and binary, any path.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example websocket_echo -- --port 9001 --deflate --events borrowed
//! ```
//!
//! All default time-outs are armed. It serves any number of connections on 127.0.0.1 until SIGINT or
//! SIGTERM, and then says goodbye to each.

#[path = "common/mod.rs"]
mod common;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use duologue_core::{CloseIntent, Code, Config, Delivery, Event as SessionEvent, Limits as Buffers, Timeouts};
use duologue_tokio::websocket::{Command, Deflate, Event, Limits, Role, ServerHandshake, Settings, WebSocket, fitted};
use duologue_tokio::{AtLimit, Options, Served, Server};

use common::{DRAIN, Failure, MESSAGE, at, run, told_to_end};

/// Most bytes of answers that wait for a client, before further messages of it are taken. The queue has room for the longest
/// message behind them, and is not there to be filled with short ones: who sends much and reads nothing costs this, and what
/// is read ahead ([`Buffers::read_ahead`]).
const QUEUED: usize = 1 << 20;

#[derive(Parser)]
#[command(about = "Echoes WebSocket messages on 127.0.0.1")]
struct Args {
    /// Port to listen on; 0 takes a free one, and prints it.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Accept permessage-deflate.
    #[arg(long)]
    deflate: bool,
    /// How messages are taken: as owned events, or by a handler in place.
    #[arg(long, value_enum, default_value_t = Events::Owned)]
    events: Events,
    /// The longest message, in MiB. So much one client may hold of memory while it sends one, within two minutes.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_message: u16,
    /// Clients at a time; further ones are reset. As many as there are descriptors if it is not said.
    #[arg(long)]
    connections: Option<usize>,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Events {
    Owned,
    Borrowed,
}

fn main() -> ExitCode {
    let args = Args::parse();
    run(args.threads, serve(&args))
}

async fn serve(args: &Args) -> Result<(), Failure> {
    let longest = usize::from(args.max_message) << 20;
    // A header of ours, and what a compressed message may grow by.
    let answer = longest + (longest >> 2) + 64;
    // What does not compress comes a little longer than it is.
    let frame = longest + (longest >> 8) + 64;
    let limits = Limits::new().max_frame(frame as u64).max_message(longest as u64);
    // Short messages are compressed as well: the conformance suite expects it, and measuring should see it.
    let deflate = Deflate::new().min_len(0);
    let settings = Settings::new().limits(limits).deflate(args.deflate.then_some(deflate));
    let delivery = if args.events == Events::Owned { Delivery::Owned } else { Delivery::InPlace };
    let buffers = Buffers::new().send_buffer(QUEUED + answer);
    let timeouts = Timeouts::new().message(Some(MESSAGE));
    let options = Options::new().config(Config::new().limits(buffers).timeouts(timeouts).delivery(delivery));
    let options = fitted(options, &settings, Role::Server);
    let server = at("listening on port", args.port, Server::bind(("127.0.0.1", args.port), options).await)?;
    let server = server.limit(args.connections.unwrap_or(usize::MAX), AtLimit::Refuse);
    eprintln!("echoing on ws://{}", server.local_addr()?);
    let handshake = Arc::new(ServerHandshake::new(settings));
    let protocol = move |_peer| WebSocket::server(Arc::clone(&handshake));
    let handle = server.handle();
    tokio::spawn(async move {
        told_to_end().await;
        // Going Away.
        handle.drain_with(Code(1001), DRAIN);
    });
    let report = match args.events {
        Events::Owned => server.serve(protocol, echo_owned).await,
        Events::Borrowed => server.serve(protocol, move |connection| echo_borrowed(connection, answer)).await,
    };
    eprintln!("{report}; since the start: {:?}", report.stats);
    Ok(())
}

/// Takes each message and sends it back. The answers to everything that was read at once leave in one write.
async fn echo_owned(mut connection: Served<WebSocket>) {
    loop {
        // What a `while let` looks at is kept until its body is over, and moved there first; this is not.
        let answer = match connection.next_event().await {
            Some(SessionEvent::App(Event::Text(text))) => Command::Text(text),
            Some(SessionEvent::App(Event::Binary(bytes))) => Command::Binary(bytes),
            Some(_) => continue,
            None => return,
        };
        if connection.send(answer).await.is_err() {
            connection.start_close(CloseIntent::Flush(Code(1011)));
        }
        if connection.session().buffered().1 > QUEUED {
            connection.flush().await;
        }
    }
}

/// Answers each message where it lies. Before each there is room for the longest answer.
async fn echo_borrowed(mut connection: Served<WebSocket>, answer: usize) {
    loop {
        let mut refused = false;
        let event = connection.handle(answer, |event, replies| {
            let answer = match event {
                Event::Text(text) => Command::Text(text),
                Event::Binary(bytes) => Command::Binary(bytes),
                _ => return,
            };
            refused |= replies.send(answer).is_err();
        });
        let event = event.await;
        if refused {
            connection.start_close(CloseIntent::Flush(Code(1011)));
        }
        if let None | Some(SessionEvent::Closed(_)) = event {
            return;
        }
    }
}
