//! Conversations with their opening: a client that asks and a server that grants, or refuses what garbage makes of it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use base64::Engine;
use duologue_core::{Config, Rng, Session};
use duologue_laws::{End, Handling, Reference, Role, Subject};
use duologue_websocket::handshake::RequestHead;
use duologue_websocket::{ClientHandshake, Command, Event, Limits, Opened, ServerHandshake, Settings, WebSocket};
use sha1::Digest;

use super::{Decoder, Frames, hand_over};

/// Both heads fit, with some garbage in them.
const MAX_HEAD: usize = 180;
const MOST_INTERIM: usize = 8;
const REQUEST: &[u8] = b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub(crate) struct Openings {
    frames: Frames,
    /// What the client of the script under way asked with.
    key: RefCell<Vec<u8>>,
    /// The keys of those that were granted.
    granted: RefCell<BTreeSet<Vec<u8>>>,
}

impl Openings {
    pub(crate) fn new() -> Self {
        Self { frames: Frames { streaming: false }, key: RefCell::default(), granted: RefCell::default() }
    }

    /// How many conversations were opened.
    pub(crate) fn granted(&self) -> usize {
        self.granted.borrow().len()
    }

    fn settings(&self) -> Settings {
        let mut settings = self.frames.settings();
        settings.limits = Limits::max_head(settings.limits, MAX_HEAD);
        settings
    }

    /// Decodes what comes to `receiver`; a client's own key decides only about what it receives itself.
    fn decode(&self, receiver: Role, key: Option<&[u8]>, bytes: &[u8]) -> Reference<Event> {
        let mut skipped = Reference::default();
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let end = rest.windows(4).position(|four| four == b"\r\n\r\n").map(|n| n + 4);
            let Some(end) = end.filter(|end| *end <= MAX_HEAD) else {
                skipped.violated = rest.len() >= MAX_HEAD;
                skipped.rest = if rest.is_empty() { End::Clean } else { End::Truncated };
                return skipped;
            };
            if receiver == Role::Client && is_interim(&rest[..end]) && skipped.boundaries.len() <= MOST_INTERIM {
                at += end;
                skipped.boundaries.push(at);
                continue;
            }
            let opened = match receiver {
                Role::Server => asked(&rest[..end]),
                Role::Client => granted(&rest[..end], key),
            };
            let Some(opened) = opened else {
                skipped.violated = true;
                return skipped;
            };
            if let (Role::Client, Some(key)) = (receiver, key) {
                self.granted.borrow_mut().insert(key.to_vec());
            }
            let mut out = self.conversation(receiver, at + end, opened, bytes);
            out.boundaries.extend(skipped.boundaries);
            return out;
        }
    }

    /// The conversation, whose opening ends at `head`.
    fn conversation(&self, receiver: Role, head: usize, opened: Opened, bytes: &[u8]) -> Reference<Event> {
        let decoder = Decoder { streaming: false, receiver, out: Reference::default(), message: None };
        let mut out = decoder.run(&bytes[head..]);
        out.events.iter_mut().for_each(|(end, _)| *end += head);
        out.boundaries.iter_mut().for_each(|end| *end += head);
        out.events.insert(0, (head, Event::Opened(Box::new(opened))));
        out
    }
}

impl Subject for Openings {
    type Protocol = WebSocket;

    fn name(&self) -> &'static str {
        "websocket with its opening"
    }

    fn variants(&self) -> usize {
        self.frames.variants()
    }

    fn protocol(&self, role: Role, _variant: usize) -> WebSocket {
        match role {
            Role::Client => {
                let handshake = ClientHandshake::new("h", "/x").settings(self.settings());
                WebSocket::client(handshake).expect("a request in order")
            }
            Role::Server => WebSocket::server(ServerHandshake::new(self.settings())),
        }
    }

    fn config(&self, role: Role, variant: usize) -> Config {
        let mut config = self.frames.config(role, variant);
        config.limits = config.limits.recv_buffer(MAX_HEAD + 2).control_reserve(512);
        config
    }

    fn command(&self, role: Role, rng: &mut Rng) -> Command {
        self.frames.command(role, rng)
    }

    fn event_for(&self, command: &Command) -> Option<Event> {
        self.frames.event_for(command)
    }

    fn is_from_command(&self, event: &Event) -> bool {
        !matches!(event, Event::Close(_) | Event::Opened(_))
    }

    fn reference(&self, receiver: Role, _variant: usize, bytes: &[u8]) -> Reference<Event> {
        self.decode(receiver, Some(&self.key.borrow()), bytes)
    }

    /// A refusal is in order, and ends the client.
    fn written(&self, sender: Role, _variant: usize, bytes: &[u8]) -> Reference<Event> {
        if sender == Role::Client {
            let key = bytes.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"Sec-WebSocket-Key: "));
            if let Some(key) = key.and_then(|line| line.strip_suffix(b"\r")) {
                *self.key.borrow_mut() = key.to_vec();
            }
        }
        let refusal = b"HTTP/1.1 101 ".len().min(bytes.len());
        if sender == Role::Server && bytes[..refusal] != b"HTTP/1.1 101 "[..refusal] {
            return Reference::default();
        }
        // Whose key the server answered, garbage before the request decides.
        self.decode(if sender == Role::Client { Role::Server } else { Role::Client }, None, bytes)
    }

    fn flood(&self, receiver: Role, rng: &mut Rng) -> Vec<u8> {
        // An opening of somebody else's, whose end is what it begins; the rest are frames.
        match (receiver, rng.below(6)) {
            (Role::Server, 0) => REQUEST.to_vec(),
            (Role::Client, 0) => b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec(),
            (Role::Client, 1) => b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".to_vec(),
            _ => self.frames.flood(receiver, rng),
        }
    }

    fn handle(&self, session: &mut Session<WebSocket>, handling: &mut Handling<'_, Self>) {
        hand_over(session, handling);
    }
}

/// What stands in every opening, with what this one says.
fn opened(target: String, headers: Fields) -> Opened {
    let head = [("host", "h"), ("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13")];
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let fields = head.into_iter().chain([key]).map(|(name, value)| (name, value.as_bytes()));
    let accepted = ServerHandshake::new(Settings::new()).answer(&RequestHead::new("GET", "/", 1, fields));
    let mut opened = accepted.expect("a request in order").opened().clone();
    (opened.target, opened.headers) = (target, headers);
    opened
}

fn is_interim(bytes: &[u8]) -> bool {
    head(bytes).is_some_and(|(first, _)| first.starts_with(b"HTTP/1.1 103 "))
}

type Fields = Vec<(String, Vec<u8>)>;

/// RFC 9112 once more: the first line and the header fields.
fn head(bytes: &[u8]) -> Option<(&[u8], Fields)> {
    let bytes = bytes.strip_suffix(b"\r\n\r\n")?;
    let mut lines = Vec::new();
    for line in bytes.split(|b| *b == b'\n') {
        lines.push(line.strip_suffix(b"\r").unwrap_or(line));
    }
    let ends = bytes.windows(2).filter(|two| two == b"\r\n").count();
    let controls = bytes.iter().filter(|b| (**b < b' ' && **b != b'\t') || **b == 0x7F).count();
    if ends + 1 != lines.len() || controls != 2 * ends {
        return None;
    }
    let (first, rest) = lines.split_first()?;
    let mut fields = Fields::new();
    for line in rest {
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        if name.is_empty() || !name.iter().all(token) {
            return None;
        }
        fields.push((String::from_utf8(name.to_vec()).ok()?, value.trim_ascii().to_vec()));
    }
    Some((first, fields))
}

fn only<'a>(fields: &'a Fields, name: &str) -> Option<&'a [u8]> {
    let mut found = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    found.next().filter(|_| found.next().is_none()).map(|(_, value)| &value[..])
}

fn lists(fields: &Fields, name: &str, token: &str) -> bool {
    let listed = |value: &[u8]| {
        let text = String::from_utf8(value.to_vec()).unwrap_or_default();
        text.split(',').any(|one| one.trim().eq_ignore_ascii_case(token))
    };
    fields.iter().any(|(field, value)| field.eq_ignore_ascii_case(name) && listed(value))
}

/// RFC 6455 section 4.2.1, for a request that began as [`REQUEST`].
fn asked(bytes: &[u8]) -> Option<Opened> {
    let (first, headers) = head(bytes)?;
    let target = first.strip_prefix(b"GET ")?.strip_suffix(b" HTTP/1.1")?;
    let target = String::from_utf8(target.to_vec()).ok().filter(|target| !target.is_empty())?;
    let key = only(&headers, "Sec-WebSocket-Key")?;
    let random = base64::prelude::BASE64_STANDARD.decode(key).ok()?;
    let right = only(&headers, "Host").is_some()
        && !target.contains([' ', '\t'])
        && lists(&headers, "Upgrade", "websocket")
        && lists(&headers, "Connection", "upgrade")
        && only(&headers, "Sec-WebSocket-Version") == Some(b"13")
        && random.len() == 16;
    right.then(|| opened(target, headers))
}

/// RFC 6455 section 4.1, for a request with this key, or any.
fn granted(bytes: &[u8], key: Option<&[u8]>) -> Option<Opened> {
    let (first, headers) = head(bytes)?;
    let accept = only(&headers, "Sec-WebSocket-Accept")?;
    let answers = |key: &[u8]| {
        let hash = sha1::Sha1::digest([key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat());
        base64::prelude::BASE64_STANDARD.encode(hash).as_bytes() == accept
    };
    let upgrade = only(&headers, "Upgrade")?;
    let right = first.starts_with(b"HTTP/1.1 101 ")
        && upgrade.eq_ignore_ascii_case(b"websocket")
        && lists(&headers, "Connection", "upgrade")
        && key.map_or(accept.len() == 28, answers);
    right.then(|| opened("/x".into(), headers))
}
