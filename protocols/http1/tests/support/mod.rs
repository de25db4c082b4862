//! Sessions moved by hand: bytes in, events out, no network.
#![allow(dead_code, unreachable_pub)]

use std::time::Duration;

use bytes::{BufMut, Bytes};
use duologue_core::{Cause, Event, Instant, Protocol, SendState, Session};
use duologue_http1::http::StatusCode;
use duologue_http1::{
    Body, Client, ClientCommand, ClientEvent, ClientSettings, Incoming, Response, Server, ServerCommand, ServerEvent,
    ServerSettings, Violation,
};

/// More rounds than any test needs.
pub const STEPS: usize = 100_000;

pub const T0: Instant = Instant::ORIGIN;

pub fn at(millis: u64) -> Instant {
    T0.after(Duration::from_millis(millis))
}

pub fn server(settings: ServerSettings) -> Session<Server> {
    Session::new(Server::new(settings), Server::config(), 1, T0).expect("limits that work")
}

pub fn client(settings: ClientSettings) -> Session<Client> {
    Session::new(Client::new(settings), duologue_core::Config::new(), 2, T0).expect("limits that work")
}

/// Feeds bytes as far as the session reads, and tells how many.
pub fn feed<P: Protocol>(session: &mut Session<P>, now: Instant, bytes: &[u8]) -> usize {
    let mut fed = 0;
    while fed < bytes.len() && session.interest().read {
        let mut buf = session.recv_buf();
        let n = (bytes.len() - fed).min(buf.remaining_mut());
        buf.put_slice(&bytes[fed..fed + n]);
        session.received(now);
        fed += n;
    }
    fed
}

/// All that the session wants written, and its FIN if that is due.
pub fn written<P: Protocol>(session: &mut Session<P>, now: Instant) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..STEPS {
        if session.interest().shutdown_write {
            session.shutdown_done(now);
        }
        if !session.interest().write {
            return out;
        }
        let mut slices = [&[][..]; 8];
        let filled = session.transmit(&mut slices);
        let bytes = slices[..filled].concat();
        session.transmitted(now, bytes.len());
        out.extend(bytes);
    }
    panic!("writing does not end");
}

pub fn text<P: Protocol>(session: &mut Session<P>, now: Instant) -> String {
    String::from_utf8(written(session, now)).expect("text")
}

/// All messages that wait.
pub fn messages<P: Protocol>(session: &mut Session<P>, now: Instant) -> Vec<P::Event> {
    let mut out = Vec::new();
    while let Some(event) = session.poll_event(now) {
        if let Event::App(event) = event {
            out.push(event);
        }
    }
    out
}

pub fn finished<P: Protocol>(session: &Session<P>) -> bool {
    session.states().1 == SendState::Finished
}

pub fn violation<P: Protocol<Violation = Violation>>(session: &Session<P>) -> Option<Violation> {
    match session.cause() {
        Some(Cause::Violation(violation)) => Some(*violation),
        _ => None,
    }
}

/// Runs to its deadline and tells when that was.
pub fn pass_deadline<P: Protocol>(session: &mut Session<P>) -> Instant {
    let deadline = session.interest().deadline.expect("a deadline is armed");
    session.handle_timeout(deadline.at);
    deadline.at
}

pub fn ok(body: &'static str) -> ServerCommand {
    full(StatusCode::OK, body)
}

pub fn full(status: StatusCode, body: &'static str) -> ServerCommand {
    ServerCommand::Respond(Response { body: Body::Full(Bytes::from_static(body.as_bytes())), ..Response::new(status) })
}

pub fn streamed() -> ServerCommand {
    ServerCommand::Respond(Response { body: Body::Stream, ..Response::default() })
}

pub fn data(data: &'static str) -> ServerCommand {
    ServerCommand::Data(Bytes::from_static(data.as_bytes()))
}

pub fn get(path: &'static str) -> ClientCommand {
    ClientCommand::Request(request("GET", path, Body::Empty))
}

pub fn request(method: &'static str, path: &'static str, body: Body) -> duologue_http1::Request {
    let uri = format!("http://example.org{path}");
    duologue_http1::http::Request::builder().method(method).uri(uri).body(body).expect("a request").into()
}

/// A message put together from its events, so that it can be compared however it was cut.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Whole {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub complete: bool,
}

fn pairs(headers: &duologue_http1::http::HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&duologue_http1::http::HeaderName, &duologue_http1::http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    headers.iter().map(pair).collect()
}

pub fn requests(events: Vec<ServerEvent>) -> Vec<Whole> {
    let mut out: Vec<Whole> = Vec::new();
    for event in events {
        match event {
            ServerEvent::Request(head) => out.push(Whole {
                start: format!("{} {} {:?}", head.method, head.uri, head.version),
                headers: pairs(&head.headers),
                complete: head.body == Incoming::Empty,
                ..Whole::default()
            }),
            ServerEvent::Data(data) => out.last_mut().expect("a head first").body.extend(data),
            ServerEvent::End(trailers) => {
                let last = out.last_mut().expect("a head first");
                last.complete = true;
                last.trailers = trailers.iter().flat_map(pairs).collect();
            }
        }
    }
    out
}

pub fn responses(events: Vec<ClientEvent>) -> Vec<Whole> {
    let mut out: Vec<Whole> = Vec::new();
    for event in events {
        match event {
            ClientEvent::Response(head) | ClientEvent::Interim(head) => out.push(Whole {
                start: format!("{:?} {}", head.version, head.status),
                headers: pairs(&head.headers),
                complete: head.body == Incoming::Empty,
                ..Whole::default()
            }),
            ClientEvent::Data(data) => out.last_mut().expect("a head first").body.extend(data),
            ClientEvent::End(trailers) => {
                let last = out.last_mut().expect("a head first");
                last.complete = true;
                last.trailers = trailers.iter().flat_map(pairs).collect();
            }
            ClientEvent::ContinueOverdue => {}
        }
    }
    out
}
