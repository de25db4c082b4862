//! Credit: what may be sent, what may come, and windows that change.

use super::*;

#[test]
fn over_release_is_an_error_and_changes_nothing() {
    let mut pair = Pair::new(StreamsConfig::new());
    let (a, b) = pair.stream();
    pair.a.send(a, b"abcdef");
    pair.exchange();
    assert!(matches!(pair.b.at(b).recv(4), Received::Data { .. }));
    assert_eq!(pair.b.at(b).release(5), Err(StreamError::OverRelease { released: 5, taken: 4 }));
    assert_eq!(pair.b.at(b).release(4), Ok(()));
    assert_eq!(pair.b.at(b).release(1), Err(StreamError::OverRelease { released: 1, taken: 0 }));
}

#[test]
fn over_grant_and_overrun_are_violations() {
    let mut pair = Pair::new(StreamsConfig::new().recv_window(10).largest_window(1 << 30));
    let (a, b) = pair.stream();
    let over = pair.a.streams.granted(T0, a, 1 << 30);
    assert!(matches!(over, Err(StreamViolation::OverGrant { .. })), "{over:?}");
    let over = pair.b.streams.received(T0, b, Payload::Borrowed(&[0; 11]), false);
    assert_eq!(over, Err(StreamViolation::Overrun { len: 11, available: 10 }));
}

#[test]
fn a_stream_that_nobody_reads_stalls_itself_only() {
    let mut pair = Pair::new(StreamsConfig::new().recv_window(1000).send_window(1000));
    let (slow, _) = pair.stream();
    let (busy, other) = pair.stream();
    pair.a.send(slow, &[1; 5000]);
    for _ in 0..100 {
        pair.a.send(busy, &[2; 700]);
        pair.exchange();
        assert_eq!(pair.b.drain(other).len(), 700);
    }
    assert_eq!(pair.a.at(slow).buffered().1, 4000);
}

#[test]
fn windows_that_turn_negative_stop_the_stream_until_they_are_positive() {
    let mut pair = Pair::new(StreamsConfig::new().send_window(100).recv_window(100));
    let (a, _) = pair.stream();
    pair.a.send(a, &[1; 200]);
    pair.a.order_all();
    pair.a.streams.set_send_window(30).unwrap();
    assert_eq!(pair.a.at(a).credit().0.available(), -70);
    pair.a.streams.granted(T0, a, 70).unwrap();
    assert_eq!(pair.a.order(usize::MAX), None, "zero is not enough");
    pair.a.streams.granted(T0, a, 1).unwrap();
    assert!(matches!(pair.a.order(usize::MAX), Some(Frame::Data { bytes, .. }) if bytes.len() == 1));
    assert!(pair.a.streams.set_send_window(u32::MAX).is_err());
}

#[test]
fn messages_keep_their_ends_and_one_may_overshoot_the_window() {
    let config = StreamsConfig::new().messages(true).credit(CreditStyle::Totals);
    let mut pair =
        Pair::new(config.recv_window(64).send_window(64).max_recv_window(64).max_piece(40).grant_fraction(6));
    let (a, b) = pair.stream();
    for _ in 0..5 {
        pair.a.at(a).send(Bytes::from_static(&[1; 26])).unwrap();
    }
    pair.exchange();
    assert_eq!(pair.b.at(b).buffered().0, 78, "three messages of 26 pass a window of 64");
    let one = pair.b.at(b).recv(99);
    assert!(matches!(&one, Received::Data { bytes, ends: true } if bytes.len() == 26), "{one:?}");
    pair.b.at(b).release(26).unwrap();
    pair.exchange();
    assert_eq!(pair.b.at(b).buffered().0, 78);
    pair.a.at(a).send(Bytes::from_static(&[2; 100])).unwrap();
    for _ in 0..4 {
        assert!(matches!(pair.b.at(b).recv(99), Received::Data { ends: true, .. }) || pair.b.at(b).buffered().0 == 0);
        let taken = 26;
        pair.b.at(b).release(taken).unwrap();
        pair.exchange();
    }
    let mut pieces = Vec::new();
    while let Received::Data { bytes, ends } = pair.b.at(b).recv(999) {
        pieces.push((bytes.len(), ends));
    }
    assert_eq!(pieces, [(100, true)], "pieces of one message are gathered");
    let stale = pair.a.streams.consumed(T0, a, 3);
    assert_eq!(stale, Ok(()), "totals that go back are ignored");
    assert!(pair.a.streams.consumed(T0, a, 1 << 40).is_err());
}

#[test]
fn windows_grow_while_the_reader_keeps_up_and_shrink_nowhere() {
    let config = StreamsConfig::new().recv_window(1000).send_window(1000).max_recv_window(8000).recv_growth(3000);
    let mut pair = Pair::new(config);
    pair.b.streams.set_rtt(Duration::from_millis(1));
    let (a, b) = pair.stream();
    for _ in 0..20 {
        let _ = pair.a.at(a).write(&[0; 20_000]);
        pair.exchange();
        pair.b.drain(b);
        pair.exchange();
    }
    assert_eq!(pair.b.at(b).credit().1.window(), 4000, "doubled twice, then the budget for growth is used up");
    assert_eq!(pair.a.at(a).credit().0.granted(), pair.b.at(b).credit().1.granted());
}

#[test]
fn what_was_taken_may_be_released_after_reading_stopped() {
    // A fraction beyond any window: every released byte is given back at once.
    let mut pair = Pair::new(StreamsConfig::new().grant_fraction(40));
    let (a, b) = pair.stream();
    pair.a.send(a, b"taken");
    pair.exchange();
    assert!(matches!(pair.b.at(b).recv(usize::MAX), Received::Data { .. }));
    pair.b.at(b).stop_reading(Code(0));
    assert_eq!(pair.b.at(b).release(5), Ok(()), "it was taken before");
    assert_eq!(pair.b.at(b).credit().1.held(), 0);
}

/// Streams whose windows are 100 bytes each, with 80 of them in flight from `a` to `b`, which then makes them 20.
fn shrunk_under_way() -> (Pair, StreamId, StreamId) {
    let mut pair = Pair::new(StreamsConfig::new().recv_window(100).send_window(100).max_recv_window(100));
    let (a, b) = pair.stream();
    pair.a.send(a, &[7; 90]);
    pair.a.order(80);
    // The peer heard of it behind these 80, and its acknowledgement comes back behind them.
    pair.a.streams.set_send_window(20).unwrap();
    (pair, a, b)
}

#[test]
fn a_window_lowered_below_what_is_in_flight_takes_what_was_sent_before() {
    let (mut pair, a, b) = shrunk_under_way();
    assert_eq!(pair.a.at(a).credit().0.available(), -60);
    pair.exchange();
    pair.b.streams.set_recv_window(20).unwrap();
    let credit = pair.b.at(b).credit().1;
    assert_eq!((credit.available(), credit.held(), credit.window()), (-60, 80, 20));
    assert_eq!(pair.b.at(b).buffered().0, 80, "nothing that came is lost, and nothing more came");
    assert_eq!(
        pair.b.take(Frame::Data { key: 1, bytes: Bytes::from_static(b"x"), ends: false, finish: false }),
        Err(StreamViolation::Overrun { len: 1, available: -60 }),
    );
    let (_, late) = pair.stream();
    assert_eq!(pair.b.at(late).credit().1.available(), 20, "new streams begin with it");
}

#[test]
fn a_negative_window_recovers_once_enough_was_released() {
    let (mut pair, a, b) = shrunk_under_way();
    pair.exchange();
    pair.b.streams.set_recv_window(20).unwrap();
    assert_eq!(pair.b.drain(b).len(), 80);
    pair.exchange();
    assert_eq!(pair.b.drain(b).len(), 10, "the rest follows");
    pair.exchange();
    let (sends, takes) = (pair.a.at(a).credit().0, pair.b.at(b).credit().1);
    assert_eq!((sends.granted(), sends.used()), (takes.granted(), takes.used()), "both keep the same books");
    assert_eq!(takes.available() + takes.returnable(), 20);
}

#[test]
fn credit_that_a_lowered_window_makes_due_is_told_though_nothing_more_comes() {
    let mut pair = Pair::new(StreamsConfig::new().recv_window(100).send_window(100).max_recv_window(100));
    let (a, b) = pair.stream();
    pair.a.send(a, &[7; 45]);
    pair.exchange();
    assert_eq!(pair.b.drain(b).len(), 45);
    pair.exchange();
    assert_eq!(pair.b.at(b).credit().1.returnable(), 45, "less than half of the window is not told yet");
    pair.a.streams.set_send_window(20).unwrap();
    pair.b.streams.set_recv_window(20).unwrap();
    assert_eq!(pair.a.at(a).credit().0.available(), -25);
    pair.a.send(a, b"more");
    pair.exchange();
    assert_eq!(pair.b.drain(b), b"more", "everything was released: nothing else would ever mend the window");
}

#[test]
fn a_window_of_nothing_stops_the_peer_and_raising_it_lets_it_go_on() {
    let mut pair = Pair::new(StreamsConfig::new().recv_window(100).send_window(100).max_recv_window(100));
    let (a, b) = pair.stream();
    pair.a.streams.set_send_window(0).unwrap();
    pair.b.streams.set_recv_window(0).unwrap();
    pair.a.send(a, b"waits");
    pair.exchange();
    assert_eq!(pair.b.at(b).recv(9), Received::Nothing);
    pair.a.streams.set_send_window(3).unwrap();
    pair.b.streams.set_recv_window(3).unwrap();
    pair.exchange();
    assert_eq!(pair.b.drain(b), b"wai");
    pair.exchange();
    assert_eq!(pair.b.drain(b), b"ts");
}

#[test]
fn a_window_that_the_wire_cannot_express_is_an_error_and_changes_nothing() {
    let config = StreamsConfig::new().largest_window(1000).recv_window(100).send_window(100);
    let config = config.connection_send_window(1000).connection_recv_window(1000).max_recv_window(800);
    let mut pair = Pair::new(config);
    let (a, b) = pair.stream();
    pair.b.streams.set_rtt(Duration::from_millis(5));
    for _ in 0..3 {
        pair.a.send(a, &[1; 100]);
        pair.exchange();
        pair.b.drain(b);
        pair.exchange();
    }
    let grown = pair.b.at(b).credit().1.window() - 100;
    assert!(grown >= 100, "{grown}");
    let before = pair.b.at(b).credit();
    let refused = pair.b.streams.set_recv_window(1001 - grown);
    assert_eq!(refused, Err(StreamsError::Window { name: "recv_window", window: 1001, limit: 1000 }));
    assert!(pair.b.streams.set_recv_window(u32::MAX).is_err());
    assert_eq!((pair.b.at(b).credit(), pair.b.streams.config().recv_window), (before, 100));
    pair.b.streams.set_recv_window(1000 - grown).unwrap();
    assert_eq!(pair.b.at(b).credit().1.window(), 1000);
    assert_eq!(pair.b.at(b).credit().1.available(), before.1.available() + i64::from(900 - grown));
}
