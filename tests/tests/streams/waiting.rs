//! Whoever waits when the connection ends is woken, whatever ended it.

use bytes::Bytes;
use duologue_core::streams::{Multiplex, OpenError, StreamEnd, StreamError, StreamsConfig};
use duologue_core::{CloseIntent, Code};
use duologue_yamux::{YamuxCommand, YamuxEvent};
use futures_util::future::RemoteHandle;

use super::{Side, all, bounded, joined, pattern, sides, sides_with, spawn, undriven};

/// A reader, a writer, an acceptor, an opener and one who waits for the end, all waiting.
struct Waiters {
    reader: RemoteHandle<StreamEnd>,
    writer: RemoteHandle<StreamError>,
    acceptor: RemoteHandle<bool>,
    opener: RemoteHandle<OpenError>,
    ender: RemoteHandle<bool>,
}

/// At most two streams of ours: a third waits.
fn two() -> StreamsConfig {
    StreamsConfig::new().max_local(2)
}

async fn waiters(client: &Side, server: &Side) -> (Waiters, Vec<super::Stream>) {
    let (quiet, a) = joined(client, server).await;
    let (blocked, b) = joined(client, server).await;
    let (keep, mut receiver) = quiet.split();
    let reader = spawn(async move {
        let end = receiver.recv().await.unwrap_err();
        drop(keep);
        end
    });
    let writer = spawn(async move { blocked.send(Bytes::from(vec![0; 4 << 20])).await.unwrap_err().why });
    let of_acceptor = client.clone();
    let acceptor = spawn(async move { of_acceptor.accept().await.is_none() });
    let of_opener = client.clone();
    let opener = spawn(async move { of_opener.open().await.unwrap_err() });
    let of_ender = client.clone();
    let ender = spawn(async move { of_ender.closed().await.cause.is_orderly() });
    // The window is used up: by now the writer waits, and those spawned before it do as well.
    loop {
        if server.inspect(|session| session.stats().bytes_received) > 256 << 10 {
            break;
        }
        futures_util::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            std::task::Poll::Ready(())
        })
        .await;
        std::thread::yield_now();
    }
    (Waiters { reader, writer, acceptor, opener, ender }, vec![a, b])
}

async fn all_end(waiters: Waiters, end: StreamEnd) {
    assert_eq!(waiters.reader.await, end);
    assert_eq!(waiters.writer.await, StreamError::Ended(end));
    assert!(waiters.acceptor.await);
    let refused = waiters.opener.await;
    assert!(matches!(refused, OpenError::Ended | OpenError::Draining), "{refused:?}");
    waiters.ender.await;
}

#[test]
fn the_peer_resets_the_connection() {
    bounded(|| async {
        let (client, server) = sides_with(two());
        let (waiters, _theirs) = waiters(&client, &server).await;
        server.abort(Code(0));
        all_end(waiters, StreamEnd::Lost).await;
    });
}

#[test]
fn we_reset_the_connection() {
    bounded(|| async {
        let (client, server) = sides_with(two());
        let (waiters, _theirs) = waiters(&client, &server).await;
        client.abort(Code(0));
        all_end(waiters, StreamEnd::LocalClose).await;
    });
}

#[test]
fn the_task_is_dropped() {
    bounded(|| async {
        let ((client, of_client), (server, of_server)) = undriven(two());
        // Dropping the handle of a spawned task drops the task.
        let of_client = spawn(of_client);
        spawn(of_server).forget();
        let (waiters, mut theirs) = waiters(&client, &server).await;
        drop(of_client);
        all_end(waiters, StreamEnd::LocalClose).await;
        assert_eq!(client.open().await.unwrap_err(), OpenError::Ended);
        // And the peer does not take what it got for everything.
        let end = loop {
            match theirs[1].recv().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert_eq!(end, Err(StreamEnd::Lost));
    });
}

#[test]
fn a_task_that_nobody_ever_polled_is_dropped() {
    bounded(|| async {
        let ((client, of_client), (_server, _of_server)) = undriven(two());
        let mut stream = client.open().await.unwrap();
        drop(of_client);
        assert_eq!(stream.recv().await, Err(StreamEnd::LocalClose));
        assert!(client.accept().await.is_none());
        client.closed().await;
    });
}

#[test]
fn an_opener_waits_for_a_place_and_gets_it() {
    bounded(|| async {
        let (client, server) = sides_with(two());
        let (first, mut theirs) = joined(&client, &server).await;
        let (_second, _also_theirs) = joined(&client, &server).await;
        let of_opener = client.clone();
        let opening = spawn(async move { of_opener.open().await.map(|stream| stream.sender().finish()) });
        first.finish();
        assert!(all(&mut theirs).await.is_empty());
        theirs.finish();
        opening.await.unwrap();
    });
}

#[test]
fn the_last_handle_closes_in_order() {
    bounded(|| async {
        let ((client, of_client), (server, of_server)) = undriven(StreamsConfig::new());
        let (of_client, of_server) = (spawn(of_client), spawn(of_server));
        let (ours, theirs) = joined(&client, &server).await;
        ours.finish();
        drop(ours);
        drop(client);
        theirs.finish();
        drop(theirs);
        assert!(server.accept().await.is_none());
        assert!(of_client.await.cause.is_orderly());
        assert!(of_server.await.cause.is_orderly());
    });
}

#[test]
fn a_goodbye_wakes_who_waits_at_the_other_side() {
    bounded(|| async {
        let (client, server) = sides();
        let accepting = {
            let server = server.clone();
            spawn(async move { server.accept().await.is_none() })
        };
        let (mut ours, theirs) = joined(&server, &client).await;
        client.close(CloseIntent::Goodbye(Code(0)));
        assert!(accepting.await);
        assert!(matches!(ours.recv().await, Err(StreamEnd::Lost | StreamEnd::PeerReset(_))));
        drop(theirs);
    });
}

#[test]
fn a_sender_of_more_than_the_buffer_goes_on_as_soon_as_half_is_free() {
    bounded(|| async {
        let (client, server) = sides_with(StreamsConfig::new().send_buffer(64 << 10));
        let (mut ours, mut theirs) = joined(&client, &server).await;
        // The window of 256 KiB and the buffer take the beginning, and then nobody reads.
        let data = pattern(3, 600 << 10);
        let (sender, sent) = (ours.sender().clone(), data.clone());
        let sending = spawn(async move {
            let result = sender.send(sent.into()).await;
            sender.finish();
            result.is_ok()
        });
        let unsent = || {
            client.inspect(|session| {
                let streams = session.protocol().streams();
                streams.ids().filter_map(|id| streams.inspect(id)).map(|info| info.unsent).sum::<usize>()
            })
        };
        let mut taken = Vec::new();
        while taken.len() < data.len() {
            let came = theirs.recv().await.unwrap().unwrap();
            taken.extend_from_slice(&came);
            assert!(unsent() <= 64 << 10, "the buffer is a bound");
        }
        assert!(sending.await && taken == data);
        assert!(theirs.recv().await.unwrap().is_none());
        theirs.finish();
        assert!(ours.recv().await.unwrap().is_none());
    });
}

#[test]
fn events_that_nobody_takes_are_counted_and_stop_no_stream() {
    bounded(|| async {
        let (client, server) = sides();
        // More pongs than the 64 that wait by default.
        while client.missed_events() < 6 {
            let _ = client.try_send(YamuxCommand::Ping);
            let (ours, mut theirs) = joined(&client, &server).await;
            ours.finish();
            assert_eq!(all(&mut theirs).await, []);
        }
        // Those that found room are told, once each.
        for _ in 0..64 {
            assert!(matches!(client.event().await, Some(YamuxEvent::Pong(_))));
        }
    });
}

#[test]
fn what_is_not_about_streams_is_told_and_what_nobody_takes_is_counted() {
    bounded(|| async {
        let (client, _server) = sides();
        let mut told = 0;
        for _ in 0..3 {
            while client.try_send(YamuxCommand::Ping).is_err() {
                // One is on its way; its answer is told.
                assert!(matches!(client.event().await, Some(YamuxEvent::Pong(_))));
                told += 1;
            }
        }
        // On several threads an answer may be there before the next ping is tried: then it waits, and is told here.
        for _ in told..3 {
            assert!(matches!(client.event().await, Some(YamuxEvent::Pong(_))));
        }
        assert_eq!(client.missed_events(), 0);
        client.close(CloseIntent::Goodbye(Code(0)));
        assert!(client.event().await.is_none(), "nothing more after the end");
    });
}
