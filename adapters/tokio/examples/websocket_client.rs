//! A WebSocket client: sends what is typed, shows what comes; or runs a fuzzing server's cases.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example websocket_client -- ws://127.0.0.1:9001/
//! cargo run --release -p duologue-tokio --example websocket_client -- ws://127.0.0.1:9001 --cases duologue
//! ```

#[path = "common/mod.rs"]
mod common;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use duologue_core::{CloseIntent, Code, Config, Delivery, Event as SessionEvent, Limits as Buffers};
use duologue_tokio::Options;
use duologue_tokio::websocket::handshake::Uri;
use duologue_tokio::websocket::{
    ClientHandshake, Command, Deflate, Event, Limits, OpenError, Settings, WebSocketConnection, connect_to,
};
use tokio::io::{AsyncBufReadExt, BufReader};

use common::{Failure, run};

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 64 << 20;

#[derive(Parser)]
#[command(about = "A WebSocket client")]
struct Args {
    /// A `ws://` address.
    address: String,
    /// Offer permessage-deflate.
    #[arg(long)]
    deflate: bool,
    /// Say in the offer that each of our messages is compressed for itself (`client_no_context_takeover`).
    #[arg(long, requires = "deflate")]
    no_context_takeover: bool,
    /// Run all cases of an Autobahn-like fuzzing server under this agent's name, echoing what comes.
    #[arg(long, value_name = "AGENT")]
    cases: Option<String>,
    /// How the messages of the cases are taken: as owned events, or by a handler in place.
    #[arg(long, value_enum, default_value_t = Events::Owned)]
    events: Events,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Events {
    Owned,
    Borrowed,
}

fn main() -> ExitCode {
    run(1, talk_or_test(Args::parse()))
}

async fn talk_or_test(args: Args) -> Result<(), Failure> {
    match &args.cases {
        Some(agent) => run_cases(&args, agent).await,
        None => talk(&args).await,
    }
}

async fn open(args: &Args, path: Option<&str>, delivery: Delivery) -> Result<WebSocketConnection, OpenError> {
    let uri = Uri::parse(&args.address)?;
    let limits = Limits::new().max_frame(MAX_MESSAGE as u64).max_message(MAX_MESSAGE as u64);
    // Short messages are compressed as well: the conformance suite expects it.
    let deflate = Deflate::new().min_len(0).client_no_context_takeover(args.no_context_takeover);
    let settings = Settings::new().limits(limits).deflate(args.deflate.then_some(deflate));
    let handshake = ClientHandshake::new(uri.authority, path.map_or(uri.target, String::from)).settings(settings);
    let buffers = Buffers::new().send_buffer(2 * MAX_MESSAGE);
    let options = Options::new().config(Config::new().limits(buffers).delivery(delivery));
    let (socket, _opened) = connect_to((uri.host, uri.port), handshake, options).await?;
    Ok(socket)
}

/// Lines in, messages out, until the input ends or the server closes.
async fn talk(args: &Args) -> Result<(), Failure> {
    let mut socket = open(args, None, Delivery::Owned).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut typing = true;
    loop {
        tokio::select! {
            event = socket.next_event() => match event {
                Some(SessionEvent::App(Event::Text(text))) => eprintln!("< {text}"),
                Some(SessionEvent::App(Event::Binary(bytes))) => eprintln!("< {} bytes", bytes.len()),
                Some(SessionEvent::Closed(closed)) => {
                    eprintln!("{closed} (close code {})", socket.session().protocol().close_code());
                    return Ok(());
                }
                _ => {}
            },
            line = lines.next_line(), if typing => match line? {
                Some(line) => socket.send(Command::text(line)).await?,
                None => {
                    typing = false;
                    socket.start_close(CloseIntent::Goodbye(Code(1000)));
                }
            },
        }
    }
}

/// Asks how many cases there are, echoes through each, and has the report written.
async fn run_cases(args: &Args, agent: &str) -> Result<(), Failure> {
    let mut count = 0_usize;
    let mut socket = open(args, Some("/getCaseCount"), Delivery::Owned).await?;
    while let Some(event) = socket.next_event().await {
        if let SessionEvent::App(Event::Text(text)) = event {
            count = text.as_str().parse()?;
        }
    }
    let delivery = if args.events == Events::Owned { Delivery::Owned } else { Delivery::InPlace };
    for case in 1..=count {
        let socket = open(args, Some(&format!("/runCase?case={case}&agent={agent}")), delivery).await;
        match (socket, args.events) {
            (Ok(socket), Events::Owned) => echo(socket).await,
            (Ok(socket), Events::Borrowed) => echo_in_place(socket).await,
            (Err(error), _) => eprintln!("case {case}: {error}"),
        }
    }
    let mut socket = open(args, Some(&format!("/updateReports?agent={agent}")), Delivery::Owned).await?;
    socket.closed().await;
    eprintln!("{count} cases run");
    Ok(())
}

async fn echo(mut socket: WebSocketConnection) {
    while let Some(event) = socket.next_event().await {
        let answer = match event {
            SessionEvent::App(Event::Text(text)) => Command::Text(text),
            SessionEvent::App(Event::Binary(bytes)) => Command::Binary(bytes),
            _ => continue,
        };
        // After the server's Close nothing more can be sent, and the end follows.
        if socket.send(answer).await.is_err() {
            continue;
        }
    }
}

/// As [`echo`], answering each message where it lies.
async fn echo_in_place(mut socket: WebSocketConnection) {
    loop {
        let event = socket.handle(MAX_MESSAGE / 2, |event, replies| {
            let answer = match event {
                Event::Text(text) => Command::Text(text),
                Event::Binary(bytes) => Command::Binary(bytes),
                _ => return,
            };
            // After the server's Close nothing more can be sent, and the end follows.
            let _ = replies.send(answer);
        });
        if let None | Some(SessionEvent::Closed(_)) = event.await {
            return;
        }
    }
}
