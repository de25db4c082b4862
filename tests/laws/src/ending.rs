//! L8: from wherever a script stopped, obeying `interest` alone reaches release in bounded steps and bounded time.

use core::time::Duration;

use duologue_core::{CloseOrder, Delivery};

use crate::call::{Call, Op};
use crate::law::{Law, Verdict, law};
use crate::subject::{Drained, Role, Subject};
use crate::world::World;

/// What the rest of the world does when the script is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides go on, finish, and must hear everything of each other.
    Cooperative,
    /// The transport takes everything, and nothing more comes.
    Silent,
    /// The transport takes nothing and brings nothing.
    Dead,
    /// The peer sends for ever.
    Flooding,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cooperative, Self::Silent, Self::Dead, Self::Flooding];
}

/// Steps that an end may take.
const STEPS: usize = 3_000;
/// Waits that the whole of the time-outs is divided into while a peer floods.
const SLICES: u32 = 400;

impl<S: Subject> World<'_, S> {
    /// Runs both sides to their end.
    ///
    /// # Errors
    /// A law was broken, or a side does not end.
    pub fn end(&mut self, ending: Ending, lazy: bool) -> Result<(), crate::Broken> {
        match ending {
            Ending::Cooperative => self.end_together()?,
            _ => {
                for role in Role::BOTH {
                    self.end_alone(role, ending, lazy)?;
                }
            }
        }
        Role::BOTH.into_iter().try_for_each(|role| self.take_closed(role))?;
        Role::BOTH.into_iter().try_for_each(|role| self.drained_in_order(role))
    }

    /// L17: a drained side took up nothing new, and said what it had to before it ended by itself.
    fn drained_in_order(&self, role: Role) -> Verdict {
        let side = &self.sides[role.index()];
        let Some(at) = side.drained else { return Ok(()) };
        let begun = side.delivered.iter().skip(at.delivered).filter(|event| self.subject.begins(event)).count();
        // One waited to be taken, and one was being received.
        law(Law::L17Drains, begun <= 2, || format!("{begun} messages were taken up after the drain"))?;
        let by_itself = self.subject.own_close().map(|code| format!("LocalClose({code:?})"));
        if by_itself.is_none() || side.first_cause != by_itself || side.close_called || !side.fin_done {
            return Ok(());
        }
        let sent = &side.encoded.reference.events;
        let (delivered, transmitted) = (&side.delivered[..], &side.transmitted[..]);
        let drained = Drained { delivered, sent, sent_before: at.sent, transmitted };
        let told = self.subject.drained(role, &drained);
        law(Law::L17Drains, told.is_ok(), || told.err().unwrap_or_default())
    }

    fn end_together(&mut self) -> Verdict {
        for role in Role::BOTH {
            self.at(role, &Op::Connected)?;
            self.at(role, &Op::Thaw)?;
            // Who listens to nothing hears of no credit either, and must not wait for it.
            let deaf = self.sides[role.index()].read_shut;
            self.at(role, if deaf { &Op::Close { flush: true, code: 95 } } else { &Op::Finish })?;
        }
        for _ in 0..STEPS {
            if self.sides.iter().all(|side| side.released) {
                return self.everything_arrived();
            }
            let moved = [self.obey(Role::Client, true, true)?, self.obey(Role::Server, true, true)?];
            if moved == [false, false] {
                self.pass_time(&Role::BOTH)?;
            }
        }
        law(Law::L8Ends, false, || format!("two sides that cooperate do not end: {}", self.describe()))
    }

    /// L10, L14: of an orderly exchange nothing is missing.
    fn everything_arrived(&self) -> Verdict {
        let orderly = |side: &crate::side::Side<S>| {
            let natural = side.first_cause.as_ref().is_some_and(|c| c == "LocalFinished" || c == "PeerFinished");
            natural && !side.read_shut && side.config.on_peer_finish != duologue_core::OnPeerFinish::Abort
        };
        if self.tampered || !self.sides.iter().all(orderly) {
            return Ok(());
        }
        for (from, to) in [(0, 1), (1, 0)] {
            let (sent, got) = (&self.sides[from].transmitted, &self.sides[to].received);
            law(Law::L14NothingVanishes, sent == got, || format!("{} bytes went out, {} came", sent.len(), got.len()))?;
            let unsent = self.sides[from].accepted_count - self.sides[from].encoded.reference.messages;
            law(Law::L14NothingVanishes, unsent == 0, || format!("an orderly end left {unsent} messages unsent"))?;
        }
        Ok(())
    }

    fn end_alone(&mut self, role: Role, ending: Ending, lazy: bool) -> Verdict {
        let i = role.index();
        let timeouts = self.sides[i].config.timeouts;
        let ends_itself = self.subject.ends_when_left_alone(self.variant)
            && timeouts.idle.is_some()
            && timeouts.connect.is_some()
            && timeouts.handshake.is_some();
        // Without a bound on flushing, only an abort is certain to end; the owner chose so.
        let closes = if timeouts.flush.is_none() {
            Some(Op::Abort { code: 90 })
        } else if timeouts.close_handshake.is_none() {
            Some(Op::Close { flush: true, code: 91 })
        } else if ending == Ending::Flooding || !ends_itself || lazy {
            Some(Op::Close { flush: false, code: 92 })
        } else {
            None
        };
        if let Some(op) = &closes {
            self.at(role, op)?;
        }
        let until = self.now.after(self.patience(i));
        let takes_events = !lazy || closes.is_none();
        for _ in 0..STEPS {
            if self.sides[i].released {
                return Ok(());
            }
            if ending == Ending::Flooding {
                let seed = self.steps;
                self.pipes[i].bytes.truncate(64);
                self.at(role, &Op::Flood { seed })?;
                self.apply(&Call::Wait { nanos: (self.patience(i) / SLICES).as_nanos() as u64 })?;
            }
            let moved = self.obey(role, ending != Ending::Dead, takes_events)?;
            if self.sides[i].session.interest().deadline.is_some_and(|d| d.at <= self.now) {
                self.at(role, &Op::Timeout)?;
            } else if !moved {
                self.pass_time(&[role])?;
            }
            let late = self.now > until && !self.sides[i].released;
            law(Law::L8Ends, !late, || {
                format!("{ending:?}: not released in {:?}: {}", self.patience(i), self.describe())
            })?;
        }
        law(Law::L8Ends, false, || format!("{ending:?}: not released in {STEPS} steps: {}", self.describe()))
    }

    /// All time-outs in a row, twice.
    fn patience(&self, i: usize) -> Duration {
        let t = &self.sides[i].config.timeouts;
        let keepalive = t.keepalive.map(|k| k.quiet + k.reply);
        let peer_first = match self.sides[i].config.close_order {
            CloseOrder::PeerFirst { within } => Some(within),
            CloseOrder::LocalFirst => None,
        };
        let all = [
            t.connect,
            t.handshake,
            t.idle,
            keepalive,
            t.write_stall,
            t.close_handshake,
            t.flush,
            t.linger,
            peer_first,
        ];
        all.into_iter().flatten().sum::<Duration>() * 2 + Duration::from_secs(1)
    }

    /// Does what a side wants now, once each; tells whether anything moved.
    pub(crate) fn obey(&mut self, role: Role, network: bool, takes_events: bool) -> Result<bool, crate::Broken> {
        let i = role.index();
        let before = self.progress(i);
        let interest = self.sides[i].session.interest();
        if interest.event && takes_events {
            self.take_events(role)?;
        }
        if interest.release.is_some() {
            self.at(role, &Op::Release)?;
        }
        if network {
            // A peer that is alive but read by nobody takes what it is sent.
            if self.sides[1 - i].released {
                self.pipes[1 - i].bytes.clear();
            }
            self.at(role, &Op::Transmit { max: 1 << 16, slices: 8 })?;
            if self.sides[i].session.interest().shutdown_write {
                self.at(role, &Op::ShutdownDone)?;
            }
            self.at(role, &Op::Read { max: 1 << 16 })?;
        }
        Ok(before != self.progress(i))
    }

    fn take_events(&mut self, role: Role) -> Verdict {
        if self.sides[role.index()].config.delivery == Delivery::InPlace {
            self.at(role, &Op::Handle { budget: 64, room: 0, reply: None })?;
        }
        self.at(role, &Op::Poll { max: 8 })
    }

    fn progress(&self, i: usize) -> (usize, usize, usize, bool, bool, bool) {
        let side = &self.sides[i];
        let taken = side.delivered.len() + side.timer_events;
        (side.received.len(), side.transmitted.len(), taken, side.fin_done, side.eof_given, side.released)
    }

    /// Nothing moves: the next deadline must come.
    pub(crate) fn pass_time(&mut self, roles: &[Role]) -> Verdict {
        let interest = |role: &Role| self.sides[role.index()].session.interest();
        let next = roles.iter().filter_map(|role| interest(role).deadline).map(|d| d.at).min();
        let Some(at) = next else {
            let busy = roles.iter().any(|role| {
                let i = interest(role);
                i.event || i.release.is_some()
            });
            return law(Law::L8Ends, busy, || format!("nothing moves and no deadline is armed: {}", self.describe()));
        };
        self.now = self.now.max(at);
        for role in roles {
            self.at(*role, &Op::Timeout)?;
        }
        Ok(())
    }

    /// The application comes back: everything is told, and `Closed` last.
    fn take_closed(&mut self, role: Role) -> Verdict {
        let i = role.index();
        for _ in 0..STEPS {
            if self.sides[i].closed.is_some() {
                break;
            }
            self.take_events(role)?;
        }
        let side = &self.sides[i];
        law(Law::L9OneEnd, side.closed.is_some(), || format!("released, and no Closed: {}", self.describe()))?;
        self.at(role, &Op::Poll { max: 3 })?;
        for op in [Op::Abort { code: 93 }, Op::Close { flush: true, code: 94 }, Op::Finish, Op::Timeout] {
            self.at(role, &op)?;
        }
        let interest = self.sides[i].session.interest();
        let quiet = !interest.event && interest.release.is_none();
        law(Law::L4QuietEnd, quiet, || format!("after Closed: {interest:?}"))
    }

    pub(crate) fn describe(&self) -> String {
        let sides = self.sides.iter().map(|side| format!("{}: {:?}", side.role.as_str(), side.view()));
        sides.collect::<Vec<_>>().join("; ")
    }
}
