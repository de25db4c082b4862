//! Two hosts that are network namespaces, a link between them, and processes of the test binary on each of them.
//!
//! A test binary that uses it has a test named [`HOST`], which does nothing unless it was started as a host:
//! [`part`] then says which part it plays. It needs root and Linux; [`Wire::new`] says what is missing.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::sockets::STEP;

/// The test that plays a host.
pub const HOST: &str = "one_of_the_hosts";
/// What marks the lines that hosts say to the test.
const MARK: &str = "wire: ";
const PART: &str = "DUOLOGUE_WIRE_PART";
/// The port that servers listen on: each wire has it for itself.
pub const PORT: u16 = 7000;

/// One of the two hosts of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// At [`SERVER`].
    Server,
    /// At the address after it.
    Client,
}

/// The server's address (TEST-NET-1, RFC 5737): it exists between the two namespaces only.
pub const SERVER: &str = "192.0.2.1";
const CLIENT: &str = "192.0.2.2";

/// Where servers listen, and clients dial.
#[must_use]
pub fn address() -> String {
    format!("{SERVER}:{PORT}")
}

/// The part this process plays, if it was started as a host.
#[must_use]
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// Says a line to the test that started this host.
pub fn say(line: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n{MARK}{line}").and_then(|()| out.flush());
}

/// Waits for the test's next word; the process ends when the test is gone.
pub fn told() -> String {
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(n) if n > 0 => line.trim().to_string(),
        _ => std::process::exit(0),
    }
}

/// A process on a host.
#[derive(Debug)]
pub struct Player {
    child: Child,
    tell: ChildStdin,
    said: Receiver<String>,
}

impl Player {
    /// The rest of the next line that begins with `word`, within `within`.
    ///
    /// # Panics
    /// No such line comes.
    pub fn hears_within(&self, word: &str, within: Duration) -> String {
        let mut before = Vec::new();
        loop {
            match self.said.recv_timeout(within) {
                Ok(line) => match line.strip_prefix(word) {
                    Some(rest) => return rest.trim().to_string(),
                    None => before.push(line),
                },
                Err(RecvTimeoutError::Timeout) => panic!("no {word:?} within {within:?}, only {before:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the host ended without {word:?}, after {before:?}"),
            }
        }
    }

    /// The same within [`STEP`].
    ///
    /// # Panics
    /// No such line comes.
    pub fn hears(&self, word: &str) -> String {
        self.hears_within(word, STEP)
    }

    /// Says a word to the host.
    ///
    /// # Panics
    /// The host is gone.
    pub fn tell(&mut self, word: &str) {
        writeln!(self.tell, "{word}").expect("the host listens");
    }
}

/// Two namespaces and the link between them. They end with it, on a panic as well; so do the [`Player`]s.
#[derive(Debug)]
pub struct Wire {
    names: [String; 2],
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Wire {
    /// Two hosts with a link between them.
    ///
    /// # Errors
    /// What is missing for it: this is a reason to skip, not a failure.
    pub fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let wire = Self { names: ["a", "b"].map(|end| format!("duologue-{id}-{end}")) };
        let [a, b] = &wire.names;
        run(&["ip", "netns", "add", a])?;
        run(&["ip", "netns", "add", b])?;
        run(&["ip", "-n", a, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", b])?;
        for (name, address) in [(a, SERVER), (b, CLIENT)] {
            run(&["ip", "-n", name, "address", "add", &format!("{address}/24"), "dev", "link0"])?;
            run(&["ip", "-n", name, "link", "set", "link0", "up"])?;
            run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(wire)
    }

    /// Two hosts, or `None` with the reason printed.
    #[must_use]
    #[allow(clippy::print_stdout)]
    pub fn or_skip(test: &str) -> Option<Self> {
        Self::new().map_err(|why| println!("skipped: {test}: no network namespaces here ({why})")).ok()
    }

    fn name(&self, host: Host) -> &str {
        match host {
            Host::Server => &self.names[0],
            Host::Client => &self.names[1],
        }
    }

    /// Starts this test binary on a host, with up to `files` open files, to play `part`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(&self, host: Host, part: &str, files: u32) -> Player {
        let script = format!("ulimit -n {files} 2>/dev/null; exec \"$0\" --exact --nocapture {HOST}");
        let mut child = Command::new("ip")
            .args(["netns", "exec", self.name(host), "sh", "-c", &script])
            .arg(std::env::current_exe().expect("this program"))
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process on the host");
        let tell = child.stdin.take().expect("its input");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Player { child, tell, said: listen(lines) }
    }

    /// Runs a program on a host and gives its output.
    ///
    /// # Errors
    /// It is not there, or failed.
    pub fn on(&self, host: Host, command: &[&str]) -> Result<String, String> {
        run(&[&["ip", "netns", "exec", self.name(host)], command].concat())
    }

    /// From now on no packet reaches the host or leaves it, and nobody is told.
    ///
    /// # Errors
    /// There is no packet filter.
    pub fn drop_packets(&self, host: Host) -> Result<(), String> {
        self.on(host, &["iptables", "-A", "INPUT", "-j", "DROP"])?;
        self.on(host, &["iptables", "-A", "OUTPUT", "-j", "DROP"]).map(drop)
    }

    /// The host is gone, with the link, its process and its namespace: no FIN, no RST.
    ///
    /// # Panics
    /// The link cannot be removed.
    pub fn vanish(&self, host: Host, player: Player) {
        run(&["ip", "-n", self.name(host), "link", "del", "link0"]).expect("the link goes first");
        drop(player);
        run(&["ip", "netns", "del", self.name(host)]).expect("then the host");
    }

    /// Counts RST packets that come to a host and leave it from now on.
    ///
    /// # Errors
    /// There is no packet filter.
    pub fn count_resets(&self, host: Host) -> Result<(), String> {
        for chain in ["INPUT", "OUTPUT"] {
            self.on(host, &["iptables", "-A", chain, "-p", "tcp", "--tcp-flags", "RST", "RST"])?;
        }
        Ok(())
    }

    /// RST packets that came, and that left.
    ///
    /// # Panics
    /// They were not counted.
    #[must_use]
    pub fn resets(&self, host: Host) -> [u64; 2] {
        ["INPUT", "OUTPUT"].map(|chain| {
            let rules = self.on(host, &["iptables", "-nvxL", chain]).expect("the packet filter");
            // Two lines of head, then the only rule, which begins with its packets.
            let packets = rules.lines().nth(2).and_then(|rule| rule.split_whitespace().next());
            packets.and_then(|packets| packets.parse().ok()).expect("a counter")
        })
    }

    /// Sockets of a host in a state, by the name that `ss` has for it.
    ///
    /// # Panics
    /// `ss` is not there.
    #[must_use]
    pub fn sockets(&self, host: Host, state: &str) -> usize {
        self.on(host, &["ss", "-Htan", "state", state]).expect("ss").lines().filter(|line| !line.is_empty()).count()
    }
}

fn listen(lines: Lines<BufReader<ChildStdout>>) -> Receiver<String> {
    let (said, hears) = channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            match line.strip_prefix(MARK) {
                Some(line) if said.send(line.to_string()).is_err() => return,
                _ => {}
            }
        }
    });
    hears
}

fn run(command: &[&str]) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
