//! What streams cost in memory: nothing per message in steady state, and little while idle.
// What a run reached is worth seeing; the helpers of tests unwrap as the tests do.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use duologue_core::streams::{Multiplex, StreamEvent, StreamId, Streams, StreamsConfig};
use duologue_core::{Config, Event, Instant, Session};
use duologue_yamux::{Role, Yamux, YamuxConfig};

mod pump;

/// Counts what this thread allocates, and the bytes that it holds.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64, allocations: u64) {
    // A thread that is ending counts nothing.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + allocations));
    let _ = BYTES.try_with(|n| n.set(n.get() + bytes));
}

#[allow(unsafe_code)]
// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64), 0);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64, 1);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Instant = Instant::ORIGIN;

fn sides() -> [Session<Yamux>; 2] {
    [Role::Client, Role::Server].map(|role| {
        let streams = StreamsConfig::new().slots(16_384).max_local(16_384).max_peer(16_384).max_unaccepted(16_384);
        let yamux = Yamux::new(role, YamuxConfig::new().streams(streams)).unwrap();
        Session::new(yamux, Config::new(), 1, NOW).unwrap()
    })
}

/// Moves what one side has queued to the other, which takes everything; tells how many bytes, and whether any moved.
fn carry(from: &mut Session<Yamux>, to: &mut Session<Yamux>, buffer: &mut [u8]) -> (usize, bool) {
    let mut slices: [&[u8]; 8] = [&[]; 8];
    let filled = from.transmit(&mut slices);
    let mut n = 0;
    for slice in &slices[..filled] {
        let taken = pump::input(to, NOW, slice);
        n += taken;
        if taken < slice.len() {
            break;
        }
    }
    from.transmitted(NOW, n);
    let mut read = 0;
    while let Some(event) = to.poll_event(NOW) {
        let Event::App(event) = event else { continue };
        if let Some(StreamEvent::Readable(id)) = Yamux::as_stream_event(&event) {
            let mut protocol = to.protocol_mut(NOW);
            let mut stream = protocol.streams_mut().get_mut(id).unwrap();
            loop {
                let n = stream.read(buffer);
                read += n;
                if n == 0 {
                    break;
                }
            }
        }
    }
    (read, n > 0)
}

fn exchange(sides: &mut [Session<Yamux>; 2], buffer: &mut [u8]) -> usize {
    let [a, b] = sides;
    let mut read = 0;
    for _ in 0..100_000 {
        let (there, moved) = carry(a, b, buffer);
        let (back, also) = carry(b, a, buffer);
        read += there + back;
        if !moved && !also {
            return read;
        }
    }
    panic!("it never ends");
}

fn open(sides: &mut [Session<Yamux>; 2], n: usize, buffer: &mut [u8]) -> Vec<StreamId> {
    let mut ids = Vec::with_capacity(n);
    for _ in 0..n {
        ids.push(sides[0].protocol_mut(NOW).open(NOW).unwrap());
        exchange(sides, buffer);
    }
    ids
}

#[test]
fn messages_on_streams_allocate_nothing_once_the_buffers_are_there() {
    let (mut sides, mut buffer) = (sides(), vec![0; 16 << 10]);
    let ids = open(&mut sides, 100, &mut buffer);
    let mut run = |rounds: usize| {
        let mut read = 0;
        for round in 0..rounds {
            for n in 0..20 {
                let id = ids[(round * 7 + n * 5) % ids.len()];
                let mut protocol = sides[0].protocol_mut(NOW);
                assert_eq!(protocol.streams_mut().get_mut(id).unwrap().write(&[7; 128]), Ok(128));
            }
            read += exchange(&mut sides, &mut buffer);
        }
        assert_eq!(read, rounds * 20 * 128);
    };
    // Long enough that every stream has given credit back, all in one exchange too.
    run(6_000);
    let before = ALLOCATIONS.with(Cell::get);
    run(5_000);
    let counted = ALLOCATIONS.with(Cell::get) - before;
    println!("{counted} allocations for 100000 messages on 100 streams");
    assert_eq!(counted, 0, "for 100000 messages");
}

#[test]
fn an_idle_stream_is_small() {
    let (mut sides, mut buffer) = (sides(), vec![0; 1024]);
    const STREAMS: usize = 8_192;
    // What is there once, for any number of streams.
    open(&mut sides, 1, &mut buffer);
    let before = BYTES.with(Cell::get);
    let ids = open(&mut sides, STREAMS - 1, &mut buffer);
    let held = BYTES.with(Cell::get) - before - (ids.capacity() * size_of::<StreamId>()) as i64;
    // Both sides hold each stream.
    let each = held as f64 / (2 * STREAMS) as f64;
    let counted = Streams::<()>::bytes_per_idle_stream();
    println!("{each:.0} bytes per idle stream and side, allocated; {counted} counted");
    assert!(each <= 230.0, "{each} bytes per idle stream");
}
