//! The port budget: who closed first, and what that costs.

use super::*;

fn budget(limit: u32, at_limit: AtPortLimit) -> PoolConfig {
    PoolConfig::new().ports(PortBudget { limit, at_limit, ..PortBudget::default() })
}

/// A connection that is used once and ends with `first`'s FIN.
fn use_once(pool: &mut Pool<&'static str>, now: Instant, first: Option<Side>) {
    let (user, conn) = granted(pool, now, "x");
    pool.release(now, user, false);
    assert_eq!(orders(pool, now), [Order::Close { conn, why: CloseReason::Discarded }]);
    pool.closed(now, conn, first);
}

#[test]
fn only_our_fin_first_takes_a_port_beyond_the_end() {
    let mut pool = pool(budget(3, AtPortLimit::Refuse));
    for _ in 0..20 {
        use_once(&mut pool, at(0), Some(Side::Peer));
        use_once(&mut pool, at(0), None);
    }
    assert_eq!(pool.stats().in_time_wait, 0);
    use_once(&mut pool, at(0), Some(Side::Local));
    use_once(&mut pool, at(5), Some(Side::Local));
    let stats = pool.stats();
    assert_eq!((stats.in_time_wait, stats.closed_by_us, stats.closed_by_peer, stats.closed_by_reset), (2, 2, 20, 20));
    // Two in TIME_WAIT and one open make three.
    granted(&mut pool, at(6), "x");
    let lease = want(&mut pool, at(6), "x");
    let why = Refusal::PortsExhausted { target: "x", in_time_wait: 2, open: 1, limit: 3, retry_at: Some(at(60)) };
    assert_eq!(orders(&mut pool, at(6)), [Order::Refuse { lease, why }]);
    // Another target has ports of its own.
    granted(&mut pool, at(6), "y");
    // The first port is free again exactly after its time.
    let early = want(&mut pool, at(59), "x");
    assert!(matches!(orders(&mut pool, at(59))[..], [Order::Refuse { lease, .. }] if lease == early));
    granted(&mut pool, at(60), "x");
}

#[test]
fn who_has_no_port_is_refused_at_once_also_while_others_wait_for_room() {
    let mut pool = pool(budget(1, AtPortLimit::Refuse).total(2).per_target(4));
    use_once(&mut pool, at(0), Some(Side::Local));
    granted(&mut pool, at(1), "y");
    granted(&mut pool, at(1), "z");
    want(&mut pool, at(2), "w");
    assert_eq!(orders(&mut pool, at(2)), [], "the pool is full");
    let lease = want(&mut pool, at(2), "x");
    let why = Refusal::PortsExhausted { target: "x", in_time_wait: 1, open: 0, limit: 1, retry_at: Some(at(60)) };
    assert_eq!(orders(&mut pool, at(2)), [Order::Refuse { lease, why }]);
}

#[test]
fn a_caller_may_wait_for_a_port() {
    let mut pool = pool(budget(1, AtPortLimit::Queue));
    use_once(&mut pool, at(0), Some(Side::Local));
    let lease = pool.acquire(at(40), "x", at(100)).expect("room");
    assert_eq!(orders(&mut pool, at(40)), []);
    assert_eq!(pool.deadline().map(|d| (d.at, d.reason.as_str())), Some((at(60), "pool-ports")));
    let conn = dial(&mut pool, at(60));
    pool.connected(at(60), conn);
    assert_eq!(orders(&mut pool, at(60)), [Order::Grant { lease, conn, reused: false }]);
}

#[test]
fn what_is_known_of_a_target_is_forgotten_after_its_last_port() {
    let mut pool = pool(PoolConfig::new());
    use_once(&mut pool, at(0), Some(Side::Local));
    assert_eq!((pool.targets.len(), pool.deadline().map(|d| d.at)), (1, Some(at(60))));
    pool.handle_timeout(at(60));
    assert_eq!((pool.targets.len(), pool.deadline()), (0, None));
}

#[test]
fn ports_that_are_free_again_are_not_counted_while_others_follow() {
    let mut pool = pool(PoolConfig::new());
    for second in 0..600 {
        use_once(&mut pool, at(second), Some(Side::Local));
    }
    assert_eq!(pool.stats().in_time_wait, 60);
}
