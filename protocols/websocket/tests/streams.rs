//! Two sides talk: what is sent is received, however it is cut, compressed, fragmented and taken.

mod pump;

use bytes::Bytes;
use duologue_core::{
    Cause, CloseIntent, Code, Config, Delivery, Event as SessionEvent, Instant, Limits as Buffers, Session,
};
use duologue_websocket::handshake::HandshakeError;
use duologue_websocket::{
    ClientHandshake, CloseCode, Command, Deflate, Event, Kind, Limits, Part, Role, ServerHandshake, Settings, Text,
    Violation, WebSocket,
};
use proptest::prelude::*;
use pump::{Cut, STEPS, Server, Told, input, output};

const NOW: Instant = Instant::ORIGIN;

fn config(settings: &Settings, role: Role, delivery: Delivery) -> Config {
    settings.config(role, Config::new().delivery(delivery).limits(Buffers::new().send_buffer(4 << 20)))
}

fn client_with(handshake: ClientHandshake, seed: u64) -> Session<WebSocket> {
    let config = config(handshake.current_settings(), Role::Client, Delivery::Owned);
    Session::new(WebSocket::client(handshake).expect("a request"), config, seed, NOW).expect("limits that work")
}

fn client(settings: Settings, seed: u64) -> Session<WebSocket> {
    client_with(ClientHandshake::new("h", "/").settings(settings), seed)
}

fn server(settings: Settings, delivery: Delivery) -> Session<WebSocket> {
    let config = config(&settings, Role::Server, delivery);
    Session::new(WebSocket::server(ServerHandshake::new(settings)), config, 2, NOW).expect("limits that work")
}

fn events(session: &mut Session<WebSocket>) -> Vec<Told> {
    std::iter::from_fn(|| session.poll_event(NOW)).take(STEPS).collect()
}

/// Moves everything both ways until nothing moves, and returns what each side was told.
fn talk(a: &mut Session<WebSocket>, b: &mut Session<WebSocket>) -> (Vec<Told>, Vec<Told>) {
    let (mut told_a, mut told_b) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let moved = [flow(a, b, &mut told_b), flow(b, a, &mut told_a)];
        if moved == [false, false] {
            told_a.extend(events(a));
            told_b.extend(events(b));
            return (told_a, told_b);
        }
    }
    panic!("two sides do not come to rest");
}

fn flow(from: &mut Session<WebSocket>, to: &mut Session<WebSocket>, told: &mut Vec<Told>) -> bool {
    let (bytes, fin) = output(from, NOW);
    let mut rest = &bytes[..];
    for _ in 0..STEPS {
        let n = input(to, NOW, rest);
        rest = &rest[n..];
        told.extend(events(to));
        if n == 0 {
            break;
        }
    }
    if fin && to.interest().read {
        to.received_eof(NOW);
    }
    for side in [from, to] {
        if side.interest().release.is_some() {
            side.released();
        }
    }
    fin || !bytes.is_empty()
}

fn messages(told: &[Told]) -> Vec<(Kind, Vec<u8>)> {
    let mut out = Vec::new();
    let mut parts: Vec<u8> = Vec::new();
    for event in told {
        match event {
            SessionEvent::App(Event::Text(text)) => out.push((Kind::Text, text.as_bytes().to_vec())),
            SessionEvent::App(Event::Binary(data)) => out.push((Kind::Binary, data.to_vec())),
            SessionEvent::App(Event::Part(part)) => {
                assert_eq!(part.first, parts.is_empty() && (part.first || part.data.is_empty()), "{part:?}");
                parts.extend(&part.data);
                if part.last {
                    out.push((part.kind, std::mem::take(&mut parts)));
                }
            }
            _ => {}
        }
    }
    out
}

fn deflates() -> impl Strategy<Value = Option<Deflate>> {
    let some = (any::<bool>(), any::<bool>(), 8..=15_u8, 8..=15_u8, 0..=9_u8).prop_map(|(s, c, sw, cw, level)| {
        let deflate = Deflate::new().server_no_context_takeover(s).client_no_context_takeover(c);
        deflate.server_max_window_bits(sw).client_max_window_bits(cw).level(level).min_len(8)
    });
    prop_oneof![Just(None), some.prop_map(Some)]
}

fn payloads() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let text = "[a-e\u{e9}\u{20ac}\u{10348}]{0,300}".prop_map(|text| (true, text.into_bytes()));
    let binary = proptest::collection::vec(any::<u8>(), 0..400).prop_map(|data| (false, data));
    let long = (any::<u8>(), 0..70_000_usize).prop_map(|(byte, len)| (false, vec![byte; len]));
    proptest::collection::vec(prop_oneof![4 => text, 4 => binary, 1 => long], 0..8)
}

/// A message as commands: whole, or in parts of this many bytes.
fn commands(text: bool, data: &[u8], part: usize) -> Vec<Command> {
    if part == 0 {
        let bytes = Bytes::copy_from_slice(data);
        return vec![if text { Command::Text(Text::new(bytes).expect("text")) } else { Command::Binary(bytes) }];
    }
    let kind = if text { Kind::Text } else { Kind::Binary };
    let pieces: Vec<&[u8]> = if data.is_empty() { vec![data] } else { data.chunks(part).collect() };
    let parts = pieces.iter().enumerate().map(|(i, piece)| Part {
        kind,
        first: i == 0,
        last: i + 1 == pieces.len(),
        data: Bytes::copy_from_slice(piece),
    });
    parts.map(Command::Part).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_is_received(
        sent in payloads(),
        deflate in (deflates(), deflates()),
        part in prop_oneof![Just(0), 1..700_usize],
        piece in prop_oneof![Just(64 << 10), 1..900_usize],
        streaming: bool,
        seed: u64,
    ) {
        let settings = |deflate| {
            Settings::new().deflate(deflate).streaming(streaming).limits(Limits::new().piece(piece))
        };
        let mut client = client(settings(deflate.0), seed);
        let mut server = server(settings(deflate.1), Delivery::Owned);
        talk(&mut client, &mut server);
        let both = deflate.0.is_some() && deflate.1.is_some();
        prop_assert_eq!(client.protocol().is_compressed(), both);
        prop_assert_eq!(server.protocol().is_compressed(), both);
        for (text, data) in &sent {
            for command in commands(*text, data, part) {
                client.send(NOW, command.clone()).expect("the client sends");
                server.send(NOW, command).expect("the server sends");
            }
        }
        let (to_client, to_server) = talk(&mut client, &mut server);
        let expected: Vec<_> = sent.iter()
            .map(|(text, data)| (if *text { Kind::Text } else { Kind::Binary }, data.clone()))
            .collect();
        prop_assert_eq!(messages(&to_server), expected.clone());
        prop_assert_eq!(messages(&to_client), expected);
        client.close(NOW, CloseIntent::Goodbye(Code(4321)));
        let (to_client, to_server) = talk(&mut client, &mut server);
        let heard = |told: &[Told]| told.iter().any(|e| matches!(e, SessionEvent::App(Event::Close(c)) if c.code == CloseCode(4321)));
        prop_assert!(heard(&to_client) && heard(&to_server));
        prop_assert!(matches!(server.cause(), Some(Cause::PeerClose(Code(4321)))));
        prop_assert!(matches!(client.cause(), Some(Cause::LocalClose(Code(4321)))));
    }

    #[test]
    fn cuts_and_the_way_of_taking_change_nothing(
        sent in payloads(),
        deflate in deflates(),
        part in prop_oneof![Just(0), 1..90_usize],
        piece in prop_oneof![Just(64 << 10), 1..90_usize],
        streaming: bool,
        spoil in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        keep in proptest::option::of(any::<prop::sample::Index>()),
        seed: u64,
    ) {
        let limits = Limits::new().piece(piece).max_message(5_000).max_frame(4_000).max_fragments(40);
        let settings = Settings::new().deflate(deflate).streaming(streaming).control_events(true).limits(limits);
        let mut stream = Vec::new();
        let mut client = client(settings, seed);
        let mut opener = server(settings, Delivery::Owned);
        // The stream of a client: its request, then what it sends.
        let (request, _) = output(&mut client, NOW);
        stream.extend(&request);
        input(&mut opener, NOW, &request);
        events(&mut opener);
        input(&mut client, NOW, &output(&mut opener, NOW).0);
        events(&mut client);
        let _ = client.send(NOW, Command::Ping(Bytes::from_static(b"ping")));
        for (text, data) in &sent {
            for command in commands(*text, &data[..data.len().min(6_000)], part) {
                // A text that was cut inside a character is refused, which is as good.
                let _ = client.send(NOW, command);
            }
        }
        client.close(NOW, CloseIntent::Goodbye(Code(1000)));
        stream.extend(output(&mut client, NOW).0);
        if let Some((at, byte)) = spoil {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        if let Some(keep) = keep {
            stream.truncate(keep.index(stream.len()));
        }
        let outcome = |delivery, cut| {
            let mut side = Server::new(server(settings, delivery));
            side.echo = false;
            let mut seen = Vec::new();
            let (answers, fin) = observe(&mut side, &stream, cut, &mut seen);
            let cause = format!("{:?}", side.session.cause());
            (seen, answers, fin, cause)
        };
        let whole = outcome(Delivery::Owned, Cut::Whole);
        prop_assert_eq!(&outcome(Delivery::Owned, Cut::Bytewise), &whole);
        prop_assert_eq!(&outcome(Delivery::Owned, Cut::Pieces(13)), &whole);
        prop_assert_eq!(&outcome(Delivery::InPlace, Cut::Whole), &whole);
        prop_assert_eq!(&outcome(Delivery::InPlace, Cut::Pieces(5)), &whole);
    }
}

/// Plays a stream and FIN, and notes every event as text, in whatever way it is taken.
fn observe(side: &mut Server, stream: &[u8], cut: Cut, seen: &mut Vec<String>) -> (Vec<u8>, bool) {
    let (mut answers, mut ended) = (Vec::new(), false);
    let mut rest = stream;
    let size = match cut {
        Cut::Whole => usize::MAX,
        Cut::Bytewise => 1,
        Cut::Pieces(n) => n,
    };
    for _ in 0..STEPS {
        let n = input(&mut side.session, NOW, &rest[..size.min(rest.len())]);
        rest = &rest[n..];
        note(&mut side.session, seen);
        let (bytes, fin) = output(&mut side.session, NOW);
        answers.extend(bytes);
        ended |= fin;
        if n == 0 {
            break;
        }
    }
    if side.session.interest().read {
        side.session.received_eof(NOW);
        note(&mut side.session, seen);
        let (bytes, fin) = output(&mut side.session, NOW);
        answers.extend(bytes);
        ended |= fin;
    }
    (answers, ended)
}

fn note(session: &mut Session<WebSocket>, seen: &mut Vec<String>) {
    session.handle(NOW, 0, STEPS, |event, _| {
        let own = |p: duologue_core::Payload<'_>| Bytes::copy_from_slice(p.as_slice());
        let event = match event {
            Event::Opened(opened) => Event::Opened(opened),
            Event::Text(text) => Event::Text(Text::new(own(text.into_inner())).expect("delivered text is UTF-8")),
            Event::Binary(data) => Event::Binary(own(data)),
            Event::Part(Part { kind, first, last, data }) => Event::Part(Part { kind, first, last, data: own(data) }),
            Event::Ping(data) => Event::Ping(own(data)),
            Event::Pong(data) => Event::Pong(own(data)),
            Event::Close(close) => Event::Close(close),
            _ => panic!("unknown event"),
        };
        seen.push(format!("{event:?}"));
    });
    for event in events(session) {
        match event {
            SessionEvent::App(event) => seen.push(format!("{event:?}")),
            other => seen.push(format!("{other:?}")),
        }
    }
}

/// What a client makes of an answer to its request; `{accept}` stands for the right one.
fn answered(answer: &str, data: &[u8]) -> (Session<WebSocket>, Vec<Told>) {
    let handshake = ClientHandshake::new("h", "/x").subprotocols(["a", "b"]).settings(Settings::new());
    let mut client = client_with(handshake, 7);
    let (request, _) = output(&mut client, NOW);
    let request = String::from_utf8(request).expect("a head is text");
    assert!(request.starts_with("GET /x HTTP/1.1\r\nHost: h\r\n") && request.contains("Protocol: a, b\r\n"));
    // The server side of this crate knows the right accept for the key.
    let mut server = server(Settings::new(), Delivery::Owned);
    input(&mut server, NOW, request.as_bytes());
    events(&mut server);
    let right = String::from_utf8(output(&mut server, NOW).0).expect("a head is text");
    let accept = right.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Accept: ")).expect("an accept");
    let bytes = [answer.replace("{accept}", accept).as_bytes(), data].concat();
    input(&mut client, NOW, &bytes);
    let told = events(&mut client);
    (client, told)
}

const GRANTED: &str =
    "HTTP/1.1 101 Fine\r\nupgrade: WebSocket\r\nConnection: x, Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";

#[test]
fn data_behind_the_101_is_kept_and_interim_answers_are_skipped() {
    let answer = format!("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n{GRANTED}");
    let (mut client, told) = answered(&answer, b"\x82\x02hi");
    assert!(matches!(told[0], SessionEvent::App(Event::Opened(_))));
    assert_eq!(told[1], SessionEvent::App(Event::Binary("hi".into())));
    assert!(client.send(NOW, Command::text("yes")).is_ok());
}

#[test]
fn interim_answers_have_an_end() {
    for (count, open) in [(8, true), (9, false)] {
        let (client, _) = answered(&format!("{}{GRANTED}", "HTTP/1.1 103 Early\r\n\r\n".repeat(count)), b"");
        assert_eq!(client.is_established(), open, "{count}");
        assert_eq!(matches!(client.cause(), Some(Cause::Violation(Violation::Handshake(_)))), !open, "{count}");
    }
}

#[test]
fn answers_that_grant_something_else_fail_and_say_what() {
    let cases = [
        ("{accept}", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "Sec-WebSocket-Accept"),
        ("upgrade: WebSocket", "upgrade: h2c", "Upgrade"),
        ("Connection: x, Upgrade", "Connection: x", "Connection"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: c\r\n\r\n", "Sec-WebSocket-Protocol"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n\r\n", "Sec-WebSocket-Protocol"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "Sec-WebSocket-Extensions"),
    ];
    for (find, replace, field) in cases {
        let (client, _) = answered(&GRANTED.replacen(find, replace, 1), b"");
        let Some(Cause::Violation(Violation::Handshake(error))) = client.cause() else {
            panic!("{:?}", client.cause())
        };
        assert!(matches!(&**error, HandshakeError::Header { name, .. } if *name == field), "{field}: {error}");
        assert!(!client.interest().write, "a server is told nothing of it");
    }
    let (client, _) = answered(&GRANTED.replacen("101 Fine", "403 No", 1), b"body");
    let Some(Cause::Violation(Violation::Handshake(error))) = client.cause() else { panic!("{:?}", client.cause()) };
    assert!(matches!(&**error, HandshakeError::Status { status: 403, head } if head.ends_with(b"\r\n\r\n")));
    let chosen = GRANTED.replacen("\r\n\r\n", "\r\nSec-WebSocket-Protocol: b\r\n\r\n", 1);
    let (_, told) = answered(&chosen, b"");
    assert!(matches!(&told[0], SessionEvent::App(Event::Opened(o)) if o.subprotocol.as_deref() == Some("b")));
}

#[test]
fn a_request_that_would_break_out_of_its_line_is_not_made() {
    for handshake in [
        ClientHandshake::new("h", "/a b"),
        ClientHandshake::new("h", ""),
        ClientHandshake::new("h\r\nX: y", "/"),
        ClientHandshake::new("u@h", "/"),
        ClientHandshake::new("b\u{fc}cher.example", "/"),
        ClientHandshake::new("h", "x"),
        ClientHandshake::new("h", "/#x"),
        ClientHandshake::new("h", "/").header("X", "a\r\nY: b"),
        ClientHandshake::new("h", "/").subprotocols(["a,b"]),
    ] {
        assert!(WebSocket::client(handshake).is_err());
    }
}

/// A second one would be refused by the server, or announce a body that never comes.
#[test]
fn what_the_handshake_says_itself_cannot_be_said_beside_it() {
    for name in ["Host", "upgrade", "CONNECTION", "Sec-WebSocket-Key", "sec-websocket-extensions", "Content-Length"] {
        let refused = WebSocket::client(ClientHandshake::new("h", "/").header(name, "1")).err();
        assert!(matches!(refused, Some(HandshakeError::Header { name: "custom header", .. })), "{name}: {refused:?}");
    }
    assert!(WebSocket::client(ClientHandshake::new("h", "/").header("X-Host", "1")).is_ok());
}

#[test]
fn every_frame_of_a_client_has_a_mask_of_its_own() {
    let settings = Settings::new();
    let protocol = WebSocket::upgraded(Role::Client, settings, None);
    let mut client = Session::new(protocol, config(&settings, Role::Client, Delivery::Owned), 5, NOW).expect("works");
    (0..64).for_each(|_| client.send(NOW, Command::binary(&b"ab"[..])).expect("there is room"));
    let (wire, _) = output(&mut client, NOW);
    let mut keys: Vec<&[u8]> = wire.chunks(8).map(|frame| &frame[2..6]).collect();
    assert!(wire.chunks(8).all(|frame| frame[..2] == [0x82, 0x82]));
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 64);
}

#[test]
fn both_close_at_once_and_both_are_content() {
    let mut a = client(Settings::new(), 1);
    let mut b = server(Settings::new(), Delivery::Owned);
    talk(&mut a, &mut b);
    a.close(NOW, CloseIntent::Goodbye(Code(1000)));
    b.close(NOW, CloseIntent::Goodbye(Code(1001)));
    let (from_a, _) = output(&mut a, NOW);
    let (from_b, _) = output(&mut b, NOW);
    input(&mut a, NOW, &from_b);
    input(&mut b, NOW, &from_a);
    for side in [&mut a, &mut b] {
        events(side);
        let mut nothing: [&[u8]; 1] = [&[]];
        assert_eq!(side.transmit(&mut nothing), 0, "who said Close does not say it again: {nothing:?}");
    }
    talk(&mut a, &mut b);
    assert_eq!((a.protocol().close_code(), b.protocol().close_code()), (CloseCode(1001), CloseCode(1000)));
    assert!(b.states().1.is_over(), "the server ends TCP first");
}

#[test]
fn misuse_is_refused_and_the_command_comes_back() {
    let mut a = client(Settings::new(), 1);
    let mut b = server(Settings::new(), Delivery::Owned);
    let early = a.send(NOW, Command::text("early"));
    assert!(matches!(early, Err(duologue_core::SendError::NotOpen { .. })), "before the opening is over");
    talk(&mut a, &mut b);
    let part = |first, last, data: &'static [u8], kind| {
        Command::Part(Part { kind, first, last, data: Bytes::from_static(data) })
    };
    let invalid = |a: &mut Session<WebSocket>, command: Command| {
        let Err(duologue_core::SendError::Invalid { command: back, .. }) = a.send(NOW, command.clone()) else {
            panic!("accepted: {command:?}")
        };
        assert_eq!(back, command);
    };
    invalid(&mut a, part(false, true, b"x", Kind::Text));
    invalid(&mut a, part(true, true, b"\xe2\x82", Kind::Text));
    invalid(&mut a, Command::Ping(Bytes::from_static(&[0; 126])));
    a.send(NOW, part(true, false, b"\xe2", Kind::Text)).expect("the beginning of a character");
    invalid(&mut a, Command::text("between"));
    invalid(&mut a, part(false, true, b"x", Kind::Binary));
    invalid(&mut a, part(false, true, b"x", Kind::Text));
    a.send(NOW, Command::Ping(Bytes::new())).expect("control frames may come between parts");
    a.send(NOW, part(false, true, b"\x82\xac", Kind::Text)).expect("its end");
    let (_, told) = talk(&mut a, &mut b);
    assert_eq!(messages(&told), [(Kind::Text, "\u{20ac}".as_bytes().to_vec())]);
    a.send(NOW, Command::CloseReason("done".into())).expect("a reason is kept");
    a.close(NOW, CloseIntent::Goodbye(Code(0)));
    talk(&mut a, &mut b);
    let close = b.protocol().close_received().expect("a Close came");
    assert_eq!((close.code, close.reason.as_str()), (CloseCode::NORMAL, "done"));
}
