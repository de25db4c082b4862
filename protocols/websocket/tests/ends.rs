//! Ends that are not agreed on: a peer that broke the protocol, a message that never ends.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::BufMut;
use duologue_core::{Cause, Config, Event as SessionEvent, Instant, Release, Session, TimeoutReason, Timeouts};
use duologue_websocket::{Event, Role, Settings, Violation, WebSocket};

fn at(millis: u64) -> Instant {
    Instant::ORIGIN.after(Duration::from_millis(millis))
}

fn session(role: Role, settings: Settings, config: Config) -> Session<WebSocket> {
    let config = settings.config(role, config);
    Session::new(WebSocket::upgraded(role, settings, None), config, 3, at(0)).unwrap()
}

fn feed(session: &mut Session<WebSocket>, now: Instant, bytes: &[u8]) {
    session.recv_buf().put_slice(bytes);
    session.received(now);
}

/// A frame from a client, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn written(session: &mut Session<WebSocket>, now: Instant) -> Vec<u8> {
    let mut slices = [&[][..]; 8];
    let filled = session.transmit(&mut slices);
    let bytes = slices[..filled].concat();
    session.transmitted(now, bytes.len());
    bytes
}

fn deadline(session: &Session<WebSocket>) -> Option<(Instant, TimeoutReason)> {
    session.interest().deadline.map(|deadline| (deadline.at, deadline.reason))
}

/// RFC 6455, section 7.1.7: the connection fails. The Close is said, our FIN follows it, and what the server still sends
/// is read and thrown away for the linger's time, so that no reset overtakes the Close.
#[test]
fn a_client_does_not_wait_for_a_server_that_broke_the_protocol() {
    let mut client = session(Role::Client, Settings::new(), Config::new());
    feed(&mut client, at(0), &masked(0x81, b"a server masks nothing"));
    let close = written(&mut client, at(0));
    assert_eq!((close[0], close[1] & 0x80), (0x88, 0x80), "a masked Close");
    let code: Vec<u8> = close[6..8].iter().zip(&close[2..]).map(|(byte, key)| byte ^ key).collect();
    assert_eq!(code, 1002_u16.to_be_bytes());
    assert!(client.interest().shutdown_write, "our FIN waits for nobody's");
    client.shutdown_done(at(1));
    assert_eq!(deadline(&client), Some((at(2_001), TimeoutReason::Linger)));
    for _ in 0..3 {
        assert!(client.interest().read, "what the server had under way is no reason for a reset");
        feed(&mut client, at(2), &[0; 100]);
    }
    client.received_eof(at(3));
    assert_eq!(client.interest().release, Some(Release::Graceful));
    assert_eq!(client.cause(), Some(&Cause::Violation(Violation::Masked)));
}

/// One that keeps to the protocol closes first, as it should (section 7.1.1).
#[test]
fn a_client_waits_for_a_server_in_good_standing() {
    let mut client = session(Role::Client, Settings::new(), Config::new());
    feed(&mut client, at(0), &[0x88, 2, 0x03, 0xE8]);
    while client.poll_event(at(0)).is_some() {}
    assert!(!written(&mut client, at(0)).is_empty());
    assert!(!client.interest().shutdown_write);
    assert_eq!(deadline(&client), Some((at(5_000), TimeoutReason::PeerFirst)));
}

fn with_message_deadline() -> Config {
    Config::new().timeouts(Timeouts::none().message(Some(Duration::from_secs(10))))
}

/// The header of a frame is taken off at once. From then on its message is under way, whether a byte of it came or not.
#[test]
fn a_message_has_its_deadline_from_its_header_on() {
    for settings in [Settings::new(), Settings::new().streaming(true)] {
        let mut server = session(Role::Server, settings, with_message_deadline());
        feed(&mut server, at(0), &masked(0x82, &[7; 100])[..6]);
        assert_eq!(deadline(&server), Some((at(10_000), TimeoutReason::Message)), "{settings:?}");
        feed(&mut server, at(9_000), &[7]);
        assert_eq!(deadline(&server), Some((at(10_000), TimeoutReason::Message)), "{settings:?}");
        server.handle_timeout(at(10_000));
        assert_eq!(server.cause(), Some(&Cause::Timeout(TimeoutReason::Message)));
    }
}

/// Fragments one by one, empty ones and pings between them: a message that is delivered whole has one deadline.
#[test]
fn fragments_do_not_renew_the_deadline_of_their_message() {
    let mut server = session(Role::Server, Settings::new(), with_message_deadline());
    feed(&mut server, at(1_000), &masked(0x02, b"one"));
    let due = Some((at(11_000), TimeoutReason::Message));
    assert_eq!(deadline(&server), due);
    for (now, frame) in [(3_000, masked(0x00, b"two")), (5_000, masked(0x00, b"")), (7_000, masked(0x89, b"ping"))] {
        feed(&mut server, at(now), &frame);
        assert!(!server.has_event());
        assert_eq!(deadline(&server), due, "{now}");
    }
    feed(&mut server, at(9_000), &masked(0x80, b"three"));
    assert_eq!(deadline(&server), None, "it is complete");
    match server.poll_event(at(9_000)) {
        Some(SessionEvent::App(Event::Binary(data))) => assert_eq!(data, "onetwothree"),
        other => panic!("{other:?}"),
    }
    feed(&mut server, at(50_000), &masked(0x82, b"next")[..7]);
    assert_eq!(deadline(&server), Some((at(60_000), TimeoutReason::Message)));
}

/// In parts, only what a frame announced is owed: between two fragments the peer may take its time.
#[test]
fn a_message_in_parts_may_pause_between_its_fragments() {
    let mut server = session(Role::Server, Settings::new().streaming(true), with_message_deadline());
    feed(&mut server, at(0), &masked(0x02, b"one"));
    assert!(matches!(server.poll_event(at(0)), Some(SessionEvent::App(Event::Part(_)))));
    assert_eq!(deadline(&server), None);
    server.handle_timeout(at(3_600_000));
    feed(&mut server, at(3_600_000), &masked(0x80, b"two"));
    assert!(matches!(server.poll_event(at(3_600_000)), Some(SessionEvent::App(Event::Part(part))) if part.last));
}
