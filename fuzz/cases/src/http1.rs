//! HTTP/1.1 requests, right and wrong, cut at any place.
//!
//! * whole and cut the stream gives the same requests and the same end;
//! * a request that is accepted is one for a reader that sees the whole stream at once (httparse for heads, chunked
//!   bodies from RFC 9112 section 7.1), with the same method, target, fields and content: nothing is smuggled.

use arbitrary::Arbitrary;
use duologue_core::{Cause, Event, Session};
use duologue_http1::http::StatusCode;
use duologue_http1::{Body, Incoming, Response, Server, ServerCommand, ServerEvent, ServerSettings};

use crate::play::{NOW, play};

/// A stream of requests, and how to cut it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    cuts: Vec<u8>,
    requests: Vec<Request>,
    /// What follows them.
    rest: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Request {
    line: u8,
    fields: Vec<u8>,
    odd_field: Option<Vec<u8>>,
    chunks: Vec<Chunk>,
}

#[derive(Arbitrary, Debug)]
struct Chunk {
    form: u8,
    bytes: Vec<u8>,
}

const LINES: [&str; 8] = [
    "GET / HTTP/1.1\r\n",
    "POST /a?b=c HTTP/1.1\r\n",
    "PUT http://example.org/x HTTP/1.1\r\n",
    "HEAD /h HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "POST /old HTTP/1.0\r\n",
    "\r\nDELETE /d HTTP/1.1\r\n",
    "GET  /two HTTP/1.1\r\n",
];

const FIELDS: [&str; 12] = [
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\n",
    "content-length: 0\r\n",
    "Content-Length: +5\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: keep-alive\r\n",
    "Connection: close\r\n",
    "X-Pad:  \t padded \t\r\n",
    "X-Folded: a\r\n b\r\n",
    "X-Space : a\r\n",
    "Host: again\r\n",
    "Transfer-Encoding: identity\r\n",
];

/// A request as either side sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    content: Vec<u8>,
    complete: bool,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    let stream = stream(&input);
    let whole = ours(&stream, &[]);
    assert_eq!(ours(&stream, &input.cuts), whole, "cut: {:?}", String::from_utf8_lossy(&stream));
    let mut rest = &stream[..];
    for request in whole.0.iter().filter(|request| request.complete) {
        let theirs = reference(&mut rest);
        assert_eq!(Some(request), theirs.as_ref(), "of {:?}", String::from_utf8_lossy(&stream));
    }
}

fn stream(input: &Input) -> Vec<u8> {
    let mut stream = Vec::new();
    for request in input.requests.iter().take(8) {
        stream.extend_from_slice(LINES[usize::from(request.line) % LINES.len()].as_bytes());
        stream.extend_from_slice(b"Host: example.org\r\n");
        for field in request.fields.iter().take(4) {
            stream.extend_from_slice(FIELDS[usize::from(*field) % FIELDS.len()].as_bytes());
        }
        if let Some(odd) = &request.odd_field {
            stream.extend_from_slice(odd);
            stream.extend_from_slice(b"\r\n");
        }
        stream.extend_from_slice(b"\r\n");
        let chunked = request.fields.iter().take(4).any(|field| usize::from(*field) % FIELDS.len() == 0);
        for chunk in request.chunks.iter().take(6) {
            let size = match (chunked, chunk.form % 8) {
                (false, _) => String::new(),
                (_, 1) => format!("{:X};a=b\r\n", chunk.bytes.len()),
                (_, 2) => format!("0{:x}\r\n", chunk.bytes.len()),
                (_, 3) => format!("{:x} \r\n", chunk.bytes.len()),
                _ => format!("{:x}\r\n", chunk.bytes.len()),
            };
            if chunked && chunk.bytes.is_empty() {
                continue;
            }
            stream.extend_from_slice(size.as_bytes());
            stream.extend_from_slice(&chunk.bytes);
            if chunked {
                stream.extend_from_slice(if chunk.form % 8 == 4 { b"\n" } else { b"\r\n" });
            }
        }
        if chunked {
            stream.extend_from_slice(b"0\r\n\r\n");
        }
    }
    stream.extend_from_slice(&input.rest);
    stream
}

fn ours(stream: &[u8], cuts: &[u8]) -> (Vec<Seen>, String) {
    let mut session = Session::new(Server::new(ServerSettings::new()), Server::config(), 5, NOW)
        .unwrap_or_else(|error| panic!("{error}"));
    let mut seen: Vec<Seen> = Vec::new();
    play(&mut session, stream, cuts, true, |session, event| {
        let complete = match event {
            Event::App(ServerEvent::Request(head)) => {
                let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
                let complete = head.body == Incoming::Empty;
                seen.push(Seen {
                    method: head.method.to_string(),
                    target: head.uri.to_string(),
                    fields: fields.collect(),
                    content: Vec::new(),
                    complete,
                });
                complete
            }
            Event::App(ServerEvent::Data(data)) => {
                seen.last_mut().unwrap_or_else(|| panic!("content without a request")).content.extend_from_slice(&data);
                false
            }
            Event::App(ServerEvent::End(_)) => {
                seen.last_mut().unwrap_or_else(|| panic!("an end without a request")).complete = true;
                true
            }
            _ => false,
        };
        if complete {
            let response = Response { body: Body::Full("ok".into()), ..Response::new(StatusCode::OK) };
            let _ = session.send(NOW, ServerCommand::Respond(response));
        }
    });
    if let Some(Cause::Misuse(misuse)) = session.cause() {
        panic!("a bug of ours: {misuse:?}");
    }
    let broken = matches!(session.cause(), Some(Cause::Violation(_)));
    // Fields of one name stand together in a map.
    seen.iter_mut().for_each(|request| request.fields.sort());
    (seen, format!("{broken} {:?}", session.cause()))
}

/// The request at the front of `rest`, if there is a whole one.
fn reference(rest: &mut &[u8]) -> Option<Seen> {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(size) = request.parse(rest).ok()? else { return None };
    let mut seen = Seen {
        method: request.method?.to_owned(),
        target: request.path?.to_owned(),
        fields: request.headers.iter().map(|field| (field.name.to_lowercase(), field.value.to_vec())).collect(),
        content: Vec::new(),
        complete: true,
    };
    seen.fields.sort();
    *rest = rest.get(size..)?;
    let field = |name: &str| seen.fields.iter().find(|field| field.0 == name).map(|field| field.1.to_ascii_lowercase());
    if let Some(coding) = field("transfer-encoding") {
        assert_eq!(coding, b"chunked", "a coding that nobody can read was accepted");
        seen.content = chunks(rest)?;
    } else if let Some(length) = field("content-length") {
        let length = std::str::from_utf8(&length).ok()?.parse::<usize>().ok()?;
        let (content, after) = rest.split_at_checked(length)?;
        seen.content = content.to_vec();
        *rest = after;
    }
    Some(seen)
}

/// Chunks and trailers, strictly.
fn chunks(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line = line(rest)?;
        let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let (chunk, after) = rest.split_at_checked(size)?;
        content.extend_from_slice(chunk);
        *rest = after.strip_prefix(b"\r\n")?;
    }
    while !line(rest)?.is_empty() {}
    Some(content)
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let at = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, after) = rest.split_at(at);
    *rest = &after[2..];
    Some(line)
}
