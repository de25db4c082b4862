//! Resets in both directions: RST for `abort`, a peer that resets, and what can still be read then (L9, L14).

use std::io::ErrorKind;

use bytes::Bytes;
use duologue_core::{Cause, Code, Event};
use duologue_tests::sockets::*;
use duologue_tokio::{Connection, Options};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Waits until the kernel has taken the peer's RST in: the socket is no longer connected.
async fn reset_arrived(connection: &Connection<Frames>) {
    until("the RST", || connection.transport().stream().is_some_and(|s| s.peer_addr().is_err())).await;
}

async fn abort_resets((mut connection, mut peer): (Connection<Frames>, TcpStream)) {
    for _ in 0..10 {
        connection.try_send(Bytes::from_static(b"queued")).expect("it succeeds");
    }
    connection.abort(Code(7));
    let (events, closed) = drain(&mut connection).await;
    assert_eq!(events, []);
    assert_eq!((closed.cause, closed.unsent), (Cause::LocalAbort(Code(7)), 10));
    let (bytes, result) = read_to_end(&mut peer).await;
    assert_eq!(bytes, []);
    assert_eq!(result.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn abort_is_a_reset_on_the_wire_on_both_roles() {
    abort_resets(dialled(frames(), Options::new()).await).await;
    abort_resets(accepted(frames(), Options::new()).await).await;
}

#[tokio::test]
async fn abort_wins_over_a_close_in_progress() {
    let (mut connection, mut peer) = dialled(frames(), with_queue(24 << 20)).await;
    while connection.try_send(Bytes::from(vec![0; 100_000])).is_ok() {}
    connection.start_close(duologue_core::CloseIntent::Goodbye(Code(1)));
    // The peer reads nothing, so the flush cannot end.
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), connection.next_event()).await;
    assert!(waited.is_err());
    connection.abort(Code(2));
    let (_, closed) = drain(&mut connection).await;
    assert_eq!(closed.cause, Cause::LocalClose(Code(1)), "the first cause stands");
    let stats = connection.session().stats();
    assert_eq!(stats.accepted, stats.flushed + closed.unsent);
    assert!(closed.unsent > 0);
    assert_eq!(read_to_end(&mut peer).await.1.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_by_the_peer_while_data_is_queued_is_typed_and_the_unsent_are_counted() {
    let (mut connection, peer) = dialled(frames(), with_queue(24 << 20)).await;
    while connection.try_send(Bytes::from(vec![0; 100_000])).is_ok() {}
    // The kernel takes a part of it; the rest stays queued, because the peer reads nothing.
    while tokio::time::timeout(std::time::Duration::from_millis(50), connection.next_event()).await.is_ok() {}
    reset(peer);
    let (events, closed) = drain(&mut connection).await;
    assert_eq!(messages(&events), Vec::<Bytes>::new());
    assert_eq!((closed.cause, closed.peer_finished), (Cause::PeerReset, false));
    let stats = connection.session().stats();
    assert!(closed.unsent > 0);
    assert_eq!(stats.accepted, stats.flushed + closed.unsent);
    let refused = connection.try_send(Bytes::from_static(b"late")).unwrap_err();
    assert_eq!(refused.into_command(), "late");
}

#[tokio::test]
async fn a_reset_is_never_taken_for_the_peers_fin() {
    // Linux tells the error once, to whichever call comes first; after it, reading gives 0 as if a FIN had come.
    for queued in [false, true] {
        let (mut connection, mut peer) = accepted(frames(), Options::new()).await;
        write(&mut peer, &frame(b"before the reset")).await;
        reset(peer);
        reset_arrived(&connection).await;
        if queued {
            connection.try_send(Bytes::from_static(b"written first")).expect("it succeeds");
        }
        let (events, closed) = drain(&mut connection).await;
        assert_eq!(messages(&events), ["before the reset"], "what came before is delivered, queued: {queued}");
        assert!(!events.contains(&Event::PeerFinished), "queued: {queued}");
        assert_eq!((closed.cause, closed.peer_finished), (Cause::PeerReset, false), "queued: {queued}");
    }
}

#[tokio::test]
async fn a_write_that_fails_leaves_the_peers_reply_readable() {
    // The peer answers, and closes with our bytes unread: its kernel resets. Our next write fails; the reply is here.
    let (mut connection, mut peer) = dialled(frames(), Options::new()).await;
    connection.send(Bytes::from_static(b"request")).await.unwrap();
    connection.send(Bytes::from_static(b"never read")).await.unwrap();
    let mut header = [0; 4];
    step("the request", peer.read_exact(&mut header)).await.unwrap();
    until("the rest", || {
        let mut probe = [0; 32];
        matches!(futures_util::FutureExt::now_or_never(peer.peek(&mut probe)), Some(Ok(n)) if n > 7)
    })
    .await;
    let replies: Vec<u8> = (0..100).flat_map(|i| frame(format!("reply {i}").as_bytes())).collect();
    write(&mut peer, &replies).await;
    drop(peer);
    reset_arrived(&connection).await;
    connection.try_send(Bytes::from_static(b"into the void")).unwrap();
    let (events, closed) = drain(&mut connection).await;
    assert_eq!(messages(&events).len(), 100);
    assert_eq!((closed.cause, closed.unsent), (Cause::PeerReset, 1));
}

#[tokio::test]
async fn a_fin_inside_a_frame_is_truncation_with_the_missing_bytes() {
    let (mut connection, mut peer) = accepted(frames(), Options::new()).await;
    write(&mut peer, &[&frame(b"whole")[..], &frame(b"cut off")[..6]].concat()).await;
    drop(peer);
    let (events, closed) = drain(&mut connection).await;
    assert_eq!(messages(&events), ["whole"]);
    assert_eq!(closed.cause, Cause::Truncated { missing: Some(5) });
}
