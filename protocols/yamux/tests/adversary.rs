//! Two sessions under any order of legal calls, with a transport that takes and brings what it likes: what was sent
//! arrives in order, every stream has one end, nothing is wanted in vain, and in the end nothing is left.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::BufMut;
use duologue_core::streams::{Multiplex, Received, StreamEnd, StreamEvent, StreamId, StreamsConfig};
use duologue_core::{CloseIntent, Code, Config, Event, Instant, Limits, Rng, Session};
use duologue_yamux::{Role, Yamux, YamuxConfig};

const NOW: Instant = Instant::from_nanos(1_000);

#[derive(Default)]
struct Account {
    key: u64,
    sent: u64,
    taken: u64,
    ends: u32,
}

struct Side {
    session: Session<Yamux>,
    /// On its way to the other.
    wire: Vec<u8>,
    accounts: BTreeMap<StreamId, Account>,
    over: bool,
}

fn side(role: Role) -> Side {
    let limits = Limits::new().send_buffer(4 << 10).recv_buffer(2 << 10).control_reserve(2 << 10);
    let streams = StreamsConfig::new().max_local(6).max_peer(6).slots(24).send_buffer(3000).max_piece(900);
    let yamux = Yamux::new(role, YamuxConfig::new().streams(streams).ahead(2 << 10)).unwrap();
    let session = Session::new(yamux, Config::new().limits(limits), 7, NOW).unwrap();
    Side { session, wire: Vec::new(), accounts: BTreeMap::new(), over: false }
}

fn byte_at(key: u64, from: usize, at: u64) -> u8 {
    (key.wrapping_mul(31) ^ at.wrapping_mul(7) ^ (at >> 8) ^ from as u64) as u8
}

fn transmit(side: &mut Side, most: usize) -> bool {
    let mut slices = [&[][..]; 16];
    let filled = side.session.transmit(&mut slices);
    let mut bytes = slices[..filled].concat();
    bytes.truncate(most);
    side.session.transmitted(NOW, bytes.len());
    side.wire.extend_from_slice(&bytes);
    !bytes.is_empty()
}

fn receive(sides: &mut [Side; 2], to: usize, most: usize) -> bool {
    let n = sides[1 - to].wire.len().min(most);
    if n == 0 || !sides[to].session.interest().read {
        return false;
    }
    let mut buf = sides[to].session.recv_buf();
    let n = n.min(buf.remaining_mut());
    assert!(n > 0, "L12: read is wanted only with room");
    buf.put_slice(&sides[1 - to].wire[..n]);
    sides[1 - to].wire.drain(..n);
    sides[to].session.received(NOW);
    true
}

fn events(side: &mut Side, most: usize) -> bool {
    let mut any = false;
    for _ in 0..most {
        let Some(event) = side.session.poll_event(NOW) else { return any };
        any = true;
        assert!(!side.over, "nothing comes after Closed");
        match event {
            Event::App(event) => match Yamux::as_stream_event(&event) {
                Some(StreamEvent::Opened(id)) => {
                    let key = side.session.protocol_mut(NOW).streams_mut().get_mut(id).unwrap().key();
                    assert!(side.accounts.insert(id, Account { key, ..Account::default() }).is_none());
                }
                Some(StreamEvent::Closed(id, _)) => {
                    let account = side.accounts.get_mut(&id).expect("of a stream that is known");
                    account.ends += 1;
                    assert_eq!(account.ends, 1, "one end");
                }
                _ => {}
            },
            Event::Closed(_) => side.over = true,
            _ => {}
        }
    }
    any
}

fn act(sides: &mut [Side; 2], which: usize, rng: &mut Rng) {
    let side = &mut sides[which];
    let known: Vec<_> = side.accounts.iter().filter(|(_, account)| account.ends == 0).map(|(id, _)| *id).collect();
    if known.is_empty() || rng.below(12) == 0 {
        let mut protocol = side.session.protocol_mut(NOW);
        if let Ok(id) = protocol.open(NOW) {
            let key = protocol.streams_mut().get_mut(id).unwrap().key();
            drop(protocol);
            side.accounts.insert(id, Account { key, ..Account::default() });
        }
        return;
    }
    let id = known[rng.below(known.len() as u64) as usize];
    let account = side.accounts.get_mut(&id).unwrap();
    let mut protocol = side.session.protocol_mut(NOW);
    let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return };
    match rng.below(30) {
        0 => stream.reset(Code(1)),
        1 => stream.finish(),
        2 => stream.stop_reading(Code(1)),
        3..=15 => {
            let n = rng.below(1500);
            let bytes: Vec<u8> = (account.sent..account.sent + n).map(|at| byte_at(account.key, which, at)).collect();
            account.sent += stream.write(&bytes).unwrap_or(0) as u64;
        }
        _ => {
            if let Received::Data { bytes, .. } = stream.recv(1 + rng.below(2000) as usize) {
                for byte in &bytes {
                    assert_eq!(*byte, byte_at(account.key, 1 - which, account.taken), "L10: faithful");
                    account.taken += 1;
                }
                stream.release(bytes.len()).unwrap();
            }
        }
    }
}

/// Everything that the drivers would do, until nothing moves.
fn settle(sides: &mut [Side; 2]) {
    for step in 0.. {
        assert!(step < 1_000_000, "L8: it ends");
        let mut moved = false;
        for which in 0..2 {
            moved |= transmit(&mut sides[which], usize::MAX);
            moved |= receive(sides, which, usize::MAX);
            moved |= events(&mut sides[which], 100);
        }
        if !moved {
            return;
        }
    }
}

fn check(side: &Side) {
    let interest = side.session.interest();
    assert_eq!(interest, side.session.interest(), "L1: asking changes nothing");
    let (received, queued) = side.session.buffered();
    assert!(received <= 2 << 10 && queued <= 6 << 10, "L3: bounded");
    assert!(side.session.cause().is_none(), "two honest sides: {:?}", side.session.cause());
    assert_eq!(interest.write, queued > 0);
}

#[test]
fn two_sides_under_any_order_of_calls() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let mut sides = [side(Role::Client), side(Role::Server)];
        for _ in 0..1200 {
            let which = rng.below(2) as usize;
            match rng.below(8) {
                0..=3 => act(&mut sides, which, &mut rng),
                4 | 5 => drop(transmit(&mut sides[which], rng.below(700) as usize)),
                6 => drop(receive(&mut sides, which, rng.below(700) as usize)),
                _ => drop(events(&mut sides[which], rng.below(3) as usize)),
            }
            sides.iter().for_each(check);
        }
        if seed % 3 == 0 {
            sides[0].session.received_eof(NOW);
            events(&mut sides[0], 10_000);
            assert!(sides[0].accounts.values().all(|account| account.ends == 1), "loss ends every stream");
            continue;
        }
        // One side ends all its streams in order, and both hear everything.
        for _ in 0..4 {
            for side in &mut sides {
                let ids: Vec<_> = side.session.protocol().streams().ids().collect();
                for id in ids {
                    let mut protocol = side.session.protocol_mut(NOW);
                    let mut stream = protocol.streams_mut().get_mut(id).unwrap();
                    stream.finish();
                    stream.stop_reading(Code(0));
                }
            }
            settle(&mut sides);
        }
        for side in &mut sides {
            assert!(side.accounts.values().all(|account| account.ends == 1), "seed {seed}");
            assert!(side.session.protocol().streams().is_empty());
            assert!(!side.session.interest().write && !side.session.interest().event, "nothing is left");
        }
        sides[0].session.close(NOW, CloseIntent::Goodbye(Code(0)));
        settle(&mut sides);
        assert!(sides[0].session.interest().shutdown_write, "the goodbye is flushed, and FIN is due");
    }
}

#[test]
fn a_close_in_the_middle_ends_every_stream_once_and_in_bounded_steps() {
    for seed in 0..60 {
        let mut rng = Rng::new(1000 + seed);
        let mut sides = [side(Role::Client), side(Role::Server)];
        for _ in 0..400 {
            let which = rng.below(2) as usize;
            act(&mut sides, which, &mut rng);
            transmit(&mut sides[which], 900);
            receive(&mut sides, 1 - which, 900);
            events(&mut sides[which], 2);
        }
        if seed % 2 == 0 {
            sides[0].session.abort(NOW, Code(0));
        } else {
            sides[0].session.close(NOW, CloseIntent::Goodbye(Code(0)));
        }
        let mut now = NOW;
        for _ in 0..50 {
            let interest = sides[0].session.interest();
            if interest.release.is_some() {
                sides[0].session.released();
            } else if let Some(deadline) = interest.deadline {
                now = now.max(deadline.at);
                sides[0].session.handle_timeout(now);
            }
            events(&mut sides[0], 10_000);
        }
        assert!(sides[0].over, "L8: it ends, with nobody at the other end");
        assert!(sides[0].accounts.values().all(|account| account.ends == 1), "seed {seed}");
        let ids: Vec<_> = sides[0].session.protocol().streams().ids().collect();
        for id in ids {
            let end = sides[0].session.protocol_mut(NOW).streams_mut().get_mut(id).unwrap().end();
            assert!(matches!(end, Some(StreamEnd::LocalClose | StreamEnd::Lost | StreamEnd::Finished)), "{end:?}");
        }
    }
}
