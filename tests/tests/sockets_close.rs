//! `close`: everything accepted arrives, then FIN, then a linger bounded in time and bytes (L2, L8, field case F3).

use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::{
    Cause, CloseIntent, CloseOrder, Code, Config, Event, Limits, Phase, Side, TimeoutReason, Timeouts,
};
use duologue_tests::sockets::*;
use duologue_tokio::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn close_delivers_everything_then_fin_then_releases() {
    let (mut client, mut server) = connected(Options::new(), Options::new()).await;
    for i in 0..1000_u32 {
        step("sending", client.send(Bytes::copy_from_slice(&i.to_be_bytes()))).await.unwrap();
    }
    let peer = tokio::spawn(async move { drain(&mut server).await });
    let closed = step("closing", client.close(Code(3))).await;
    assert_eq!((closed.cause, closed.phase, closed.unsent), (Cause::LocalClose(Code(3)), Phase::Complete, 0));
    assert_eq!(closed.finished_first, Some(Side::Local));
    let (events, closed) = step("the peer's end", peer).await.unwrap();
    assert_eq!(messages(&events).len(), 1000);
    assert_eq!(closed.cause, Cause::PeerFinished);
}

#[tokio::test]
async fn a_peer_that_never_finishes_is_left_when_the_linger_time_is_over() {
    let linger = Duration::from_millis(200);
    let (connection, mut peer) = dialled(frames(), with_timeouts(Timeouts::new().linger(Some(linger)))).await;
    let start = Instant::now();
    let closed = step("closing", connection.close(Code(0))).await;
    assert!(start.elapsed() >= linger);
    assert!(start.elapsed() < linger * 10, "{:?}", start.elapsed());
    assert_eq!((closed.cause, closed.phase), (Cause::LocalClose(Code(0)), Phase::Lingering));
    assert_eq!(read_frame(&mut peer).await, None, "it saw a FIN, not a reset");
}

/// Closes against a peer that writes as fast as it can; the time it took, what the peer got of our nine last messages,
/// and how it ended.
async fn close_against_a_flood(config: Config, size: usize, reads: PeerReads) -> (Duration, usize, FramesClosed) {
    let (mut connection, peer) = accepted(frames(), with_config(config)).await;
    for _ in 0..9 {
        connection.try_send(Bytes::from(vec![b'l'; size])).expect("it succeeds");
    }
    let (mut reading, mut writing) = peer.into_split();
    let flood = tokio::spawn(async move {
        let chunk = frame(&[b'f'; 60_000]);
        while writing.write_all(&chunk).await.is_ok() {}
    });
    let (ended, wait_for_end) = tokio::sync::oneshot::channel::<()>();
    let peer = tokio::spawn(async move {
        if reads == PeerReads::Late {
            let _ = wait_for_end.await;
        }
        let mut wire = Vec::new();
        let _ = step("reading", reading.read_to_end(&mut wire)).await;
        parse(&wire).0.len()
    });
    // The flood is under way before we close, and nobody takes its messages.
    let event = step("the flood", connection.next_event()).await;
    assert!(matches!(event, Some(Event::App(_))));
    let start = Instant::now();
    let closed = step("closing", connection.close(Code(0))).await;
    let took = start.elapsed();
    let _ = ended.send(());
    step("the flood's end", flood).await.expect("it succeeds");
    (took, step("the peer", peer).await.expect("it succeeds"), closed)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PeerReads {
    AtOnce,
    /// Not before we have released the socket.
    Late,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_words_to_a_flooding_peer_arrive_even_if_it_reads_them_late() {
    let (took, got, closed) = close_against_a_flood(Config::new(), 1000, PeerReads::Late).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!((got, closed.unsent), (9, 0));
    assert_eq!((closed.cause, closed.phase), (Cause::LocalClose(Code(0)), Phase::Lingering));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooding_peer_is_bounded_in_bytes_and_gets_our_last_bytes() {
    let limits = Limits::new().send_buffer(1 << 20).linger_bytes(64 << 20);
    let config = Config::new().timeouts(Timeouts::new().linger(Some(STEP))).limits(limits);
    let (took, got, closed) = close_against_a_flood(config, 100_000, PeerReads::AtOnce).await;
    assert!(took < STEP / 2, "the bytes ended it, not the time: {took:?}");
    assert_eq!((got, closed.unsent), (9, 0));
    assert_eq!((closed.cause, closed.phase), (Cause::LocalClose(Code(0)), Phase::Lingering));
    assert!((64 << 20..80 << 20).contains(&closed.undelivered), "{}", closed.undelivered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooding_peer_is_bounded_in_time_and_gets_our_last_bytes() {
    let limits = Limits::new().send_buffer(1 << 20).linger_bytes(u64::MAX);
    let linger = Duration::from_millis(300);
    let config = Config::new().timeouts(Timeouts::new().linger(Some(linger))).limits(limits);
    let (took, got, closed) = close_against_a_flood(config, 100_000, PeerReads::AtOnce).await;
    assert!((linger..linger * 15).contains(&took), "{took:?}");
    assert_eq!((got, closed.unsent), (9, 0));
    assert_eq!((closed.cause, closed.phase), (Cause::LocalClose(Code(0)), Phase::Lingering));
}

#[tokio::test]
async fn a_flush_that_the_peer_blocks_ends_in_time_and_counts_the_unsent() {
    let timeouts = Timeouts::new().flush(Some(Duration::from_millis(300)));
    let config = Config::new().timeouts(timeouts).limits(Limits::new().send_buffer(24 << 20));
    let (mut connection, peer) = dialled(frames(), with_config(config)).await;
    while connection.try_send(Bytes::from(vec![0; 100_000])).is_ok() {}
    connection.start_close(CloseIntent::Goodbye(Code(0)));
    let start = Instant::now();
    let (_, closed) = drain(&mut connection).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!((closed.cause, closed.phase), (Cause::LocalClose(Code(0)), Phase::Flushing));
    let stats = connection.session().stats();
    assert!(closed.unsent > 0);
    assert_eq!(stats.accepted, stats.flushed + closed.unsent);
    drop(peer);
}

#[tokio::test]
async fn peer_first_lets_the_peer_send_the_first_fin() {
    let order = CloseOrder::PeerFirst { within: Duration::from_secs(10) };
    let (mut connection, mut peer) = accepted(frames(), with_config(Config::new().close_order(order))).await;
    connection.try_send(Bytes::from_static(b"please close")).unwrap();
    let closing = tokio::spawn(async move { connection.close(Code(0)).await });
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"please close"[..]));
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), peer.read(&mut byte)).await;
    assert!(early.is_err(), "our FIN is held back: {early:?}");
    step("the peer's FIN", peer.shutdown()).await.unwrap();
    assert_eq!(read_frame(&mut peer).await, None);
    let closed = step("closing", closing).await.unwrap();
    assert_eq!((closed.finished_first, closed.phase), (Some(Side::Peer), Phase::Complete));
}

#[tokio::test]
async fn peer_first_gives_up_waiting_in_time() {
    let order = CloseOrder::PeerFirst { within: Duration::from_millis(100) };
    let timeouts = Timeouts::new().linger(Some(Duration::from_millis(100)));
    let config = Config::new().close_order(order).timeouts(timeouts);
    let (connection, mut peer) = dialled(frames(), with_config(config)).await;
    let closed = step("closing", connection.close(Code(0))).await;
    assert_eq!(closed.finished_first, Some(Side::Local));
    assert_eq!(read_frame(&mut peer).await, None);
}

#[tokio::test]
async fn an_idle_session_says_so_when_it_ends() {
    let timeouts = Timeouts::new().idle(Some(Duration::from_millis(100))).linger(Some(Duration::from_millis(100)));
    let (mut connection, mut peer) = accepted(frames(), with_timeouts(timeouts)).await;
    let (_, closed) = drain(&mut connection).await;
    assert_eq!(closed.cause, Cause::Timeout(TimeoutReason::Idle));
    assert_eq!(read_frame(&mut peer).await, None);
}

#[tokio::test]
async fn closing_what_has_ended_tells_the_end_again() {
    let (mut connection, peer) = dialled(frames(), Options::new()).await;
    drop(peer);
    let (_, closed) = drain(&mut connection).await;
    assert_eq!(step("after the end", connection.next_event()).await, None);
    assert_eq!(step("closed again", connection.closed()).await, closed);
    assert_eq!(step("close again", connection.close(Code(9))).await, closed);
}
