//! The example `brpc_push`, run as processes: clients are killed or stopped at any moment, the server names the cause within
//! its bound, and whoever fetches again goes on where it was.
// The helpers of tests unwrap as the tests do; what a run did is worth seeing.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Within which the server names the cause, in seconds: its own argument.
const BOUND: u64 = 2;
/// For a machine that is busy with other things.
const SLACK: Duration = Duration::from_secs(20);

/// Ends with the test, however that ends.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(example()).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines }
    }

    /// The next line; it has all of `words`.
    fn line(&self, words: &[&str], within: Duration) -> String {
        let line = self.lines.recv_timeout(within).unwrap_or_else(|_| panic!("no line with {words:?}"));
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
        line
    }

    /// How the server's stream ended, and its connection: whichever is said first.
    fn ends(&self) -> (String, String) {
        self.ends_within(Duration::from_secs(BOUND) + SLACK)
    }

    fn ends_within(&self, within: Duration) -> (String, String) {
        let lines = [self.line(&[], within), self.line(&[], SLACK)];
        let (streams, connections): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line.starts_with("stream at "));
        (streams.concat(), connections.concat())
    }
}

/// The example beside this test; built if the tests were built without examples.
fn example() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.parent().unwrap().parent().unwrap().join("examples").join("brpc_push");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "duologue-tokio", "--features", "brpc", "--example", "brpc_push"]);
    if !path.exists() && path.components().any(|part| part.as_os_str() == "release") {
        build.arg("--release");
    }
    if !path.exists() {
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    }
    path
}

fn server(megabytes: &str) -> (Running, String) {
    let bound = BOUND.to_string();
    let server = Running::start(&["serve", "--port", "0", "--megabytes", megabytes, "--bound", &bound]);
    let line = server.line(&["listening on "], SLACK);
    let port = line.rsplit(':').next().unwrap().to_owned();
    (server, port)
}

/// Bytes named in "stream at N of M bytes".
fn pushed(line: &str) -> u64 {
    line.split_whitespace().nth(2).unwrap().parse().unwrap()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A moment that nobody chose.
fn moment(most: u64) -> Duration {
    Duration::from_millis(std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ()) % most)
}

#[test]
fn a_client_killed_at_any_moment_is_named_and_one_that_comes_again_goes_on_where_it_was() {
    let (server, port) = server("100000");
    let progress = std::env::temp_dir().join(format!("brpc-push-{}", std::process::id()));
    let file = progress.to_str().unwrap();
    let mut kept = 0;
    for _ in 0..5 {
        let mut client = Running::start(&["fetch", "--port", &port, "--progress", file]);
        let began = server.line(&["pushing from "], SLACK);
        assert_eq!(pushed(&began), kept, "{began}");
        let after = moment(400);
        std::thread::sleep(after);
        let killed = Instant::now();
        // SIGKILL.
        client.child.kill().unwrap();
        client.child.wait().unwrap();
        let (stream, line) = server.ends();
        println!("killed after {after:?}, named after {:?}: {stream}; {line}", killed.elapsed());
        assert!(
            stream.contains("lost")
                && ["reset by the peer", "too early", "broken pipe"].iter().any(|word| line.contains(word)),
            "{line}"
        );
        let reached = std::fs::read_to_string(&progress).map_or(0, |text| text.parse().unwrap());
        assert!((kept..=pushed(&stream)).contains(&reached), "{kept}, {reached}, {stream}");
        kept = reached;
    }
    std::fs::remove_file(&progress).unwrap();
    assert!(kept > 0, "it came nowhere");
}

#[test]
fn a_client_that_hangs_is_named_within_the_bound() {
    let (server, port) = server("100000");
    let client = Running::start(&["fetch", "--port", &port]);
    server.line(&["pushing from "], SLACK);
    std::thread::sleep(moment(400));
    // Its kernel goes on acknowledging; the process does nothing more.
    signal(&client.child, "-STOP");
    let stopped = Instant::now();
    let (stream, line) = server.ends();
    let took = stopped.elapsed();
    signal(&client.child, "-CONT");
    println!("{stream}; {line}; after {took:?}");
    assert!(stream.contains("lost"), "{stream}");
    assert!(line.contains("time") || line.contains("stall") || line.contains("keepalive"), "{line}");
}

#[test]
fn a_killed_server_is_started_again_and_its_client_goes_on_where_it_was() {
    const BYTES: u64 = 600 << 20;
    let (mut first, port) = server("600");
    let client = Running::start(&["fetch", "--port", &port]);
    first.line(&["pushing from 0 "], SLACK);
    std::thread::sleep(moment(150) + Duration::from_millis(20));
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let second = Running::start(&["serve", "--port", &port, "--megabytes", "600"]);
    second.line(&["listening on "], SLACK);
    let from = pushed(&second.line(&["pushing from "], SLACK));
    println!("resumed at {from} of {BYTES}");
    assert!(from < BYTES);
    assert_eq!(client.line(&["all ", " bytes came"], Duration::from_secs(60)), format!("all {BYTES} bytes came"));
    let (stream, connection) = second.ends_within(SLACK);
    assert!(stream.contains("has them all"), "{stream}");
    assert_eq!(pushed(&stream), BYTES);
    assert!(!connection.is_empty(), "{stream}");
}
