//! Frames that move nothing: a few are taken, a flood is cut off, and an honest peer's never are.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use bytes::BufMut;
use duologue_core::streams::{Abuse, AbuseBudget, Multiplex, StreamEnd, StreamEvent, StreamViolation, StreamsConfig};
use duologue_core::{Cause, Code, Config, Event, Instant, Session};
use duologue_yamux::wire::{ACK, FIN, Header, Kind, NORMAL, RST, SYN};
use duologue_yamux::{Role, Yamux, YamuxConfig, YamuxEvent, YamuxViolation};

const NOW: Instant = Instant::from_nanos(1_000);
const BURST: u32 = 50;

fn session(role: Role) -> Session<Yamux> {
    let abuse = AbuseBudget { burst: BURST, ..AbuseBudget::default() };
    let config = YamuxConfig::new().streams(StreamsConfig::new().abuse(abuse));
    Session::new(Yamux::new(role, config).unwrap(), Config::new(), 7, NOW).unwrap()
}

/// Feeds a frame, as a driver would; why the session ended, if it did.
fn once(session: &mut Session<Yamux>, frame: Header) -> Option<Cause<YamuxViolation>> {
    session.recv_buf().put_slice(&frame.encode());
    session.received(NOW);
    while session.interest().event {
        let _: Option<Event<_, _>> = session.poll_event(NOW);
    }
    output(session);
    session.cause().cloned()
}

fn output(session: &mut Session<Yamux>) -> Vec<u8> {
    let mut slices = [&[][..]; 8];
    let filled = session.transmit(&mut slices);
    let bytes = slices[..filled].concat();
    session.transmitted(NOW, bytes.len());
    bytes
}

/// How many times a frame is taken before the session ends.
fn taken(session: &mut Session<Yamux>, frame: Header) -> u32 {
    (0..10 * BURST).find(|_| once(session, frame).is_some()).unwrap_or(10 * BURST)
}

fn empty(session: &Session<Yamux>) -> bool {
    let violation = StreamViolation::Abuse { kind: Abuse::Empty, limit: BURST };
    matches!(session.cause(), Some(Cause::Violation(YamuxViolation::Stream { violation: v, .. })) if *v == violation)
}

#[test]
fn leaving_again_and_again_is_a_flood() {
    // Each looks at every stream there is.
    let mut server = session(Role::Server);
    assert_eq!(taken(&mut server, Header { kind: Kind::GoAway, flags: 0, stream: 0, length: NORMAL }), BURST);
    assert!(empty(&server), "{:?}", server.cause());
}

#[test]
fn answers_that_nobody_asked_for_are_a_flood() {
    let mut server = session(Role::Server);
    assert_eq!(taken(&mut server, Header { kind: Kind::Ping, flags: ACK, stream: 0, length: 0xdead }), BURST);
    assert!(empty(&server), "{:?}", server.cause());
}

#[test]
fn accepting_a_stream_again_and_again_is_a_flood() {
    for kind in [Kind::Data, Kind::WindowUpdate] {
        let mut client = session(Role::Client);
        client.protocol_mut(NOW).open(NOW).unwrap();
        // The first is what was asked for.
        assert_eq!(taken(&mut client, Header { kind, flags: ACK, stream: 1, length: 0 }), BURST + 1, "{kind:?}");
        assert!(empty(&client), "{:?}", client.cause());
    }
}

#[test]
fn each_stream_is_accepted_by_a_frame_of_its_own() {
    let mut client = session(Role::Client);
    for n in 0..5 * BURST {
        let id = client.protocol_mut(NOW).open(NOW).unwrap();
        let frame = Header { kind: Kind::WindowUpdate, flags: ACK, stream: 2 * n + 1, length: 0 };
        client.recv_buf().put_slice(&frame.encode());
        client.received(NOW);
        assert!(client.protocol_mut(NOW).streams_mut().get_mut(id).is_some() && client.cause().is_none());
    }
    // And a peer that opens and accepts at once, in one frame with its first data or its window, is none either.
    let mut server = session(Role::Server);
    for n in 0..5 * BURST {
        let frame = Header { kind: Kind::WindowUpdate, flags: SYN, stream: 2 * n + 1, length: 0 };
        server.recv_buf().put_slice(&frame.encode());
        server.received(NOW);
        assert!(server.cause().is_none());
    }
}

/// The `yamux` crate announces a stream with its first frame of data. One that was dropped or closed before that ends
/// without ever having begun, and the other streams have no part in it.
#[test]
fn the_end_of_a_stream_that_was_never_announced_is_nothing() {
    for flags in [FIN, RST, FIN | ACK, RST | ACK] {
        let mut server = session(Role::Server);
        let end = |stream| Header { kind: Kind::Data, flags, stream, length: 0 };
        assert_eq!(once(&mut server, end(1)), None, "{flags}");
        assert_eq!(once(&mut server, Header { kind: Kind::WindowUpdate, flags: SYN, stream: 3, length: 0 }), None);
        assert_eq!(once(&mut server, end(1)), None, "{flags}");
        assert_eq!(server.protocol().streams().open_counts(), (0, 1));
        // Bounded as all that moves nothing.
        assert!(taken(&mut server, end(99)) < BURST && empty(&server), "{:?}", server.cause());
        // Of our own streams the peer knows which there are, and data needs a stream.
        for (frame, stream) in [(end(2), 2), (Header { length: 5, ..end(1) }, 1)] {
            let never = Cause::Violation(YamuxViolation::NeverOpened(stream));
            assert_eq!(once(&mut session(Role::Server), frame), Some(never));
        }
    }
}

/// The `yamux` crate says FIN as often as its stream is closed. Once our half is over as well nobody looks at it any more,
/// and before that it says no more than the first did.
#[test]
fn finishing_again_is_nothing() {
    let mut server = session(Role::Server);
    let fin = Header { kind: Kind::Data, flags: FIN, stream: 1, length: 0 };
    assert_eq!(once(&mut server, Header { flags: SYN | FIN, ..fin }), None);
    assert_eq!(once(&mut server, fin), None);
    // Bounded as all that moves nothing; and more data is none of it.
    let violation = StreamViolation::AfterFinish;
    let mut other = session(Role::Server);
    assert_eq!(once(&mut other, Header { flags: SYN | FIN, ..fin }), None);
    other.recv_buf().put_slice(&Header { length: 3, ..fin }.encode());
    other.recv_buf().put_slice(b"abc");
    other.received(NOW);
    assert_eq!(other.cause(), Some(&Cause::Violation(YamuxViolation::Stream { stream: 1, violation })));
    assert!(taken(&mut server, fin) < BURST && empty(&server), "{:?}", server.cause());
}

/// libp2p's Go implementation says why in the length of the window update that resets a stream; others say 0 there.
#[test]
fn a_reset_says_why_in_its_length_and_grants_nothing() {
    let mut server = session(Role::Server);
    let open = Header { kind: Kind::WindowUpdate, flags: SYN, stream: 1, length: 0 };
    for (stream, code) in [(1, 0), (3, 8), (5, u32::MAX)] {
        assert_eq!(once(&mut server, Header { stream, ..open }), None);
        let id = server.protocol().streams().lookup(u64::from(stream)).unwrap();
        server.recv_buf().put_slice(&Header { stream, flags: RST, length: code, ..open }.encode());
        server.received(NOW);
        let mut ends = Vec::new();
        while server.interest().event {
            if let Some(Event::App(YamuxEvent::Stream(StreamEvent::Closed(of, closed)))) = server.poll_event(NOW) {
                ends.push((of, closed.end));
            }
        }
        assert_eq!((ends, server.cause()), (vec![(id, StreamEnd::PeerReset(Code(code)))], None));
    }
    // So do we; and one that never began says it to nobody.
    let mut client = session(Role::Client);
    let id = client.protocol_mut(NOW).open(NOW).unwrap();
    output(&mut client);
    client.protocol_mut(NOW).streams_mut().get_mut(id).unwrap().reset(Code(8));
    assert_eq!(output(&mut client), Header { flags: RST, length: 8, ..open }.encode());
    let never = Header { stream: 99, flags: RST, length: 8, ..open };
    assert_eq!(once(&mut server, never), None);
}
