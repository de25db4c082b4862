//! What dropping a connection, or a half of it, means on the wire.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, CloseIntent, CloseOrder, Code, Config, Event};
use duologue_tests::sockets::*;
use duologue_tokio::Options;

#[tokio::test]
async fn a_dropped_connection_whose_output_was_taken_ends_with_fin() {
    for order in [CloseOrder::LocalFirst, CloseOrder::PeerFirst { within: Duration::from_secs(9) }] {
        let (mut connection, mut peer) = dialled(frames(), with_config(Config::new().close_order(order))).await;
        for _ in 0..100 {
            connection.try_send(Bytes::from_static(b"queued")).unwrap();
        }
        drop(connection);
        let (wire, result) = read_to_end(&mut peer).await;
        result.unwrap();
        assert_eq!(parse(&wire).0.len(), 100, "{order:?}");
    }
}

#[tokio::test]
async fn a_dropped_connection_whose_output_was_not_taken_is_reset() {
    let (mut connection, mut peer) = accepted(frames(), with_queue(24 << 20)).await;
    while connection.try_send(Bytes::from(vec![0; 100_000])).is_ok() {}
    drop(connection);
    let (_, result) = read_to_end(&mut peer).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset, "a cut stream is not taken for a whole one");
}

#[tokio::test]
async fn a_connection_dropped_while_it_closes_ends_with_fin() {
    let order = CloseOrder::PeerFirst { within: Duration::from_secs(9) };
    let (mut connection, mut peer) = dialled(frames(), with_config(Config::new().close_order(order))).await;
    connection.try_send(Bytes::from_static(b"last")).unwrap();
    connection.start_close(CloseIntent::Goodbye(Code(0)));
    let waited = tokio::time::timeout(Duration::from_millis(50), connection.next_event()).await;
    assert!(waited.is_err());
    drop(connection);
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"last"[..]));
    assert_eq!(read_frame(&mut peer).await, None);
}

#[tokio::test]
async fn the_last_sender_dropped_is_a_fin_and_receiving_goes_on() {
    let (connection, mut peer) = dialled(frames(), Options::new()).await;
    let (mut receiver, sender) = connection.split();
    let another = sender.clone();
    sender.send(Bytes::from_static(b"one")).await.unwrap();
    drop(sender);
    another.send(Bytes::from_static(b"two")).await.unwrap();
    drop(another);
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"one"[..]));
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"two"[..]));
    assert_eq!(read_frame(&mut peer).await, None);
    write(&mut peer, &frame(b"reply")).await;
    drop(peer);
    assert_eq!(step("the reply", receiver.next_event()).await, Some(Event::App(Bytes::from_static(b"reply"))));
    assert_eq!(step("the FIN", receiver.next_event()).await, Some(Event::PeerFinished));
    assert_eq!(step("the end", receiver.closed()).await.cause, Cause::LocalFinished);
}

#[tokio::test]
async fn senders_go_on_when_the_receiver_is_dropped() {
    let (connection, mut peer) = dialled(frames(), with_queue(128 << 10)).await;
    let (receiver, sender) = connection.split();
    write(&mut peer, &frame(b"never taken")).await;
    drop(receiver);
    let payload = Bytes::from(vec![b'x'; 50_000]);
    let sending = tokio::spawn(async move {
        // Far more than the queue and the kernel hold: senders wait for room and drive the connection themselves.
        for _ in 0..400 {
            step("sending", sender.send(payload.clone())).await.unwrap();
        }
        step("flushing", sender.flush()).await;
    });
    let (wire, result) = read_to_end(&mut peer).await;
    step("the sender", sending).await.unwrap();
    result.unwrap();
    assert_eq!(parse(&wire).0.len(), 400);
}

#[tokio::test]
async fn what_was_left_to_a_receiver_that_is_dropped_is_still_written() {
    let (connection, mut peer) = dialled(frames(), Options::new()).await;
    let (mut receiver, sender) = connection.split();
    // The receiver waits, so that a message is left to it to write; then it is dropped before it can.
    let mut waiting = Box::pin(async move { receiver.next_event().await });
    assert!(futures_util::poll!(&mut waiting).is_pending());
    sender.send(Bytes::from_static(b"left behind")).await.unwrap();
    drop(waiting);
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"left behind"[..]));
}

#[tokio::test]
async fn a_message_is_written_though_the_receivers_wait_was_cancelled() {
    let (connection, mut peer) = dialled(frames(), Options::new()).await;
    let (mut receiver, sender) = connection.split();
    assert!(futures_util::FutureExt::now_or_never(receiver.next_event()).is_none());
    // Nobody waits for events now, though somebody did.
    sender.send(Bytes::from_static(b"now")).await.unwrap();
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"now"[..]));
    // The same when the cancellation comes after the message.
    let mut waiting = Box::pin(receiver.next_event());
    assert!(futures_util::poll!(&mut waiting).is_pending());
    sender.send(Bytes::from_static(b"and now")).await.unwrap();
    drop(waiting);
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"and now"[..]));
}
