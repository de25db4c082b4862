//! A program without Rust's standard library that runs two sessions of duologue-core against each other.
//!
//! It brings a panic handler and an allocator of its own. Were the standard library linked by any crate below, its
//! panic handler would clash with ours and the program would not build; the feature `canary` does that on purpose.
//! The C library is linked for `memcpy` and a process start, nothing more. The exit code is 0 if all went well.

#![no_std]
#![no_main]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, Bytes};
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{Config, Event, Instant, Session};

#[link(name = "c")]
unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: takes nothing and does not return.
    unsafe { abort() }
}

/// Named by the precompiled `alloc`, which is built for unwinding; nothing unwinds here, so nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

const HEAP: usize = 1 << 20;

/// Hands out a fixed block from its start and takes nothing back.
struct Bump {
    block: core::cell::UnsafeCell<[u8; HEAP]>,
    used: AtomicUsize,
}

// SAFETY: no byte of the block is handed out twice, so nobody shares one.
unsafe impl Sync for Bump {}

// SAFETY: every pointer lies in the block, is aligned as asked, and is given out once.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.block.get().cast::<u8>();
        let mut start = 0;
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            start = (base as usize + used).next_multiple_of(layout.align()) - base as usize;
            start.checked_add(layout.size()).filter(|end| *end <= HEAP)
        });
        if taken.is_ok() { base.wrapping_add(start) } else { core::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP_OF_OURS: Bump = Bump { block: core::cell::UnsafeCell::new([0; HEAP]), used: AtomicUsize::new(0) };

/// One session says something and finishes; what the other one makes of it.
fn conversation() -> Option<bool> {
    let now = Instant::ORIGIN;
    let session = |seed| Session::new(Framed::new(LengthPrefixed::u32_be(1024)), Config::new(), seed, now).ok();
    let (mut client, mut server) = (session(1)?, session(2)?);
    client.send(now, Bytes::from_static(b"no std here")).ok()?;
    client.finish(now);

    let mut slices = [&[][..]; 4];
    let filled = client.transmit(&mut slices);
    let mut sent = 0;
    for slice in slices.iter().take(filled) {
        server.recv_buf().put_slice(slice);
        sent += slice.len();
    }
    server.received(now);
    client.transmitted(now, sent);
    client.shutdown_done(now);
    server.received_eof(now);

    let message = server.poll_event(now)?;
    let end = server.poll_event(now)?;
    Some(message == Event::App(Bytes::from_static(b"no std here")) && end == Event::PeerFinished)
}

#[unsafe(no_mangle)]
extern "C" fn main() -> core::ffi::c_int {
    if conversation() == Some(true) { 0 } else { 1 }
}
