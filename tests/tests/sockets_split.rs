//! Many senders on one connection against every kind of end (field case F5, L14).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, CloseIntent, Code, Event};
use duologue_tests::sockets::*;
use duologue_tokio::SendError;
use tokio::net::TcpStream;

const SENDERS: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Close,
    Finish,
    Abort,
    PeerResets,
    PeerFinishes,
}

/// Reads frames until the end, or until told to reset.
async fn peer(mut stream: TcpStream, read: Arc<AtomicU64>, leave: Arc<AtomicBool>, end: End) -> Vec<u8> {
    let mut wire = Vec::new();
    loop {
        let count = tokio::io::AsyncReadExt::read_buf(&mut stream, &mut wire).await;
        read.store(wire.len() as u64, Ordering::Relaxed);
        if matches!(count, Ok(0) | Err(_)) {
            return wire;
        }
        if leave.load(Ordering::Relaxed) {
            match end {
                End::PeerResets => {
                    reset(stream);
                    return wire;
                }
                End::PeerFinishes => drop(tokio::io::AsyncWriteExt::shutdown(&mut stream).await),
                _ => {}
            }
        }
    }
}

async fn senders_against(end: End, queue: usize) {
    let (connection, stream) = accepted(frames(), with_queue(queue)).await;
    let (read, leave) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let peer = tokio::spawn(peer(stream, Arc::clone(&read), Arc::clone(&leave), end));
    let (mut receiver, sender) = connection.split();
    let tasks: Vec<_> = (0..SENDERS)
        .map(|id| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for number in 0_u32.. {
                    let message = Bytes::from([id.to_be_bytes(), number.to_be_bytes()].concat());
                    if let Err(refused) = step("sending", sender.send(message.clone())).await {
                        assert!(matches!(&refused, SendError::Refused(r) if !r.is_temporary()), "{refused:?}");
                        assert_eq!(refused.into_command(), message, "the very message comes back");
                        return number;
                    }
                }
                0
            })
        })
        .collect();
    let receiving = tokio::spawn(async move {
        loop {
            if let Event::Closed(closed) = step("the end", receiver.next_event()).await.expect("it succeeds") {
                return (closed, receiver.stats());
            }
        }
    });
    until("traffic", || read.load(Ordering::Relaxed) > 200_000).await;
    leave.store(true, Ordering::Relaxed);
    match end {
        End::Close => sender.start_close(CloseIntent::Goodbye(Code(1))),
        End::Finish => sender.finish(),
        End::Abort => sender.abort(Code(2)),
        End::PeerResets | End::PeerFinishes => {}
    }
    let mut accepted = HashMap::new();
    for (id, task) in tasks.into_iter().enumerate() {
        accepted.insert(id as u32, step("a sender", task).await.expect("it succeeds"));
    }
    let wire = step("the peer", peer).await.expect("it succeeds");
    let (closed, stats) = step("the receiver", receiving).await.expect("it succeeds");

    let total: u64 = accepted.values().map(|n| u64::from(*n)).sum();
    assert_eq!(stats.accepted, total, "{end:?}: accepted is what send said Ok to");
    assert_eq!(stats.accepted, stats.flushed + closed.unsent, "{end:?}");
    let (payloads, rest) = parse(&wire);
    let mut next = HashMap::new();
    for payload in &payloads {
        let id = u32::from_be_bytes(payload[..4].try_into().expect("it succeeds"));
        let number = u32::from_be_bytes(payload[4..].try_into().expect("it succeeds"));
        let expected = next.entry(id).or_insert(0);
        assert_eq!(number, *expected, "{end:?}: each sender's messages arrive once and in order");
        *expected += 1;
        assert!(*expected <= accepted[&id], "{end:?}: nothing arrives that was not accepted");
    }
    let got = payloads.len() as u64;
    match end {
        End::Close | End::Finish | End::PeerFinishes => {
            assert_eq!((got, rest.len(), closed.unsent), (total, 0, 0), "{end:?}");
        }
        End::Abort | End::PeerResets => assert!(got <= stats.flushed, "{end:?}"),
    }
    let cause = match end {
        End::Close => Cause::LocalClose(Code(1)),
        End::Finish => Cause::LocalFinished,
        End::Abort => Cause::LocalAbort(Code(2)),
        End::PeerResets => Cause::PeerReset,
        End::PeerFinishes => Cause::PeerFinished,
    };
    assert_eq!(closed.cause, cause);
    let late = sender.try_send(Bytes::from_static(b"late")).expect_err("over");
    assert_eq!(late.into_command(), "late");
    let late = step("a late send", sender.send(Bytes::from_static(b"later"))).await.expect_err("over");
    assert_eq!(late.into_command(), "later");
    assert_eq!(sender.end(), Some(closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_senders_against_every_kind_of_end() {
    for end in [End::Close, End::Finish, End::Abort, End::PeerResets, End::PeerFinishes] {
        for queue in [600, 256 << 10] {
            senders_against(end, queue).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn waiting_senders_are_woken_by_every_kind_of_end() {
    // The peer reads nothing, so that all but a few wait for room when the end comes.
    for end in [End::Close, End::Abort, End::PeerResets] {
        let (connection, stream) = dialled(frames(), with_queue(100_004)).await;
        let (mut receiver, sender) = connection.split();
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let sender = sender.clone();
                tokio::spawn(async move { while sender.send(Bytes::from(vec![0; 100_000])).await.is_ok() {} })
            })
            .collect();
        let stuck = || (receiver.stats().flushed, receiver.inspect(|s| s.room()));
        let mut before = stuck();
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = stuck();
            if now == before && now.0 > 0 {
                break;
            }
            before = now;
        }
        match end {
            End::Close => sender.start_close(CloseIntent::Flush(Code(0))),
            End::Abort => sender.abort(Code(0)),
            _ => {}
        }
        let mut stream = Some(stream);
        if end == End::PeerResets {
            reset(stream.take().expect("it succeeds"));
        }
        let receiving = tokio::spawn(async move {
            let closed = receiver.closed().await;
            (closed, receiver.stats())
        });
        for sender in senders {
            step("a waiting sender", sender).await.expect("it succeeds");
        }
        drop(stream);
        let (closed, stats) = step("the end", receiving).await.unwrap();
        assert_eq!(stats.accepted, stats.flushed + closed.unsent, "{end:?}");
    }
}
