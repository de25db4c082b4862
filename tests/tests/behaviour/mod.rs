//! One suite for every adapter: the same scenarios on real loopback sockets, with the same causes. The peers are plain
//! sockets of the standard library on threads of their own, so that no adapter is tested against itself alone.
//!
//! `behaviour_*.rs` name the adapter; `wait!`, `test!` and the like hide whether its methods are futures.

mod connecting;
mod ends;
mod exchange;
mod half_close;
mod halves;
pub(crate) mod peer;
mod server;
mod time_outs;
#[cfg(unix)]
mod unix;

use bytes::Bytes;
use duologue_core::{Config, Event, Limits, Protocol, Timeouts};
pub(crate) use duologue_tests::sockets::{Frames, FramesClosed, FramesEvent, frame, frames, messages, parse};

pub(crate) use crate::adapter::{Connection, Options};
pub(crate) use peer::Peer;

pub(crate) fn with_config(config: Config) -> Options {
    Options::new().config(config)
}

pub(crate) fn with_timeouts(timeouts: Timeouts) -> Options {
    with_config(Config::new().timeouts(timeouts))
}

/// Options whose send queue holds more than the kernel takes on the loopback.
pub(crate) fn with_big_queue() -> Options {
    with_config(Config::new().limits(Limits::new().send_buffer(24 << 20)))
}

waiting! {
    fn dial(address: std::net::SocketAddr) -> Connection<Frames> {
        wait!(Connection::connect(address, frames(), Options::new())).expect("connected")
    }
}

/// A connection made by accepting, and its peer.
pub(crate) fn accepted<P: Protocol>(protocol: P, options: &Options) -> (Connection<P>, Peer) {
    let (ours, theirs) = peer::tcp_pair();
    (Connection::accept(crate::adapter::tcp(ours), protocol, options).expect("accepted"), Peer::new(theirs))
}

waiting! {
    fn dialled(options: Options) -> (Connection<Frames>, Peer) {
        let (listener, address) = peer::listen();
        let connection = wait!(Connection::connect(address, frames(), options)).expect("connected");
        (connection, Peer::new(listener.accept().expect("accepted").0))
    }
}

waiting! {
    fn drain(connection: &mut Connection<Frames>) -> (Vec<FramesEvent>, FramesClosed) {
        let mut events = Vec::new();
        loop {
            match wait!(connection.next_event()) {
                Some(Event::Closed(closed)) => return (events, closed),
                Some(event) => events.push(event),
                None => panic!("no Closed came"),
            }
        }
    }
}

waiting! {
    fn message(connection: &mut Connection<Frames>) -> Bytes {
        match wait!(connection.next_event()) {
            Some(Event::App(message)) => message,
            other => panic!("a message was expected, not {other:?}"),
        }
    }
}

/// Queues until the queue is full: far more than the kernel takes.
pub(crate) fn fill(connection: &mut Connection<Frames>) -> usize {
    let payload = Bytes::from(vec![b'x'; 100_000]);
    std::iter::from_fn(|| connection.try_send(payload.clone()).ok()).count()
}
