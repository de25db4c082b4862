//! The opening of a WebSocket, right and wrong, for both roles, cut at any place, with frames in the same segment.
//!
//! For each input:
//! * whole and cut, owned and in place, the stream comes to the same: opened with the same words, or refused for the same
//!   reason, with the same bytes written;
//! * it is opened exactly if a judge written from RFC 6455 section 4 says so, who sees the whole head at once;
//! * what tungstenite opens or refuses, where the two mean to do the same, is opened or refused, with the same answer;
//! * what follows the head comes to the messages that a reader of frames makes of it: not a byte is lost or read twice.

mod judge;

use arbitrary::Arbitrary;
use duologue_core::{Cause, Config, Delivery, Event as SessionEvent, OnPeerFinish, Session, Timeouts};
use duologue_websocket::handshake::HandshakeError;
use duologue_websocket::{ClientHandshake, Deflate, Event, Role, ServerHandshake, Settings, Violation, WebSocket};

use self::judge::{Verdict, judge_request, judge_response};
use crate::play::{NOW, drain, play};
use crate::websocket::{End, Seen, own, reference};

/// A head for one side, what follows it, and how to cut both.
#[derive(Arbitrary, Debug)]
pub struct Input {
    server: bool,
    /// We offer or accept permessage-deflate.
    deflate: bool,
    cuts: Vec<u8>,
    /// Interim answers before the head of a response.
    interim: u8,
    /// Which of the first lines, and which form of each field that is needed.
    line: u8,
    needed: [u8; 5],
    more: Vec<u8>,
    odd_field: Option<Vec<u8>>,
    /// How the head ends.
    ending: u8,
    /// Frames, or anything.
    rest: Vec<u8>,
}

/// The subprotocols of both our sides.
pub(crate) const SUBPROTOCOLS: [&str; 2] = ["b", "a"];
/// The page that may connect.
pub(crate) const ORIGIN: &str = "https://good.example";
/// Small, so that inputs reach it.
pub(crate) const MAX_HEADERS: usize = 14;
pub(crate) const MAX_HEAD: usize = 512;

const REQUEST_LINES: [&str; 10] = [
    "GET /any HTTP/1.1\r\n",
    "GET /any?x=y HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\n",
    "POST /any HTTP/1.1\r\n",
    "GET /any HTTP/1.0\r\n",
    "GET /any HTTP/2.0\r\n",
    "GET  /any HTTP/1.1\r\n",
    "\r\nGET /any HTTP/1.1\r\n",
    "GET /any HTTP/1.1\n",
    "get /any HTTP/1.1\r\n",
];

const RESPONSE_LINES: [&str; 8] = [
    "HTTP/1.1 101 Switching Protocols\r\n",
    "HTTP/1.1 101 \r\n",
    "HTTP/1.1 101\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 302 Found\r\n",
    "HTTP/1.0 101 Switching Protocols\r\n",
    "HTTP/1.1 1O1 Switching Protocols\r\n",
    "HTTP/1.1 101 Switching Protocols\n",
];

const HOSTS: [&str; 4] = ["Host: h\r\n", "host: h:80\r\n", "", "Host: h\r\nHost: h\r\n"];
const UPGRADES: [&str; 6] = [
    "Upgrade: websocket\r\n",
    "uPGRADE: WebSocket\r\n",
    "Upgrade: h2c, websocket\r\n",
    "Upgrade: websocket/13\r\n",
    "",
    "Upgrade: h2c\r\nUpgrade: websocket\r\n",
];
const CONNECTIONS: [&str; 6] = [
    "Connection: Upgrade\r\n",
    "connection:\tupgrade \r\n",
    "Connection: keep-alive, Upgrade\r\n",
    "Connection: close\r\n",
    "",
    "Connection: keep-alive\r\nConnection: Upgrade\r\n",
];
const VERSIONS: [&str; 5] = [
    "Sec-WebSocket-Version: 13\r\n",
    "sec-websocket-version:13\r\n",
    "Sec-WebSocket-Version: 8\r\n",
    "",
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n",
];
const KEYS: [&str; 7] = [
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n",
    "",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
];

const MORE: [&str; 24] = [
    "Sec-WebSocket-Protocol: a\r\n",
    "Sec-WebSocket-Protocol: x, b ,a\r\n",
    "Sec-WebSocket-Protocol: a b\r\n",
    "Sec-WebSocket-Protocol: x\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=10\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9\r\n",
    "Sec-WebSocket-Extensions: x-other; a=\"b\", permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: ;\r\n",
    "Origin: https://good.example\r\n",
    "Origin: HTTPS://GOOD.EXAMPLE\r\n",
    "Origin: https://evil.example\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X-Folded: a\r\n b\r\n",
    "X-Space : a\r\n",
    "X-Bare: a\n",
    "X-Empty:\r\n",
    "X-High: \u{e9}\r\n",
    "X-Tab: a\tb\r\n",
    "Upgrade: websocket\r\n",
    "Content-Length: 00\r\n",
    "X-Long: 01234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n",
];

const ENDINGS: [&str; 6] = ["\r\n", "\r\n", "\r\n", "\n", "", "\r\r\n"];

/// What a stream came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    opened: Option<Words>,
    refused: Option<HandshakeError>,
    seen: Vec<Seen>,
    end: Option<End>,
    written: Vec<u8>,
}

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    target: String,
    subprotocol: Option<String>,
    deflate: bool,
    headers: Vec<(String, Vec<u8>)>,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    let role = if input.server { Role::Server } else { Role::Client };
    // A client's key comes from its seed, so that every session of this input asks with the same.
    let request = if input.server { Vec::new() } else { request(input.deflate) };
    let stream = stream(&input, &request);
    let whole = ours(role, input.deflate, &stream, &[], Delivery::Owned);
    for delivery in [Delivery::Owned, Delivery::InPlace] {
        let cut = ours(role, input.deflate, &stream, &input.cuts, delivery);
        assert_eq!(cut, whole, "cut, {delivery:?}: {:?}", String::from_utf8_lossy(&stream));
    }
    assert!(whole.opened.is_none() || whole.refused.is_none(), "opened, and refused");
    let verdict = match role {
        Role::Server => judge_request(&stream),
        Role::Client => judge_response(&request, &stream),
    };
    check_verdict(&whole, &verdict, &stream);
    match role {
        Role::Server => judge::tungstenite_server(&stream, &whole.written, whole.opened.is_some()),
        Role::Client => {
            let seen = whole.opened.as_ref().filter(|words| !words.deflate).map(|_| whole.seen.as_slice());
            judge::tungstenite_client(&request, &stream, seen, whole.end);
        }
    }
    check_rest(role, &whole, &verdict, &stream);
    check_written(role, &whole, &request);
}

fn check_verdict(whole: &Outcome, verdict: &Verdict, stream: &[u8]) {
    let text = String::from_utf8_lossy(stream);
    match verdict {
        Verdict::Opens { target, subprotocol, .. } => {
            let Some(words) = &whole.opened else {
                // What stands in a list of extensions is for the tests beside it.
                let theirs =
                    matches!(whole.refused, Some(HandshakeError::Header { name: "Sec-WebSocket-Extensions", .. }));
                assert!(theirs, "refused for {:?}, and the judge opens: {text:?}", whole.refused);
                return;
            };
            assert_eq!(words.target, *target, "the target of {text:?}");
            assert_eq!(words.subprotocol, *subprotocol, "the subprotocol of {text:?}");
        }
        Verdict::Refuses(statuses) => {
            let refused = whole.refused.as_ref();
            let refused = refused.unwrap_or_else(|| panic!("opened, and the judge says {statuses:?}: {text:?}"));
            assert!(statuses.contains(&refused.status()), "{refused:?}, and the judge says {statuses:?}: {text:?}");
        }
        Verdict::Unfinished => assert_eq!(whole.opened, None, "opened by half a head: {text:?}"),
    }
}

/// The frames behind the head.
fn check_rest(role: Role, whole: &Outcome, verdict: &Verdict, stream: &[u8]) {
    let (Some(words), Verdict::Opens { len, .. }) = (&whole.opened, verdict) else { return };
    if words.deflate {
        return;
    }
    let (seen, end) = reference::read(role, false, &stream[*len..]);
    assert_eq!((&whole.seen, whole.end), (&seen, Some(end)), "behind {:?}", String::from_utf8_lossy(&stream[..*len]));
}

fn check_written(role: Role, whole: &Outcome, request: &[u8]) {
    let text = String::from_utf8_lossy(&whole.written);
    if role == Role::Client {
        let rest = whole.written.strip_prefix(request);
        let rest = rest.unwrap_or_else(|| panic!("it asked {text:?}"));
        assert!(whole.opened.is_some() || rest.is_empty(), "a client that was refused wrote {rest:?}");
        return;
    }
    match (&whole.opened, &whole.refused) {
        (Some(_), _) => assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{text}"),
        (None, Some(refused)) => {
            assert!(text.starts_with(&format!("HTTP/1.1 {} ", refused.status())), "{refused:?}: {text}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text}"));
            assert!(head.contains("close"), "what follows would be taken for a request: {text}");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
        }
        (None, None) if whole.end == Some(End::Truncated) => assert!(text.starts_with("HTTP/1.1 400 "), "{text}"),
        (None, None) => assert_eq!(text, "", "an answer to nothing"),
    }
}

fn settings(deflate: bool) -> Settings {
    let limits = crate::websocket::limits().max_headers(MAX_HEADERS).max_head(MAX_HEAD);
    Settings::new().limits(limits).control_events(true).deflate(deflate.then(Deflate::new))
}

fn protocol(role: Role, deflate: bool) -> WebSocket {
    match role {
        Role::Server => {
            WebSocket::server(ServerHandshake::new(settings(deflate)).subprotocols(SUBPROTOCOLS).origins([ORIGIN]))
        }
        Role::Client => {
            let handshake = ClientHandshake::new("h", "/any").subprotocols(SUBPROTOCOLS).settings(settings(deflate));
            WebSocket::client(handshake).unwrap_or_else(|error| panic!("{error}"))
        }
    }
}

fn session(role: Role, deflate: bool, delivery: Delivery) -> Session<WebSocket> {
    let config = Config::new().timeouts(Timeouts::none()).delivery(delivery).on_peer_finish(OnPeerFinish::KeepSending);
    let config = settings(deflate).config(role, config);
    Session::new(protocol(role, deflate), config, 7, NOW).unwrap_or_else(|error| panic!("{error}"))
}

/// What our client asks.
fn request(deflate: bool) -> Vec<u8> {
    let mut written = Vec::new();
    drain(&mut session(Role::Client, deflate, Delivery::Owned), &mut written);
    written
}

fn stream(input: &Input, request: &[u8]) -> Vec<u8> {
    let pick = |from: &[&'static str], choice: u8| from[usize::from(choice) % from.len()];
    let mut stream = Vec::new();
    let mut put = |text: &str| stream.extend_from_slice(text.as_bytes());
    if input.server {
        put(pick(&REQUEST_LINES, input.line));
        put(pick(&HOSTS, input.needed[0]));
        put(pick(&VERSIONS, input.needed[3]));
        put(pick(&KEYS, input.needed[4]));
    } else {
        (0..input.interim % 12).for_each(|_| put("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"));
        put(pick(&RESPONSE_LINES, input.line));
        let accept = judge::accept_of(request);
        match input.needed[4] % 6 {
            0..=2 => put(&format!("Sec-WebSocket-Accept: {accept}\r\n")),
            3 => put(&format!("sec-websocket-accept:\t{accept} \r\n")),
            4 => put("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            _ => {}
        }
    }
    put(pick(&UPGRADES, input.needed[1]));
    put(pick(&CONNECTIONS, input.needed[2]));
    input.more.iter().take(12).for_each(|more| put(pick(&MORE, *more)));
    if let Some(odd) = &input.odd_field {
        stream.extend_from_slice(odd);
        stream.extend_from_slice(b"\r\n");
    }
    stream.extend_from_slice(pick(&ENDINGS, input.ending).as_bytes());
    stream.extend_from_slice(&input.rest);
    stream
}

fn ours(role: Role, deflate: bool, stream: &[u8], cuts: &[u8], delivery: Delivery) -> Outcome {
    let mut session = session(role, deflate, delivery);
    let mut out = Outcome { opened: None, refused: None, seen: Vec::new(), end: None, written: Vec::new() };
    let mut finished = false;
    let mut note = |event: SessionEvent<Event, Violation>| match event {
        SessionEvent::App(Event::Opened(opened)) => {
            assert!(out.opened.is_none() && out.seen.is_empty(), "opened twice, or late");
            out.opened = Some(Words {
                target: opened.target,
                subprotocol: opened.subprotocol,
                deflate: opened.deflate.is_some(),
                headers: opened.headers,
            });
        }
        SessionEvent::App(event) => out.seen.push(own(event)),
        SessionEvent::PeerFinished => finished = true,
        _ => {}
    };
    if delivery == Delivery::Owned {
        out.written = play(&mut session, stream, cuts, true, |_, event| note(event));
    } else {
        let mut in_place = Vec::new();
        out.written = crate::websocket::play_in_place(&mut session, stream, cuts, &mut note, &mut in_place);
        out.seen = in_place;
    }
    out.end = match session.cause() {
        Some(Cause::Violation(Violation::Handshake(error))) => {
            out.refused = Some(*error.clone());
            None
        }
        Some(Cause::Violation(violation)) => Some(End::Broken(violation.close_code().0)),
        Some(Cause::PeerClose(_)) => Some(End::Closed),
        Some(Cause::Truncated { .. }) => Some(End::Truncated),
        None if finished => Some(End::Clean),
        other => panic!("the stream ended, and the session says {other:?}: {session:?}"),
    };
    out
}
