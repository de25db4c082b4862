//! What an idle WebSocket connection weighs: what the server allocated for it, counted by the allocator of the process.
//!
//! Two binaries are built with it: `websocket_memory`, and `idle` of `benches/websocket-peers`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Connections that are counted, after as many to warm up.
const CONNECTIONS: usize = 200;

/// Bytes that the server at `address`, in this process, has allocated for each connection that sleeps.
pub(crate) fn weigh(address: SocketAddr) -> io::Result<usize> {
    let warm = open(address)?;
    let before = LIVE.load(Ordering::Relaxed);
    let counted = open(address)?;
    let bytes = LIVE.load(Ordering::Relaxed).saturating_sub(before) / CONNECTIONS;
    drop((warm, counted));
    // Until the server has closed its own, so that the next one's count does not see it.
    thread::sleep(Duration::from_millis(300));
    Ok(bytes)
}

/// Sockets of the system, for which nothing is allocated here.
fn open(address: SocketAddr) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(CONNECTIONS);
    // The list itself is no part of a connection.
    LIVE.fetch_sub(CONNECTIONS * size_of::<TcpStream>(), Ordering::Relaxed);
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )?;
        let mut head = [0; 1];
        let mut last = [0; 4];
        while last != *b"\r\n\r\n" {
            stream.read_exact(&mut head)?;
            last = [last[1], last[2], last[3], head[0]];
        }
        stream.write_all(&[0x82, 0x83, 0, 0, 0, 0, 1, 2, 3])?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        if answer != [0x82, 3, 1, 2, 3] {
            return Err(io::Error::other("the echo differs from what was sent"));
        }
        streams.push(stream);
    }
    // Until the tasks have gone to sleep.
    thread::sleep(Duration::from_millis(300));
    Ok(streams)
}
