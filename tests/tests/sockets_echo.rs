//! Owned events and in-place handling answer alike, for every length and however the stream is cut (L10).

use bytes::Bytes;
use duologue_core::{Cause, Config, Delivery, Event, Limits};
use duologue_tests::sockets::*;
use duologue_tokio::Connection;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const LONGEST: usize = 70_000;

async fn echo_owned(mut connection: Connection<Frames>) -> FramesClosed {
    loop {
        match step("an event", connection.next_event()).await {
            Some(Event::App(message)) => step("an answer", connection.send(message)).await.expect("sent"),
            Some(Event::Closed(closed)) => return closed,
            _ => {}
        }
    }
}

async fn echo_in_place(mut connection: Connection<Frames>) -> FramesClosed {
    loop {
        let room = LONGEST + 4;
        let handled = connection.handle(room, |message, replies| replies.send(message).expect("there was room"));
        match step("an event", handled).await {
            Some(Event::Closed(closed)) => return closed,
            Some(Event::App(message)) => panic!("no owned message under in-place delivery: {}", message.len()),
            _ => {}
        }
    }
}

/// Lengths from 1 to [`LONGEST`]: all short ones, those around the share threshold and the read sizes, and random ones.
fn lengths(dice: &mut Dice) -> Vec<usize> {
    let mut lengths: Vec<usize> = (1..600).collect();
    for around in [4096, 8192, 16 << 10, 32 << 10, 64 << 10] {
        lengths.extend(around - 6..around + 6);
    }
    lengths.extend((0..150).map(|_| 1 + dice.below(LONGEST)));
    lengths.push(LONGEST);
    lengths
}

/// Writes the stream in pieces cut at random.
async fn write_cut(mut writing: tokio::net::tcp::OwnedWriteHalf, wire: Vec<u8>, mut dice: Dice, most: usize) {
    let mut rest = &wire[..];
    while !rest.is_empty() {
        let cut = (1 + dice.below(most)).min(rest.len());
        step("writing", writing.write_all(&rest[..cut])).await.expect("written");
        if dice.below(4) == 0 {
            tokio::task::yield_now().await;
        }
        rest = &rest[cut..];
    }
    step("FIN", writing.shutdown()).await.expect("FIN");
}

async fn echoes(delivery: Delivery, seed: u64, most: usize, limits: Limits) {
    let config = Config::new().delivery(delivery).limits(limits);
    let (connection, peer) = accepted(frames(), with_config(config)).await;
    peer.set_nodelay(true).expect("no delay");
    let mut dice = Dice(seed);
    let wire: Vec<u8> = lengths(&mut dice)
        .into_iter()
        .flat_map(|length| frame(&(0..length).map(|i| (i as u64 ^ seed) as u8).collect::<Vec<_>>()))
        .collect();
    let echoing = match delivery {
        Delivery::Owned => tokio::spawn(echo_owned(connection)),
        Delivery::InPlace => tokio::spawn(echo_in_place(connection)),
    };
    let (mut reading, writing) = TcpStream::into_split(peer);
    let writing = tokio::spawn(write_cut(writing, wire.clone(), dice, most));
    let mut echoed = Vec::new();
    step("the echo", tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut echoed)).await.expect("no reset");
    step("the writer", writing).await.expect("it succeeds");
    assert!(echoed == wire, "{delivery:?}, seed {seed}: {} bytes of {} came back", echoed.len(), wire.len());
    drop(reading);
    let closed = step("the end", echoing).await.expect("it succeeds");
    assert_eq!((closed.cause, closed.unsent, closed.undelivered), (Cause::PeerFinished, 0, 0));
}

#[tokio::test]
async fn owned_and_in_place_echo_the_same_bytes_however_they_are_cut() {
    for seed in 1..=3 {
        for delivery in [Delivery::Owned, Delivery::InPlace] {
            echoes(delivery, seed, 3000, Limits::new()).await;
            // Queues that hold hardly more than the longest message, so that both sides wait for room.
            let tight = Limits::new().recv_buffer(132 << 10).send_buffer(LONGEST + 4);
            echoes(delivery, seed + 100, 200_000, tight).await;
        }
    }
}

#[tokio::test]
async fn bytes_one_by_one_make_the_same_messages() {
    for delivery in [Delivery::Owned, Delivery::InPlace] {
        let config = Config::new().delivery(delivery);
        let (connection, mut peer) = dialled(frames(), with_config(config)).await;
        peer.set_nodelay(true).unwrap();
        let echoing = match delivery {
            Delivery::Owned => tokio::spawn(echo_owned(connection)),
            Delivery::InPlace => tokio::spawn(echo_in_place(connection)),
        };
        let wire: Vec<u8> = (1..40_u8).flat_map(|n| frame(&vec![n; usize::from(n)])).collect();
        for byte in &wire {
            write(&mut peer, &[*byte]).await;
            tokio::task::yield_now().await;
        }
        step("FIN", peer.shutdown()).await.unwrap();
        assert_eq!(read_to_end(&mut peer).await.0, wire, "{delivery:?}");
        drop(peer);
        assert_eq!(step("the end", echoing).await.unwrap().cause, Cause::PeerFinished);
    }
}

#[tokio::test]
async fn sends_from_borrowed_bytes_mix_with_in_place_replies() {
    let config = Config::new().delivery(Delivery::InPlace);
    let (mut connection, mut peer) = accepted(frames(), with_config(config)).await;
    connection.try_send_in_place(b"welcome").unwrap();
    let waited = futures_util::FutureExt::now_or_never(connection.handle(0, |_, _| {}));
    assert!(waited.is_none());
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"welcome"[..]));
    write(&mut peer, &frame(b"question")).await;
    step("FIN", peer.shutdown()).await.unwrap();
    let handled = connection.handle(64, |message, replies| {
        replies.send(message).unwrap();
        replies.send(b"more").unwrap();
    });
    assert_eq!(step("the question", handled).await, Some(Event::PeerFinished));
    assert_eq!(step("the end", connection.closed()).await.cause, Cause::PeerFinished);
    let payloads = parse(&read_to_end(&mut peer).await.0).0;
    assert_eq!(payloads, [Bytes::from_static(b"question"), Bytes::from_static(b"more")]);
}
