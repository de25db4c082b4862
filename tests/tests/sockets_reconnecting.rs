//! A client that outlives its connections: nothing lost, nothing doubled, no handle that writes where it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use duologue_core::pool::Delivery;
use duologue_core::reconnect::{Backoff, Breaker, Circuit, Generation, Queued};
use duologue_core::{Code, Event};
use duologue_tests::sockets::*;
use duologue_tokio::{
    Connection, Options, Receipt, ReconnectEvent, ReconnectOptions, ReconnectSendError, ReconnectSender, Reconnecting,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

fn quick() -> ReconnectOptions {
    let backoff = Backoff::new().initial(Duration::from_millis(1)).cap(Duration::from_millis(3));
    ReconnectOptions::new().backoff(backoff.min_connect(STEP)).connection(Options::new().send_within(STEP))
}

fn client(address: impl std::fmt::Display, options: ReconnectOptions) -> Reconnecting<Frames> {
    Reconnecting::new(address, |_| frames(), options).expect("pauses that work")
}

const WRITERS: u64 = 64;
const RECONNECTS: usize = 1000;

/// What arrived, per connection of the server.
type Arrived = Arc<Mutex<Vec<Vec<u64>>>>;

fn number(frame: &[u8]) -> u64 {
    u64::from_be_bytes(frame.try_into().expect("eight bytes"))
}

/// Takes one connection after the other, answers once, and ends it after a few messages: in order, with everything that
/// still comes read, or with a reset at any byte.
async fn cut_down(listener: TcpListener, arrived: Arrived, seed: u64) {
    let mut dice = Dice(seed);
    for round in 0.. {
        let Ok((mut peer, _)) = listener.accept().await else { return };
        let mut wire = Vec::new();
        let mut got = Vec::new();
        let enough = 12 * dice.below(8) + dice.below(12);
        // A byte shows that the connection is of use.
        write(&mut peer, &frame(b"hello")).await;
        let (mut buffer, in_order) = ([0; 700], round % 2 == 0);
        while wire.len() < enough {
            match peer.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(n) => wire.extend_from_slice(&buffer[..n]),
            }
        }
        if in_order {
            tokio::io::AsyncWriteExt::shutdown(&mut peer).await.ok();
            step("reading the rest", peer.read_to_end(&mut wire)).await.expect("no reset");
        }
        got.extend(parse(&wire).0.iter().map(|payload| number(payload)));
        arrived.lock().expect("no panic").push(got);
        if in_order { drop(peer) } else { reset(peer) }
    }
}

/// Sends message after message until told to stop, and keeps what it was told of each.
async fn keep_sending(
    sender: ReconnectSender<Frames>,
    writer: u64,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> Vec<(u64, Result<Receipt, ReconnectSendError<Bytes>>)> {
    let mut told = Vec::new();
    for n in 0.. {
        if *stop.borrow_and_update() {
            break;
        }
        let id = writer << 32 | n;
        let sent = step("sending", sender.send(Bytes::copy_from_slice(&id.to_be_bytes()))).await;
        told.push((id, sent));
        if n % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_under_64_writers_lose_and_double_nothing() {
    let (listener, address) = listen().await;
    let arrived: Arrived = Arc::default();
    let server = tokio::spawn(cut_down(listener, Arc::clone(&arrived), 7));
    let mut client = client(address, quick().queued(Queued::ResendUnsent));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(keep_sending(client.sender(), writer, stopped.clone()))).collect();

    let mut orderly = BTreeMap::new();
    let mut generations = BTreeSet::new();
    let mut lost = 0;
    while lost < RECONNECTS {
        match step("an event", client.next_event()).await.expect("it goes on") {
            ReconnectEvent::Lost { generation, closed, .. } => {
                lost += 1;
                orderly.insert(generation, closed.peer_finished && closed.cause.is_orderly());
            }
            ReconnectEvent::Connected { generation } => assert!(generations.insert(generation)),
            ReconnectEvent::App { generation, .. } => assert_eq!(generations.last(), Some(&generation)),
            ReconnectEvent::PeerFinished { .. } | ReconnectEvent::Failed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    stop.send(true).expect("writers listen");
    client.start_close(Code(0));
    while let Some(event) = step("the end", client.next_event()).await {
        if let ReconnectEvent::Lost { generation, closed, .. } = event {
            orderly.insert(generation, closed.peer_finished && closed.cause.is_orderly());
        }
    }
    // The server may still read what the last connection brought: it takes one after the other, and this one after all.
    let mut behind = tokio::net::TcpStream::connect(address).await.expect("connected");
    tokio::io::AsyncWriteExt::shutdown(&mut behind).await.expect("our FIN");
    let _ = step("the server", behind.read_to_end(&mut Vec::new())).await;
    server.abort();
    let _ = server.await;

    let mut seen = BTreeSet::new();
    let mut doubled = Vec::new();
    for id in arrived.lock().expect("no panic").iter().flatten() {
        if !seen.insert(*id) {
            doubled.push(*id);
        }
    }
    assert_eq!(doubled, [], "arrived twice");
    let (mut sent, mut lost_in_order, mut uncertain, mut back) = (0, 0, 0, 0);
    let mut receipts = BTreeSet::new();
    for writer in writers {
        for (id, told) in step("a writer", writer).await.expect("no panic") {
            match told {
                Ok(receipt) => {
                    sent += 1;
                    assert!(receipts.insert(receipt), "two messages with one receipt");
                    assert!(generations.contains(&receipt.generation));
                    if !seen.contains(&id) {
                        // Its connection was reset, which `Lost` told.
                        uncertain += 1;
                        lost_in_order += u64::from(orderly[&receipt.generation]);
                    }
                }
                Err(error) => {
                    back += 1;
                    if error.delivery() == Delivery::NotSent {
                        assert!(!seen.contains(&id), "it arrived and was called unsent: {error}");
                    }
                }
            }
        }
    }
    println!("{sent} sent over {} connections, {uncertain} lost with a reset one, {back} returned", generations.len());
    assert_eq!(lost_in_order, 0, "a connection that ended in order lost nothing");
    assert!(orderly.values().filter(|in_order| **in_order).count() > RECONNECTS / 3, "half of the ends were in order");
    assert!(sent > 1000 && generations.len() > RECONNECTS - 1, "{sent} over {}", generations.len());
}

#[tokio::test]
async fn a_handle_of_an_old_connection_never_writes_into_a_new_one() {
    let (listener, address) = listen().await;
    let mut client = client(address, quick());
    let sender = client.sender();
    let server = tokio::spawn(async move {
        let (peer, _) = listener.accept().await.expect("accepted");
        reset(peer);
        let (mut peer, _) = listener.accept().await.expect("accepted");
        let frame = read_frame(&mut peer).await;
        (frame, read_to_end(&mut peer).await.0)
    });
    let mut up = Vec::new();
    while up.len() < 2 {
        if let Some(ReconnectEvent::Connected { generation }) = step("an event", client.next_event()).await {
            up.push(generation);
        }
    }
    let stale = step("refused", sender.send_on(up[0], Bytes::from_static(b"old"))).await;
    assert_eq!(stale, Err(ReconnectSendError::Fenced { command: Bytes::from_static(b"old") }));
    let driven = tokio::spawn(async move { while client.next_event().await.is_some() {} });
    let fresh = step("sent", sender.send_on(up[1], Bytes::from_static(b"new"))).await;
    assert_eq!(fresh, Ok(Receipt { generation: up[1], number: 1 }));
    sender.start_close(Code(0));
    step("the client", driven).await.unwrap();
    let (frame, rest) = step("the server", server).await.unwrap();
    assert_eq!((frame.as_deref(), rest.len()), (Some(&b"new"[..]), 0));
    let closed = step("refused", sender.send(Bytes::new())).await;
    assert_eq!(closed, Err(ReconnectSendError::Closed { command: Bytes::new() }));
}

#[tokio::test]
async fn subscriptions_go_first_on_every_connection() {
    let (listener, address) = listen().await;
    let mut client = client(address, quick())
        .resubscribe(|Generation(n)| vec![Bytes::from_static(b"subscribe"), Bytes::from(format!("again {n}"))]);
    let sender = client.sender();
    let waiting = tokio::spawn(async move { sender.send(Bytes::from_static(b"first of all")).await });
    let driven = tokio::spawn(async move { while client.next_event().await.is_some() {} });
    for n in 1..=3 {
        let (mut peer, _) = step("accepting", listener.accept()).await.unwrap();
        assert_eq!(read_frame(&mut peer).await.unwrap(), b"subscribe");
        assert_eq!(read_frame(&mut peer).await.unwrap(), format!("again {n}").as_bytes());
        if n == 1 {
            assert_eq!(read_frame(&mut peer).await.unwrap(), b"first of all");
        }
    }
    assert_eq!(step("sent", waiting).await.unwrap(), Ok(Receipt { generation: Generation(1), number: 3 }));
    driven.abort();
}

#[tokio::test]
async fn without_a_connection_messages_go_back_by_policy_and_at_their_deadline() {
    let (listener, address) = listen().await;
    drop(listener);
    let breaker = Some(Breaker { failures: 3, open_for: Duration::from_secs(600) });
    let mut dropping = client(address, quick().queued(Queued::Drop));
    let sender = dropping.sender();
    let message = Bytes::from_static(b"now or never");
    assert_eq!(sender.send(message.clone()).await, Err(ReconnectSendError::NotConnected { command: message.clone() }));
    assert!(matches!(step("failing", dropping.next_event()).await, Some(ReconnectEvent::Failed { .. })));

    let options = quick().connection(Options::new().send_within(Duration::from_millis(30)));
    let patient = client(address, options).sender();
    let late = step("timing out", patient.send(message.clone())).await;
    assert!(matches!(late, Err(ReconnectSendError::Closed { .. })), "the client was dropped: {late:?}");

    let mut breaking = client(address, quick().breaker(breaker));
    let sender = breaking.sender();
    let waits = tokio::spawn({
        let (sender, message) = (sender.clone(), message.clone());
        async move { sender.send(message).await }
    });
    tokio::task::yield_now().await;
    for _ in 0..3 {
        assert!(matches!(step("failing", breaking.next_event()).await, Some(ReconnectEvent::Failed { .. })));
    }
    assert!(matches!(breaking.machine().circuit(), Circuit::Open { .. }));
    let refused = Err(ReconnectSendError::NotConnected { command: message.clone() });
    assert_eq!(step("given back", waits).await.unwrap(), refused, "no sense in waiting");
    assert_eq!(step("refused", sender.send(message)).await, refused);
}

#[tokio::test]
async fn what_waits_too_long_goes_back_and_a_dropped_send_sends_nothing() {
    let (listener, address) = listen().await;
    let options = quick().connection(Options::new().send_within(Duration::from_millis(50)));
    let mut client = client(address, options);
    let sender = client.sender();
    let message = Bytes::from_static(b"late");
    let waited = Duration::from_millis(50);
    let late = step("timing out", sender.send(message.clone())).await;
    assert_eq!(late, Err(ReconnectSendError::TimedOut { command: message, waited }));
    {
        let mut cancelled = Box::pin(sender.send(Bytes::from_static(b"cancelled")));
        assert!(futures_util::poll!(&mut cancelled).is_pending());
    }
    let driven = tokio::spawn(async move { while client.next_event().await.is_some() {} });
    let (peer, _) = step("accepting", listener.accept()).await.unwrap();
    let mut peer: Connection<Frames> = Connection::accept(peer, frames(), &Options::new()).unwrap();
    step("sent", sender.send(Bytes::from_static(b"kept"))).await.unwrap();
    assert!(matches!(step("it comes", peer.next_event()).await, Some(Event::App(m)) if m == "kept"));
    driven.abort();
}
