//! A pool on real sockets: reuse, bounds, and no connection whose end was there to be seen.

use std::time::Duration;

use bytes::Bytes;
use duologue_core::Event;
use duologue_core::pool::{AtPortLimit, PoolConfig, PortBudget, Refusal};
use duologue_tests::sockets::*;
use duologue_tokio::{Options, PoolClient, PoolError, PoolOptions, Pooled, Server, ServerHandle, ephemeral_ports};
use tokio::io::AsyncWriteExt;

fn pool(config: PoolConfig) -> PoolClient<Frames> {
    PoolClient::new(|_| frames(), PoolOptions::new().pool(config).acquire_within(STEP)).expect("a pool")
}

async fn acquire(pool: &PoolClient<Frames>, target: &str) -> Pooled<Frames> {
    step("acquiring", pool.acquire(target)).await.expect("a connection")
}

async fn ask(connection: &mut Pooled<Frames>, question: &'static [u8]) {
    step("asking", connection.send(Bytes::from_static(question))).await.expect("sent");
    let answer = step("the answer", connection.next_event()).await;
    assert_eq!(answer, Some(Event::App(Bytes::from_static(question))));
}

async fn echo_server() -> (String, ServerHandle) {
    let server = Server::bind("127.0.0.1:0", Options::new()).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    tokio::spawn(server.serve(
        |_| frames(),
        |mut connection| async move {
            while let Some(event) = connection.next_event().await {
                if let Event::App(message) = event {
                    let _ = connection.send(message).await;
                }
            }
        },
    ));
    (address.to_string(), handle)
}

#[tokio::test]
async fn a_thousand_requests_of_eight_callers_open_eight_connections() {
    let (target, server) = echo_server().await;
    let pool = pool(PoolConfig::new().per_target(8));
    let callers = (0..8).map(|_| {
        let (pool, target) = (pool.clone(), target.clone());
        tokio::spawn(async move {
            for _ in 0..125 {
                let mut connection = acquire(&pool, &target).await;
                ask(&mut connection, b"question").await;
                connection.release();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        step("a caller", caller).await.unwrap();
    }
    let stats = pool.stats();
    assert!(stats.dialled <= 8 && server.stats().accepted == stats.dialled, "{stats:?}");
    assert_eq!((stats.granted, stats.reused), (1000, 1000 - stats.dialled));
    pool.drain();
    until("the server's side", || server.stats().open == 0).await;
    until("the pool's side", || pool.stats().open == 0).await;
    assert_eq!(acquire_error(&pool, &target).await, PoolError::Refused(Refusal::Draining));
    let stats = pool.stats();
    assert_eq!(stats.closed_by_us, stats.dialled, "we said goodbye first: {stats:?}");
}

async fn acquire_error(pool: &PoolClient<Frames>, target: &str) -> PoolError {
    step("refusing", pool.acquire(target)).await.expect_err("refused")
}

#[tokio::test]
async fn waiting_callers_share_what_there_is_and_a_dropped_wait_passes_its_turn_on() {
    let (target, server) = echo_server().await;
    let pool = pool(PoolConfig::new().per_target(1));
    let mut first = acquire(&pool, &target).await;
    let mut dropped = Box::pin(pool.acquire(&target));
    assert!(futures_util::poll!(&mut dropped).is_pending());
    let mut second = Box::pin(pool.acquire(&target));
    assert!(futures_util::poll!(&mut second).is_pending());
    ask(&mut first, b"1").await;
    first.release();
    // It was given the connection, and does not look any more.
    drop(dropped);
    let mut second = step("its turn", second).await.unwrap();
    ask(&mut second, b"2").await;
    drop(second);
    let mut third = acquire(&pool, &target).await;
    assert!(!third.is_reused(), "what was dropped in the middle is not given out");
    ask(&mut third, b"3").await;
    assert_eq!(server.stats().accepted, 2);
}

#[tokio::test]
async fn a_connection_whose_end_or_noise_is_there_to_be_read_is_never_given_out() {
    let (listener, address) = listen().await;
    let target = address.to_string();
    let pool = pool(PoolConfig::new());
    for round in 0..300 {
        let (mut connection, accepted) = tokio::join!(acquire(&pool, &target), step("accepting", listener.accept()));
        let (mut peer, _) = accepted.unwrap();
        assert!(!connection.is_reused(), "round {round}");
        step("asking", connection.send(Bytes::from_static(b"?"))).await.unwrap();
        read_frame(&mut peer).await.unwrap();
        write(&mut peer, &frame(b"!")).await;
        step("the answer", connection.next_event()).await;
        // The end comes while it is in use, while it is unused, or as it is given back.
        let before = round % 2 == 0;
        if !before {
            connection.release();
            if round % 4 == 1 {
                tokio::task::yield_now().await;
            }
            match round % 3 {
                0 => drop(peer),
                1 => peer.shutdown().await.unwrap(),
                _ => write(&mut peer, b"\0").await,
            }
        } else {
            match round % 3 {
                0 => reset(peer),
                1 => drop(peer),
                _ => write(&mut peer, &frame(b"not asked for")).await,
            }
            connection.release();
        }
    }
    let stats = pool.stats();
    assert_eq!((stats.reused, stats.granted), (0, 300), "{stats:?}");
}

#[tokio::test]
async fn what_ends_while_nobody_uses_it_is_closed_at_once() {
    let (listener, address) = listen().await;
    let pool = pool(PoolConfig::new());
    let target = address.to_string();
    let (connection, accepted) = tokio::join!(acquire(&pool, &target), listener.accept());
    let (mut peer, _) = accepted.unwrap();
    connection.release();
    assert_eq!(pool.stats().idle, 1);
    peer.shutdown().await.unwrap();
    let (rest, end) = read_to_end(&mut peer).await;
    assert!(rest.is_empty() && end.is_ok(), "our FIN follows the peer's, without a caller: {end:?}");
    until("the pool hears", || pool.stats().open == 0).await;
    assert_eq!((pool.stats().closed_by_peer, pool.stats().in_time_wait), (1, 0));
}

#[tokio::test]
async fn idle_connections_are_closed_and_warm_ones_made() {
    let (target, server) = echo_server().await;
    let pool = pool(PoolConfig::new().idle(Some(Duration::from_millis(50))));
    acquire(&pool, &target).await.release();
    until("it idles out", || pool.stats().open == 0).await;
    pool.keep_warm(&target, 2);
    until("two are warm", || pool.stats().idle == 2).await;
    until("they stay", || server.stats().accepted == 3 && pool.stats().idle == 2).await;
    let warm = acquire(&pool, &target).await;
    assert!(!warm.is_reused());
    drop(pool);
    drop(warm);
    until("the last client closed the pool", || server.stats().open == 0).await;
}

#[tokio::test]
async fn a_dial_that_fails_and_a_wait_that_is_too_long_are_told() {
    let (listener, address) = listen().await;
    drop(listener);
    let failed = acquire_error(&pool(PoolConfig::new()), &address.to_string()).await;
    assert!(matches!(&failed, PoolError::Dial { why } if why.contains("refused")), "{failed:?}");

    let (target, _server) = echo_server().await;
    let options = PoolOptions::new().pool(PoolConfig::new().per_target(1)).acquire_within(Duration::from_millis(40));
    let pool = PoolClient::new(|_| frames(), options).unwrap();
    let _used = acquire(&pool, &target).await;
    assert_eq!(acquire_error(&pool, &target).await, PoolError::Refused(Refusal::TimedOut));
}

#[tokio::test]
async fn the_port_budget_refuses_before_the_system_does() {
    assert!(ephemeral_ports().is_none_or(|ports| ports > 100), "{:?}", ephemeral_ports());
    let (target, _server) = echo_server().await;
    let ports = PortBudget { limit: 5, at_limit: AtPortLimit::Refuse, ..PortBudget::default() };
    let pool = pool(PoolConfig::new().ports(ports));
    for _ in 0..5 {
        acquire(&pool, &target).await.discard();
        until("closed", || pool.stats().open == 0).await;
    }
    assert_eq!((pool.stats().closed_by_us, pool.stats().in_time_wait), (5, 5));
    let refused = acquire_error(&pool, &target).await;
    let PoolError::Refused(Refusal::PortsExhausted { in_time_wait: 5, open: 0, limit: 5, retry_at: Some(_), .. }) =
        refused
    else {
        panic!("{refused:?}")
    };
}
