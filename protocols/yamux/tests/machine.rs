//! Two sessions in memory: what each behaviour looks like, whatever the transport does.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use bytes::{BufMut, Bytes};
use duologue_core::streams::{
    AbuseBudget, Multiplex, Received, StreamEnd, StreamEvent, StreamId, StreamMut, StreamViolation, StreamsConfig,
};
use duologue_core::{Cause, CloseIntent, Code, Config, Event, Instant, Limits, Session, TimeoutReason, Timeouts};
use duologue_yamux::wire::{ACK, FIN, Header, Kind, RST, SYN};
use duologue_yamux::{Role, Yamux, YamuxCommand, YamuxConfig, YamuxEvent, YamuxViolation};
use proptest::prelude::*;

const NOW: Instant = Instant::from_nanos(1_000);

fn session(role: Role, config: YamuxConfig) -> Session<Yamux> {
    let limits = Limits::new().send_buffer(64 << 10).recv_buffer(16 << 10);
    Session::new(Yamux::new(role, config).unwrap(), Config::new().limits(limits), 7, NOW).unwrap()
}

fn pair() -> (Session<Yamux>, Session<Yamux>) {
    (session(Role::Client, YamuxConfig::new()), session(Role::Server, YamuxConfig::new()))
}

/// Takes up to `most` bytes of what a session wants to write.
fn output(from: &mut Session<Yamux>, most: usize) -> Vec<u8> {
    let mut slices = [&[][..]; 32];
    let filled = from.transmit(&mut slices);
    let mut bytes = slices[..filled].concat();
    bytes.truncate(most);
    from.transmitted(NOW, bytes.len());
    bytes
}

fn input(to: &mut Session<Yamux>, mut bytes: &[u8]) {
    while !bytes.is_empty() && to.interest().read {
        let mut buf = to.recv_buf();
        let n = buf.remaining_mut().min(bytes.len());
        buf.put_slice(&bytes[..n]);
        to.received(NOW);
        bytes = &bytes[n..];
    }
}

/// Moves everything both ways, in pieces of `cut` bytes.
fn exchange(a: &mut Session<Yamux>, b: &mut Session<Yamux>, cut: usize) {
    for _ in 0..1_000_000 {
        let (to_b, to_a) = (output(a, cut), output(b, cut));
        if to_a.is_empty() && to_b.is_empty() {
            return;
        }
        input(b, &to_b);
        input(a, &to_a);
    }
    panic!("the exchange never ends");
}

fn open(session: &mut Session<Yamux>) -> StreamId {
    session.protocol_mut(NOW).open(NOW).unwrap()
}

fn with<R>(session: &mut Session<Yamux>, id: StreamId, act: impl FnOnce(&mut StreamMut<'_>) -> R) -> R {
    act(&mut session.protocol_mut(NOW).streams_mut().get_mut(id).unwrap())
}

fn events(session: &mut Session<Yamux>) -> Vec<StreamEvent> {
    // As a driver does: only what the session says that it has.
    let next = || if session.interest().event { session.poll_event(NOW) } else { None };
    let all = std::iter::from_fn(next).take(100_000);
    all.filter_map(|event| match event {
        Event::App(event) => Yamux::as_stream_event(&event),
        _ => None,
    })
    .collect()
}

fn opened(session: &mut Session<Yamux>) -> Vec<StreamId> {
    let opened = events(session).into_iter();
    opened.filter_map(|event| if let StreamEvent::Opened(id) = event { Some(id) } else { None }).collect()
}

fn take(session: &mut Session<Yamux>, id: StreamId) -> Vec<u8> {
    let mut all = Vec::new();
    while let Received::Data { bytes, .. } = with(session, id, |stream| stream.recv(usize::MAX)) {
        with(session, id, |stream| stream.release(bytes.len())).unwrap();
        all.extend_from_slice(&bytes);
    }
    all
}

fn violation(frames: &[Header]) -> Option<Cause<YamuxViolation>> {
    let mut server = session(Role::Server, YamuxConfig::new());
    let mut bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode()).collect();
    let payload = frames.last().filter(|frame| frame.kind == Kind::Data).map_or(0, |frame| frame.length);
    bytes.resize(bytes.len() + payload as usize, 7);
    input(&mut server, &bytes);
    server.cause().cloned()
}

const fn frame(kind: Kind, flags: u16, stream: u32, length: u32) -> Header {
    Header { kind, flags, stream, length }
}

#[test]
fn streams_are_opened_accepted_half_closed_and_ended_by_both_sides() {
    let (mut client, mut server) = pair();
    let (mine, theirs) = (open(&mut client), open(&mut server));
    exchange(&mut client, &mut server, 5);
    assert!(events(&mut client).contains(&StreamEvent::Accepted(mine)));
    let at_server: Vec<_> = opened(&mut server);
    assert_eq!(at_server.len(), 1);
    with(&mut client, mine, |stream| {
        stream.send("request".into()).unwrap();
        stream.finish();
    });
    exchange(&mut client, &mut server, 5);
    assert_eq!(take(&mut server, at_server[0]), b"request");
    with(&mut server, at_server[0], |stream| {
        assert_eq!(stream.recv(1), Received::Finished);
        stream.send("reply".into()).unwrap();
        stream.finish();
    });
    exchange(&mut client, &mut server, 5);
    assert_eq!(take(&mut client, mine), b"reply");
    let ended = |events: &[StreamEvent]| {
        events.iter().filter(|e| matches!(e, StreamEvent::Closed(_, c) if c.end == StreamEnd::Finished)).count()
    };
    assert_eq!((ended(&events(&mut client)), ended(&events(&mut server))), (1, 1));
    assert!(with(&mut server, theirs, |stream| stream.end()).is_none());
}

#[test]
fn what_the_peer_may_not_do_is_told_apart() {
    use Kind::{Data, GoAway, Ping, WindowUpdate};
    let stream = |violation| YamuxViolation::Stream { stream: 1, violation };
    let cases = [
        (vec![frame(Data, SYN, 2, 0)], YamuxViolation::WrongSide(2)),
        (vec![frame(Data, 0, 1, 0)], YamuxViolation::NeverOpened(1)),
        (vec![frame(WindowUpdate, 0, 2, 1)], YamuxViolation::NeverOpened(2)),
        (vec![frame(Data, 16, 1, 0)], YamuxViolation::Flags(16)),
        (vec![frame(Data, SYN, 0, 0)], YamuxViolation::StreamId { kind: Data, stream: 0 }),
        (vec![frame(Ping, SYN, 1, 0)], YamuxViolation::StreamId { kind: Ping, stream: 1 }),
        (vec![frame(Ping, SYN | ACK, 0, 0)], YamuxViolation::Ping(3)),
        (vec![frame(Data, SYN, 1, 0); 2], stream(StreamViolation::Duplicate { key: 1 })),
        (vec![frame(Data, SYN | FIN, 1, 0), frame(Data, 0, 1, 9)], stream(StreamViolation::AfterFinish)),
        (
            vec![frame(WindowUpdate, SYN, 1, u32::MAX)],
            stream(StreamViolation::OverGrant {
                window: (256 << 10) + i64::from(u32::MAX),
                limit: i64::from(u32::MAX),
            }),
        ),
    ];
    for (frames, expected) in cases {
        assert_eq!(violation(&frames), Some(Cause::Violation(expected)), "{frames:?}");
    }
    assert_eq!(violation(&[frame(GoAway, 0, 0, 2)]), Some(Cause::PeerClose(Code(2))));
    assert_eq!(violation(&[frame(GoAway, 0, 0, 0)]), None);
    assert_eq!(violation(&[frame(Data, SYN, 1, 0), frame(Data, RST, 1, 0), frame(Data, 0, 1, 0)]), None);
}

#[test]
fn more_than_the_window_is_a_violation_and_is_answered() {
    let mut server = session(Role::Server, YamuxConfig::new());
    input(&mut server, &frame(Kind::Data, SYN, 1, 300 << 10).encode());
    input(&mut server, &vec![0; 300 << 10]);
    assert!(matches!(
        server.cause(),
        Some(Cause::Violation(YamuxViolation::Stream { violation: StreamViolation::Overrun { .. }, .. }))
    ));
    let out = output(&mut server, usize::MAX);
    assert_eq!(out[out.len() - 12..], frame(Kind::GoAway, 0, 0, 1).encode());
}

/// The first shape of deadlock of other implementations: both sides write as fast as they can, neither transport takes
/// anything, and reading waits for the write queue.
#[test]
fn reading_never_waits_for_a_full_write_queue() {
    let (mut client, mut server) = pair();
    let id = open(&mut client);
    exchange(&mut client, &mut server, usize::MAX);
    let at_server = opened(&mut server)[0];
    for _ in 0..10_000 {
        let full = with(&mut server, at_server, |stream| stream.send(Bytes::from(vec![1; 10_000])).is_err());
        if full {
            break;
        }
    }
    assert!(server.buffered().1 > 0 && server.interest().write, "the server's output is stuck");
    with(&mut client, id, |stream| stream.send(Bytes::from(vec![2; 60_000]))).unwrap();
    // The server's transport takes nothing; it still hears everything.
    for _ in 0..100 {
        let bytes = output(&mut client, usize::MAX);
        input(&mut server, &bytes);
    }
    assert_eq!(take(&mut server, at_server).len(), 60_000);
}

/// The second shape: both sides have used up both windows, and wait for each other's update.
#[test]
fn both_sides_blocked_on_windows_go_on_as_soon_as_one_reads() {
    let (mut client, mut server) = pair();
    let id = open(&mut client);
    exchange(&mut client, &mut server, usize::MAX);
    let at_server = opened(&mut server)[0];
    let fill = |session: &mut Session<Yamux>, id| with(session, id, |stream| stream.write(&[7; 64 << 10]).unwrap_or(0));
    let mut sent = [0, 0];
    for _ in 0..50 {
        sent[0] += fill(&mut client, id);
        sent[1] += fill(&mut server, at_server);
        exchange(&mut client, &mut server, usize::MAX);
    }
    assert_eq!(fill(&mut client, id) + fill(&mut server, at_server), 0, "both are blocked");
    assert!(sent.iter().all(|n| *n >= 256 << 10), "{sent:?}");
    let mut got = [0, 0];
    for _ in 0..100 {
        got[1] += take(&mut server, at_server).len();
        exchange(&mut client, &mut server, usize::MAX);
        got[0] += take(&mut client, id).len();
        exchange(&mut client, &mut server, usize::MAX);
    }
    assert_eq!((got[1], got[0]), (sent[0], sent[1]), "everything arrives");
}

#[test]
fn a_stream_that_nobody_reads_stalls_itself_only() {
    let (mut client, mut server) = pair();
    let (stuck, lively) = (open(&mut client), open(&mut client));
    exchange(&mut client, &mut server, usize::MAX);
    let at_server = opened(&mut server);
    for _ in 0..200 {
        with(&mut client, stuck, |stream| stream.write(&[1; 30_000])).ok();
        with(&mut client, lively, |stream| stream.send(Bytes::from(vec![2; 20_000]))).unwrap();
        exchange(&mut client, &mut server, usize::MAX);
        assert_eq!(take(&mut server, at_server[1]).len(), 20_000);
    }
    assert_eq!(with(&mut server, at_server[0], |stream| stream.buffered().0), 256 << 10);
}

#[test]
fn a_ping_tells_the_round_trip_or_that_the_peer_is_dead() {
    let (mut client, mut server) = pair();
    exchange(&mut client, &mut server, usize::MAX);
    client.send(NOW, YamuxCommand::Ping).unwrap();
    assert!(client.send(NOW, YamuxCommand::Ping).is_err());
    let later = NOW.after(core::time::Duration::from_millis(30));
    let question = output(&mut client, usize::MAX);
    input(&mut server, &question);
    let answer = output(&mut server, usize::MAX);
    client.recv_buf().put_slice(&answer);
    client.received(later);
    let pong = std::iter::from_fn(|| client.poll_event(later)).find(|e| matches!(e, Event::App(YamuxEvent::Pong(_))));
    assert_eq!(pong, Some(Event::App(YamuxEvent::Pong(core::time::Duration::from_millis(30)))));
    let timeouts = Timeouts::none();
    let yamux = Yamux::new(Role::Client, YamuxConfig::new()).unwrap();
    let mut alone = Session::new(yamux, Config::new().timeouts(timeouts), 1, NOW).unwrap();
    alone.send(NOW, YamuxCommand::Ping).unwrap();
    alone.handle_timeout(NOW.after(core::time::Duration::from_secs(10)));
    assert_eq!(alone.cause(), Some(&Cause::Timeout(TimeoutReason::KeepaliveReply)));
}

/// The pings among frames without payload, and with the payloads of data frames left out.
fn pings(mut bytes: &[u8]) -> Vec<Header> {
    let mut found = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk() {
        let header = Header::decode(header).unwrap();
        let payload = if header.kind == Kind::Data { header.length as usize } else { 0 };
        bytes = &rest[payload..];
        found.extend((header.kind == Kind::Ping).then_some(header));
    }
    found
}

#[test]
fn a_peer_that_takes_nothing_is_not_asked_again_and_again() {
    let mut server = session(Role::Server, YamuxConfig::new().measure_every(Some(core::time::Duration::ZERO)));
    output(&mut server, usize::MAX);
    let mut feed = |frame: Header, len: usize| {
        let mut bytes = frame.encode().to_vec();
        bytes.resize(bytes.len() + len, 7);
        server.recv_buf().put_slice(&bytes);
        server.received(NOW);
        while server.interest().event {
            let _ = server.poll_event(NOW);
        }
        assert_eq!(server.cause(), None);
    };
    feed(frame(Kind::WindowUpdate, SYN, 1, 0), 0);
    for _ in 0..30000 {
        feed(frame(Kind::Data, 0, 1, 1), 1);
    }
}

#[test]
fn the_round_trip_is_measured_again_while_data_comes_and_only_then() {
    let mut server = session(Role::Server, YamuxConfig::new());
    let at = |seconds: u64| NOW.after(core::time::Duration::from_secs(seconds));
    let feed = |server: &mut Session<Yamux>, frames: &[Header], now| {
        for frame in frames {
            let mut bytes = frame.encode().to_vec();
            if frame.kind == Kind::Data {
                bytes.resize(bytes.len() + frame.length as usize, 7);
            }
            server.recv_buf().put_slice(&bytes);
            server.received(now);
        }
        while server.interest().event {
            let _ = server.poll_event(now);
        }
        pings(&output(server, usize::MAX))
    };
    assert_eq!(pings(&output(&mut server, usize::MAX)).len(), 1, "the first, at once");
    let answer = frame(Kind::Ping, ACK, 0, 1);
    assert!(feed(&mut server, &[frame(Kind::WindowUpdate, SYN, 1, 0), answer], NOW).is_empty());
    assert!(feed(&mut server, &[frame(Kind::Data, 0, 1, 9)], at(9)).is_empty(), "not yet");
    assert!(feed(&mut server, &[frame(Kind::WindowUpdate, 0, 1, 9)], at(30)).is_empty(), "no data, no measuring");
    let second = feed(&mut server, &[frame(Kind::Data, 0, 1, 9)], at(31));
    assert!(matches!(second[..], [Header { flags: SYN, length: 2, .. }]), "{second:?}");
    assert!(feed(&mut server, &[frame(Kind::Data, 0, 1, 9)], at(40)).is_empty());
    let third = feed(&mut server, &[frame(Kind::Data, 0, 1, 9)], at(41));
    assert_eq!(third.len(), 1, "what was never answered is asked again");
    assert!(server.cause().is_none(), "who sends is alive");
    let never = YamuxConfig::new().measure_every(None);
    let mut server = session(Role::Server, never);
    output(&mut server, usize::MAX);
    let frames = [frame(Kind::WindowUpdate, SYN, 1, 0), frame(Kind::Data, 0, 1, 9)];
    assert!(feed(&mut server, &frames, at(100)).is_empty());
}

#[test]
fn go_away_comes_after_everything_accepted_and_lets_the_rest_drain() {
    let (mut client, mut server) = pair();
    let id = open(&mut client);
    exchange(&mut client, &mut server, usize::MAX);
    let at_server = opened(&mut server)[0];
    with(&mut client, id, |stream| {
        stream.send(Bytes::from(vec![3; 50_000])).unwrap();
        stream.finish();
    });
    client.close(NOW, CloseIntent::Goodbye(Code(0)));
    exchange(&mut client, &mut server, 1000);
    assert_eq!(take(&mut server, at_server).len(), 50_000);
    assert_eq!(with(&mut server, at_server, |stream| stream.recv(1)), Received::Finished);
    assert!(events(&mut server).contains(&StreamEvent::Draining));
    client.send(NOW, YamuxCommand::Drain).unwrap_err();
}

#[test]
fn every_stream_is_told_once_when_the_connection_is_lost() {
    let (mut client, mut server) = pair();
    let ids: Vec<_> = (0..50).map(|_| open(&mut client)).collect();
    exchange(&mut client, &mut server, usize::MAX);
    events(&mut client);
    client.received_eof(NOW);
    let told = events(&mut client);
    for id in ids {
        let ends =
            told.iter().filter(|e| matches!(e, StreamEvent::Closed(i, c) if *i == id && c.end == StreamEnd::Lost));
        assert_eq!(ends.count(), 1, "{id}");
    }
}

/// How the client ends when the server's FIN comes after this, and what it tells about streams meanwhile.
fn ends_by_fin(before: impl FnOnce(&mut Session<Yamux>, StreamId)) -> (Cause<YamuxViolation>, Vec<StreamEvent>) {
    let (mut client, mut server) = pair();
    let id = open(&mut client);
    with(&mut client, id, |stream| {
        stream.send(Bytes::from_static(b"question")).unwrap();
        stream.finish();
    });
    exchange(&mut client, &mut server, usize::MAX);
    let at_server = opened(&mut server)[0];
    before(&mut server, at_server);
    exchange(&mut client, &mut server, usize::MAX);
    end_by_fin(client, id)
}

/// How this session ends when the FIN comes now, without any time passing, and what it tells about streams meanwhile.
fn end_by_fin(mut client: Session<Yamux>, id: StreamId) -> (Cause<YamuxViolation>, Vec<StreamEvent>) {
    client.received_eof(NOW);
    let mut told = Vec::new();
    for _ in 0..20 {
        match client.poll_event(NOW) {
            Some(Event::App(YamuxEvent::Stream(event))) => told.push(event),
            Some(Event::Closed(closed)) => {
                assert!(client.poll_event(NOW).is_none());
                return (closed.cause, told);
            }
            Some(_) => {}
            None if client.interest().release.is_some() => client.released(),
            None if client.interest().shutdown_write => client.shutdown_done(NOW),
            None => drop(output(&mut client, usize::MAX)),
        }
        while let Some(mut stream) = client.protocol_mut(NOW).streams_mut().get_mut(id) {
            if !matches!(stream.recv(100), Received::Data { .. }) {
                break;
            }
        }
    }
    panic!("it never ends: {client:?}");
}

fn closes(told: &[StreamEvent]) -> Vec<StreamEnd> {
    let ends = told.iter().filter_map(|event| if let StreamEvent::Closed(_, c) = event { Some(c.end) } else { None });
    ends.collect()
}

#[test]
fn a_fin_with_a_stream_unfinished_is_a_lost_session() {
    let (cause, told) = ends_by_fin(|server, id| with(server, id, |stream| stream.send("ans".into()).unwrap()));
    assert_eq!(cause, Cause::Truncated { missing: None });
    assert!(!cause.is_orderly());
    assert_eq!(closes(&told), [StreamEnd::Lost]);
}

#[test]
fn a_fin_behind_the_last_finish_is_orderly_also_without_a_go_away() {
    let (cause, told) = ends_by_fin(|server, id| {
        with(server, id, |stream| {
            stream.send("answer".into()).unwrap();
            stream.finish();
        });
    });
    assert_eq!((cause, closes(&told)), (Cause::PeerFinished, vec![StreamEnd::Finished]));
}

#[test]
fn a_fin_behind_a_go_away_is_orderly_and_its_open_streams_are_lost() {
    let (cause, told) = ends_by_fin(|server, _| server.send(NOW, YamuxCommand::Drain).unwrap());
    assert_eq!((cause, closes(&told)), (Cause::PeerFinished, vec![StreamEnd::Lost]));
}

#[test]
fn what_waits_for_credit_does_not_outlive_the_peer() {
    let (mut client, mut server) = pair();
    let id = open(&mut client);
    // The server takes nothing, so that nothing more than its first window is ever granted.
    for _ in 0..30 {
        with(&mut client, id, |stream| stream.send(Bytes::from(vec![1; 10_000])).unwrap());
        exchange(&mut client, &mut server, usize::MAX);
    }
    assert_eq!(with(&mut client, id, |stream| stream.credit().0.available()), 0);
    server.send(NOW, YamuxCommand::Drain).unwrap();
    exchange(&mut client, &mut server, usize::MAX);
    let (cause, told) = end_by_fin(client, id);
    assert_eq!((cause, closes(&told)), (Cause::PeerFinished, vec![StreamEnd::Lost]));
}

#[test]
fn a_fin_behind_a_reset_is_orderly() {
    let (cause, told) = ends_by_fin(|server, id| with(server, id, |stream| stream.reset(Code(0))));
    assert_eq!((cause, closes(&told)), (Cause::PeerFinished, vec![StreamEnd::PeerReset(Code(0))]));
}

#[test]
fn streams_beyond_the_limit_are_refused_and_floods_are_cut_off() {
    let abuse = AbuseBudget { burst: 50, ..AbuseBudget::default() };
    let streams = StreamsConfig::new().max_peer(3).abuse(abuse);
    let mut server = session(Role::Server, YamuxConfig::new().streams(streams));
    let syn = |n: u32| frame(Kind::WindowUpdate, SYN, 2 * n + 1, 0).encode();
    let bytes: Vec<u8> = (0..5).flat_map(syn).collect();
    input(&mut server, &bytes);
    let out = output(&mut server, usize::MAX);
    let resets = out.chunks(12).filter(|f| f[3] & RST as u8 != 0).count();
    assert_eq!((opened(&mut server).len(), resets), (3, 2));
    let flood: Vec<u8> = (5..500).flat_map(syn).collect();
    input(&mut server, &flood);
    let cause = server.cause().cloned();
    assert!(
        matches!(
            cause,
            Some(Cause::Violation(YamuxViolation::Stream { violation: StreamViolation::Abuse { .. }, .. }))
        ),
        "{cause:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn headers_survive_the_round_trip(kind in 0u8..4, flags in 0u16..16, stream in 1u32.., length: u32) {
        let kind = [Kind::Data, Kind::WindowUpdate, Kind::Ping, Kind::GoAway][kind as usize];
        let stream = if matches!(kind, Kind::Data | Kind::WindowUpdate) { stream } else { 0 };
        let header = Header { kind, flags, stream, length };
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut server = session(Role::Server, YamuxConfig::new());
        input(&mut server, &bytes);
        server.received_eof(NOW);
        events(&mut server);
    }

    #[test]
    fn the_cuts_of_the_transport_change_nothing(
        messages in prop::collection::vec((0usize..6, 1usize..9_000), 1..30),
        cut in 1usize..3_000,
    ) {
        let mut whole = Vec::new();
        for cut in [usize::MAX, cut, 1] {
            let (mut client, mut server) = pair();
            let ids: Vec<_> = (0..6).map(|_| open(&mut client)).collect();
            for (stream, len) in &messages {
                with(&mut client, ids[*stream], |s| s.write(&vec![*len as u8; *len])).ok();
            }
            for id in &ids {
                with(&mut client, *id, |s| s.finish());
            }
            exchange(&mut client, &mut server, cut);
            let at_server = opened(&mut server);
            prop_assert_eq!(at_server.len(), 6);
            let got: Vec<_> = at_server.iter().map(|id| take(&mut server, *id)).collect();
            for id in &at_server {
                prop_assert_eq!(with(&mut server, *id, |s| s.recv(1)), Received::Finished);
            }
            if whole.is_empty() {
                whole = got;
            } else {
                prop_assert_eq!(&whole, &got);
            }
        }
    }
}

#[test]
fn our_fin_waits_for_data_that_waits_for_credit() {
    let (mut client, mut server) = pair();
    let id = open(&mut client);
    exchange(&mut client, &mut server, usize::MAX);
    let at_server = opened(&mut server)[0];
    let mut sent = 0;
    for _ in 0..20 {
        sent += with(&mut client, id, |stream| stream.write(&[7; 64 << 10])).unwrap_or(0);
        exchange(&mut client, &mut server, usize::MAX);
    }
    assert!(sent > 256 << 10, "more than the window was accepted");
    with(&mut client, id, |stream| stream.finish());
    client.finish(NOW);
    exchange(&mut client, &mut server, usize::MAX);
    assert!(!client.interest().shutdown_write, "no FIN before the data");
    let mut got = 0;
    for _ in 0..20 {
        got += take(&mut server, at_server).len();
        exchange(&mut client, &mut server, usize::MAX);
    }
    assert_eq!(got, sent);
    assert_eq!(with(&mut server, at_server, |stream| stream.recv(1)), Received::Finished);
    assert!(client.interest().shutdown_write, "now FIN is due");
}
