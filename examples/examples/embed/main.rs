//! duologue-core inside somebody else's event loop: here mio's. No driver, no adapter, no runtime.
//!
//! ```text
//! cargo run -p duologue-examples --example embed -- --port 7000   # serve until ended
//! cargo run -p duologue-examples --example embed -- --self-test   # serve a few clients, check, and exit
//! ```
//!
//! The loop owns sockets, clock and waiting. A session is asked what it wants ([`Session::interest`]) and told what
//! happened; `connection.rs` is all that lies between the two.

mod clock;
mod connection;
mod self_test;

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{Config, Instant, Session};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use clock::Clock;
use connection::Connection;

#[derive(Parser)]
#[command(about = "Echoes u32-length-prefixed frames on 127.0.0.1, from an event loop on mio")]
struct Args {
    /// Port to listen on; 0 takes a free one, and prints it.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Serves clients of its own for a moment, checks what they got, and exits.
    #[arg(long)]
    self_test: bool,
}

/// The protocol: any `Protocol` will do.
pub(crate) type Frames = Framed<LengthPrefixed>;

fn frames() -> Frames {
    Framed::new(LengthPrefixed::u32_be(64 << 10))
}

const LISTENER: Token = Token(usize::MAX);

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], args.port)))?;
    let address = listener.local_addr()?;
    eprintln!("echoing on {address}");
    if args.self_test {
        return self_test::run(listener, address);
    }
    serve(listener, &AtomicBool::new(false))?;
    Ok(())
}

/// The event loop, until told to stop. How many connections it served.
fn serve(mut listener: TcpListener, stop: &AtomicBool) -> io::Result<usize> {
    let mut poll = Poll::new()?;
    let mut ready = Events::with_capacity(256);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let clock = Clock::start();
    let config = Arc::new(Config::new());
    let mut connections = HashMap::new();
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        // Sleep until a socket is ready or the first of all deadlines comes.
        let deadline = connections.values().filter_map(Connection::deadline).min();
        poll.poll(&mut ready, clock.until(deadline))?;
        let now = clock.now();
        for event in &ready {
            if event.token() != LISTENER {
                if let Some(connection) = connections.get_mut(&event.token()) {
                    connection.ready(event);
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                let token = Token(next);
                poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                connections.insert(token, Connection::new(stream, session(&config, next as u64, now)?));
                next += 1;
            }
        }
        // Whoever has input, room or an expired deadline goes on; asking the others is harmless.
        connections.retain(|_, connection| connection.advance(&clock));
    }
    Ok(next)
}

fn session(config: &Arc<Config>, seed: u64, now: Instant) -> io::Result<Session<Frames>> {
    Session::new(frames(), Arc::clone(config), seed, now).map_err(io::Error::other)
}
