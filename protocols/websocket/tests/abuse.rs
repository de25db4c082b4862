//! A hostile WebSocket peer: whatever it does, memory stays bounded, and the session ends with a reason that says why.
// What a run reached is worth seeing.
#![allow(clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use duologue_core::{
    Cause, CloseIntent, Code, Config, Event as SessionEvent, Instant, Limits as Buffers, Session, TimeoutReason,
    Timeouts,
};
use duologue_websocket::{
    ClientHandshake, Deflate, Event, Kind, Limits, Part, Role, ServerHandshake, Settings, Violation, WebSocket,
};

/// Tells how much memory this thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending counts nothing.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

#[allow(unsafe_code)]
// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `work` held beyond what was held before it.
fn most_held(what: &str, work: impl FnOnce()) -> usize {
    let before = HELD.with(Cell::get);
    MOST.with(|most| most.set(before));
    work();
    let most = usize::try_from(MOST.with(Cell::get) - before).unwrap_or_default();
    println!("{what}: at most {most} bytes held");
    most
}

const NOW: Instant = Instant::ORIGIN;
const ROUNDS: usize = 200_000;

fn session(protocol: WebSocket, config: Config) -> Session<WebSocket> {
    Session::new(protocol, config, 1, NOW).expect("limits that work")
}

fn upgraded(settings: Settings, buffers: Buffers) -> Session<WebSocket> {
    let config = settings.config(Role::Server, Config::new().limits(buffers));
    session(WebSocket::upgraded(Role::Server, settings, None), config)
}

fn small() -> Buffers {
    Buffers::new().recv_buffer(80 << 10).send_buffer(16 << 10).control_reserve(2 << 10)
}

/// A masked frame of less than 126 bytes, its key 0.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn give(session: &mut Session<WebSocket>, mut bytes: &[u8]) {
    while session.interest().read && !bytes.is_empty() {
        let mut buf = session.recv_buf();
        let n = bytes.len().min(buf.remaining_mut());
        buf.put_slice(&bytes[..n]);
        session.received(NOW);
        bytes = &bytes[n..];
    }
}

fn take_all(session: &mut Session<WebSocket>) -> Vec<Event> {
    let mut out = Vec::new();
    while let Some(event) = session.poll_event(NOW) {
        if let SessionEvent::App(event) = event {
            out.push(event);
        }
    }
    out
}

fn written(session: &mut Session<WebSocket>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while session.interest().write {
        let mut slices: [&[u8]; 8] = [&[]; 8];
        let filled = session.transmit(&mut slices);
        let some = slices[..filled].concat();
        session.transmitted(NOW, some.len());
        bytes.extend(some);
    }
    bytes
}

/// The same bytes until the session wants no more of them.
fn flood(session: &mut Session<WebSocket>, bytes: &[u8]) {
    for _ in 0..ROUNDS {
        if session.cause().is_some() {
            return;
        }
        give(session, bytes);
        take_all(session);
    }
    panic!("a flood without an end");
}

#[test]
fn a_flood_of_pings_ends_as_such_though_nobody_reads_the_pongs() {
    let mut session = upgraded(Settings::new(), small());
    let most = most_held("ping flood", || flood(&mut session, &frame(0x89, &[7; 125]).repeat(20)));
    assert!(matches!(session.cause(), Some(Cause::Violation(Violation::ControlFlood { limit: 1000, .. }))));
    assert!(session.buffered().1 <= 18 << 10);
    assert!(most < 200 << 10, "{most}");
    let answers = written(&mut session);
    assert!(answers.ends_with(&[0x88, 2, 0x03, 0xF0]), "1008 tells the peer");
}

#[test]
fn a_peer_that_asks_and_never_reads_is_owed_one_pong_and_then_given_up() {
    // Slowly enough to be no flood.
    let settings = Settings::new().limits(Limits::new().control_frames(u32::MAX));
    let mut session = upgraded(settings, small());
    let most = most_held("pings, nothing read", || {
        for n in 0..20_000_u32 {
            give(&mut session, &frame(0x89, &n.to_be_bytes()));
        }
    });
    assert_eq!(session.cause(), None, "reading never waits for writing");
    assert!(session.buffered().1 <= 1 << 10, "the backlog is bounded: {}", session.buffered().1);
    assert!(most < 64 << 10, "{most}");
    let pongs = written(&mut session);
    assert!(pongs.ends_with(&[0x8A, 4, 0, 0, 0x4E, 0x1F]), "the newest ping is answered once there is room");
    give(&mut session, &frame(0x89, b"last"));
    let stalled = session.interest().deadline.expect("bytes wait and a clock runs");
    assert_eq!(stalled.reason, TimeoutReason::WriteStall);
    session.handle_timeout(stalled.at);
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::WriteStall)));
}

#[test]
fn empty_and_tiny_fragments_end_at_their_number() {
    for payload in [&b""[..], b"x"] {
        let settings = Settings::new().limits(Limits::new().max_fragments(10_000));
        let mut session = upgraded(settings, small());
        give(&mut session, &frame(0x02, payload));
        let most = most_held("fragments", || flood(&mut session, &frame(0x00, payload).repeat(100)));
        assert_eq!(session.cause(), Some(&Cause::Violation(Violation::TooManyFragments { limit: 10_000 })));
        assert!(most < 128 << 10, "{most}");
    }
}

#[test]
fn a_message_without_an_end_ends_at_its_size() {
    let settings = Settings::new().limits(Limits::new().max_message(100_000));
    let mut session = upgraded(settings, small());
    give(&mut session, &frame(0x02, b"x"));
    let most = most_held("endless message", || flood(&mut session, &frame(0x00, &[1; 125]).repeat(10)));
    assert_eq!(session.cause(), Some(&Cause::Violation(Violation::MessageTooLong { limit: 100_000 })));
    assert!(most < 500_000, "{most}");
}

#[test]
fn an_announced_length_allocates_nothing() {
    let mut session = upgraded(Settings::new(), small());
    let most =
        most_held("announced", || give(&mut session, &[0x82, 0xFF, 0, 0, 0, 0, 0, 0xF0, 0, 0, 0, 0, 0, 0, 1, 2]));
    assert!(session.cause().is_none() && most < 64 << 10, "{most}");
}

#[test]
fn a_bomb_ends_with_1009_before_it_explodes() {
    const MESSAGE: u64 = 100_000;
    let deflate = Some(Deflate::new().level(9));
    let sender = Settings::new().deflate(deflate).limits(Limits::new());
    let receiver = Settings::new().deflate(deflate).limits(Limits::new().max_message(MESSAGE));
    let big = Config::new().limits(Buffers::new().send_buffer(128 << 20));
    let handshake = ClientHandshake::new("h", "/").settings(sender);
    let mut client = session(WebSocket::client(handshake).expect("a request"), sender.config(Role::Client, big));
    let server = WebSocket::server(ServerHandshake::new(receiver));
    let mut server = session(server, receiver.config(Role::Server, Config::new().limits(small())));
    give(&mut server, &written(&mut client));
    take_all(&mut server);
    give(&mut client, &written(&mut server));
    take_all(&mut client);
    assert!(server.protocol().is_compressed() && client.protocol().is_compressed());
    client.send(NOW, duologue_websocket::Command::Binary(Bytes::from(vec![0; 64 << 20]))).expect("there is room");
    let bomb = written(&mut client);
    assert!(bomb.len() < 80 << 10, "{} bytes become 64 MiB", bomb.len());
    let most = most_held("bomb", || give(&mut server, &bomb));
    assert_eq!(server.cause(), Some(&Cause::Violation(Violation::MessageTooLong { limit: MESSAGE })));
    assert!(most < 600_000, "{most}");
    assert!(written(&mut server).ends_with(&[0x88, 2, 0x03, 0xF1]), "1009 tells the peer");
}

/// A compressed message of `zeros` bytes, then `rest` in frames of `size` bytes, then its end: how long the rest took.
fn compressed_rest(zeros: usize, rest: &[u8], size: usize) -> std::time::Duration {
    let settings = Settings::new().deflate(Some(Deflate::new().min_len(0)));
    let big = Buffers::new().send_buffer(16 << 20);
    let handshake = ClientHandshake::new("h", "/").settings(settings);
    let client = WebSocket::client(handshake).expect("a request");
    let mut client = session(client, settings.config(Role::Client, Config::new().limits(big)));
    let server = WebSocket::server(ServerHandshake::new(settings));
    let mut server = session(server, settings.config(Role::Server, Config::new().limits(small())));
    give(&mut server, &written(&mut client));
    take_all(&mut server);
    give(&mut client, &written(&mut server));
    take_all(&mut client);
    let part = Part { kind: Kind::Binary, first: true, last: false, data: Bytes::from(vec![0; zeros]) };
    client.send(NOW, duologue_websocket::Command::Part(part)).expect("there is room");
    give(&mut server, &written(&mut client));
    let long = |some: &[u8]| [&[0x00, 0xFE][..], &(some.len() as u16).to_be_bytes(), &[0; 4], some].concat();
    let fragment = |some: &[u8]| if some.len() < 126 { frame(0x00, some) } else { long(some) };
    let frames: Vec<Vec<u8>> = rest.chunks(size).map(fragment).collect();
    let start = std::time::Instant::now();
    for fragment in &frames {
        give(&mut server, fragment);
    }
    let took = start.elapsed();
    give(&mut server, &frame(0x80, &[0]));
    assert_eq!(take_all(&mut server), [Event::Binary(Bytes::from(vec![0; zeros]))]);
    took
}

#[test]
fn what_inflating_costs_does_not_grow_with_what_was_inflated_before() {
    // Empty blocks, a byte in each frame; and empty final blocks, each of which ends the deflate stream, in a few frames.
    for (what, block, size) in [("fragments", &[0, 0, 0, 0xFF, 0xFF][..], 1), ("final blocks", &[3, 0], 50_000)] {
        let rest = block.repeat(30_000 / block.len());
        let (small, large) = (compressed_rest(1, &rest, size), compressed_rest(4 << 20, &rest, size));
        println!("{what}: {small:?} after 1 byte, {large:?} after 4 MiB");
        assert!(large < small * 8 + std::time::Duration::from_millis(50), "{what}: {small:?}, {large:?}");
    }
}

#[test]
fn a_slow_handshake_is_told_408_and_does_not_postpone_its_end() {
    let server = WebSocket::server(ServerHandshake::new(Settings::new()));
    let mut session = session(server, Settings::new().config(Role::Server, Config::new()));
    let end = session.interest().deadline.expect("an opening has its time").at;
    let most = most_held("slow handshake", || {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(8_000));
        for byte in head.bytes() {
            give(&mut session, &[byte]);
            assert_eq!(session.interest().deadline.map(|d| d.at), Some(end), "a drip postpones nothing");
        }
    });
    assert!(most < 64 << 10, "{most}");
    session.handle_timeout(end);
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::Handshake)));
    assert!(written(&mut session).starts_with(b"HTTP/1.1 408 "));
}

/// Browsers connect ahead of need. Whoever asks over such a connection later would take a 408 for its answer.
#[test]
fn who_asked_nothing_is_answered_nothing_when_its_time_is_up() {
    let server = WebSocket::server(ServerHandshake::new(Settings::new()));
    let mut session = session(server, Settings::new().config(Role::Server, Config::new()));
    let end = session.interest().deadline.expect("an opening has its time").at;
    session.handle_timeout(end);
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::Handshake)));
    assert_eq!(written(&mut session), b"");
    assert!(session.interest().shutdown_write, "{session:?}");
}

#[test]
fn a_close_that_nobody_answers_ends_after_its_time() {
    let mut session = upgraded(Settings::new(), small());
    session.close(NOW, CloseIntent::Goodbye(Code(1001)));
    assert_eq!(written(&mut session), [0x88, 2, 0x03, 0xE9]);
    // The peer goes on sending instead, and asking.
    let most = most_held("a Close without an answer", || {
        for _ in 0..ROUNDS {
            give(&mut session, &frame(0x82, b"x"));
            assert_eq!(take_all(&mut session), [Event::Binary("x".into())]);
        }
        (0..900).for_each(|_| give(&mut session, &frame(0x89, &[7; 125])));
    });
    assert!(most < 64 << 10, "{most}");
    assert_eq!(written(&mut session), b"", "nothing follows a Close");
    let mut ends = Vec::new();
    for _ in 0..10 {
        if session.interest().shutdown_write {
            session.shutdown_done(NOW);
        }
        let Some(deadline) = session.interest().deadline else { break };
        ends.push(deadline.reason);
        session.handle_timeout(deadline.at);
    }
    assert_eq!(ends.first(), Some(&TimeoutReason::CloseHandshake));
    assert!(session.interest().release.is_some());
    session.released();
    assert_eq!(session.cause(), Some(&Cause::LocalClose(Code(1001))));
    assert_eq!(session.protocol().close_code(), duologue_websocket::CloseCode::ABNORMAL, "no Close came");
}

/// A long message is put together as it comes, and its header is taken off before; its time runs from its first byte.
#[test]
fn what_is_put_together_early_buys_a_slow_peer_no_time() {
    let wait = Duration::from_secs(10);
    let config = Config::new().limits(small()).timeouts(Timeouts::none().message(Some(wait)));
    let settings = Settings::new().limits(Limits::new().piece(16 << 10));
    let config = settings.config(Role::Server, config);
    let mut session = session(WebSocket::upgraded(Role::Server, settings, None), config);
    let at = |seconds| NOW.after(Duration::from_secs(seconds));
    let feed = |session: &mut Session<WebSocket>, seconds, bytes: &[u8]| {
        session.recv_buf().put_slice(bytes);
        session.received(at(seconds));
        session.interest().deadline.map(|deadline| (deadline.at, deadline.reason))
    };
    let due = Some((at(0).after(wait), TimeoutReason::Message));
    assert_eq!(feed(&mut session, 0, &[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]), due);
    for seconds in 1..=5 {
        assert_eq!(feed(&mut session, seconds, &[7; 4000]), due, "second {seconds}, of the next piece at last");
    }
    assert!(session.buffered().0 < 2, "{:?}", session.buffered());
    session.handle_timeout(at(10));
    assert_eq!(session.cause(), Some(&Cause::Timeout(TimeoutReason::Message)));
}

#[test]
fn a_ping_after_our_close_is_not_answered() {
    let mut session = upgraded(Settings::new(), small());
    session.close(NOW, CloseIntent::Goodbye(Code(1000)));
    written(&mut session);
    give(&mut session, &frame(0x89, b"x"));
    assert_eq!(written(&mut session), b"");
}

#[test]
fn an_idle_conversation_holds_little() {
    let settings = std::sync::Arc::new(Settings::new());
    let config = std::sync::Arc::new(settings.config(Role::Server, Config::new()));
    let mut kept = Vec::with_capacity(1000);
    let most = most_held("1 000 idle sessions", || {
        for _ in 0..1000 {
            let protocol = WebSocket::upgraded(Role::Server, std::sync::Arc::clone(&settings), None);
            let session = Session::new(protocol, std::sync::Arc::clone(&config), 1, NOW).expect("limits that work");
            kept.push(session);
        }
    });
    let size = size_of::<Session<WebSocket>>();
    println!("a session is {size} bytes, {} of them the protocol", size_of::<WebSocket>());
    assert!(size + most / 1000 < 1_400, "{size} + {}", most / 1000);
}
