//! Peers that vanish from a real network, between two namespaces: every packet is dropped, or the host is gone. No FIN
//! and no RST ever comes; the session finds it within its own bound, on both roles, with bytes in flight and with none.
//!
//! It needs root; otherwise each test prints why it was skipped.
// What was found, and how long it took, is worth seeing; a host speaks by printing.
#![allow(clippy::print_stdout)]
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::{Cause, Config, Event, Keepalive, Protocol, Timeouts};
use duologue_tests::netns::{self, Host, Wire, say, told};
use duologue_tests::sockets::*;
use duologue_tokio::Connection;
use tokio::net::TcpListener;

/// How long queued bytes may make no progress.
const STALL: Duration = Duration::from_millis(900);
/// After this silence a peer is asked, and answers within as long again.
const QUIET: Duration = Duration::from_millis(450);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(2_500);
const FILES: u32 = 256;

/// How the peer vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    PacketsDropped,
    HostGone,
}

/// What the side that finds it was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    /// It pushes without end: its queue is full of bytes that go nowhere.
    Pushing,
    /// It sends one line into the hole: the kernel has it, the session has nothing queued.
    OneLine,
    /// Nothing is in flight.
    Quiet,
}

fn vanishes(what: &str, finder: Host, traffic: Traffic, death: Death) {
    let Some(wire) = Wire::or_skip(what) else { return };
    let pushing = traffic == Traffic::Pushing;
    let (finds, answers) = if pushing { ("push", "consume") } else { ("ask", "answer") };
    let [server, client] = if finder == Host::Server { [finds, answers] } else { [answers, finds] };
    let server = wire.start(Host::Server, &format!("{server} server"), FILES);
    server.hears("listening");
    let client = wire.start(Host::Client, &format!("{client} client"), FILES);
    let (mut alive, dead) = if finder == Host::Server { (server, client) } else { (client, server) };
    alive.hears("in use");
    let gone = if finder == Host::Server { Host::Client } else { Host::Server };
    let kept = match death {
        Death::PacketsDropped => match wire.drop_packets(gone) {
            Ok(()) => Some(dead),
            Err(why) => return println!("skipped: {what}: no packet filter here ({why})"),
        },
        Death::HostGone => {
            wire.vanish(gone, dead);
            None
        }
    };
    let died = Instant::now();
    if traffic == Traffic::OneLine {
        alive.tell("say");
    }
    let cause = alive.hears("closed");
    let found = died.elapsed();
    let (reason, bound) = if pushing { ("write-stall", STALL) } else { ("keepalive-reply", QUIET * 2) };
    println!("{what}: \"{cause}\" {found:.2?} after it died, bound {bound:.2?}");
    assert_eq!(cause, format!("timed out: {reason}"), "{what}");
    assert!(found < bound + SLACK, "{what}: {found:?}, the bound is {bound:?}");
    drop(kept);
}

#[test]
fn packets_are_dropped_while_the_server_pushes() {
    vanishes("black hole, server pushing", Host::Server, Traffic::Pushing, Death::PacketsDropped);
}

#[test]
fn packets_are_dropped_while_the_client_pushes() {
    vanishes("black hole, client pushing", Host::Client, Traffic::Pushing, Death::PacketsDropped);
}

#[test]
fn packets_are_dropped_with_one_line_of_the_servers_in_flight() {
    vanishes("black hole, one line of the server's", Host::Server, Traffic::OneLine, Death::PacketsDropped);
}

#[test]
fn packets_are_dropped_with_one_line_of_the_clients_in_flight() {
    vanishes("black hole, one line of the client's", Host::Client, Traffic::OneLine, Death::PacketsDropped);
}

#[test]
fn packets_are_dropped_and_the_server_is_quiet() {
    vanishes("black hole, server quiet", Host::Server, Traffic::Quiet, Death::PacketsDropped);
}

#[test]
fn packets_are_dropped_and_the_client_is_quiet() {
    vanishes("black hole, client quiet", Host::Client, Traffic::Quiet, Death::PacketsDropped);
}

#[test]
fn the_client_host_is_gone_while_the_server_pushes() {
    vanishes("host gone, server pushing", Host::Server, Traffic::Pushing, Death::HostGone);
}

#[test]
fn the_client_host_is_gone_and_the_server_is_quiet() {
    vanishes("host gone, server quiet", Host::Server, Traffic::Quiet, Death::HostGone);
}

#[test]
fn the_server_host_is_gone_while_the_client_pushes() {
    vanishes("host gone, client pushing", Host::Client, Traffic::Pushing, Death::HostGone);
}

#[test]
fn the_server_host_is_gone_and_the_client_is_quiet() {
    vanishes("host gone, client quiet", Host::Client, Traffic::Quiet, Death::HostGone);
}

/// Plays a host, in a process that one of the tests above started; otherwise nothing.
#[test]
fn one_of_the_hosts() {
    let Some(part) = netns::part() else { return };
    let (what, role) = part.split_once(' ').expect("what and where");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match what {
            "push" => push(connect(role, frames(), busy()).await).await,
            "consume" => consume(connect(role, frames(), busy()).await).await,
            "ask" => ask(connect(role, Chat::new(false), quiet()).await).await,
            _ => answer(connect(role, Chat::new(false), Config::new()).await).await,
        }
    });
}

fn busy() -> Config {
    Config::new().timeouts(Timeouts::new().write_stall(Some(STALL)))
}

fn quiet() -> Config {
    Config::new().timeouts(Timeouts::new().keepalive(Some(Keepalive { quiet: QUIET, reply: QUIET })))
}

async fn connect<P: Protocol>(role: &str, protocol: P, config: Config) -> Connection<P> {
    if role == "client" {
        let dialled = Connection::connect(netns::address(), protocol, with_config(config));
        return step("dialling", dialled).await.expect("connected");
    }
    let listener = TcpListener::bind(netns::address()).await.expect("the address is free");
    say("listening");
    let (stream, _) = step("accepting", listener.accept()).await.expect("a client");
    Connection::accept(stream, protocol, &with_config(config)).expect("accepted")
}

/// Sends without end; in use once much more than one queue has gone.
async fn push(mut connection: Connection<Frames>) {
    let message = Bytes::from(vec![0x5a; 16 << 10]);
    let mut sent = 0;
    while connection.send(message.clone()).await.is_ok() {
        sent += 1;
        if sent == 200 {
            say("in use");
        }
    }
    report(&mut connection).await;
}

async fn consume(mut connection: Connection<Frames>) {
    while connection.next_event().await.is_some() {}
}

/// Is asked by the session itself, which probes; says a line of its own when the test wants it.
async fn ask(mut connection: Connection<Chat>) {
    connection.send(Bytes::from_static(b"hello")).await.expect("sent");
    let Some(Event::App(_)) = step("the answer", connection.next_event()).await else { panic!("no answer") };
    say("in use");
    let (word, mut words) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || while word.send(told()).is_ok() {});
    loop {
        tokio::select! {
            event = connection.next_event() => match event {
                Some(Event::Closed(closed)) => return say(format!("closed {}", closed.cause)),
                Some(_) => {}
                None => return,
            },
            Some(_) = words.recv() => connection.send(Bytes::from_static(b"anybody there?")).await.expect("queued"),
        }
    }
}

async fn answer(mut connection: Connection<Chat>) {
    while let Some(event) = connection.next_event().await {
        if let Event::App(_) = event {
            if connection.send(Bytes::from_static(b"here")).await.is_err() {
                return;
            }
        }
    }
}

async fn report<P: Protocol>(connection: &mut Connection<P>)
where
    Cause<P::Violation>: std::fmt::Display,
{
    let closed = step("the end", connection.closed()).await;
    say(format!("closed {}", closed.cause));
}
