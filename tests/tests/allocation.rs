//! What a session costs in memory: nothing per message in steady state, nothing while idle, and a bounded size.
// What a run reached is worth seeing.
#![allow(clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{Config, Delivery, Event, Instant, Session};

mod pump;

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // A thread that is ending counts nothing.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

const NOW: Instant = Instant::ORIGIN;

type Frames = Session<Framed<LengthPrefixed>>;

fn session(delivery: Delivery) -> Frames {
    let framed = Framed::new(LengthPrefixed::u32_be(1024));
    Session::new(framed, Config::new().delivery(delivery), 1, NOW).unwrap_or_else(|e| panic!("{e}"))
}

/// Moves what `from` has queued straight into `to`: no buffer of the test's own.
fn carry(from: &mut Frames, to: &mut Frames) {
    let mut slices: [&[u8]; 8] = [&[]; 8];
    let filled = from.transmit(&mut slices);
    let mut n = 0;
    for slice in &slices[..filled] {
        let taken = pump::input(to, NOW, slice);
        assert_eq!(taken, slice.len(), "the receiver has room");
        n += taken;
    }
    from.transmitted(NOW, n);
}

#[test]
fn small_frames_as_owned_events_allocate_nothing_once_the_buffers_are_there() {
    let (mut a, mut b) = (session(Delivery::Owned), session(Delivery::Owned));
    let payload = Bytes::from_static(&[7; 64]);
    let mut exchange = |rounds: usize| {
        for _ in 0..rounds {
            assert!(a.send(NOW, payload.clone()).is_ok());
            assert!(a.send(NOW, payload.clone()).is_ok());
            carry(&mut a, &mut b);
            while let Some(event) = b.poll_event(NOW) {
                assert!(matches!(event, Event::App(frame) if frame == payload));
            }
        }
    };
    exchange(2_000);
    let counted = allocations(|| exchange(10_000));
    // Buffers that were handed out as shared slices come back now and then, not per message.
    println!("owned: {counted} allocations for 20000 messages");
    assert!(counted <= 200, "{counted} allocations for 20000 messages");
}

#[test]
fn small_frames_in_place_allocate_nothing_at_all() {
    let (mut a, mut b) = (session(Delivery::InPlace), session(Delivery::InPlace));
    let mut exchange = |rounds: usize| {
        let mut echoed = 0;
        for _ in 0..rounds {
            assert!(a.send_in_place(NOW, &[7; 64]).is_ok());
            carry(&mut a, &mut b);
            b.handle(NOW, 128, 64, |frame, replies| assert!(replies.send(frame).is_ok()));
            carry(&mut b, &mut a);
            echoed += a.handle(NOW, 0, 64, |frame, _| assert_eq!(frame.len(), 64));
        }
        assert_eq!(echoed, rounds);
    };
    exchange(100);
    let counted = allocations(|| exchange(10_000));
    assert_eq!(counted, 0, "for 20000 messages");
}

#[test]
fn a_queue_that_is_never_empty_allocates_nothing_either() {
    let mut a = session(Delivery::InPlace);
    let mut run = |rounds: usize| {
        for _ in 0..rounds {
            while a.send_in_place(NOW, &[7; 100]).is_ok() {}
            // The transport takes odd pieces, and never all of it.
            a.transmitted(NOW, 50_021);
        }
    };
    run(100);
    assert_eq!(allocations(|| run(1_000)), 0);
}

#[test]
fn refusals_allocate_nothing() {
    let mut a = session(Delivery::Owned);
    let payload = Bytes::from_static(&[7; 1000]);
    while a.send(NOW, payload.clone()).is_ok() {}
    let refused = allocations(|| {
        for _ in 0..1_000 {
            assert!(a.send(NOW, payload.clone()).is_err());
        }
    });
    assert_eq!(refused, 0);
}

#[test]
fn an_idle_session_holds_no_buffer() {
    let (mut a, mut b) = (session(Delivery::InPlace), session(Delivery::InPlace));
    assert!(a.send_in_place(NOW, &[7; 64]).is_ok());
    assert!(a.reclaim_send().is_none(), "it is in use");
    carry(&mut a, &mut b);
    assert!(b.reclaim_recv().is_none(), "it is in use");
    assert_eq!(b.handle(NOW, 0, 8, |_, _| {}), 1);
    let buffers = [a.reclaim_send(), b.reclaim_recv()];
    assert!(buffers.iter().all(|buffer| buffer.as_ref().is_some_and(bytes::BytesMut::is_empty)));
    assert!(a.reclaim_send().is_none() && b.reclaim_recv().is_none(), "given back once");
    // With the buffers lent again, nothing is allocated.
    let [Some(send), Some(recv)] = buffers else { panic!("both came back") };
    let counted = allocations(|| {
        assert!(a.lend_send(send).is_none() && b.lend_recv(recv).is_none());
        assert!(a.send_in_place(NOW, &[7; 64]).is_ok());
        carry(&mut a, &mut b);
        assert_eq!(b.handle(NOW, 0, 8, |_, _| {}), 1);
    });
    // The ledger's one entry may have to come back.
    assert!(counted <= 1, "{counted} allocations");
}

#[test]
fn a_session_is_small() {
    let size = size_of::<Frames>();
    println!("Session<Framed<LengthPrefixed>>: {size} bytes");
    assert!(size <= 1024, "{size} bytes");
}
