//! Two duologue sessions in duologue-sim, with all default time-outs armed: in place, or owned messages.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use duologue_sim::core::framed::{Framed, LengthPrefixed};
use duologue_sim::core::{Config, Delivery, Event, Protocol};
use duologue_sim::{App, Io, Link, Listen, Outcome, World};

use crate::contest::{Contest, frame, number};

type Frames = Framed<LengthPrefixed>;
type Told = Event<Bytes, <Frames as Protocol>::Violation>;

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

struct Client {
    contest: Contest,
    sent: u32,
    echoed: Rc<Cell<u32>>,
}

impl Client {
    fn check(&self, payload: &[u8]) {
        let echoed = self.echoed.get();
        let mut whole = frame(0);
        whole[4..].copy_from_slice(payload);
        assert_eq!(number(&whole), Some(echoed));
        self.echoed.set(echoed + 1);
    }
}

impl App<Frames> for Client {
    fn on_start(&mut self, io: &mut Io<'_, Frames>) {
        while self.sent < self.contest.in_flight.min(self.contest.echoes) {
            let _ = io.send_in_place(&frame(self.sent)[4..]);
            self.sent += 1;
        }
    }

    fn on_event(&mut self, io: &mut Io<'_, Frames>, event: Told) {
        if let Event::App(payload) = event {
            self.check(&payload);
            if self.sent < self.contest.echoes {
                let _ = io.send_in_place(&frame(self.sent)[4..]);
                self.sent += 1;
            } else if self.echoed.get() == self.contest.echoes {
                io.finish();
            }
        }
    }

    fn on_messages(&mut self, io: &mut Io<'_, Frames>) -> usize {
        let handled = io.handle(128, 4096, |view, replies| {
            self.check(view);
            if self.sent < self.contest.echoes {
                let _ = replies.send(&frame(self.sent)[4..]);
                self.sent += 1;
            }
        });
        if handled > 0 && self.echoed.get() == self.contest.echoes {
            io.finish();
        }
        handled
    }
}

pub fn run(contest: Contest, owned: bool) -> u32 {
    let mut world = World::new(1);
    let (a, b) = (world.host("client"), world.host("server"));
    world.set_link(Link::with_latency(contest.latency));
    // Without latency all of it happens at one instant.
    world.spin_limit(u64::MAX);
    let frames = || Framed::new(LengthPrefixed::u32_be(1024));
    let config = Config::new().delivery(if owned { Delivery::Owned } else { Delivery::InPlace });
    world.listen(b, 80, Listen::default(), config.clone(), move || (frames(), Server));
    let echoed = Rc::new(Cell::new(0));
    let client = Client { contest, sent: 0, echoed: echoed.clone() };
    world.connect(a, (b, 80), config, frames(), client).expect("a port is free");
    assert_eq!(world.run_until_quiet(Duration::MAX), Outcome::Quiet);
    echoed.get()
}
