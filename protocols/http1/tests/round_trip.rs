//! What a client encodes a server decodes, and the other way round, however the bytes are cut; and whatever a peer sends
//! is understood the same way however it is cut.

mod support;

use bytes::Bytes;
use duologue_core::Session;
use duologue_http1::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use duologue_http1::{
    Body, Client, ClientCommand, ClientSettings, Limits, Request, Response, Server, ServerCommand, ServerSettings,
};
use proptest::prelude::*;
use support::*;

/// A message to send: its fields, its content in pieces, whether its length is told first, and trailers.
#[derive(Clone, Debug)]
struct Message {
    fields: Vec<(String, String)>,
    pieces: Vec<String>,
    framing: u8,
    trailer: Option<String>,
}

fn map(fields: &[(String, String)]) -> HeaderMap {
    let field = |(name, value): &(String, String)| {
        let name: HeaderName = name.parse().expect("a name");
        let value: HeaderValue = value.parse().expect("a value");
        (name, value)
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        map.append(name, value);
    }
    map
}

impl Message {
    fn body(&self) -> Body {
        let whole = self.pieces.concat();
        match self.framing {
            0 => Body::Full(Bytes::from(whole)),
            1 => Body::Sized(whole.len() as u64),
            2 => Body::Stream,
            _ => Body::Empty,
        }
    }

    fn trailers(&self) -> Option<HeaderMap> {
        let value = self.trailer.as_ref().filter(|_| self.framing == 2)?;
        Some(map(&[("x-trailer".into(), value.clone())]))
    }

    /// What follows the head.
    fn rest<C>(&self, data: impl Fn(Bytes) -> C, end: impl Fn(Option<HeaderMap>) -> C) -> Vec<C> {
        if self.framing == 0 || self.framing > 2 {
            return Vec::new();
        }
        let pieces = self.pieces.iter().map(|piece| data(Bytes::from(piece.clone())));
        pieces.chain([end(self.trailers())]).collect()
    }

    fn is_seen_in(&self, whole: &Whole, empty: bool) {
        let body = if self.framing > 2 || empty { String::new() } else { self.pieces.concat() };
        assert_eq!(whole.body, body.as_bytes(), "{self:?}");
        assert!(whole.complete, "{self:?}");
        for field in &self.fields {
            let (name, value) = (field.0.to_lowercase(), field.1.trim().to_string());
            assert!(whole.headers.contains(&(name, value)), "{field:?} of {self:?} in {:?}", whole.headers);
        }
        let trailers = self.trailers().map_or(0, |trailers| if empty { 0 } else { trailers.len() });
        assert_eq!(whole.trailers.len(), trailers, "{self:?}");
    }
}

fn message() -> impl Strategy<Value = Message> {
    let fields = prop::collection::vec(("x-[a-z]{1,8}", "[!-~]([ -~\t]{0,10}[!-~])?"), 0..5);
    let pieces = prop::collection::vec("[a-z\r\n0]{0,40}", 0..4);
    (fields, pieces, 0u8..4, prop::option::of("[a-z]{0,5}")).prop_map(|(fields, pieces, framing, trailer)| Message {
        fields,
        pieces,
        framing,
        trailer,
    })
}

/// Moves bytes from one session to the other in pieces of these sizes.
fn carry<P: duologue_core::Protocol, Q: duologue_core::Protocol>(
    from: &mut Session<P>,
    to: &mut Session<Q>,
    cuts: &mut impl Iterator<Item = usize>,
) -> Vec<Q::Event> {
    let bytes = written(from, T0);
    let mut events = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let size = cuts.next().unwrap_or(1).clamp(1, rest.len());
        let n = feed(to, T0, &rest[..size]);
        assert!(n > 0, "the other side reads");
        rest = &rest[n..];
        events.extend(messages(to, T0));
    }
    events
}

fn play<P: duologue_core::Protocol<Violation = duologue_http1::Violation>>(
    mut session: Session<P>,
    bytes: &[u8],
    mut cut: impl FnMut() -> usize,
) -> (Vec<P::Event>, Vec<u8>, Option<String>) {
    let (mut events, mut out) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() && session.interest().read {
        let n = feed(&mut session, T0, &rest[..cut().clamp(1, rest.len())]);
        rest = &rest[n..];
        events.extend(messages(&mut session, T0));
        out.extend(written(&mut session, T0));
        if n == 0 {
            break;
        }
    }
    session.received_eof(T0);
    events.extend(messages(&mut session, T0));
    let cause = session.cause().map(|cause| format!("{cause:?}"));
    (events, out, cause)
}

/// Bytes that look like HTTP for a while.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let parts: Vec<&[u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"X: y\r\n",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"3\r\n",
        b"0\r\n",
        b"abc",
        b"\n",
        b"\r",
        b" ",
        b"\0",
        b";x",
    ];
    prop::collection::vec(prop::sample::select(parts), 0..24).prop_map(|parts| parts.concat())
}

fn server_seen(bytes: &[u8], cut: impl FnMut() -> usize) -> impl PartialEq + std::fmt::Debug {
    let limits = Limits::new().head(90).fields(4).chunk_extensions(6).trailers(30);
    let (events, out, cause) = play(server(ServerSettings::new().limits(limits)), bytes, cut);
    (requests(events), out, cause)
}

fn client_seen(bytes: &[u8], cut: impl FnMut() -> usize) -> impl PartialEq + std::fmt::Debug {
    let limits = Limits::new().head(90).fields(4).chunk_extensions(6).trailers(30);
    let mut session = client(ClientSettings::new().limits(limits));
    session.send(T0, get("/")).expect("a request");
    let (events, out, cause) = play(session, bytes, cut);
    (responses(events), out, cause)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_sent_is_received(
        exchanges in prop::collection::vec((message(), message(), "/[a-z]{0,10}(\\?[a-z]{1,5})?", any::<bool>()), 1..4),
        cuts in prop::collection::vec(1usize..60, 1..30),
    ) {
        let mut cuts = cuts.into_iter().cycle();
        let mut client: Session<Client> = client(ClientSettings::new());
        let mut server: Session<Server> = server(ServerSettings::new());
        for (request, response, path, head) in exchanges {
            let method = if head { Method::HEAD } else { Method::POST };
            let uri: Uri = format!("http://a{path}").parse().expect("a URI");
            let sent = Request { method, uri, headers: map(&request.fields), body: request.body() };
            let rest = request.rest(ClientCommand::Data, ClientCommand::End);
            for command in [ClientCommand::Request(sent)].into_iter().chain(rest) {
                client.send(T0, command).expect("accepted");
            }
            let seen = requests(carry(&mut client, &mut server, &mut cuts));
            prop_assert_eq!(seen.len(), 1);
            prop_assert!(seen[0].start.contains(&path));
            request.is_seen_in(&seen[0], false);

            let sent = Response { status: StatusCode::OK, headers: map(&response.fields), body: response.body() };
            let rest = response.rest(ServerCommand::Data, ServerCommand::End);
            for command in [ServerCommand::Respond(sent)].into_iter().chain(rest) {
                server.send(T0, command).expect("accepted");
            }
            let seen = responses(carry(&mut server, &mut client, &mut cuts));
            prop_assert_eq!(seen.len(), 1);
            response.is_seen_in(&seen[0], head);
            prop_assert!(client.protocol().is_idle());
        }
        prop_assert!(client.cause().is_none() && server.cause().is_none());
    }

    #[test]
    fn a_server_understands_the_same_however_it_is_cut(bytes in hostile(), sizes in prop::collection::vec(1usize..12, 1..9)) {
        let whole = format!("{:?}", server_seen(&bytes, || usize::MAX));
        prop_assert_eq!(&whole, &format!("{:?}", server_seen(&bytes, || 1)));
        let mut sizes = sizes.into_iter().cycle();
        prop_assert_eq!(&whole, &format!("{:?}", server_seen(&bytes, || sizes.next().unwrap_or(1))));
    }

    #[test]
    fn a_client_understands_the_same_however_it_is_cut(bytes in hostile(), sizes in prop::collection::vec(1usize..12, 1..9)) {
        let bytes = [b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat();
        let whole = format!("{:?}", client_seen(&bytes, || usize::MAX));
        prop_assert_eq!(&whole, &format!("{:?}", client_seen(&bytes, || 1)));
        let mut sizes = sizes.into_iter().cycle();
        prop_assert_eq!(&whole, &format!("{:?}", client_seen(&bytes, || sizes.next().unwrap_or(1))));
    }
}
