//! The laws, over both roles, whole messages and messages in parts, owned and in place, with the opening and without.
//!
//! `DUOLOGUE_CASES` sets the number of scripts per subject, `DUOLOGUE_SEED` where they start.

mod opening;

use std::time::Duration;

use bytes::Bytes;
use duologue_core::{
    CloseOrder, Code, Config, Delivery, Keepalive, Limits as Buffers, OnPeerFinish, Payload, Rng, SendError, Session,
    Timeouts,
};
use duologue_laws::{End, Handling, Reference, Role, Subject, run};
use duologue_websocket::{
    AsBytes, CloseCode, CloseFrame, Command, Event, Kind, Limits, Part, Settings, Text, WebSocket,
};

/// Upgraded streams: frames and nothing before them.
struct Frames {
    streaming: bool,
}

const MAX_FRAME: usize = 40;
const MAX_MESSAGE: usize = 60;
const MAX_FRAGMENTS: u32 = 5;
const PIECE: usize = 32;
const CONFIGS: usize = 7;

impl Frames {
    fn settings(&self) -> Settings {
        let limits = Limits::new()
            .max_frame(MAX_FRAME as u64)
            .max_message(MAX_MESSAGE as u64)
            .max_fragments(MAX_FRAGMENTS)
            .control_frames(u32::MAX)
            .max_head(64)
            .piece(PIECE);
        Settings::new().limits(limits).streaming(self.streaming)
    }
}

fn role_of(role: Role) -> duologue_websocket::Role {
    if role == Role::Client { duologue_websocket::Role::Client } else { duologue_websocket::Role::Server }
}

/// Every wait is short, and no two are equal.
fn short() -> Timeouts {
    Timeouts::new()
        .connect(Some(Duration::from_millis(7_013)))
        .handshake(Some(Duration::from_millis(5_011)))
        .idle(Some(Duration::from_millis(19_037)))
        .keepalive(Some(Keepalive { quiet: Duration::from_millis(4_007), reply: Duration::from_millis(2_003) }))
        .write_stall(Some(Duration::from_millis(6_029)))
        .close_handshake(Some(Duration::from_millis(1_009)))
        .flush(Some(Duration::from_millis(3_001)))
        .linger(Some(Duration::from_millis(907)))
}

fn letters(rng: &mut Rng, most: u64) -> Bytes {
    let len = rng.below(most + 1);
    (0..len).map(|_| b'a' + rng.below(26) as u8).collect()
}

fn own<B: AsBytes>(event: Event<B>) -> Event {
    let bytes = |b: B| Bytes::copy_from_slice(b.as_bytes());
    match event {
        Event::Text(text) => Event::Text(Text::new(bytes(text.into_inner())).expect("delivered text is UTF-8")),
        Event::Binary(data) => Event::Binary(bytes(data)),
        Event::Part(Part { kind, first, last, data }) => Event::Part(Part { kind, first, last, data: bytes(data) }),
        Event::Ping(data) => Event::Ping(bytes(data)),
        Event::Pong(data) => Event::Pong(bytes(data)),
        Event::Close(close) => Event::Close(close),
        Event::Opened(opened) => Event::Opened(opened),
        other => panic!("not expected: {:?}", std::mem::discriminant(&other)),
    }
}

impl Subject for Frames {
    type Protocol = WebSocket;

    fn name(&self) -> &'static str {
        if self.streaming { "websocket in parts" } else { "websocket" }
    }

    fn variants(&self) -> usize {
        2 * CONFIGS
    }

    fn protocol(&self, role: Role, _variant: usize) -> WebSocket {
        WebSocket::upgraded(role_of(role), self.settings(), None)
    }

    fn config(&self, _role: Role, variant: usize) -> Config {
        let buffers = Buffers::new()
            .recv_buffer(142)
            .send_buffer(80)
            .control_reserve(320)
            .events(2)
            .linger_bytes(90)
            .read_chunk(4)
            .share_threshold(5);
        let base = Config::new().timeouts(short()).limits(buffers);
        let bare = Timeouts::none().flush(Some(Duration::from_millis(3_001))).linger(Some(Duration::from_millis(907)));
        let config = match variant % CONFIGS {
            0 => Config::new().limits(buffers),
            1 => base,
            2 => base.close_order(CloseOrder::PeerFirst { within: Duration::from_millis(2_503) }),
            3 => base.on_peer_finish(OnPeerFinish::KeepSending),
            4 => base.on_peer_finish(OnPeerFinish::Abort),
            5 => base.timeouts(short().linger(None)),
            _ => base.timeouts(bare),
        };
        config.delivery(if variant < CONFIGS { Delivery::Owned } else { Delivery::InPlace })
    }

    fn command(&self, _role: Role, rng: &mut Rng) -> Command {
        let text = |data| Text::new(data).expect("letters are UTF-8");
        match rng.below(8) {
            // Too large for the queue, at any time.
            0 => Command::Binary(Bytes::from_static(&[7; 100])),
            1..=3 if self.streaming => Command::Part(Part {
                kind: if rng.below(3) == 0 { Kind::Text } else { Kind::Binary },
                first: rng.below(2) == 0,
                last: rng.below(2) == 0,
                // An empty part that is not the last is a frame and no event.
                data: [&letters(rng, 9)[..], b"z"].concat().into(),
            }),
            4 => Command::Ping(Bytes::from_static(&[1; 126])),
            5 => Command::Text(text(letters(rng, PIECE as u64))),
            _ => Command::Binary(letters(rng, PIECE as u64)),
        }
    }

    fn event_for(&self, command: &Command) -> Option<Event> {
        let part = |kind, data: &Bytes| Event::Part(Part { kind, first: true, last: true, data: data.clone() });
        Some(match command {
            Command::Text(text) if self.streaming => part(Kind::Text, &text.clone().into_inner()),
            Command::Binary(data) if self.streaming => part(Kind::Binary, data),
            Command::Text(text) => Event::Text(text.clone()),
            Command::Binary(data) => Event::Binary(data.clone()),
            Command::Part(part) => Event::Part(part.clone()),
            _ => return None,
        })
    }

    fn is_from_command(&self, event: &Event) -> bool {
        !matches!(event, Event::Close(_))
    }

    fn reference(&self, receiver: Role, _variant: usize, bytes: &[u8]) -> Reference<Event> {
        Decoder { streaming: self.streaming, receiver, out: Reference::default(), message: None }.run(bytes)
    }

    fn flood(&self, receiver: Role, rng: &mut Rng) -> Vec<u8> {
        match rng.below(6) {
            0 => frame(receiver, 0x89, &letters(rng, 9), rng),
            1 => frame(receiver, 0x8A, b"", rng),
            2 => frame(receiver, 0x82, b"", rng),
            3 => [
                frame(receiver, 0x01, "\u{20ac}".as_bytes().split_at(2).0, rng),
                frame(receiver, 0x89, b"in between", rng),
                frame(receiver, 0x80, "\u{20ac}".as_bytes().split_at(2).1, rng),
            ]
            .concat(),
            4 => [frame(receiver, 0x02, b"", rng), frame(receiver, 0x00, b"a", rng), frame(receiver, 0x80, b"", rng)]
                .concat(),
            _ => frame(receiver, 0x81, "gr\u{fc}n".as_bytes(), rng),
        }
    }

    fn handle(&self, session: &mut Session<WebSocket>, handling: &mut Handling<'_, Self>) {
        hand_over(session, handling);
    }
}

fn hand_over<S>(session: &mut Session<WebSocket>, handling: &mut Handling<'_, S>)
where
    S: Subject<Protocol = WebSocket>,
{
    let Handling { now, room, budget, reply, out, replied, refused } = handling;
    session.handle(*now, *room, *budget, |event, replies| {
        out.push(own(event));
        let Some(reply) = reply.as_ref() else { return };
        match replies.send(borrow(reply)) {
            Ok(()) => replied.push(reply.clone()),
            Err(SendError::Full { need, .. }) => **refused = Some(refused.unwrap_or(need)),
            Err(_) => {}
        }
    });
}

fn borrow(command: &Command) -> Command<Payload<'_>> {
    match command {
        Command::Text(text) => Command::Text(Text::borrowed(text.as_str())),
        Command::Binary(data) => Command::Binary(Payload::Borrowed(data)),
        Command::Part(Part { kind, first, last, data }) => {
            Command::Part(Part { kind: *kind, first: *first, last: *last, data: Payload::Borrowed(data) })
        }
        Command::Ping(data) => Command::Ping(Payload::Borrowed(data)),
        _ => Command::Pong(Payload::Borrowed(b"")),
    }
}

/// A frame for `receiver`, of less than 126 bytes.
fn frame(receiver: Role, first: u8, payload: &[u8], rng: &mut Rng) -> Vec<u8> {
    if receiver == Role::Client {
        return [&[first, payload.len() as u8], payload].concat();
    }
    let key = rng.next_u32().to_be_bytes();
    let masked: Vec<u8> = payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
    [&[first, 0x80 | payload.len() as u8], &key[..], &masked].concat()
}

/// RFC 6455 section 5 once more, slowly, byte by byte, and without a line of the code under test.
struct Decoder {
    streaming: bool,
    receiver: Role,
    out: Reference<Event>,
    /// Opcode, bytes, frames, and whether a part was handed on.
    message: Option<(u8, Vec<u8>, u32, bool)>,
}

enum Next {
    More,
    Broken,
    Frame(usize),
    Closed(usize, CloseFrame),
}

impl Decoder {
    fn run(mut self, bytes: &[u8]) -> Reference<Event> {
        let mut at = 0;
        loop {
            match self.next(&bytes[at..], at) {
                Next::Frame(n) => {
                    at += n;
                    self.out.boundaries.push(at);
                }
                Next::Closed(n, close) => {
                    self.out.boundaries.push(at + n);
                    self.out.closed = Some(Code(u32::from(close.code.0)));
                    self.out.events.push((at + n, Event::Close(close)));
                    return self.out;
                }
                Next::Broken => {
                    self.out.violated = true;
                    return self.out;
                }
                Next::More => {
                    let between = at == bytes.len() && self.message.is_none();
                    self.out.rest = if between { End::Clean } else { End::Truncated };
                    return self.out;
                }
            }
        }
    }

    fn next(&mut self, b: &[u8], at: usize) -> Next {
        let (Some(first), Some(second)) = (b.first(), b.get(1)) else { return Next::More };
        let (fin, opcode, short) = (first & 0x80 != 0, first & 0x0F, usize::from(second & 0x7F));
        let control = opcode >= 8;
        if first & 0x70 != 0 || !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) || (control && (!fin || short > 125)) {
            return Next::Broken;
        }
        let width = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(extended) = b.get(2..2 + width) else { return Next::More };
        let long = extended.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
        if (width == 2 && long < 126) || (width == 8 && (long < 65536 || long >> 63 != 0)) {
            return Next::Broken;
        }
        let len = if width == 0 { short as u64 } else { long };
        let masked = second & 0x80 != 0;
        let start = 2 + width + if masked { 4 } else { 0 };
        if b.len() < start {
            return Next::More;
        }
        if masked != (self.receiver == Role::Server) {
            return Next::Broken;
        }
        let key = if masked { [b[start - 4], b[start - 3], b[start - 2], b[start - 1]] } else { [0; 4] };
        let here = &b[start..b.len().min(start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)))];
        let payload: Vec<u8> = here.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
        let whole = payload.len() as u64 == len;
        if control {
            return if whole { Self::control(opcode, &payload, start + payload.len()) } else { Next::More };
        }
        let in_message = self.message.is_some();
        if in_message == (opcode != 0) || len > MAX_FRAME as u64 {
            return Next::Broken;
        }
        let (kind, held, frames, part_given) = self.message.clone().unwrap_or((opcode, Vec::new(), 0, false));
        if frames + 1 > MAX_FRAGMENTS || held.len() as u64 + len > MAX_MESSAGE as u64 {
            return Next::Broken;
        }
        // A header is taken off as soon as it is complete, and a long frame in pieces.
        self.out.boundaries.push(at + start);
        (PIECE..payload.len()).step_by(PIECE).for_each(|n| self.out.boundaries.push(at + start + n));
        let total = [held, payload.clone()].concat();
        if kind == 1 && std::str::from_utf8(&total).is_err_and(|e| e.error_len().is_some() || (whole && fin)) {
            return Next::Broken;
        }
        if self.streaming {
            self.parts(kind, &payload, part_given, len as usize, fin, at + start);
        }
        if !whole {
            return Next::More;
        }
        self.out.messages += 1;
        let end = start + payload.len();
        let given = part_given || len > 0;
        self.message = if fin { None } else { Some((kind, total.clone(), frames + 1, given)) };
        if fin && !self.streaming {
            let data = Bytes::from(total);
            let event =
                if kind == 1 { Event::Text(Text::new(data).expect("checked above")) } else { Event::Binary(data) };
            self.out.events.push((at + end, event));
        }
        Next::Frame(end)
    }

    fn parts(&mut self, kind: u8, payload: &[u8], mut given: bool, len: usize, fin: bool, at: usize) {
        let kind = if kind == 1 { Kind::Text } else { Kind::Binary };
        let mut from = 0;
        loop {
            let to = len.min(from + PIECE);
            let last = fin && to == len;
            if payload.len() < to || (to == from && !last) {
                return;
            }
            let data = Bytes::copy_from_slice(&payload[from..to]);
            self.out.events.push((at + to, Event::Part(Part { kind, first: !given, last, data })));
            given = true;
            from = to;
            if from == len {
                return;
            }
        }
    }

    fn control(opcode: u8, payload: &[u8], end: usize) -> Next {
        if opcode != 8 {
            return Next::Frame(end);
        }
        match payload {
            [] => Next::Closed(end, CloseFrame { code: CloseCode(1005), reason: String::new() }),
            [_] => Next::Broken,
            [high, low, reason @ ..] => {
                let code = u16::from(*high) << 8 | u16::from(*low);
                let known = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                match String::from_utf8(reason.to_vec()) {
                    Ok(reason) if known => Next::Closed(end, CloseFrame { code: CloseCode(code), reason }),
                    _ => Next::Broken,
                }
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn keeps_the_laws(subject: &Frames) {
    let report = run(subject, setting("DUOLOGUE_CASES", 1_400), 1 + setting("DUOLOGUE_SEED", 0));
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.steps > 10_000, "{} steps", report.steps);
}

#[test]
fn whole_messages_keep_the_laws() {
    keeps_the_laws(&Frames { streaming: false });
}

#[test]
fn messages_in_parts_keep_the_laws() {
    keeps_the_laws(&Frames { streaming: true });
}

#[test]
fn openings_keep_the_laws() {
    let subject = opening::Openings::new();
    let cases = 2 * setting("DUOLOGUE_CASES", 1_400);
    let report = run(&subject, cases, 1 + setting("DUOLOGUE_SEED", 0)).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.steps > 10_000, "{} steps", report.steps);
    // Most scripts end inside the opening, which is what this is about; but not all.
    assert!(subject.granted() as u64 * 60 > cases, "{} of {cases} were opened", subject.granted());
}
