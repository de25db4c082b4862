//! Peers that are connected and dead, found with bytes in flight and with none, on both roles (field case F2, L5).

use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::framed::Heartbeat;
use duologue_core::{Cause, Config, Event, Keepalive, Limits, Protocol, TimeoutReason, Timeouts};
use duologue_tests::sockets::*;
use duologue_tokio::{Connection, Options, SendError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const BOUND: Duration = Duration::from_millis(300);

async fn end_of<P: Protocol<Event = Bytes>>(connection: &mut Connection<P>) -> Cause<P::Violation> {
    step("the end", connection.closed()).await.cause
}

fn in_time(start: Instant) {
    assert!((BOUND..BOUND * 10).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_found_by_the_write_stall_on_both_roles() {
    let timeouts = Timeouts::new().write_stall(Some(BOUND));
    let config = Config::new().timeouts(timeouts).limits(Limits::new().send_buffer(24 << 20));
    let roles =
        [dialled(frames(), with_config(config.clone())).await, accepted(frames(), with_config(config.clone())).await];
    for (mut connection, peer) in roles {
        while connection.try_send(Bytes::from(vec![0; 100_000])).is_ok() {}
        let start = Instant::now();
        assert_eq!(end_of(&mut connection).await, Cause::Timeout(TimeoutReason::WriteStall));
        in_time(start);
        drop(peer);
    }
}

#[tokio::test]
async fn a_send_that_waits_for_room_is_told_of_the_stall() {
    let config = Config::new().timeouts(Timeouts::new().write_stall(Some(BOUND)));
    let (mut connection, _peer) = accepted(frames(), with_config(config)).await;
    let start = Instant::now();
    let payload = Bytes::from(vec![7; 100_000]);
    let refused = step("sending", async {
        loop {
            if let Err(refused) = connection.send(payload.clone()).await {
                return refused;
            }
        }
    })
    .await;
    assert!(matches!(&refused, SendError::Refused(r) if !r.is_temporary()), "{refused}");
    assert_eq!(refused.into_command(), payload);
    in_time(start);
    assert_eq!(end_of(&mut connection).await, Cause::Timeout(TimeoutReason::WriteStall));
}

#[tokio::test]
async fn a_send_waits_for_room_only_so_long_and_gives_the_message_back() {
    let (mut connection, mut peer) = dialled(frames(), Options::new().send_within(BOUND)).await;
    let payload = Bytes::from(vec![7; 100_000]);
    let mut sent = 0;
    let start = loop {
        let start = Instant::now();
        match step("sending", connection.send(payload.clone())).await {
            Ok(()) => sent += 1,
            Err(SendError::TimedOut { command, waited }) => {
                assert_eq!((command, waited), (payload, BOUND));
                break start;
            }
            Err(other) => panic!("{other}"),
        }
    };
    in_time(start);
    // The connection is as good as before: the peer reads, and there is room again.
    let reading = tokio::spawn(async move { read_to_end(&mut peer).await });
    step("sending", connection.send(Bytes::from_static(b"last"))).await.unwrap();
    connection.finish();
    step("flushing", connection.flush()).await;
    drop(connection);
    assert_eq!(parse(&step("the peer", reading).await.unwrap().0).0.len(), sent + 1);
}

async fn silence_is_found((mut connection, _peer): (Connection<Chat>, TcpStream)) {
    let start = Instant::now();
    assert_eq!(end_of(&mut connection).await, Cause::Timeout(TimeoutReason::KeepaliveReply));
    in_time(start);
}

fn probing() -> Options {
    with_timeouts(Timeouts::new().keepalive(Some(Keepalive { quiet: BOUND / 2, reply: BOUND / 2 })))
}

#[tokio::test]
async fn a_silent_peer_is_found_by_the_probe_on_both_roles() {
    silence_is_found(dialled(Chat::new(false), probing()).await).await;
    silence_is_found(accepted(Chat::new(false), probing()).await).await;
}

#[tokio::test]
async fn a_peer_that_answers_the_probes_is_alive_until_it_stops() {
    let (mut connection, mut peer) = accepted(Chat::new(false), probing()).await;
    let answering = tokio::spawn(async move {
        let mut probe = [0; 5];
        for _ in 0..4 {
            step("a probe", peer.read_exact(&mut probe)).await.expect("a probe");
            assert_eq!(&probe, b"PING\n");
            write(&mut peer, b"pong\n").await;
        }
        peer
    });
    let start = Instant::now();
    let mut pongs = 0;
    let cause = loop {
        match step("an event", connection.next_event()).await {
            Some(Event::App(_)) => pongs += 1,
            Some(Event::Closed(closed)) => break closed.cause,
            _ => {}
        }
    };
    assert_eq!((pongs, cause), (4, Cause::Timeout(TimeoutReason::KeepaliveReply)));
    assert!(start.elapsed() >= BOUND / 2 * 5);
    drop(step("the peer", answering).await.unwrap());
}

fn beating() -> Frames {
    let heartbeat = Heartbeat::new(Bytes::from_static(b"beat")).send_after(BOUND / 6).expect_within(BOUND);
    frames().heartbeat(heartbeat)
}

#[tokio::test]
async fn heartbeats_keep_a_quiet_session_and_find_a_peer_that_took_everything_and_hangs() {
    let (mut ours, stream) = dialled(beating(), Options::new()).await;
    let mut theirs = Connection::accept(stream, beating(), &Options::new()).unwrap();
    // Both sides beat: nothing is delivered and nothing ends, for longer than either would wait.
    let quiet = async { tokio::join!(ours.next_event(), theirs.next_event()) };
    assert!(tokio::time::timeout(BOUND * 3, quiet).await.is_err());
    // The peer's kernel takes everything, and the peer does nothing any more: nothing is in flight.
    let start = Instant::now();
    assert_eq!(end_of(&mut ours).await, Cause::Timeout(TimeoutReason::KeepaliveReply));
    assert!(start.elapsed() < BOUND * 10);
    // The hanging side finds out as soon as it runs again.
    assert!(!end_of(&mut theirs).await.is_orderly());
}

#[tokio::test]
async fn an_accepting_side_expects_heartbeats_too() {
    let (mut connection, mut peer) = accepted(beating(), Options::new()).await;
    let start = Instant::now();
    assert_eq!(end_of(&mut connection).await, Cause::Timeout(TimeoutReason::KeepaliveReply));
    in_time(start);
    let (wire, result) = read_to_end(&mut peer).await;
    assert!(parse(&wire).0.iter().all(|payload| payload == b"beat"));
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_application_that_takes_no_messages_does_not_make_the_peer_dead() {
    let heartbeat = Heartbeat::new(Bytes::from_static(b"beat")).expect_within(BOUND);
    let limits = Limits::new().recv_buffer(140_000);
    let (mut connection, mut peer) =
        accepted(frames().heartbeat(heartbeat), with_config(Config::new().limits(limits))).await;
    let pushing = tokio::spawn(async move {
        let message = frame(&[1; 100_000]);
        for _ in 0..50 {
            tokio::io::AsyncWriteExt::write_all(&mut peer, &message).await.expect("written");
        }
        peer
    });
    // The receive buffer is full, and stays so for longer than a heartbeat is expected within.
    for _ in 0..5 {
        tokio::time::sleep(BOUND / 3).await;
        let _ = futures_util::FutureExt::now_or_never(connection.flush());
    }
    for _ in 0..50 {
        assert_eq!(message(&mut connection).await.len(), 100_000);
    }
    drop(step("the peer", pushing).await.unwrap());
}
