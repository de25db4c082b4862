//! Everything that trips HTTP/1.1 implementations on the wire, each row with its expected answer, however it is cut.
//!
//! Behind every row follows another request. Behind a row that is refused it must never be seen: bytes that two parsers
//! read differently are how requests are smuggled.

mod support;

use duologue_core::Rng;
use duologue_http1::{Continue, Limits, ServerSettings};
use support::*;

/// What a row leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The request is understood, with this content, and so is the one behind it.
    Accept(&'static str),
    /// Understood, and the connection ends after it.
    Last(&'static str),
    /// Refused with this status, and nothing behind it is looked at.
    Refuse(u16),
}
use Answer::{Accept, Last, Refuse};

const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n";

/// Rows of a method, a request head without its end, and what follows it.
const ROWS: &[(&str, &str, Answer)] = &[
    // Content-Length.
    ("plain content-length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Accept("hello")),
    ("no content", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Accept("")),
    ("leading zeros are digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\nhello", Accept("hello")),
    ("optional white space", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t5 \t\r\n\r\nhello", Accept("hello")),
    (
        "two equal lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        Refuse(400),
    ),
    ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", Refuse(400)),
    ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\nhello", Refuse(400)),
    ("a list with white space", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", Refuse(400)),
    ("a list with nothing", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\nhello", Refuse(400)),
    ("a fraction", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nhello", Refuse(400)),
    (
        "a length of 2^64",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
        Refuse(400),
    ),
    ("a folded length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\nhello", Refuse(400)),
    ("a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", Refuse(400)),
    ("a minus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", Refuse(400)),
    ("hexadecimal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", Refuse(400)),
    ("a space inside", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 5\r\n\r\nhello", Refuse(400)),
    ("an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello", Refuse(400)),
    ("twenty digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello", Refuse(400)),
    ("an underscore", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5_0\r\n\r\nhello", Refuse(400)),
    // Transfer-Encoding.
    (
        "chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Accept("hello"),
    ),
    (
        "chunked in capitals",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Accept("hello"),
    ),
    (
        "a tab is optional white space",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Accept("hello"),
    ),
    (
        "white space behind chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked \t\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Accept("hello"),
    ),
    (
        "chunked is not last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "both lengths, CL first",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "both lengths, TE first",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "chunked in two fields",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refuse(400),
    ),
    ("identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", Refuse(501)),
    (
        "chunked, then identity",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        Refuse(400),
    ),
    ("an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refuse(501)),
    ("gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refuse(501)),
    ("an empty element", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", Refuse(400)),
    (
        "an empty element in front",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
        Refuse(400),
    ),
    ("an empty coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("a quoted coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("a parameter", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("a vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("a folded coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", Refuse(400)),
    ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refuse(400)),
    (
        "both in HTTP/1.0",
        "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        Refuse(400),
    ),
    // Lines and fields.
    ("a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refuse(400)),
    (
        "a space before the colon of TE",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Refuse(400),
    ),
    ("a tab before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", Refuse(400)),
    ("a bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Refuse(400)),
    ("a bare CR as line end", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", Refuse(400)),
    ("a bare LF", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", Refuse(400)),
    ("bare LFs", "GET / HTTP/1.1\nHost: a\n\n", Refuse(400)),
    ("a bare LF as last line", "GET / HTTP/1.1\r\nHost: a\r\n\n", Refuse(400)),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Refuse(400)),
    ("NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", Refuse(400)),
    ("DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", Refuse(400)),
    ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", Refuse(400)),
    ("a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refuse(400)),
    ("a line without colon", "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", Refuse(400)),
    ("an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Refuse(400)),
    ("an empty value", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", Accept("")),
    ("bytes beyond ASCII in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: gr\u{fc}n\r\n\r\n", Accept("")),
    ("an empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Accept("")),
    ("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("a bare LF first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    // The request line.
    ("HTTP/0.9", "GET /\r\n\r\n", Refuse(400)),
    ("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", Last("")),
    ("HTTP/1.0 that stays", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Accept("")),
    ("HTTP/1.0 with a length", "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", Last("hello")),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refuse(505)),
    ("HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refuse(505)),
    ("a lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("no version number", "GET / HTTP/x\r\nHost: a\r\n\r\n", Refuse(400)),
    ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("a space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Refuse(400)),
    ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("a tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("a space in front", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("a target that is no path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("bytes beyond ASCII in the target", "GET /gr\u{fc}n HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("an absolute target", "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", Accept("")),
    ("* for OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Accept("")),
    ("* for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("CONNECT to a path", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("CONNECT with content", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Refuse(400)),
    ("CONNECT with a user", "CONNECT u@a:1 HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("CONNECT without a port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("CONNECT to port 0", "CONNECT a:0 HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("an absolute target with a user", "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", Refuse(400)),
    ("an @ in a path", "GET /a@b HTTP/1.1\r\nHost: b\r\n\r\n", Accept("")),
    ("a method of its own", "PURGE / HTTP/1.1\r\nHost: a\r\n\r\n", Accept("")),
    ("a method that is no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(400)),
    ("a long method", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: a\r\n\r\n", Refuse(501)),
    // Host.
    ("no Host", "GET / HTTP/1.1\r\n\r\n", Refuse(400)),
    ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refuse(400)),
    ("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Refuse(400)),
    ("a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refuse(400)),
    ("a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Refuse(400)),
    ("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Accept("")),
    ("a Host with a port", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Accept("")),
    // Chunks.
    (
        "hexadecimal size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0000A\r\n0123456789\r\n0\r\n\r\n",
        Accept("0123456789"),
    ),
    (
        "a size with 0x",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "a size with a sign",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "a size with an underscore",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5_\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "a size that overflows",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "many leading zeros",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000005\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    ("no size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", Refuse(400)),
    (
        "a space before the size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "a tab behind the size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\t\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "a size with a minus",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "NUL in an extension",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\0b\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "a space behind the size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "an extension",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b c\"\r\nhello\r\n0\r\n\r\n",
        Accept("hello"),
    ),
    (
        "an extension that ends with LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "an extension with LF inside",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "an extension with CR inside",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "a size that ends with LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "a size that ends with CR",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\rhello\r\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "no CR LF behind a chunk",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
        Refuse(400),
    ),
    (
        "LF behind a chunk",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n",
        Refuse(400),
    ),
    (
        "other bytes behind a chunk",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        Refuse(400),
    ),
    (
        "LF behind the last chunk",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
        Refuse(400),
    ),
    (
        "trailers",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        Accept("hello"),
    ),
    (
        "a length in the trailers",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        Refuse(400),
    ),
    (
        "a coding in the trailers",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
        Refuse(400),
    ),
    (
        "a Host in the trailers",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n",
        Refuse(400),
    ),
    (
        "a trailer that ends with LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
        Refuse(400),
    ),
    (
        "a bare CR in a trailer",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\rz\r\n\r\n",
        Refuse(400),
    ),
    (
        "NUL in a trailer",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\0\r\n\r\n",
        Refuse(400),
    ),
    (
        "a trailer without colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nnothing\r\n\r\n",
        Refuse(400),
    ),
    (
        "a space before the colon of a trailer",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n",
        Refuse(400),
    ),
    (
        "a folded trailer",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n z\r\n\r\n",
        Refuse(400),
    ),
    // The connection, and what the client waits for.
    ("close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Last("")),
    ("close in a list", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", Last("")),
    ("close in a second field", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", Last("")),
    (
        "expecting to continue",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        Accept("hello"),
    ),
    (
        "expecting something else",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
        Refuse(417),
    ),
    (
        "expecting two things",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n\r\nhello",
        Refuse(417),
    ),
    ("HTTP/1.0 expects nothing", "POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 5\r\n\r\nhello", Last("hello")),
];

fn outcome(bytes: &[u8], settings: ServerSettings, mut cut: impl FnMut() -> usize) -> (Vec<Whole>, String) {
    let mut session = server(settings);
    let (mut events, mut out) = (Vec::new(), String::new());
    let mut rest = bytes;
    while !rest.is_empty() && session.interest().read {
        let n = feed(&mut session, T0, &rest[..cut().clamp(1, rest.len())]);
        rest = &rest[n..];
        events.extend(messages(&mut session, T0));
        out += &text(&mut session, T0);
    }
    (requests(events), out)
}

fn check(name: &str, row: &str, answer: Answer, settings: ServerSettings, cut: impl FnMut() -> usize) {
    let bytes = format!("{row}{NEXT}");
    let (seen, out) = outcome(bytes.as_bytes(), settings, cut);
    let smuggled = seen.iter().any(|request| request.start.contains("/smuggled"));
    match answer {
        Accept(body) | Last(body) => {
            let out = out.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
            assert_eq!(out, "", "{name}: nothing is answered by itself");
            let first = seen.first().unwrap_or_else(|| panic!("{name}: no request was seen"));
            assert_eq!((first.body.as_slice(), first.complete), (body.as_bytes(), true), "{name}");
            assert_eq!(smuggled, matches!(answer, Accept(_)), "{name}: whether the next request is looked at");
            assert_eq!(seen.len(), 1 + usize::from(smuggled), "{name}: {seen:?}");
        }
        Refuse(status) => {
            assert!(out.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {out:?}");
            assert!(out.contains("connection: close\r\n"), "{name}: {out:?}");
            assert_eq!(out.matches("HTTP/1.1").count(), 1, "{name}: one answer and no more");
            assert!(!smuggled, "{name}: what follows a refused request was taken for a request");
            assert!(seen.iter().all(|request| !request.complete), "{name}: {seen:?}");
        }
    }
}

#[test]
fn every_row_has_its_answer_however_it_is_cut() {
    let settings = ServerSettings::new();
    for (name, row, answer) in ROWS {
        check(name, row, *answer, settings, || usize::MAX);
        check(name, row, *answer, settings, || 1);
        let mut rng = Rng::new(7);
        for _ in 0..4 {
            check(name, row, *answer, settings, || 1 + rng.below(11) as usize);
        }
    }
    assert!(ROWS.len() > 110, "the table has {} rows", ROWS.len());
}

#[test]
fn a_refused_request_is_answered_after_those_before_it() {
    let mut session = server(ServerSettings::new());
    feed(
        &mut session,
        T0,
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(messages(&mut session, T0).len(), 1);
    assert_eq!(text(&mut session, T0), "", "the error waits for the answer to the first request");
    session.send(T0, ok("one")).expect("an answer");
    let out = text(&mut session, T0);
    assert!(out.starts_with("HTTP/1.1 200 OK\r\n"), "{out:?}");
    assert!(out.contains("HTTP/1.1 400 Bad Request\r\n"), "{out:?}");
    assert!(messages(&mut session, T0).is_empty());
    assert!(finished(&session));
}

fn limited(limits: Limits) -> ServerSettings {
    ServerSettings::new().limits(limits)
}

#[test]
fn limits_have_their_status_however_the_bytes_are_cut() {
    let long = "x".repeat(300);
    let fields = "X: y\r\n".repeat(20);
    let rows: Vec<(&str, String, Answer, Limits)> = vec![
        ("a long target", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), Refuse(414), Limits::new().target(100)),
        ("a target without end", format!("GET /{long}{long}"), Refuse(414), Limits::new().target(100)),
        ("a method without end", long.clone(), Refuse(501), Limits::new().target(100)),
        (
            "a long head",
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
            Refuse(431),
            Limits::new().head(200),
        ),
        ("many fields", format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), Refuse(431), Limits::new().fields(10)),
        (
            "a long body",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890".into(),
            Refuse(413),
            Limits::new().body(Some(10)),
        ),
        (
            "a long body in chunks",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\nworld!\r\n0\r\n\r\n"
                .into(),
            Refuse(413),
            Limits::new().body(Some(10)),
        ),
        (
            "one long extension",
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{long}\r\na\r\n0\r\n\r\n"),
            Refuse(400),
            Limits::new().chunk_extensions(100),
        ),
        (
            "many small extensions",
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                "1;a=b\r\nx\r\n".repeat(30)
            ),
            Refuse(400),
            Limits::new().chunk_extensions(100),
        ),
        (
            "long trailers",
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: {long}\r\n\r\n"),
            Refuse(431),
            Limits::new().trailers(100),
        ),
    ];
    for (name, row, answer, limits) in rows {
        for cut in [usize::MAX, 1, 2, 7] {
            check(name, &row, answer, limited(limits), || cut);
        }
    }
}

#[test]
fn a_body_too_long_is_refused_before_it_is_asked_for() {
    let settings = limited(Limits::new().body(Some(10))).continues(Continue::Automatic);
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n";
    let (seen, out) = outcome(request, settings, || usize::MAX);
    assert!(seen.is_empty());
    assert!(out.starts_with("HTTP/1.1 413 "), "{out:?}");
}

#[test]
fn a_head_that_comes_byte_by_byte_costs_no_more_than_one_that_comes_whole() {
    // 30 KB in single bytes: were each look from the start, that would be 450 million bytes to look at.
    let mut head = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
    while head.len() < 30_000 {
        head.push_str(
            "X: 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567\
            0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
            0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
            0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n",
        );
    }
    head.push_str("\r\n");
    let (seen, out) = outcome(head.as_bytes(), ServerSettings::new(), || 1);
    assert_eq!((seen.len(), out.as_str()), (1, ""));
}
