//! Stream handles on threads, over real sockets, with yamux on both sides. Each test has a bound in time.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use duologue_blocking::core::{CloseIntent, Code};
use duologue_blocking::streams::{Mux, MuxOptions, MuxStream, StreamEnd};
use duologue_blocking::{Connection, Options};
use duologue_yamux::{Role, Yamux, YamuxCommand, YamuxConfig, YamuxEvent};

fn within(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_secs(40)) {
        panic!("the test hangs");
    }
    thread.join().unwrap();
}

fn mux(socket: TcpStream, role: Role) -> Mux<Yamux> {
    let yamux = Yamux::new(role, YamuxConfig::new()).unwrap();
    let connection = Connection::accept(socket, yamux, &Options::new()).unwrap();
    Mux::new(connection, MuxOptions::new().dropped(Code(77))).unwrap()
}

fn sides() -> (Mux<Yamux>, Mux<Yamux>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (mux(client, Role::Client), mux(listener.accept().unwrap().0, Role::Server))
}

fn joined(client: &Mux<Yamux>, server: &Mux<Yamux>) -> (MuxStream<Yamux>, MuxStream<Yamux>) {
    let ours = client.open().unwrap();
    (ours, server.accept().unwrap())
}

#[test]
fn halves_are_readers_and_writers_of_different_threads() {
    within(|| {
        let (client, server) = sides();
        let (ours, theirs) = joined(&client, &server);
        let echo = std::thread::spawn(move || {
            let (mut sender, mut receiver) = theirs.split();
            let copied = std::io::copy(&mut receiver, &mut sender).unwrap();
            sender.finish();
            copied
        });
        let (mut sender, mut receiver) = ours.split();
        let data: Vec<u8> = (0..700_000_u32).map(|at| (at % 239) as u8).collect();
        let expected = data.clone();
        let writing = std::thread::spawn(move || {
            sender.write_all(&data).unwrap();
            sender.finish();
        });
        let mut all = Vec::new();
        receiver.read_to_end(&mut all).unwrap();
        writing.join().unwrap();
        assert_eq!(echo.join().unwrap(), expected.len() as u64);
        assert!(all == expected, "what came back is what was sent");
    });
}

#[test]
fn threads_echo_on_streams_as_readers_and_writers() {
    within(|| {
        let (client, server) = sides();
        let serving = std::thread::spawn(move || {
            let mut served = Vec::new();
            while let Some(mut stream) = server.accept() {
                served.push(std::thread::spawn(move || {
                    let mut buffer = [0; 5000];
                    loop {
                        match stream.read(&mut buffer).unwrap() {
                            0 => return stream.finish(),
                            n => stream.write_all(&buffer[..n]).unwrap(),
                        }
                    }
                }));
            }
            served.into_iter().map(|thread| thread.join().unwrap()).count()
        });
        let senders: Vec<_> = (0..8_u8)
            .map(|n| {
                let (sender, mut receiver) = client.open().unwrap().split();
                let data: Bytes = (0..400_000_u32).map(|at| (at % 241) as u8 ^ n).collect();
                let expected = data.clone();
                let sending = std::thread::spawn(move || {
                    sender.send(data).unwrap();
                    sender.finish();
                });
                std::thread::spawn(move || {
                    let mut all = Vec::new();
                    while let Some(bytes) = receiver.recv().unwrap() {
                        all.extend_from_slice(&bytes);
                    }
                    sending.join().unwrap();
                    assert!(all == expected, "what came back is what was sent");
                })
            })
            .collect();
        senders.into_iter().for_each(|thread| thread.join().unwrap());
        client.close(CloseIntent::Goodbye(Code(0)));
        assert!(client.closed().cause.is_orderly());
        assert_eq!(serving.join().unwrap(), 8);
    });
}

#[test]
fn resets_deadlines_and_drops_are_told() {
    within(|| {
        let (client, server) = sides();
        let (ours, mut theirs) = joined(&client, &server);
        ours.reset(Code(5));
        assert!(matches!(theirs.recv(), Err(StreamEnd::PeerReset(_))));
        let (ours, mut theirs) = joined(&client, &server);
        drop(ours);
        assert!(matches!(theirs.recv(), Err(StreamEnd::PeerReset(_))), "dropping is no finish");
        let (mut ours, _theirs) = joined(&client, &server);
        ours.end_within(Some(Duration::from_millis(30)));
        assert_eq!(ours.recv(), Err(StreamEnd::Deadline));
        let (ours, _theirs) = joined(&client, &server);
        let (_sender, mut receiver) = ours.split();
        assert!(receiver.recv_within(Duration::from_millis(20)).is_pending());
        assert!(matches!(server.accept_within(Duration::from_millis(20)), Poll::Pending));
    });
}

#[test]
fn pongs_are_told_and_the_end_wakes_who_waits() {
    within(|| {
        let (client, server) = sides();
        client.try_send(YamuxCommand::Ping).unwrap();
        assert!(matches!(client.event(), Some(YamuxEvent::Pong(_))));
        let waiting = std::thread::spawn(move || (server.accept().is_none(), server.event()));
        client.abort(Code(0));
        let (ended, event) = waiting.join().unwrap();
        assert!(ended && event.is_none());
        assert!(client.event().is_none());
    });
}
