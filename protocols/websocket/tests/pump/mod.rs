//! A hand pump: what a driver and an echoing application do, a step at a time, without a clock or a socket.
#![allow(dead_code)]

use bytes::BufMut;
use duologue_core::{Event as SessionEvent, Instant, Session};
use duologue_websocket::{Command, Event, Violation, WebSocket};

pub(crate) const STEPS: usize = 100_000;
pub(crate) type Told = SessionEvent<Event, Violation>;

/// How a stream is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Whole,
    Bytewise,
    Pieces(usize),
}

impl Cut {
    fn size(self) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::Bytewise => 1,
            Self::Pieces(n) => n,
        }
    }
}

/// Takes everything that is queued, and tells whether FIN is behind it.
pub(crate) fn output(session: &mut Session<WebSocket>, now: Instant) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    for _ in 0..STEPS {
        if !session.interest().write {
            break;
        }
        let mut slices: [&[u8]; 4] = [&[]; 4];
        let filled = session.transmit(&mut slices);
        let some = slices[..filled].concat();
        session.transmitted(now, some.len());
        bytes.extend(some);
    }
    let fin = session.interest().shutdown_write;
    if fin {
        session.shutdown_done(now);
    }
    (bytes, fin)
}

/// Gives as many of `bytes` as the session reads, and tells how many that were.
pub(crate) fn input(session: &mut Session<WebSocket>, now: Instant, bytes: &[u8]) -> usize {
    if !session.interest().read || bytes.is_empty() {
        return 0;
    }
    let mut buf = session.recv_buf();
    let n = bytes.len().min(buf.remaining_mut());
    buf.put_slice(&bytes[..n]);
    session.received(now);
    n
}

/// One side with an application that echoes.
pub(crate) struct Server {
    pub(crate) session: Session<WebSocket>,
    pub(crate) echo: bool,
    pub(crate) told: Vec<Told>,
    pub(crate) now: Instant,
}

impl Server {
    pub(crate) fn new(session: Session<WebSocket>) -> Self {
        Self { session, echo: true, told: Vec::new(), now: Instant::ORIGIN }
    }

    /// Takes what there is, and answers it.
    pub(crate) fn take(&mut self) {
        for _ in 0..STEPS {
            // What opens the conversation is an event under either delivery.
            if self.handle() == 0 && !self.poll() {
                return;
            }
        }
        panic!("events without end");
    }

    fn handle(&mut self) -> usize {
        let echo = self.echo;
        self.session.handle(self.now, 0, STEPS, |event, replies| {
            let answer = match event {
                Event::Text(text) => Command::Text(text),
                Event::Binary(data) => Command::Binary(data),
                _ => return,
            };
            if echo {
                replies.send(answer).expect("there is room for the echo");
            }
        })
    }

    fn poll(&mut self) -> bool {
        let Some(event) = self.session.poll_event(self.now) else { return false };
        let answer = match &event {
            SessionEvent::App(Event::Text(text)) => Some(Command::Text(text.clone())),
            SessionEvent::App(Event::Binary(data)) => Some(Command::Binary(data.clone())),
            _ => None,
        };
        if let Some(answer) = answer.filter(|_| self.echo) {
            // After a Close that was decoded ahead it is too late.
            let _ = self.session.send(self.now, answer);
        }
        self.told.push(event);
        true
    }

    /// Plays a stream, and FIN behind it: every answer, and whether the side ended with FIN.
    pub(crate) fn play(&mut self, stream: &[u8], cut: Cut, fin: bool) -> (Vec<u8>, bool) {
        let (mut answers, mut ended) = (Vec::new(), false);
        let mut rest = stream;
        for _ in 0..STEPS {
            let size = cut.size().min(rest.len());
            let n = input(&mut self.session, self.now, &rest[..size]);
            rest = &rest[n..];
            self.take();
            let (bytes, fin) = output(&mut self.session, self.now);
            answers.extend(bytes);
            ended |= fin;
            if rest.is_empty() || n == 0 {
                break;
            }
        }
        if fin && self.session.interest().read {
            self.session.received_eof(self.now);
            self.take();
            let (bytes, fin) = output(&mut self.session, self.now);
            answers.extend(bytes);
            ended |= fin;
        }
        (answers, ended)
    }
}
