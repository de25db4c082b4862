//! `Stream` and `Sink`, used as people use tokio-util's `Framed`.

use bytes::Bytes;
use duologue_core::{Cause, Code, Event};
use duologue_tests::sockets::*;
use duologue_tokio::Options;
use futures_util::{SinkExt, StreamExt, TryStreamExt};

fn numbered(n: usize) -> Vec<Bytes> {
    (0..n).map(|i| Bytes::from(format!("message {i}"))).collect()
}

#[tokio::test]
async fn an_echo_by_forward_and_a_client_by_send_all() {
    let (mut client, server) = connected(Options::new(), Options::new()).await;
    let echoing = tokio::spawn(async move {
        let (sink, stream) = StreamExt::split(server);
        stream.map(|message| Ok(message.expect("no error"))).forward(sink).await
    });
    let sent = numbered(3000);
    step("sending", client.send_all(&mut futures_util::stream::iter(sent.iter().cloned().map(Ok)))).await.unwrap();
    client.finish();
    let got: Vec<Bytes> = step("receiving", client.by_ref().try_collect()).await.unwrap();
    assert_eq!(got, sent);
    step("the echo", echoing).await.unwrap().unwrap();
}

#[tokio::test]
async fn closing_the_sink_is_a_half_close() {
    let (mut client, mut peer) = dialled(frames(), Options::new()).await;
    step("sending", SinkExt::send(&mut client, Bytes::from_static(b"last"))).await.unwrap();
    step("closing", SinkExt::close(&mut client)).await.unwrap();
    assert_eq!(read_frame(&mut peer).await.as_deref(), Some(&b"last"[..]));
    assert_eq!(read_frame(&mut peer).await, None);
    write(&mut peer, &frame(b"reply")).await;
    drop(peer);
    assert_eq!(step("the reply", client.next()).await.unwrap().unwrap(), "reply");
    assert!(step("the end", client.next()).await.is_none());
    assert!(SinkExt::send(&mut client, Bytes::from_static(b"late")).await.is_err());
}

#[tokio::test]
async fn a_bad_end_is_the_streams_last_item() {
    let (mut client, mut peer) = dialled(frames(), Options::new()).await;
    write(&mut peer, &[&frame(b"whole")[..], b"\0\0"].concat()).await;
    drop(peer);
    assert_eq!(step("a message", client.next()).await.unwrap().unwrap(), "whole");
    let error = step("the error", client.next()).await.unwrap().unwrap_err();
    assert!(matches!(error.cause, Cause::Truncated { .. }), "{error}");
    assert!(step("the end", client.next()).await.is_none());
}

#[tokio::test]
async fn the_receiving_half_is_a_stream_too() {
    let (client, mut peer) = dialled(frames(), Options::new()).await;
    let (receiver, _sender) = client.split();
    write(&mut peer, &[frame(b"one"), frame(b"two")].concat()).await;
    drop(peer);
    let got: Vec<Bytes> = step("receiving", receiver.try_collect()).await.unwrap();
    assert_eq!(got, ["one", "two"]);
}

/// A sink with a message that it accepted and that did not fit into the queue behind another of the same size.
async fn parked() -> (duologue_tokio::Connection<Frames>, tokio::net::TcpStream) {
    let (mut client, peer) = dialled(frames(), with_queue(100_004)).await;
    for byte in [b'1', b'2'] {
        step("ready", std::future::poll_fn(|cx| client.poll_ready_unpin(cx))).await.expect("ready");
        client.start_send_unpin(Bytes::from(vec![byte; 100_000])).expect("accepted");
    }
    (client, peer)
}

async fn first_bytes(peer: &mut tokio::net::TcpStream, n: usize) -> Vec<u8> {
    let mut first = Vec::new();
    for _ in 0..n {
        first.push(read_frame(peer).await.expect("a frame")[0]);
    }
    first
}

#[tokio::test]
async fn what_the_sink_accepted_goes_before_what_is_sent_later() {
    let (mut client, mut peer) = parked().await;
    assert!(client.try_send(Bytes::from_static(b"3")).is_err(), "there is one before it");
    let sending = tokio::spawn(async move {
        step("sending", duologue_tokio::Connection::send(&mut client, Bytes::from_static(b"3"))).await.expect("sent");
        step("flushing", duologue_tokio::Connection::flush(&mut client)).await;
        client
    });
    assert_eq!(first_bytes(&mut peer, 3).await, b"123");
    drop(step("the sender", sending).await.unwrap());
}

#[tokio::test]
async fn what_the_sink_accepted_is_flushed_by_waiting_for_events_and_after_a_split() {
    let (mut client, mut peer) = parked().await;
    let waiting = tokio::spawn(async move { drain(&mut client).await });
    assert_eq!(first_bytes(&mut peer, 2).await, b"12");
    drop(peer);
    let (events, closed) = step("the end", waiting).await.unwrap();
    assert_eq!((events.last(), closed.unsent), (Some(&Event::PeerFinished), 0));

    let (client, mut peer) = parked().await;
    let (mut receiver, sender) = client.split();
    let sending = tokio::spawn(async move {
        step("sending", sender.send(Bytes::from_static(b"3"))).await.expect("sent");
        step("flushing", sender.flush()).await;
        sender
    });
    let waiting = tokio::spawn(async move { receiver.closed().await });
    assert_eq!(first_bytes(&mut peer, 3).await, b"123");
    drop(peer);
    drop(step("the sender", sending).await.unwrap());
    assert_eq!(step("the end", waiting).await.unwrap().unsent, 0);
}

#[tokio::test]
async fn what_the_sink_accepted_in_vain_is_counted_as_unsent() {
    let (mut client, _peer) = parked().await;
    client.abort(Code(0));
    assert_eq!(drain(&mut client).await.1.unsent, 2);

    let (client, mut peer) = parked().await;
    drop(client);
    let _ = read_to_end(&mut peer).await;
}
