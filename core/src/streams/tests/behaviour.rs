//! One test per behaviour.

use super::*;

fn closed(events: &[StreamEvent]) -> Vec<StreamEnd> {
    let ends = events.iter().filter_map(|event| match event {
        StreamEvent::Closed(_, closed) => Some(closed.end),
        _ => None,
    });
    ends.collect()
}

#[test]
fn an_idle_stream_takes_at_most_200_bytes() {
    let bytes = Streams::<()>::bytes_per_idle_stream();
    assert!(bytes <= 200, "{bytes} bytes per idle stream");
}

#[test]
fn each_side_finishes_by_itself_and_then_the_stream_ends_once_on_both() {
    let mut pair = Pair::new(StreamsConfig::new());
    let (a, b) = pair.stream();
    pair.a.send(a, b"request");
    pair.a.at(a).finish();
    pair.exchange();
    assert_eq!(pair.b.drain(b), b"request");
    assert_eq!(pair.b.at(b).recv(9), Received::Finished);
    pair.b.send(b, b"reply");
    pair.exchange();
    assert_eq!(pair.a.drain(a), b"reply", "receiving goes on after our finish");
    assert!(closed(&pair.a.take_events()).is_empty());
    pair.b.at(b).finish();
    pair.exchange();
    assert_eq!(closed(&pair.a.take_events()), [StreamEnd::Finished]);
    assert_eq!(closed(&pair.b.take_events()), [StreamEnd::Finished]);
    assert!(pair.a.streams.is_empty() && pair.b.streams.is_empty());
}

#[test]
fn a_finish_never_overtakes_data_and_data_waits_for_credit() {
    let mut pair = Pair::new(StreamsConfig::new().recv_window(10).send_window(10).max_recv_window(10));
    let (a, b) = pair.stream();
    pair.a.send(a, &[7; 25]);
    pair.a.at(a).finish();
    pair.exchange();
    assert_eq!(pair.b.at(b).buffered().0, 10);
    assert_eq!(pair.b.at(b).states().0, StreamRecvState::Open, "no finish yet");
    assert!(!pair.a.streams.is_quiescent());
    assert_eq!(pair.b.drain(b).len(), 10);
    pair.exchange();
    assert_eq!(pair.b.drain(b).len(), 10);
    pair.exchange();
    assert_eq!(pair.b.drain(b).len(), 5);
    assert_eq!(pair.b.at(b).recv(9), Received::Finished);
    assert!(pair.a.streams.is_quiescent());
}

#[test]
fn finish_cancel_and_loss_are_three_different_things() {
    let mut pair = Pair::new(StreamsConfig::new());
    let streams: Vec<_> = (0..3).map(|_| pair.stream()).collect();
    for (a, b) in &streams {
        pair.b.at(*b).finish();
        pair.a.send(*a, b"x");
    }
    pair.a.at(streams[0].0).finish();
    pair.a.at(streams[1].0).reset(Code(42));
    pair.exchange();
    pair.b.streams.end_all(StreamEnd::Lost);
    for (_, b) in &streams {
        pair.b.drain(*b);
    }
    let mut ends = closed(&pair.b.take_events());
    ends.sort_by_key(|end| alloc::format!("{end:?}"));
    // What both finished is finished, read or not.
    assert_eq!(ends, [StreamEnd::Finished, StreamEnd::Lost, StreamEnd::PeerReset(Code(42))]);
}

#[test]
fn what_the_peer_finished_before_the_loss_is_whole_whenever_it_is_read() {
    for drained_before in [false, true] {
        let mut pair = Pair::new(StreamsConfig::new());
        let (a, b) = pair.stream();
        pair.a.send(a, b"all of it");
        pair.a.at(a).finish();
        pair.exchange();
        if drained_before {
            assert_eq!(pair.b.drain(b), b"all of it");
        }
        pair.b.streams.end_all(StreamEnd::Lost);
        // We could still have sent: that half is lost.
        assert_eq!(closed(&pair.b.take_events()), [StreamEnd::Lost]);
        if !drained_before {
            assert_eq!(pair.b.drain(b), b"all of it");
        }
        assert_eq!(pair.b.at(b).recv(9), Received::Finished, "drained before: {drained_before}");
        assert_eq!(pair.b.at(b).recv(9), Received::Finished, "and it stays so");
    }
}

#[test]
fn what_came_before_the_loss_can_still_be_taken() {
    let mut pair = Pair::new(StreamsConfig::new());
    let (a, b) = pair.stream();
    pair.a.send(a, b"last words");
    pair.exchange();
    pair.b.streams.end_all(StreamEnd::Lost);
    assert_eq!(closed(&pair.b.take_events()), [StreamEnd::Lost]);
    let Received::Data { bytes, .. } = pair.b.at(b).recv(99) else { panic!("nothing left") };
    assert_eq!(bytes, "last words");
    assert!(pair.b.streams.get_mut(b).is_none(), "and then the slot is free");
}

#[test]
fn the_credit_of_a_reset_stream_goes_back_to_the_connection() {
    let config = StreamsConfig::new().connection_credit(CreditStyle::Increments);
    let config = config.connection_recv_window(1000).connection_send_window(1000).recv_window(400).send_window(400);
    let mut pair = Pair::new(config);
    for _ in 0..50 {
        let (a, b) = pair.stream();
        pair.a.send(a, &[1; 400]);
        pair.exchange();
        let taken = pair.b.at(b).recv(100);
        assert!(matches!(taken, Received::Data { .. }), "some of it is taken and never released");
        pair.b.at(b).reset(Code(1));
        pair.a.send(a, b"");
        pair.exchange();
        pair.a.take_events();
        pair.b.take_events();
    }
    let (send, recv) = (pair.a.streams.connection_credit().0, pair.b.streams.connection_credit().1);
    assert_eq!(recv.held(), 0);
    assert_eq!(send.available(), recv.available());
    assert!(recv.available() + recv.returnable() == 1000, "{recv:?}");
}

#[test]
fn data_that_crosses_a_reset_is_thrown_away_and_its_credit_comes_back() {
    let config = StreamsConfig::new().connection_credit(CreditStyle::Increments).connection_recv_window(1000);
    let mut pair = Pair::new(config);
    let (a, b) = pair.stream();
    pair.a.send(a, &[1; 300]);
    pair.a.order_all();
    pair.b.at(b).reset(Code(1));
    pair.b.order_all();
    pair.exchange();
    let recv = pair.b.streams.connection_credit().1;
    assert_eq!((recv.used(), recv.held()), (300, 0));
    assert_eq!(closed(&pair.a.take_events()), [StreamEnd::PeerReset(Code(1))]);
}

#[test]
fn streams_take_turns_by_weight_and_long_messages_are_cut() {
    let config = StreamsConfig::new().max_piece(1000).turn_bytes(1600).send_window(1 << 20).send_buffer(1 << 20);
    let mut pair = Pair::new(config);
    let streams: Vec<_> = (0..4).map(|_| pair.stream().0).collect();
    for id in &streams {
        pair.a.send(*id, &[3; 100_000]);
    }
    pair.a.at(streams[3]).set_weight(48);
    let mut sent = alloc::collections::BTreeMap::new();
    for _ in 0..120 {
        if let Some(Frame::Data { key, bytes, .. }) = pair.a.order(usize::MAX) {
            assert!(bytes.len() <= 1000);
            *sent.entry(key).or_insert(0usize) += bytes.len();
        }
    }
    let sent: Vec<_> = sent.into_values().collect();
    assert!(sent[..3].iter().all(|n| n.abs_diff(sent[0]) <= 1600), "{sent:?}");
    assert!(sent[3].abs_diff(3 * sent[0]) <= 3 * 1600, "three times the weight: {sent:?}");
}

#[test]
fn control_goes_before_data_and_without_room_for_any() {
    let mut pair = Pair::new(StreamsConfig::new());
    let (bulk, _) = pair.stream();
    let (gone, _) = pair.stream();
    pair.a.send(bulk, &[1; 60_000]);
    pair.a.at(gone).reset(Code(3));
    assert_eq!(pair.a.order(0), Some(Frame::Reset(3, Code(3))));
    assert_eq!(pair.a.order(0), None);
    assert!(pair.a.streams.has_orders());
}

#[test]
fn whoever_waits_for_room_is_woken_by_room_and_by_every_end() {
    let ends: [fn(&mut Side, StreamId); 6] = [
        |s, id| s.streams.granted(T0, id, 1 << 20).unwrap(),
        |s, id| s.streams.peer_stopped(id, Code(1)),
        |s, id| s.streams.peer_reset(T0, id, Code(1)).unwrap(),
        |s, id| s.at(id).reset(Code(1)),
        |s, id| {
            s.at(id).set_deadline(Some(T0));
            s.streams.handle_timeout(T0);
        },
        |s, _| s.streams.end_all(StreamEnd::Lost),
    ];
    for (number, end) in ends.iter().enumerate() {
        let mut pair = Pair::new(StreamsConfig::new().send_window(10).send_buffer(100));
        let (a, _) = pair.stream();
        while pair.a.at(a).write(&[0; 30]).is_ok() {}
        pair.a.order_all();
        while pair.a.at(a).write(&[0; 30]).is_ok() {}
        assert!(pair.a.take_events().is_empty());
        end(&mut pair.a, a);
        pair.a.order_all();
        let events = pair.a.take_events();
        assert!(events.contains(&StreamEvent::Writable(a)), "{number}: {events:?}");
    }
}

#[test]
fn limits_for_streams_hold_on_both_sides_and_openers_are_woken() {
    let mut pair = Pair::new(StreamsConfig::new().max_local(3).max_peer(2));
    let ids: Vec<_> = (0..3).map(|_| pair.a.open()).collect();
    let refused = pair.a.streams.open(OpenOptions::default(), (), |_| 99);
    assert_eq!(refused, Err(OpenError::TooMany { limit: 3 }));
    pair.exchange();
    let events = pair.a.take_events();
    assert!(events.contains(&StreamEvent::CanOpen), "{events:?}");
    assert_eq!(closed(&events), [StreamEnd::PeerReset(Code(7))], "the third was refused by the peer");
    pair.a.streams.set_max_local(1);
    assert_eq!(pair.a.streams.may_open(), Err(OpenError::TooMany { limit: 1 }));
    pair.a.at(ids[0]).reset(Code(0));
    pair.a.at(ids[1]).reset(Code(0));
    assert!(pair.a.take_events().contains(&StreamEvent::CanOpen));
}

#[test]
fn draining_refuses_new_streams_and_says_which_were_never_looked_at() {
    let mut pair = Pair::new(StreamsConfig::new());
    let (kept, _) = pair.stream();
    let late = pair.a.open();
    pair.a.streams.peer_drains(|key| key <= 1);
    let events = pair.a.take_events();
    assert!(events.contains(&StreamEvent::Draining));
    assert_eq!(closed(&events), [StreamEnd::Refused]);
    assert!(pair.a.streams.get_mut(late).is_none() && pair.a.at(kept).end().is_none());
    assert_eq!(pair.a.streams.may_open(), Err(OpenError::Draining));
}

#[test]
fn an_early_response_is_whole_before_the_peer_is_told_to_stop() {
    let mut pair = Pair::new(StreamsConfig::new().stop(StopStyle::AfterFinish));
    let (a, b) = pair.stream();
    pair.a.send(a, b"a long request");
    pair.exchange();
    pair.b.send(b, b"no, thanks");
    pair.b.at(b).stop_reading(Code(0));
    assert!(matches!(pair.b.order(usize::MAX), Some(Frame::Data { .. })));
    assert_eq!(pair.b.order(usize::MAX), None);
    pair.b.at(b).finish();
    assert!(matches!(pair.b.order(usize::MAX), Some(Frame::Finish(_))));
    assert!(matches!(pair.b.order(usize::MAX), Some(Frame::Stop(_, Code(0)))));
}

#[test]
fn what_a_peer_makes_us_do_for_nothing_is_limited() {
    let budget = AbuseBudget { burst: 100, ..AbuseBudget::default() };
    let mut side = Side::new(StreamsConfig::new().abuse(budget), 1);
    let mut result = Ok(());
    for key in 0..1000 {
        let id = side.streams.peer_opened(key, ()).unwrap();
        result = side.streams.peer_reset(T0, id, Code(0));
        if result.is_err() {
            assert_eq!(key, 100);
            break;
        }
    }
    assert_eq!(result, Err(StreamViolation::Abuse { kind: Abuse::OpenReset, limit: 100 }));
    assert!(side.take_events().is_empty(), "a stream that was reset unheard never existed");
    assert!(side.streams.is_empty());
}

/// A window of small messages is consumed one by one, and each is told: no abuse, however many they are.
#[test]
fn totals_that_grow_cost_nothing_and_those_that_do_not_are_limited() {
    let budget = AbuseBudget { burst: 100, ..AbuseBudget::default() };
    let config = StreamsConfig::new().messages(true).credit(CreditStyle::Totals).abuse(budget);
    let mut pair = Pair::new(config);
    let a = pair.a.open();
    for _ in 0..1000 {
        pair.a.send(a, b"x");
    }
    pair.exchange();
    for total in 1..=1000 {
        assert_eq!(pair.a.streams.consumed(T0, a, total), Ok(()));
    }
    let told: Vec<bool> = (0..101).map(|_| pair.a.streams.consumed(T0, a, 1000).is_ok()).collect();
    assert_eq!(told.iter().filter(|ok| **ok).count(), 100);
    assert!(!told[100]);
}

#[test]
fn a_handle_of_an_older_stream_never_reaches_a_newer_one() {
    let mut pair = Pair::new(StreamsConfig::new().slots(1));
    let (old, _) = pair.stream();
    pair.a.at(old).reset(Code(0));
    pair.exchange();
    pair.a.take_events();
    pair.b.take_events();
    let (new, _) = pair.stream();
    assert_eq!((old.index(), new.index()), (0, 0));
    assert!(pair.a.streams.get_mut(old).is_none());
    assert_eq!(StreamId::from_bits(new.to_bits()), new);
}

#[test]
fn data_waits_until_the_peer_accepted_where_the_opening_is_elsewhere() {
    let mut side = Side::new(StreamsConfig::new(), 1);
    let wait = OpenOptions { announce: false, wait: true, ..OpenOptions::default() };
    let id = side.streams.open(wait, (), |id| id.to_bits()).unwrap();
    side.send(id, b"early");
    side.at(id).finish();
    assert_eq!(side.order(usize::MAX), None);
    assert!(!side.streams.is_quiescent(), "it was accepted from the application");
    side.streams.accepted(id);
    assert!(side.take_events().contains(&StreamEvent::Accepted(id)));
    assert!(matches!(side.order(usize::MAX), Some(Frame::Data { bytes, finish: true, .. }) if bytes == "early"));
}

#[test]
fn the_deadline_of_a_stream_goes_with_it() {
    let mut pair = Pair::new(StreamsConfig::new());
    let (a, _) = pair.stream();
    let later = T0.after(Duration::from_secs(1));
    pair.a.at(a).set_deadline(Some(later));
    assert_eq!(pair.a.streams.deadline(), Some(later));
    pair.a.at(a).reset(Code(0));
    assert_eq!(pair.a.streams.deadline(), None, "nothing is left to wait for");
}

/// A protocol that is in the middle of a frame holds the stream's id, and the peer has not heard yet that its request is
/// not wanted any more.
#[test]
fn what_crosses_an_early_response_is_thrown_away_and_its_credit_goes_back() {
    let config = StreamsConfig::new().stop(StopStyle::AfterFinish).connection_credit(CreditStyle::Increments);
    let mut pair = Pair::new(config);
    let (_, b) = pair.stream();
    pair.b.at(b).stop_reading(Code(0));
    pair.b.at(b).finish();
    pair.b.order_all();
    assert!(matches!(pair.b.wire.back(), Some(Frame::Stop(..))));
    let streams = &mut pair.b.streams;
    assert_eq!(streams.received(T0, b, Payload::Borrowed(&[7; 1000]), false), Ok(()));
    assert_eq!(streams.peer_finished(b), Ok(()));
    assert_eq!(streams.connection_credit().1.held(), 0);
    let closed = pair.b.take_events();
    assert!(
        matches!(closed[..], [StreamEvent::Closed(id, c)] if id == b && c.end == StreamEnd::Finished),
        "{closed:?}"
    );
}

/// Where names on the wire must grow (HTTP/2), one that comes too late is never opened.
#[test]
fn streams_are_announced_in_the_order_in_which_they_were_opened() {
    let mut side = Side::new(StreamsConfig::new(), 1);
    let (first, second) = (side.open(), side.open());
    // It was never announced; its place is free, and another takes it.
    side.at(first).reset(Code(0));
    side.take_events();
    let third = side.open();
    assert_eq!(third.index(), first.index());
    let fourth = side.open();
    for again in [second, third] {
        side.at(again).reset(Code(0));
        side.take_events();
    }
    let fifth = side.open();
    let keys = [fourth, fifth].map(|id| side.at(id).key());
    side.order_all();
    assert_eq!(Vec::from(side.wire), keys.map(Frame::Open));
}
