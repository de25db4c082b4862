//! What a session over [`Toy`](super::toy::Toy) must do, said as plainly as possible.
//!
//! It follows `docs/architecture.md`, the tables in `docs/states.md` and the decision records. Nothing in it is fast:
//! every call settles everything anew, the buffers are lists of bytes, the send queue is a list of what is left of each
//! message. What the session does for speed (settling only when it may matter, a ledger of runs, segments, views) has
//! no counterpart here, and that is what the comparison is for.

mod settle;

use std::collections::VecDeque;
use std::time::Duration;

use duologue_core::{
    Cause, CloseIntent, Code, Config, Deadline, FaultKind, Instant, Interest, LimitExceeded, Misuse, OnPeerFinish,
    Operation, Phase, RecvState, Release, SendState, Side, TimeoutReason, TransportFault,
    halves::{RecvInput, SendInput},
};

use super::toy::{BAD, BYE, BYE_CODE, Broken, HELLO, OUR_BYE, OUR_END, OUR_HELLO, PAIR, PING, PONG, PROBE, Traits};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Opening {
    Connecting,
    Greeting,
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerFin {
    NotYet,
    Seen,
    Due,
    Taken,
}

/// What is left of something in the send queue.
#[derive(Debug)]
struct Queued {
    bytes: VecDeque<u8>,
    is_message: bool,
}

/// Why a message is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum No {
    Full { need: usize, room: usize },
    TooLarge { need: usize, limit: usize },
    NotOpen,
    Finished,
    Closed,
    Invalid,
}

/// An event; what `Closed` says is in [`Model::last_words`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Writable,
    Message(u8),
    PeerFinished,
    Closed,
}

/// The model.
#[derive(Debug)]
pub(super) struct Model {
    traits: Traits,
    config: Config,
    now: Instant,
    opening: Opening,
    pub(super) recv: RecvState,
    pub(super) send: SendState,

    unread: VecDeque<u8>,
    ahead: Option<u8>,
    peer_fin: PeerFin,
    paused: bool,

    queue: VecDeque<Queued>,
    wanted_room: Option<usize>,
    writable: bool,
    finish_wanted: bool,

    pub(super) cause: Option<Cause<Broken>>,
    goodbye_over: bool,
    release: Option<Release>,
    released: bool,
    closed_taken: bool,
    phase: Option<Phase>,
    first_fin: Option<Side>,

    opening_deadline: Option<Deadline>,
    stage: Option<Deadline>,
    heard: Instant,
    spoke: Instant,
    probed: Option<Instant>,
    can_probe: bool,
    stalled: Option<Instant>,
    linger_left: u64,
    undelivered: u64,

    pub(super) accepted: u64,
    pub(super) flushed: u64,
    pub(super) events: u64,
}

impl Model {
    pub(super) fn connecting(traits: Traits, config: Config, now: Instant) -> Self {
        let connect = config.timeouts.connect;
        Self {
            traits,
            now,
            opening: Opening::Connecting,
            recv: RecvState::Open,
            send: SendState::Open,
            unread: VecDeque::new(),
            ahead: None,
            peer_fin: PeerFin::NotYet,
            paused: false,
            queue: VecDeque::new(),
            wanted_room: None,
            writable: false,
            finish_wanted: false,
            cause: None,
            goodbye_over: false,
            release: None,
            released: false,
            closed_taken: false,
            phase: None,
            first_fin: None,
            opening_deadline: connect.map(|wait| Deadline { at: now.after(wait), reason: TimeoutReason::Connect }),
            stage: None,
            heard: now,
            spoke: now,
            probed: None,
            can_probe: config.timeouts.keepalive.is_some(),
            stalled: None,
            linger_left: config.limits.linger_bytes,
            undelivered: 0,
            accepted: 0,
            flushed: 0,
            events: 0,
            config,
        }
    }

    // What it wants and shows.

    pub(super) fn interest(&self) -> Interest {
        let event = self.ahead.is_some() || self.writable || self.peer_fin == PeerFin::Due || self.closed_due();
        let quiet = Interest { event, read: false, write: false, shutdown_write: false, release: None, deadline: None };
        if self.released || self.release.is_some() {
            return Interest { release: self.release.filter(|_| !self.released), ..quiet };
        }
        let connected = self.opening != Opening::Connecting;
        Interest {
            event,
            read: connected && self.recv.reads() && self.space() > 0,
            write: connected && self.send.writes() && self.queued() > 0,
            shutdown_write: self.send == SendState::ShuttingDown,
            release: None,
            deadline: self.deadline(),
        }
    }

    pub(super) fn is_established(&self) -> bool {
        self.opening == Opening::Open
    }

    pub(super) fn buffered(&self) -> (usize, usize) {
        (self.unread.len(), self.queued())
    }

    pub(super) fn room(&self) -> usize {
        if !self.send.writes() {
            return 0;
        }
        let (messages, answers) = (self.queued_of(true), self.queued_of(false));
        let borrowed = answers.saturating_sub(self.config.limits.control_reserve);
        self.config.limits.send_buffer.saturating_sub(messages + borrowed)
    }

    fn space(&self) -> usize {
        self.config.limits.recv_buffer - self.unread.len()
    }

    fn queued(&self) -> usize {
        self.queued_of(true) + self.queued_of(false)
    }

    fn queued_of(&self, messages: bool) -> usize {
        self.queue.iter().filter(|queued| queued.is_message == messages).map(|queued| queued.bytes.len()).sum()
    }

    fn peer_fin_seen(&self) -> bool {
        self.peer_fin != PeerFin::NotYet
    }

    fn closed_due(&self) -> bool {
        self.released && !self.closed_taken && self.recv.is_over() && self.peer_fin != PeerFin::Due
    }

    fn deadline(&self) -> Option<Deadline> {
        let t = &self.config.timeouts;
        let is_open = self.opening == Opening::Open;
        let stall = self.stalled.filter(|_| !self.send.is_over()).zip(t.write_stall);
        let stall = stall.map(|(since, wait)| Deadline { at: since.after(wait), reason: TimeoutReason::WriteStall });
        let probes = self.can_probe && is_open && self.send == SendState::Open && self.recv.reads() && !self.paused;
        let probe = t.keepalive.filter(|_| probes).map(|k| match self.probed {
            Some(at) => Deadline { at: at.after(k.reply), reason: TimeoutReason::KeepaliveReply },
            None => Deadline { at: self.heard.after(k.quiet), reason: TimeoutReason::KeepaliveSend },
        });
        let counts = self.cause.is_none() && !self.paused && self.opening != Opening::Connecting;
        let idle = t.idle.filter(|_| counts);
        let idle = idle.map(|w| Deadline { at: self.heard.max(self.spoke).after(w), reason: TimeoutReason::Idle });
        let all = [self.opening_deadline, self.stage, stall, probe, idle];
        // The earliest; of several at once the first of these.
        all.into_iter().flatten().min_by_key(|deadline| deadline.at)
    }

    // Facts.

    fn observe(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn connected(&mut self, now: Instant) {
        self.observe(now);
        if self.opening != Opening::Connecting || self.release.is_some() {
            return;
        }
        self.opening = Opening::Greeting;
        (self.heard, self.spoke) = (self.now, self.now);
        let wait = self.config.timeouts.handshake;
        self.opening_deadline =
            wait.map(|wait| Deadline { at: self.now.after(wait), reason: TimeoutReason::Handshake });
        if self.traits.greets {
            self.say(OUR_HELLO);
        } else {
            self.establish();
        }
        self.settle();
    }

    pub(super) fn received(&mut self, now: Instant, bytes: &[u8]) {
        self.observe(now);
        if bytes.is_empty() {
            return;
        }
        self.heard = self.now;
        self.probed = None;
        if self.recv == RecvState::Open {
            self.unread.extend(bytes);
        } else {
            self.undelivered += bytes.len() as u64;
            if self.cause.is_some() && self.send.is_over() {
                self.linger_left = self.linger_left.saturating_sub(bytes.len() as u64);
            }
        }
        self.settle();
    }

    pub(super) fn received_eof(&mut self, now: Instant) {
        self.observe(now);
        if self.peer_fin == PeerFin::NotYet {
            self.peer_fin = PeerFin::Seen;
            self.first_fin.get_or_insert(Side::Peer);
            self.recv_on(RecvInput::Eof);
        }
        self.settle();
    }

    /// What the transport took.
    pub(super) fn transmitted(&mut self, now: Instant, n: usize) -> Vec<u8> {
        self.observe(now);
        let offered = self.queued();
        let mut taken = Vec::new();
        if n > offered {
            self.end_at_once(Cause::Misuse(Misuse::TransmittedTooMuch { reported: n, offered }));
        } else if n > 0 {
            while taken.len() < n {
                let Some(front) = self.queue.front_mut() else { break };
                taken.extend(front.bytes.pop_front());
                if front.bytes.is_empty() {
                    self.flushed += u64::from(front.is_message);
                    self.queue.pop_front();
                }
            }
            self.spoke = self.now;
            self.stalled = if self.queue.is_empty() { None } else { Some(self.moved_on(taken.len())) };
            self.wake_writer();
        }
        self.settle();
        taken
    }

    /// Since when what is left waits: the bytes taken earn their time at the least rate, or all of it without one.
    fn moved_on(&self, bytes: usize) -> Instant {
        let (rate, bytes) = (u64::from(self.config.timeouts.write_rate), bytes as u64);
        match self.stalled {
            Some(since) if rate > 0 => since.after(Duration::from_nanos(bytes * 1_000_000_000 / rate)).min(self.now),
            _ => self.now,
        }
    }

    pub(super) fn shutdown_done(&mut self, now: Instant) {
        self.observe(now);
        if self.send == SendState::ShuttingDown {
            self.first_fin.get_or_insert(Side::Local);
            self.stalled = None;
            self.send_on(SendInput::ShutdownDone);
        }
        self.settle();
    }

    pub(super) fn transport_failed(&mut self, now: Instant, fault: TransportFault) {
        self.observe(now);
        if self.released {
            return;
        }
        let cause = match fault.kind {
            FaultKind::Reset | FaultKind::BrokenPipe => Cause::PeerReset,
            _ => Cause::Transport(fault),
        };
        let writing = matches!(fault.operation, Operation::Write | Operation::ShutdownWrite);
        if fault.kind == FaultKind::Truncated {
            if self.peer_fin == PeerFin::NotYet {
                self.peer_fin = PeerFin::Seen;
            }
            self.first_fin.get_or_insert(Side::Peer);
            self.recv_on(RecvInput::Fail);
            self.end(Cause::Truncated { missing: None });
        } else if writing && self.opening != Opening::Connecting {
            // What the peer said before can still be read.
            self.cause.get_or_insert(cause);
            self.stop_sending();
        } else {
            self.recv_on(RecvInput::Fail);
            self.end_at_once(cause);
        }
        self.settle();
    }

    pub(super) fn released(&mut self) {
        if self.released {
            return;
        }
        if self.release.is_none() {
            self.end_at_once(Cause::Misuse(Misuse::ReleasedUnasked));
        }
        self.released = true;
        self.stop_sending();
        self.recv_on(RecvInput::Fail);
        self.settle();
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.observe(now);
        // One wait may begin where another ends, and be over at once.
        while self.release.is_none() && self.deadline().is_some_and(|deadline| deadline.at <= self.now) {
            self.pass_deadlines();
        }
    }

    fn is_due(&self, deadline: Option<Deadline>) -> Option<TimeoutReason> {
        deadline.filter(|deadline| deadline.at <= self.now).map(|deadline| deadline.reason)
    }

    fn pass_deadlines(&mut self) {
        if let Some(reason) = self.is_due(self.opening_deadline) {
            self.opening_deadline = None;
            if reason == TimeoutReason::Connect {
                self.end_at_once(Cause::Timeout(reason));
            } else {
                self.end(Cause::Timeout(reason));
            }
        }
        if let Some(reason) = self.is_due(self.stage) {
            self.stage = None;
            match reason {
                TimeoutReason::CloseHandshake => self.goodbye_over = true,
                TimeoutReason::PeerFirst => self.shut_down(SendInput::PeerFirstDone),
                TimeoutReason::Linger => self.ask_release(Release::Graceful),
                _ => {
                    self.ask_release(Release::Abort);
                    self.stop_sending();
                    self.throw_away();
                    self.recv_on(RecvInput::Stop);
                }
            }
            self.settle();
        }
        // The others are looked at one by one: each may have been due together with an earlier one.
        if self.due_of(TimeoutReason::WriteStall) {
            self.end_at_once(Cause::Timeout(TimeoutReason::WriteStall));
        }
        if self.due_of(TimeoutReason::KeepaliveReply) {
            self.end_at_once(Cause::Timeout(TimeoutReason::KeepaliveReply));
        } else if self.due_of(TimeoutReason::KeepaliveSend) {
            if self.traits.probes {
                self.say(PROBE);
                self.probed = Some(self.now);
            } else {
                self.can_probe = false;
            }
        }
        if self.due_of(TimeoutReason::Idle) {
            self.end(Cause::Timeout(TimeoutReason::Idle));
        }
        self.settle();
    }

    /// Whether this one of the running clocks is due, whatever else is.
    fn due_of(&self, reason: TimeoutReason) -> bool {
        let t = &self.config.timeouts;
        let over = |since: Instant, wait: Option<Duration>| wait.is_some_and(|wait| since.after(wait) <= self.now);
        let probes = self.can_probe
            && self.opening == Opening::Open
            && self.send == SendState::Open
            && self.recv.reads()
            && !self.paused;
        match reason {
            TimeoutReason::WriteStall => {
                !self.send.is_over() && self.stalled.is_some_and(|since| over(since, t.write_stall))
            }
            TimeoutReason::KeepaliveReply => {
                probes && self.probed.is_some_and(|at| over(at, t.keepalive.map(|k| k.reply)))
            }
            TimeoutReason::KeepaliveSend => {
                probes && self.probed.is_none() && over(self.heard, t.keepalive.map(|k| k.quiet))
            }
            _ => {
                let counts = self.cause.is_none() && !self.paused && self.opening != Opening::Connecting;
                counts && over(self.heard.max(self.spoke), t.idle)
            }
        }
    }

    // Intents.

    pub(super) fn send(&mut self, now: Instant, message: &[u8]) -> Result<(), No> {
        self.observe(now);
        if self.cause.is_some() {
            return Err(No::Closed);
        }
        if self.finish_wanted || self.send != SendState::Open {
            return Err(No::Finished);
        }
        if self.opening != Opening::Open {
            self.wanted_room.get_or_insert(0);
            return Err(No::NotOpen);
        }
        let (need, room, limit) = (message.len(), self.room(), self.config.limits.send_buffer);
        if need == 0 {
            return Err(No::Invalid);
        }
        if need > limit {
            return Err(No::TooLarge { need, limit });
        }
        if need > room {
            self.wanted_room = Some(self.wanted_room.map_or(need, |earlier| earlier.min(need)));
            return Err(No::Full { need, room });
        }
        self.accepted += 1;
        self.queue.push_back(Queued { bytes: message.iter().copied().collect(), is_message: true });
        self.stalled.get_or_insert(self.now);
        self.settle();
        Ok(())
    }

    pub(super) fn finish(&mut self, now: Instant) {
        self.observe(now);
        self.finish_wanted = true;
        self.settle();
    }

    pub(super) fn shutdown_read(&mut self, now: Instant) {
        self.observe(now);
        self.throw_away();
        self.recv_on(RecvInput::Discard);
        self.settle();
    }

    pub(super) fn close(&mut self, now: Instant, intent: CloseIntent) {
        self.observe(now);
        self.end(Cause::LocalClose(intent.code()));
        if let CloseIntent::Flush(_) = intent {
            self.goodbye_over = true;
        }
        self.settle();
    }

    pub(super) fn abort(&mut self, now: Instant, code: Code) {
        self.observe(now);
        self.throw_away();
        self.recv_on(RecvInput::Stop);
        self.end_at_once(Cause::LocalAbort(code));
        self.settle();
    }

    pub(super) fn poll_event(&mut self, now: Instant) -> Option<Told> {
        self.observe(now);
        if std::mem::take(&mut self.writable) {
            return Some(Told::Writable);
        }
        if let Some(message) = self.ahead.take() {
            self.events += 1;
            self.settle();
            return Some(Told::Message(message));
        }
        if self.peer_fin == PeerFin::Due {
            self.peer_fin = PeerFin::Taken;
            self.finish_wanted |= self.config.on_peer_finish == OnPeerFinish::FlushThenFinish;
            self.settle();
            return Some(Told::PeerFinished);
        }
        if self.closed_due() {
            self.closed_taken = true;
            return Some(Told::Closed);
        }
        None
    }

    /// What `Closed` says, once it is due.
    #[allow(clippy::type_complexity)]
    pub(super) fn last_words(&self) -> (Option<Cause<Broken>>, Option<Phase>, u64, u64, bool, Option<Side>) {
        let unsent = self.accepted - self.flushed;
        (self.cause.clone(), self.phase, unsent, self.undelivered, self.peer_fin_seen(), self.first_fin)
    }
}
