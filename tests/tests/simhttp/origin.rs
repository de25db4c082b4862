//! A server that does what it is asked, in every manner that a client has to bear.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, CloseIntent, Code, Event, Rng, SendError};
use duologue_http1::http::StatusCode;
use duologue_http1::http::header::{CONNECTION, HeaderValue};
use duologue_http1::{Body, Incoming, RequestHead, Response, Server, ServerCommand, ServerEvent, Violation};
use duologue_sim::{App, Io};

use super::{EARLY, content, is_long, pieces};

/// What the servers did, in order: which of them, and the request.
pub(crate) type Ledger = Rc<RefCell<Vec<(u32, u64)>>>;

pub(crate) struct Origin {
    target: u32,
    ledger: Ledger,
    rng: Rng,
    /// The request whose content comes.
    asked: Option<(u64, Vec<u8>)>,
    /// The request whose answer takes a while.
    late: Option<u64>,
    /// What does not fit the send queue yet.
    unsent: VecDeque<ServerCommand>,
    /// Ends the connection once all is sent.
    then: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Fin,
    Goodbye,
    Reset,
}

impl Origin {
    pub(crate) fn new(target: u32, ledger: Ledger, seed: u64) -> Self {
        Self { target, ledger, rng: Rng::new(seed), asked: None, late: None, unsent: VecDeque::new(), then: None }
    }

    fn on_request(&mut self, io: &mut Io<'_, Server>, head: &RequestHead) {
        let id = head.uri.path().trim_start_matches('/').parse().expect("a request's number");
        assert!(self.asked.is_none() && self.late.is_none() && self.unsent.is_empty(), "one at a time");
        let host = head.headers.get("host").expect("a host");
        assert_eq!(host.as_bytes(), format!("origin-{}", self.target).as_bytes(), "asked for another server");
        if head.body == Incoming::Empty || head.headers.contains_key(EARLY) {
            self.act(io, id);
        } else {
            self.asked = Some((id, Vec::new()));
        }
    }

    fn on_end(&mut self, io: &mut Io<'_, Server>) {
        // The rest of a request that was answered early ends as well.
        let Some((id, got)) = self.asked.take() else { return };
        assert_eq!(content(b'q', self.target, id), got, "the content of request {id}");
        self.act(io, id);
    }

    /// The request is whole, or enough of it: now it is done. Then its caller is told, or not.
    fn act(&mut self, io: &mut Io<'_, Server>, id: u64) {
        self.ledger.borrow_mut().push((self.target, id));
        let end = [End::Fin, End::Goodbye, End::Reset][self.rng.below(3) as usize];
        match self.rng.below(24) {
            0 => self.end(io, end),
            1 => {
                let whole = content(b'a', self.target, id);
                let part = pieces(&whole).into_iter().next().map(ServerCommand::Data);
                self.unsent.push_back(respond(Body::Sized(whole.len() as u64)));
                self.unsent.extend(part);
                self.then = Some(end);
            }
            2 => {
                self.late = Some(id);
                io.wake_at(io.now().after(Duration::from_millis(1 + self.rng.below(2500))));
            }
            3 => {
                self.answer(id);
                self.then = Some(end);
            }
            4 => {
                self.unsent.push_back(ServerCommand::Drain);
                self.answer(id);
            }
            _ => self.answer(id),
        }
        self.send(io);
    }

    fn answer(&mut self, id: u64) {
        let content = content(b'a', self.target, id);
        let mut response = Response::new(StatusCode::OK);
        if self.rng.below(12) == 0 {
            response.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.body = match self.rng.below(3) {
            0 if !is_long(b'a', id) => Body::Full(content.clone()),
            0 | 1 => Body::Sized(content.len() as u64),
            _ => Body::Stream,
        };
        let whole = response.body.is_complete();
        self.unsent.push_back(ServerCommand::Respond(response));
        if !whole {
            self.unsent.extend(pieces(&content).into_iter().map(ServerCommand::Data));
            self.unsent.push_back(ServerCommand::End(None));
        }
    }

    fn send(&mut self, io: &mut Io<'_, Server>) {
        while let Some(command) = self.unsent.pop_front() {
            match io.send(command) {
                Ok(()) => {}
                Err(full) if full.is_temporary() => {
                    self.unsent.push_front(full.into_command());
                    return;
                }
                // The session is ending.
                Err(SendError::Finished { .. } | SendError::Closed { .. }) => self.unsent.clear(),
                Err(wrong) => panic!("{wrong}"),
            }
        }
        if let Some(end) = self.then.take() {
            self.end(io, end);
        }
    }

    fn end(&mut self, io: &mut Io<'_, Server>, end: End) {
        match end {
            End::Fin => io.finish(),
            End::Goodbye => io.close(CloseIntent::Goodbye(Code(0))),
            End::Reset => io.abort(Code(0)),
        }
    }
}

fn respond(body: Body) -> ServerCommand {
    ServerCommand::Respond(Response { body, ..Response::new(StatusCode::OK) })
}

impl App<Server> for Origin {
    fn on_event(&mut self, io: &mut Io<'_, Server>, event: Event<ServerEvent, Violation>) {
        match event {
            Event::App(ServerEvent::Request(head)) => self.on_request(io, &head),
            Event::App(ServerEvent::Data(data)) => self.on_data(&data),
            Event::App(ServerEvent::End(_)) => self.on_end(io),
            Event::Writable => self.send(io),
            Event::PeerFinished => {}
            Event::Closed(closed) => {
                assert!(!matches!(closed.cause, Cause::Violation(_)), "the client broke HTTP: {}", closed.cause);
            }
        }
    }

    fn on_alarm(&mut self, io: &mut Io<'_, Server>) {
        if let Some(id) = self.late.take() {
            self.answer(id);
            self.send(io);
        }
    }
}

impl Origin {
    fn on_data(&mut self, data: &Bytes) {
        if let Some((_, got)) = &mut self.asked {
            got.extend_from_slice(data);
        }
    }
}
