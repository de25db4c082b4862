//! The driver over a transport that gives any legal answer: pending at will, short reads and writes, writes of nothing,
//! errors, the peer's FIN; with a waker that is another one in every poll.
//!
//! After each poll that waits, everything that the session wants must be registered with the waker of that very poll:
//! otherwise the wake-up would be lost. Then the driver is polled only when it was woken, and must come to its end.

mod transport;

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use duologue_core::driver::Driver;
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{
    CloseIntent, CloseOrder, Closed, Code, Config, Delivery, Event, Interest, Keepalive, Limits, OnPeerFinish, Session,
    Timeouts,
};

use self::transport::{Answer, Any, Clock, Wakes};

type Protocol = Framed<LengthPrefixed>;
type Violation = duologue_core::framed::FrameError;

/// A configuration, what the application does, and what the transport answers.
#[derive(Arbitrary, Debug)]
pub struct Input {
    in_place: bool,
    peer_first: bool,
    on_peer_finish: u8,
    send_buffer: u8,
    no_linger: bool,
    /// After the calls the transport never gets ready again.
    dead: bool,
    /// After the calls the application closes.
    closes: bool,
    calls: Vec<Call>,
    answers: Vec<Answer>,
    incoming: Vec<u8>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Call {
    Poll,
    Flush,
    Progress,
    WriteOnce,
    Ready { read: bool, write: bool, shutdown: bool, release: bool },
    Wait { millis: u16 },
    UntilDeadline,
    Send { len: u8 },
    Finish,
    ShutdownRead,
    Close { flush: bool },
    Abort,
}

/// More polls than any legal run takes after the calls.
const PATIENCE: usize = 20_000;
const MAX_FRAME: usize = 40;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    let mut run = Run::new(&input);
    for call in input.calls.iter().take(200) {
        run.call(*call);
    }
    run.end(&input);
}

struct Run {
    driver: Driver<Protocol, Any, Clock>,
    clock: Clock,
    wakes: Wakes,
    in_place: bool,
    accepted: Vec<Vec<u8>>,
    delivered: Vec<Vec<u8>>,
    peer_finished: bool,
    closed: Option<Closed<Violation>>,
    /// Temporary refusals for which no `Writable` came yet; one may answer several.
    refused: u32,
}

impl Run {
    fn new(input: &Input) -> Self {
        let seconds = |n| Some(Duration::from_secs(n));
        let timeouts = Timeouts::new()
            .idle(seconds(20))
            .keepalive(Some(Keepalive { quiet: Duration::from_secs(3), reply: Duration::from_secs(2) }))
            .write_stall(seconds(4))
            .flush(seconds(6))
            .linger(if input.no_linger { None } else { seconds(1) });
        let limits = Limits::new()
            .send_buffer(usize::from(input.send_buffer).max(1))
            .recv_buffer(MAX_FRAME + 4)
            .read_chunk(16)
            .linger_bytes(100)
            .share_threshold(20);
        let mut config = Config::new().timeouts(timeouts).limits(limits);
        if input.in_place {
            config = config.delivery(Delivery::InPlace);
        }
        if input.peer_first {
            config = config.close_order(CloseOrder::PeerFirst { within: Duration::from_secs(2) });
        }
        config = config.on_peer_finish(match input.on_peer_finish % 4 {
            0 => OnPeerFinish::KeepSending,
            1 => OnPeerFinish::Abort,
            _ => OnPeerFinish::FlushThenFinish,
        });
        let clock = Clock::default();
        let protocol = Framed::new(LengthPrefixed::u32_be(MAX_FRAME));
        let session = Session::new(protocol, config, 7, clock.time()).unwrap_or_else(|error| panic!("{error}"));
        let transport = Any::new(&input.answers, as_frames(&input.incoming));
        Self {
            driver: Driver::new(session, transport, clock.clone()),
            clock,
            wakes: Wakes::default(),
            in_place: input.in_place,
            accepted: Vec::new(),
            delivered: Vec::new(),
            peer_finished: false,
            closed: None,
            refused: 0,
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Poll => drop(self.poll()),
            Call::Flush => {
                let waker = self.wakes.next();
                if self.driver.poll_flush(&mut Context::from_waker(&waker)).is_pending() {
                    self.nothing_is_lost(true);
                }
            }
            Call::Progress => {
                let waker = self.wakes.next();
                if self.driver.poll_progress(&mut Context::from_waker(&waker)).is_pending() {
                    self.nothing_is_lost(true);
                }
            }
            Call::WriteOnce => {
                let waker = self.wakes.next();
                self.driver.poll_write_once(&mut Context::from_waker(&waker));
                // It promises nothing: whoever calls it polls afterwards.
                self.wakes.wake();
            }
            Call::Ready { read, write, shutdown, release } => {
                self.driver.transport().make_ready([read, write, shutdown, release]);
            }
            Call::Wait { millis } => self.clock.advance(Duration::from_millis(u64::from(millis))),
            Call::UntilDeadline => {
                if let Some(deadline) = self.driver.session().interest().deadline {
                    self.clock.advance(deadline.at.since(self.clock.time()));
                }
            }
            Call::Send { len } => self.send(usize::from(len)),
            Call::Finish => self.driver.finish(),
            Call::ShutdownRead => self.driver.shutdown_read(),
            Call::Close { flush: true } => self.driver.close(CloseIntent::Flush(Code(1))),
            Call::Close { flush: false } => self.driver.close(CloseIntent::Goodbye(Code(1))),
            Call::Abort => self.driver.abort(Code(2)),
        }
        if !matches!(call, Call::Poll | Call::Flush | Call::Progress | Call::Ready { .. }) {
            // Whoever does something polls afterwards; a deadline that came wakes as well.
            self.wakes.wake();
        }
    }

    fn send(&mut self, len: usize) {
        let payload = vec![self.accepted.len() as u8; len];
        let result = match self.in_place {
            true => self.driver.send_in_place(&payload),
            false => self.driver.send(Bytes::from(payload.clone())).map_err(|error| error.map(drop)),
        };
        match result {
            Ok(()) => self.accepted.push(payload),
            Err(error) => self.refused += u32::from(error.is_temporary()),
        }
    }

    /// Polls for an event; true if there was something.
    fn poll(&mut self) -> bool {
        let waker = self.wakes.next();
        let mut cx = Context::from_waker(&waker);
        let polled = if self.in_place {
            let Self { driver, delivered, accepted, refused, .. } = self;
            driver.poll_handle(&mut cx, 8, &mut |view: &[u8], replies| {
                delivered.push(view.to_vec());
                match replies.send(b"ok") {
                    Ok(()) => accepted.push(b"ok".to_vec()),
                    Err(error) => *refused += u32::from(error.is_temporary()),
                }
            })
        } else {
            self.driver.poll_event(&mut cx)
        };
        let Poll::Ready(event) = polled else {
            self.nothing_is_lost(false);
            return false;
        };
        assert!(self.closed.is_none() || event.is_none(), "L9: {event:?} after Closed");
        match event {
            Some(Event::App(frame)) => {
                assert!(!self.peer_finished, "L6: a message after PeerFinished");
                self.delivered.push(frame.to_vec());
            }
            Some(Event::PeerFinished) => {
                assert!(!std::mem::replace(&mut self.peer_finished, true), "PeerFinished twice");
            }
            Some(Event::Writable) => {
                assert!(self.refused > 0, "L11: Writable, and nobody was refused");
                self.refused -= 1;
            }
            Some(Event::Closed(closed)) => self.closed = Some(closed),
            None => assert!(self.closed.is_some(), "no further events, and no Closed"),
        }
        true
    }

    /// The driver waits: for everything that the session wants, something will wake the last waker.
    fn nothing_is_lost(&self, events_may_wait: bool) {
        if self.wakes.is_woken() {
            return;
        }
        let session = self.driver.session();
        let Interest { event, read, write, shutdown_write, release, deadline } = session.interest();
        let waits = self.driver.transport().waits(&self.wakes);
        let lost = |what: &str| panic!("L1: lost wake-up of {what}: {:?}, registered {waits:?}", session.interest());
        // Handling in place stops until there is room for the answer.
        if event && !events_may_wait && !(self.in_place && write) {
            lost("event");
        }
        let wishes = [("read", read), ("write", write), ("shutdown", shutdown_write), ("release", release.is_some())];
        for ((what, wanted), waits) in wishes.into_iter().zip(waits) {
            if wanted && !waits {
                lost(what);
            }
        }
        if let Some(deadline) = deadline {
            let armed = self.clock.armed(&self.wakes);
            assert!(
                armed.is_some_and(|at| at <= deadline.at),
                "L1: the timer is at {armed:?}, the deadline is {deadline:?}"
            );
        }
    }

    /// From now on the driver is polled when it was woken and never else.
    fn end(&mut self, input: &Input) {
        self.driver.transport().run_out(input.dead);
        if input.closes {
            self.driver.close(CloseIntent::Goodbye(Code(9)));
        }
        self.wakes.wake();
        for _ in 0..PATIENCE {
            if self.wakes.is_woken() {
                while self.poll() {
                    if self.driver.session().is_over() {
                        return self.judge();
                    }
                }
                continue;
            }
            if self.driver.transport().make_ready([!input.dead; 4]) {
                continue;
            }
            // The release is the kernel's, not the peer's.
            if self.driver.transport().make_ready([false, false, false, true]) {
                continue;
            }
            match self.clock.armed(&self.wakes) {
                Some(at) => self.clock.go_to(at),
                // Nobody but the application can go on.
                None => {
                    self.driver.close(CloseIntent::Flush(Code(8)));
                    self.wakes.wake();
                }
            }
        }
        panic!("L8: it does not end: {:?}", self.driver.session());
    }

    fn judge(&mut self) {
        let waker = Waker::noop();
        let asked = self.driver.transport().asked();
        assert!(self.driver.poll_event(&mut Context::from_waker(waker)).is_ready());
        let transport = self.driver.transport();
        assert_eq!(transport.asked(), asked, "L4: a released session wants nothing");
        let Some(closed) = &self.closed else { panic!("no Closed") };
        let stats = self.driver.session().stats();
        assert_eq!(stats.accepted, self.accepted.len() as u64);
        assert_eq!(stats.accepted, stats.flushed + closed.unsent, "L14");
        let sent: Vec<u8> = self.accepted.iter().flat_map(|payload| frame(payload)).collect();
        let written = transport.written();
        assert!(sent.starts_with(&written), "what was written is not what was sent");
        let whole = frames_in(&written).0.len() as u64;
        assert_eq!(stats.flushed, whole, "flushed messages are those that are written whole");
        let (frames, _) = frames_in(&transport.given());
        assert!(frames.starts_with(&self.delivered), "L10: {:?} of {frames:?}", self.delivered);
        if self.peer_finished {
            assert_eq!(frames, self.delivered, "L10: the peer finished, and messages are missing");
            assert!(closed.peer_finished);
        }
        assert!(transport.is_released());
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[..], payload].concat()
}

/// Bytes as they are if they begin with 0xFF; otherwise frames, their lengths by the bytes themselves.
fn as_frames(bytes: &[u8]) -> Vec<u8> {
    if let Some((0xFF, raw)) = bytes.split_first() {
        return raw.to_vec();
    }
    let (mut stream, mut rest) = (Vec::new(), bytes);
    while let Some((len, tail)) = rest.split_first() {
        let (payload, tail) = tail.split_at(usize::from(len % 64).min(tail.len()));
        stream.extend(frame(payload));
        rest = tail;
    }
    stream
}

/// The whole frames at the start of a stream, and how far they go.
fn frames_in(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some(header) = bytes.get(at..at + 4) {
        let len = header.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
        let Some(payload) = bytes.get(at + 4..at + 4 + len).filter(|_| len <= MAX_FRAME.max(255)) else { break };
        frames.push(payload.to_vec());
        at += 4 + len;
    }
    (frames, at)
}
