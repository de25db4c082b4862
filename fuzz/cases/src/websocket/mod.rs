//! WebSocket frames, right and wrong, for both roles, cut at any place.
//!
//! For each input:
//! * whole and cut, owned and in place, the stream gives the same events and the same end;
//! * that is what a reference makes of it that sees the whole stream at once;
//! * if the stream is in order, tungstenite reads the same messages.

pub(crate) mod reference;

use arbitrary::Arbitrary;
use bytes::Bytes;
use duologue_core::{Cause, Config, Delivery, Event as SessionEvent, OnPeerFinish, Session, Timeouts};
use duologue_websocket::{AsBytes, Event, Limits, Role, Settings, Violation, WebSocket};
use tungstenite::Message;
use tungstenite::protocol::{Role as TheirRole, WebSocket as Theirs, WebSocketConfig};

use self::reference::{MAX_FRAGMENTS, MAX_FRAME, MAX_MESSAGE};
use crate::play::{NOW, play};

/// A stream for one side, and how to cut it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    server: bool,
    long_lengths: bool,
    /// Frames are masked as they must be, with one length form: most streams are in order.
    tame: bool,
    cuts: Vec<u8>,
    frames: Vec<Frame>,
    /// What follows them.
    rest: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Frame {
    first: u8,
    masked: bool,
    /// How the length is written: in the fewest bytes, or in 2 or 8.
    form: u8,
    key: [u8; 4],
    payload: Vec<u8>,
}

/// What a stream came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Truncated,
    /// By a Close.
    Closed,
    /// The peer broke the protocol: the code that says how.
    Broken(u16),
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    let stream = stream(&input);
    let role = if input.server { Role::Server } else { Role::Client };
    let whole = ours(role, input.long_lengths, &stream, &[], Delivery::Owned);
    for delivery in [Delivery::Owned, Delivery::InPlace] {
        assert_eq!(ours(role, input.long_lengths, &stream, &input.cuts, delivery), whole, "cut, {delivery:?}");
    }
    assert_eq!(whole, reference::read(role, input.long_lengths, &stream), "the reference");
    if !matches!(whole.1, End::Broken(_)) {
        assert_eq!(theirs(role, &stream), whole.0, "tungstenite");
    }
}

fn stream(input: &Input) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in input.frames.iter().take(64) {
        let mut first = frame.first;
        if input.tame {
            first &= 0x8F;
        }
        let masked = if input.tame { input.server } else { frame.masked };
        let bit = if masked { 0x80 } else { 0 };
        let len = frame.payload.len();
        stream.push(first);
        match (frame.form % 8, len) {
            (6, _) if !input.tame => {
                stream.push(bit | 126);
                stream.extend_from_slice(&(len as u16).to_be_bytes());
            }
            (7, _) if !input.tame => {
                stream.push(bit | 127);
                stream.extend_from_slice(&(len as u64).to_be_bytes());
            }
            (_, 0..126) => stream.push(bit | len as u8),
            _ => {
                stream.push(bit | 126);
                stream.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        if masked {
            stream.extend_from_slice(&frame.key);
            stream.extend(frame.payload.iter().zip(frame.key.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            stream.extend_from_slice(&frame.payload);
        }
    }
    stream.extend_from_slice(&input.rest);
    stream
}

fn ours(role: Role, long_lengths: bool, stream: &[u8], cuts: &[u8], delivery: Delivery) -> (Vec<Seen>, End) {
    let settings = Settings::new().limits(limits()).control_events(true).allow_long_lengths(long_lengths);
    let config = Config::new().timeouts(Timeouts::none()).delivery(delivery).on_peer_finish(OnPeerFinish::KeepSending);
    let protocol = WebSocket::upgraded(role, settings, None);
    let mut session =
        Session::new(protocol, settings.config(role, config), 7, NOW).unwrap_or_else(|error| panic!("{error}"));
    let (mut seen, mut finished) = (Vec::new(), false);
    if delivery == Delivery::InPlace {
        let mut note = |event| finished |= matches!(event, SessionEvent::PeerFinished);
        play_in_place(&mut session, stream, cuts, &mut note, &mut seen);
    } else {
        play(&mut session, stream, cuts, true, |_, event| match event {
            SessionEvent::App(event) => seen.push(own(event)),
            SessionEvent::PeerFinished => finished = true,
            _ => {}
        });
    }
    let end = match session.cause() {
        Some(Cause::Violation(violation)) => End::Broken(violation.close_code().0),
        Some(Cause::PeerClose(_)) => End::Closed,
        Some(Cause::Truncated { .. }) => End::Truncated,
        None if finished => End::Clean,
        other => panic!("the stream ended, and the session says {other:?}: {session:?}"),
    };
    (seen, end)
}

/// What the reference reads by.
pub(crate) fn limits() -> Limits {
    Limits::new()
        .max_frame(MAX_FRAME)
        .max_message(MAX_MESSAGE)
        .max_fragments(MAX_FRAGMENTS)
        .control_frames(u32::MAX)
        .piece(64)
}

/// Feeds `stream` and the FIN behind it, and handles messages in place: what was written.
pub(crate) fn play_in_place(
    session: &mut Session<WebSocket>,
    stream: &[u8],
    cuts: &[u8],
    note: &mut impl FnMut(SessionEvent<Event, Violation>),
    seen: &mut Vec<Seen>,
) -> Vec<u8> {
    let mut cuts = cuts.iter().cycle();
    let (mut rest, mut written) = (stream, Vec::new());
    crate::play::drain(session, &mut written);
    loop {
        let most = cuts.next().map_or(usize::MAX, |cut| usize::from(*cut) + 1);
        let ended = rest.is_empty() || !session.interest().read;
        if ended {
            session.received_eof(NOW);
        }
        let mut room = session.recv_buf();
        let n = if ended { 0 } else { most.min(bytes::BufMut::remaining_mut(&room)).min(rest.len()) };
        let (read, later) = rest.split_at(n);
        bytes::BufMut::put_slice(&mut room, read);
        rest = later;
        session.received(NOW);
        loop {
            let handled = session.handle(NOW, 0, 4, |event, _| seen.push(own(event)));
            match session.poll_event(NOW) {
                Some(event) => note(event),
                None if handled == 0 => break,
                None => {}
            }
        }
        crate::play::drain(session, &mut written);
        if ended {
            return written;
        }
    }
}

/// What an event says, with bytes of its own.
pub(crate) fn own<B: AsBytes>(event: Event<B>) -> Seen {
    let bytes = |bytes: B| bytes.as_bytes().to_vec();
    match event {
        Event::Text(text) => Seen::Text(text.as_str().as_bytes().to_vec()),
        Event::Binary(data) => Seen::Binary(bytes(data)),
        Event::Ping(data) => Seen::Ping(bytes(data)),
        Event::Pong(data) => Seen::Pong(bytes(data)),
        Event::Close(close) => Seen::Close(close.code.0, close.reason),
        _ => panic!("neither an opening nor parts were asked for"),
    }
}

/// A stream in memory; what is written is dropped.
#[derive(Debug)]
pub(crate) struct Memory<'a>(pub(crate) &'a [u8]);

impl std::io::Read for Memory<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buf)
    }
}

impl std::io::Write for Memory<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What tungstenite reads, up to its first error.
fn theirs(role: Role, stream: &[u8]) -> Vec<Seen> {
    let role = if role == Role::Server { TheirRole::Server } else { TheirRole::Client };
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let mut socket = Theirs::from_raw_socket(Memory(stream), role, Some(config));
    read_theirs(&mut socket)
}

/// What tungstenite reads, up to its first error.
pub(crate) fn read_theirs(socket: &mut Theirs<Memory<'_>>) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Ok(message) = socket.read() {
        let bytes = |bytes: Bytes| bytes.to_vec();
        seen.push(match message {
            Message::Text(text) => Seen::Text(text.as_bytes().to_vec()),
            Message::Binary(data) => Seen::Binary(bytes(data)),
            Message::Ping(data) => Seen::Ping(bytes(data)),
            Message::Pong(data) => Seen::Pong(bytes(data)),
            Message::Close(Some(close)) => Seen::Close(close.code.into(), close.reason.to_string()),
            Message::Close(None) => Seen::Close(1005, String::new()),
            Message::Frame(_) => panic!("raw frames were not asked for"),
        });
    }
    seen
}
