//! Closing on a real network, seen from outside: no RST while the close has time to linger, and TIME_WAIT on the side
//! that the close order says.
//!
//! It needs root; otherwise each test prints why it was skipped.
// What was counted is worth seeing; a host speaks by printing.
#![allow(clippy::print_stdout)]
#![cfg(target_os = "linux")]

use std::time::Duration;

use bytes::Bytes;
use duologue_core::{CloseOrder, Code, Config, Event, Side, Timeouts};
use duologue_tests::netns::{self, Host, Player, Wire, say, told};
use duologue_tests::sockets::*;
use duologue_tokio::{Connection, Options};
use tokio::net::{TcpListener, TcpStream};

const FILES: u32 = 256;
/// What the peer sends and nobody takes, before and during the close.
const UNREAD: usize = 300_000;
/// Connections closed for each count of TIME_WAIT.
const CLOSES: usize = 20;

/// RST packets seen by both hosts while the server closes with unread input, and what the client made of the end.
fn close_with_unread_input(test: &str, server: &str) -> Option<([u64; 2], String)> {
    let wire = Wire::or_skip(test)?;
    if let Err(why) = wire.count_resets(Host::Server) {
        println!("skipped: {test}: no packet filter here ({why})");
        return None;
    }
    let mut closes = wire.start(Host::Server, server, FILES);
    closes.hears("listening");
    let sends = wire.start(Host::Client, "send what nobody reads", FILES);
    sends.hears("sent");
    closes.tell("close");
    let end = sends.hears("end");
    closes.hears("released");
    Some((wire.resets(Host::Server), end))
}

#[test]
fn a_close_with_unread_input_resets_nothing() {
    let Some((resets, end)) = close_with_unread_input("unread input", "close, lingering") else { return };
    println!("RST packets in, out: {resets:?}; the peer read {end}");
    assert_eq!(resets, [0, 0], "the peer read {end}");
    assert_eq!(end, "\"last words\", then FIN");
}

/// That the counter counts: who does not linger leaves the kernel no choice.
#[test]
fn without_lingering_the_kernel_resets() {
    let Some((resets, end)) = close_with_unread_input("unread input, no linger", "close, at once") else { return };
    println!("RST packets in, out, without lingering: {resets:?}; the peer read {end}");
    assert!(resets[1] > 0, "{resets:?}");
}

/// Sockets in TIME_WAIT at the server and at the client after as many closes, by close order; the server closes.
fn time_wait(server_first: bool) -> Option<[usize; 2]> {
    let order = if server_first { "us first" } else { "the peer first" };
    let wire = Wire::or_skip("TIME_WAIT")?;
    let mut server = wire.start(Host::Server, &format!("goodbye, {order}"), FILES);
    server.hears("listening");
    let mut client = wire.start(Host::Client, &format!("hear goodbye, {order}"), FILES);
    let finished = |player: &Player| player.hears("finished first");
    let told = [finished(&server), finished(&client)];
    let counts = [Host::Server, Host::Client].map(|host| wire.sockets(host, "time-wait"));
    println!("close order of the server {order}: TIME_WAIT at the server, the client: {counts:?}; first FIN: {told:?}");
    let all = |side: Side| format!("{side:?} x {CLOSES}");
    let firsts = if server_first { [Side::Local, Side::Peer] } else { [Side::Peer, Side::Local] };
    assert_eq!(told, firsts.map(all), "what the sessions say of it");
    server.tell("end");
    client.tell("end");
    Some(counts)
}

#[test]
fn time_wait_is_the_servers_if_it_finishes_first() {
    let Some(counts) = time_wait(true) else { return };
    assert_eq!(counts, [CLOSES, 0]);
}

#[test]
fn time_wait_is_the_clients_if_the_server_lets_it_finish_first() {
    let Some(counts) = time_wait(false) else { return };
    assert_eq!(counts, [0, CLOSES]);
}

/// Plays a host, in a process that one of the tests above started; otherwise nothing.
#[test]
fn one_of_the_hosts() {
    let Some(part) = netns::part() else { return };
    let (what, how) = part.split_once(", ").unwrap_or((&part, ""));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match what {
            "close" => close(how == "lingering").await,
            "goodbye" => say_goodbye(options(how, "us first")).await,
            "hear goodbye" => hear_goodbye(options(how, "the peer first")).await,
            _ => send_what_nobody_reads().await,
        }
    });
}

/// `first` is what the server's order is if this side is to finish first.
fn options(order: &str, first: &str) -> Options {
    let peer_first = CloseOrder::PeerFirst { within: STEP };
    with_config(Config::new().close_order(if order == first { CloseOrder::LocalFirst } else { peer_first }))
}

async fn listen_here() -> TcpListener {
    let listener = TcpListener::bind(netns::address()).await.expect("the address is free");
    say("listening");
    listener
}

/// Takes no event, so that input piles up, and closes.
async fn close(lingers: bool) {
    let (stream, _) = step("accepting", listen_here().await.accept()).await.expect("a client");
    let linger = Timeouts::new().linger(lingers.then_some(Duration::from_secs(10)));
    let mut connection = Connection::accept(stream, frames(), &with_timeouts(linger)).expect("accepted");
    told();
    connection.send(Bytes::from_static(b"last words")).await.expect("sent");
    let closed = step("closing", connection.close(Code(0))).await;
    say(format!("released {closed}"));
    told();
}

async fn send_what_nobody_reads() {
    let mut stream = TcpStream::connect(netns::address()).await.expect("connected");
    let unread = frame(&[b'x'; 100]).repeat(UNREAD / 104);
    write(&mut stream, &unread).await;
    say("sent");
    // Goes on sending a little, as somebody who has not heard of the close yet.
    let (mut read, mut half) = stream.into_split();
    let late = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        for _ in 0..20 {
            if half.write_all(&frame(b"late")).await.is_err() {
                return half;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        half
    });
    let mut bytes = Vec::new();
    let end = step("the end", tokio::io::AsyncReadExt::read_to_end(&mut read, &mut bytes)).await;
    let words = parse(&bytes).0.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect::<Vec<_>>().join(", ");
    drop(step("the late words", late).await);
    say(format!("end {words:?}, then {}", end.map_or_else(|e| e.to_string(), |_| "FIN".into())));
    told();
}

async fn say_goodbye(options: Options) {
    let listener = listen_here().await;
    let mut firsts = Vec::new();
    for _ in 0..CLOSES {
        let (stream, _) = step("accepting", listener.accept()).await.expect("a client");
        let mut connection = Connection::accept(stream, Chat::new(false), &options).expect("accepted");
        let Some(Event::App(_)) = step("a line", connection.next_event()).await else { panic!("no line") };
        firsts.push(step("closing", connection.close(Code(0))).await.finished_first);
    }
    finished_first(&firsts);
}

async fn hear_goodbye(options: Options) {
    let mut firsts = Vec::new();
    for _ in 0..CLOSES {
        let dialled = Connection::connect(netns::address(), Chat::new(false), options.clone());
        let mut connection = step("dialling", dialled).await.expect("connected");
        connection.send(Bytes::from_static(b"hello")).await.expect("sent");
        firsts.push(step("the end", connection.closed()).await.finished_first);
    }
    finished_first(&firsts);
}

fn finished_first(firsts: &[Option<Side>]) {
    let first = firsts[0].map_or("nobody".into(), |side| format!("{side:?}"));
    let same = firsts.iter().filter(|side| **side == firsts[0]).count();
    say(format!("finished first {first} x {same}"));
    told();
}
