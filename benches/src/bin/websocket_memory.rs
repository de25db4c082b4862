//! What an idle WebSocket connection weighs on tokio: bytes that the server allocated for each, with all default time-outs
//! armed, after one message went back and forth.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use duologue_core::{Config, Delivery, Event as SessionEvent};
use duologue_tokio::websocket::{Command, Event, Role, ServerHandshake, Settings, WebSocket, fitted};
use duologue_tokio::{Options, Served, Server};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;

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

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    for name in ["duologue-owned", "duologue-borrowed", "tokio-tungstenite"] {
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || serve(name, |address| tell.send(address).is_ok()));
        let address = told.recv().map_err(io::Error::other)?;
        let warm = open(address)?;
        let before = LIVE.load(Ordering::Relaxed);
        let counted = open(address)?;
        let bytes = LIVE.load(Ordering::Relaxed).saturating_sub(before) / CONNECTIONS;
        writeln!(out, "{name:<20}{bytes:>8} bytes per idle connection")?;
        drop((warm, counted));
    }
    Ok(())
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
        assert_eq!(answer, [0x82, 3, 1, 2, 3], "the echo");
        streams.push(stream);
    }
    // Until the tasks have gone to sleep.
    thread::sleep(Duration::from_millis(300));
    Ok(streams)
}

fn serve(name: &str, ready: impl FnOnce(SocketAddr) -> bool) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        if !ready(listener.local_addr()?) {
            return Ok(());
        }
        match name {
            "duologue-owned" => duologue(listener, Delivery::Owned).await,
            "duologue-borrowed" => duologue(listener, Delivery::InPlace).await,
            _ => loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
                    let (mut sink, mut stream) = socket.split();
                    while let Some(Ok(message)) = stream.next().await {
                        if message.is_binary() && sink.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            },
        }
        Ok(())
    })
}

async fn duologue(listener: TcpListener, delivery: Delivery) {
    let settings = Settings::new();
    let options = fitted(Options::new().config(Config::new().delivery(delivery)), &settings, Role::Server);
    let handshake = Arc::new(ServerHandshake::new(settings));
    let protocol = move |_| WebSocket::server(Arc::clone(&handshake));
    let server = Server::from_listener(listener, options);
    if delivery == Delivery::Owned {
        server.serve(protocol, owned).await;
    } else {
        server.serve(protocol, borrowed).await;
    }
}

async fn owned(mut connection: Served<WebSocket>) {
    while let Some(event) = connection.next_event().await {
        if let SessionEvent::App(Event::Binary(data)) = event {
            let _ = connection.send(Command::Binary(data)).await;
        }
    }
}

async fn borrowed(mut connection: Served<WebSocket>) {
    let handler = |event: Event<duologue_core::Payload<'_>>,
                   replies: &mut duologue_core::Replies<'_, '_, WebSocket>| {
        if let Event::Binary(data) = event {
            let _ = replies.send(Command::Binary(data));
        }
    };
    while let Some(event) = connection.handle(1 << 16, handler).await {
        if let SessionEvent::Closed(_) = event {
            return;
        }
    }
}
