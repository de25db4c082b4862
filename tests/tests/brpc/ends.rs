//! How connections end: drained, lost, dropped.

use std::time::Duration;

use duologue_async::brpc::{ErrorCode, RpcError};
use duologue_core::Code;
use duologue_core::streams::{StreamEnd, StreamError};
use futures_util::StreamExt;

use super::{bounded, call, connect, serve, spawn};

#[test]
fn a_drain_answers_what_waits_and_takes_nothing_up() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let waits = {
            let client = client.clone();
            spawn(async move { client.call(call("Wait", "as promised")).await })
        };
        let go = served.gate.next().await;
        served.handle.drain(Duration::from_secs(30));
        // The drain is heard some time: until then calls are answered.
        let refused = loop {
            match client.call(call("Echo", "")).await {
                Ok(_) => {}
                Err(refused) => break refused,
            }
        };
        assert!(matches!(&refused, RpcError::Status(s) if s.code == ErrorCode::Logoff), "{refused}");
        go.send(()).unwrap();
        assert_eq!(waits.await.unwrap().body, "as promised");
        assert!(client.closed().await.peer_finished);
        let report = served.report.await;
        assert_eq!((report.open, report.reset), (1, 0));
        assert_eq!(client.call(call("Echo", "")).await, Err(RpcError::Ended));
    });
}

#[test]
fn a_drain_lets_streams_go_on_to_their_end() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        let (_, mut streams) = client.call_with_streams(call("Streams", ""), 1).await.unwrap();
        served.handle.drain(Duration::from_secs(30));
        for n in 0..100_u8 {
            streams[0].send(vec![n; 5000].into()).await.unwrap();
            assert_eq!(streams[0].recv_message().await.unwrap().unwrap(), vec![n; 5000]);
        }
        streams[0].finish();
        assert_eq!(served.report.await.reset, 0);
    });
}

#[test]
fn a_drain_resets_who_does_not_end_in_time() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let (_, mut ours) = client.call_with_streams(call("Keep", ""), 1).await.unwrap();
        let _theirs = served.kept.next().await.unwrap();
        served.handle.drain(Duration::from_millis(100));
        assert_eq!(ours[0].recv().await, Err(StreamEnd::Lost));
        let report = served.report.await;
        assert_eq!((report.open, report.reset), (1, 1));
    });
}

#[test]
fn a_client_drains_too() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let waits = {
            let client = client.clone();
            spawn(async move { client.call(call("Wait", "")).await })
        };
        let go = served.gate.next().await;
        client.drain();
        assert!(client.call(call("Echo", "")).await.unwrap_err().was_not_sent());
        go.send(()).unwrap();
        assert!(waits.await.is_ok());
        assert!(client.closed().await.cause.is_orderly());
    });
}

#[test]
fn whoever_waits_hears_of_the_loss() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let (_, mut ours) = client.call_with_streams(call("Keep", ""), 2).await.unwrap();
        let _theirs = served.kept.next().await.unwrap();
        let (starved, mut reads) = (ours.remove(1), ours.remove(0));
        let waits = {
            let client = client.clone();
            spawn(async move { client.call(call("Wait", "")).await })
        };
        let _go = served.gate.next().await;
        let sender = spawn(async move {
            loop {
                if let Err(refused) = starved.send(vec![0; 64 << 10].into()).await {
                    return refused.why;
                }
            }
        });
        let reader = spawn(async move { reads.recv().await });
        // The server resets the connection.
        served.handle.drain(Duration::ZERO);
        assert_eq!(waits.await, Err(RpcError::Lost));
        assert!(matches!(sender.await, StreamError::Ended(StreamEnd::Lost)));
        assert_eq!(reader.await, Err(StreamEnd::Lost));
        assert_eq!(client.call(call("Echo", "")).await, Err(RpcError::Ended));
        client.closed().await;
    });
}

/// A handler whose caller is gone works for nobody: that of a method is dropped, that of an exchange is told, long before
/// the deadline.
#[test]
fn handlers_hear_that_their_connection_was_lost() {
    bounded(|| async {
        let mut served = serve().await;
        for resets in [true, false] {
            let client = connect(&served).await;
            let mut waiting = Vec::new();
            for method in ["Wait", "Lose"] {
                let client = client.clone();
                let an_hour = client.deadline_in(Duration::from_secs(3600));
                waiting.push(spawn(async move { client.call_until(call(method, ""), an_hour).await }));
            }
            let mut handlers = [served.gate.next().await, served.gate.next().await];
            match resets {
                true => client.abort(Code(0)),
                false => client.close(),
            }
            for handler in &mut handlers {
                handler.cancellation().await;
            }
            for call in waiting {
                assert!(call.await.is_err());
            }
        }
    });
}

#[test]
fn our_own_reset_wakes_our_callers() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let waits = {
            let client = client.clone();
            spawn(async move { client.call(call("Wait", "")).await })
        };
        let go = served.gate.next().await;
        client.abort(Code(0));
        assert_eq!(waits.await, Err(RpcError::Lost));
        drop(go);
    });
}

#[test]
fn the_last_client_closes_in_order() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        client.call(call("Echo", "x")).await.unwrap();
        drop(client);
        // The drain finds it gone, or going.
        served.handle.drain(Duration::from_secs(30));
        assert_eq!(served.report.await.reset, 0);
    });
}
