//! What a pool does, one behaviour each; `model` checks it all at random.

mod model;
mod ports;

use core::time::Duration;

use super::*;
use crate::closed::Side;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn at(seconds: u64) -> Instant {
    Instant::from_origin(Duration::from_secs(seconds))
}

pub(super) fn pool(config: PoolConfig) -> Pool<&'static str> {
    Pool::new(config.jitter_percent(0), 7).expect("a configuration that works")
}

pub(super) fn orders(pool: &mut Pool<&'static str>, now: Instant) -> Vec<Order<&'static str>> {
    let orders: Vec<_> = core::iter::from_fn(|| pool.poll_order(now)).take(1000).collect();
    assert!(orders.len() < 1000, "it never ends");
    orders
}

/// The one order, a dial.
pub(super) fn dial(pool: &mut Pool<&'static str>, now: Instant) -> ConnId {
    match orders(pool, now).as_slice() {
        [Order::Dial { conn, .. }] => *conn,
        other => panic!("a dial was expected, not {other:?}"),
    }
}

pub(super) fn want(pool: &mut Pool<&'static str>, now: Instant, target: &'static str) -> LeaseId {
    pool.acquire(now, target, now.after(30 * SECOND)).expect("room to wait")
}

/// A caller with a connection that was dialled for it.
pub(super) fn granted(pool: &mut Pool<&'static str>, now: Instant, target: &'static str) -> (LeaseId, ConnId) {
    let lease = want(pool, now, target);
    let conn = dial(pool, now);
    pool.connected(now, conn);
    assert_eq!(orders(pool, now), [Order::Grant { lease, conn, reused: false }]);
    (lease, conn)
}

#[test]
fn the_connection_used_last_is_used_first() {
    let mut pool = pool(PoolConfig::new());
    let (a, first) = granted(&mut pool, at(0), "x");
    let (b, second) = granted(&mut pool, at(0), "x");
    assert!(pool.release(at(1), a, true) && pool.release(at(2), b, true));
    let c = want(&mut pool, at(3), "x");
    assert_eq!(orders(&mut pool, at(3)), [Order::Grant { lease: c, conn: second, reused: true }]);
    let d = want(&mut pool, at(3), "x");
    assert_eq!(orders(&mut pool, at(3)), [Order::Grant { lease: d, conn: first, reused: true }]);
    assert_eq!((pool.stats().reused, pool.stats().reuse_percent()), (2, 50));
}

#[test]
fn callers_of_a_full_target_are_served_in_the_order_they_came() {
    let mut pool = pool(PoolConfig::new().per_target(1));
    let (mut user, conn) = granted(&mut pool, at(0), "x");
    let queue = [1, 2, 3].map(|n| want(&mut pool, at(n), "x"));
    assert_eq!(orders(&mut pool, at(3)), []);
    for next in queue {
        assert!(pool.release(at(4), user, true));
        assert_eq!(orders(&mut pool, at(4)), [Order::Grant { lease: next, conn, reused: true }]);
        user = next;
    }
}

#[test]
fn a_caller_is_refused_at_its_own_deadline_and_waiting_again_does_not_move_it() {
    let mut pool = pool(PoolConfig::new().per_target(1));
    granted(&mut pool, at(0), "x");
    let lease = pool.acquire(at(0), "x", at(5)).expect("room");
    assert_eq!(pool.deadline().map(|d| (d.at, d.reason.as_str())), Some((at(5), "pool-waiting")));
    pool.handle_timeout(at(4));
    assert_eq!(orders(&mut pool, at(4)), []);
    assert_eq!(orders(&mut pool, at(5)), [Order::Refuse { lease, why: Refusal::TimedOut }]);
    assert_eq!(orders(&mut pool, at(6)), []);
}

#[test]
fn the_queue_of_callers_is_bounded() {
    let mut pool = pool(PoolConfig::new().per_target(1).waiting(2));
    granted(&mut pool, at(0), "x");
    want(&mut pool, at(0), "x");
    let second = want(&mut pool, at(0), "x");
    let full = Err(Refusal::QueueFull { limit: 2 });
    assert_eq!(pool.acquire(at(0), "x", at(9)), full);
    // One that was refused and does not know it yet still has its place.
    pool.handle_timeout(at(60));
    assert_eq!(pool.acquire(at(60), "x", at(99)), full);
    assert!(pool.cancel(at(60), second));
    assert!(pool.acquire(at(60), "x", at(99)).is_ok());
}

#[test]
fn nothing_is_given_out_after_its_fin_its_error_or_an_unsolicited_byte() {
    let cases = [
        (Loss::PeerFinished, CloseReason::PeerFinished),
        (Loss::Unsolicited, CloseReason::Unsolicited),
        (Loss::Failed, CloseReason::Failed),
        (Loss::GoingAway, CloseReason::GoingAway),
    ];
    for (loss, why) in cases {
        let mut pool = pool(PoolConfig::new());
        let (user, conn) = granted(&mut pool, at(0), "x");
        pool.release(at(1), user, true);
        let next = want(&mut pool, at(2), "x");
        // The caller waits, the connection is there, and nobody took the order: the FIN still comes in time.
        pool.lost(at(2), conn, loss);
        let told = orders(&mut pool, at(2));
        let [Order::Close { conn: closed, why: told_why }, Order::Dial { conn: fresh, .. }] = told[..] else {
            panic!("{told:?}")
        };
        assert_eq!((closed, told_why), (conn, why));
        pool.connected(at(3), fresh);
        assert_eq!(orders(&mut pool, at(3)), [Order::Grant { lease: next, conn: fresh, reused: false }]);
    }
}

#[test]
fn what_was_lost_in_use_is_closed_after_its_last_user() {
    let mut pool = pool(PoolConfig::new());
    let (user, conn) = granted(&mut pool, at(0), "x");
    pool.lost(at(1), conn, Loss::PeerFinished);
    assert_eq!(orders(&mut pool, at(1)), []);
    pool.release(at(2), user, true);
    assert_eq!(orders(&mut pool, at(2)), [Order::Close { conn, why: CloseReason::PeerFinished }]);
    assert_eq!(pool.stats().idle, 0);
}

#[test]
fn a_caller_whose_connection_was_stale_keeps_its_place() {
    let mut pool = pool(PoolConfig::new().per_target(2));
    let (a, first) = granted(&mut pool, at(0), "x");
    let (_, _) = granted(&mut pool, at(0), "x");
    pool.release(at(1), a, true);
    let (early, late) = (want(&mut pool, at(2), "x"), want(&mut pool, at(2), "x"));
    assert_eq!(orders(&mut pool, at(2)), [Order::Grant { lease: early, conn: first, reused: true }]);
    assert!(pool.stale(at(2), early, Loss::PeerFinished));
    assert_eq!(orders(&mut pool, at(2)), [Order::Close { conn: first, why: CloseReason::PeerFinished }]);
    pool.closed(at(3), first, Some(Side::Peer));
    let conn = dial(&mut pool, at(3));
    pool.connected(at(3), conn);
    assert_eq!(orders(&mut pool, at(3)), [Order::Grant { lease: early, conn, reused: false }]);
    // Freshly dialled and dead: that is a dial that failed, not a reason to dial for ever.
    assert!(pool.stale(at(3), early, Loss::Failed));
    let told = orders(&mut pool, at(3));
    assert!(told.contains(&Order::Refuse { lease: early, why: Refusal::DialFailed }), "{told:?}");
    assert!(!pool.cancel(at(3), early) && pool.cancel(at(3), late));
    assert_eq!((pool.stats().stale, pool.stats().reused), (2, 0));
}

#[test]
fn facts_of_an_old_generation_change_nothing() {
    let mut pool = pool(PoolConfig::new());
    let (user, old) = granted(&mut pool, at(0), "x");
    pool.release(at(0), user, false);
    orders(&mut pool, at(0));
    pool.closed(at(0), old, Some(Side::Peer));
    let (user, new) = granted(&mut pool, at(1), "x");
    assert_eq!((old.index, old.generation + 1), (new.index, new.generation));
    pool.release(at(1), user, true);
    let before = pool.stats();
    for loss in [Loss::PeerFinished, Loss::Unsolicited, Loss::Failed, Loss::GoingAway] {
        pool.lost(at(1), old, loss);
    }
    pool.closed(at(1), old, Some(Side::Local));
    pool.dial_failed(at(1), old);
    pool.connected(at(1), old);
    pool.probed(at(1), old, false);
    pool.set_capacity(at(1), old, 9);
    assert!(!pool.release(at(1), user, false), "released before");
    assert_eq!((orders(&mut pool, at(1)), pool.stats()), (Vec::new(), before));
}

#[test]
fn a_failed_dial_answers_the_caller_that_waits_longest_and_only_that() {
    let mut pool = pool(PoolConfig::new());
    let (a, b) = (want(&mut pool, at(0), "x"), want(&mut pool, at(0), "x"));
    let dials = orders(&mut pool, at(0));
    let [Order::Dial { conn: first, .. }, Order::Dial { conn: second, .. }] = dials[..] else { panic!("{dials:?}") };
    pool.dial_failed(at(1), second);
    assert_eq!(orders(&mut pool, at(1)), [Order::Refuse { lease: a, why: Refusal::DialFailed }]);
    pool.connected(at(1), first);
    assert_eq!(orders(&mut pool, at(1)), [Order::Grant { lease: b, conn: first, reused: false }]);
}

#[test]
fn a_dial_without_an_answer_is_given_up_and_may_still_fail_late() {
    let mut pool = pool(PoolConfig::new().dial_within(3 * SECOND));
    let lease = want(&mut pool, at(0), "x");
    let conn = dial(&mut pool, at(0));
    assert_eq!(
        orders(&mut pool, at(3)),
        [Order::Close { conn, why: CloseReason::DialTimedOut }, Order::Refuse { lease, why: Refusal::DialFailed }]
    );
    pool.connected(at(3), conn);
    assert_eq!(pool.stats().idle, 0, "too late");
    pool.dial_failed(at(4), conn);
    assert_eq!((pool.stats().open, pool.stats().dials_failed), (0, 1));
}

#[test]
fn idle_and_old_connections_are_closed_and_jitter_spreads_it() {
    let mut plain = pool(PoolConfig::new().idle(Some(10 * SECOND)).life(Some(25 * SECOND)));
    let (user, conn) = granted(&mut plain, at(0), "x");
    plain.release(at(1), user, true);
    assert_eq!(plain.deadline().map(|d| d.at), Some(at(11)));
    assert_eq!(orders(&mut plain, at(11)), [Order::Close { conn, why: CloseReason::Idle }]);
    plain.closed(at(11), conn, None);

    let (user, conn) = granted(&mut plain, at(20), "x");
    // Used up to its old age, and beyond: it is closed when its user leaves.
    assert_eq!(orders(&mut plain, at(50)), []);
    plain.release(at(51), user, true);
    assert_eq!(orders(&mut plain, at(51)), [Order::Close { conn, why: CloseReason::Life }]);

    let mut jittered: Pool<&str> = Pool::new(PoolConfig::new().idle(Some(100 * SECOND)), 3).expect("works");
    let users: Vec<_> = (0..50).map(|_| granted(&mut jittered, at(0), "x").0).collect();
    users.iter().for_each(|user| assert!(jittered.release(at(0), *user, true)));
    let mut ends = Vec::new();
    while let Some(deadline) = jittered.deadline() {
        ends.push(deadline.at);
        jittered.handle_timeout(deadline.at);
    }
    let inside = ends.iter().all(|end| (at(80)..=at(100)).contains(end));
    assert!(inside && ends.len() > 45 && ends[0] < at(85) && ends[ends.len() - 1] > at(95), "{ends:?}");
}

#[test]
fn several_users_share_a_connection_up_to_its_limit() {
    let mut pool = pool(PoolConfig::new().users_per_connection(2));
    let callers = [(); 3].map(|()| want(&mut pool, at(0), "x"));
    let dials = orders(&mut pool, at(0));
    let [Order::Dial { conn: first, .. }, Order::Dial { conn: second, .. }] = dials[..] else { panic!("{dials:?}") };
    pool.connected(at(0), first);
    let grant = |lease, conn, reused| Order::Grant { lease, conn, reused };
    assert_eq!(orders(&mut pool, at(0)), [grant(callers[0], first, false), grant(callers[1], first, true)]);
    // The peer takes one more.
    pool.set_capacity(at(0), first, 3);
    assert_eq!(orders(&mut pool, at(0)), [grant(callers[2], first, true)]);
    // A connection that one of its users found broken takes no more, and goes with the last.
    pool.release(at(1), callers[0], false);
    let next = want(&mut pool, at(1), "x");
    pool.connected(at(1), second);
    assert_eq!(orders(&mut pool, at(1)), [grant(next, second, false)]);
    pool.release(at(2), callers[1], true);
    assert_eq!(orders(&mut pool, at(2)), []);
    pool.release(at(2), callers[2], true);
    assert_eq!(orders(&mut pool, at(2)), [Order::Close { conn: first, why: CloseReason::Discarded }]);
}

#[test]
fn what_was_idle_for_long_is_probed_first() {
    let mut pool = pool(PoolConfig::new().probe_after(Some(10 * SECOND)).probe_within(2 * SECOND));
    let (user, conn) = granted(&mut pool, at(0), "x");
    pool.release(at(0), user, true);
    let soon = want(&mut pool, at(9), "x");
    assert_eq!(orders(&mut pool, at(9)), [Order::Grant { lease: soon, conn, reused: true }]);
    pool.release(at(9), soon, true);
    let late = want(&mut pool, at(19), "x");
    assert_eq!(orders(&mut pool, at(19)), [Order::Probe { conn, deadline: at(21) }]);
    pool.probed(at(20), conn, true);
    assert_eq!(orders(&mut pool, at(20)), [Order::Grant { lease: late, conn, reused: true }]);
    pool.release(at(20), late, true);
    let last = want(&mut pool, at(40), "x");
    assert_eq!(orders(&mut pool, at(40)), [Order::Probe { conn, deadline: at(42) }]);
    let told = orders(&mut pool, at(42));
    let [Order::Close { conn: dead, why: CloseReason::ProbeFailed }, Order::Dial { conn: fresh, .. }] = told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(dead, conn);
    pool.connected(at(42), fresh);
    assert_eq!(orders(&mut pool, at(42)), [Order::Grant { lease: last, conn: fresh, reused: false }]);
}

#[test]
fn a_warm_target_has_its_connections_before_anybody_asks() {
    let mut pool = pool(PoolConfig::new().idle(Some(10 * SECOND)).life(Some(45 * SECOND)));
    pool.keep_warm(at(0), "x", 1);
    let conn = dial(&mut pool, at(0));
    // Nobody listens: it is tried again after a pause, not at once.
    pool.dial_failed(at(0), conn);
    assert_eq!(orders(&mut pool, at(0)), []);
    let conn = dial(&mut pool, at(1));
    pool.connected(at(1), conn);
    assert_eq!(orders(&mut pool, at(40)), [], "kept beyond its idle time");
    let told = orders(&mut pool, at(46));
    let [Order::Close { why: CloseReason::Life, .. }, Order::Dial { conn, .. }] = told[..] else { panic!("{told:?}") };
    // A peer that takes connections and drops them is not dialled as fast as it can.
    pool.connected(at(46), conn);
    pool.lost(at(46), conn, Loss::PeerFinished);
    assert_eq!(orders(&mut pool, at(46)), [Order::Close { conn, why: CloseReason::PeerFinished }]);
    dial(&mut pool, at(47));
    pool.keep_warm(at(47), "x", 0);
    assert_eq!(orders(&mut pool, at(47)), []);
}

#[test]
fn a_full_pool_makes_room_by_closing_what_was_unused_longest() {
    let mut pool = pool(PoolConfig::new().total(2));
    let (a, old) = granted(&mut pool, at(0), "a");
    let (b, _) = granted(&mut pool, at(0), "b");
    pool.release(at(1), a, true);
    pool.release(at(2), b, true);
    let caller = want(&mut pool, at(3), "c");
    assert_eq!(orders(&mut pool, at(3)), [Order::Close { conn: old, why: CloseReason::MadeRoom }], "one is enough");
    pool.closed(at(4), old, Some(Side::Local));
    let conn = dial(&mut pool, at(4));
    pool.connected(at(4), conn);
    assert_eq!(orders(&mut pool, at(4)), [Order::Grant { lease: caller, conn, reused: false }]);
}

#[test]
fn a_full_pool_serves_callers_of_all_targets_in_the_order_they_came() {
    let mut pool = pool(PoolConfig::new().total(1));
    let (mut user, mut conn) = granted(&mut pool, at(0), "a");
    // There is always somebody who wants the connection of `a` again; who waits for `b` came before.
    let waits = want(&mut pool, at(1), "b");
    let next = want(&mut pool, at(2), "a");
    assert_eq!(orders(&mut pool, at(2)), []);
    pool.release(at(3), user, true);
    assert_eq!(orders(&mut pool, at(3)), [Order::Close { conn, why: CloseReason::MadeRoom }]);
    pool.closed(at(3), conn, Some(Side::Local));
    conn = dial(&mut pool, at(3));
    pool.connected(at(4), conn);
    assert_eq!(orders(&mut pool, at(4)), [Order::Grant { lease: waits, conn, reused: false }]);
    // The other way round it is the same.
    user = waits;
    want(&mut pool, at(5), "b");
    pool.release(at(6), user, true);
    assert_eq!(orders(&mut pool, at(6)), [Order::Close { conn, why: CloseReason::MadeRoom }]);
    pool.closed(at(6), conn, Some(Side::Local));
    conn = dial(&mut pool, at(6));
    pool.connected(at(7), conn);
    assert_eq!(orders(&mut pool, at(7)), [Order::Grant { lease: next, conn, reused: false }]);
}

#[test]
fn who_came_later_waits_for_no_room_and_takes_none() {
    let mut pool = pool(PoolConfig::new().total(2));
    let (a, first) = granted(&mut pool, at(0), "a");
    let (b, second) = granted(&mut pool, at(0), "b");
    let earlier = want(&mut pool, at(1), "a");
    want(&mut pool, at(2), "c");
    pool.release(at(3), a, true);
    assert_eq!(orders(&mut pool, at(3)), [Order::Grant { lease: earlier, conn: first, reused: true }]);
    let later = want(&mut pool, at(3), "b");
    assert_eq!(orders(&mut pool, at(3)), []);
    pool.release(at(4), b, true);
    // One close makes one place: who comes behind it is served as ever.
    assert_eq!(orders(&mut pool, at(4)), [Order::Close { conn: second, why: CloseReason::MadeRoom }]);
    pool.release(at(5), earlier, true);
    assert_eq!(orders(&mut pool, at(5)), [Order::Close { conn: first, why: CloseReason::MadeRoom }], "for {later:?}");
}

#[test]
fn draining_refuses_who_waits_and_closes_the_rest_as_it_comes_free() {
    let mut pool = pool(PoolConfig::new().per_target(1));
    let (user, used) = granted(&mut pool, at(0), "x");
    let (other, unused) = granted(&mut pool, at(0), "y");
    pool.release(at(0), other, true);
    let waits = want(&mut pool, at(0), "x");
    want(&mut pool, at(0), "z");
    let dialled = dial(&mut pool, at(0));
    pool.drain(at(1));
    assert_eq!(pool.acquire(at(1), "x", at(9)), Err(Refusal::Draining));
    let told = orders(&mut pool, at(1));
    for order in [
        Order::Close { conn: unused, why: CloseReason::Drained },
        Order::Close { conn: dialled, why: CloseReason::Drained },
        Order::Refuse { lease: waits, why: Refusal::Draining },
    ] {
        assert!(told.contains(&order), "{order:?} in {told:?}");
    }
    assert_eq!(told.len(), 4);
    pool.closed(at(1), unused, None);
    pool.dial_failed(at(1), dialled);
    pool.release(at(2), user, true);
    assert_eq!(orders(&mut pool, at(2)), [Order::Close { conn: used, why: CloseReason::Drained }]);
    assert!(!pool.is_drained());
    pool.closed(at(3), used, None);
    assert!(pool.is_drained() && pool.deadline().is_none());
}

#[test]
fn only_what_is_known_unsent_is_retried_by_itself() {
    let stats = crate::Stats { accepted: 5, flushed: 2, begun: 3, ..crate::Stats::default() };
    let fates: Vec<_> = (1..=5).map(|number| Delivery::of(number, &stats)).collect();
    use Delivery::{NotSent, PossiblySent};
    assert_eq!(fates, [PossiblySent, PossiblySent, PossiblySent, NotSent, NotSent]);
    assert!(NotSent.may_retry(false) && NotSent.may_retry(true));
    assert!(!PossiblySent.may_retry(false) && PossiblySent.may_retry(true));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let zero = Pool::<&str>::new(PoolConfig::new().per_target(0), 1).err();
    assert_eq!(zero, Some(PoolConfigError::Zero { name: "per_target" }));
    // Every caller waits, if only until the next order is taken.
    let zero = Pool::<&str>::new(PoolConfig::new().waiting(0), 1).err();
    assert_eq!(zero, Some(PoolConfigError::Zero { name: "waiting" }));
    let zero = Pool::<&str>::new(PoolConfig::new().idle(Some(Duration::ZERO)), 1).err();
    assert_eq!(zero, Some(PoolConfigError::Zero { name: "idle" }));
    let jitter = Pool::<&str>::new(PoolConfig::new().jitter_percent(101), 1).err();
    assert_eq!(jitter, Some(PoolConfigError::Jitter { percent: 101 }));
}

#[test]
fn a_connection_is_not_probed_for_ever_before_it_is_given_out() {
    let why = Pool::<&str>::new(PoolConfig::new().probe_after(Some(Duration::ZERO)), 1).map(drop);
    assert_eq!(why, Err(PoolConfigError::Zero { name: "probe_after" }));
    let mut pool = pool(PoolConfig::new().probe_after(Some(Duration::from_nanos(1))));
    let (user, conn) = granted(&mut pool, at(0), "x");
    assert!(pool.release(at(0), user, true));
    let lease = want(&mut pool, at(1), "x");
    assert!(matches!(orders(&mut pool, at(1))[..], [Order::Probe { .. }]));
    pool.probed(at(1), conn, true);
    assert_eq!(orders(&mut pool, at(1)), [Order::Grant { lease, conn, reused: true }]);
}
