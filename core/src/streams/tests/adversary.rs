//! Any order of legal calls, checked after each against an account kept beside: the laws of streams.
//!
//! * conservation: credit is never made up and never lost, per stream and per connection;
//! * faithful: what is taken is what was sent, in order, complete at the finish;
//! * one end: each stream that the application heard of has exactly one terminal event, and nothing after it;
//! * no data after the finish;
//! * bounded: buffers and slots stay inside their limits;
//! * quiet end: when everything was ended and exchanged, nothing is left, and all credit is back.

use alloc::collections::BTreeMap;

use super::*;
use crate::rng::Rng;

/// What is known about one stream as one side sees it.
#[derive(Debug, Default)]
struct Account {
    key: u64,
    /// Bytes handed to `send`, and taken from `recv`.
    sent: u64,
    taken: u64,
    unreleased: usize,
    finished: bool,
    closed: bool,
}

struct World {
    pair: Pair,
    rng: Rng,
    accounts: [BTreeMap<StreamId, Account>; 2],
    /// Bytes that each side sent per key: the peer takes a prefix.
    ends: BTreeMap<u64, u32>,
    now: u64,
}

/// The byte at a position of a stream: what arrives can be checked without keeping what was sent.
fn byte_at(key: u64, from: usize, at: u64) -> u8 {
    (key.wrapping_mul(31) ^ at.wrapping_mul(7) ^ (at >> 8) ^ from as u64) as u8
}

impl World {
    fn side(&mut self, side: usize) -> &mut Side {
        if side == 0 { &mut self.pair.a } else { &mut self.pair.b }
    }

    fn pick(&mut self, side: usize) -> Option<StreamId> {
        let ids: Vec<_> = self.side(side).streams.ids().collect();
        // The application works on streams that it knows.
        let ids: Vec<_> = ids.into_iter().filter(|id| self.accounts[side].contains_key(id)).collect();
        let chosen = self.rng.below(ids.len().max(1) as u64) as usize;
        ids.get(chosen).copied()
    }

    fn step(&mut self, max_streams: u32) {
        let side = self.rng.below(2) as usize;
        let choice = self.rng.below(20);
        match choice {
            0 => {
                let s = self.side(side);
                if s.streams.open_counts().0 < max_streams {
                    let id = s.open();
                    let key = s.at(id).key();
                    self.accounts[side].insert(id, Account { key, ..Account::default() });
                }
            }
            1..=4 => self.send(side),
            5..=8 => self.recv(side),
            9 => self.release(side),
            10 => self.with(side, |stream| stream.finish(), |account| account.finished = true),
            11 if self.rng.below(4) == 0 => self.with(side, |stream| stream.reset(Code(3)), |_| {}),
            12 if self.rng.below(4) == 0 => self.with(side, |stream| stream.stop_reading(Code(4)), |_| {}),
            13 if self.rng.below(4) == 0 => {
                let at = Instant::from_nanos(self.now + 5);
                self.with(side, |stream| stream.set_deadline(Some(at)), |_| {});
            }
            14 => {
                self.now += 1;
                let now = Instant::from_nanos(self.now);
                self.side(side).streams.handle_timeout(now);
                assert!(self.side(side).streams.deadline().is_none_or(|at| at > now));
            }
            15 => self.events(side),
            16 | 17 => {
                let room = self.rng.below(700) as usize;
                self.side(side).order(room);
            }
            _ => self.deliver(side),
        }
    }

    fn with(&mut self, side: usize, act: impl FnOnce(&mut StreamMut<'_>), note: impl FnOnce(&mut Account)) {
        let Some(id) = self.pick(side) else { return };
        act(&mut self.side(side).at(id));
        if let Some(account) = self.accounts[side].get_mut(&id) {
            note(account);
        }
    }

    fn send(&mut self, side: usize) {
        let Some(id) = self.pick(side) else { return };
        let n = self.rng.below(900);
        let Some(account) = self.accounts[side].get_mut(&id) else { return };
        let (key, sent, finished, closed) = (account.key, account.sent, account.finished, account.closed);
        let bytes: Vec<u8> = (sent..sent + n).map(|at| byte_at(key, side, at)).collect();
        let stream = &mut self.side(side).at(id);
        let limit = stream.streams.config.send_buffer as usize;
        match stream.write(&bytes) {
            Ok(accepted) => {
                assert!(!finished && !closed, "nothing is accepted after the finish or the end");
                self.accounts[side].get_mut(&id).unwrap().sent += accepted as u64;
            }
            Err(StreamError::Finished) => assert!(finished),
            Err(_) => {}
        }
        assert!(self.side(side).at(id).buffered().1 <= limit);
    }

    fn recv(&mut self, side: usize) {
        let Some(id) = self.pick(side) else { return };
        let most = 1 + self.rng.below(2000) as usize;
        let Received::Data { bytes, .. } = self.side(side).at(id).recv(most) else { return };
        let account = self.accounts[side].entry(id).or_default();
        assert!(!account.closed, "no data after the end");
        for byte in &bytes {
            assert_eq!(*byte, byte_at(account.key, 1 - side, account.taken), "byte {} of {id}", account.taken);
            account.taken += 1;
        }
        account.unreleased += bytes.len();
    }

    fn release(&mut self, side: usize) {
        let Some(id) = self.pick(side) else { return };
        let unreleased = self.accounts[side].get(&id).map_or(0, |account| account.unreleased);
        let n = self.rng.below(unreleased as u64 + 1) as usize;
        let over = self.side(side).at(id).end().is_some() || self.side(side).at(id).states().0.is_over();
        if self.side(side).at(id).release(n).is_ok() {
            if let Some(account) = self.accounts[side].get_mut(&id) {
                account.unreleased -= n;
            }
        } else {
            // A stop gives back what was taken.
            let stopped = self.side(side).at(id).states().0 == StreamRecvState::Discarding;
            assert!(over || stopped, "what was taken can be released");
        }
    }

    fn events(&mut self, side: usize) {
        let Some(event) = self.side(side).streams.next_event() else { return };
        match event {
            StreamEvent::Opened(id) => {
                let key = self.side(side).at(id).key();
                let account = Account { key, ..Account::default() };
                assert!(self.accounts[side].insert(id, account).is_none(), "opened twice");
            }
            StreamEvent::Closed(id, closed) => {
                let account = self.accounts[side].get_mut(&id).expect("known");
                assert!(!account.closed, "one end");
                account.closed = true;
                *self.ends.entry(account.key).or_default() += 1;
                let discarded = closed.undelivered > 0;
                let (key, taken) = (account.key, account.taken);
                let other = self.accounts[1 - side].values().find(|other| other.key == key);
                if let (StreamEnd::Finished, Some(other), false) = (closed.end, other, discarded) {
                    assert!(taken <= other.sent, "not more than was sent");
                }
            }
            StreamEvent::Readable(id) | StreamEvent::Writable(id) | StreamEvent::Accepted(id) => {
                assert!(self.accounts[side].get(&id).is_some_and(|account| !account.closed), "{event:?} of nothing");
            }
            _ => {}
        }
    }

    fn deliver(&mut self, to: usize) {
        let Some(frame) = self.side(1 - to).wire.pop_front() else { return };
        self.side(to)
            .take(frame.clone())
            .unwrap_or_else(|violation| panic!("{frame:?} from an honest peer: {violation}"));
    }

    /// The ledgers of both sides, and what is on its way between them.
    fn check(&mut self) {
        let flight = |wire: &VecDeque<Frame>, data: bool| -> i64 {
            let sizes = wire.iter().map(|frame| match frame {
                Frame::Data { bytes, .. } if data => bytes.len() as i64,
                Frame::ConnectionCredit(grant) if !data => i64::from(grant.increment),
                _ => 0,
            });
            sizes.sum()
        };
        let (a, b) = (&self.pair.a, &self.pair.b);
        for (from, to) in [(a, b), (b, a)] {
            let (send, recv) = (from.streams.connection_credit().0, to.streams.connection_credit().1);
            assert_eq!(send.granted(), send.used() + send.available());
            assert_eq!(send.used(), recv.used() + flight(&from.wire, true), "bytes are sent once and received once");
            assert_eq!(recv.granted(), send.granted() + flight(&to.wire, false), "credit is given once and taken once");
            assert_eq!(recv.available() + recv.held() + recv.returnable(), i64::from(recv.window()));
            assert!(recv.held() >= 0 && recv.released() <= recv.used());
        }
        for side in [&mut self.pair.a, &mut self.pair.b] {
            let ids: Vec<_> = side.streams.ids().collect();
            assert!(ids.len() <= side.streams.config().slots as usize);
            let mut held = 0;
            for id in ids {
                let (recv, buffered) = (side.at(id).credit().1, side.at(id).buffered().0 as i64);
                assert!(recv.held() >= buffered || side.at(id).end().is_some(), "{recv:?}, {buffered}");
                assert!(recv.available() + recv.held() + recv.returnable() == i64::from(recv.window()));
                held += recv.held();
            }
            assert_eq!(side.streams.connection_credit().1.held(), held, "the connection holds what its streams hold");
        }
    }

    /// Ends everything; nothing may be left.
    fn wind_up(&mut self) {
        for _ in 0..3 {
            for side in 0..2 {
                let ids: Vec<_> = self.side(side).streams.ids().collect();
                for id in ids {
                    if self.rng.below(2) == 0 {
                        self.side(side).at(id).reset(Code(9));
                    } else {
                        self.side(side).at(id).finish();
                        self.side(side).at(id).stop_reading(Code(9));
                    }
                }
            }
            self.pair.exchange();
            for side in 0..2 {
                for _ in 0..1000 {
                    self.events(side);
                }
            }
        }
        self.check();
        for side in 0..2 {
            assert!(self.side(side).streams.is_empty(), "side {side}: {:?}", self.side(side).streams.ids().count());
            assert_eq!(self.side(side).streams.open_counts(), (0, 0));
            assert!(self.side(side).streams.is_quiescent() && !self.side(side).streams.has_event());
            assert!(self.accounts[side].values().all(|account| account.closed), "every stream has its end");
            let recv = self.side(side).streams.connection_credit().1;
            assert_eq!((recv.held(), recv.available() + recv.returnable()), (0, i64::from(recv.window())));
        }
    }
}

fn run(seed: u64, config: StreamsConfig) {
    let accounts = [BTreeMap::new(), BTreeMap::new()];
    let mut world = World { pair: Pair::new(config), rng: Rng::new(seed), accounts, ends: BTreeMap::new(), now: 1 };
    for _ in 0..1500 {
        world.step(8);
        world.check();
    }
    world.wind_up();
}

#[test]
fn any_order_of_calls_keeps_the_laws() {
    let windows = |config: StreamsConfig, stream, connection| {
        let config = config.recv_window(stream).send_window(stream).max_recv_window(stream * 4);
        config.connection_recv_window(connection).connection_send_window(connection)
    };
    let base = StreamsConfig::new().connection_credit(CreditStyle::Increments).send_buffer(2000).max_piece(500);
    let abuse = AbuseBudget { burst: u32::MAX / 2, ..AbuseBudget::default() };
    let base = base.turn_bytes(700).abuse(abuse).max_peer(8).max_local(8);
    for seed in 0..40 {
        run(seed, windows(base, 1000, 3000));
        run(seed, windows(base, 3000, 1000).stop(StopStyle::AfterFinish));
        run(seed, windows(base, 64, 100_000).credit(CreditStyle::Totals).stop(StopStyle::AtOnce));
        run(seed, windows(base, 200, 900).acknowledge(true).grant_fraction(3));
    }
}

#[test]
fn no_stream_waits_longer_than_one_turn_of_all_the_others() {
    let mut rng = Rng::new(11);
    for _ in 0..50 {
        let turn = 100 + rng.below(900) as u32;
        let piece = 50 + rng.below(900) as u32;
        let config = StreamsConfig::new().turn_bytes(turn).max_piece(piece).send_window(1 << 24).send_buffer(1 << 20);
        let mut pair = Pair::new(config);
        let count = 2 + rng.below(20) as usize;
        let ids: Vec<_> = (0..count).map(|_| pair.stream().0).collect();
        for id in &ids {
            pair.a.send(*id, &alloc::vec![0; 40_000]);
        }
        let mut since = alloc::vec![0usize; count];
        for _ in 0..count * 20 {
            let Some(Frame::Data { key, bytes, .. }) = pair.a.order(usize::MAX) else { break };
            let who = (key as usize - 1) / 2;
            for (other, waited) in since.iter_mut().enumerate() {
                *waited = if other == who { 0 } else { *waited + bytes.len() };
                assert!(*waited <= (count - 1) * turn as usize, "stream {other} waited for {waited} bytes");
            }
        }
    }
}

#[test]
fn every_way_to_end_ends_every_stream_exactly_once() {
    for way in 0..5 {
        let mut pair = Pair::new(StreamsConfig::new().send_window(50).recv_window(50));
        let streams: Vec<_> = (0..20).map(|_| pair.stream()).collect();
        for (n, (a, b)) in streams.iter().enumerate() {
            let _ = pair.a.at(*a).write(&[0; 100]);
            if n % 3 == 0 {
                pair.a.at(*a).finish();
            }
            if n % 4 == 0 {
                pair.b.at(*b).finish();
            }
        }
        pair.a.order(usize::MAX);
        for (a, _) in &streams {
            match way {
                0 => pair.a.at(*a).reset(Code(1)),
                1 => pair.a.at(*a).set_deadline(Some(T0)),
                2 => pair.a.streams.peer_reset(T0, *a, Code(2)).unwrap(),
                3 => pair.a.streams.end_all(StreamEnd::Lost),
                _ => pair.a.streams.end_all(StreamEnd::LocalClose),
            }
        }
        pair.a.streams.handle_timeout(T0);
        let events = pair.a.take_events();
        for (a, _) in &streams {
            let ends = events.iter().filter(|event| matches!(event, StreamEvent::Closed(id, _) if id == a)).count();
            assert_eq!(ends, 1, "way {way}: {a}");
        }
        assert!(pair.a.take_events().is_empty());
    }
}
