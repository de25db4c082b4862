//! A server in a process of its own, so that its CPU time is its own.

use std::env::current_exe;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::SocketAddr;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::OnceLock;

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::servers::Peer;

#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    stderr: Option<BufReader<ChildStderr>>,
    peer: Peer,
    address: SocketAddr,
}

impl Child {
    /// On the first core, if there are several.
    pub(crate) fn start(peer: Peer) -> io::Result<Self> {
        Self::spawn(peer, None)
    }

    /// Under valgrind, which tells at the end how many instructions there were.
    pub(crate) fn counted(peer: Peer) -> io::Result<Self> {
        Self::spawn(peer, Some(&["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]))
    }

    fn spawn(peer: Peer, wrapper: Option<&[&str]>) -> io::Result<Self> {
        let own = current_exe()?;
        let program = if ours(peer).is_some() { own.with_file_name("websocket_echo") } else { own };
        let mut command = match wrapper {
            Some([first, rest @ ..]) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            _ => Command::new(program),
        };
        match ours(peer) {
            Some(events) => command.args(["--port", "0", "--events", events]),
            None => {
                command.arg("serve").arg(peer.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default())
            }
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A process starts on the cores of the thread that started it.
        let before = sched_getaffinity(None)?;
        if let Some((server, _)) = cores() {
            pin(server)?;
        }
        let process = command.spawn();
        sched_setaffinity(None, &before)?;
        let mut child = Self { process: process?, stderr: None, peer, address: SocketAddr::from(([0, 0, 0, 0], 0)) };
        child.stderr = child.process.stderr.take().map(BufReader::new);
        child.address = child.told()?;
        Ok(child)
    }

    /// The address that it tells: ours on standard error, the others on standard output.
    fn told(&mut self) -> io::Result<SocketAddr> {
        let mut stdout = self.process.stdout.take().map(BufReader::new);
        loop {
            let mut line = String::new();
            let read = match (ours(self.peer), &mut self.stderr, &mut stdout) {
                (Some(_), Some(stderr), _) => stderr.read_line(&mut line)?,
                (None, _, Some(stdout)) => stdout.read_line(&mut line)?,
                _ => 0,
            };
            if let Ok(address) = line.trim().trim_start_matches("echoing on ws://").parse() {
                return Ok(address);
            }
            if read == 0 {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("{} told no address", self.peer.name())));
            }
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it and returns what valgrind counted.
    pub(crate) fn collected(mut self) -> io::Result<u64> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).ok_or(ErrorKind::InvalidData)?;
        kill_process(pid, Signal::TERM)?;
        let mut text = String::new();
        if let Some(stderr) = &mut self.stderr {
            stderr.read_to_string(&mut text)?;
        }
        collected(&text).ok_or_else(|| io::Error::other(format!("valgrind told no count: {text}")))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How the example takes messages.
fn ours(peer: Peer) -> Option<&'static str> {
    match peer {
        Peer::DuologueBorrowed => Some("borrowed"),
        Peer::DuologueOwned => Some("owned"),
        _ => None,
    }
}

/// What valgrind says at its end.
pub(crate) fn collected(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

/// The server's core and the load's, where there are two.
pub(super) fn cores() -> Option<(usize, usize)> {
    // Asked for the first time before anything is pinned.
    static CORES: OnceLock<Option<(usize, usize)>> = OnceLock::new();
    *CORES.get_or_init(|| {
        let allowed = sched_getaffinity(None).ok()?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Some((cores.next()?, cores.next_back()?))
    })
}

/// This thread, and what it starts, stays on one core.
pub(super) fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}
