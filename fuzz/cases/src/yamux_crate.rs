//! yamux beside the `yamux` crate: any order of stream operations on either side of one connection.
//!
//! * what is read on a stream is what the other side wrote on it, in order, and all of it unless somebody gave it up;
//! * who finishes is heard, and nobody hears an end that was not said;
//! * neither breaks the protocol for the other, and a stream that one gave up stays open at neither.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ::yamux::{Connection, Mode};
use arbitrary::Arbitrary;
use duologue_core::streams::{Multiplex, Received, StreamEnd, StreamEvent, StreamId};
use duologue_core::{Code, Config, Event, Session, Timeouts};
use duologue_yamux::{Role, Yamux, YamuxConfig, YamuxEvent};
use futures_io::{AsyncRead, AsyncWrite};

use crate::play::{NOW, drain, play};

/// Operations of both sides.
#[derive(Arbitrary, Debug)]
pub struct Input {
    we_are_client: bool,
    cuts: Vec<u8>,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
struct Operation {
    ours: bool,
    /// Which of the side's streams.
    stream: u8,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum What {
    Open,
    Write(u16),
    Finish,
    /// Ours is reset, the crate's is dropped.
    GiveUp,
    Read(u16),
    /// Everything that both sides wrote goes to the other.
    Carry,
}

/// Streams of one side; both have far larger limits.
const MOST: usize = 40;

/// Bytes on their way, as the crate sees them.
#[derive(Clone, Default)]
struct Wire {
    to_crate: Rc<RefCell<VecDeque<u8>>>,
    from_crate: Rc<RefCell<Vec<u8>>>,
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = io::Read::read(&mut *self.to_crate.borrow_mut(), into)?;
        if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.from_crate.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What one side did with a stream, and saw of it.
#[derive(Default)]
struct Account {
    written: u64,
    read: u64,
    finished: bool,
    gave_up: bool,
    /// The other side's end was read.
    end: bool,
    ends: u32,
}

struct Ours {
    session: Session<Yamux>,
    streams: Vec<(u64, StreamId)>,
    accounts: BTreeMap<u64, Account>,
}

struct Theirs {
    connection: Connection<Wire>,
    streams: Vec<(u64, Option<::yamux::Stream>)>,
    accounts: BTreeMap<u64, Account>,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    if let Some(input) = crate::parse::<Input>(data) {
        beside(&input);
    }
}

fn beside(input: &Input) {
    let (role, mode) = if input.we_are_client { (Role::Client, Mode::Server) } else { (Role::Server, Mode::Client) };
    let yamux = Yamux::new(role, YamuxConfig::new()).unwrap_or_else(|error| panic!("{error}"));
    let session = Session::new(yamux, Config::new().timeouts(Timeouts::none()), 3, NOW);
    let session = session.unwrap_or_else(|error| panic!("{error}"));
    let wire = Wire::default();
    let connection = Connection::new(wire.clone(), ::yamux::Config::default(), mode);
    let mut ours = Ours { session, streams: Vec::new(), accounts: BTreeMap::new() };
    let mut theirs = Theirs { connection, streams: Vec::new(), accounts: BTreeMap::new() };
    for Operation { ours: by_us, stream, what } in input.operations.iter().take(300) {
        match (what, by_us) {
            (What::Carry, _) => drop(carry(&mut ours, &mut theirs, &wire, &input.cuts)),
            (_, true) => ours.perform(usize::from(*stream), what),
            (_, false) => theirs.perform(usize::from(*stream), what),
        }
    }
    for round in 0.. {
        assert!(round < 10_000, "it never comes to rest");
        let mut moved = carry(&mut ours, &mut theirs, &wire, &input.cuts);
        for stream in 0..ours.streams.len() {
            moved |= ours.read(stream, usize::MAX);
        }
        for stream in 0..theirs.streams.len() {
            moved |= theirs.read(stream, usize::MAX);
        }
        if !moved {
            break;
        }
    }
    check(&mut ours, &theirs);
}

fn check(ours: &mut Ours, theirs: &Theirs) {
    let none = Account::default();
    let keys: Vec<u64> = ours.accounts.keys().chain(theirs.accounts.keys()).copied().collect();
    for key in keys {
        let (us, them) = (ours.accounts.get(&key).unwrap_or(&none), theirs.accounts.get(&key).unwrap_or(&none));
        let given_up = us.gave_up || them.gave_up;
        for (from, to) in [(us, them), (them, us)] {
            assert!(to.read <= from.written, "stream {key}: more is read than was written");
            assert!(given_up || to.read == from.written, "stream {key}: {} of {}", to.read, from.written);
            // A stream of the crate's is announced by its first data.
            assert!(given_up || to.end == from.finished || from.written == 0, "stream {key}: finish and end");
        }
        let id = ours.session.protocol().streams().lookup(key);
        let open = id.and_then(|id| ours.session.protocol().streams().inspect(id)).is_some_and(|info| {
            // The crate that closed and then dropped a stream says no more about it.
            !info.send.is_over() && !them.finished
        });
        assert!(!given_up || !open, "stream {key}: given up, and open here");
    }
}

fn byte(key: u64, at: u64) -> u8 {
    (key.wrapping_mul(31) ^ at ^ (at >> 8)) as u8
}

fn bytes(key: u64, from: u64, n: u16) -> Vec<u8> {
    (from..from + u64::from(n)).map(|at| byte(key, at)).collect()
}

impl Account {
    fn take(&mut self, key: u64, bytes: &[u8]) {
        for got in bytes {
            assert_eq!(*got, byte(key, self.read), "stream {key} at {}", self.read);
            self.read += 1;
        }
    }
}

impl Ours {
    fn perform(&mut self, stream: usize, what: &What) {
        if let What::Open = what {
            let mut protocol = self.session.protocol_mut(NOW);
            if let Some(id) = (self.streams.len() < MOST).then(|| protocol.open(NOW).ok()).flatten() {
                let key = protocol.streams_mut().get_mut(id).map_or(0, |stream| stream.key());
                drop(protocol);
                self.add(key, id);
            }
            return;
        }
        if self.streams.is_empty() {
            return;
        }
        let stream = stream % self.streams.len();
        if let What::Read(most) = what {
            self.read(stream, usize::from(*most).max(1));
            return;
        }
        let (key, id) = self.streams[stream];
        let account = self.accounts.entry(key).or_default();
        let mut protocol = self.session.protocol_mut(NOW);
        let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return };
        match what {
            What::Write(n) => {
                account.written += stream.write(&bytes(key, account.written, *n)).unwrap_or(0) as u64;
            }
            What::Finish => {
                account.finished |= stream.end().is_none();
                stream.finish();
            }
            _ => {
                account.gave_up |= stream.end().is_none();
                stream.reset(Code(0));
            }
        }
    }

    fn add(&mut self, key: u64, id: StreamId) {
        self.streams.push((key, id));
        self.accounts.entry(key).or_default();
    }

    fn read(&mut self, stream: usize, most: usize) -> bool {
        let (key, id) = self.streams[stream];
        let account = self.accounts.entry(key).or_default();
        let mut protocol = self.session.protocol_mut(NOW);
        let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return false };
        let mut moved = false;
        loop {
            match stream.recv(most) {
                Received::Data { bytes, .. } => {
                    assert!(stream.release(bytes.len()).is_ok(), "what was read can be released");
                    account.take(key, &bytes);
                    moved = true;
                    if most < usize::MAX {
                        return true;
                    }
                }
                Received::Finished => {
                    account.end = true;
                    return moved;
                }
                _ => return moved,
            }
        }
    }
}

impl Theirs {
    fn perform(&mut self, stream: usize, what: &What) {
        let mut cx = Context::from_waker(Waker::noop());
        if let What::Open = what {
            if self.streams.len() < MOST {
                match self.connection.poll_new_outbound(&mut cx) {
                    Poll::Ready(Ok(stream)) => self.add(stream),
                    Poll::Ready(Err(error)) => panic!("the crate's connection ended: {error}"),
                    Poll::Pending => {}
                }
            }
            return;
        }
        if self.streams.is_empty() {
            return;
        }
        let at = stream % self.streams.len();
        if let What::Read(most) = what {
            self.read(at, usize::from(*most).max(1));
            return;
        }
        let (key, slot) = &mut self.streams[at];
        let Some(stream) = slot else { return };
        let account = self.accounts.entry(*key).or_default();
        match what {
            What::Write(n) if *n > 0 && !account.finished => {
                let bytes = bytes(*key, account.written, *n);
                if let Poll::Ready(Ok(n)) = Pin::new(stream).poll_write(&mut cx, &bytes) {
                    account.written += n as u64;
                }
            }
            What::Finish => {
                let closed = stream.is_closed();
                let polled = Pin::new(stream).poll_close(&mut cx);
                account.finished |= !closed && matches!(polled, Poll::Ready(Ok(())));
            }
            What::GiveUp => {
                account.gave_up = true;
                *slot = None;
            }
            _ => {}
        }
    }

    fn add(&mut self, stream: ::yamux::Stream) {
        let key: u64 = stream.id().to_string().parse().unwrap_or_else(|error| panic!("{error}"));
        self.streams.push((key, Some(stream)));
        self.accounts.entry(key).or_default();
    }

    fn read(&mut self, stream: usize, most: usize) -> bool {
        let (key, Some(stream)) = &mut self.streams[stream] else { return false };
        let account = self.accounts.entry(*key).or_default();
        let mut into = vec![0; most.min(64 << 10)];
        let mut moved = false;
        // Reading gives credit back, so it is asked once more than there is.
        while let Poll::Ready(Ok(n)) =
            Pin::new(&mut *stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut into)
        {
            if n == 0 {
                account.end = true;
                break;
            }
            account.take(*key, &into[..n]);
            moved = true;
            if most < usize::MAX {
                break;
            }
        }
        moved
    }
}

/// Carries what both sides wrote, until neither has more, and tells whether there was anything.
fn carry(ours: &mut Ours, theirs: &mut Theirs, wire: &Wire, cuts: &[u8]) -> bool {
    let mut moved = false;
    for round in 0.. {
        assert!(round < 10_000, "both write for ever");
        let mut out = Vec::new();
        drain(&mut ours.session, &mut out);
        wire.to_crate.borrow_mut().extend(&out);
        loop {
            match theirs.connection.poll_next_inbound(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Ok(stream))) => theirs.add(stream),
                Poll::Ready(Some(Err(error))) => panic!("the crate's connection ended: {error}"),
                Poll::Ready(None) => panic!("the crate's connection ended: {:?}", ours.session.cause()),
                Poll::Pending => break,
            }
        }
        let back = core::mem::take(&mut *wire.from_crate.borrow_mut());
        let (mut opened, mut ended) = (Vec::new(), Vec::new());
        let answer = play(&mut ours.session, &back, cuts, false, |session, event| match event {
            Event::App(YamuxEvent::Stream(StreamEvent::Opened(id))) => {
                let key = session.protocol_mut(NOW).streams_mut().get_mut(id).map_or(0, |stream| stream.key());
                opened.push((key, id));
            }
            Event::App(YamuxEvent::Stream(StreamEvent::Closed(id, closed))) => ended.push((id, closed.end)),
            Event::Closed(closed) => panic!("we ended: {closed:?}"),
            _ => {}
        });
        opened.into_iter().for_each(|(key, id)| ours.add(key, id));
        for (id, end) in ended {
            let key = ours.streams.iter().find(|(_, other)| *other == id).map(|(key, _)| *key);
            let account = key.and_then(|key| ours.accounts.get_mut(&key));
            let account = account.unwrap_or_else(|| panic!("{id} ends, and nobody knows it"));
            account.end |= end == StreamEnd::Finished;
            account.ends += 1;
            assert_eq!(account.ends, 1, "stream {id} ends twice");
        }
        assert!(ours.session.cause().is_none(), "we ended: {:?}", ours.session.cause());
        if out.is_empty() && back.is_empty() && answer.is_empty() {
            return moved;
        }
        moved = true;
        wire.to_crate.borrow_mut().extend(&answer);
    }
    moved
}

#[cfg(test)]
mod tests {
    use duologue_core::Rng;

    use super::*;

    fn operation(rng: &mut Rng) -> Operation {
        let what = match rng.below(40) {
            0..=3 => What::Open,
            4..=15 => What::Write(rng.below(5_000) as u16),
            16 => What::Write(u16::MAX),
            17 | 18 => What::Finish,
            19 => What::GiveUp,
            20..=30 => What::Read(rng.below(9_000) as u16),
            _ => What::Carry,
        };
        Operation { ours: rng.below(2) == 0, stream: rng.below(256) as u8, what }
    }

    /// Inputs as a person would choose them; the fuzzer finds the others.
    #[test]
    fn two_implementations_agree() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let cuts = (0..rng.below(4)).map(|_| rng.below(256) as u8).collect();
            let operations = (0..rng.below(300)).map(|_| operation(&mut rng)).collect();
            let input = Input { we_are_client: seed % 2 == 0, cuts, operations };
            let held = std::panic::catch_unwind(|| beside(&input)).is_ok();
            assert!(held, "seed {seed}: {input:#?}");
        }
    }
}
