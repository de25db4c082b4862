//! The server: draining, limits, handlers that panic, running out of descriptors.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::{Cause, Code, Event};

use super::peer::until;
use super::*;
use crate::adapter::{AtLimit, DrainReport, Served, Server, ServerHandle};

waiting! {
    fn echo(connection: Served<Frames>, counts: ServerHandle) {
        let mut connection = connection;
        while let Some(event) = wait!(connection.next_event()) {
            if let Event::App(message) = event {
                assert_ne!(message, "panic", "this handler was asked to panic");
                let failures = counts.stats().accept_failures.to_string();
                let answer = if message == "?" { Bytes::from(failures) } else { message };
                if wait!(connection.send(answer)).is_err() {
                    return;
                }
            }
        }
    }
}

/// A server that echoes. It panics when asked to, and tells its accept failures.
macro_rules! start {
    ($configure:expr) => {{
        let configure: fn(Server) -> Server = $configure;
        let server = configure(wait!(Server::bind("127.0.0.1:0", Options::new())).unwrap());
        let (address, handle) = (server.local_addr().unwrap(), server.handle());
        let counts = handle.clone();
        let running =
            beside!({ wait!(server.serve(|_| frames(), move |connection| echo(connection, counts.clone()))) });
        let started: (SocketAddr, ServerHandle, JoinHandle<DrainReport>) = (address, handle, running);
        started
    }};
}

waiting! {
    fn is_served(connection: &mut Connection<Frames>) {
        wait!(connection.send(Bytes::from_static(b"ping"))).expect("sent");
        assert_eq!(wait!(message(connection)), "ping");
    }
}

test! {
    fn draining_says_goodbye_waits_resets_the_rest_and_reports() {
        let (address, handle, running) = start!(|server| server);
        let mut polite = wait!(dial(address));
        wait!(is_served(&mut polite));
        let mut stubborn = Peer::connect(address);
        stubborn.write(&frame(b"here"));
        assert_eq!(stubborn.frame().as_deref(), Some(&b"here"[..]));
        let left = stubborn.stream.local_addr().unwrap();

        let start = Instant::now();
        handle.drain(Duration::from_millis(400));
        handle.drain(Duration::from_secs(1000));
        assert_eq!(wait!(drain(&mut polite)).1.cause, Cause::PeerFinished);
        assert_eq!(stubborn.frame(), None, "it heard the goodbye, and stays");
        let report = running.join().unwrap();
        assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&start.elapsed()), "the first decides");
        assert_eq!((report.open, report.ended), (2, 1), "{report}");
        assert_eq!(report.left, [left]);
        assert_eq!((report.stats.accepted, report.stats.open), (2, 0));
        until("the reset", || stubborn.stream.peer_addr().is_err());
        let refused = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

test! {
    fn a_drain_without_connections_ends_at_once() {
        let (_, handle, running) = start!(|server| server);
        let start = Instant::now();
        handle.drain(Duration::from_secs(1000));
        assert_eq!(running.join().unwrap().open, 0);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

test! {
    fn at_the_limit_newcomers_are_reset_and_a_free_seat_is_given_again() {
        let (address, handle, running) = start!(|server| server.limit(1, AtLimit::Refuse));
        let mut first = wait!(dial(address));
        wait!(is_served(&mut first));
        let (bytes, result) = Peer::connect(address).rest();
        assert_eq!((bytes.len(), result.unwrap_err().kind()), (0, ErrorKind::ConnectionReset));
        assert_eq!((handle.stats().open, handle.stats().refused), (1, 1));
        wait!(first.close(Code(0)));
        until("the seat", || handle.stats().open == 0);
        wait!(is_served(&mut wait!(dial(address))));
        handle.drain(Duration::from_secs(10));
        running.join().unwrap();
    }
}

test! {
    fn at_the_limit_the_longest_idle_connection_can_be_closed_instead() {
        let (address, handle, running) = start!(|server| server.limit(2, AtLimit::CloseLongestIdle));
        let (mut idle, mut busy) = (wait!(dial(address)), wait!(dial(address)));
        wait!(is_served(&mut idle));
        wait!(is_served(&mut busy));
        let mut newcomer = wait!(dial(address));
        wait!(is_served(&mut newcomer));
        assert_eq!(wait!(drain(&mut idle)).1.cause, Cause::PeerFinished, "closed in order");
        wait!(is_served(&mut busy));
        assert_eq!((handle.stats().evicted, handle.stats().refused), (1, 0));
        drop((busy, newcomer));
        handle.drain(Duration::from_secs(10));
        assert_eq!(running.join().unwrap().left, []);
    }
}

test! {
    fn connections_on_their_way_out_are_bounded_as_well() {
        let (address, handle, running) = start!(|server| server.limit(2, AtLimit::CloseLongestIdle));
        // None of them ever closes, so each that must leave lingers.
        let mut crowd = Vec::new();
        for arrived in 1..=10 {
            crowd.push(Peer::connect(address));
            until("admission", || handle.stats().accepted + handle.stats().refused == arrived);
            assert!(handle.stats().open <= 4, "{:?}", handle.stats());
        }
        assert!(handle.stats().refused > 0);
        drop(crowd);
        handle.drain(Duration::from_secs(10));
        running.join().unwrap();
    }
}

test! {
    fn a_panic_in_a_handler_is_the_end_of_its_connection_only() {
        let (address, handle, running) = start!(|server| server);
        let (mut bad, mut good) = (wait!(dial(address)), wait!(dial(address)));
        wait!(is_served(&mut good));
        wait!(bad.send(Bytes::from_static(b"panic"))).unwrap();
        wait!(drain(&mut bad));
        wait!(is_served(&mut good));
        drop(good);
        handle.drain(Duration::from_secs(10));
        assert_eq!(running.join().unwrap().left, []);
    }
}

const CHILD: &str = "DUOLOGUE_TEST_FEW_DESCRIPTORS";

test! {
    fn serve_with_few_descriptors() {
        // Of use only as the child process of the next test.
        if std::env::var_os(CHILD).is_some() {
            let (address, _, running) = start!(|server| server);
            println!("\nlistening on {address}");
            running.join().unwrap();
        }
    }
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for the number of accept failures; an error if nobody answers within `patience`.
fn ask(peer: &mut Peer, patience: Duration) -> std::io::Result<u64> {
    use std::io::Read;
    peer.stream.set_read_timeout(Some(patience))?;
    peer.write(&frame(b"?"));
    let mut header = [0; 4];
    peer.stream.read_exact(&mut header)?;
    let mut digits = vec![0; u32::from_be_bytes(header) as usize];
    peer.stream.read_exact(&mut digits)?;
    Ok(String::from_utf8_lossy(&digits).parse().expect("a number"))
}

#[test]
#[cfg(unix)]
fn the_accept_loop_survives_running_out_of_descriptors() {
    let script = "ulimit -n 32; exec \"$0\" --exact --nocapture behaviour::server::serve_with_few_descriptors";
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(std::env::current_exe().unwrap()).env(CHILD, "1");
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = KillOnDrop(command.spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("listening on ")).unwrap();
    let address: SocketAddr = line["listening on ".len()..].parse().unwrap();

    let mut served = Vec::new();
    let mut waiting = Vec::new();
    let crowd: Vec<_> = (0..44).map(|_| Peer::connect(address)).collect();
    for mut peer in crowd {
        // Descriptors are given in order: after the first that is not served, the others wait as well.
        let patience = Duration::from_millis(if waiting.is_empty() { 2000 } else { 20 });
        match ask(&mut peer, patience) {
            Ok(_) => served.push(peer),
            Err(_) => waiting.push(peer),
        }
    }
    assert!(served.len() >= 5 && waiting.len() >= 12, "{} served, {} waiting", served.len(), waiting.len());
    let failures = ask(&mut served[0], Duration::from_secs(10)).unwrap();
    assert!(failures > 0, "accepting failed, and those served did not notice");
    // Room again: those who waited are served, in the order they came.
    drop(served);
    waiting.truncate(4);
    for peer in &mut waiting {
        assert!(ask(peer, Duration::from_secs(10)).is_ok());
    }
}
