//! Half-close in both orders: `finish` is a FIN after the last byte, and receiving goes on (field case F4, L2, L6).

use bytes::Bytes;
use duologue_core::{Cause, Config, Event, OnPeerFinish, SendError, Side};
use duologue_tests::sockets::*;
use duologue_tokio::{Connection, Options};
use tokio::net::TcpStream;

fn keep_sending() -> Options {
    with_config(Config::new().on_peer_finish(OnPeerFinish::KeepSending))
}

fn numbered(n: usize) -> Vec<Bytes> {
    (0..n).map(|i| Bytes::from(format!("message {i}"))).collect()
}

#[tokio::test]
async fn the_client_finishes_first_and_still_gets_every_reply() {
    let (mut client, mut server) = connected(Options::new(), Options::new()).await;
    let requests = numbered(2000);
    let echo = tokio::spawn(async move {
        loop {
            match step("a request", server.next_event()).await {
                Some(Event::App(request)) => step("a reply", server.send(request)).await.unwrap(),
                Some(Event::Closed(closed)) => return closed,
                Some(_) => {}
                None => panic!("no Closed came"),
            }
        }
    });
    for request in &requests {
        step("a request", client.send(request.clone())).await.unwrap();
    }
    client.finish();
    assert!(matches!(client.try_send(Bytes::new()), Err(SendError::Finished { .. })));
    let (events, closed) = drain(&mut client).await;
    assert_eq!(messages(&events), requests);
    assert_eq!(events.last(), Some(&Event::PeerFinished), "the peer's end is told, after the last reply");
    assert_eq!((closed.cause, closed.unsent, closed.finished_first), (Cause::LocalFinished, 0, Some(Side::Local)));
    let closed = step("the server's end", echo).await.unwrap();
    assert_eq!((closed.cause, closed.unsent, closed.finished_first), (Cause::PeerFinished, 0, Some(Side::Peer)));
}

#[tokio::test]
async fn who_keeps_sending_answers_long_after_the_peers_fin() {
    let (mut client, mut server) = connected(Options::new(), keep_sending()).await;
    client.send(Bytes::from_static(b"question")).await.unwrap();
    client.finish();
    let answers = tokio::spawn(async move { drain(&mut client).await });
    assert_eq!(message(&mut server).await, "question");
    assert_eq!(step("the client's FIN", server.next_event()).await, Some(Event::PeerFinished));
    let late = numbered(500);
    for answer in &late {
        step("a late answer", server.send(answer.clone())).await.unwrap();
    }
    server.finish();
    assert_eq!(drain(&mut server).await.1.cause, Cause::PeerFinished);
    let (events, closed) = step("the answers", answers).await.unwrap();
    assert_eq!(messages(&events), late);
    assert_eq!(closed.cause, Cause::LocalFinished);
}

#[tokio::test]
async fn the_server_finishes_first_and_still_gets_what_the_client_sends() {
    let (mut client, mut server) = connected(keep_sending(), Options::new()).await;
    server.send(Bytes::from_static(b"greeting")).await.unwrap();
    server.finish();
    let received = tokio::spawn(async move { drain(&mut server).await });
    assert_eq!(message(&mut client).await, "greeting");
    assert_eq!(step("the server's FIN", client.next_event()).await, Some(Event::PeerFinished));
    let late = numbered(500);
    for upload in &late {
        step("an upload", client.send(upload.clone())).await.unwrap();
    }
    client.finish();
    assert_eq!(drain(&mut client).await.1.cause, Cause::PeerFinished);
    let (events, closed) = step("the uploads", received).await.unwrap();
    assert_eq!(messages(&events), late);
    assert_eq!((closed.cause, closed.unsent), (Cause::LocalFinished, 0));
}

/// The peer is a plain socket: it sees our bytes, then our FIN, and what it writes after that still reaches us.
async fn fin_is_seen_and_receiving_goes_on((mut connection, mut peer): (Connection<Frames>, TcpStream)) {
    connection.send(Bytes::from_static(b"last")).await.expect("it succeeds");
    connection.finish();
    let ended = tokio::spawn(async move { drain(&mut connection).await });
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"last"[..]));
    assert_eq!(read_frame(&mut peer).await, None, "FIN, and nothing before it");
    write(&mut peer, &[frame(b"one"), frame(b"two")].concat()).await;
    drop(peer);
    let (events, closed) = step("the end", ended).await.expect("it succeeds");
    assert_eq!(messages(&events), ["one", "two"]);
    assert_eq!((closed.cause, closed.peer_finished), (Cause::LocalFinished, true));
}

#[tokio::test]
async fn finish_is_a_fin_on_the_wire_on_both_roles() {
    fin_is_seen_and_receiving_goes_on(dialled(frames(), Options::new()).await).await;
    fin_is_seen_and_receiving_goes_on(accepted(frames(), Options::new()).await).await;
}

#[tokio::test]
async fn fin_comes_after_the_last_byte_of_a_big_queue() {
    // Larger than what the kernel takes on the loopback, so most of it waits in the session when finish is called.
    let total = 24 << 20;
    let (mut connection, mut peer) = dialled(frames(), with_queue(total)).await;
    let payload = Bytes::from(vec![b'x'; 100_000]);
    let mut accepted = 0_usize;
    while connection.try_send(payload.clone()).is_ok() {
        accepted += 1;
    }
    connection.finish();
    let ended = tokio::spawn(async move { drain(&mut connection).await });
    let (wire, result) = read_to_end(&mut peer).await;
    result.unwrap();
    let (payloads, rest) = parse(&wire);
    assert_eq!((payloads.len(), rest.len()), (accepted, 0));
    assert!(payloads.iter().all(|p| *p == payload));
    drop(peer);
    assert_eq!(step("the end", ended).await.unwrap().1.unsent, 0);
}

#[tokio::test]
async fn queued_output_is_flushed_when_the_peer_finishes_first() {
    let (mut connection, mut peer) = dialled(frames(), with_queue(24 << 20)).await;
    let payload = Bytes::from(vec![b'x'; 100_000]);
    let mut accepted = 0_usize;
    while connection.try_send(payload.clone()).is_ok() {
        accepted += 1;
    }
    // The FIN is there before the first byte left.
    step("the peer's FIN", tokio::io::AsyncWriteExt::shutdown(&mut peer)).await.unwrap();
    let ended = tokio::spawn(async move { drain(&mut connection).await });
    let (wire, result) = read_to_end(&mut peer).await;
    result.unwrap();
    assert_eq!(parse(&wire).0.len(), accepted);
    let (events, closed) = step("the end", ended).await.unwrap();
    assert_eq!(events.last(), Some(&Event::PeerFinished));
    assert_eq!((closed.cause, closed.unsent), (Cause::PeerFinished, 0));
}

#[tokio::test]
async fn a_half_closed_peer_can_be_unwanted() {
    let options = with_config(Config::new().on_peer_finish(OnPeerFinish::Abort));
    let (mut connection, mut peer) = accepted(frames(), options).await;
    connection.try_send(Bytes::from_static(b"never read")).unwrap();
    step("the peer's FIN", tokio::io::AsyncWriteExt::shutdown(&mut peer)).await.unwrap();
    let (events, closed) = drain(&mut connection).await;
    assert_eq!(events, [Event::PeerFinished]);
    assert_eq!(closed.cause, Cause::PeerFinished);
    let (_, result) = read_to_end(&mut peer).await;
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}
