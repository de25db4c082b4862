//! Memory that is initialised once per thread, to read into.
//!
//! A futures-io stream reads into initialised bytes only, and the session's buffer is not initialised beyond what it
//! holds. Zeroing it before every read costs as much as the longest read, even if one byte comes; copying costs as
//! much as what came.

use std::cell::RefCell;

/// The most that one read takes.
const CAPACITY: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `read` on scratch memory of the thread.
pub(crate) fn with<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    // Away while it is used: a stream that itself reads through a transport finds none and makes its own.
    let mut bytes = SCRATCH.try_with(RefCell::take).unwrap_or_default();
    if bytes.is_empty() {
        bytes = vec![0; CAPACITY];
    }
    let result = read(&mut bytes);
    let _ = SCRATCH.try_with(|scratch| scratch.replace(bytes));
    result
}
