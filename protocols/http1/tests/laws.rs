//! The laws of every session, on HTTP/1.1: a client and a server, each against any order of calls and a hostile peer.
//!
//! `DUOLOGUE_CASES` sets the number of scripts, `DUOLOGUE_SEED` where they start.

mod wrapped;

use std::time::Duration;

use bytes::Bytes;
use duologue_core::{CloseOrder, Code, Config, Limits as Bounds, OnPeerFinish, Rng, Timeouts};
use duologue_http1::http::{HeaderMap, HeaderValue, StatusCode};
use duologue_http1::{Body, ClientCommand, Limits, Request, Response, ServerCommand};
use duologue_laws::{Drained, End, Reference, Role, Subject, run};
use wrapped::{HEAD, PIPELINED, Say, Seen, Wrapped};

/// HTTP/1.1 with its traffic and an independent decoder.
struct Http;

const VARIANTS: usize = 7;
const MAX_UNIT: usize = HEAD;

fn limits() -> Limits {
    Limits::new().head(HEAD).fields(10).trailers(60).chunk_extensions(10)
}

fn tiny() -> Config {
    let bounds = Bounds::new()
        .recv_buffer(MAX_UNIT + 3)
        .send_buffer(160)
        .control_reserve(96)
        .events(2)
        .linger_bytes(90)
        .read_chunk(9)
        .share_threshold(5);
    let timeouts = Timeouts::new()
        .connect(Some(Duration::from_millis(7_013)))
        .handshake(Some(Duration::from_millis(5_011)))
        .idle(Some(Duration::from_millis(19_037)))
        .write_stall(Some(Duration::from_millis(6_029)))
        .write_rate(31)
        .flush(Some(Duration::from_millis(3_001)))
        .linger(Some(Duration::from_millis(907)));
    Config::new().limits(bounds).timeouts(timeouts)
}

impl Subject for Http {
    type Protocol = Wrapped;

    fn name(&self) -> &'static str {
        "http1"
    }

    fn variants(&self) -> usize {
        VARIANTS
    }

    fn protocol(&self, role: Role, _variant: usize) -> Wrapped {
        Wrapped::new(role, limits())
    }

    fn config(&self, role: Role, variant: usize) -> Config {
        let bare = Timeouts::none().flush(Some(Duration::from_millis(3_001))).linger(Some(Duration::from_millis(907)));
        let keeps = |config: Config| {
            if role == Role::Server { config.on_peer_finish(OnPeerFinish::KeepSending) } else { config }
        };
        match variant {
            0 => keeps(Config::new()),
            1 => keeps(tiny()),
            2 => keeps(tiny()).close_order(CloseOrder::PeerFirst { within: Duration::from_millis(2_503) }),
            3 => tiny(),
            4 => tiny().on_peer_finish(OnPeerFinish::Abort),
            5 => keeps(tiny()).timeouts(bare),
            _ => tiny().on_peer_finish(OnPeerFinish::KeepSending),
        }
    }

    fn command(&self, role: Role, rng: &mut Rng) -> Say {
        let data = |rng: &mut Rng| {
            let len = if rng.below(12) == 0 { 300 } else { 1 + rng.below(12) };
            Bytes::from((0..len).map(|_| b'a' + rng.below(26) as u8).collect::<Vec<_>>())
        };
        let trailers = |rng: &mut Rng| {
            (rng.below(3) == 0)
                .then(|| HeaderMap::from_iter([(duologue_http1::http::header::ETAG, HeaderValue::from_static("t"))]))
        };
        let body = |rng: &mut Rng| match rng.below(4) {
            0 => Body::Empty,
            1 => Body::Stream,
            _ => Body::Full(data(rng)),
        };
        match (role, rng.below(8)) {
            (Role::Client, 0 | 1) => Say::Client(ClientCommand::Data(data(rng))),
            (Role::Client, 2) => Say::Client(ClientCommand::End(trailers(rng))),
            (Role::Client, roll) => {
                let uri = ["http://h/x", "http://h/yy?z", "/without-host"][rng.below(3) as usize];
                let mut request = Request::new("PUT".parse().expect("a method"), uri.parse().expect("a URI"));
                request.body = body(rng);
                if roll == 3 {
                    request.headers.insert("content-length", HeaderValue::from_static("7"));
                }
                Say::Client(ClientCommand::Request(request))
            }
            (Role::Server, 0 | 1) => Say::Server(ServerCommand::Data(data(rng))),
            (Role::Server, 2 | 3) => Say::Server(ServerCommand::End(trailers(rng))),
            (Role::Server, 4) => {
                Say::Server(ServerCommand::Interim(Response::new(StatusCode::from_u16(103).expect("a status"))))
            }
            (Role::Server, 5) => Say::Server(ServerCommand::Respond(Response::new(StatusCode::NO_CONTENT))),
            (Role::Server, _) => {
                Say::Server(ServerCommand::Respond(Response { body: body(rng), ..Response::default() }))
            }
        }
    }

    fn event_for(&self, _command: &Say) -> Option<Seen> {
        None
    }

    fn events_for(&self, command: &Say) -> Vec<Seen> {
        let message = |head: String, body: &Body| {
            let mut seen = vec![Seen::Head(head)];
            if let Body::Full(bytes) = body {
                seen.extend(bytes.iter().map(|byte| Seen::Byte(*byte)));
                seen.extend((!bytes.is_empty()).then_some(Seen::End(0)));
            }
            seen
        };
        let data = |data: &Bytes| data.iter().map(|byte| Seen::Byte(*byte)).collect();
        let end = |trailers: &Option<HeaderMap>| vec![Seen::End(trailers.as_ref().map_or(0, HeaderMap::len))];
        match command {
            Say::Client(ClientCommand::Request(request)) => {
                let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
                message(format!("{} {path}", request.method), &request.body)
            }
            Say::Server(ServerCommand::Respond(response) | ServerCommand::Interim(response)) => {
                message(response.status.as_str().to_string(), &response.body)
            }
            Say::Client(ClientCommand::Data(bytes)) | Say::Server(ServerCommand::Data(bytes)) => data(bytes),
            Say::Client(ClientCommand::End(trailers)) | Say::Server(ServerCommand::End(trailers)) => end(trailers),
            Say::Server(ServerCommand::Continue | ServerCommand::Drain) => Vec::new(),
        }
    }

    fn atoms(&self, event: Seen) -> Vec<Seen> {
        match event {
            Seen::Data(bytes) => bytes.iter().map(|byte| Seen::Byte(*byte)).collect(),
            other => vec![other],
        }
    }

    fn own_close(&self) -> Option<Code> {
        Some(duologue_http1::DONE)
    }

    /// The server's own last words answer nothing that was commanded.
    fn is_from_command(&self, event: &Seen) -> bool {
        !matches!(event, Seen::Head(head) if head.starts_with(['4', '5']))
    }

    fn reference(&self, receiver: Role, _variant: usize, bytes: &[u8]) -> Reference<Seen> {
        Decoder::new(receiver, None, None).decode(bytes)
    }

    fn reference_after(&self, receiver: Role, _variant: usize, accepted: &[Say], bytes: &[u8]) -> Reference<Seen> {
        match receiver {
            Role::Server => {
                let whole = |say: &&Say| match say {
                    Say::Server(ServerCommand::Respond(response)) => response.body.is_complete(),
                    Say::Server(ServerCommand::End(_)) => true,
                    _ => false,
                };
                Decoder::new(receiver, None, Some(accepted.iter().filter(whole).count())).decode(bytes)
            }
            Role::Client => {
                let asked = accepted.iter().filter(|say| matches!(say, Say::Client(ClientCommand::Request(_))));
                Decoder::new(receiver, Some(asked.count()), None).decode(bytes)
            }
        }
    }

    fn begins(&self, event: &Seen) -> bool {
        matches!(event, Seen::Head(_))
    }

    /// All that was asked was answered; and the last answer after the drain, if there was one, says so.
    fn drained(&self, role: Role, drained: &Drained<'_, Seen>) -> Result<(), String> {
        if role == Role::Client {
            return Err("a client has no part in it".into());
        }
        let is_head = |event: &&Seen| matches!(event, Seen::Head(head) if !head.starts_with('1'));
        let asked = drained.delivered.iter().filter(is_head).count();
        let answered = drained.sent.iter().filter(|(_, event)| is_head(&event)).count();
        if asked != answered {
            return Err(format!("{asked} requests were taken, {answered} answered"));
        }
        let last = drained.sent.iter().rposition(|(_, event)| is_head(&event));
        let Some(last) = last.filter(|last| *last >= drained.sent_before) else { return Ok(()) };
        let end = drained.sent[last].0;
        let start = last.checked_sub(1).map_or(0, |before| drained.sent[before].0);
        let head = String::from_utf8_lossy(&drained.transmitted[start..end]).to_lowercase();
        if head.contains("connection: close") { Ok(()) } else { Err(format!("the last answer is no last one: {head}")) }
    }

    fn flood(&self, receiver: Role, rng: &mut Rng) -> Vec<u8> {
        let one: &[u8] = match (receiver, rng.below(3)) {
            (Role::Server, 0) => b"GET /f HTTP/1.1\r\nHost: f\r\n\r\n",
            (Role::Server, 1) => b"POST /f HTTP/1.1\r\nHost: f\r\nContent-Length: 3\r\n\r\nabc",
            (Role::Server, _) => {
                b"POST /f HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
            }
            (Role::Client, 0) => b"HTTP/1.1 103 Early Hints\r\n\r\n",
            (Role::Client, _) => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        };
        one.repeat(1 + rng.below(3) as usize)
    }
}

/// A decoder written for this test: lines, numbers and `httparse` for what is a field.
struct Decoder {
    receiver: Role,
    /// Client: requests that were sent.
    asked: Option<usize>,
    /// Server: responses that are complete.
    answered: Option<usize>,
    out: Reference<Seen>,
    at: usize,
}

/// What a part of a stream turned out to be.
enum Part {
    Whole,
    Cut,
    Wrong,
}

impl Decoder {
    fn new(receiver: Role, asked: Option<usize>, answered: Option<usize>) -> Self {
        Self { receiver, asked, answered, out: Reference::default(), at: 0 }
    }

    fn decode(mut self, bytes: &[u8]) -> Reference<Seen> {
        self.out.boundaries = (0..=bytes.len()).collect();
        let mut messages = 0;
        let mut interim = 0;
        while self.at < bytes.len() {
            let last = self.answered.is_some_and(|answered| messages >= answered + PIPELINED);
            if last {
                self.out.awaits_command = true;
                return self.out;
            }
            if self.asked.is_some_and(|asked| messages >= asked) {
                self.out.violated = true;
                return self.out;
            }
            let mut ends = false;
            let mut is_interim = false;
            match self.message(bytes, &mut ends, &mut is_interim, &mut interim) {
                Part::Whole if is_interim => {}
                Part::Whole => {
                    messages += 1;
                    interim = 0;
                    if ends {
                        return self.out;
                    }
                }
                Part::Cut => {
                    self.out.rest = End::Truncated;
                    return self.out;
                }
                Part::Wrong => {
                    self.out.violated = true;
                    self.out.awaits_command = self.answered.is_some_and(|answered| messages > answered);
                    return self.out;
                }
            }
        }
        if self.asked.is_some_and(|asked| messages < asked) {
            self.out.rest = End::Truncated;
        }
        self.out
    }

    fn message(&mut self, bytes: &[u8], ends: &mut bool, is_interim: &mut bool, interim: &mut u32) -> Part {
        let server = self.receiver == Role::Server;
        let rest = &bytes[self.at..];
        if server && rest.starts_with(b"\r") {
            // One empty line; a second one is no request line.
            match rest.get(1) {
                None => return Part::Cut,
                Some(b'\n') if rest[2..].starts_with(b"\r\n") || rest[2..].starts_with(b"\n") => return Part::Wrong,
                Some(b'\n') if rest.len() == 2 => {
                    self.at += 2;
                    return self.message_if_any(bytes);
                }
                Some(b'\n') => self.at += 2,
                Some(_) => return Part::Wrong,
            }
        }
        let rest = &bytes[self.at..];
        let len = match section(rest, HEAD) {
            Ok(Some(len)) => len,
            Ok(None) => return Part::Cut,
            Err(()) => return Part::Wrong,
        };
        let head = &rest[..len];
        let mut fields = [httparse::EMPTY_HEADER; 10];
        let (name, fields) = if server {
            let mut request = httparse::Request::new(&mut fields);
            match (request.parse(head), request.method, request.path, request.version) {
                (Ok(_), Some(method), Some(path), Some(1)) if is_target(path) => {
                    (format!("{method} {path}"), request.headers)
                }
                _ => return Part::Wrong,
            }
        } else {
            let mut response = httparse::Response::new(&mut fields);
            match (response.parse(head), response.code, response.version) {
                (Ok(_), Some(code @ 100..), Some(1)) => (code.to_string(), response.headers),
                _ => return Part::Wrong,
            }
        };
        let mut values = |wanted: &str| -> Vec<String> {
            let of = |field: &&mut httparse::Header<'_>| field.name.eq_ignore_ascii_case(wanted);
            fields.iter_mut().filter(of).map(|field| String::from_utf8_lossy(field.value).to_lowercase()).collect()
        };
        let (lengths, codings, hosts) = (values("content-length"), values("transfer-encoding"), values("host"));
        if server
            && (hosts.len() != 1
                || hosts[0]
                    .contains(['/', '@', '"', ' ', '\t', ',', '<', '>', '?', '#', '\\', '^', '`', '{', '|', '}'])
                || !hosts[0].is_ascii())
        {
            return Part::Wrong;
        }
        let chunked = match (&lengths[..], &codings[..]) {
            (_, []) => false,
            ([], [coding]) if coding == "chunked" => true,
            _ => return Part::Wrong,
        };
        let length = match &lengths[..] {
            [] => 0,
            [length] if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                match length.parse::<u64>() {
                    Ok(length) => length,
                    Err(_) => return Part::Wrong,
                }
            }
            _ => return Part::Wrong,
        };
        *is_interim = !server && name.starts_with('1');
        *interim += u32::from(*is_interim);
        if *interim > 16 || name == "101" || ((*is_interim || name == "204") && (chunked || length > 0)) {
            return Part::Wrong;
        }
        let has_content = !(*is_interim || (!server && (name == "204" || name == "304")));
        let by_itself = !server && name.starts_with(['4', '5']);
        *ends = values("connection").iter().any(|value| value.contains("close"));
        self.at += len;
        self.out.events.push((self.at, Seen::Head(name)));
        if !has_content {
            self.out.messages += 1;
            return Part::Whole;
        }
        if chunked {
            self.out.messages += 1;
            return self.chunks(bytes);
        }
        if !server && lengths.is_empty() {
            // Up to the end of the connection.
            self.out.events.extend((self.at..bytes.len()).map(|at| (at + 1, Seen::Byte(bytes[at]))));
            self.at = bytes.len();
            self.out.rest = End::Final(Seen::End(0));
            *ends = true;
            return Part::Whole;
        }
        let there = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len() - self.at);
        for byte in &bytes[self.at..self.at + there] {
            self.at += 1;
            self.out.events.push((self.at, Seen::Byte(*byte)));
        }
        if (there as u64) < length {
            return Part::Cut;
        }
        self.out.messages += u64::from(!by_itself);
        if length > 0 {
            self.out.events.push((self.at, Seen::End(0)));
        }
        Part::Whole
    }

    /// After the one empty line that may stand in front, the stream may end.
    fn message_if_any(&mut self, bytes: &[u8]) -> Part {
        debug_assert_eq!(self.at, bytes.len());
        // Nothing of a request is there; the caller counts none, for the stream ends here.
        Part::Whole
    }

    fn chunks(&mut self, bytes: &[u8]) -> Part {
        let mut extensions = 0;
        loop {
            let rest = &bytes[self.at..];
            let line = rest.iter().position(|b| *b == b'\n');
            if line.unwrap_or(rest.len()) >= 30 {
                return Part::Wrong;
            }
            let Some(line) = line else { return Part::Cut };
            let Some(text) = rest[..line].strip_suffix(b"\r") else { return Part::Wrong };
            let digits = text.iter().take_while(|b| b.is_ascii_hexdigit()).count();
            let (size, extension) = text.split_at(digits);
            let size = std::str::from_utf8(size).ok().filter(|size| size.len() <= 16);
            let Some(size) = size.and_then(|size| u64::from_str_radix(size, 16).ok()) else { return Part::Wrong };
            extensions += extension.len();
            let marked = extension.iter().find(|b| !matches!(b, b' ' | b'\t')) == Some(&b';');
            let clean = extension.iter().all(|b| *b == b'\t' || (*b >= 32 && *b != 127));
            let valid = extension.is_empty() || (marked && clean);
            if !valid || extensions > 10 {
                return Part::Wrong;
            }
            self.at += line + 1;
            if size == 0 {
                return self.trailers(bytes);
            }
            let there = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len() - self.at);
            for byte in &bytes[self.at..self.at + there] {
                self.at += 1;
                self.out.events.push((self.at, Seen::Byte(*byte)));
            }
            if (there as u64) < size {
                return Part::Cut;
            }
            self.out.messages += u64::from(bytes[self.at..].starts_with(b"\r\n"));
            match &bytes[self.at..] {
                [] | [b'\r'] => return Part::Cut,
                [b'\r', b'\n', ..] => self.at += 2,
                _ => return Part::Wrong,
            }
        }
    }

    fn trailers(&mut self, bytes: &[u8]) -> Part {
        let rest = &bytes[self.at..];
        let len = match section(rest, 60) {
            Ok(Some(len)) => len,
            Ok(None) => return Part::Cut,
            Err(()) => return Part::Wrong,
        };
        let mut fields = [httparse::EMPTY_HEADER; 10];
        let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&rest[..len], &mut fields) else {
            return Part::Wrong;
        };
        self.at += len;
        self.out.messages += 1;
        self.out.events.push((self.at, Seen::End(fields.len())));
        Part::Whole
    }
}

/// The length of a section of lines, if it is whole; wrong, if a line ends with LF alone or it is too long.
fn section(bytes: &[u8], most: usize) -> Result<Option<usize>, ()> {
    let mut at = 0;
    while let Some(end) = bytes[at..].iter().position(|b| *b == b'\n').map(|n| at + n) {
        if end >= most || end == at || bytes[end - 1] != b'\r' {
            return Err(());
        }
        if end == at + 1 {
            return Ok(Some(end + 1));
        }
        at = end + 1;
    }
    if bytes.len() >= most { Err(()) } else { Ok(None) }
}

fn is_target(path: &str) -> bool {
    let graphic = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    graphic && path.starts_with('/') && path.parse::<duologue_http1::http::Uri>().is_ok()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn http1() {
    let report = run(&Http, setting("DUOLOGUE_CASES", 2_500), 1 + setting("DUOLOGUE_SEED", 0));
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.steps > report.cases * 10, "{} steps", report.steps);
    println!("http1: {} cases, {} steps, {} pairs of states", report.cases, report.steps, report.coverage.states.len());
}
