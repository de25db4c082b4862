//! One socket and one session: asks what the session wants, does it, and tells it what happened.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use bytes::BufMut;
use duologue_core::{Event, FaultKind, Instant, Interest, Operation, Session, TransportFault};
use mio::net::TcpStream;

use crate::Frames;
use crate::clock::Clock;

pub(crate) struct Connection {
    stream: TcpStream,
    session: Session<Frames>,
    /// mio tells readiness once, at its edge; it is kept until a call would block.
    readable: bool,
    writable: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, session: Session<Frames>) -> Self {
        Self { stream, session, readable: false, writable: false }
    }

    pub(crate) fn ready(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.session.interest().deadline.map(|deadline| deadline.at)
    }

    /// Does all that the session wants and the socket allows. False once it is over.
    pub(crate) fn advance(&mut self, clock: &Clock) -> bool {
        loop {
            let now = clock.now();
            // In full: a new wish of the core would not compile, instead of being forgotten.
            let Interest { event, read, write, shutdown_write, release, deadline } = self.session.interest();
            if event {
                self.take_event(now);
            } else if release.is_some() {
                // The socket is closed when this connection is dropped. (An abort would set SO_LINGER to 0 first.)
                self.session.released();
            } else if deadline.is_some_and(|deadline| deadline.at <= now) {
                self.session.handle_timeout(now);
            } else if write && self.writable {
                self.write(now);
            } else if shutdown_write {
                match self.stream.shutdown(Shutdown::Write) {
                    Ok(()) => self.session.shutdown_done(now),
                    Err(e) => self.session.transport_failed(now, fault(&e, Operation::ShutdownWrite)),
                }
            } else if read && self.readable {
                self.read(now);
            } else {
                return !self.session.is_over();
            }
        }
    }

    /// The application: an echo.
    fn take_event(&mut self, now: Instant) {
        match self.session.poll_event(now) {
            Some(Event::App(message)) => {
                if self.session.send(now, message).is_err() {
                    // A real server would wait for `Writable`; this one gives up on peers that do not read.
                    self.session.abort(now, duologue_core::Code(1));
                }
            }
            Some(Event::Closed(closed)) => eprintln!("{closed}"),
            Some(Event::Writable | Event::PeerFinished) | None => {}
        }
    }

    fn read(&mut self, now: Instant) {
        let mut buffer = [0; 16 << 10];
        let room = self.session.recv_buf().remaining_mut().min(buffer.len());
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => self.session.received_eof(now),
            Ok(n) => {
                self.session.recv_buf().put_slice(&buffer[..n]);
                self.session.received(now);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => self.session.transport_failed(now, fault(&e, Operation::Read)),
        }
    }

    fn write(&mut self, now: Instant) {
        let mut offered: [&[u8]; 16] = [&[]; 16];
        let count = self.session.transmit(&mut offered);
        let slices: Vec<_> = offered[..count].iter().map(|slice| IoSlice::new(slice)).collect();
        match self.stream.write_vectored(&slices) {
            Ok(n) => self.session.transmitted(now, n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => self.session.transport_failed(now, fault(&e, Operation::Write)),
        }
    }
}

fn fault(error: &io::Error, operation: Operation) -> TransportFault {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionReset => FaultKind::Reset,
        io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => FaultKind::BrokenPipe,
        io::ErrorKind::TimedOut => FaultKind::TimedOut,
        _ => FaultKind::Other,
    };
    TransportFault { kind, operation, os_code: error.raw_os_error() }
}
