//! Who judges an opening: the sentences of RFC 6455 section 4 over a head that httparse parsed, and tungstenite.

use std::io::Read;

use tungstenite::handshake::client::ClientHandshake as TheirClient;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request as TheirRequest, create_response};
use tungstenite::protocol::WebSocketConfig;

use super::{MAX_HEAD, MAX_HEADERS, ORIGIN, SUBPROTOCOLS};
use crate::websocket::{End, Memory, Seen};

/// What an opening must come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With the length of everything up to the frames.
    Opens { len: usize, target: String, subprotocol: Option<String> },
    /// With one of these statuses: each is a reason.
    Refuses(Vec<u16>),
    /// The head is not whole.
    Unfinished,
}

type Fields = Vec<(String, Vec<u8>)>;

/// The first head of `stream`, its empty line included.
fn head(stream: &[u8]) -> Result<&[u8], Verdict> {
    match stream.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) if at + 4 <= MAX_HEAD => Ok(&stream[..at + 4]),
        None if stream.len() < MAX_HEAD => Err(Verdict::Unfinished),
        _ => Err(Verdict::Refuses(vec![431])),
    }
}

/// RFC 9112 section 2.2: a line ends with CRLF. Its bare LF is a leave that we do not take, for who else reads the same
/// bytes may not have taken it.
fn has_bare_end(head: &[u8]) -> bool {
    (0..head.len()).any(|at| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r'))
}

fn all<'a>(fields: &'a Fields, name: &str) -> Vec<&'a [u8]> {
    let named = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_slice()).collect()
}

fn list(fields: &Fields, name: &str) -> Vec<String> {
    let mut members = Vec::new();
    for value in all(fields, name) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        members.extend(text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()));
    }
    members
}

fn lists(fields: &Fields, name: &str, token: &str) -> bool {
    list(fields, name).iter().any(|one| one.eq_ignore_ascii_case(token))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// RFC 3986: what a host and a port are made of.
fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&b)
}

/// RFC 6455 section 4.2.1: a path, or an address that a WebSocket can have. There is no fragment (section 3).
fn is_target(target: &str) -> bool {
    let scheme = target.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let absolute = scheme.is_some_and(|scheme| ["ws", "wss", "http", "https"].contains(&scheme.as_str()));
    (absolute || target.starts_with('/')) && target.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

/// 16 bytes in base64, in the one way of writing them.
fn is_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || *b == b'+' || *b == b'/';
    // 128 bits are 21 digits and two bits of the 22nd.
    key.len() == 24 && key[..21].iter().all(digit) && b"AQgw".contains(&key[21]) && key.ends_with(b"==")
}

/// RFC 6455 section 4.2.1.
pub(super) fn judge_request(stream: &[u8]) -> Verdict {
    let head = match head(stream) {
        Ok(head) => head,
        Err(verdict) => return verdict,
    };
    let mut storage = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut storage);
    match request.parse(head) {
        Err(httparse::Error::TooManyHeaders) => return Verdict::Refuses(vec![431, 400]),
        Ok(httparse::Status::Complete(len)) if len == head.len() && !has_bare_end(head) => {}
        _ => return Verdict::Refuses(vec![400]),
    }
    let fields: Fields = request.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
    let mut reasons = Vec::new();
    let mut need = |holds: bool, status: u16| {
        if !holds {
            reasons.push(status);
        }
    };
    need(request.method == Some("GET"), 405);
    need(request.version == Some(1), 505);
    let hosts = all(&fields, "Host");
    need(hosts.len() == 1 && hosts[0].iter().all(|b| is_host_byte(*b)), 400);
    need(is_target(request.path.unwrap_or_default()), 400);
    need(lists(&fields, "Upgrade", "websocket") && lists(&fields, "Connection", "upgrade"), 426);
    need(all(&fields, "Transfer-Encoding").is_empty(), 400);
    need(all(&fields, "Content-Length").iter().all(|length| *length == b"0"), 400);
    let versions = all(&fields, "Sec-WebSocket-Version");
    need(versions.len() == 1, 400);
    need(versions.len() != 1 || versions[0] == b"13", 426);
    let keys = all(&fields, "Sec-WebSocket-Key");
    need(keys.len() == 1 && is_key(keys[0]), 400);
    let origins = all(&fields, "Origin");
    need(origins.len() <= 1, 400);
    need(origins.iter().all(|origin| origin.eq_ignore_ascii_case(ORIGIN.as_bytes())), 403);
    let offers = list(&fields, "Sec-WebSocket-Protocol");
    need(offers.iter().all(|offer| is_token(offer)), 400);
    if !reasons.is_empty() {
        return Verdict::Refuses(reasons);
    }
    let subprotocol = SUBPROTOCOLS.iter().find(|ours| offers.iter().any(|offer| offer == *ours));
    Verdict::Opens {
        len: head.len(),
        target: request.path.unwrap_or_default().to_owned(),
        subprotocol: subprotocol.map(|name| (*name).to_owned()),
    }
}

/// The value of one field of our request.
fn asked<'a>(request: &'a [u8], name: &str) -> &'a str {
    let text = std::str::from_utf8(request).unwrap_or_else(|error| panic!("our request: {error}"));
    let lines = text.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.filter(|(field, _)| *field == name).map(|(_, value)| value).next().unwrap_or_default()
}

/// What answers our request's key, by tungstenite.
pub(super) fn accept_of(request: &[u8]) -> String {
    derive_accept_key(asked(request, "Sec-WebSocket-Key").as_bytes())
}

/// RFC 6455 section 4.1, from "Once the client's opening handshake has been sent".
pub(super) fn judge_response(request: &[u8], stream: &[u8]) -> Verdict {
    let mut at = 0;
    for interim in 0.. {
        let head = match head(&stream[at..]) {
            Ok(head) => head,
            Err(verdict) => return verdict,
        };
        let mut storage = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut storage);
        match response.parse(head) {
            Err(httparse::Error::TooManyHeaders) => return Verdict::Refuses(vec![431, 400]),
            Ok(httparse::Status::Complete(len)) if len == head.len() && !has_bare_end(head) => {}
            _ => return Verdict::Refuses(vec![400]),
        }
        at += head.len();
        let fields: Fields = response.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
        match response.code {
            Some(100 | 102..=199) if interim < 8 => continue,
            Some(101) if response.version == Some(1) && grants(request, &fields) => {}
            _ => return Verdict::Refuses(vec![400]),
        }
        let subprotocol =
            all(&fields, "Sec-WebSocket-Protocol").first().map(|name| String::from_utf8_lossy(name).into());
        return Verdict::Opens { len: at, target: "/any".into(), subprotocol };
    }
    Verdict::Unfinished
}

fn grants(request: &[u8], fields: &Fields) -> bool {
    let upgrades = all(fields, "Upgrade");
    let accepts = all(fields, "Sec-WebSocket-Accept");
    let chosen = all(fields, "Sec-WebSocket-Protocol");
    upgrades.len() == 1
        && upgrades[0].eq_ignore_ascii_case(b"websocket")
        && lists(fields, "Connection", "upgrade")
        && accepts.len() == 1
        && accepts[0] == accept_of(request).as_bytes()
        && chosen.len() <= 1
        && chosen.iter().all(|name| SUBPROTOCOLS.iter().any(|ours| ours.as_bytes() == *name))
}

/// What tungstenite opens as a server we open, and what we open it opens with the same answer, where the two mean to do
/// the same: it looks at the first of repeated fields, takes no list of protocols to upgrade to, and knows no origins,
/// bodies, hosts or subprotocols.
pub(super) fn tungstenite_server(stream: &[u8], written: &[u8], opened: bool) {
    let Ok(Some((len, request))) = TheirRequest::try_parse(stream) else { return };
    let theirs = create_response(&request);
    let fields = request.headers();
    let single = |name: &str| fields.get_all(name).iter().count() == 1;
    if opened {
        let upgrade = fields.get("Upgrade").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if single("Connection") && !upgrade.contains(',') && single("Upgrade") {
            let theirs = theirs.unwrap_or_else(|error| panic!("tungstenite refuses: {error}"));
            let accept = theirs.headers()["Sec-WebSocket-Accept"].to_str().unwrap_or_default();
            let text = String::from_utf8_lossy(written);
            assert!(text.contains(&format!("Sec-WebSocket-Accept: {accept}\r\n")), "the answer is {text}");
        }
        return;
    }
    let needed = ["Host", "Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"];
    let ours_alone =
        ["Origin", "Content-Length", "Transfer-Encoding", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"];
    let plain = needed.into_iter().all(single)
        && !ours_alone.into_iter().any(|name| fields.contains_key(name))
        && fields.len() <= MAX_HEADERS
        && len <= MAX_HEAD
        && stream[..len].ends_with(b"\r\n\r\n")
        && !has_bare_end(&stream[..len])
        // It parts a list at spaces as well.
        && !fields["Connection"].as_bytes().contains(&b' ');
    assert!(!plain || theirs.is_err(), "tungstenite opens {:?}", String::from_utf8_lossy(stream));
}

/// A stream in memory for an opening that was asked for: what is written is dropped.
pub(super) fn tungstenite_client(request: &[u8], stream: &[u8], seen: Option<&[Seen]>, end: Option<End>) {
    let Some(seen) = seen else { return };
    // It takes neither interim answers nor a list of connection options, and insists on one of the subprotocols.
    let mut storage = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut storage);
    let parsed = response.parse(stream);
    let exactly = |name: &str, value: &[u8]| {
        let mut found = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        found.next().is_some_and(|field| field.value.eq_ignore_ascii_case(value)) && found.next().is_none()
    };
    let subprotocol = response.headers.iter().any(|field| field.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"));
    if parsed.is_err() || response.code != Some(101) || !exactly("Connection", b"upgrade") || !subprotocol {
        return;
    }
    let asking = tungstenite::http::Request::builder()
        .uri("ws://h/any")
        .header("Host", "h")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", asked(request, "Sec-WebSocket-Key"))
        .header("Sec-WebSocket-Protocol", SUBPROTOCOLS.join(","))
        .body(())
        .unwrap_or_else(|error| panic!("{error}"));
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let memory = Memory(stream);
    let started = TheirClient::start(memory, asking, Some(config)).unwrap_or_else(|error| panic!("{error}"));
    let (mut socket, _) = started.handshake().unwrap_or_else(|error| panic!("tungstenite refuses: {error}"));
    if !matches!(end, Some(End::Broken(_))) {
        assert_eq!(crate::websocket::read_theirs(&mut socket), seen, "tungstenite, behind the head");
    }
    let mut left = Vec::new();
    let _ = socket.get_mut().read_to_end(&mut left);
}
