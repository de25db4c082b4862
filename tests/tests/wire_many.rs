//! Ten thousand connections between two hosts: held, asked, and drained.
//!
//! It needs root and 10 100 open files for each process; otherwise it prints why it was skipped. `DUOLOGUE_CONNECTIONS`
//! sets another number.
// What it took is worth seeing; a host speaks by printing.
#![allow(clippy::print_stdout)]
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::{Cause, Event};
use duologue_tests::netns::{self, Host, Wire, say, told};
use duologue_tests::sockets::*;
use duologue_tokio::{Connection, Options, Served, Server};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 10_000;
/// What each phase may take: it is a bound on hanging, not on speed.
const PATIENCE: Duration = Duration::from_secs(120);

fn connections() -> usize {
    std::env::var("DUOLOGUE_CONNECTIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(CONNECTIONS)
}

#[test]
fn ten_thousand_connections_are_held_and_drained() {
    let Some(wire) = Wire::or_skip("10 000 connections") else { return };
    let connections = connections();
    let files = u32::try_from(connections).expect("so many files") + 100;
    let mut server = wire.start(Host::Server, "serve", files);
    let open_files: usize = server.hears("open files").parse().expect("a number");
    if open_files < connections + 50 {
        return println!("skipped: {connections} connections need as many open files, and {open_files} are allowed");
    }
    server.hears("listening");
    let mut client = wire.start(Host::Client, &format!("dial {connections}"), files);
    println!("{connections} connections: {}", client.hears_within("held", PATIENCE));
    assert_eq!(wire.sockets(Host::Server, "established"), connections);
    assert_eq!(wire.sockets(Host::Client, "established"), connections);
    client.tell("ask all");
    println!("asked: {}", client.hears_within("answered", PATIENCE));
    server.tell("memory");
    println!("the server holds {}", server.hears("memory"));
    let began = Instant::now();
    server.tell("drain");
    let report = server.hears_within("drained", PATIENCE);
    println!("drained in {:.1} s: {report}", began.elapsed().as_secs_f64());
    assert_eq!(report, format!("open {connections}, ended {connections}, left 0, accepted {connections}, refused 0"));
    assert_eq!(client.hears_within("ended", PATIENCE), format!("{connections} by the peer's finish"));
    assert_eq!(wire.sockets(Host::Server, "established"), 0);
    // The server finished first, so it carries what TIME_WAIT there is; the kernel may keep fewer than all.
    let waiting = [Host::Server, Host::Client].map(|host| wire.sockets(host, "time-wait"));
    println!("TIME_WAIT at the server, the client: {waiting:?}");
    assert_eq!(waiting[1], 0, "the clients did not finish first");
}

/// Plays a host, in a process that the test above started; otherwise nothing.
#[test]
fn one_of_the_hosts() {
    let Some(part) = netns::part() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match part.strip_prefix("dial ") {
            Some(connections) => dial(connections.parse().expect("a number")).await,
            None => serve().await,
        }
    });
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or_default() << 10
}

fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or_default()
}

async fn serve() {
    say(format!("open files {}", open_files()));
    let server = Server::bind(netns::address(), Options::new()).await.expect("bound");
    let handle = server.handle();
    let empty = resident();
    let (drains, stats) = (handle.clone(), handle);
    std::thread::spawn(move || {
        while told() == "memory" {
            let open = stats.stats().open;
            let each = resident().saturating_sub(empty) / open.max(1);
            say(format!("memory {open} connections in {} MiB, {each} bytes each", resident() >> 20));
        }
        drains.drain(PATIENCE);
        while told() != "end" {}
    });
    say("listening");
    let report = server.serve(|_| frames(), echo).await;
    let (left, stats) = (report.left.len(), report.stats);
    say(format!(
        "drained open {}, ended {}, left {left}, accepted {}, refused {}",
        report.open, report.ended, stats.accepted, stats.refused
    ));
    // The namespace goes with its last process: let the test look at it first.
    tokio::time::sleep(PATIENCE).await;
}

async fn echo(mut connection: Served<Frames>) {
    while let Some(event) = connection.next_event().await {
        if let Event::App(message) = event {
            if connection.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// Holds its connections, each a task that asks when told to and then waits for its end.
async fn dial(connections: usize) {
    let (began, empty) = (Instant::now(), resident());
    let few = Arc::new(Semaphore::new(200));
    let mut dialling = JoinSet::new();
    for _ in 0..connections {
        let few = few.clone();
        dialling.spawn(async move {
            let _turn = few.acquire_owned().await.expect("open");
            let dialled = Connection::connect(netns::address(), frames(), Options::new()).await;
            let mut connection = dialled.expect("connected");
            ask(&mut connection).await;
            connection
        });
    }
    let held = dialling.join_all().await;
    let each = resident().saturating_sub(empty) / connections;
    say(format!("held after {:.1} s, {each} bytes each at the client", began.elapsed().as_secs_f64()));
    let word = tokio::task::spawn_blocking(told).await.expect("a word");
    assert_eq!(word, "ask all");
    let began = Instant::now();
    let mut ending = JoinSet::new();
    let asked = Arc::new(Semaphore::new(0));
    for mut connection in held {
        let asked = asked.clone();
        ending.spawn(async move {
            ask(&mut connection).await;
            asked.add_permits(1);
            loop {
                match connection.next_event().await {
                    Some(Event::Closed(closed)) => return closed.cause,
                    Some(_) => {}
                    None => panic!("no Closed came"),
                }
            }
        });
    }
    let all = u32::try_from(connections).expect("so many");
    let _ = asked.acquire_many(all).await.expect("open");
    say(format!("answered after {:.1} s", began.elapsed().as_secs_f64()));
    let causes = ending.join_all().await;
    let finished = causes.iter().filter(|cause| matches!(cause, Cause::PeerFinished)).count();
    say(format!("ended {finished} by the peer's finish"));
    let _ = tokio::task::spawn_blocking(told).await;
}

async fn ask(connection: &mut Connection<Frames>) {
    connection.send(Bytes::from_static(b"ping")).await.expect("sent");
    match connection.next_event().await {
        Some(Event::App(answer)) => assert_eq!(answer, "ping"),
        other => panic!("an answer was expected, not {other:?}"),
    }
}
