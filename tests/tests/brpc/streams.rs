//! Streams of calls: messages both ways, back-pressure, ends.

use std::time::Duration;

use bytes::Bytes;
use duologue_async::brpc::{BrpcConfig, ErrorCode, RpcError, code};
use duologue_core::Code;
use duologue_core::streams::{StreamEnd, StreamError};
use futures_util::StreamExt;
use futures_util::future::join_all;

use super::{Options, bounded, call, connect, connect_with, serve, spawn};

fn message(n: usize, len: usize) -> Bytes {
    (0..len).map(|at| (at * 7 + n + (at >> 8)) as u8).collect::<Vec<u8>>().into()
}

#[test]
fn messages_of_every_size_come_back_whole_and_in_order_on_several_streams_of_a_call() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        let (_, streams) = client.call_with_streams(call("Streams", ""), 5).await.unwrap();
        assert_eq!(streams.len(), 5);
        let sizes = [0, 1, 26, 4_095, 4_096, 65_536, 300_000, 1 << 20, 0, 3];
        let echoes = streams.into_iter().enumerate().map(|(stream, handle)| {
            let (sender, mut receiver) = handle.split();
            let sending = spawn(async move {
                for round in 0..3 {
                    for (n, len) in sizes.into_iter().enumerate() {
                        sender.send(message(stream + n + round, len)).await.unwrap();
                    }
                }
                sender
            });
            spawn(async move {
                for round in 0..3 {
                    for (n, len) in sizes.into_iter().enumerate() {
                        let came = receiver.recv_message().await.unwrap().unwrap();
                        assert!(came == message(stream + n + round, len), "message {n} of {stream} in round {round}");
                    }
                }
                // Only now: the wire has no half-close, and what comes back behind our CLOSE is for nobody.
                sending.await.finish();
                assert_eq!(receiver.recv_message().await, Ok(None));
            })
        });
        join_all(echoes).await;
    });
}

/// Read as bytes, an empty message is nothing, and not the end.
#[test]
fn read_as_bytes_an_empty_message_is_no_end() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        let (_, mut streams) = client.call_with_streams(call("Streams", ""), 1).await.unwrap();
        let mut into = [0; 8];
        for _ in 0..2 {
            streams[0].send(Bytes::new()).await.unwrap();
            streams[0].send("x".into()).await.unwrap();
            let n = futures_util::AsyncReadExt::read(&mut streams[0], &mut into).await.unwrap();
            assert_eq!(into[..n], *b"x");
        }
    });
}

#[test]
fn what_is_sent_before_the_answer_flows_behind_it() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        let (pending, mut streams) = client.start_with_streams(call("Streams", ""), 2).await.unwrap();
        for n in 0..10 {
            streams[n % 2].send(message(n, 100)).await.unwrap();
        }
        assert_eq!(pending.await.unwrap().streams, 2);
        for n in 0..10 {
            assert_eq!(streams[n % 2].recv_message().await.unwrap().unwrap(), message(n, 100));
        }
    });
}

#[test]
fn streams_that_are_not_accepted_are_refused() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        let (response, streams) = client.call_with_streams(call("Echo", "x"), 2).await.unwrap();
        assert!(streams.is_empty() && response.body == "x");
        let (pending, mut streams) = client.start_with_streams(call("Nothing", ""), 1).await.unwrap();
        let error = pending.await.unwrap_err();
        assert!(matches!(error, RpcError::Status(status) if status.code == ErrorCode::NoMethod));
        assert_eq!(streams[0].recv().await, Err(StreamEnd::Refused));
        assert!(matches!(streams[0].send("x".into()).await, Err(e) if e.why == StreamError::Ended(StreamEnd::Refused)));
    });
}

#[test]
fn a_consumer_that_does_not_read_stalls_its_stream_only() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let (_, mut streams) = client.call_with_streams(call("Keep", ""), 2).await.unwrap();
        let mut theirs = served.kept.next().await.unwrap();
        let (second, first) = (streams.remove(1), streams.remove(0));
        let stalled = spawn(async move {
            for n in 0..400 {
                first.send(message(n, 64 << 10)).await.unwrap();
            }
            first
        });
        // The window of the first fills up.
        second.send("beside it".into()).await.unwrap();
        assert_eq!(theirs[1].recv_message().await.unwrap().unwrap(), "beside it");
        assert_eq!(client.call(call("Echo", "fine")).await.unwrap().body, "fine");
        let held = served_bytes(&client);
        assert!(held < 16 << 20, "{held} bytes left a stream that nobody reads");
        for n in 0..400 {
            let came = theirs[0].recv_message().await.unwrap().unwrap();
            assert!(came == message(n, 64 << 10), "message {n}");
        }
        drop(stalled.await);
    });
}

fn served_bytes(client: &super::BrpcClient) -> u64 {
    client.inspect(|session| session.stats().bytes_transmitted)
}

#[test]
fn finish_is_an_orderly_end_for_both() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let (_, mut ours) = client.call_with_streams(call("Keep", ""), 1).await.unwrap();
        let mut theirs = served.kept.next().await.unwrap();
        for n in 0..50 {
            theirs[0].send(message(n, 1000)).await.unwrap();
        }
        theirs[0].finish();
        for n in 0..50 {
            assert_eq!(ours[0].recv_message().await.unwrap().unwrap(), message(n, 1000));
        }
        assert_eq!(ours[0].recv_message().await, Ok(None));
        assert_eq!(theirs[0].recv_message().await, Ok(None));
    });
}

#[test]
fn dropping_a_stream_resets_it_and_only_it() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let (_, mut ours) = client.call_with_streams(call("Keep", ""), 2).await.unwrap();
        let mut theirs = served.kept.next().await.unwrap();
        drop(ours.remove(0));
        assert_eq!(theirs[0].recv().await, Err(StreamEnd::PeerReset(Code(code::ECONNRESET))));
        theirs[1].send("lives".into()).await.unwrap();
        assert_eq!(ours[0].recv_message().await.unwrap().unwrap(), "lives");
        theirs.remove(1).reset(Code(3));
        assert_eq!(ours[0].recv().await, Err(StreamEnd::PeerReset(Code(code::ECONNRESET))));
    });
}

#[test]
fn a_starved_sender_ends_by_its_deadline() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let (_, ours) = client.call_with_streams(call("Keep", ""), 1).await.unwrap();
        let mut theirs = served.kept.next().await.unwrap();
        ours[0].end_within(Some(Duration::from_millis(200)));
        let why = loop {
            if let Err(refused) = ours[0].send(message(1, 64 << 10)).await {
                break refused.why;
            }
        };
        assert_eq!(why, StreamError::Ended(StreamEnd::Deadline));
        let end = loop {
            match theirs[0].recv().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert_eq!(end, Err(StreamEnd::PeerReset(Code(code::ECONNRESET))));
    });
}

#[test]
fn a_peer_that_takes_no_data_is_a_typed_error() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect_with(&served, Options::new(), BrpcConfig::new().writable(false)).await;
        let (_, ours) = client.call_with_streams(call("Keep", ""), 1).await.unwrap();
        let mut theirs = served.kept.next().await.unwrap();
        let refused = theirs[0].send("x".into()).await.unwrap_err();
        assert_eq!(refused.why, StreamError::Stopped(Code(code::EBADF)));
        ours[0].send("one way".into()).await.unwrap();
        assert_eq!(theirs[0].recv_message().await.unwrap().unwrap(), "one way");
    });
}

#[test]
fn a_message_that_is_too_large_is_refused_and_the_next_one_passes() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        let (_, mut streams) = client.call_with_streams(call("Streams", ""), 1).await.unwrap();
        let refused = streams[0].send(message(0, (4 << 20) + 1)).await.unwrap_err();
        assert!(matches!(refused.why, StreamError::TooLarge { .. }), "{refused}");
        assert_eq!(refused.data.len(), (4 << 20) + 1);
        streams[0].send(message(1, 10)).await.unwrap();
        assert_eq!(streams[0].recv_message().await.unwrap().unwrap(), message(1, 10));
    });
}
