//! Makes HTTP requests through a pool, and holds to the retry rule.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use duologue_core::pool::{ConnId, Delivery, LeaseId, Loss, Order, Pool, Refusal};
use duologue_core::{
    Cause, CloseIntent, Code, Config, Event, Instant, Limits, RecvState, SendError, SendState, Timeouts,
};
use duologue_http1::http::StatusCode;
use duologue_http1::{Client, ClientCommand, ClientEvent, ClientSettings, Incoming, Violation, Waits};
use duologue_sim::{HostId, Machine, Net};

use super::{Plan, content};
use crate::simlink::{Link, earlier};

/// How often a request is sent in all.
const ATTEMPTS: u32 = 3;

/// What became of a request. Each has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// With the right content.
    Answered,
    /// The answer began, and its connection died inside the content.
    Cut,
    /// The server had not all of it in time, and said so (408).
    TooSlow,
    /// Its connection died, and the server may have it.
    PossiblySent,
    /// Every connection died before a byte of it was sent.
    NotSent,
    Refused(Refusal<u32>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Sent again because no byte of it had been sent.
    pub(crate) retried_unsent: u64,
    /// Sent again because the caller had called it idempotent.
    pub(crate) retried_idempotent: u64,
    /// Answers that were whole before their request was.
    pub(crate) early: u64,
    /// Connections that ended by themselves while nobody used them.
    pub(crate) ended_unused: u64,
}

struct Asking {
    plan: Plan,
    attempts: u32,
}

struct UnderWay {
    lease: LeaseId,
    asking: Asking,
    /// The head's place among all that the session was given.
    number: u64,
    /// What was not accepted yet.
    rest: VecDeque<ClientCommand>,
    /// Its caller has nothing to send before.
    not_before: Instant,
    status: Option<StatusCode>,
    content: Vec<u8>,
    /// The answer is whole; only the rest of an upload may hold the connection.
    answered: bool,
}

pub(crate) struct Caller {
    pub(crate) pool: Pool<u32>,
    /// By target.
    pub(crate) hosts: Vec<HostId>,
    /// Requests whose time has not come, the last first.
    pub(crate) planned: Vec<(Instant, Plan)>,
    links: BTreeMap<ConnId, Link<Client>>,
    waiting: BTreeMap<LeaseId, Asking>,
    under_way: BTreeMap<ConnId, UnderWay>,
    pub(crate) told: BTreeMap<u64, Fate>,
    /// By request: how often a server may have got it, by this side's word.
    pub(crate) deliveries: BTreeMap<u64, u32>,
    pub(crate) counts: Counts,
    requests: usize,
    over: bool,
}

fn client_config() -> Config {
    let timeouts = Timeouts::new().connect(Some(Duration::from_secs(3))).idle(Some(Duration::from_secs(8)));
    let timeouts = timeouts.write_stall(Some(Duration::from_secs(4))).keepalive(None);
    // So small that a piece of content has to wait for room now and then.
    Config::new().timeouts(timeouts).limits(Limits::new().send_buffer(400))
}

fn client() -> Client {
    let waits = Waits::default().response(Some(Duration::from_millis(1500))).body(Some(Duration::from_secs(2)));
    Client::new(ClientSettings::new().waits(waits))
}

impl Caller {
    pub(crate) fn new(pool: Pool<u32>, hosts: Vec<HostId>, planned: Vec<(Instant, Plan)>) -> Self {
        Self {
            pool,
            hosts,
            requests: planned.len(),
            planned,
            links: BTreeMap::new(),
            waiting: BTreeMap::new(),
            under_way: BTreeMap::new(),
            told: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            counts: Counts::default(),
            over: false,
        }
    }

    fn tell(&mut self, plan: &Plan, fate: Fate) {
        let told = self.told.insert(plan.id, fate);
        assert!(told.is_none(), "request {} has two fates: {told:?}", plan.id);
    }

    fn ask(&mut self, now: Instant, asking: Asking) {
        match self.pool.acquire(now, asking.plan.target, now.after(Duration::from_secs(20))) {
            Ok(lease) => assert!(self.waiting.insert(lease, asking).is_none()),
            Err(why) => self.tell(&asking.plan, Fate::Refused(why)),
        }
    }

    fn begin(&mut self, now: Instant, conn: ConnId, lease: LeaseId) {
        let asking = self.waiting.remove(&lease).expect("it waits");
        let link = self.links.get_mut(&conn).expect("it is there");
        assert!(!link.session.interest().event && link.closed.is_none(), "given out dead");
        assert!(link.session.protocol().is_idle(), "given out busy");
        let number = link.session.stats().accepted + 1;
        let (rest, not_before) = (asking.plan.commands(), now.after(asking.plan.dawdles.0));
        let (status, content) = (None, Vec::new());
        let under_way = UnderWay { lease, asking, number, rest, not_before, status, content, answered: false };
        assert!(self.under_way.insert(conn, under_way).is_none(), "one request at a time");
    }

    /// Sends what can be sent. True if something was, or if the connection is free now.
    fn send(&mut self, now: Instant, conn: ConnId) -> bool {
        let (Some(under_way), Some(link)) = (self.under_way.get_mut(&conn), self.links.get_mut(&conn)) else {
            return false;
        };
        let mut any = false;
        while under_way.not_before <= now {
            let Some(command) = under_way.rest.pop_front() else { break };
            let is_head = matches!(command, ClientCommand::Request(_));
            match link.session.send(now, command) {
                Ok(()) => {
                    any = true;
                    if is_head {
                        under_way.not_before = now.after(under_way.asking.plan.dawdles.1);
                    }
                }
                Err(full) if full.is_temporary() => {
                    under_way.rest.push_front(full.into_command());
                    return any;
                }
                // It ended since it was last looked at: the end will be told.
                Err(SendError::Finished { .. } | SendError::Closed { .. }) => under_way.rest.clear(),
                Err(wrong) => panic!("{wrong}"),
            }
        }
        // Half of the callers do not finish an upload that was answered; nobody can use its connection then.
        if under_way.answered && (under_way.rest.is_empty() || under_way.asking.plan.id % 2 == 0) {
            self.give_back(now, conn);
            return true;
        }
        any
    }

    fn give_back(&mut self, now: Instant, conn: ConnId) {
        let under_way = self.under_way.remove(&conn).expect("a request is under way");
        let open = |link: &Link<Client>| link.session.states() == (RecvState::Open, SendState::Open);
        let reusable = |link: &Link<Client>| open(link) && link.session.protocol().is_idle();
        let reusable = self.links.get(&conn).is_some_and(reusable);
        assert!(self.pool.release(now, under_way.lease, reusable));
    }

    fn on_event(&mut self, now: Instant, conn: ConnId, event: Event<ClientEvent, Violation>) {
        match event {
            Event::App(event) => self.on_answer(now, conn, event),
            Event::PeerFinished => self.pool.lost(now, conn, Loss::PeerFinished),
            Event::Writable => drop(self.send(now, conn)),
            Event::Closed(closed) => {
                assert!(!matches!(closed.cause, Cause::Violation(_)), "the server broke HTTP: {}", closed.cause);
                let link = self.links.remove(&conn).expect("it is known");
                match self.under_way.remove(&conn) {
                    Some(under_way) => self.lose(now, under_way, &link),
                    None => self.counts.ended_unused += 1,
                }
                self.pool.closed(now, conn, closed.finished_first);
            }
        }
    }

    fn on_answer(&mut self, now: Instant, conn: ConnId, event: ClientEvent) {
        let under_way = self.under_way.get_mut(&conn).expect("a request is under way");
        let Plan { id, target, .. } = under_way.asking.plan;
        let expected = content(b'a', target, id);
        let is_whole = match event {
            ClientEvent::Response(head) => {
                assert_eq!(under_way.status.replace(head.status), None, "request {id} has two answers");
                head.body == Incoming::Empty
            }
            ClientEvent::Data(data) => {
                under_way.content.extend_from_slice(&data);
                assert!(expected.starts_with(&under_way.content), "request {id} has another's answer");
                false
            }
            ClientEvent::End(_) => true,
            ClientEvent::Interim(_) | ClientEvent::ContinueOverdue => panic!("nobody expects that: {event:?}"),
        };
        if is_whole {
            let fate = match under_way.status {
                Some(StatusCode::OK) => Fate::Answered,
                Some(StatusCode::REQUEST_TIMEOUT) => Fate::TooSlow,
                other => panic!("request {id} has the status {other:?}"),
            };
            assert!(fate == Fate::TooSlow || under_way.content == expected, "request {id}: {:?}", under_way.content);
            under_way.answered = true;
            let plan = under_way.asking.plan;
            self.counts.early += u64::from(!under_way.rest.is_empty());
            *self.deliveries.entry(id).or_default() += 1;
            self.tell(&plan, fate);
            self.send(now, conn);
        }
    }

    /// A request's connection is gone.
    fn lose(&mut self, now: Instant, under_way: UnderWay, link: &Link<Client>) {
        let UnderWay { lease, mut asking, number, status, answered, .. } = under_way;
        self.pool.release(now, lease, false);
        if answered {
            return;
        }
        let delivery = Delivery::of(number, &link.session.stats());
        *self.deliveries.entry(asking.plan.id).or_default() += u32::from(delivery == Delivery::PossiblySent);
        if status.is_some() {
            return self.tell(&asking.plan, Fate::Cut);
        }
        // The one decision that must be right.
        let again = delivery.may_retry(asking.plan.idempotent) && asking.attempts < ATTEMPTS;
        match delivery {
            _ if again => {
                self.counts.retried_unsent += u64::from(delivery == Delivery::NotSent);
                self.counts.retried_idempotent += u64::from(delivery == Delivery::PossiblySent);
                asking.attempts += 1;
                self.ask(now, asking);
            }
            Delivery::NotSent => self.tell(&asking.plan, Fate::NotSent),
            Delivery::PossiblySent => self.tell(&asking.plan, Fate::PossiblySent),
        }
    }

    fn drive_links(&mut self, net: &mut Net<'_>) -> bool {
        let conns: Vec<ConnId> = self.links.keys().copied().collect();
        let mut any = false;
        for conn in conns {
            any |= self.send(net.now(), conn);
            let Some(link) = self.links.get_mut(&conn) else { continue };
            let was_connected = link.connected;
            let events = link.drive(net);
            any |= !events.is_empty();
            if link.connected && !was_connected {
                any = true;
                self.pool.connected(net.now(), conn);
            }
            events.into_iter().for_each(|event| self.on_event(net.now(), conn, event));
        }
        any
    }

    fn obey(&mut self, net: &mut Net<'_>) -> bool {
        let now = net.now();
        let mut any = false;
        while let Some(order) = self.pool.poll_order(now) {
            any = true;
            match order {
                Order::Dial { conn, target, .. } => {
                    match Link::dial(net, self.hosts[target as usize], client(), client_config()) {
                        Ok(link) => drop(self.links.insert(conn, link)),
                        Err(_) => self.pool.dial_failed(now, conn),
                    }
                }
                Order::Grant { lease, conn, .. } => self.begin(now, conn, lease),
                Order::Refuse { lease, why } => {
                    let asking = self.waiting.remove(&lease).expect("it waits");
                    self.tell(&asking.plan, Fate::Refused(why));
                }
                Order::Close { conn, .. } => match self.links.get_mut(&conn) {
                    Some(link) => link.session.close(now, CloseIntent::Goodbye(Code(0))),
                    None => self.pool.closed(now, conn, None),
                },
                Order::Probe { conn, .. } => self.pool.probed(now, conn, true),
            }
        }
        any
    }
}

impl Machine for Caller {
    fn poll(&mut self, net: &mut Net<'_>) {
        for round in 0.. {
            assert!(round < 10_000, "it spins");
            let now = net.now();
            while self.planned.last().is_some_and(|(at, _)| *at <= now) {
                if let Some((_, plan)) = self.planned.pop() {
                    self.ask(now, Asking { plan, attempts: 1 });
                }
            }
            let moved = self.drive_links(net);
            let obeyed = self.obey(net);
            if !moved && !obeyed {
                break;
            }
        }
        if self.told.len() == self.requests {
            self.pool.drain(net.now());
            self.obey(net);
            self.drive_links(net);
            self.over = self.links.is_empty();
        }
        let now = net.now();
        let dawdling = self.under_way.values().map(|under_way| under_way.not_before).filter(|at| *at > now).min();
        let planned = earlier(dawdling, self.planned.last().map(|(at, _)| *at));
        if let Some(at) = earlier(planned, self.pool.deadline().map(|deadline| deadline.at)) {
            net.alarm(at);
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
