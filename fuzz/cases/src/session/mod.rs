//! Any order of calls on a session, beside a model that predicts everything it shows.
//!
//! After each call the states, every wish with its deadline, the cause, the room, the counters, each event and each byte
//! written must be what the model says. The protocol is a toy in which a byte is a message, so that the model is about
//! the session and not about decoding.

mod model;
mod toy;

use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::{BufMut, Bytes};
use duologue_core::{
    CloseIntent, CloseOrder, Code, Config, Event, FaultKind, Instant, Keepalive, Limits, OnPeerFinish, Operation,
    SendError, Session, Timeouts, TransportFault,
};

use self::model::{Model, No, Told};
use self::toy::{BAD, BYE, HELLO, PAIR, PING, Toy, Traits};

/// A configuration and calls.
#[derive(Arbitrary, Debug)]
pub struct Input {
    traits: Traits,
    setup: Setup,
    /// Whether the transport is connected at the start.
    connecting: bool,
    calls: Vec<Call>,
}

/// Small numbers, so that they are met. A time-out of 0 is none, of 1 no wait.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Setup {
    recv_buffer: u8,
    send_buffer: u8,
    control_reserve: u8,
    linger_bytes: u8,
    waits: [u8; 9],
    peer_first: Option<u8>,
    on_peer_finish: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Call {
    Wait { ticks: u8 },
    UntilDeadline { before: bool },
    Back { ticks: u8 },
    Connected,
    Receive { what: [u8; 3], count: u8 },
    Fin,
    Transmit { most: u8 },
    ShutdownDone,
    Fail { kind: u8, operation: u8 },
    Release,
    Unasked { release: bool },
    Timeout,
    Send { len: u8 },
    Finish,
    ShutdownRead,
    Close { flush: bool, code: u8 },
    Abort { code: u8 },
    Poll { times: u8 },
}

/// One unit of time.
const TICK: Duration = Duration::from_millis(1);
/// Calls of one run at most.
const MOST: usize = 300;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    let mut pair = Pair::new(&input);
    pair.compare(None);
    for call in input.calls.iter().take(MOST) {
        pair.apply(*call);
        pair.compare(Some(*call));
    }
}

struct Pair {
    session: Session<Toy>,
    model: Model,
    now: Instant,
}

impl Setup {
    fn config(self) -> Config {
        let wait = |i: usize| self.waits[i].checked_sub(1).map(|ticks| TICK * u32::from(ticks));
        let keepalive = wait(3).zip(wait(4)).map(|(quiet, reply)| Keepalive { quiet, reply });
        let timeouts = Timeouts::none().connect(wait(0)).handshake(wait(1)).idle(wait(2)).keepalive(keepalive);
        let timeouts = timeouts.write_stall(wait(5)).close_handshake(wait(6)).flush(wait(7)).linger(wait(8));
        // The bits that `linger_bytes` leaves: from 4 ms a byte down to less than a tick.
        let timeouts = timeouts.write_rate(250 * u32::from(self.linger_bytes / 32));
        let limits = Limits::new()
            .recv_buffer(2 + usize::from(self.recv_buffer % 16))
            .send_buffer(1 + usize::from(self.send_buffer % 32))
            .control_reserve(usize::from(self.control_reserve % 8))
            .linger_bytes(u64::from(self.linger_bytes % 32))
            .read_chunk(4)
            .share_threshold(6);
        let order = self
            .peer_first
            .map_or(CloseOrder::LocalFirst, |ticks| CloseOrder::PeerFirst { within: TICK * u32::from(ticks) });
        let policy = match self.on_peer_finish % 3 {
            0 => OnPeerFinish::FlushThenFinish,
            1 => OnPeerFinish::KeepSending,
            _ => OnPeerFinish::Abort,
        };
        Config::new().timeouts(timeouts).limits(limits).close_order(order).on_peer_finish(policy)
    }
}

impl Pair {
    fn new(input: &Input) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let config = input.setup.config();
        let session = Session::connecting(Toy(input.traits), config.clone(), 0, now);
        let mut session = session.unwrap_or_else(|error| panic!("{error}"));
        let mut model = Model::connecting(input.traits, config, now);
        if !input.connecting {
            session.connected(now);
            model.connected(now);
        }
        Self { session, model, now }
    }

    /// Makes a call, if it is legal now.
    fn apply(&mut self, call: Call) {
        let (now, interest) = (self.now, self.session.interest());
        let (session, model) = (&mut self.session, &mut self.model);
        match call {
            Call::Wait { ticks } => self.now = now.after(TICK * u32::from(ticks)),
            Call::UntilDeadline { before } => {
                if let Some(deadline) = interest.deadline {
                    let tick = if before { Duration::from_nanos(1) } else { Duration::ZERO };
                    let at = Instant::from_origin(deadline.at.since(Instant::ORIGIN).saturating_sub(tick));
                    self.now = now.max(at);
                }
            }
            // The caller's clock goes back for one call; the session's never does.
            Call::Back { ticks } => {
                let past = now.since(Instant::ORIGIN).saturating_sub(TICK * u32::from(ticks));
                session.handle_timeout(Instant::from_origin(past));
                model.handle_timeout(Instant::from_origin(past));
            }
            Call::Connected => {
                session.connected(now);
                model.connected(now);
            }
            Call::Receive { what, count } if interest.read => {
                let bytes: Vec<u8> = what.iter().take(1 + usize::from(count % 3)).map(|byte| meant(*byte)).collect();
                let mut room = session.recv_buf();
                let bytes = &bytes[..bytes.len().min(room.remaining_mut())];
                room.put_slice(bytes);
                session.received(now);
                model.received(now, bytes);
            }
            Call::Fin if interest.read => {
                session.received_eof(now);
                model.received_eof(now);
            }
            Call::Transmit { most } if interest.write => {
                let mut slices: [&[u8]; 3] = [&[]; 3];
                let filled = session.transmit(&mut slices);
                let offered = slices[..filled].concat();
                let n = usize::from(most).min(offered.len());
                session.transmitted(now, n);
                assert_eq!(offered[..n], model.transmitted(now, n), "other bytes were written");
            }
            Call::ShutdownDone if interest.shutdown_write => {
                session.shutdown_done(now);
                model.shutdown_done(now);
            }
            Call::Fail { kind, operation } => {
                let fault = fault(kind, operation);
                session.transport_failed(now, fault);
                model.transport_failed(now, fault);
            }
            Call::Release if interest.release.is_some() => {
                session.released();
                model.released();
            }
            Call::Unasked { release: true } => {
                session.released();
                model.released();
            }
            Call::Unasked { release: false } => {
                let n = session.buffered().1 + 1;
                session.transmitted(now, n);
                let _ = model.transmitted(now, n);
            }
            Call::Timeout => {
                session.handle_timeout(now);
                model.handle_timeout(now);
                let left = session.interest().deadline;
                assert!(left.is_none_or(|deadline| deadline.at > now), "L7: {left:?} at {now:?}");
            }
            Call::Send { len } => self.send(usize::from(len % 40)),
            Call::Finish => {
                session.finish(now);
                model.finish(now);
            }
            Call::ShutdownRead => {
                session.shutdown_read(now);
                model.shutdown_read(now);
            }
            Call::Close { flush, code } => {
                let code = Code(code.into());
                let intent = if flush { CloseIntent::Flush(code) } else { CloseIntent::Goodbye(code) };
                session.close(now, intent);
                model.close(now, intent);
            }
            Call::Abort { code } => {
                session.abort(now, Code(code.into()));
                model.abort(now, Code(code.into()));
            }
            Call::Poll { times } => (0..=times % 4).for_each(|_| self.poll()),
            // Not legal now.
            _ => {}
        }
    }

    fn send(&mut self, len: usize) {
        let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let due = self.model.send(self.now, &message);
        let result = self.session.send(self.now, Bytes::from(message.clone()));
        let told = match &result {
            Ok(()) => Ok(()),
            Err(SendError::Full { need, room, .. }) => Err(No::Full { need: *need, room: *room }),
            Err(SendError::TooLarge { need, limit, .. }) => Err(No::TooLarge { need: *need, limit: *limit }),
            Err(SendError::NotOpen { .. }) => Err(No::NotOpen),
            Err(SendError::Finished { .. }) => Err(No::Finished),
            Err(SendError::Closed { .. }) => Err(No::Closed),
            Err(SendError::Invalid { .. }) => Err(No::Invalid),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(told, due, "sending {len} bytes");
        if let Err(error) = result {
            assert_eq!(error.into_command(), message, "the command comes back as it was");
        }
    }

    fn poll(&mut self) {
        let due = self.model.poll_event(self.now);
        let told = self.session.poll_event(self.now);
        if let Some(Event::Closed(closed)) = &told {
            let (cause, phase, unsent, undelivered, peer_finished, first) = self.model.last_words();
            let words = (Some(closed.cause.clone()), Some(closed.phase), closed.unsent, closed.undelivered);
            assert_eq!(words, (cause, phase, unsent, undelivered));
            assert_eq!((closed.peer_finished, closed.finished_first), (peer_finished, first));
        }
        let told = told.map(|event| match event {
            Event::Writable => Told::Writable,
            Event::App(message) => Told::Message(message),
            Event::PeerFinished => Told::PeerFinished,
            Event::Closed(_) => Told::Closed,
        });
        assert_eq!(told, due, "another event");
    }

    fn compare(&self, after: Option<Call>) {
        let (session, model) = (&self.session, &self.model);
        let shown = (session.states(), session.interest(), session.cause().cloned(), session.is_established());
        let due = ((model.recv, model.send), model.interest(), model.cause.clone(), model.is_established());
        assert_eq!(shown, due, "after {after:?} at {:?}", self.now);
        let stats = session.stats();
        let shown = (session.room(), session.buffered(), [stats.events, stats.accepted, stats.flushed]);
        let due = (model.room(), model.buffered(), [model.events, model.accepted, model.flushed]);
        assert_eq!(shown, due, "after {after:?}");
    }
}

/// Half of all bytes mean something.
fn meant(byte: u8) -> u8 {
    match byte % 16 {
        0 => HELLO,
        1 => PING,
        2 if byte >= 0xC0 => BYE,
        3 if byte >= 0xC0 => BAD,
        4 => PAIR,
        5..=11 => b'a' + byte % 26,
        _ => byte,
    }
}

fn fault(kind: u8, operation: u8) -> TransportFault {
    let kind = match kind % 6 {
        0 => FaultKind::Reset,
        1 => FaultKind::BrokenPipe,
        2 => FaultKind::TimedOut,
        3 => FaultKind::Truncated,
        4 => FaultKind::Refused,
        _ => FaultKind::Other,
    };
    let operation = match operation % 4 {
        0 => Operation::Read,
        1 => Operation::Write,
        2 => Operation::ShutdownWrite,
        _ => Operation::Connect,
    };
    TransportFault::new(kind, operation)
}
