//! A server of numbered events that come one after the other, and are kept for a while.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, CloseIntent, Code, Event, Instant, Rng, SendError};
use duologue_http1::http::StatusCode;
use duologue_http1::http::header::{CONTENT_TYPE, HeaderValue};
use duologue_http1::sse::{self, EventBuilder, Heartbeat};
use duologue_http1::{Body, RequestHead, Response, Server, ServerCommand, ServerEvent, Violation};
use duologue_sim::{App, Io};

use super::EVENTS;

/// What both sides agree to in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Between two events.
    pub(crate) gap: Duration,
    /// Events that the server keeps; who asks for older ones is told that they are gone.
    pub(crate) keeps: u64,
    /// What the server says about connecting again.
    pub(crate) retry: Duration,
    /// Of so many steps one ends the connection.
    pub(crate) ends_one_in: u64,
}

/// What the client was told last, and how often the server was asked.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) told: u64,
    pub(crate) asked: u64,
    /// What the client had been told last whenever it asked, unless that request has come.
    pub(crate) asks: Vec<u64>,
    /// When the first event was a gap away, on the server's clock.
    begun: Option<Instant>,
}

/// The data of an event: of one line or several, short or long.
pub(crate) fn data(number: u64) -> String {
    let line = format!("event {number} ").repeat(1 + (number % 7) as usize);
    if number % 3 == 0 { format!("{line}\n\n{line}") } else { line }
}

pub(crate) struct Feed {
    terms: Terms,
    book: Rc<RefCell<Book>>,
    rng: Rng,
    /// The event that is sent next, once a request came.
    next: Option<u64>,
    heartbeat: Option<Heartbeat>,
    unsent: VecDeque<ServerCommand>,
    then: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Fin,
    Goodbye,
    Reset,
}

impl Feed {
    pub(crate) fn new(terms: Terms, book: Rc<RefCell<Book>>, seed: u64) -> Self {
        let rng = Rng::new(seed);
        Self { terms, book, rng, next: None, heartbeat: None, unsent: VecDeque::new(), then: None }
    }

    fn on_request(&mut self, io: &mut Io<'_, Server>, head: &RequestHead) {
        let last = head.headers.get(sse::LAST_EVENT_ID).map(|id| id.to_str().expect("text").parse().expect("a number"));
        let mut book = self.book.borrow_mut();
        book.asked += 1;
        book.begun.get_or_insert(io.now());
        // A request may come late, when its client has gone on by another connection.
        let place = book.asks.iter().position(|told| *told == last.unwrap_or(0));
        book.asks.remove(place.expect("asked to go on after another event than the one told last"));
        drop(book);
        self.next = Some(last.unwrap_or(0) + 1);
        self.heartbeat = Some(Heartbeat::new(Duration::from_secs(1), io.now()));
        let mut response = Response { body: Body::Stream, ..Response::new(StatusCode::OK) };
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(sse::CONTENT_TYPE));
        self.unsent.push_back(ServerCommand::Respond(response));
        self.put(&sse::retry(self.terms.retry));
    }

    /// Bytes of the stream, cut anywhere.
    fn put(&mut self, bytes: &Bytes) {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let n = 1 + self.rng.below(rest.len() as u64 * 2) as usize;
            self.unsent.push_back(ServerCommand::Data(rest.split_to(n.min(rest.len()))));
        }
    }

    /// The newest event that has happened.
    fn newest(&self, now: Instant) -> u64 {
        let passed = now.since(self.begun(now)).as_nanos() / self.terms.gap.as_nanos();
        EVENTS.min(passed as u64)
    }

    fn begun(&self, now: Instant) -> Instant {
        self.book.borrow().begun.unwrap_or(now)
    }

    /// What is due: an event, or the word that some are gone. Nothing, if nothing is.
    fn make(&mut self, now: Instant) -> Option<Bytes> {
        let next = self.next?;
        let newest = self.newest(now);
        let oldest = newest.saturating_sub(self.terms.keeps) + 1;
        if next < oldest {
            let (id, gone) = ((oldest - 1).to_string(), format!("{next}-{}", oldest - 1));
            self.next = Some(oldest);
            return EventBuilder::new(&gone).name("gone").id(&id).encode().ok();
        }
        if next <= newest {
            self.next = Some(next + 1);
            return EventBuilder::new(&data(next)).id(&next.to_string()).encode().ok();
        }
        let heartbeat = self.heartbeat.as_ref()?;
        (heartbeat.due() <= now).then(|| [sse::heartbeat(), sse::comment("quiet\nso far")].concat().into())
    }

    fn go_on(&mut self, io: &mut Io<'_, Server>) {
        loop {
            while let Some(command) = self.unsent.pop_front() {
                match io.send(command) {
                    Ok(()) => {}
                    Err(full) if full.is_temporary() => return self.unsent.push_front(full.into_command()),
                    // The session is ending.
                    Err(SendError::Finished { .. } | SendError::Closed { .. }) => return self.stop(),
                    Err(wrong) => panic!("{wrong}"),
                }
            }
            if let Some(end) = self.then.take() {
                self.stop();
                return match end {
                    End::Fin => io.finish(),
                    End::Goodbye => io.close(CloseIntent::Goodbye(Code(0))),
                    End::Reset => io.abort(Code(0)),
                };
            }
            let now = io.now();
            let Some(mut bytes) = self.make(now) else { break };
            if let Some(heartbeat) = &mut self.heartbeat {
                heartbeat.sent(now);
            }
            let ends = self.rng.below(self.terms.ends_one_in) == 0;
            if ends {
                bytes.truncate(self.rng.below(bytes.len() as u64 + 1) as usize);
            }
            self.put(&bytes);
            if ends {
                self.next = None;
                self.heartbeat = None;
                match self.rng.below(4) {
                    0 => self.then = Some(End::Fin),
                    1 => self.then = Some(End::Goodbye),
                    2 => self.then = Some(End::Reset),
                    _ => self.unsent.push_back(ServerCommand::End(None)),
                }
            }
        }
        if let (Some(next), Some(heartbeat)) = (self.next, self.heartbeat) {
            let happens = self.begun(io.now()).after(self.terms.gap * next as u32);
            io.wake_at(if next > EVENTS { heartbeat.due() } else { happens.min(heartbeat.due()) });
        }
    }

    fn stop(&mut self) {
        self.unsent.clear();
        self.next = None;
        self.heartbeat = None;
    }
}

impl App<Server> for Feed {
    fn on_event(&mut self, io: &mut Io<'_, Server>, event: Event<ServerEvent, Violation>) {
        match event {
            Event::App(ServerEvent::Request(head)) => self.on_request(io, &head),
            Event::Closed(closed) => {
                assert!(!matches!(closed.cause, Cause::Violation(_)), "the client broke HTTP: {}", closed.cause);
                return self.stop();
            }
            Event::App(_) | Event::Writable | Event::PeerFinished => {}
        }
        self.go_on(io);
    }

    fn on_alarm(&mut self, io: &mut Io<'_, Server>) {
        self.go_on(io);
    }
}
