//! Requests that carry their own name, and what both sides know of them beforehand.

mod caller;
mod origin;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::Rng;
use duologue_http1::http::header::{CONNECTION, HeaderName, HeaderValue};
use duologue_http1::http::{Method, Uri};
use duologue_http1::{Body, ClientCommand, Request};

pub(crate) use caller::{Caller, Counts, Fate};
pub(crate) use origin::{Ledger, Origin};

pub(crate) const TARGETS: u32 = 3;
/// Asks the server to answer before it has the content.
pub(crate) const EARLY: HeaderName = HeaderName::from_static("x-early");

/// How a request's content goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    /// There is none: a GET.
    None,
    /// With the head.
    Full,
    /// Piece by piece, under Content-Length.
    Sized,
    /// Piece by piece, chunked.
    Chunked,
}

/// One request, as its caller means it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) id: u64,
    pub(crate) target: u32,
    upload: Upload,
    /// It may be sent again although the server may know of it.
    pub(crate) idempotent: bool,
    /// It says `Connection: close`.
    closes: bool,
    pub(crate) early: bool,
    /// The connection is given out this long before the request is sent, and the content comes this much later.
    dawdles: (Duration, Duration),
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng, id: u64) -> Self {
        // Long content does not fit the send queue at once.
        let whole = if is_long(b'q', id) { Upload::Sized } else { Upload::Full };
        let upload = [Upload::None, whole, Upload::Sized, Upload::Chunked][rng.below(4) as usize];
        Self {
            id,
            target: rng.below(u64::from(TARGETS)) as u32,
            upload,
            idempotent: rng.below(4) == 0,
            closes: rng.below(12) == 0,
            early: upload != Upload::None && rng.below(4) == 0,
            dawdles: (dawdle(rng, 3, 60), dawdle(rng, 16, 1500)),
        }
    }

    /// The head, and what is to be sent behind it.
    fn commands(&self) -> VecDeque<ClientCommand> {
        let content = content(b'q', self.target, self.id);
        let uri = Uri::try_from(format!("http://origin-{}/{}", self.target, self.id)).expect("a URI");
        let method = if self.upload == Upload::None { Method::GET } else { Method::POST };
        let body = match self.upload {
            Upload::None => Body::Empty,
            Upload::Full => Body::Full(content.clone()),
            Upload::Sized => Body::Sized(content.len() as u64),
            Upload::Chunked => Body::Stream,
        };
        let mut request = Request { body, ..Request::new(method, uri) };
        if self.closes {
            request.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.early {
            request.headers.insert(EARLY, HeaderValue::from_static("1"));
        }
        let mut commands = VecDeque::from([ClientCommand::Request(request)]);
        if matches!(self.upload, Upload::Sized | Upload::Chunked) {
            commands.extend(pieces(&content).into_iter().map(ClientCommand::Data));
            commands.push_back(ClientCommand::End(None));
        }
        commands
    }
}

/// Up to so many milliseconds, once in so many times.
fn dawdle(rng: &mut Rng, one_in: u64, most: u64) -> Duration {
    Duration::from_millis(if rng.below(one_in) == 0 { rng.below(most) } else { 0 })
}

/// Some requests are long, some answers: never both.
fn is_long(kind: u8, id: u64) -> bool {
    id % 3 == u64::from(kind == b'a')
}

/// The content of a request (`q`) or of its answer (`a`): its name, then bytes that no other message has.
fn content(kind: u8, target: u32, id: u64) -> Bytes {
    let mut content = format!("{}{target}/{id};", char::from(kind)).into_bytes();
    let long = if is_long(kind, id) { 1500 } else { 90 };
    let more = (id * 137 + u64::from(kind)) % long;
    content.extend((0..more).map(|n| (id * 31 + n * 7 + u64::from(target)) as u8));
    content.into()
}

/// The content, in some pieces.
fn pieces(content: &Bytes) -> Vec<Bytes> {
    let most = 24 + content.len() / 10;
    (0..content.len()).step_by(most).map(|at| content.slice(at..content.len().min(at + most))).collect()
}
