//! What a stalled reader costs in memory, measured: about its window, however an honest peer cuts what it sends, and the
//! peer lives.
// The helpers of tests unwrap as the tests do; what was measured is worth seeing.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut, BytesMut};
use duologue_core::streams::{Multiplex, Received, StreamEvent, StreamsConfig};
use duologue_core::{Config, Event, Instant, Limits, Session};
use duologue_yamux::wire::{Header, Kind, SYN};
use duologue_yamux::{Role, Yamux, YamuxConfig};

/// Counts the bytes that this thread holds.
struct Counting;

thread_local! {
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // A thread that is ending counts nothing.
    let _ = BYTES.try_with(|n| n.set(n.get() + bytes));
}

#[allow(unsafe_code)]
// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Instant = Instant::ORIGIN;
const WINDOW: usize = 4 << 20;
/// A read of an adapter.
const READ: usize = 64 << 10;

/// Feeds bytes as an adapter does: into buffers of 64 KiB, a new one when what was read is still shared.
fn feed(session: &mut Session<Yamux>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let _ = session.lend_recv(BytesMut::with_capacity(READ));
        let mut buf = session.recv_buf();
        let n = buf.remaining_mut().min(bytes.len()).min(READ);
        buf.put_slice(&bytes[..n]);
        session.received(NOW);
        bytes = &bytes[n..];
        drop(session.reclaim_recv());
        assert!(session.cause().is_none(), "an honest peer: {:?}", session.cause());
    }
}

/// Fills one window with frames of these sizes in turn, nobody reading; tells how many bytes that holds, and reads all.
fn stalled(sizes: &[usize]) -> i64 {
    let limits = Limits::new().recv_buffer(READ);
    let yamux = Yamux::new(Role::Server, YamuxConfig::new().streams(StreamsConfig::new().recv_window(WINDOW as u32)));
    let mut server = Session::new(yamux.unwrap(), Config::new().limits(limits), 1, NOW).unwrap();
    feed(&mut server, &Header { kind: Kind::WindowUpdate, flags: SYN, stream: 1, length: 0 }.encode());
    let opened = std::iter::from_fn(|| server.poll_event(NOW)).find_map(|event| match event {
        Event::App(event) => Yamux::as_stream_event(&event),
        _ => None,
    });
    let Some(StreamEvent::Opened(id)) = opened else { panic!("{opened:?}") };
    let before = BYTES.with(Cell::get);
    let (mut sent, mut frames) = (0, 0);
    let mut frame = Vec::with_capacity(READ);
    while sent < WINDOW {
        let size = sizes[frames % sizes.len()].min(WINDOW - sent);
        frame.clear();
        frame.extend_from_slice(&Header { kind: Kind::Data, flags: 0, stream: 1, length: size as u32 }.encode());
        frame.extend((0..size).map(|at| ((sent + at) % 251) as u8));
        feed(&mut server, &frame);
        (sent, frames) = (sent + size, frames + 1);
    }
    drop(frame);
    let held = BYTES.with(Cell::get) - before;
    println!("{sizes:?}: {frames} frames, {held} bytes held for a window of {WINDOW}");
    let mut taken = 0;
    let mut protocol = server.protocol_mut(NOW);
    let mut stream = protocol.streams_mut().get_mut(id).unwrap();
    while let Received::Data { bytes, .. } = stream.recv(usize::MAX) {
        assert!(bytes.iter().enumerate().all(|(at, byte)| usize::from(*byte) == (taken + at) % 251));
        taken += bytes.len();
        stream.release(bytes.len()).unwrap();
    }
    assert_eq!(taken, WINDOW, "everything arrived");
    held
}

#[test]
fn a_stalled_reader_holds_about_its_window_and_the_peer_lives() {
    // 32 reads may be shared, and the store keeps 32 blocks; beyond that a window costs what it weighs.
    let overhead = (32 * READ + 32 * (8 << 10)) as i64;
    for sizes in [&[1 << 10][..], &[1], &[100], &[4 << 10], &[16 << 10], &[1, 5000], &[1, 16 << 10]] {
        let held = stalled(sizes);
        assert!(held < WINDOW as i64 * 9 / 8 + overhead, "{sizes:?}: {held} bytes");
    }
}
