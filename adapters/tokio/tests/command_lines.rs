//! The examples as programs: what they say to wrong arguments and to a world that has no room for them, and how they end.
#![cfg(target_os = "linux")]
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any of them needs, drains included.
const BOUND: Duration = Duration::from_secs(20);

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Its exit code; it has to end by itself.
    fn code(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < BOUND, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// An example beside this test; built if the tests were built without examples.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.parent().unwrap().parent().unwrap().join("examples").join(name);
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "duologue-tokio", "--example", name]);
    if !path.exists() && path.components().any(|part| part.as_os_str() == "release") {
        build.arg("--release");
    }
    if !path.exists() {
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    }
    path
}

/// Runs an example that ends by itself: its exit code, and all that it said.
fn run(name: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(example(name));
    let command = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let code = running.code();
    let mut said = String::new();
    running.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!said.contains("panicked"), "{name} {args:?}: {said}");
    (code, said)
}

/// A server that runs under `limit` descriptors, and its address.
fn serve(name: &str, limit: u32) -> (Running, String, BufReader<impl Read>) {
    let line = format!("ulimit -n {limit}; exec \"$0\" --port 0 2>&1");
    let mut command = Command::new("sh");
    let command = command.arg("-c").arg(line).arg(example(name)).stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut said = BufReader::new(running.0.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    let address = first.trim().rsplit([' ', '/']).next().unwrap().to_owned();
    (running, address, said)
}

/// Without `echo`: other adapters have one too, and where all are built it is not certain whose this is.
const SERVERS: [&str; 5] = ["brpc_echo", "http_server", "websocket_chat", "websocket_echo", "yamux_echo"];

#[test]
fn a_port_that_is_taken_is_named_and_the_code_is_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for name in SERVERS {
        let (code, said) = run(name, &["--port", &port]);
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains(&port) && said.contains("in use"), "{name}: {said}");
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
    }
}

#[test]
fn wrong_arguments_are_named_and_the_code_is_2() {
    for name in SERVERS {
        let (code, said) = run(name, &["--port", "99999"]);
        assert_eq!(code, Some(2), "{name}: {said}");
        assert!(said.contains("99999"), "{name}: {said}");
    }
}

#[test]
fn who_cannot_be_reached_is_said_in_words_and_the_code_is_1() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (http, ws, port) = (format!("http://{free}/"), format!("ws://{free}/"), free.port().to_string());
    for (name, args, expected) in [
        ("http_client", vec![http.as_str()], "refused"),
        ("http_client", vec!["https://127.0.0.1/"], "--ca FILE"),
        ("http_client", vec!["https://127.0.0.1/", "--ca", "/dev/null"], "there are none"),
        ("http_client", vec!["https://127.0.0.1/", "--ca", "/nowhere"], "/nowhere"),
        ("http_client", vec!["https://127.0.0.1/", "--naive"], "http only"),
        ("http_client", vec!["nonsense"], "neither an http nor an https URL"),
        ("websocket_client", vec![ws.as_str()], "refused"),
        ("websocket_client", vec![http.as_str()], "ws://"),
        ("websocket_push", vec!["send", ws.as_str(), "/no/such/file"], "/no/such/file"),
        ("brpc_echo", vec!["--connect", port.as_str()], "refused"),
        ("brpc_push", vec!["fetch", "--port", port.as_str(), "--progress", "/no/such/folder/at"], "/no/such/folder/at"),
        ("sse_client", vec!["https://127.0.0.1/"], "with_tls"),
    ] {
        let (code, said) = run(name, &args);
        assert_eq!(code, Some(1), "{name} {args:?}: {said}");
        assert!(said.contains(expected), "{name} {args:?}: {said}");
    }
}

#[test]
fn a_signal_ends_a_server_in_order_with_a_client_connected() {
    for name in SERVERS {
        let (mut running, address, mut said) = serve(name, 256);
        let client = TcpStream::connect(address).unwrap();
        std::thread::sleep(Duration::from_millis(100)); // until it was accepted; not before is as good
        let signal = Command::new("kill").arg("-TERM").arg(running.0.id().to_string()).status().unwrap();
        assert!(signal.success());
        std::thread::sleep(Duration::from_millis(50)); // what it says goodbye to leaves then
        drop(client);
        assert_eq!(running.code(), Some(0), "{name}");
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("connections") || rest.contains("pages"), "{name}: {rest}");
    }
}

#[test]
fn a_lack_of_descriptors_passes() {
    for name in ["http_server", "websocket_chat", "yamux_echo"] {
        let (mut running, address, _said) = serve(name, 32);
        let crowd: Vec<_> = (0..64).map(|_| TcpStream::connect(&address).unwrap()).collect();
        std::thread::sleep(Duration::from_millis(300)); // it meets the limit
        drop(crowd);
        let (ask, expected): (&[u8], &[u8]) = match name {
            "yamux_echo" => (&[0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7], &[0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7]),
            _ => (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK"),
        };
        let mut client = TcpStream::connect(&address).unwrap();
        client.set_read_timeout(Some(BOUND)).unwrap();
        client.write_all(ask).unwrap();
        // Other frames may come before.
        let mut came = Vec::new();
        while !came.windows(expected.len()).any(|part| part == expected) {
            let mut more = [0; 1024];
            let n = client.read(&mut more).unwrap();
            assert_ne!(n, 0, "{name}: {came:?}");
            came.extend_from_slice(&more[..n]);
        }
        assert_eq!(running.0.try_wait().unwrap(), None, "{name} goes on");
    }
}
