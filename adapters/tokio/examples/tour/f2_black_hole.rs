//! F2, the peer vanishes: two network namespaces, a link between them, and then every packet is dropped.
//!
//! The server in one namespace pushes to a client in the other. Nothing tells it that the client is gone: no FIN, no
//! RST, only silence. It needs root; without it this part is skipped and says so.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::ValueEnum;
use duologue_core::{Cause, Config, Event, Timeouts};
use duologue_tokio::{Connection, Options};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::f2_dead_peer::{SILENCE, SLACK, STALL};
use crate::report::{Outcome, Progress, secs};
use crate::{Error, wire};

/// Addresses of a link that exists only between the two namespaces (TEST-NET-1, RFC 5737).
const SERVER: &str = "192.0.2.1";
const CLIENT: &str = "192.0.2.2";
const PORT: u16 = 7000;

/// The two hosts of the black hole, each a process of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Pushes for ever.
    BusyServer,
    /// Pushes a little, then only keeps the heartbeat up: nothing is in flight.
    QuietServer,
    /// Reads and answers heartbeats until it vanishes.
    Client,
}

pub async fn stage(mut outcome: Outcome, progress: &Progress) -> Result<Outcome, Error> {
    for (role, what, bound) in [
        (Role::BusyServer, "the peer vanishes with bytes in flight", STALL),
        (Role::QuietServer, "the peer vanishes with nothing in flight", SILENCE),
    ] {
        progress.say(format!("F2 {what}"));
        let played = tokio::task::spawn_blocking(move || vanish(role)).await?;
        outcome = match played {
            Ok((cause, found)) => outcome.check(
                cause.starts_with("timed out") && found <= bound + SLACK,
                format!("{what}: \"{cause}\" {} after the link went dead (bound {})", secs(found), secs(bound)),
            ),
            Err(why) => outcome.measured(format!("{what}: not played ({why}); the stalled peers above stand for it")),
        };
    }
    Ok(outcome)
}

/// Ends what was started, whatever happens.
struct Stage {
    names: [String; 2],
    processes: Vec<Child>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

fn run(command: &[&str]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Plays one death; the cause that the server named, and how long after the link went dead.
fn vanish(role: Role) -> Result<(String, Duration), String> {
    let id = std::process::id();
    let names = [format!("duologue-{id}-a"), format!("duologue-{id}-b")];
    let (a, b) = (names[0].clone(), names[1].clone());
    let mut stage = Stage { names, processes: Vec::new() };
    run(&["ip", "netns", "add", &a])?;
    run(&["ip", "netns", "add", &b])?;
    run(&["ip", "-n", &a, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", &b])?;
    for (name, address) in [(&a, SERVER), (&b, CLIENT)] {
        run(&["ip", "-n", name, "address", "add", &format!("{address}/24"), "dev", "link0"])?;
        run(&["ip", "-n", name, "link", "set", "link0", "up"])?;
        run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
    }
    let mut server = start(&a, role, &format!("{SERVER}:{PORT}"))?;
    let output = server.stdout.take().ok_or("the server has no output")?;
    stage.processes.push(server);
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    expect(&mut lines, "listening")?;
    stage.processes.push(start(&b, Role::Client, &format!("{SERVER}:{PORT}"))?);
    expect(&mut lines, "pushing")?;
    std::thread::sleep(Duration::from_millis(600));
    let dead = drop_everything(&b)?;
    let cause = expect(&mut lines, "closed ")?;
    Ok((cause, dead.elapsed()))
}

fn start(namespace: &str, role: Role, address: &str) -> Result<Child, String> {
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let role = role.to_possible_value().ok_or("unnamed role")?;
    Command::new("ip")
        .args(["netns", "exec", namespace])
        .arg(me)
        .args(["--role", role.get_name(), "--address", address])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())
}

fn expect(lines: &mut impl Iterator<Item = String>, word: &str) -> Result<String, String> {
    lines.find_map(|line| line.strip_prefix(word).map(str::to_owned)).ok_or(format!("the server never said \"{word}\""))
}

/// From here on no packet arrives: filtered if there is a filter, otherwise the link is cut at the far end.
fn drop_everything(namespace: &str) -> Result<Instant, String> {
    let filter = |chain| run(&["ip", "netns", "exec", namespace, "iptables", "-A", chain, "-j", "DROP"]);
    if filter("INPUT").and_then(|()| filter("OUTPUT")).is_err() {
        run(&["ip", "-n", namespace, "link", "set", "link0", "down"])?;
    }
    Ok(Instant::now())
}

/// One of the two hosts.
pub async fn play(role: Role, address: &str) -> ExitCode {
    let played = match role {
        Role::BusyServer | Role::QuietServer => serve(role, address).await,
        Role::Client => consume(address).await,
    };
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{role:?}: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(role: Role, address: &str) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await?;
    println!("listening");
    let (stream, _) = listener.accept().await?;
    let options = Options::new().config(Config::new().timeouts(Timeouts::new().write_stall(Some(STALL))));
    // The busy server relies on its stalled bytes alone, the quiet one on the heartbeat.
    let protocol = if role == Role::BusyServer { wire::messages() } else { wire::messages_with_heartbeat(SILENCE) };
    let mut connection = Connection::accept(stream, protocol, &options)?;
    println!("pushing");
    let message = Bytes::from(vec![0x5a; 16 << 10]);
    let mut left = if role == Role::BusyServer { u64::MAX } else { 8 };
    while left > 0 && connection.send(message.clone()).await.is_ok() {
        left -= 1;
    }
    loop {
        match connection.next_event().await {
            Some(Event::Closed(closed)) => {
                let Cause::Timeout(_) = closed.cause else { return Err(closed.to_string().into()) };
                println!("closed {}", closed.cause);
                return Ok(());
            }
            Some(_) => {}
            None => return Err("the events ended without Closed".into()),
        }
    }
}

/// Reads everything, and beats, as a healthy client does.
async fn consume(address: &str) -> Result<(), Error> {
    use tokio::io::AsyncWriteExt;
    let stream = TcpStream::connect(address).await?;
    let (mut read, mut write) = stream.into_split();
    let mut buffer = vec![0; 1 << 16];
    let mut beat = tokio::time::interval(SILENCE / 4);
    loop {
        tokio::select! {
            n = read.read(&mut buffer) => if n? == 0 { return Ok(()) },
            _ = beat.tick() => write.write_all(b"\0\0\0\x04beat").await?,
        }
    }
}
