//! Data both ways, from one task and from many, as messages and as bytes.

use bytes::Bytes;
use duologue_core::{CloseIntent, Code};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::{all, bounded, joined, pattern, sides, spawn};

const LARGE: usize = 1 << 20;

#[test]
fn both_sides_open_and_each_stream_keeps_its_own_bytes() {
    bounded(|| async {
        let (client, server) = sides();
        let mut tasks = Vec::new();
        for (opener, other) in [(client.clone(), server.clone()), (server, client)] {
            tasks.push(spawn(async move {
                let mut echoes = Vec::new();
                for _ in 0..50 {
                    let mut stream = other.accept().await.unwrap();
                    echoes.push(spawn(async move {
                        let got = all(&mut stream).await;
                        stream.send(Bytes::from(got)).await.unwrap();
                        stream.finish();
                        assert_eq!(stream.recv().await, Ok(None));
                    }));
                }
                futures_util::future::join_all(echoes).await;
            }));
            tasks.push(spawn(async move {
                for n in 0..50 {
                    let mut stream = opener.open().await.unwrap();
                    let data = pattern(n, 1 + n * 97);
                    stream.send(Bytes::from(data.clone())).await.unwrap();
                    stream.finish();
                    assert_eq!(all(&mut stream).await, data);
                }
            }));
        }
        futures_util::future::join_all(tasks).await;
    });
}

#[test]
fn a_sender_is_shared_by_many_tasks_and_each_piece_stays_whole() {
    bounded(|| async {
        let (client, server) = sides();
        let (ours, mut theirs) = joined(&client, &server).await;
        let (sender, receiver) = ours.split();
        let tasks: Vec<_> = (0..40u8)
            .map(|task| {
                let sender = sender.clone();
                spawn(async move {
                    for n in 0..100u8 {
                        sender.send(Bytes::from(vec![task, n, task, n ^ 255])).await.unwrap();
                    }
                })
            })
            .collect();
        let finishing = spawn(async move {
            futures_util::future::join_all(tasks).await;
            // The clones are gone, and the stream is not reset by that.
            sender.finish();
        });
        let got = all(&mut theirs).await;
        finishing.await;
        assert_eq!(got.len(), 40 * 100 * 4);
        let mut next = [0u8; 40];
        for piece in got.chunks(4) {
            let n = &mut next[usize::from(piece[0])];
            assert_eq!(piece, [piece[0], *n, piece[0], *n ^ 255], "whole, and in the order of its task");
            *n += 1;
        }
        drop(receiver);
    });
}

#[test]
fn as_byte_streams_of_futures_io() {
    bounded(|| async {
        let (client, server) = sides();
        let echo = spawn(async move {
            let stream = server.accept().await.unwrap();
            let (mut reader, mut writer) = AsyncReadExt::split(stream);
            let copied = futures_util::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.close().await.unwrap();
            copied
        });
        let stream = client.open().await.unwrap();
        let (mut reader, mut writer) = AsyncReadExt::split(stream);
        let writing = spawn(async move {
            writer.write_all(&pattern(3, LARGE)).await.unwrap();
            writer.flush().await.unwrap();
            writer.close().await.unwrap();
            let late = writer.write_all(b"late").await.unwrap_err();
            assert_eq!(late.kind(), std::io::ErrorKind::BrokenPipe);
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        writing.await;
        assert_eq!(echo.await, LARGE as u64);
        assert!(got == pattern(3, LARGE));
    });
}

#[test]
fn halves_are_byte_streams_each_by_itself() {
    bounded(|| async {
        let (client, server) = sides();
        let echo = spawn(async move {
            let (mut sender, mut receiver) = server.accept().await.unwrap().split();
            let copied = futures_util::io::copy(&mut receiver, &mut sender).await.unwrap();
            sender.close().await.unwrap();
            copied
        });
        let (mut sender, mut receiver) = client.open().await.unwrap().split();
        let writing = spawn(async move {
            sender.write_all(&pattern(5, LARGE)).await.unwrap();
            sender.close().await.unwrap();
            let late = sender.write_all(b"late").await.unwrap_err();
            assert_eq!(late.kind(), std::io::ErrorKind::BrokenPipe);
        });
        let mut got = Vec::new();
        receiver.read_to_end(&mut got).await.unwrap();
        writing.await;
        assert_eq!(echo.await, LARGE as u64);
        assert!(got == pattern(5, LARGE));
    });
}

#[test]
fn a_stream_that_nobody_reads_stops_no_other() {
    bounded(|| async {
        let (client, server) = sides();
        let (stuck, unread) = joined(&client, &server).await;
        let filling = spawn(async move {
            let refused = stuck.send(Bytes::from(vec![1; 4 * LARGE])).await.unwrap_err();
            refused.data.len()
        });
        for n in 0..20 {
            let (mut ours, mut theirs) = joined(&client, &server).await;
            let data = pattern(n, 100_000);
            let echo = spawn(async move {
                let got = all(&mut theirs).await;
                theirs.send(Bytes::from(got)).await.unwrap();
                theirs.finish();
            });
            ours.send(Bytes::from(data.clone())).await.unwrap();
            ours.finish();
            assert!(all(&mut ours).await == data);
            echo.await;
        }
        drop(unread);
        // Whoever waits for room is woken by the loss too.
        client.abort(Code(0));
        assert!(filling.await > 0);
    });
}

#[test]
fn a_close_sends_what_was_accepted_first() {
    bounded(|| async {
        let (client, server) = sides();
        let (ours, mut theirs) = joined(&client, &server).await;
        let data = pattern(5, 60_000);
        ours.send(Bytes::from(data.clone())).await.unwrap();
        ours.finish();
        client.close(CloseIntent::Goodbye(Code(0)));
        assert!(client.open().await.is_err(), "it closes");
        assert!(all(&mut theirs).await == data);
        theirs.finish();
        assert!(client.closed().await.cause.is_orderly());
        assert!(server.closed().await.cause.is_orderly());
        assert!(server.accept().await.is_none() && client.accept().await.is_none());
    });
}
