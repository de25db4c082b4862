//! Every sequence of calls on one stream, up to a length, in every style of stopping: one end, no data after the finish,
//! balanced credit, and each transition of the tables taken at least once.

use alloc::collections::BTreeSet;
use alloc::format;

use super::*;

/// What either side may do, or hear of the other.
const CALLS: &[fn(&mut Pair, StreamId, StreamId)] = &[
    |p, a, _| on(&mut p.a, a, |s| _ = s.write(b"abc")),
    |p, a, _| on(&mut p.a, a, |s| s.finish()),
    |p, a, _| on(&mut p.a, a, |s| s.reset(Code(1))),
    |p, a, _| on(&mut p.a, a, |s| s.stop_reading(Code(2))),
    |p, a, _| {
        if let Some(mut stream) = p.a.streams.get_mut(a) {
            stream.set_deadline(Some(T0));
        }
        p.a.streams.handle_timeout(T0);
    },
    |p, _, b| on(&mut p.b, b, |s| _ = s.write(b"xy")),
    |p, _, b| on(&mut p.b, b, |s| s.finish()),
    |p, _, b| on(&mut p.b, b, |s| s.stop_reading(Code(3))),
    |p, _, b| on(&mut p.b, b, |s| s.reset(Code(4))),
    |p, _, _| drop(p.a.order(usize::MAX)),
    |p, _, _| {
        if let Some(frame) = p.b.order(usize::MAX).and_then(|_| p.b.wire.pop_front()) {
            p.a.take(frame).unwrap();
        }
    },
    |p, _, _| {
        if let Some(frame) = p.a.wire.pop_front() {
            p.b.take(frame).unwrap();
        }
    },
    |p, a, _| {
        if let Some(mut stream) = p.a.streams.get_mut(a) {
            if let Received::Data { bytes, .. } = stream.recv(2) {
                stream.release(bytes.len()).unwrap();
            }
        }
    },
    |p, _, _| p.a.streams.end_all(StreamEnd::Lost),
];

fn on(side: &mut Side, id: StreamId, act: impl FnOnce(&mut StreamMut<'_>)) {
    if let Some(mut stream) = side.streams.get_mut(id) {
        act(&mut stream);
    }
}

type Reached = (BTreeSet<(StreamRecvState, StreamRecvState)>, BTreeSet<(StreamSendState, StreamSendState)>);

/// Plays one sequence, looking after each call.
fn play(config: StreamsConfig, sequence: &[usize], reached: &mut Reached) {
    let mut pair = Pair::new(config);
    let (a, b) = pair.stream();
    let (mut ends, mut finished, mut lost) = (0, false, false);
    let mut before = (StreamRecvState::Open, StreamSendState::Open);
    for call in sequence {
        CALLS[*call](&mut pair, a, b);
        lost |= *call == CALLS.len() - 1;
        let Some(info) = pair.a.streams.inspect(a) else { continue };
        reached.0.insert((before.0, info.recv));
        reached.1.insert((before.1, info.send));
        before = (info.recv, info.send);
        assert!(!finished || info.unread == 0, "{sequence:?}: data after the finish");
        finished |= info.status == RecvStatus::Finished && !lost;
        let recv = info.recv_credit;
        assert_eq!(recv.available() + recv.held() + recv.returnable(), i64::from(recv.window()));
        assert!(recv.held() >= 0 && info.unread as i64 <= recv.held() || info.end.is_some(), "{sequence:?}: {info:?}");
        if !lost {
            assert_eq!(pair.a.streams.connection_credit().1.held(), recv.held(), "{sequence:?}");
        }
        if call % 3 == 0 {
            ends += closed(&mut pair);
        }
    }
    ends += closed(&mut pair);
    assert!(ends <= 1, "{sequence:?}: {ends} ends");
    pair.a.streams.end_all(StreamEnd::LocalClose);
    ends += closed(&mut pair);
    assert_eq!(ends, 1, "{sequence:?}: exactly one end");
    assert!(!pair.a.streams.has_orders(), "{sequence:?}: nothing is ordered after the end");
}

fn closed(pair: &mut Pair) -> usize {
    pair.a.take_events().iter().filter(|event| matches!(event, StreamEvent::Closed(..))).count()
}

#[test]
fn every_sequence_of_calls_keeps_the_laws_and_takes_every_transition() {
    const LENGTH: u32 = 4;
    let mut reached = Reached::default();
    for stop in [StopStyle::Silent, StopStyle::AtOnce, StopStyle::AfterFinish] {
        let config = StreamsConfig::new().stop(stop).connection_credit(CreditStyle::Increments).slots(2);
        for number in 0..CALLS.len().pow(LENGTH) {
            let sequence: Vec<_> = (0..LENGTH).map(|at| number / CALLS.len().pow(at) % CALLS.len()).collect();
            play(config, &sequence, &mut reached);
        }
    }
    let recv = StreamRecvState::TRANSITIONS.iter().map(|(from, _, to)| (*from, *to));
    let missing: Vec<_> = recv.filter(|step| !reached.0.contains(step)).map(|step| format!("{step:?}")).collect();
    assert!(missing.is_empty(), "never taken: {missing:?}");
    let send = StreamSendState::TRANSITIONS.iter().map(|(from, _, to)| (*from, *to));
    let missing: Vec<_> = send.filter(|step| !reached.1.contains(step)).map(|step| format!("{step:?}")).collect();
    assert!(missing.is_empty(), "never taken: {missing:?}");
}
