//! Sessions in memory, for every test of the protocol.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use bytes::{BufMut, Bytes};
use duologue_brpc::{Brpc, BrpcCommand, BrpcConfig, BrpcEvent, Call, Remote, Reply, Request, Response, Role};
use duologue_core::streams::{Multiplex, Received, StreamEnd, StreamEvent, StreamId, StreamMut};
use duologue_core::{Config, Event, Instant, Limits, Session};

pub const NOW: Instant = Instant::from_nanos(1_000);

pub fn limits() -> Config {
    Config::new().limits(Limits::new().send_buffer(256 << 10).recv_buffer(64 << 10))
}

pub fn session(role: Role, config: BrpcConfig) -> Session<Brpc> {
    Session::new(Brpc::new(role, config).unwrap(), limits(), 7, NOW).unwrap()
}

pub fn pair(config: BrpcConfig) -> (Session<Brpc>, Session<Brpc>) {
    (session(Role::Client, config), session(Role::Server, config))
}

pub fn output(from: &mut Session<Brpc>, most: usize) -> Vec<u8> {
    let mut slices = [&[][..]; 32];
    let filled = from.transmit(&mut slices);
    let mut bytes = slices[..filled].concat();
    bytes.truncate(most);
    from.transmitted(NOW, bytes.len());
    bytes
}

pub fn all_output(from: &mut Session<Brpc>) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let more = output(from, usize::MAX);
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// What the session reads of it: all, unless an event waits or it ended.
pub fn input(to: &mut Session<Brpc>, bytes: &[u8]) -> usize {
    let mut left = bytes;
    while !left.is_empty() && to.interest().read {
        let mut buf = to.recv_buf();
        let n = buf.remaining_mut().min(left.len());
        buf.put_slice(&left[..n]);
        to.received(NOW);
        left = &left[n..];
    }
    bytes.len() - left.len()
}

/// One side with its events.
pub struct Side {
    pub session: Session<Brpc>,
    pub events: Vec<BrpcEvent>,
    pub unread: Vec<u8>,
    /// Where the other side's bytes are cut.
    pub cut: usize,
}

impl Side {
    pub fn new(role: Role, config: BrpcConfig) -> Self {
        Self::of(session(role, config))
    }

    pub fn of(session: Session<Brpc>) -> Self {
        Self { session, events: Vec::new(), unread: Vec::new(), cut: usize::MAX }
    }

    pub fn pump(&mut self) {
        while self.session.interest().event {
            match self.session.poll_event(NOW) {
                Some(Event::App(event)) => self.events.push(event),
                Some(_) => {}
                None => return,
            }
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.cut.min(bytes.len().max(1))) {
            self.unread.extend_from_slice(piece);
            for _ in 0..100_000 {
                self.pump();
                let n = input(&mut self.session, &self.unread);
                self.unread.drain(..n);
                if n == 0 {
                    break;
                }
            }
        }
        self.pump();
    }

    pub fn with<R>(&mut self, id: StreamId, act: impl FnOnce(&mut StreamMut<'_, Remote>) -> R) -> R {
        act(&mut self.session.protocol_mut(NOW).streams_mut().get_mut(id).expect("the stream exists"))
    }

    pub fn open(&mut self) -> StreamId {
        self.session.protocol_mut(NOW).open(NOW).unwrap()
    }

    pub fn call(&mut self, call: Call) {
        self.session.send(NOW, BrpcCommand::Call(Box::new(call))).unwrap();
    }

    pub fn reply(&mut self, reply: Reply) {
        self.session.send(NOW, BrpcCommand::Reply(Box::new(reply))).unwrap();
    }

    pub fn send(&mut self, id: StreamId, bytes: impl Into<Bytes>) {
        self.with(id, |stream| stream.send(bytes.into())).unwrap();
    }

    /// Every whole message that came.
    pub fn take(&mut self, id: StreamId) -> Vec<Vec<u8>> {
        let (mut all, mut message) = (Vec::new(), Vec::new());
        while let Received::Data { bytes, ends } = self.with(id, |stream| stream.recv(usize::MAX)) {
            self.with(id, |stream| stream.release(bytes.len())).unwrap();
            message.extend_from_slice(&bytes);
            if ends {
                all.push(std::mem::take(&mut message));
            }
        }
        all
    }

    pub fn request(&mut self) -> Request {
        let at = self.events.iter().position(|event| matches!(event, BrpcEvent::Request(_))).expect("a request");
        match self.events.remove(at) {
            BrpcEvent::Request(request) => *request,
            _ => unreachable!(),
        }
    }

    pub fn response(&mut self) -> Response {
        let at = self.events.iter().position(|event| matches!(event, BrpcEvent::Response(_))).expect("a response");
        match self.events.remove(at) {
            BrpcEvent::Response(response) => *response,
            _ => unreachable!(),
        }
    }

    pub fn end_of(&self, id: StreamId) -> Vec<StreamEnd> {
        let ends = self.events.iter().filter_map(|event| match event {
            BrpcEvent::Stream(StreamEvent::Closed(of, closed)) if *of == id => Some(closed.end),
            _ => None,
        });
        ends.collect()
    }
}

/// Moves everything both ways, in pieces of `cut` bytes.
pub fn exchange(a: &mut Side, b: &mut Side, cut: usize) {
    for _ in 0..1_000_000 {
        a.pump();
        b.pump();
        let (to_b, to_a) = (output(&mut a.session, cut), output(&mut b.session, cut));
        if to_a.is_empty() && to_b.is_empty() {
            return;
        }
        b.feed(&to_b);
        a.feed(&to_a);
    }
    panic!("the exchange never ends");
}

pub fn echo(id: i64, streams: Vec<StreamId>) -> Call {
    let (service, method) = ("example.EchoService".to_owned(), "Echo".to_owned());
    Call { id, service, method, body: Bytes::from_static(b"\x0a\x02hi"), streams, ..Call::default() }
}

/// A client and a server with `n` streams of one call between them.
pub fn connected(config: BrpcConfig, n: usize) -> (Side, Side, Vec<StreamId>, Vec<StreamId>) {
    let (mut client, mut server) = (Side::new(Role::Client, config), Side::new(Role::Server, config));
    let mine: Vec<StreamId> = (0..n).map(|_| client.open()).collect();
    client.call(echo(1, mine.clone()));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap();
    server.reply(Reply::ok(request.id, Bytes::new()));
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.response().streams, n);
    (client, server, mine, theirs)
}
