//! Against the `yamux` crate, both ways, on real sockets. Each test has a bound in time.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use duologue_tokio::streams::{Mux, MuxOptions, MuxStream, StreamEnd};
use duologue_tokio::{Connection, Options};
use duologue_yamux::{Role, Yamux, YamuxConfig};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt;

const STREAMS: usize = 2_000;

fn ours(socket: TcpStream, role: Role) -> Mux<Yamux> {
    let streams = many_streams();
    let yamux = Yamux::new(role, YamuxConfig::new().streams(streams)).unwrap();
    let connection = Connection::accept(socket, yamux, &Options::new()).unwrap();
    let (mux, task) = Mux::new(connection, MuxOptions::new());
    tokio::spawn(task);
    mux
}

fn many_streams() -> duologue_core::streams::StreamsConfig {
    duologue_core::streams::StreamsConfig::new().slots(8192).max_local(4096).max_peer(4096)
}

fn theirs(socket: TcpStream, mode: yamux::Mode) -> yamux::Connection<tokio_util::compat::Compat<TcpStream>> {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(4096);
    yamux::Connection::new(socket.compat(), config, mode)
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// Drives the crate's connection, and hands every stream that we open to `serve`.
fn drive<F, S>(mut connection: yamux::Connection<tokio_util::compat::Compat<TcpStream>>, serve: F)
where
    F: Fn(yamux::Stream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        while let Some(Ok(stream)) = poll_fn(|cx| connection.poll_next_inbound(cx)).await {
            tokio::spawn(serve(stream));
        }
    });
}

async fn echo_theirs(mut stream: yamux::Stream) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n) = stream.read(&mut buffer).await {
        if n == 0 || stream.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
    let _ = stream.close().await;
}

async fn echo_ours(mut stream: MuxStream<Yamux>) {
    while let Ok(Some(bytes)) = stream.recv().await {
        if stream.send(bytes).await.is_err() {
            return;
        }
    }
    stream.finish();
}

async fn within<R>(work: impl Future<Output = R>) -> R {
    tokio::time::timeout(Duration::from_secs(120), work).await.expect("in time")
}

fn pattern(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + n) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_our_streams_are_echoed_by_the_crate() {
    within(async {
        let (client, server) = sockets().await;
        drive(theirs(server, yamux::Mode::Server), echo_theirs);
        let mux = ours(client, Role::Client);
        let mut tasks = Vec::new();
        for n in 0..STREAMS {
            let mut stream = mux.open().await.unwrap();
            tasks.push(tokio::spawn(async move {
                let data = pattern(n, 100 + n % 3000);
                stream.send(Bytes::from(data.clone())).await.unwrap();
                stream.finish();
                let mut got = Vec::new();
                while let Some(bytes) = stream.recv().await.unwrap() {
                    got.extend_from_slice(&bytes);
                }
                assert_eq!(got, data);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_its_streams_are_echoed_by_us() {
    within(async {
        let (client, server) = sockets().await;
        let mux = ours(server, Role::Server);
        tokio::spawn(async move {
            while let Some(stream) = mux.accept().await {
                tokio::spawn(echo_ours(stream));
            }
        });
        let mut connection = theirs(client, yamux::Mode::Client);
        let (opener, mut opened) = tokio::sync::mpsc::channel(1);
        // The crate needs its connection polled for everything; opening included.
        tokio::spawn(async move {
            let mut left = STREAMS;
            poll_fn(|cx| {
                loop {
                    if let std::task::Poll::Ready(Some(Err(_)) | None) = connection.poll_next_inbound(cx) {
                        return std::task::Poll::Ready(());
                    }
                    if left == 0 || opener.capacity() == 0 {
                        if left > 0 {
                            cx.waker().wake_by_ref();
                        }
                        return std::task::Poll::Pending;
                    }
                    match connection.poll_new_outbound(cx) {
                        std::task::Poll::Ready(stream) => {
                            left -= 1;
                            opener.try_send(stream.unwrap()).unwrap();
                        }
                        std::task::Poll::Pending => return std::task::Poll::Pending,
                    }
                }
            })
            .await;
        });
        let mut tasks = Vec::new();
        for n in 0..STREAMS {
            let mut stream: yamux::Stream = opened.recv().await.unwrap();
            tasks.push(tokio::spawn(async move {
                let data = pattern(n, 100 + n % 3000);
                stream.write_all(&data).await.unwrap();
                stream.close().await.unwrap();
                let mut got = Vec::new();
                stream.read_to_end(&mut got).await.unwrap();
                assert_eq!(got, data);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    })
    .await;
}

/// Bytes of one stream beside chatty ones; `DUOLOGUE_BULK` in MiB, 64 by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_stream_passes_beside_chatty_ones() {
    let mib: usize = std::env::var("DUOLOGUE_BULK").ok().and_then(|value| value.parse().ok()).unwrap_or(64);
    let work = async {
        let (client, server) = sockets().await;
        drive(theirs(server, yamux::Mode::Server), echo_theirs);
        let mux = ours(client, Role::Client);
        let (sender, mut receiver) = mux.open().await.unwrap().split();
        let bulk = tokio::spawn(async move {
            let block = Bytes::from(pattern(1, 1 << 20));
            for _ in 0..mib {
                sender.send(block.clone()).await.unwrap();
            }
            sender.finish();
        });
        let back = tokio::spawn(async move {
            let (mut total, block) = (0, pattern(1, 1 << 20));
            while let Some(bytes) = receiver.recv().await.unwrap() {
                let at = total % (1 << 20);
                let n = bytes.len().min((1 << 20) - at);
                assert!(bytes[..n] == block[at..at + n], "wrong bytes at {total}");
                total += bytes.len();
            }
            total
        });
        let mut chats = Vec::new();
        for n in 0..20 {
            let mut stream = mux.open().await.unwrap();
            chats.push(tokio::spawn(async move {
                for round in 0..50 {
                    let word = pattern(n + round, 64);
                    stream.send(Bytes::from(word.clone())).await.unwrap();
                    let mut got = Vec::new();
                    while got.len() < 64 {
                        got.extend_from_slice(&stream.recv().await.unwrap().unwrap());
                    }
                    assert_eq!(got, word);
                }
                stream.finish();
            }));
        }
        for chat in chats {
            chat.await.unwrap();
        }
        bulk.await.unwrap();
        assert_eq!(back.await.unwrap(), mib << 20);
    };
    tokio::time::timeout(Duration::from_secs(120 + mib as u64), work).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closes_in_each_order() {
    within(async {
        let (client, server) = sockets().await;
        // The crate finishes first, and then hears us out; the number of bytes comes back on a second stream.
        let (heard, mut counts) = tokio::sync::mpsc::channel(1);
        drive(theirs(server, yamux::Mode::Server), move |mut stream| {
            let heard = heard.clone();
            async move {
                stream.write_all(b"first and last").await.unwrap();
                stream.close().await.unwrap();
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                heard.send(rest).await.unwrap();
            }
        });
        let mux = ours(client, Role::Client);
        let mut stream = mux.open().await.unwrap();
        let mut got = Vec::new();
        // The crate learns of a stream with its first frame.
        while let Some(bytes) = stream.recv().await.unwrap() {
            got.extend_from_slice(&bytes);
        }
        assert_eq!(got, b"first and last");
        stream.send(Bytes::from_static(b"still here")).await.unwrap();
        stream.finish();
        assert_eq!(counts.recv().await.unwrap(), b"still here");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_both_ways_and_drops_are_resets() {
    within(async {
        let (client, server) = sockets().await;
        let (told, mut ends) = tokio::sync::mpsc::channel(4);
        drive(theirs(server, yamux::Mode::Server), move |mut stream| {
            let told = told.clone();
            async move {
                let mut byte = [0];
                if stream.read_exact(&mut byte).await.is_ok() && byte[0] == b'd' {
                    return drop(stream);
                }
                let mut rest = Vec::new();
                let result = stream.read_to_end(&mut rest).await;
                told.send((result.is_ok(), stream.is_closed(), stream.is_write_closed())).await.unwrap();
            }
        });
        let mux = ours(client, Role::Client);
        let mut dropped = mux.open().await.unwrap();
        dropped.send(Bytes::from_static(b"d")).await.unwrap();
        assert_eq!(dropped.recv().await, Err(StreamEnd::PeerReset(duologue_core::Code(0))));
        let stream = mux.open().await.unwrap();
        stream.send(Bytes::from_static(b"x")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(stream);
        let (_, closed, _) = ends.recv().await.unwrap();
        assert!(closed, "the crate saw our reset");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_end_a_stream_and_the_connection_goes_on() {
    within(async {
        let (client, server) = sockets().await;
        drive(theirs(server, yamux::Mode::Server), |stream| async move {
            // Never reads, never answers.
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(stream);
        });
        let mux = ours(client, Role::Client);
        let mut stream = mux.open().await.unwrap();
        stream.sender().end_within(Some(Duration::from_millis(50)));
        assert_eq!(stream.recv().await, Err(StreamEnd::Deadline));
        let blocked = mux.open().await.unwrap();
        blocked.sender().end_within(Some(Duration::from_millis(100)));
        let refused = blocked.send(Bytes::from(vec![0; 4 << 20])).await.unwrap_err();
        assert_eq!(refused.why, duologue_tokio::streams::StreamError::Ended(StreamEnd::Deadline));
        mux.close(duologue_core::CloseIntent::Goodbye(duologue_core::Code(0)));
        assert!(mux.closed().await.cause.is_orderly());
        assert!(mux.accept().await.is_none());
    })
    .await;
}

/// How our session ends when the crate drops its connection once it has echoed a stream, finished or not.
async fn dropped_by_the_crate(finish: bool) -> (duologue_core::Cause<duologue_yamux::YamuxViolation>, bool) {
    let (client, server) = sockets().await;
    let mut connection = theirs(server, yamux::Mode::Server);
    let (now, mut drop_now) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                stream = poll_fn(|cx| connection.poll_next_inbound(cx)) => match stream {
                    Some(Ok(stream)) => drop(tokio::spawn(echo_theirs(stream))),
                    _ => return,
                },
                _ = &mut drop_now => return,
            }
        }
    });
    let mux = ours(client, Role::Client);
    let mut stream = mux.open().await.unwrap();
    stream.send(Bytes::from_static(b"hello")).await.unwrap();
    if finish {
        stream.finish();
    }
    assert_eq!(stream.recv().await.unwrap().unwrap(), &b"hello"[..]);
    if finish {
        assert_eq!(stream.recv().await, Ok(None));
    }
    now.send(()).unwrap();
    let cause = mux.closed().await.cause;
    (cause, stream.recv().await == Ok(None))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crate_dropped_behind_its_last_stream_ends_in_order_and_before_it_is_lost() {
    within(async {
        let (cause, finished) = dropped_by_the_crate(true).await;
        assert!(cause.is_orderly() && finished, "{cause:?}");
        let (cause, finished) = dropped_by_the_crate(false).await;
        assert!(!finished && !cause.is_orderly(), "{cause:?}");
    })
    .await;
}
