//! Buffers of the thread: a connection holds one only while bytes are in it. For transports.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

/// What a new buffer holds, and the least that one must hold to be kept.
const CAPACITY: usize = 64 << 10;
/// A buffer that grew past this is let go.
const LARGEST: usize = 1 << 20;
/// Buffers kept per thread.
const KEPT: usize = 16;

/// Given last, taken first: most threads need one buffer at a time, and then no list.
struct Pool {
    last: Cell<Option<BytesMut>>,
    before: RefCell<Vec<BytesMut>>,
}

thread_local! {
    static POOL: Pool = const { Pool { last: Cell::new(None), before: RefCell::new(Vec::new()) } };
}

/// An empty buffer.
#[must_use]
#[inline]
pub fn take() -> BytesMut {
    let pooled = POOL.try_with(|pool| pool.last.take().or_else(|| pool.before.borrow_mut().pop())).ok().flatten();
    pooled.unwrap_or_else(|| BytesMut::with_capacity(CAPACITY))
}

/// Keeps the buffer if all of it is ours again: frames that the application still holds share it.
#[inline]
pub fn give(mut buffer: BytesMut) {
    buffer.clear();
    if !buffer.try_reclaim(CAPACITY) || buffer.capacity() > LARGEST {
        return;
    }
    // A thread that is ending has no pool any more; the buffer is then simply freed.
    let _ = POOL.try_with(|pool| {
        if let Some(earlier) = pool.last.replace(Some(buffer)) {
            let mut before = pool.before.borrow_mut();
            if before.len() + 1 < KEPT {
                before.push(earlier);
            }
        }
    });
}
