//! A machine of one's own: several sockets, one clock, on the public API alone.

use std::any::Any;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use duologue_sim::core::framed::{Delimited, Framed};
use duologue_sim::core::{Config, Event, Instant, Protocol, Release};
use duologue_sim::{App, ConnectError, HostId, Io, Listen, Machine, MachineId, Net, Outcome, Read, SocketId, World};

type Lines = Framed<Delimited>;

struct Echo;

impl App<Lines> for Echo {
    fn on_event(&mut self, io: &mut Io<'_, Lines>, event: Event<bytes::Bytes, <Lines as Protocol>::Violation>) {
        if let Event::App(line) = event {
            let _ = io.send(line);
        }
    }
}

/// Dials one connection after the other, a second apart, while the earlier ones stay open.
struct Pool {
    to: HostId,
    sockets: Vec<(SocketId, bool)>,
    next: Instant,
    answers: Vec<String>,
    over: bool,
}

impl Machine for Pool {
    fn poll(&mut self, net: &mut Net<'_>) {
        if self.over {
            return;
        }
        if self.sockets.len() < 3 {
            if net.now() >= self.next {
                self.sockets.push((net.dial(self.to, 80).expect("a port is free"), false));
                self.next = net.now().after(Duration::from_secs(1));
            }
            net.alarm(self.next);
        }
        for (i, (socket, asked)) in self.sockets.iter_mut().enumerate() {
            if !*asked && net.is_connected(*socket) == Ok(true) {
                let line = format!("line {i}\n");
                *asked = net.write(*socket, &[line.as_bytes()]) == Ok(line.len());
            }
            let mut buffer = BytesMut::new();
            if let Ok(Read::Bytes(_)) = net.read(*socket, &mut (&mut buffer).limit(100)) {
                self.answers.push(String::from_utf8_lossy(&buffer).trim().to_string());
            }
        }
        if self.answers.len() == 3 {
            self.over = true;
            self.sockets.iter().for_each(|(socket, _)| net.release(*socket, Release::Graceful));
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

#[test]
fn a_machine_may_own_several_sockets_with_one_clock() {
    let mut world = World::new(3);
    let (a, b) = (world.host("a"), world.host("b"));
    world.listen(b, 80, Listen::default(), Config::new(), || (Framed::new(Delimited::lines(80)), Echo));
    let pool: Result<MachineId, ConnectError> = world.add(a, |net| {
        let next = net.now();
        Ok(Box::new(Pool { to: b, sockets: Vec::new(), next, answers: Vec::new(), over: false }))
    });
    let pool = pool.unwrap();
    assert_eq!(world.run_until_quiet(Duration::from_secs(60)), Outcome::Quiet);
    assert_eq!(world.machine::<Pool>(pool).unwrap().answers, ["line 0", "line 1", "line 2"]);
    assert_eq!(world.now(), Duration::from_millis(2006), "three dials a second apart, and two round trips");
    assert_eq!((world.time_wait(a), world.time_wait(b)), (3, 0));
}
