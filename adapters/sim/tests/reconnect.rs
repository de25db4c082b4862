//! One machine owns several sessions with one clock, and replaces its connection while the old one is still ending.

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use duologue_sim::core::framed::{Delimited, Framed};
use duologue_sim::core::{CloseIntent, Code, Config, Event, Instant, Protocol, Stats};
use duologue_sim::{
    App, ConnectError, End, Endpoint, Happening, HostId, Io, Link, Listen, Machine, MachineId, Net, Outcome, Report,
    World,
};

type Lines = Framed<Delimited>;

/// Keeps what it gets.
#[derive(Default)]
struct Ears {
    got: Vec<Bytes>,
}

impl App<Lines> for Ears {
    fn on_event(&mut self, _: &mut Io<'_, Lines>, event: Event<Bytes, <Lines as Protocol>::Violation>) {
        if let Event::App(line) = event {
            self.got.push(line);
        }
    }
}

/// Answers each line with many, and goes on talking whatever the client does.
struct Talkative;

impl App<Lines> for Talkative {
    fn on_event(&mut self, io: &mut Io<'_, Lines>, event: Event<Bytes, <Lines as Protocol>::Violation>) {
        if let Event::App(line) = event {
            for _ in 0..3 {
                let _ = io.send(line.clone());
            }
        }
    }
}

fn lines() -> Lines {
    Framed::new(Delimited::lines(100))
}

/// Opens a connection, replaces it after a second, and closes the second after three.
struct Reconnecting {
    to: HostId,
    start: Instant,
    generations: Vec<Endpoint<Lines, Ears>>,
    closed: usize,
    /// How the session of the second stood before and after the first was polled, where that differed.
    touched: Vec<(Stats, Stats)>,
    late: u32,
}

impl Reconnecting {
    fn open(&mut self, net: &mut Net<'_>) {
        let socket = net.dial(self.to, 80).expect("a port is free");
        let made = Endpoint::dialling(net, socket, lines(), Config::new(), Ears::default());
        self.generations.push(made.expect("the limits work"));
    }

    fn say(&mut self, net: &Net<'_>, generation: usize) {
        let line = Bytes::from(format!("generation {}", generation + 1));
        let _ = self.generations[generation].with(net, |_, io| io.send(line));
    }
}

impl Machine for Reconnecting {
    fn poll(&mut self, net: &mut Net<'_>) {
        let after = |seconds| self.start.after(Duration::from_secs(seconds));
        let (speak, replace, end) = (self.start.after(Duration::from_millis(960)), after(1), after(3));
        if self.generations.is_empty() {
            self.open(net);
            net.alarm(speak);
        }
        if net.now() >= speak && self.generations.len() == 1 {
            if net.now() < replace {
                self.say(net, 0);
                net.alarm(replace);
            } else {
                // The answers of the first are on their way; it is left to end beside the second.
                self.generations[0].with(net, |_, io| io.close(CloseIntent::Flush(Code(1))));
                self.closed = 1;
                self.open(net);
                net.alarm(end);
            }
        }
        if let [old, new] = &mut self.generations[..] {
            let (before, old_before) = (new.session().stats(), old.session().stats());
            let interest = new.session().interest();
            old.poll(net);
            if new.session().stats() != before || new.session().interest() != interest {
                self.touched.push((before, new.session().stats()));
            }
            self.late += u32::from(new.session().is_established() && old.session().stats() != old_before);
            new.poll(net);
            if new.session().is_established() && new.session().stats().accepted == 0 {
                self.say(net, 1);
                self.generations[1].poll(net);
            }
        } else {
            self.generations.iter_mut().for_each(|generation| generation.poll(net));
        }
        if net.now() >= end && self.closed == 1 {
            self.closed = 2;
            self.generations[1].with(net, |_, io| io.close(CloseIntent::Flush(Code(2))));
            self.generations[1].poll(net);
        }
    }

    fn is_over(&self) -> bool {
        self.closed == 2 && self.generations.iter().all(Machine::is_over)
    }

    fn report(&self) -> Report {
        self.generations.last().map(Machine::report).unwrap_or_default()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

#[test]
fn late_facts_of_an_old_connection_do_not_touch_the_new_one() {
    let mut world = World::new(8).record(1_000);
    let (a, b) = (world.host("client"), world.host("server"));
    world.set_link(Link::with_latency(Duration::from_millis(50)));
    world.listen(b, 80, Listen::default(), Config::new(), || (lines(), Talkative));
    // The way back of the first is slow: its answers and its end come when the second is in use.
    world.inject(duologue_sim::Fault::Stall { connection: 0, way: duologue_sim::Way::ToClient, nanos: 1_500_000_000 });
    let id: Result<MachineId, ConnectError> = world.add(a, |net| {
        let start = net.now();
        Ok(Box::new(Reconnecting { to: b, start, generations: Vec::new(), closed: 0, touched: Vec::new(), late: 0 }))
    });
    let id = id.unwrap();
    assert_eq!(world.run_until_quiet(Duration::from_secs(60)), Outcome::Quiet);

    let at = |what, connection| {
        let end = End { connection, side: 0 };
        world.trace().iter().find(|entry| entry.what == what && entry.end == end).map(|entry| entry.at)
    };
    assert!(at(Happening::FinArrived, 0) > at(Happening::Connected, 1), "the first ends beside the second");
    let client = world.machine::<Reconnecting>(id).unwrap();
    assert!(client.late >= 1, "something late did come");
    assert_eq!(client.touched, []);
    let [first, second] = &client.generations[..] else { panic!("two generations") };
    assert_eq!(second.app().got, ["generation 2"; 3]);
    assert!(first.app().got.iter().all(|line| line == "generation 1"));
    assert_eq!(
        [first, second].map(|g| g.closed().unwrap().cause.to_string()),
        ["closed by us with code 1", "closed by us with code 2"]
    );
    assert_eq!([first, second].map(|g| g.report().times_closed), [1, 1]);
}
