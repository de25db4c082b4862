//! A handler that waits for something else while its connection goes on: `drive_during`.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, Event, Timeouts};
use duologue_tests::sockets::*;
use duologue_tokio::{Connection, Options, Served, Server};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

async fn asked() -> (Connection<Frames>, TcpStream) {
    asked_with(Options::new()).await
}

/// A connection that took a question; a second one waits to be taken.
async fn asked_with(options: Options) -> (Connection<Frames>, TcpStream) {
    let (mut connection, mut peer) = accepted(frames(), options).await;
    write(&mut peer, &[frame(b"question"), frame(b"next")].concat()).await;
    assert_eq!(message(&mut connection).await, "question");
    (connection, peer)
}

#[tokio::test]
async fn what_is_queued_leaves_while_the_handler_works_and_events_wait() {
    let (mut connection, mut peer) = asked().await;
    step("queueing", connection.feed(Bytes::from_static(b"working on it"))).await.expect("room");
    let (heard, hearing) = oneshot::channel();
    let work = async move { hearing.await.expect("the peer heard it") };
    let peer_side = async {
        assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"working on it"[..]));
        heard.send(42).expect("the work waits");
    };
    let (done, ()) = step("working", async { tokio::join!(connection.drive_during(work), peer_side) }).await;
    assert_eq!(done, Some(42));
    assert_eq!(message(&mut connection).await, "next");
}

#[tokio::test]
async fn a_reset_ends_the_work() {
    let (mut connection, peer) = asked().await;
    reset(peer);
    assert_eq!(step("noticing", connection.drive_during(pending::<()>())).await, None);
    let (events, closed) = drain(&mut connection).await;
    assert_eq!(closed.cause, Cause::PeerReset);
    assert_eq!(messages(&events), ["next"], "what came before the reset can still be taken");
}

#[tokio::test]
async fn a_silent_peer_ends_the_work_by_the_idle_time_out() {
    let timeouts = Timeouts::new().idle(Some(Duration::from_millis(100)));
    let (mut connection, _peer) = asked_with(with_timeouts(timeouts)).await;
    assert_eq!(step("noticing", connection.drive_during(pending::<()>())).await, None);
    assert!(matches!(drain(&mut connection).await.1.cause, Cause::Timeout(_)));
}

#[tokio::test]
async fn a_half_close_does_not_end_the_work_and_gets_its_answer() {
    let (mut connection, mut peer) = asked().await;
    peer.shutdown().await.expect("FIN");
    let work = async {
        // Many turns of the runtime, so that the FIN is read meanwhile.
        for _ in 0..500 {
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(step("working", connection.drive_during(work)).await, Some(()));
    assert_eq!(message(&mut connection).await, "next");
    step("answering", connection.send(Bytes::from_static(b"answer"))).await.expect("the other half is open");
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"answer"[..]));
    let event = connection.next_ready();
    assert_eq!(event, Some(Event::PeerFinished), "the FIN came while the handler worked");
}

#[tokio::test]
async fn a_drain_by_the_server_ends_the_work() {
    let (begun, mut begins) = mpsc::channel(1);
    let (ended, mut ends) = mpsc::channel(1);
    let server = Server::bind("127.0.0.1:0", Options::new()).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    let running = tokio::spawn(server.serve(
        |_| frames(),
        move |mut connection: Served<Frames>| {
            let (begun, ended) = (begun.clone(), ended.clone());
            async move {
                connection.next_event().await;
                begun.send(()).await.expect("the test listens");
                let done = connection.drive_during(pending::<()>()).await;
                ended.send(done).await.expect("the test listens");
                while connection.next_event().await.is_some() {}
            }
        },
    ));
    let mut peer = TcpStream::connect(address).await.expect("connected");
    write(&mut peer, &frame(b"question")).await;
    step("beginning", begins.recv()).await.expect("begun");
    handle.drain(Duration::from_secs(10));
    assert_eq!(step("ending", ends.recv()).await, Some(None));
    drop(peer);
    assert_eq!(step("the drain", running).await.expect("no panic").left, []);
}
