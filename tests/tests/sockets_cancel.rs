//! Waits that are dropped at random points lose nothing and double nothing.

use std::future::Future;
use std::pin::pin;

use bytes::Bytes;
use duologue_core::{Event, OnPeerFinish};
use duologue_tests::sockets::*;
use duologue_tokio::Connection;

/// Polls `future` up to `polls` times and then drops it.
async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for left in (0..polls).rev() {
        if let std::task::Poll::Ready(output) = futures_util::poll!(&mut future) {
            return Some(output);
        }
        if left > 0 {
            tokio::task::yield_now().await;
        }
    }
    None
}

/// Large enough that the queue and the kernel are full now and then.
fn payload(number: u32, dice: &mut Dice) -> Bytes {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(4 + dice.below(60_000), number as u8);
    Bytes::from(payload)
}

fn number_of(message: &Bytes) -> u32 {
    u32::from_be_bytes(message[..4].try_into().expect("four bytes"))
}

const COUNT: u32 = 1500;

async fn receive_impatiently(mut connection: Connection<Frames>, seed: u64) {
    let mut dice = Dice(seed);
    let mut expected = 0;
    loop {
        let other = tokio::task::yield_now();
        let event = tokio::select! {
            event = dropped_after(1 + dice.below(3), connection.next_event()) => event,
            () = other => None,
        };
        match event {
            Some(Some(Event::App(message))) => {
                assert_eq!(number_of(&message), expected, "seed {seed}");
                assert!(message[4..].iter().all(|b| *b == expected as u8));
                expected += 1;
            }
            Some(Some(Event::PeerFinished)) => break,
            Some(other) => assert_eq!(other, Some(Event::Writable)),
            None => {}
        }
    }
    assert_eq!(expected, COUNT, "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_and_waits_for_events_dropped_at_random_points_lose_and_double_nothing() {
    for seed in 1..=4 {
        let config = duologue_core::Config::new()
            .on_peer_finish(OnPeerFinish::KeepSending)
            .limits(duologue_core::Limits::new().send_buffer(70_000));
        let (mut client, server) = connected(with_config(config.clone()), with_config(config)).await;
        // The peer reads nothing until a sender had to wait, so that waits are dropped for certain.
        let (waited, wait) = tokio::sync::oneshot::channel();
        let mut waited = Some(waited);
        let receiving = tokio::spawn(async move {
            wait.await.expect("a sender waits sooner or later");
            receive_impatiently(server, seed).await;
        });
        let mut dice = Dice(seed << 32);
        let mut dropped = 0;
        for number in 0..COUNT {
            let message = payload(number, &mut dice);
            let sending = async {
                while dropped_after(1 + dice.below(3), client.send(message.clone()))
                    .await
                    .transpose()
                    .unwrap()
                    .is_none()
                {
                    dropped += 1;
                    if let Some(waited) = waited.take() {
                        waited.send(()).expect("the receiver is there");
                    }
                }
            };
            step("sending", sending).await;
        }
        assert!(dropped > 0, "no wait was ever dropped");
        client.finish();
        step("flushing", client.flush()).await;
        step("receiving", receiving).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_through_the_halves_with_several_senders() {
    for seed in 1..=3 {
        let (client, server) = connected(with_queue(70_000), with_queue(70_000)).await;
        let (mut client_receiver, sender) = client.split();
        let mut senders = Vec::new();
        for id in 0..4_u8 {
            let sender = sender.clone();
            senders.push(tokio::spawn(async move {
                let mut dice = Dice(seed * 1000 + u64::from(id));
                for number in 0..COUNT / 4 {
                    let mut message = vec![id];
                    message.extend_from_slice(&payload(number, &mut dice));
                    let message = Bytes::from(message);
                    step("sending", async {
                        while dropped_after(1 + dice.below(3), sender.send(message.clone()))
                            .await
                            .transpose()
                            .expect("the session is open")
                            .is_none()
                        {}
                    })
                    .await;
                }
            }));
        }
        drop(sender);
        let (mut receiver, server_sender) = server.split();
        let receiving = tokio::spawn(async move {
            let mut dice = Dice(seed);
            let mut next = [0_u32; 4];
            loop {
                match dropped_after(1 + dice.below(3), receiver.next_event()).await {
                    Some(Some(Event::App(message))) => {
                        let id = usize::from(message[0]);
                        assert_eq!(number_of(&message.slice(1..)), next[id], "seed {seed}");
                        next[id] += 1;
                    }
                    Some(Some(Event::PeerFinished)) => return next,
                    Some(other) => panic!("{other:?}"),
                    None => tokio::task::yield_now().await,
                }
            }
        });
        let driving = tokio::spawn(async move { client_receiver.closed().await });
        for sender in senders {
            step("a sender", sender).await.unwrap();
        }
        assert_eq!(step("receiving", receiving).await.unwrap(), [COUNT / 4; 4]);
        drop(server_sender);
        assert_eq!(step("the end", driving).await.unwrap().unsent, 0);
    }
}
