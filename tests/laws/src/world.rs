//! Two sessions, the link between them and the clock, moved by single calls.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use duologue_core::{
    CloseIntent, Code, Config, FaultKind, Instant, Operation, RecvState, Release, Rng, SendError, Session,
    TransportFault,
};

use crate::call::{Call, Op};
use crate::coverage::Coverage;
use crate::law::{Broken, Law, Verdict};
use crate::laws;
use crate::oracle;
use crate::run::Script;
use crate::side::{DrainedAt, Side, View};
use crate::subject::{Handling, Role, Subject};

/// The most bytes one call moves, and the most slices it looks at.
const SLICES: usize = 8;

/// One direction of the link: towards the side with the same index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) bytes: VecDeque<u8>,
    pub(crate) capacity: usize,
    pub(crate) frozen: bool,
    /// After the bytes comes a FIN, or a reset.
    pub(crate) fin: bool,
    pub(crate) reset: bool,
    /// What is written from now on vanishes.
    pub(crate) cut: bool,
}

impl Pipe {
    fn space(&self) -> usize {
        if self.frozen {
            0
        } else if self.cut {
            usize::MAX
        } else {
            self.capacity.saturating_sub(self.bytes.len())
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if !self.cut {
            self.bytes.extend(bytes);
        }
    }

    fn end(&mut self, reset: bool) {
        if !self.cut {
            self.fin |= !reset;
            self.reset |= reset;
            self.cut = true;
        }
    }
}

/// Two sessions of a subject, joined by a link.
pub struct World<'s, S: Subject> {
    pub(crate) subject: &'s S,
    pub(crate) variant: usize,
    pub(crate) sides: [Side<S>; 2],
    pub(crate) pipes: [Pipe; 2],
    pub(crate) now: Instant,
    pub(crate) clock_back: u64,
    /// Calls that had an effect.
    pub(crate) steps: u64,
    /// Somebody else wrote or cut what a side reads, or a side was told of a fault that the link does not have.
    pub(crate) tampered: bool,
    /// A running hash of everything seen from outside (law L15).
    pub(crate) trace: u64,
    /// What was reached.
    pub(crate) coverage: Coverage,
}

impl<'s, S: Subject> World<'s, S> {
    /// The world at the start of `script`.
    ///
    /// # Panics
    /// The subject's limits cannot work.
    #[must_use]
    pub fn new(subject: &'s S, script: &Script) -> Self {
        Self::seeded(subject, script, [script.seed, script.seed ^ 1])
    }

    /// The same with the seeds of the client's and the server's session.
    pub(crate) fn seeded(subject: &'s S, script: &Script, seeds: [u64; 2]) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let side = |role: Role| {
            let config: Config = subject.config(role, script.variant);
            let protocol = subject.protocol(role, script.variant);
            let seed = seeds[role.index()];
            let connected = role == Role::Server || !script.connecting;
            let session = if connected {
                Session::new(protocol, config.clone(), seed, now)
            } else {
                Session::connecting(protocol, config.clone(), seed, now)
            };
            let session = session.unwrap_or_else(|e| panic!("{}, variant {}: {e}", subject.name(), script.variant));
            Side { own_close: subject.own_close(), ..Side::new(role, session, config, connected, now) }
        };
        let pipe = |capacity| Pipe { capacity, ..Pipe::default() };
        Self {
            subject,
            variant: script.variant,
            sides: [side(Role::Client), side(Role::Server)],
            pipes: script.capacity.map(pipe),
            now,
            clock_back: 0,
            steps: 0,
            tampered: false,
            trace: 0xcbf2_9ce4_8422_2325,
            coverage: Coverage::default(),
        }
    }

    /// The states of one side's halves.
    #[must_use]
    pub fn states(&self, role: Role) -> (duologue_core::RecvState, duologue_core::SendState) {
        self.sides[role.index()].session.states()
    }

    /// A number for everything that can be seen of the world: equal worlds go on alike.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let sides = self.sides.iter().fold(self.now.as_nanos(), |hash, side| {
            let flags = [side.eof_given, side.fin_done, side.released, side.peer_finished, side.closed.is_some()];
            let hash = flags.into_iter().fold(hash, |hash, flag| crate::run::fnv(hash, u64::from(flag)));
            let waits = [side.wants, side.due].map(|need| need.map_or(0, |need| need as u64 + 1));
            let hash = waits.into_iter().fold(hash, crate::run::fnv);
            crate::run::mix(hash, side, &side.view())
        });
        self.pipes.iter().fold(sides, |hash, pipe| {
            let flags = [pipe.fin, pipe.reset, pipe.cut, pipe.frozen].map(u64::from);
            flags.into_iter().chain(pipe.bytes.iter().map(|b| u64::from(*b))).fold(hash, crate::run::fnv)
        })
    }

    /// Makes one call, if it is legal now, and checks every law.
    ///
    /// # Errors
    /// A law was broken.
    pub fn apply(&mut self, call: &Call) -> Result<(), Broken> {
        match *call {
            Call::Wait { nanos } => self.now = self.now.after(core::time::Duration::from_nanos(nanos)),
            Call::UntilDeadline { role, offset } => {
                if let Some(deadline) = self.sides[role.index()].session.interest().deadline {
                    let at = Instant::from_nanos(deadline.at.as_nanos().saturating_add_signed(offset));
                    self.now = self.now.max(at);
                }
            }
            Call::ClockBack { nanos } => self.clock_back = nanos,
            Call::At(role, ref op) => return self.at(role, op),
        }
        Ok(())
    }

    pub(crate) fn at(&mut self, role: Role, op: &Op) -> Verdict {
        let i = role.index();
        let before = self.sides[i].view();
        self.sides[i].taken = 0;
        let now = Instant::from_nanos(self.now.as_nanos().saturating_sub(core::mem::take(&mut self.clock_back)));
        let told = self.sides[i].told;
        if op.tells_time() {
            self.sides[i].told = told.max(now);
        }
        let Some(effect) = self.perform(i, op, now) else {
            self.sides[i].told = told;
            return Ok(());
        };
        self.steps += 1;
        let (subject, variant) = (self.subject, self.variant);
        let side = &mut self.sides[i];
        if let Some(broken) = side.broken.take() {
            return Err(broken);
        }
        side.refresh(subject, variant);
        let after = side.view();
        oracle::check(side, &before, &after, op, effect)?;
        laws::after_call(side, &before, &after, op, effect)?;
        laws::settled(side, &after)?;
        laws::always(side, &after)?;
        self.coverage.note(&before, &after, op, effect, side.closed.as_ref());
        self.trace = crate::run::mix(self.trace, &self.sides[i], &after);
        Ok(())
    }

    /// Does it, or tells that it is not legal now.
    fn perform(&mut self, i: usize, op: &Op, now: Instant) -> Option<Effect> {
        let interest = self.sides[i].session.interest();
        match *op {
            Op::Transmit { max, slices } => return self.transmit(i, max, slices, now),
            Op::Read { max } => return self.read(i, max, now),
            Op::Poll { max } => return self.poll(i, max, now),
            Op::Handle { budget, room, reply } => return self.handle(i, budget, room, reply, now),
            Op::Send { seed } => return self.send(i, seed, now),
            Op::Inject { .. } | Op::Flood { .. } | Op::CutFin | Op::CutReset | Op::Freeze | Op::Thaw => {
                self.tamper(i, op);
                return None;
            }
            _ => {}
        }
        let [pipe_in, pipe_out] = match &mut self.pipes {
            [a, b] if i == 0 => [a, b],
            [a, b] => [b, a],
        };
        let side = &mut self.sides[i];
        let session = &mut side.session;
        match *op {
            Op::Connected => {
                if side.connected {
                    return None;
                }
                side.connected = true;
                session.connected(now);
            }
            Op::Finish => {
                side.finish_called = true;
                session.finish(now);
            }
            Op::Drain => {
                let took_part = session.drain(now);
                if !took_part {
                    return Some(Effect::Nothing);
                }
                let (before, ended) = (View::of::<S>(session), session.cause().is_some());
                let again = session.drain(now);
                let after = View::of::<S>(session);
                if before != after || (again != took_part && !ended) {
                    side.fail(Law::L17Drains, format!("asked again it changed {before:?} into {after:?}"));
                }
                let at = DrainedAt { delivered: side.delivered.len(), sent: side.accepted.len() };
                side.drained.get_or_insert(at);
            }
            Op::ShutdownRead => {
                side.read_shut = true;
                session.shutdown_read(now);
            }
            Op::Close { flush, code } => {
                side.close_called |= session.cause().is_none();
                let intent = if flush { CloseIntent::Flush } else { CloseIntent::Goodbye };
                session.close(now, intent(Code(code)));
            }
            Op::Abort { code } => session.abort(now, Code(code)),
            Op::ShutdownDone => {
                session.shutdown_done(now);
                if !interest.shutdown_write {
                    return Some(Effect::Nothing);
                }
                side.fin_done = true;
                side.eof_before_fin.get_or_insert(false);
                pipe_out.end(false);
            }
            Op::Release | Op::ReleaseUnasked => {
                let how = match (op, interest.release) {
                    (Op::Release, Some(how)) => how,
                    (Op::ReleaseUnasked, None) if !side.released => Release::Abort,
                    _ => return None,
                };
                side.misused |= interest.release.is_none();
                side.released = true;
                session.released();
                pipe_out.end(how == Release::Abort);
                pipe_in.cut = true;
                pipe_in.frozen = false;
            }
            Op::Fault { operation, kind } => {
                let legal = match operation {
                    Operation::Connect => !side.connected && !side.released,
                    Operation::Read => interest.read,
                    Operation::Write => interest.write,
                    Operation::ShutdownWrite => interest.shutdown_write,
                };
                if !legal || (kind == FaultKind::Truncated && operation != Operation::Read) {
                    return None;
                }
                // The other side knows nothing of it.
                self.tampered = true;
                session.transport_failed(now, TransportFault::new(kind, operation));
                if kind == FaultKind::Truncated {
                    side.eof_given = true;
                    side.eof_before_fin.get_or_insert(true);
                }
            }
            Op::Timeout => {
                session.handle_timeout(now);
                if interest.deadline.is_none_or(|d| d.at > side.told) {
                    return Some(Effect::Nothing);
                }
            }
            Op::Lend => {
                let _ = session.lend_recv(BytesMut::with_capacity(32));
                let _ = session.lend_send(BytesMut::with_capacity(32));
                return Some(Effect::Nothing);
            }
            Op::Reclaim => {
                let _ = (session.reclaim_recv(), session.reclaim_send());
                return Some(Effect::Nothing);
            }
            Op::Overreport => {
                if !interest.write {
                    return None;
                }
                side.misused = true;
                let queued = session.buffered().1;
                session.transmitted(now, queued + 1);
            }
            _ => {}
        }
        Some(Effect::Done)
    }

    fn transmit(&mut self, i: usize, max: usize, slices: usize, now: Instant) -> Option<Effect> {
        let side = &mut self.sides[i];
        if !side.session.interest().write {
            let mut out: [&[u8]; 1] = [&[]];
            let offered = side.session.transmit(&mut out);
            if offered > 0 && side.session.interest().release.is_none() && side.connected {
                side.fail(Law::L2FinLast, "bytes are offered though no writing is wanted".into());
                return Some(Effect::Nothing);
            }
            return None;
        }
        let pipe = &mut self.pipes[1 - i];
        let mut out: [&[u8]; SLICES] = [&[]; SLICES];
        let filled = side.session.transmit(&mut out[..slices.clamp(1, SLICES)]);
        let mut left = max.min(pipe.space());
        let mut taken = Vec::new();
        for slice in &out[..filled] {
            let n = left.min(slice.len());
            taken.extend_from_slice(&slice[..n]);
            left -= n;
        }
        let offered: usize = out[..filled].iter().map(|s| s.len()).sum();
        if offered == 0 {
            side.fail(Law::L1Idempotent, "writing is wanted and nothing is offered".into());
        }
        pipe.write(&taken);
        side.transmitted.extend_from_slice(&taken);
        if !taken.is_empty() {
            side.spoke = side.told;
        }
        side.taken = taken.len();
        side.session.transmitted(now, taken.len());
        Some(if taken.is_empty() { Effect::Nothing } else { Effect::Done })
    }

    fn read(&mut self, i: usize, max: usize, now: Instant) -> Option<Effect> {
        let side = &mut self.sides[i];
        if !side.session.interest().read {
            return None;
        }
        let pipe = &mut self.pipes[i];
        let session = &mut side.session;
        if pipe.bytes.is_empty() && pipe.reset {
            session.transport_failed(now, TransportFault::new(FaultKind::Reset, Operation::Read));
            return Some(Effect::Reset);
        }
        if pipe.bytes.is_empty() && pipe.fin {
            session.received_eof(now);
            side.eof_given = true;
            side.eof_before_fin.get_or_insert(true);
            return Some(Effect::Eof);
        }
        let before = session.states();
        let mut buf = session.recv_buf();
        let n = max.min(pipe.bytes.len()).min(buf.remaining_mut());
        let bytes: Vec<u8> = pipe.bytes.drain(..n).collect();
        buf.put_slice(&bytes);
        session.received(now);
        side.received.extend_from_slice(&bytes);
        if n > 0 {
            side.heard = side.told;
            let (recv, send) = before;
            let lingers = recv == RecvState::Discarding && send.is_over() && side.first_cause.is_some();
            side.lingered += if lingers { n as u64 } else { 0 };
        }
        Some(if n == 0 { Effect::Nothing } else { Effect::Done })
    }

    fn poll(&mut self, i: usize, max: usize, now: Instant) -> Option<Effect> {
        let side = &mut self.sides[i];
        let in_place = side.config.delivery == duologue_core::Delivery::InPlace;
        for taken in 0..max {
            let promised = side.session.interest().event;
            match side.session.poll_event(now) {
                Some(_) if !promised => {
                    side.fail(Law::L1Idempotent, "an event came that interest did not tell of".into())
                }
                Some(event) => side.note(self.subject, event),
                None if promised && !in_place => {
                    side.fail(Law::L1Idempotent, "interest told of an event and none came".into());
                }
                None if taken == 0 => return Some(Effect::Nothing),
                None => break,
            }
        }
        Some(Effect::Done)
    }

    fn handle(&mut self, i: usize, budget: usize, room: usize, reply: Option<u64>, now: Instant) -> Option<Effect> {
        let (subject, role) = (self.subject, Role::of(i));
        let side = &mut self.sides[i];
        if side.config.delivery != duologue_core::Delivery::InPlace {
            return None;
        }
        let reply = reply.map(|seed| subject.command(role, &mut Rng::new(seed)));
        let (mut out, mut replied, mut refused) = (Vec::new(), Vec::new(), None);
        let handling =
            &mut Handling { now, room, budget, reply, out: &mut out, replied: &mut replied, refused: &mut refused };
        subject.handle(&mut side.session, handling);
        out.into_iter().for_each(|event| side.take(event));
        if let Some(need) = refused {
            // Who came before the opening was told of it before the reply was refused.
            if side.session.is_established() {
                side.due = side.due.or(side.wants.take_if(|need| *need == 0));
            }
            side.note_refused(need);
        }
        for command in &replied {
            side.note_accepted(subject, command);
        }
        Some(Effect::Done)
    }

    fn send(&mut self, i: usize, seed: u64, now: Instant) -> Option<Effect> {
        let (subject, role) = (self.subject, Role::of(i));
        let side = &mut self.sides[i];
        let command = subject.command(role, &mut Rng::new(seed));
        let before = side.view();
        let error = match side.session.send(now, command.clone()) {
            Ok(()) => {
                if before.send != duologue_core::SendState::Open || !before.established || side.finish_called {
                    side.fail(Law::L2FinLast, format!("a command was accepted in {:?}", before.send));
                }
                side.note_accepted(subject, &command);
                return Some(Effect::Done);
            }
            Err(error) => error,
        };
        match error {
            SendError::Full { need, room, .. } => {
                if need <= room || room != before.room {
                    side.fail(Law::L11Writable, format!("refused for want of room: {need} needed, {room} free"));
                }
                side.note_refused(need);
            }
            SendError::NotOpen { .. } => side.note_refused(0),
            _ => {}
        }
        if error.clone().into_command() != command {
            side.fail(Law::L14NothingVanishes, "a refused command came back changed".into());
        }
        let after = side.view();
        if (after.buffered, after.stats) != (before.buffered, before.stats) {
            side.fail(Law::L14NothingVanishes, format!("a refused command left traces: {before:?} became {after:?}"));
        }
        Some(Effect::Refused)
    }

    fn tamper(&mut self, i: usize, op: &Op) {
        self.tampered |= !matches!(op, Op::Freeze | Op::Thaw);
        let [pipe_in, pipe_out] = match &mut self.pipes {
            [a, b] if i == 0 => [a, b],
            [a, b] => [b, a],
        };
        match *op {
            Op::Inject { seed, len } => {
                let mut rng = Rng::new(seed);
                let garbage: Vec<u8> = (0..len).map(|_| rng.next_u32() as u8).collect();
                pipe_in.write(&garbage);
            }
            Op::Flood { seed } => {
                let frames = self.subject.flood(Role::of(i), &mut Rng::new(seed));
                pipe_in.write(&frames);
            }
            Op::CutFin => pipe_in.end(false),
            Op::CutReset => pipe_in.end(true),
            Op::Freeze => pipe_out.frozen = true,
            Op::Thaw => pipe_out.frozen = false,
            _ => {}
        }
    }
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The session was told something.
    Done,
    /// Nothing was new: nothing may change (law L1).
    Nothing,
    /// A command was refused.
    Refused,
    /// The peer's FIN was read.
    Eof,
    /// The peer's reset was read.
    Reset,
}
