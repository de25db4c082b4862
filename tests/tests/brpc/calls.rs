//! Calls: many at once, errors by code, deadlines, cancellation.

use std::time::Duration;

use bytes::Bytes;
use duologue_async::brpc::{BrpcConfig, Checksum, Compression, ErrorCode, RpcError, Status};
use duologue_core::{Config, Limits};
use futures_util::future::join_all;

use super::{Options, Shared, bounded, call, connect, connect_with, serve, serve_with, spawn};

#[test]
fn any_number_of_callers_share_one_connection() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        let callers = (0..200_u32).map(|n| {
            let client = client.clone();
            spawn(async move {
                let body = Bytes::from(vec![n as u8; 1 + n as usize * 13]);
                let response = client.call(call("Echo", body.clone())).await.unwrap();
                assert_eq!(response.body, body);
            })
        });
        join_all(callers).await;
        assert_eq!(client.inspect(|session| session.protocol().waiting()), (0, 0));
        assert_eq!(served.handle.connections(), 1);
    });
}

#[test]
fn a_slow_handler_stops_neither_other_calls_nor_streams() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let slow = {
            let client = client.clone();
            spawn(async move { client.call(call("Wait", "slow")).await.unwrap().body })
        };
        let go = served.gate.next().await;
        for n in 0..20_u8 {
            assert_eq!(client.call(call("Echo", vec![n])).await.unwrap().body, [n][..]);
        }
        let (_, mut streams) = client.call_with_streams(call("Streams", ""), 1).await.unwrap();
        streams[0].send("beside it".into()).await.unwrap();
        assert_eq!(streams[0].recv_message().await.unwrap().unwrap(), "beside it");
        go.send(()).unwrap();
        assert_eq!(slow.await, "slow");
    });
}

#[test]
fn errors_have_their_codes() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        let rows = [
            (call("Fail", ""), ErrorCode::Other(77), "as asked"),
            (call("Nothing", ""), ErrorCode::NoMethod, "no method Nothing"),
            (
                duologue_async::brpc::Call::new("other.Service", "Echo", ""),
                ErrorCode::NoService,
                "no service other.Service",
            ),
            (call("Panic", ""), ErrorCode::Internal, "the handler ended without a reply"),
            (call("Large", ""), ErrorCode::Internal, "the handler ended without a reply"),
            (call("Twice", &b"\x08"[..]), ErrorCode::BadRequest, ""),
        ];
        for (call, code, text) in rows {
            let error = client.call(call).await.unwrap_err();
            let RpcError::Status(status) = error else { panic!("{error}") };
            assert_eq!(status.code, code);
            assert!(status.text.contains(text), "{status}");
        }
        let refused = client.call(call("Echo", vec![0; 4 << 20])).await.unwrap_err();
        assert!(matches!(refused, RpcError::TooLarge { .. }) && refused.was_not_sent(), "{refused}");
        assert_eq!(client.call(call("Echo", "still")).await.unwrap().body, "still");
    });
}

#[test]
fn protobuf_messages_attachments_compression_and_checksums_pass() {
    bounded(|| async {
        let served = serve().await;
        let client = connect(&served).await;
        assert_eq!(client.call_message::<u32>("test.Service", "Twice", &21_u32).await, Ok(42));
        let body = Bytes::from(vec![7; 100_000]);
        for compression in [Compression::None, Compression::Gzip] {
            let mut asked = call("Echo", body.clone());
            asked.compression = compression;
            asked.checksum = Checksum::Crc32c;
            asked.attachment = Bytes::from_static(b"raw");
            let response = client.call(asked).await.unwrap();
            assert_eq!((response.body, &response.attachment[..]), (body.clone(), &b"raw"[..]));
        }
        let sent = client.inspect(|session| session.stats().bytes_transmitted);
        assert!(sent < 110_000, "the second body went compressed: {sent}");
    });
}

#[test]
fn a_deadline_is_a_moment_and_one_that_passed_sends_nothing() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let past = client.deadline_in(Duration::ZERO);
        assert_eq!(client.call_until(call("Echo", ""), past).await, Err(RpcError::Timeout));
        assert_eq!(client.inspect(|session| session.stats().bytes_transmitted), 0);
        let soon = client.deadline_in(Duration::from_millis(100));
        let (first, second) =
            futures_util::join!(client.call_until(call("Wait", ""), soon), client.call_until(call("Wait", ""), soon));
        // The server keeps the same deadline, and may say so first.
        for ended in [first, second] {
            assert!(ended.as_ref().is_err_and(RpcError::is_timeout), "{ended:?}");
        }
        assert!(client.deadline_in(Duration::ZERO) >= soon);
        // Nobody waits for the handlers any more: they are dropped, and with them what they wait for.
        for _ in 0..2 {
            served.gate.next().await.cancellation().await;
        }
        assert_eq!(client.call(call("Echo", "next")).await.unwrap().body, "next");
        assert_eq!(client.inspect(|session| session.protocol().waiting()), (0, 0));
    });
}

#[test]
fn a_handler_of_an_exchange_is_told_that_its_caller_gave_up() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let soon = client.deadline_in(Duration::from_millis(100));
        assert_eq!(client.call_until(call("Expire", ""), soon).await, Err(RpcError::Timeout));
        // The handler was told, and goes on as it likes.
        served.gate.next().await.send(()).unwrap();
        assert_eq!(client.call(call("Echo", "next")).await.unwrap().body, "next");
    });
}

#[test]
fn dropping_a_call_cancels_it_and_a_late_answer_resets_its_streams() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect(&served).await;
        let (pending, streams) = client.start_with_streams(call("KeepLate", ""), 2).await.unwrap();
        let go = served.gate.next().await;
        assert_eq!(client.inspect(|session| session.protocol().waiting()), (1, 0));
        drop((pending, streams));
        assert_eq!(client.inspect(|session| session.protocol().waiting()), (0, 0));
        go.send(()).unwrap();
        assert_eq!(client.call(call("Echo", "next")).await.unwrap().body, "next");
    });
}

#[test]
fn callers_wait_for_a_place_and_for_room() {
    bounded(|| async {
        let served = serve_with(Options::new(), BrpcConfig::new()).await;
        let limits = Limits::new().send_buffer(16 << 10);
        let options = Options::new().config(Config::new().limits(limits));
        let client = connect_with(&served, options, BrpcConfig::new().max_calls(3)).await;
        let most = Shared::<usize>::default();
        let callers = (0..60_u8).map(|n| {
            let (client, most) = (client.clone(), most.clone());
            spawn(async move {
                let body = Bytes::from(vec![n; 10_000]);
                assert_eq!(client.call(call("Echo", body.clone())).await.unwrap().body, body);
                let waiting = client.inspect(|session| session.protocol().waiting().0);
                let mut most = most.lock().await;
                *most = waiting.max(*most);
            })
        });
        join_all(callers).await;
        assert!((1..=3).contains(&*most.lock().await), "{most:?}");
    });
}

#[test]
fn a_caller_that_waits_for_a_place_has_its_deadline() {
    bounded(|| async {
        let mut served = serve().await;
        let client = connect_with(&served, Options::new(), BrpcConfig::new().max_calls(1)).await;
        let first = {
            let client = client.clone();
            spawn(async move { client.call(call("Wait", "first")).await })
        };
        let go = served.gate.next().await;
        let soon = client.deadline_in(Duration::from_millis(50));
        assert_eq!(client.call_until(call("Echo", ""), soon).await, Err(RpcError::Timeout));
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().body, "first");
        assert_eq!(client.call(call("Echo", "x")).await.unwrap().body, "x");
    });
}

#[test]
fn an_error_says_what_happened() {
    let status = RpcError::Status(Status::new(ErrorCode::Limit, "busy"));
    assert_eq!(status.to_string(), "too many calls at once (2004): busy");
}
