//! What trips implementations, as rows: what a client sends, and every byte that a server must answer.
//!
//! Run twice: without a socket, cut in every way, and over real sockets.
#![allow(dead_code)]

use duologue_websocket::{Limits, ServerHandshake, Settings};

/// A request that is in order. Rows replace lines of it.
pub(crate) const REQUEST: &str = "GET /any HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The answer to it (RFC 6455 section 1.3).
pub(crate) const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// One row: after the opening.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What the client sends, request excluded.
    pub(crate) send: Vec<u8>,
    /// All that the server answers, up to its FIN. It echoes messages.
    pub(crate) answer: Vec<u8>,
    /// The client sends FIN behind it. If not, it is the server that ends the connection first.
    pub(crate) fin: bool,
}

/// A masked frame.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let body = payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k);
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0xFE);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0xFF);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(key);
    out.extend(body);
    out
}

/// A frame of the server's, of less than 126 bytes.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8], payload].concat()
}

fn close(code: u16) -> Vec<u8> {
    plain(0x88, &code.to_be_bytes())
}

fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(0x88, &[&code.to_be_bytes(), reason].concat())
}

/// A header that announces this length in eight bytes, with a key.
fn announced(len: u64) -> Vec<u8> {
    [&[0x82, 0xFF], &len.to_be_bytes()[..], &[0, 0, 0, 0]].concat()
}

/// Accepts frames and messages of up to 1 000 bytes, and five fragments.
pub(crate) fn server() -> ServerHandshake {
    let limits = Limits::new().max_frame(1_000).max_message(1_500).max_fragments(5).max_headers(20);
    ServerHandshake::new(Settings::new().limits(limits)).subprotocols(["b", "a"]).origins(["https://good.example"])
}

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, send: &[Vec<u8>], answer: &[Vec<u8>]| Row {
        name,
        send: send.concat(),
        answer: answer.concat(),
        fin: false,
    };
    let bye = || closing(1000, b"");
    let mut rows = vec![
        row("Close(1000): echoed, and the server ends TCP first", &[bye()], &[close(1000)]),
        row("a Close without a code has an answer without one", &[masked(0x88, b"")], &[plain(0x88, b"")]),
        row("the reason is not echoed", &[closing(4999, b"so long")], &[close(4999)]),
        row(
            "a message and a Close in one segment: the message is answered first",
            &[masked(0x81, b"hi"), bye()],
            &[plain(0x81, b"hi"), close(1000)],
        ),
        row("what comes after the Close is not answered", &[bye(), masked(0x89, b"p")], &[close(1000)]),
        row("unmasked", &[plain(0x81, b"hi")], &[close(1002)]),
        row("unmasked, with bytes behind it", &[plain(0x82, b"hello, world").repeat(2)], &[close(1002)]),
        row("Close(1005) on the wire", &[closing(1005, b"")], &[close(1002)]),
        row("Close(1006) on the wire", &[closing(1006, b"")], &[close(1002)]),
        row("Close(999)", &[closing(999, b"")], &[close(1002)]),
        row("Close(1016)", &[closing(1016, b"")], &[close(1002)]),
        row("Close(2999)", &[closing(2999, b"")], &[close(1002)]),
        row("Close(5000)", &[closing(5000, b"")], &[close(1002)]),
        row("Close(1014), registered after the RFC", &[closing(1014, b"")], &[close(1014)]),
        row("a Close body of one byte", &[masked(0x88, b"\x03")], &[close(1002)]),
        row("a Close reason that is no UTF-8", &[closing(1000, b"\xff")], &[close(1007)]),
        row("a Close reason of 124 bytes", &[closing(1000, &[b'x'; 124])], &[close(1002)]),
        row("a ping of 126 bytes", &[masked(0x89, &[0; 126])], &[close(1002)]),
        row("a fragmented ping", &[masked(0x09, b"p")], &[close(1002)]),
        row("a continuation of nothing", &[masked(0x80, b"x")], &[close(1002)]),
        row("a text inside a message", &[masked(0x01, b"a"), masked(0x81, b"b")], &[close(1002)]),
        row(
            "a long binary inside a message",
            &[masked(0x02, b"a"), masked(0x82, b"bcdefghi"), masked(0x80, b"j")],
            &[close(1002)],
        ),
        row("RSV1 without an extension", &[masked(0xC1, b"x")], &[close(1002)]),
        row("RSV2", &[masked(0xA1, b"x")], &[close(1002)]),
        row("RSV3 on a ping", &[masked(0x99, b"x")], &[close(1002)]),
        row("RSV1 on a ping", &[masked(0xC9, b"x")], &[close(1002)]),
        row("opcode 3", &[masked(0x83, b"x")], &[close(1002)]),
        row("opcode 11", &[masked(0x8B, b"")], &[close(1002)]),
        row("a length with the highest bit", &[announced(1 << 63)], &[close(1002)]),
        row("a length that is too big", &[announced((1 << 63) - 1)], &[close(1009)]),
        row("a frame one byte too long", &[masked(0x82, &[0; 1001])], &[close(1009)]),
        row(
            "a message too long in its second frame",
            &[masked(0x02, &[0; 900]), masked(0x80, &[0; 601])],
            &[close(1009)],
        ),
        row("one fragment too many", &[masked(0x02, b""), masked(0, b"").repeat(5)], &[close(1008)]),
        row("a length of 5 in two bytes", &[vec![0x82, 0xFE, 0, 5, 0, 0, 0, 0]], &[close(1002)]),
        row("a length of 5 in two bytes, whole", &[vec![0x82, 0xFE, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5]], &[close(1002)]),
        row("a length of 126 in eight bytes", &[announced(126)], &[close(1002)]),
        row("text that is no UTF-8", &[masked(0x81, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80")], &[close(1007)]),
        row("text that is UTF-8 only while it is masked", &[masked(0x81, b"a\xff")], &[close(1007)]),
        row("text that ends inside a character", &[masked(0x81, b"ab\xe2\x82")], &[close(1007)]),
        row(
            "text that is no UTF-8 fails with the first wrong byte, with the message unfinished",
            &[masked(0x01, b"\xf4"), masked(0x00, b"\x90")],
            &[close(1007)],
        ),
        row(
            "a character over three fragments, with a ping in between",
            &[masked(0x01, b"\xe2"), masked(0x89, b"p"), masked(0x00, b"\x82"), masked(0x80, b"\xac"), bye()],
            &[plain(0x8A, b"p"), plain(0x81, "\u{20ac}".as_bytes()), close(1000)],
        ),
        row("a Close inside a fragmented message", &[masked(0x01, b"a"), bye(), masked(0x80, b"b")], &[close(1000)]),
        row(
            "empty fragments are a message",
            &[masked(0x02, b""), masked(0x80, b""), bye()],
            &[plain(0x82, b""), close(1000)],
        ),
        row("a pong that nobody asked for is ignored", &[masked(0x8A, b"x"), bye()], &[close(1000)]),
        row(
            "several pings are answered in order while there is room",
            &[masked(0x89, b"1"), masked(0x89, b""), masked(0x89, &[7; 125]), bye()],
            &[plain(0x8A, b"1"), plain(0x8A, b""), plain(0x8A, &[7; 125]), close(1000)],
        ),
    ];
    let fin = |name, send: &[Vec<u8>], answer: &[Vec<u8>]| Row { fin: true, ..row(name, send, answer) };
    rows.extend([
        // 1006 is told locally and is never on the wire; that our side is complete, is.
        fin(
            "FIN without a Close: what is pending is answered, then our Close, then FIN",
            &[masked(0x81, b"hi")],
            &[plain(0x81, b"hi"), close(1000)],
        ),
        fin("FIN at once", &[], &[close(1000)]),
    ]);
    rows
}

/// A row about the request: what replaces what, the status, and a field that the answer must have.
pub(crate) type RequestRow = (&'static str, &'static str, &'static str, u16, &'static str);

pub(crate) fn request_rows() -> Vec<RequestRow> {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    vec![
        ("in order", "", "", 101, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("any case", "Upgrade: websocket", "uPGRADE: WebSocket", 101, ""),
        ("a list of connection options", "Connection: Upgrade", "Connection: keep-alive, upgrade", 101, ""),
        ("another protocol beside ours", "Upgrade: websocket", "Upgrade: h2c, websocket", 101, ""),
        ("no upgrade", "Upgrade: websocket\r\n", "", 426, "Upgrade: websocket"),
        ("no connection option", "Connection: Upgrade", "Connection: close", 426, ""),
        ("an older version", "Version: 13", "Version: 8", 426, "Sec-WebSocket-Version: 13"),
        ("no version", version, "", 400, ""),
        ("two versions", version, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n", 400, ""),
        ("no key", key, "", 400, ""),
        (
            "two keys",
            key,
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            400,
            "",
        ),
        ("a key of 15 bytes", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", 400, ""),
        ("a key that is no base64", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ!==", 400, ""),
        ("no host", "Host: h\r\n", "", 400, ""),
        ("two hosts", "Host: h\r\n", "Host: h\r\nHost: h\r\n", 400, ""),
        ("an empty host", "Host: h", "Host:", 101, ""),
        ("a host with a port", "Host: h", "Host: [::1]:80", 101, ""),
        ("a host with a path", "Host: h", "Host: h/x", 400, ""),
        ("a host with a user", "Host: h", "Host: u@h", 400, ""),
        ("two hosts in one field", "Host: h", "Host: h, i", 400, ""),
        ("an absolute target", "GET /any", "GET http://h/any", 101, ""),
        ("a target that is no path", "GET /any", "GET any", 400, ""),
        ("a target for OPTIONS", "GET /any", "GET *", 400, ""),
        ("a fragment in the target", "GET /any", "GET /any#x", 400, ""),
        ("a method other than GET", "GET", "POST", 405, "Allow: GET"),
        ("HTTP/1.0", "HTTP/1.1", "HTTP/1.0", 505, ""),
        ("no HTTP", "HTTP/1.1", "HTTP/x", 400, ""),
        ("a folded line", "Host: h\r\n", "Host: h\r\n folded\r\n", 400, ""),
        ("a line that ends with a bare LF", "Host: h\r\n", "Host: h\r\nX: y\n", 400, ""),
        ("an empty line of bare LFs inside the head", "Host: h\r\n", "Host: h\r\nX: y\n\nGET / HTTP/1.1\r\n", 400, ""),
        ("space before the colon", "Host: h", "Host : h", 400, ""),
        ("a body by length", "Host: h\r\n", "Host: h\r\nContent-Length: 5\r\n", 400, ""),
        ("no body by length", "Host: h\r\n", "Host: h\r\nContent-Length: 0\r\n", 101, ""),
        ("a body in chunks", "Host: h\r\n", "Host: h\r\nTransfer-Encoding: chunked\r\n", 400, ""),
        ("another site's page", "Host: h\r\n", "Host: h\r\nOrigin: https://evil.example\r\n", 403, ""),
        ("our own page", "Host: h\r\n", "Host: h\r\nOrigin: https://good.example\r\n", 101, ""),
        (
            "our best subprotocol",
            "Host: h\r\n",
            "Host: h\r\nSec-WebSocket-Protocol: x, a, b\r\n",
            101,
            "Sec-WebSocket-Protocol: b",
        ),
        (
            "subprotocols over two lines",
            "Host: h\r\n",
            "Host: h\r\nSec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: a\r\n",
            101,
            "Sec-WebSocket-Protocol: a",
        ),
        ("a subprotocol that is no token", "Host: h\r\n", "Host: h\r\nSec-WebSocket-Protocol: a b\r\n", 400, ""),
        ("a broken list of extensions", "Host: h\r\n", "Host: h\r\nSec-WebSocket-Extensions: ;\r\n", 400, ""),
        ("an unknown extension", "Host: h\r\n", "Host: h\r\nSec-WebSocket-Extensions: x-y; a=\"b\"\r\n", 101, ""),
        (
            "too many fields",
            "Host: h\r\n",
            "Host: h\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\n",
            431,
            "",
        ),
    ]
}
