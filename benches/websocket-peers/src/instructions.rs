//! User-space instructions per message, counted by valgrind: they repeat, and do not depend on what else the machine does.
//!
//! Everybody runs twice, over few and over many messages; the difference leaves out what starting costs.

use std::env::current_exe;
use std::io;
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::echo::{Child, IN_FLIGHT, Load, PEERS, collected};
use crate::memory::Job;
use crate::report::Counts;
use crate::servers::Peer;

pub(crate) fn compare(quick: bool) -> io::Result<[Counts; 2]> {
    Ok([echoes(quick)?, jobs(quick)?])
}

fn echoes(quick: bool) -> io::Result<Counts> {
    let columns = ["1 connection".to_owned(), "64 connections".to_owned()];
    let mut rows = Vec::new();
    for peer in PEERS {
        let mut figures = Vec::new();
        for connections in [1, 64] {
            // Windows on each connection.
            let (few, many) = match (connections, quick) {
                (1, false) => (16, 176),
                (1, true) => (2, 10),
                (_, false) => (1, 4),
                (_, true) => (1, 2),
            };
            let spent = echoed(peer, connections, many * IN_FLIGHT)? - echoed(peer, connections, few * IN_FLIGHT)?;
            figures.push(spent / (connections * (many - few) * IN_FLIGHT) as i64);
        }
        eprintln!("instructions, echo: {} {figures:?}", peer.name());
        rows.push((peer.name(), figures));
    }
    let title = "Echo of 64 bytes, 256 in flight: user-space instructions of the server per message".to_owned();
    Ok(Counts { title, columns: columns.to_vec(), rows })
}

/// Of a whole server's life with `messages` on each connection.
fn echoed(peer: Peer, connections: usize, messages: usize) -> io::Result<i64> {
    let child = Child::counted(peer)?;
    let mut load = Load::open(peer, child.address(), connections)?;
    load.echo(messages)?;
    child.collected().map(u64::cast_signed)
}

fn jobs(quick: bool) -> io::Result<Counts> {
    let columns = ["parse, 128 B", "serialise, 128 B", "large, 1 MiB"].map(str::to_owned);
    let short = if quick { (2_000, 12_000) } else { (20_000, 60_000) };
    let copying = per_message(Job::ParseCopy, short)?;
    let mut rows = vec![("copying alone", vec![copying, 0, 0])];
    for ((parse, serialise), large) in Job::PARSE.into_iter().zip(Job::SERIALISE).zip(Job::LARGE) {
        let large = per_message(large, (2, if quick { 4 } else { 10 }))?;
        let figures = vec![per_message(parse, short)? - copying, per_message(serialise, short)?, large];
        eprintln!("instructions, memory: {} {figures:?}", parse.name());
        rows.push((parse.name(), figures));
    }
    let title =
        "In memory: instructions per message (parse: without the copying; large, in place: in parts)".to_owned();
    Ok(Counts { title, columns: columns.to_vec(), rows })
}

fn per_message(job: Job, (few, many): (usize, usize)) -> io::Result<i64> {
    Ok((done(job, many)? - done(job, few)?) / (many - few) as i64)
}

fn done(job: Job, messages: usize) -> io::Result<i64> {
    let name = job.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(current_exe()?)
        .args(["job", &name, &messages.to_string()])
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    match collected(&text) {
        Some(count) if output.status.success() => Ok(count.cast_signed()),
        _ => Err(io::Error::other(format!("{name} under valgrind: {text}"))),
    }
}
