//! The table of edge cases without a socket: whole, byte by byte, owned and in place.

mod pump;
mod table;

use duologue_core::{Cause, Config, Delivery, Event as SessionEvent, Instant, Session};
use duologue_websocket::handshake::{Choice, HandshakeError};
use duologue_websocket::{CloseCode, Command, Event, Rejection, ServerHandshake, Settings, Violation, WebSocket};
use pump::{Cut, Server};
use table::{REQUEST, RESPONSE, masked, plain, request_rows, rows};

const CUTS: [Cut; 3] = [Cut::Whole, Cut::Bytewise, Cut::Pieces(7)];

fn server(handshake: ServerHandshake, delivery: Delivery) -> Server {
    let config = handshake.settings().config(duologue_websocket::Role::Server, Config::new().delivery(delivery));
    let protocol = WebSocket::server(handshake);
    Server::new(Session::new(protocol, config, 1, Instant::ORIGIN).expect("limits that work"))
}

#[test]
fn every_row_is_answered_exactly_however_it_is_cut_and_taken() {
    for row in rows() {
        for delivery in [Delivery::Owned, Delivery::InPlace] {
            for cut in CUTS {
                let mut server = server(table::server(), delivery);
                // The frames may come in the same segment as the request.
                let stream = [REQUEST.as_bytes(), &row.send].concat();
                let (answer, fin) = server.play(&stream, cut, row.fin);
                let frames = answer.strip_prefix(RESPONSE.as_bytes()).expect("the upgrade is granted");
                assert_eq!(frames, row.answer, "{}: {cut:?} {delivery:?}", row.name);
                assert!(fin, "{}: the server ends the connection", row.name);
            }
        }
    }
}

#[test]
fn every_request_is_judged_and_answered() {
    for (name, find, replace, status, field) in request_rows() {
        assert!(REQUEST.contains(find), "{name}");
        let request = REQUEST.replacen(find, replace, 1);
        for cut in CUTS {
            let mut server = server(table::server(), Delivery::Owned);
            let (answer, fin) = server.play(request.as_bytes(), cut, false);
            let answer = String::from_utf8(answer).expect("heads are text");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name} {cut:?}: {answer}");
            assert!(answer.contains(field), "{name}: {answer}");
            assert_eq!(fin, status != 101, "{name}: a refusal closes");
            assert_eq!(status != 101, answer.contains("close\r\n"), "{name}: {answer}");
        }
    }
}

#[test]
fn a_request_that_is_cut_off_is_told_400_and_one_that_never_began_nothing() {
    for (request, start) in [(&REQUEST[..20], "HTTP/1.1 400 "), ("", "")] {
        let mut server = server(table::server(), Delivery::Owned);
        let (answer, _) = server.play(request.as_bytes(), Cut::Whole, true);
        let answer = String::from_utf8(answer).expect("heads are text");
        assert!(answer.starts_with(start) && answer.is_empty() == start.is_empty(), "{request:?}: {answer}");
    }
}

#[test]
fn a_head_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
    for (limit, status) in [(REQUEST.len(), 101), (REQUEST.len() - 1, 431)] {
        let limits = duologue_websocket::Limits::new().max_head(limit);
        for cut in CUTS {
            let mut server = server(ServerHandshake::new(Settings::new().limits(limits)), Delivery::Owned);
            let (answer, _) = server.play(REQUEST.as_bytes(), cut, false);
            assert!(answer.starts_with(format!("HTTP/1.1 {status}").as_bytes()), "{limit} {cut:?}");
        }
    }
}

#[test]
fn long_lengths_are_accepted_where_that_is_the_policy() {
    let mut server = server(ServerHandshake::new(Settings::new().allow_long_lengths(true)), Delivery::Owned);
    let frame = [0x82, 0xFE, 0, 2, 0, 0, 0, 0, b'h', b'i'];
    let (answer, _) = server.play(&[REQUEST.as_bytes(), &frame].concat(), Cut::Whole, false);
    assert!(answer.ends_with(&plain(0x82, b"hi")));
}

#[test]
fn a_fin_without_a_close_is_told_as_1006_and_a_close_without_a_code_as_1005() {
    let mut one = server(table::server(), Delivery::Owned);
    one.play(REQUEST.as_bytes(), Cut::Whole, true);
    assert_eq!(one.session.protocol().close_code(), CloseCode::ABNORMAL);
    assert_eq!(one.session.cause(), Some(&Cause::PeerFinished));
    let mut other = server(table::server(), Delivery::Owned);
    other.play(&[REQUEST.as_bytes(), &masked(0x88, b"")].concat(), Cut::Whole, false);
    assert_eq!(other.session.protocol().close_code(), CloseCode::NO_STATUS);
    assert_eq!(other.session.cause(), Some(&Cause::PeerClose(duologue_core::Code(1005))));
}

#[test]
fn a_fin_inside_a_frame_or_a_message_is_truncated() {
    for (frames, missing) in [(masked(0x82, b"abc")[..7].to_vec(), Some(2)), (masked(0x02, b"abc"), None)] {
        let mut server = server(table::server(), Delivery::Owned);
        server.play(&[REQUEST.as_bytes(), &frames].concat(), Cut::Bytewise, true);
        assert_eq!(server.session.cause(), Some(&Cause::Truncated { missing }));
    }
}

#[test]
fn the_request_is_told_in_the_first_event() {
    let mut server = server(table::server(), Delivery::Owned);
    server.echo = false;
    let request = REQUEST.replace("Host: h\r\n", "Host: h\r\nSec-WebSocket-Protocol: a\r\nCookie: c=1\r\n");
    server.play(request.as_bytes(), Cut::Bytewise, false);
    let Some(SessionEvent::App(Event::Opened(opened))) = server.told.first() else { panic!("{:?}", server.told) };
    assert_eq!((opened.target.as_str(), opened.subprotocol.as_deref()), ("/any", Some("a")));
    assert_eq!(opened.header("cookie"), Some("c=1"));
    let text = Command::text("x");
    assert!(server.session.send(Instant::ORIGIN, text).is_ok(), "from then on messages can be sent");
}

#[test]
fn what_a_guard_says_goes_into_the_answer_and_a_success_is_no_refusal() {
    let refusing = |status: u16| {
        let handshake = ServerHandshake::new(Settings::new())
            .guard(move |_| Err(Rejection::new(status, "no").header("Location", "/login").header("X\r\nY", "z")));
        let mut server = server(handshake, Delivery::Owned);
        let (answer, fin) = server.play(REQUEST.as_bytes(), Cut::Whole, false);
        assert!(fin, "{status}: the server ends the connection");
        let Some(Cause::Violation(Violation::Handshake(error))) = server.session.cause() else { panic!("{status}") };
        ((**error).clone(), String::from_utf8(answer).expect("heads are text"))
    };
    for status in [302, 401, 429, 599] {
        let (error, answer) = refusing(status);
        assert_eq!(error.status(), status);
        assert!(matches!(error, HandshakeError::Refused(_)), "{error:?}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with("\r\n\r\nno"), "{answer}");
        assert!(answer.contains("\r\nLocation: /login\r\n") && !answer.contains("X\r\nY"), "{answer}");
    }
    for status in [0, 101, 200, 299, 600, 65_535] {
        let (error, answer) = refusing(status);
        assert_eq!((error.status(), &error), (500, &HandshakeError::NotARefusal { status }));
        assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("Location"), "{status}: {answer}");
    }
}

#[test]
fn header_fields_of_both_sides_arrive_and_none_breaks_out_of_its_line() {
    let handshake = ServerHandshake::new(Settings::new()).guard(|request| {
        assert_eq!((request.header("x-mine"), request.origin()), (Some("1"), Some("https://page.example")));
        Ok(Choice::new().header("Set-Cookie", "a=b").header("X-Bad", "c\r\nX-Worse: d"))
    });
    let mut server = server(handshake, Delivery::Owned);
    let more = "Host: h\r\nX-Mine: 1\r\nOrigin: https://page.example\r\n";
    let (answer, _) = server.play(REQUEST.replacen("Host: h\r\n", more, 1).as_bytes(), Cut::Whole, false);
    let answer = String::from_utf8(answer).expect("heads are text");
    assert!(answer.contains("\r\nSet-Cookie: a=b\r\n") && !answer.contains("Worse"), "{answer}");
}

#[test]
fn a_guard_cannot_say_twice_what_the_answer_says_itself() {
    let granting = ServerHandshake::new(Settings::new())
        .guard(|_| Ok(Choice::new().header("sec-websocket-extensions", "x").header("Transfer-Encoding", "chunked")));
    let (answer, _) = server(granting, Delivery::Owned).play(REQUEST.as_bytes(), Cut::Whole, false);
    assert_eq!(String::from_utf8(answer).expect("heads are text"), RESPONSE);
    let refusing = ServerHandshake::new(Settings::new()).guard(|_| {
        let rejection = Rejection::new(401, "{}").header("content-length", "0").header("Connection", "keep-alive");
        Err(rejection.header("Content-Type", "application/json"))
    });
    let (answer, _) = server(refusing, Delivery::Owned).play(REQUEST.as_bytes(), Cut::Whole, false);
    let answer = String::from_utf8(answer).expect("heads are text");
    let expected = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Type: application/json\r\n\
                    Content-Length: 2\r\n\r\n{}";
    assert_eq!(answer, expected);
}

/// RFC 7692 section 7.1.2.1 with zlib's warning: it makes a window of 9 bits of one of 8, and the peer could not read it.
#[cfg(feature = "deflate")]
#[test]
fn a_window_of_8_bits_is_granted_and_nothing_is_compressed_into_it() {
    let settings = Settings::new().deflate(Some(duologue_websocket::Deflate::new().min_len(0)));
    let text = [b'a'; 100];
    for (bits, compresses) in [(8, false), (9, true)] {
        let offer = format!("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}\r\n");
        let request = REQUEST.replacen("Host: h\r\n", &format!("Host: h\r\n{offer}"), 1);
        let mut server = server(ServerHandshake::new(settings), Delivery::Owned);
        // "Hello" of RFC 7692 section 7.2.3.1, then a text as it is.
        let hello = masked(0xC1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        let (answer, _) = server.play(&[request.as_bytes(), &hello, &masked(0x81, &text)].concat(), Cut::Whole, false);
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let (head, frames) = answer.split_at(head);
        let head = String::from_utf8_lossy(head);
        assert!(head.contains(&format!("permessage-deflate; server_max_window_bits={bits}\r\n")), "{head}");
        let texts = server.told.iter().filter(|told| matches!(told, duologue_core::Event::App(Event::Text(_)))).count();
        assert_eq!(texts, 2, "what the client compressed is read in any case");
        if compresses {
            assert_eq!(frames[0], 0xC1, "compressed");
        } else {
            assert_eq!(frames, [plain(0x81, b"Hello"), plain(0x81, &text)].concat(), "as it is");
        }
    }
}
