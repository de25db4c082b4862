//! yamux: any order of stream operations between two of our sides, and frames of a peer that keeps no rule.
//!
//! * what is read on a stream is what was written on it, in order, and all of it unless somebody reset it;
//! * neither side breaks the protocol for the other;
//! * frames of any kind end the session in the same way however they are cut, or not at all.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use duologue_core::streams::{Multiplex, Received, StreamEvent, StreamId};
use duologue_core::{Cause, Code, Config, Event, Session, Timeouts};
use duologue_yamux::{Role, Yamux, YamuxConfig, YamuxEvent};

use crate::play::{NOW, drain, play};

/// Operations, and frames made by hand.
#[derive(Arbitrary, Debug)]
pub struct Input {
    operations: Vec<Operation>,
    cuts: Vec<u8>,
    server: bool,
    frames: Vec<Frame>,
    rest: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Operation {
    by_client: bool,
    /// Which of the side's streams.
    stream: u8,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum What {
    Open,
    Write(Vec<u8>),
    WriteMuch(u16),
    Finish,
    Reset,
    Read(u16),
    /// What the side wrote goes to the other one.
    Carry,
}

#[derive(Arbitrary, Debug)]
struct Frame {
    version: bool,
    kind: u8,
    flags: u8,
    stream: u8,
    length: u16,
    payload: Vec<u8>,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    let mut pair = [Side::new(Role::Client), Side::new(Role::Server)];
    for operation in input.operations.iter().take(200) {
        perform(&mut pair, operation, &input.cuts);
    }
    // To the end of everything that was written: what is carried is read, and makes room for more.
    for _ in 0..64 {
        for by_client in [true, false] {
            carry(&mut pair, by_client, &input.cuts);
        }
        pair.iter_mut().for_each(|side| side.read_all());
    }
    let [client, server] = &pair;
    for (from, to) in [(client, server), (server, client)] {
        for (stream, read) in &to.read {
            let written = from.written.get(stream).map_or(&[][..], |written| &written[..]);
            assert!(written.starts_with(read), "stream {stream}: what is read was not written");
        }
        for (stream, written) in &from.written {
            let read = to.read.get(stream).map_or(&[][..], |read| &read[..]);
            if !from.reset.contains(stream) && !to.reset.contains(stream) {
                assert_eq!(read.len(), written.len(), "stream {stream}: not everything arrives");
            }
        }
    }
    hostile(&input);
}

struct Side {
    session: Session<Yamux>,
    streams: Vec<StreamId>,
    written: BTreeMap<u64, Vec<u8>>,
    read: BTreeMap<u64, Vec<u8>>,
    reset: Vec<u64>,
}

impl Side {
    fn new(role: Role) -> Self {
        Self {
            session: session(role),
            streams: Vec::new(),
            written: BTreeMap::new(),
            read: BTreeMap::new(),
            reset: Vec::new(),
        }
    }

    /// Reads at most `most` bytes of a stream.
    fn read(&mut self, id: StreamId, most: usize) {
        let mut protocol = self.session.protocol_mut(NOW);
        let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return };
        let key = stream.key();
        while let Received::Data { bytes, .. } = stream.recv(most) {
            assert!(!bytes.is_empty() && bytes.len() <= most.max(1), "{} bytes of {most}", bytes.len());
            assert!(stream.release(bytes.len()).is_ok(), "what was read can be released");
            self.read.entry(key).or_default().extend_from_slice(&bytes);
            if most < usize::MAX {
                return;
            }
        }
    }

    fn read_all(&mut self) {
        for id in self.streams.clone() {
            self.read(id, usize::MAX);
        }
    }
}

fn session(role: Role) -> Session<Yamux> {
    let yamux = Yamux::new(role, YamuxConfig::new()).unwrap_or_else(|error| panic!("{error}"));
    Session::new(yamux, Config::new().timeouts(Timeouts::none()), 3, NOW).unwrap_or_else(|error| panic!("{error}"))
}

fn perform(pair: &mut [Side; 2], operation: &Operation, cuts: &[u8]) {
    let Operation { by_client, stream, what } = operation;
    if let What::Carry = what {
        return carry(pair, *by_client, cuts);
    }
    let side = &mut pair[usize::from(!by_client)];
    if let What::Open = what {
        if let Ok(id) = side.session.protocol_mut(NOW).open(NOW) {
            side.streams.push(id);
        }
        return;
    }
    if side.streams.is_empty() {
        return;
    }
    let id = side.streams[usize::from(*stream) % side.streams.len()];
    if let What::Read(most) = what {
        return side.read(id, usize::from(*most).max(1));
    }
    let mut protocol = side.session.protocol_mut(NOW);
    let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return };
    let key = stream.key();
    let much;
    let bytes = match what {
        What::Write(bytes) => bytes,
        What::WriteMuch(n) => {
            much = vec![*n as u8; usize::from(*n)];
            &much
        }
        What::Finish => return stream.finish(),
        _ => {
            side.reset.push(key);
            return stream.reset(Code(0));
        }
    };
    if let Ok(n) = stream.write(bytes) {
        side.written.entry(key).or_default().extend_from_slice(&bytes[..n]);
    }
}

fn carry(pair: &mut [Side; 2], from_client: bool, cuts: &[u8]) {
    let [client, server] = pair;
    let (from, to) = if from_client { (client, server) } else { (server, client) };
    let mut wire = Vec::new();
    drain(&mut from.session, &mut wire);
    let Side { session, streams, .. } = to;
    let mut rest = Vec::new();
    // What the receiver wrote meanwhile goes back at once.
    rest.extend(play(session, &wire, cuts, false, |_, event| match event {
        Event::App(YamuxEvent::Stream(StreamEvent::Opened(id))) => streams.push(id),
        Event::Closed(closed) => panic!("closed: {closed:?}"),
        _ => {}
    }));
    let Side { session, streams, .. } = from;
    let back = play(session, &rest, cuts, false, |_, event| {
        if let Event::App(YamuxEvent::Stream(StreamEvent::Opened(id))) = event {
            streams.push(id);
        }
    });
    let Side { session, streams, .. } = to;
    let answer = play(session, &back, cuts, false, |_, event| {
        if let Event::App(YamuxEvent::Stream(StreamEvent::Opened(id))) = event {
            streams.push(id);
        }
    });
    let Side { session, .. } = from;
    play(session, &answer, cuts, false, |_, _| {});
    assert!(pair.iter().all(|side| side.session.cause().is_none()), "one of ours broke the rules");
}

fn hostile(input: &Input) {
    let mut wire = Vec::new();
    for frame in input.frames.iter().take(64) {
        let (kind, flags) = (frame.kind % 5, frame.flags % 17);
        let payload = frame.payload.get(..300).unwrap_or(&frame.payload);
        let length = if kind == 0 { payload.len() as u32 } else { u32::from(frame.length) };
        wire.extend([u8::from(frame.version && frame.kind > 200), kind, 0, flags, 0, 0, 0, frame.stream % 8]);
        wire.extend(length.to_be_bytes());
        if kind == 0 {
            wire.extend_from_slice(payload);
        }
    }
    wire.extend_from_slice(&input.rest);
    let role = if input.server { Role::Server } else { Role::Client };
    let whole = cause_of(role, &wire, &[]);
    assert_eq!(cause_of(role, &wire, &input.cuts), whole, "cut");
}

fn cause_of(role: Role, wire: &[u8], cuts: &[u8]) -> String {
    let mut session = session(role);
    play(&mut session, wire, cuts, true, |_, _| {});
    match session.cause() {
        Some(Cause::Misuse(misuse)) => panic!("a bug of ours: {misuse:?}"),
        cause => format!("{cause:?}"),
    }
}
