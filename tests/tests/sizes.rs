//! What a connection weighs.

use duologue_core::driver::Driver;
use duologue_tokio::{Clock, StreamTransport};
use tokio::net::TcpStream;

/// glibc keeps up to 1 032 bytes in the lists of a thread (tcache); beyond them each connection that comes and goes costs a
/// thousand instructions more (docs/decisions/0077).
#[test]
#[cfg(target_pointer_width = "64")]
fn a_connection_of_http_is_no_larger_than_what_the_allocator_keeps_in_fast_lists() {
    // On the heap it stands beside one pointer.
    let connection =
        size_of::<Driver<duologue_http1::Server, StreamTransport<TcpStream>, Clock>>() + size_of::<usize>();
    assert!(connection <= 1032, "{connection} bytes");
}
