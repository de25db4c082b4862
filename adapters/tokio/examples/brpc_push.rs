//! A server pushes gigabytes to a client over a bRPC stream; kill either at any moment, start it again, and it resumes.
//! SIGINT and SIGTERM end the server, once what is under way has come or five seconds have passed.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example brpc_push -- serve --port 7000 --megabytes 4096
//! cargo run --release -p duologue-tokio --example brpc_push -- fetch --port 7000 --progress /tmp/fetched
//! ```
#![allow(clippy::print_stdout)]

#[path = "common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, Subcommand};
use duologue_core::{Config, Keepalive, Timeouts};
use duologue_tokio::brpc::{
    Answer, Brpc, BrpcClient, BrpcConfig, BrpcServer, BrpcStream, Call, ErrorCode, Exchange, Role, Router, Status,
};
use duologue_tokio::{Connection, Options};
use indicatif::{ProgressBar, ProgressStyle};

use common::{DRAIN, Failure, MESSAGE, at, run, told_to_end};

/// Bytes of one message.
const CHUNK: u64 = 64 << 10;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Push to whoever calls.
    Serve {
        /// TCP port; 0 chooses one.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// How much there is to push.
        #[arg(long, default_value_t = 4096)]
        megabytes: u64,
        /// Seconds within which a client that is gone is named.
        #[arg(long, default_value_t = 4)]
        bound: u64,
    },
    /// Fetch it all, resuming after every loss.
    Fetch {
        /// TCP port of the server.
        #[arg(long)]
        port: u16,
        /// Where to keep how far it came, so that a fetcher that was killed goes on from there.
        #[arg(long)]
        progress: Option<PathBuf>,
    },
}

fn options(bound: Duration) -> Options {
    let keepalive = Keepalive { quiet: bound / 2, reply: bound / 2 };
    let timeouts = Timeouts::new().write_stall(Some(bound)).keepalive(Some(keepalive)).message(Some(MESSAGE));
    Options::new().config(Config::new().timeouts(timeouts))
}

fn main() -> ExitCode {
    match Args::parse().what {
        What::Serve { port, megabytes, bound } => {
            run(2, serve(port, megabytes.saturating_mul(1 << 20), Duration::from_secs(bound)))
        }
        What::Fetch { port, progress } => run(2, async move { fetch(port, progress.as_deref()).await }),
    }
}

/// A number as the message of `example.PushService`: field 1, a string.
fn encode(number: u64) -> Bytes {
    let text = number.to_string();
    [&[0x0a, text.len() as u8], text.as_bytes()].concat().into()
}

fn decode(body: &[u8]) -> Option<u64> {
    let text = body.strip_prefix(&[0x0a])?.get(1..)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

async fn serve(port: u16, total: u64, bound: Duration) -> Result<(), Failure> {
    let server = BrpcServer::bind(("127.0.0.1", port), options(bound), BrpcConfig::new()).await;
    let server = at("listening on port", port, server)?;
    println!("listening on {}", server.local_addr()?);
    let handle = server.handle();
    tokio::spawn(async move {
        told_to_end().await;
        handle.drain(DRAIN);
    });
    let router = Router::new().exchange("example.PushService", "Push", move |exchange| answer(exchange, total));
    let report = server.when_closed(|peer, closed| println!("{peer}: {closed}")).serve(router).await;
    println!("{} of {} connections were still open", report.reset, report.open);
    Ok(())
}

async fn answer(exchange: Exchange, total: u64) {
    let from = decode(&exchange.request().body).filter(|from| *from <= total);
    let accepted = from.and_then(|from| Some((from, exchange.accept().ok()?.pop()?)));
    let Some((from, stream)) = accepted else {
        let refused = Status::new(ErrorCode::BadRequest, "say from where, and open a stream");
        return drop(exchange.reply(Err(refused)).await);
    };
    println!("pushing from {from} of {total} bytes");
    if exchange.reply(Ok(Answer::new(encode(total)))).await.is_ok() {
        push(stream, from, total).await;
    }
}

async fn push(mut stream: BrpcStream, from: u64, total: u64) {
    let data = Bytes::from(vec![0x5a; CHUNK as usize]);
    let mut at = from;
    while at < total {
        let n = CHUNK.min(total - at);
        if let Err(refused) = stream.send(data.slice(..n as usize)).await {
            return println!("stream at {at} of {total} bytes: {}", refused.why);
        }
        at += n;
    }
    stream.finish();
    match stream.recv().await {
        Ok(_) => println!("stream at {at} of {total} bytes: the client has them all"),
        Err(end) => println!("stream at {at} of {total} bytes: {end}"),
    }
}

async fn fetch(port: u16, progress: Option<&Path>) -> Result<(), Failure> {
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("{bytes}/{total_bytes} {bar:30} {bytes_per_sec} {msg}")?);
    let kept = progress.and_then(|path| std::fs::read_to_string(path).ok()?.parse().ok());
    let (mut at, mut total) = (kept.unwrap_or(0), None);
    // What cannot be kept is known before anything is fetched.
    keep(progress, at)?;
    while total != Some(at) {
        if let Err(e) = resume(port, &bar, progress, &mut at, &mut total).await {
            // Also where there is no terminal for the bar.
            bar.suspend(|| eprintln!("at {at} bytes: {e}; trying again"));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    bar.finish();
    println!("all {at} bytes came");
    Ok(())
}

/// Keeps how far it came: whole or not at all, whenever the process is killed.
fn keep(progress: Option<&Path>, bytes: u64) -> std::io::Result<()> {
    let Some(path) = progress else { return Ok(()) };
    let next = path.with_extension("next");
    let kept = std::fs::write(&next, bytes.to_string()).and_then(|()| std::fs::rename(next, path));
    at("keeping the progress in", path.display(), kept)
}

async fn resume(
    port: u16,
    bar: &ProgressBar,
    progress: Option<&Path>,
    at: &mut u64,
    total: &mut Option<u64>,
) -> Result<(), Failure> {
    let mut kept = *at;
    let brpc = Brpc::new(Role::Client, BrpcConfig::new())?;
    let options = options(Duration::from_secs(4));
    let (client, task) = BrpcClient::new(Connection::connect(("127.0.0.1", port), brpc, options).await?);
    tokio::spawn(task);
    let call = Call::new("example.PushService", "Push", encode(*at));
    let (response, mut streams) = client.call_with_streams(call, 1).await?;
    let length = decode(&response.body).ok_or("the server does not say how much there is")?;
    *total = Some(length);
    bar.set_length(length);
    let mut stream = streams.pop().ok_or("the server accepted no stream")?;
    // Pieces of messages count as they come.
    while let Some(bytes) = stream.recv().await? {
        *at += bytes.len() as u64;
        bar.set_position(*at);
        if *at - kept >= 1 << 20 {
            keep(progress, *at)?;
            kept = *at;
        }
    }
    keep(progress, *at)?;
    if *at == length { Ok(()) } else { Err("the server finished early".into()) }
}
