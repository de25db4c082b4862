//! F3: a connection for every request. Who finishes first carries TIME_WAIT, and ports run out with a typed error.

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::framed::Framed;
use duologue_core::{CloseIntent, CloseOrder, Code, Config, Event, Instant, LimitsError, Protocol, Rng};

use super::cases::{Lines, lines};
use super::traffic::random_link;
use super::{PATIENCE, Run, gather};
use crate::{App, ConnectError, Coverage, Endpoint, HostId, Io, Link, Listen, Machine, Net, Report, World};

type Told = Event<Bytes, <Lines as Protocol>::Violation>;

const MINUTE: Duration = Duration::from_secs(60);

/// Answers each request; may finish after it, as a server that says "Connection: close".
struct Answers {
    finishes: bool,
}

impl App<Lines> for Answers {
    fn on_event(&mut self, io: &mut Io<'_, Lines>, event: Told) {
        if let Event::App(request) = event {
            let _ = io.send(request);
            if self.finishes {
                io.finish();
            }
        }
    }
}

/// Asks once, and closes with the answer in hand.
struct Asks {
    answered: bool,
}

impl App<Lines> for Asks {
    fn on_start(&mut self, io: &mut Io<'_, Lines>) {
        let _ = io.send(Bytes::from_static(b"request"));
    }

    fn on_event(&mut self, io: &mut Io<'_, Lines>, event: Told) {
        if let Event::App(_) = event {
            self.answered = true;
            io.close(CloseIntent::Flush(Code(0)));
        }
    }
}

/// A client that dials for every request, one after the other.
struct Naive {
    to: HostId,
    config: Config,
    left: u32,
    current: Option<Endpoint<Lines, Asks>>,
    answered: u32,
    /// What a dial was refused with, and after how many requests.
    refused: Vec<(u32, ConnectError)>,
    again_at: Option<Instant>,
    report: Report,
    coverage: Coverage,
}

impl Naive {
    fn dial(&mut self, net: &mut Net<'_>) -> Result<(), ConnectError> {
        let socket = net.dial(self.to, 80)?;
        let made = Endpoint::dialling(net, socket, lines(64), self.config.clone(), Asks { answered: false });
        self.current = Some(made.map_err(|error: LimitsError| ConnectError::Limits(error))?);
        self.left -= 1;
        Ok(())
    }
}

impl Machine for Naive {
    fn poll(&mut self, net: &mut Net<'_>) {
        loop {
            if let Some(current) = &mut self.current {
                current.poll(net);
                if !current.is_over() {
                    return;
                }
                self.answered += u32::from(current.app().answered);
                self.report = current.report();
                self.coverage.merge(&current.coverage());
                self.current = None;
            }
            if self.left == 0 {
                return;
            }
            if let Some(at) = self.again_at.filter(|at| *at > net.now()) {
                return net.alarm(at);
            }
            if let Err(error) = self.dial(net) {
                self.refused.push((self.answered, error));
                // The ports come back with the end of TIME_WAIT.
                let at = net.now().after(MINUTE);
                self.again_at = Some(at);
                return net.alarm(at);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.left == 0 && self.current.is_none()
    }

    fn report(&self) -> Report {
        self.report.clone()
    }

    fn coverage(&self) -> Coverage {
        self.coverage
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

pub(super) fn time_wait(world: &mut World) -> Run {
    let mut rng = Rng::new(world.seed());
    let client_first = world.draw("client first", 0..=1) == 1;
    let order =
        if client_first { CloseOrder::LocalFirst } else { CloseOrder::PeerFirst { within: Duration::from_secs(5) } };
    let (clients, ports) = (world.draw("clients", 1..=3) as u32, world.draw("ports", 2..=12) as u32);
    let requests = ports + world.draw("requests beyond the ports", 1..=2) as u32;
    let link = random_link(world, 0, &mut rng);
    // A port is held until the last FIN arrived: with more jitter than latency, two might be on their way at once.
    let link = Link { bandwidth: 0, capacity: 100, jitter: link.jitter.min(link.latency), ..link };
    world.set_link(link);
    let server = world.host("server");
    world.listen(server, 80, Listen::default(), Config::new(), move || {
        (Framed::clone(&lines(64)), Answers { finishes: !client_first })
    });
    let mut naive = Vec::new();
    for _ in 0..clients {
        let host = world.host("client");
        world.set_ports(host, 40_000..=40_000 + ports as u16 - 1);
        let config = Config::new().close_order(order);
        let made: Result<_, ConnectError> = world.add(host, |_| {
            Ok(Box::new(Naive {
                to: server,
                config,
                left: requests,
                current: None,
                answered: 0,
                refused: Vec::new(),
                again_at: None,
                report: Report::default(),
                coverage: Coverage::default(),
            }))
        });
        naive.extend(made.map(|id| (host, id)));
    }
    // Well within a minute all ports are used, and none of them is free again.
    let _ = world.run_for(Duration::from_secs(55));
    let held: u32 = naive.iter().map(|(host, _)| world.time_wait(*host)).sum();
    let held = [held, world.time_wait(server)];
    let outcome = world.run_until_quiet(PATIENCE);
    let mut run = gather(world, outcome, world.scenario().schedule.unwrap_or_default());
    let due = if client_first { [clients * ports, 0] } else { [0, clients * requests] };
    if held != due {
        run.fail(format!("TIME_WAIT is {held:?} where {due:?} was due"));
    }
    for (_, id) in &naive {
        let Some(client) = world.machine::<Naive>(*id) else { continue };
        let exhausted = ConnectError::PortsExhausted { ports: ports as usize, time_wait: ports };
        let due = if client_first { vec![(ports, exhausted)] } else { Vec::new() };
        if client.refused != due {
            run.fail(format!("{ports} ports, client first {client_first}: {:?}", client.refused));
        }
        if client.answered != requests {
            run.fail(format!("{} of {requests} requests were answered", client.answered));
        }
        if client_first {
            run.causes.insert("ports exhausted".into());
        }
    }
    let _ = world.run_for(MINUTE + Duration::from_secs(1));
    for (host, _) in naive {
        if (world.time_wait(host), world.time_wait(server), world.ports_used(host)) != (0, 0, 0) {
            run.fail("TIME_WAIT is not over after a minute".into());
        }
    }
    run
}
