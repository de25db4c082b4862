//! The same sessions over Unix sockets.

use bytes::Bytes;
use duologue_core::{Cause, Code, Event, FaultKind};
use duologue_tests::sockets::*;
use duologue_tokio::{AsIs, ConnectError, Options, StreamConnection, UnixPath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

type Unix = StreamConnection<Frames, UnixStream>;

fn adopt(stream: UnixStream, options: &Options) -> Unix {
    Unix::accept(AsIs(stream), frames(), options).expect("accepted")
}

#[tokio::test]
async fn dialled_by_path_and_half_closed() {
    let path = std::env::temp_dir().join(format!("duologue-test-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = step("dialling", Unix::connect(UnixPath(path.clone()), frames(), Options::new())).await.unwrap();
    let mut server = adopt(listener.accept().await.unwrap().0, &Options::new());
    client.send(Bytes::from_static(b"question")).await.unwrap();
    client.finish();
    let asking = tokio::spawn(async move {
        let answer = client.next_event().await;
        (answer, client.closed().await)
    });
    assert_eq!(step("the question", server.next_event()).await, Some(Event::App(Bytes::from_static(b"question"))));
    server.send(Bytes::from_static(b"answer")).await.unwrap();
    assert_eq!(step("the server's end", server.closed()).await.cause, Cause::PeerFinished);
    let (answer, closed) = step("the answer", asking).await.unwrap();
    assert_eq!(answer, Some(Event::App(Bytes::from_static(b"answer"))));
    assert_eq!(closed.cause, Cause::LocalFinished);

    std::fs::remove_file(&path).unwrap();
    let gone = step("dialling", Unix::connect(UnixPath(path), frames(), Options::new())).await.unwrap_err();
    assert!(matches!(&gone, ConnectError::Transport(fault) if fault.kind == FaultKind::Other), "{gone}");
    drop(listener);
}

#[tokio::test]
async fn a_big_queue_goes_out_before_the_fin() {
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let mut connection = adopt(ours, &with_queue(8 << 20));
    let mut sent = 0;
    while connection.try_send(Bytes::from(vec![b'x'; 100_000])).is_ok() {
        sent += 1;
    }
    connection.finish();
    let ending = tokio::spawn(async move { connection.closed().await });
    let mut wire = Vec::new();
    step("reading", peer.read_to_end(&mut wire)).await.unwrap();
    assert_eq!(parse(&wire).0.len(), sent);
    step("our FIN", peer.shutdown()).await.unwrap();
    assert_eq!(step("the end", ending).await.unwrap().unsent, 0);
}

#[tokio::test]
async fn a_peer_that_goes_away_and_an_abort() {
    let (ours, peer) = UnixStream::pair().unwrap();
    let mut connection = adopt(ours, &with_queue(8 << 20));
    while connection.try_send(Bytes::from(vec![b'x'; 100_000])).is_ok() {}
    drop(peer);
    let closed = step("the end", connection.closed()).await;
    let stats = connection.session().stats();
    assert_eq!((closed.cause, closed.unsent), (Cause::PeerReset, stats.accepted - stats.flushed));

    let (ours, mut peer) = UnixStream::pair().unwrap();
    let mut connection = adopt(ours, &Options::new());
    connection.abort(Code(3));
    assert_eq!(step("the end", connection.closed()).await.cause, Cause::LocalAbort(Code(3)));
    let mut byte = [0];
    assert_eq!(step("the end", peer.read(&mut byte)).await.unwrap_or(0), 0);
}
