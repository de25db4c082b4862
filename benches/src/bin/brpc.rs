//! bRPC streaming between two processes over loopback: messages one way, and echoed, on one stream.
//!
//! `cargo run --release -p duologue-benches --bin brpc` prints the table of `docs/benchmarks-brpc.md`. Each side is a process with one
//! thread, and the CPU time of both counts. The C++ original's figures are those measured on another day on a machine of two cores; only
//! the order of magnitude can be compared.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use duologue_tokio::brpc::{
    Answer, Brpc, BrpcClient, BrpcConfig, BrpcServer, BrpcStream, Call, Exchange, Role, Router,
};
use duologue_tokio::{Connection, Options};

/// Measures bRPC streaming over loopback: messages and bytes per second, CPU per message of both processes.
#[derive(Parser)]
#[command(name = "brpc")]
struct Args {
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Bytes of a message; all of 26, 1024 and 65536 if it is not given.
    #[arg(long)]
    size: Option<usize>,
    /// Messages per round; chosen by the size if it is not given.
    #[arg(long)]
    messages: Option<usize>,
    /// A short run that only shows that everything works: its figures mean little.
    #[arg(long)]
    quick: bool,
    /// Serves on 127.0.0.1 until standard input ends; prints its port.
    #[arg(long, hide = true)]
    serve: bool,
    /// Runs both sides in one thread of this process, to be counted by valgrind.
    #[arg(long)]
    alone: bool,
}

const SERVICE: &str = "bench.Streams";

/// Messages per second of the original, where it was measured: one way, 26 B, 1 KiB, 64 KiB.
const ORIGINAL: [(usize, &str); 3] =
    [(26, "174 K/s (490 K/s with background writing)"), (1 << 10, "423 K/s"), (64 << 10, "1.28 GB/s")];

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if args.serve {
        std::thread::spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(0);
        });
        runtime.block_on(serve());
    } else {
        runtime.block_on(measure(&args));
    }
}

async fn bind() -> (BrpcServer, Router) {
    let server = BrpcServer::bind("127.0.0.1:0", Options::new(), BrpcConfig::new()).await.unwrap();
    (server, Router::new().exchange(SERVICE, "Take", take).exchange(SERVICE, "Echo", echo))
}

async fn serve() {
    let (server, router) = bind().await;
    println!("{}", server.local_addr().unwrap().port());
    server.serve(router).await;
}

/// Takes as many messages as the request says, and then sends one.
async fn take(exchange: Exchange) {
    let count = u64::from_le_bytes(exchange.request().body[..8].try_into().unwrap());
    let mut stream = exchange.accept().unwrap().remove(0);
    exchange.reply(Ok(Answer::default())).await.unwrap();
    for _ in 0..count {
        stream.recv_message().await.unwrap().unwrap();
    }
    stream.send(Bytes::from_static(b"all")).await.unwrap();
    let _ = stream.recv_message().await;
}

async fn echo(exchange: Exchange) {
    let mut stream = exchange.accept().unwrap().remove(0);
    exchange.reply(Ok(Answer::default())).await.unwrap();
    while let Ok(Some(message)) = stream.recv_message().await {
        stream.send(message).await.unwrap();
    }
}

/// CPU time of all threads of a process.
fn cpu_of(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = tasks.map(|task| {
        let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanos.sum())
}

/// What one round took: time, and CPU of each side.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Round {
    wall: f64,
    ours: f64,
    theirs: f64,
}

async fn one_way(mut stream: BrpcStream, message: Bytes, count: usize) {
    for _ in 0..count {
        stream.send(message.clone()).await.unwrap();
    }
    assert_eq!(stream.recv_message().await.unwrap().unwrap(), "all");
}

async fn there_and_back(stream: BrpcStream, message: Bytes, count: usize) {
    let (sender, mut receiver) = stream.split();
    let size = message.len();
    let sending = tokio::spawn(async move {
        for _ in 0..count {
            sender.send(message.clone()).await.unwrap();
        }
        sender
    });
    for _ in 0..count {
        assert_eq!(receiver.recv_message().await.unwrap().unwrap().len(), size);
    }
    sending.await.unwrap().finish();
}

async fn round(client: &BrpcClient, server: u32, echo: bool, size: usize, count: usize) -> Round {
    let (method, body) = if echo { ("Echo", Vec::new()) } else { ("Take", (count as u64).to_le_bytes().to_vec()) };
    let (_, mut streams) = client.call_with_streams(Call::new(SERVICE, method, body), 1).await.unwrap();
    let (stream, message) = (streams.remove(0), Bytes::from(vec![7; size]));
    let me = std::process::id();
    let (start, ours, theirs) = (Instant::now(), cpu_of(me), cpu_of(server));
    if echo {
        there_and_back(stream, message, count).await;
    } else {
        one_way(stream, message, count).await;
    }
    let per = |spent: Duration| spent.as_secs_f64() / count as f64;
    Round { wall: per(start.elapsed()), ours: per(cpu_of(me) - ours), theirs: per(cpu_of(server) - theirs) }
}

async fn measure(args: &Args) {
    let child = (!args.alone).then(|| {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse::<u16>().unwrap())
    });
    let port = match &child {
        Some((_, port)) => *port,
        None => {
            let (server, router) = bind().await;
            let port = server.local_addr().unwrap().port();
            tokio::spawn(server.serve(router));
            port
        }
    };
    let server = child.as_ref().map_or(std::process::id(), |(child, _)| child.id());
    let brpc = Brpc::new(Role::Client, BrpcConfig::new()).unwrap();
    let connection = Connection::connect(("127.0.0.1", port), brpc, Options::new()).await.unwrap();
    let (client, task) = BrpcClient::new(connection);
    tokio::spawn(task);
    println!(
        "{:<18}{:>12}{:>10}{:>12}{:>12}   the original",
        "one stream", "messages/s", "GB/s", "client ns", "server ns"
    );
    for echo in [false, true] {
        for (size, original) in ORIGINAL.into_iter().filter(|(size, _)| args.size.is_none_or(|only| only == *size)) {
            let usual = if size > 10_000 { 30_000 } else { 500_000 };
            let count = args.messages.unwrap_or(if args.quick { usual / 100 } else { usual });
            let mut rounds = Vec::new();
            for _ in 0..args.rounds.max(1) {
                rounds.push(round(&client, server, echo, size, count).await);
            }
            rounds.sort_by(|a, b| a.wall.total_cmp(&b.wall));
            let Round { wall, ours, theirs } = rounds[rounds.len() / 2];
            let name = format!("{size} B, {}", if echo { "echo" } else { "one way" });
            let (rate, bytes) = (1.0 / wall, size as f64 / wall / 1e9);
            let original = if echo { "" } else { original };
            let line =
                format!("{name:<18}{rate:>12.0}{bytes:>10.3}{:>12.0}{:>12.0}   {original}", ours * 1e9, theirs * 1e9);
            println!("{}", line.trim_end());
        }
    }
    drop(client);
    if let Some((mut child, _)) = child {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
