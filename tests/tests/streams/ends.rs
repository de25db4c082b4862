//! Each way in which a stream can end, and what both sides hear of it.

use std::time::Duration;

use bytes::Bytes;
use duologue_core::streams::{Multiplex, OpenError, StreamEnd, StreamError};
use duologue_core::{Cause, Code};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::{DROPPED, all, bounded, joined, sides};

#[test]
fn the_opener_finishes_first() {
    bounded(|| async {
        let (client, server) = sides();
        let (mut ours, mut theirs) = joined(&client, &server).await;
        ours.finish();
        assert_eq!(theirs.recv().await, Ok(None));
        theirs.send(Bytes::from_static(b"still")).await.unwrap();
        theirs.finish();
        assert_eq!(all(&mut ours).await, b"still");
        let late = ours.send(Bytes::from_static(b"late")).await.unwrap_err();
        assert!(matches!(late.why, StreamError::Finished | StreamError::Ended(StreamEnd::Finished)), "{late:?}");
        assert_eq!(late.data, &b"late"[..], "it comes back");
    });
}

#[test]
fn the_acceptor_finishes_first() {
    bounded(|| async {
        let (client, server) = sides();
        let (mut ours, mut theirs) = joined(&client, &server).await;
        theirs.finish();
        assert_eq!(ours.recv().await, Ok(None));
        ours.send(Bytes::from_static(b"still")).await.unwrap();
        ours.finish();
        assert_eq!(all(&mut theirs).await, b"still");
    });
}

#[test]
fn both_finish_at_once_and_the_end_stays_readable() {
    bounded(|| async {
        let (client, server) = sides();
        let (mut ours, mut theirs) = joined(&client, &server).await;
        ours.finish();
        theirs.finish();
        for _ in 0..3 {
            assert_eq!(ours.recv().await, Ok(None));
            assert_eq!(theirs.recv().await, Ok(None));
        }
        assert!(client.inspect(|session| session.protocol().streams().len()) <= 1);
    });
}

#[test]
fn a_reset_is_told_to_both_with_its_code() {
    bounded(|| async {
        let (client, server) = sides();
        let (mut ours, mut theirs) = joined(&client, &server).await;
        ours.reset(Code(5));
        assert_eq!(ours.recv().await, Err(StreamEnd::LocalReset(Code(5))));
        assert_eq!(theirs.recv().await, Err(StreamEnd::PeerReset(Code(5))));
        let refused = theirs.send(Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(refused.why, StreamError::Ended(StreamEnd::PeerReset(Code(5))));
    });
}

#[test]
fn dropping_the_last_sender_is_a_reset_that_says_so() {
    bounded(|| async {
        let (client, server) = sides();
        let (ours, mut theirs) = joined(&client, &server).await;
        let (sender, mut receiver) = ours.split();
        let clone = sender.clone();
        drop(sender);
        clone.send(Bytes::from_static(b"a clone is the stream")).await.unwrap();
        assert!(theirs.recv().await.unwrap().is_some());
        drop(clone);
        assert_eq!(receiver.recv().await, Err(StreamEnd::LocalReset(DROPPED)));
        assert_eq!(theirs.recv().await, Err(StreamEnd::PeerReset(DROPPED)));
    });
}

#[test]
fn dropping_a_finished_sender_resets_nothing() {
    bounded(|| async {
        let (client, server) = sides();
        let (ours, mut theirs) = joined(&client, &server).await;
        let (sender, mut receiver) = ours.split();
        sender.send(Bytes::from_static(b"whole")).await.unwrap();
        sender.finish();
        drop(sender);
        assert_eq!(all(&mut theirs).await, b"whole");
        theirs.send(Bytes::from_static(b"answer")).await.unwrap();
        theirs.finish();
        assert_eq!(receiver.recv().await.unwrap().as_deref(), Some(&b"answer"[..]));
        assert_eq!(receiver.recv().await, Ok(None));
    });
}

#[test]
fn dropping_the_receiver_lets_sending_go_on() {
    bounded(|| async {
        let (client, server) = sides();
        let (ours, mut theirs) = joined(&client, &server).await;
        let (sender, receiver) = ours.split();
        drop(receiver);
        // Far more than a window: what is thrown away gives its credit back.
        let flood = super::spawn(async move {
            for _ in 0..20 {
                theirs.send(Bytes::from(vec![0; 60_000])).await.unwrap();
            }
            theirs.finish();
            all(&mut theirs).await
        });
        sender.send(Bytes::from_static(b"on")).await.unwrap();
        sender.finish();
        assert_eq!(flood.await, b"on");
    });
}

#[test]
fn a_deadline_ends_both_halves_and_the_connection_goes_on() {
    bounded(|| async {
        let (client, server) = sides();
        let (ours, mut theirs) = joined(&client, &server).await;
        let (sender, mut receiver) = ours.split();
        sender.end_within(Some(Duration::from_millis(40)));
        let sending = super::spawn(async move { sender.send(Bytes::from(vec![0; 2 << 20])).await.unwrap_err().why });
        assert_eq!(receiver.recv().await, Err(StreamEnd::Deadline));
        assert_eq!(sending.await, StreamError::Ended(StreamEnd::Deadline));
        // What came before the reset is thrown away with it.
        let end = loop {
            match theirs.recv().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert_eq!(end, Err(StreamEnd::PeerReset(Code(0))));
        joined(&client, &server).await;
    });
}

#[test]
fn a_deadline_that_is_taken_back_ends_nothing() {
    bounded(|| async {
        let (client, server) = sides();
        let (mut ours, theirs) = joined(&client, &server).await;
        ours.sender().end_within(Some(Duration::from_millis(40)));
        let (other, _peer) = joined(&client, &server).await;
        ours.sender().end_within(None);
        other.sender().end_within(Some(Duration::from_millis(120)));
        let (_other_sender, mut other_receiver) = other.split();
        assert_eq!(other_receiver.recv().await, Err(StreamEnd::Deadline));
        theirs.send(Bytes::from_static(b"later")).await.unwrap();
        assert_eq!(ours.recv().await.unwrap().as_deref(), Some(&b"later"[..]));
    });
}

#[test]
fn byte_streams_tell_the_end_by_their_kind_of_error() {
    bounded(|| async {
        let (client, server) = sides();
        let (mut ours, mut theirs) = joined(&client, &server).await;
        ours.reset(Code(1));
        let mut buffer = [0; 8];
        assert_eq!(ours.read(&mut buffer).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
        assert_eq!(theirs.read(&mut buffer).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(theirs.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        let (mut ours, _theirs) = joined(&client, &server).await;
        ours.sender().end_within(Some(Duration::from_millis(10)));
        assert_eq!(ours.read(&mut buffer).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        let (mut ours, _theirs) = joined(&client, &server).await;
        server.abort(Code(0));
        assert_eq!(ours.read(&mut buffer).await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_drain_waits_for_the_streams_that_are_open_and_takes_no_further_ones() {
    bounded(|| async {
        let (client, server) = sides();
        let (ours, mut theirs) = joined(&client, &server).await;
        server.drain();
        ours.send(Bytes::from_static(b"in the middle")).await.unwrap();
        assert_eq!(theirs.recv().await.unwrap().unwrap(), "in the middle");
        // The peer heard of it before the answer.
        theirs.send(Bytes::from_static(b"to the end")).await.unwrap();
        theirs.finish();
        let mut ours = ours;
        assert_eq!(ours.recv().await.unwrap().unwrap(), "to the end");
        assert!(matches!(client.open().await, Err(OpenError::Draining)));
        assert_eq!(ours.recv().await, Ok(None));
        ours.finish();
        assert_eq!(theirs.recv().await, Ok(None));
        assert_eq!(server.closed().await.cause, Cause::LocalClose(Code(0)));
        assert!(client.closed().await.cause.is_orderly());
    });
}
