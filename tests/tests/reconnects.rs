//! A client that outlives its connections, on every runtime: 64 writers, a thousand connections that end at any byte,
//! nothing lost and nothing doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use duologue_async::{
    Options, Receipt, ReconnectEvent, ReconnectOptions, ReconnectSendError, ReconnectSender, Reconnecting, Redial,
};
use duologue_core::Code;
use duologue_core::pool::Delivery;
use duologue_core::reconnect::{Backoff, Queued};
use duologue_tests::bounds::step;
use duologue_tests::sockets::{Dice, Frames, STEP, frame, frames, listen, parse, reset, write};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

fn quick() -> ReconnectOptions {
    let backoff = Backoff::new().initial(Duration::from_millis(1)).cap(Duration::from_millis(3));
    ReconnectOptions::new().backoff(backoff.min_connect(STEP)).connection(Options::new().send_within(STEP))
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
            duologue_tests::sockets::step("reading the rest", peer.read_to_end(&mut wire)).await.expect("no reset");
        }
        got.extend(parse(&wire).0.iter().map(|payload| number(payload)));
        arrived.lock().expect("no panic").push(got);
        if in_order { drop(peer) } else { reset(peer) }
    }
}

/// What a writer was told of each of its messages.
type Told = Vec<(u64, Result<Receipt, ReconnectSendError<Bytes>>)>;

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The server, on a thread and a runtime of its own.
fn serve(arrived: &Arrived) -> SocketAddr {
    let arrived = Arc::clone(arrived);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (listener, address) = listen().await;
            tell.send(address).expect("somebody asked");
            cut_down(listener, arrived, 7).await;
        });
    });
    told.recv().expect("an address")
}

/// Sends message after message until told to stop, and keeps what it was told of each.
async fn keep_sending<R: Redial>(sender: ReconnectSender<Frames, R>, writer: u64, stop: Arc<AtomicBool>) -> Told {
    let mut told = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = writer << 32 | n;
        let sent = step::<R, _>("sending", sender.send(Bytes::copy_from_slice(&id.to_be_bytes()))).await;
        told.push((id, sent));
        if n % 16 == 0 {
            yield_now().await;
        }
    }
    told
}

async fn a_thousand_reconnects_lose_and_double_nothing<R: Redial>() {
    let arrived: Arrived = Arc::default();
    let address = serve(&arrived);
    let options = quick().queued(Queued::ResendUnsent);
    let mut client = Reconnecting::<Frames, R>::new(address, |_| frames(), options).expect("pauses that work");
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<oneshot::Receiver<Told>> = (0..WRITERS)
        .map(|writer| {
            let (tell, told) = oneshot::channel();
            let sending = keep_sending(client.sender(), writer, Arc::clone(&stop));
            R::spawn(async move { drop(tell.send(sending.await)) }).expect("a task");
            told
        })
        .collect();

    let mut orderly = BTreeMap::new();
    let mut generations = BTreeSet::new();
    let mut lost = 0;
    while lost < RECONNECTS {
        match step::<R, _>("an event", client.next_event()).await.expect("it goes on") {
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
    stop.store(true, Ordering::Relaxed);
    client.start_close(Code(0));
    while let Some(event) = step::<R, _>("the end", client.next_event()).await {
        if let ReconnectEvent::Lost { generation, closed, .. } = event {
            orderly.insert(generation, closed.peer_finished && closed.cause.is_orderly());
        }
    }
    // The server may still read what the last connection brought: it takes one after the other, and this one after all.
    let mut behind = std::net::TcpStream::connect(address).expect("connected");
    behind.set_read_timeout(Some(STEP)).expect("set");
    behind.shutdown(std::net::Shutdown::Write).expect("our FIN");
    let _ = std::io::Read::read_to_end(&mut behind, &mut Vec::new());

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
        for (id, told) in step::<R, _>("a writer", writer).await.expect("no panic") {
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

#[test]
fn on_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(a_thousand_reconnects_lose_and_double_nothing::<duologue_tokio::Tokio>());
}

#[test]
fn on_smol() {
    smol::block_on(a_thousand_reconnects_lose_and_double_nothing::<duologue_smol::Smol>());
}

#[test]
fn on_async_std() {
    async_std::task::block_on(a_thousand_reconnects_lose_and_double_nothing::<duologue_async_std::AsyncStd>());
}

#[test]
fn on_threads() {
    smol::block_on(a_thousand_reconnects_lose_and_double_nothing::<duologue_blocking::Threads>());
}
