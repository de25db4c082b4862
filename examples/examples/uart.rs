//! duologue-core in the main loop of a device without an operating system: a fake UART, a fake tick, no `std` in
//! [`firmware`].
//!
//! ```text
//! cargo run -p duologue-examples --example uart
//! ```
//!
//! Lines come in byte by byte over a serial line of 115 200 baud and are answered. A heartbeat tells the other side that
//! the device lives. The program plays the host at the other end of the wire, checks what it gets, and exits.

use std::process::ExitCode;

/// What runs on the device. Only `core`, `alloc` (through `bytes`) and duologue-core.
mod firmware {
    use core::time::Duration;

    use bytes::{BufMut, Bytes};
    use duologue_core::framed::{Delimited, Framed, Heartbeat};
    use duologue_core::{Code, Config, Event, Instant, Interest, Limits, Session, Timeouts};

    /// A serial line: one byte each way per character time.
    pub(crate) trait Uart {
        fn read(&mut self) -> Option<u8>;
        /// False while the transmit register is full.
        fn write(&mut self, byte: u8) -> bool;
    }

    type Lines = Framed<Delimited>;

    pub(crate) struct Device {
        session: Session<Lines>,
        pub(crate) commands: u32,
        pub(crate) over: bool,
    }

    impl Device {
        /// Small buffers, a heartbeat every second, and a host that is taken for dead after three.
        pub(crate) fn new(now: Instant) -> Option<Self> {
            let heartbeat = Heartbeat::new(Bytes::from_static(b"~"));
            let heartbeat = heartbeat.send_after(Duration::from_secs(1)).expect_within(Duration::from_secs(3));
            let limits = Limits::new().recv_buffer(256).send_buffer(256).control_reserve(32).read_chunk(64);
            let timeouts = Timeouts::new().idle(None).keepalive(None).linger(None);
            let protocol = Framed::new(Delimited::lines(100)).heartbeat(heartbeat);
            let session = Session::new(protocol, Config::new().limits(limits).timeouts(timeouts), 1, now).ok()?;
            Some(Self { session, commands: 0, over: false })
        }

        /// One turn of the main loop. It never waits; a real device would sleep until the next interrupt or deadline.
        pub(crate) fn turn(&mut self, uart: &mut impl Uart, now: Instant) {
            let Interest { event, read, write, shutdown_write, release, deadline } = self.session.interest();
            if deadline.is_some_and(|deadline| deadline.at <= now) {
                self.session.handle_timeout(now);
            }
            if read {
                if let Some(byte) = uart.read() {
                    self.session.recv_buf().put_u8(byte);
                    self.session.received(now);
                }
            }
            if write {
                let mut offered: [&[u8]; 1] = [&[]];
                self.session.transmit(&mut offered);
                if let Some(byte) = offered[0].first() {
                    if uart.write(*byte) {
                        self.session.transmitted(now, 1);
                    }
                }
            }
            if shutdown_write {
                // A serial line has no end of stream to send.
                self.session.shutdown_done(now);
            }
            if release.is_some() {
                self.session.released();
            }
            if event {
                match self.session.poll_event(now) {
                    Some(Event::App(line)) => self.command(&line, now),
                    Some(Event::Closed(_)) => self.over = true,
                    _ => {}
                }
            }
        }

        fn command(&mut self, line: &[u8], now: Instant) {
            self.commands += 1;
            let answer: &'static [u8] = match line {
                b"temperature" => b"21.5",
                b"led on" | b"led off" => b"ok",
                _ => b"what?",
            };
            if self.session.send(now, Bytes::from_static(answer)).is_err() {
                self.session.abort(now, Code(1));
            }
        }
    }
}

/// The wire, and the host at its other end.
#[derive(Default)]
struct Wire {
    to_device: std::collections::VecDeque<u8>,
    from_device: Vec<u8>,
    /// The device's registers hold one byte each, and are served once per character time.
    received: Option<u8>,
    sent: Option<u8>,
}

impl Wire {
    fn character_time(&mut self) {
        if self.received.is_none() {
            self.received = self.to_device.pop_front();
        }
        self.from_device.extend(self.sent.take());
    }
}

impl firmware::Uart for Wire {
    fn read(&mut self) -> Option<u8> {
        self.received.take()
    }

    fn write(&mut self, byte: u8) -> bool {
        let free = self.sent.is_none();
        if free {
            self.sent = Some(byte);
        }
        free
    }
}

fn main() -> ExitCode {
    use duologue_core::Instant;

    /// One character at 115 200 baud, 8N1.
    const CHARACTER: u64 = 86_806;
    let second = |n: u64| n * 1_000_000_000;
    let mut now = 0;
    let Some(mut device) = firmware::Device::new(Instant::from_nanos(now)) else { return ExitCode::FAILURE };
    let mut wire = Wire::default();
    let script: [(u64, &[u8]); 5] = [
        (second(0), b"temperature\n"),
        (second(1), b"led on\nled off\n"),
        (second(2), b"~\n"),
        (second(4), b"dance\n"),
        // Then the host is silent: the device must notice by itself, three seconds later.
        (u64::MAX, b""),
    ];
    let mut script = script.iter();
    let mut line = script.next();
    while !device.over && now < second(60) {
        if let Some((at, bytes)) = line.filter(|(at, _)| *at <= now) {
            debug_assert!(*at <= now);
            wire.to_device.extend(*bytes);
            line = script.next();
        }
        wire.character_time();
        device.turn(&mut wire, Instant::from_nanos(now));
        now += CHARACTER;
    }
    let heard = String::from_utf8_lossy(&wire.from_device).into_owned();
    let answers: Vec<&str> = heard.lines().filter(|line| *line != "~").collect();
    let beats = heard.lines().filter(|line| *line == "~").count();
    eprintln!(
        "after {:.1} s the device took {} commands, answered {answers:?}, {beats} heartbeats",
        now as f64 / 1e9,
        device.commands
    );
    let dead_in_time = (second(7)..second(8)).contains(&now);
    if device.commands == 4 && answers == ["21.5", "ok", "ok", "what?"] && beats >= 3 && dead_in_time {
        eprintln!("self-test passed: every command answered, and the silent host noticed in time");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}
