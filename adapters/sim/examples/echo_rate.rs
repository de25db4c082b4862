//! 64-byte echoes per CPU-second, one in flight and 64 in flight, at several simulated latencies.

use std::io::Write;
use std::time::{Duration, Instant};

use duologue_sim::core::framed::{Framed, LengthPrefixed};
use duologue_sim::core::{Config, Delivery, Event, Protocol};
use duologue_sim::{App, Io, Link, Listen, Outcome, World};

type Frames = Framed<LengthPrefixed>;
type Told = Event<<Frames as Protocol>::Event, <Frames as Protocol>::Violation>;

const PAYLOAD: [u8; 64] = [7; 64];

/// Sends every message back.
struct Server;

impl App<Frames> for Server {
    fn on_event(&mut self, io: &mut Io<'_, Frames>, event: Told) {
        if let Event::App(payload) = event {
            let _ = io.send(payload);
        }
    }

    fn on_messages(&mut self, io: &mut Io<'_, Frames>) -> usize {
        io.handle(128, 4096, |view, replies| drop(replies.send(view)))
    }
}

/// Keeps a number of messages in flight until it has all.
struct Client {
    in_flight: u32,
    left: u32,
}

impl App<Frames> for Client {
    fn on_start(&mut self, io: &mut Io<'_, Frames>) {
        for _ in 0..self.in_flight {
            let _ = io.send_in_place(&PAYLOAD);
        }
    }

    fn on_event(&mut self, io: &mut Io<'_, Frames>, event: Told) {
        if let Event::App(payload) = event {
            self.left = self.left.saturating_sub(1);
            if self.left >= self.in_flight {
                let _ = io.send(payload);
            } else if self.left == 0 {
                io.finish();
            }
        }
    }

    fn on_messages(&mut self, io: &mut Io<'_, Frames>) -> usize {
        let (left, in_flight) = (&mut self.left, self.in_flight);
        let handled = io.handle(128, 4096, |view, replies| {
            *left = left.saturating_sub(1);
            if *left >= in_flight {
                let _ = replies.send(view);
            }
        });
        if handled > 0 && self.left == 0 {
            io.finish();
        }
        handled
    }
}

/// Time on the processor so far, where the system tells (Linux); otherwise the time of day.
fn processor_time(origin: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanos = told.and_then(|line| line.split(' ').next().and_then(|n| n.parse().ok()));
    nanos.map_or_else(|| origin.elapsed(), Duration::from_nanos)
}

fn rate(delivery: Delivery, in_flight: u32, latency: Duration, echoes: u32) -> (f64, u64) {
    let mut world = World::new(1);
    let (a, b) = (world.host("client"), world.host("server"));
    world.set_link(Link::with_latency(latency));
    let frames = || Framed::new(LengthPrefixed::u32_be(1024));
    let config = Config::new().delivery(delivery);
    world.listen(b, 80, Listen::default(), config.clone(), move || (frames(), Server));
    let client = Client { in_flight, left: echoes };
    world.connect(a, (b, 80), config, frames(), client).expect("a port is free");
    let origin = Instant::now();
    let start = processor_time(origin);
    // Without latency all of it happens at one instant.
    world.spin_limit(u64::MAX);
    assert_eq!(world.run_until_quiet(Duration::MAX), Outcome::Quiet);
    (f64::from(echoes) / (processor_time(origin) - start).as_secs_f64(), world.hash())
}

fn main() {
    let echoes = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2_000_000);
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{:<10} {:>9} {:>10} {:>16}  trace", "delivery", "in flight", "latency", "echoes per CPU-s");
    for delivery in [Delivery::InPlace, Delivery::Owned] {
        for in_flight in [1, 64] {
            for millis in [0, 1, 100] {
                let (rate, hash) = rate(delivery, in_flight, Duration::from_millis(millis), echoes);
                let name = format!("{delivery:?}");
                let _ = writeln!(out, "{name:<10} {in_flight:>9} {millis:>7} ms {rate:>16.0}  {hash:016x}");
            }
        }
    }
}
