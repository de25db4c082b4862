//! A client that outlives its connections: nothing lost, nothing doubled, no handle that writes where it must not.

use std::time::Duration;

use bytes::Bytes;
use duologue_core::reconnect::{Backoff, Breaker, Circuit, Generation, Queued};
use duologue_core::{Code, Event};
use duologue_tests::sockets::*;
use duologue_tokio::{
    Connection, Options, Receipt, ReconnectEvent, ReconnectOptions, ReconnectSendError, Reconnecting,
};

fn quick() -> ReconnectOptions {
    let backoff = Backoff::new().initial(Duration::from_millis(1)).cap(Duration::from_millis(3));
    ReconnectOptions::new().backoff(backoff.min_connect(STEP)).connection(Options::new().send_within(STEP))
}

fn client(address: impl std::fmt::Display, options: ReconnectOptions) -> Reconnecting<Frames> {
    Reconnecting::new(address, |_| frames(), options).expect("pauses that work")
}

#[tokio::test]
async fn a_handle_of_an_old_connection_never_writes_into_a_new_one() {
    let (listener, address) = listen().await;
    let mut client = client(address, quick());
    let sender = client.sender();
    let server = tokio::spawn(async move {
        let (peer, _) = listener.accept().await.expect("accepted");
        reset(peer);
        let (mut peer, _) = listener.accept().await.expect("accepted");
        let frame = read_frame(&mut peer).await;
        (frame, read_to_end(&mut peer).await.0)
    });
    let mut up = Vec::new();
    while up.len() < 2 {
        if let Some(ReconnectEvent::Connected { generation }) = step("an event", client.next_event()).await {
            up.push(generation);
        }
    }
    let stale = step("refused", sender.send_on(up[0], Bytes::from_static(b"old"))).await;
    assert_eq!(stale, Err(ReconnectSendError::Fenced { command: Bytes::from_static(b"old") }));
    let driven = tokio::spawn(async move { while client.next_event().await.is_some() {} });
    let fresh = step("sent", sender.send_on(up[1], Bytes::from_static(b"new"))).await;
    assert_eq!(fresh, Ok(Receipt { generation: up[1], number: 1 }));
    sender.start_close(Code(0));
    step("the client", driven).await.unwrap();
    let (frame, rest) = step("the server", server).await.unwrap();
    assert_eq!((frame.as_deref(), rest.len()), (Some(&b"new"[..]), 0));
    let closed = step("refused", sender.send(Bytes::new())).await;
    assert_eq!(closed, Err(ReconnectSendError::Closed { command: Bytes::new() }));
}

#[tokio::test]
async fn subscriptions_go_first_on_every_connection() {
    let (listener, address) = listen().await;
    let mut client = client(address, quick())
        .resubscribe(|Generation(n)| vec![Bytes::from_static(b"subscribe"), Bytes::from(format!("again {n}"))]);
    let sender = client.sender();
    let waiting = tokio::spawn(async move { sender.send(Bytes::from_static(b"first of all")).await });
    let driven = tokio::spawn(async move { while client.next_event().await.is_some() {} });
    for n in 1..=3 {
        let (mut peer, _) = step("accepting", listener.accept()).await.unwrap();
        assert_eq!(read_frame(&mut peer).await.unwrap(), b"subscribe");
        assert_eq!(read_frame(&mut peer).await.unwrap(), format!("again {n}").as_bytes());
        if n == 1 {
            assert_eq!(read_frame(&mut peer).await.unwrap(), b"first of all");
        }
    }
    assert_eq!(step("sent", waiting).await.unwrap(), Ok(Receipt { generation: Generation(1), number: 3 }));
    driven.abort();
}

#[tokio::test]
async fn without_a_connection_messages_go_back_by_policy_and_at_their_deadline() {
    let (listener, address) = listen().await;
    drop(listener);
    let breaker = Some(Breaker { failures: 3, open_for: Duration::from_secs(600) });
    let mut dropping = client(address, quick().queued(Queued::Drop));
    let sender = dropping.sender();
    let message = Bytes::from_static(b"now or never");
    assert_eq!(sender.send(message.clone()).await, Err(ReconnectSendError::NotConnected { command: message.clone() }));
    assert!(matches!(step("failing", dropping.next_event()).await, Some(ReconnectEvent::Failed { .. })));

    let options = quick().connection(Options::new().send_within(Duration::from_millis(30)));
    let patient = client(address, options).sender();
    let late = step("timing out", patient.send(message.clone())).await;
    assert!(matches!(late, Err(ReconnectSendError::Closed { .. })), "the client was dropped: {late:?}");

    let mut breaking = client(address, quick().breaker(breaker));
    let sender = breaking.sender();
    let waits = tokio::spawn({
        let (sender, message) = (sender.clone(), message.clone());
        async move { sender.send(message).await }
    });
    tokio::task::yield_now().await;
    for _ in 0..3 {
        assert!(matches!(step("failing", breaking.next_event()).await, Some(ReconnectEvent::Failed { .. })));
    }
    assert!(matches!(breaking.machine().circuit(), Circuit::Open { .. }));
    let refused = Err(ReconnectSendError::NotConnected { command: message.clone() });
    assert_eq!(step("given back", waits).await.unwrap(), refused, "no sense in waiting");
    assert_eq!(step("refused", sender.send(message)).await, refused);
}

#[tokio::test]
async fn what_waits_too_long_goes_back_and_a_dropped_send_sends_nothing() {
    let (listener, address) = listen().await;
    let options = quick().connection(Options::new().send_within(Duration::from_millis(50)));
    let mut client = client(address, options);
    let sender = client.sender();
    let message = Bytes::from_static(b"late");
    let waited = Duration::from_millis(50);
    let late = step("timing out", sender.send(message.clone())).await;
    assert_eq!(late, Err(ReconnectSendError::TimedOut { command: message, waited }));
    {
        let mut cancelled = Box::pin(sender.send(Bytes::from_static(b"cancelled")));
        assert!(futures_util::poll!(&mut cancelled).is_pending());
    }
    let driven = tokio::spawn(async move { while client.next_event().await.is_some() {} });
    let (peer, _) = step("accepting", listener.accept()).await.unwrap();
    let mut peer: Connection<Frames> = Connection::accept(peer, frames(), &Options::new()).unwrap();
    step("sent", sender.send(Bytes::from_static(b"kept"))).await.unwrap();
    assert!(matches!(step("it comes", peer.next_event()).await, Some(Event::App(m)) if m == "kept"));
    driven.abort();
}
