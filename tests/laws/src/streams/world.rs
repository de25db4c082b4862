//! Two sessions with many streams, the link between them and the clock, moved by single calls.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use duologue_core::streams::{Multiplex, OpenError, Received, StreamError, StreamEvent, StreamId, StreamMut};
use duologue_core::{CloseIntent, Code, Event, FaultKind, Instant, Operation, Release, Rng, Session, TransportFault};

use super::account::{Account, Pipe, Side, byte_at};
use super::call::{StreamCall, StreamOp};
use super::subject::{KnownStream, StreamSubject};
use super::{StreamBroken, StreamLaw, StreamReport, StreamScript, Verdict, law, laws};
use crate::run::fnv;
use crate::subject::Role;

/// Two sessions of a subject, joined by a link.
pub struct StreamWorld<'s, S: StreamSubject> {
    pub(crate) subject: &'s S,
    pub(crate) sides: [Side<S>; 2],
    pub(crate) pipes: [Pipe; 2],
    pub(crate) now: Instant,
    fresh: u64,
    /// Bytes that transports took, and brought.
    pub(crate) carried: u64,
    /// Nobody put bytes into the link.
    pub(crate) honest: bool,
    /// Nobody closed, aborted or cut the connection.
    pub(crate) whole: bool,
    pub(crate) report: StreamReport,
}

impl<'s, S: StreamSubject> StreamWorld<'s, S> {
    /// The world at the start of `script`.
    ///
    /// # Panics
    /// The subject's limits cannot work.
    #[must_use]
    pub fn new(subject: &'s S, script: &StreamScript) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let side = |role: Role| {
            let protocol = subject.protocol(role, script.variant);
            let session = Session::new(protocol, subject.config(role, script.variant), script.seed, now);
            let session = session.unwrap_or_else(|e| panic!("{}: {e}", subject.name()));
            Side {
                role,
                session,
                accounts: BTreeMap::new(),
                by_tag: BTreeMap::new(),
                waits_open: false,
                peer_finished: false,
                over: false,
                released: false,
            }
        };
        Self {
            subject,
            sides: [side(Role::Client), side(Role::Server)],
            pipes: script.capacity.map(|capacity| Pipe { capacity, ..Pipe::default() }),
            now,
            fresh: 0,
            carried: 0,
            honest: true,
            whole: true,
            report: StreamReport { cases: 1, ..StreamReport::default() },
        }
    }

    /// Looks at the session of one side.
    pub fn look<R>(&self, role: Role, look: impl FnOnce(&Session<S::Protocol>) -> R) -> R {
        look(&self.sides[role.index()].session)
    }

    /// Makes one call, if it is possible now, and checks every law.
    ///
    /// # Errors
    /// A law was broken.
    pub fn apply(&mut self, call: &StreamCall) -> Result<(), StreamBroken> {
        match *call {
            StreamCall::Wait(nanos) => {
                self.now = self.now.after(Duration::from_nanos(nanos));
                Ok(())
            }
            StreamCall::At(role, op) => self.at(role, op),
        }
    }

    pub(crate) fn at(&mut self, role: Role, op: StreamOp) -> Verdict {
        let i = role.index();
        self.perform(i, op)?;
        self.obey(i);
        self.report.steps += 1;
        laws::after_call(self, i)?;
        let interest = self.sides[i].session.interest();
        let seen = [
            u64::from(interest.event),
            u64::from(interest.read),
            u64::from(interest.write),
            interest.deadline.map_or(0, |deadline| deadline.at.as_nanos()),
            self.sides[i].session.buffered().1 as u64,
        ];
        self.report.trace = seen.into_iter().fold(self.report.trace, fnv);
        Ok(())
    }

    fn perform(&mut self, i: usize, op: StreamOp) -> Verdict {
        let now = self.now;
        match op {
            StreamOp::Open { weight, deaf } => self.open(i, weight, deaf),
            StreamOp::Send { which, len, owned } => return self.send(i, which, len, owned),
            StreamOp::Finish(which) => {
                self.on(i, which, |stream, account| {
                    stream.finish();
                    account.finished = true;
                });
            }
            StreamOp::Reset(which) => {
                self.on(i, which, |stream, account| {
                    stream.reset(laws::OURS);
                    account.reset = true;
                });
            }
            StreamOp::Stop(which) => {
                self.on(i, which, |stream, account| {
                    stream.stop_reading(Code(4));
                    account.stopped = true;
                    account.waits_read = false;
                });
            }
            StreamOp::Deadline { which, after } => {
                let at = (after > 0).then(|| now.after(Duration::from_nanos(after)));
                self.on(i, which, |stream, account| {
                    stream.set_deadline(at);
                    account.deadline = at;
                    account.had_deadline |= at.is_some();
                });
            }
            StreamOp::Recv { which, most } => {
                if let Some(id) = self.sides[i].pick(which).filter(|id| !self.sides[i].accounts[id].deaf) {
                    return self.recv(i, id, most as usize, false);
                }
            }
            StreamOp::Copy { which, most } => {
                if let Some(id) = self.sides[i].pick(which).filter(|id| !self.sides[i].accounts[id].deaf) {
                    return self.copy(i, id, most as usize);
                }
            }
            StreamOp::Release { which, most } => return self.release(i, which, most as usize),
            StreamOp::OverRelease(which) => return self.over_release(i, which),
            StreamOp::Poll(most) => return self.poll(i, most),
            StreamOp::Transmit(most) => self.transmit(i, most as usize),
            StreamOp::Read(most) => self.read(i, most as usize),
            StreamOp::Timeout => {
                self.sides[i].session.handle_timeout(now);
                return laws::after_timeout(&self.sides[i], now);
            }
            StreamOp::Freeze => self.pipes[1 - i].frozen = true,
            StreamOp::Thaw => self.pipes[1 - i].frozen = false,
            StreamOp::CutFin => {
                self.whole = false;
                (self.pipes[i].fin, self.pipes[i].cut) = (true, true);
            }
            StreamOp::Fail if self.sides[i].session.interest().read => {
                self.whole = false;
                let fault = TransportFault::new(FaultKind::Reset, Operation::Read);
                self.sides[i].session.transport_failed(now, fault);
            }
            StreamOp::Fail => {}
            StreamOp::Close => {
                self.whole = false;
                self.sides[i].session.close(now, CloseIntent::Goodbye(Code(0)));
            }
            StreamOp::Abort => {
                self.whole = false;
                self.sides[i].session.abort(now, Code(0));
            }
            StreamOp::Inject { seed, len } => {
                (self.honest, self.whole) = (false, false);
                let mut rng = Rng::new(seed);
                // Small numbers make frames of known kinds likely.
                let bytes = (0..len).map(|_| if rng.below(3) == 0 { rng.next_u64() as u8 } else { rng.below(3) as u8 });
                self.pipes[i].bytes.extend(bytes);
            }
        }
        Ok(())
    }

    /// What a driver does at once: the FIN, and letting the transport go.
    pub(crate) fn obey(&mut self, i: usize) {
        let interest = self.sides[i].session.interest();
        if interest.shutdown_write {
            self.sides[i].session.shutdown_done(self.now);
            (self.pipes[1 - i].fin, self.pipes[1 - i].cut) = (true, true);
        }
        if let Some(how) = self.sides[i].session.interest().release {
            self.sides[i].session.released();
            self.sides[i].released = true;
            self.pipes[1 - i].fin = true;
            self.pipes[1 - i].cut = true;
            self.pipes[i].cut = true;
            if how == Release::Abort {
                self.pipes[1 - i].bytes.clear();
            }
        }
    }

    fn open(&mut self, i: usize, weight: u8, deaf: bool) {
        if !self.subject.opens(Role::of(i)) {
            return;
        }
        self.fresh += 1;
        let side = &mut self.sides[i];
        match self.subject.open(&mut side.session, side.role, self.now, self.fresh) {
            Ok(known) => {
                if let Some(mut stream) = side.session.protocol_mut(self.now).streams_mut().get_mut(known.id) {
                    stream.set_weight(weight);
                }
                self.meet(i, known, weight, deaf);
            }
            Err(OpenError::TooMany { .. } | OpenError::NoSlot { .. }) => side.waits_open = true,
            Err(_) => {}
        }
    }

    fn meet(&mut self, i: usize, known: KnownStream, weight: u8, deaf: bool) {
        let account = Account { tag: known.tag, weight, deaf, ..Account::default() };
        let side = &mut self.sides[i];
        assert!(side.accounts.insert(known.id, account).is_none(), "{} was heard of twice", known.id);
        assert!(side.by_tag.insert(known.tag, known.id).is_none(), "{} has the name of another", known.id);
        self.report.streams += 1;
    }

    fn on(
        &mut self,
        i: usize,
        which: u32,
        act: impl FnOnce(&mut StreamMut<'_, <S::Protocol as Multiplex>::Data>, &mut Account),
    ) {
        let side = &mut self.sides[i];
        let Some(id) = side.pick(which) else { return };
        let mut protocol = side.session.protocol_mut(self.now);
        let (Some(mut stream), Some(account)) = (protocol.streams_mut().get_mut(id), side.accounts.get_mut(&id)) else {
            return;
        };
        act(&mut stream, account);
    }

    fn send(&mut self, i: usize, which: u32, len: u32, owned: bool) -> Verdict {
        let mut outcome = None;
        let role = self.sides[i].role;
        let config = *self.sides[i].session.protocol().streams().config();
        self.on(i, which, |stream, account| {
            let at = account.sent;
            let bytes: Vec<u8> = (at..at + u64::from(len)).map(|at| byte_at(account.tag, role, at)).collect();
            let whole = owned || config.messages;
            let sent = if whole {
                stream.send(Bytes::from(bytes)).map(|()| len as usize).map_err(|refused| refused.why)
            } else {
                stream.write(&bytes)
            };
            if let Ok(n) = sent {
                account.sent += n as u64;
                if config.messages {
                    account.sent_ends.push(account.sent);
                }
            }
            if matches!(sent, Err(StreamError::Full { .. })) {
                account.waits_write = Some(if whole { len.max(1) as usize } else { 1 });
            }
            outcome = Some((sent, account.finished));
        });
        match outcome {
            Some((Ok(_), finished)) => {
                law(StreamLaw::S4FinishLast, !finished, || "data was accepted after our finish".into())
            }
            Some((Err(StreamError::Finished), finished)) => {
                law(StreamLaw::S9ToldApart, finished, || "refused as finished, and it was not".into())
            }
            Some((Err(StreamError::TooLarge { .. }), _)) => {
                law(StreamLaw::S7Bounded, len > config.send_buffer, || format!("{len} bytes are said never to fit"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn recv(&mut self, i: usize, id: StreamId, most: usize, release: bool) -> Verdict {
        let side = &mut self.sides[i];
        let mut protocol = side.session.protocol_mut(self.now);
        let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return Ok(()) };
        let Some(account) = side.accounts.get_mut(&id) else { return Ok(()) };
        match stream.recv(most) {
            Received::Data { bytes, ends } => {
                if release {
                    let released = stream.release(bytes.len());
                    law(StreamLaw::S1Conserved, released.is_ok(), || format!("just taken, and {released:?}"))?;
                } else {
                    account.unreleased += bytes.len();
                }
                drop(protocol);
                self.took(i, id, &bytes, ends)
            }
            Received::Nothing => {
                account.waits_read = true;
                Ok(())
            }
            Received::Finished => {
                account.peer_finished = true;
                drop(protocol);
                laws::finished(self, i, id)
            }
            Received::Ended(_) => Ok(()),
        }
    }

    fn copy(&mut self, i: usize, id: StreamId, most: usize) -> Verdict {
        let side = &mut self.sides[i];
        if side.session.protocol().streams().config().messages {
            return Ok(());
        }
        let mut buffer = vec![0; most];
        let mut protocol = side.session.protocol_mut(self.now);
        let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return Ok(()) };
        let n = stream.read(&mut buffer);
        drop(protocol);
        if n == 0 { Ok(()) } else { self.took(i, id, &buffer[..n], false) }
    }

    fn took(&mut self, i: usize, id: StreamId, bytes: &[u8], ends: bool) -> Verdict {
        let from = self.sides[1 - i].role;
        let (honest, over) = (self.honest, self.sides[i].session.cause().is_some());
        let Some(account) = self.sides[i].accounts.get_mut(&id) else { return Ok(()) };
        law(StreamLaw::S3OneEnd, account.closed.is_none() || over, || format!("{id}: data after the end"))?;
        law(StreamLaw::S4FinishLast, !account.peer_finished, || format!("{id}: data after the peer's finish"))?;
        for byte in bytes {
            let at = account.taken;
            law(StreamLaw::S8Faithful, !honest || *byte == byte_at(account.tag, from, at), || {
                format!("{id}: byte {at} is not the one that was sent")
            })?;
            account.taken += 1;
        }
        if ends {
            account.taken_ends.push(account.taken);
        }
        self.report.bytes += bytes.len() as u64;
        laws::prefix(self, i, id)
    }

    fn release(&mut self, i: usize, which: u32, most: usize) -> Verdict {
        let mut outcome = Ok(());
        self.on(i, which, |stream, account| {
            let n = most.min(account.unreleased);
            outcome = stream.release(n);
            account.unreleased -= n;
        });
        law(StreamLaw::S1Conserved, outcome.is_ok(), || format!("what was taken cannot be released: {outcome:?}"))
    }

    fn over_release(&mut self, i: usize, which: u32) -> Verdict {
        let mut wrong = None;
        self.on(i, which, |stream, account| {
            let before = (stream.credit(), stream.end().is_some(), stream.states().0);
            let outcome = stream.release(account.unreleased + 1);
            let reads = !matches!(
                before.2,
                duologue_core::streams::StreamRecvState::Discarding | duologue_core::streams::StreamRecvState::Closed
            );
            if (outcome.is_ok() && reads && !before.1) || stream.credit() != before.0 {
                wrong = Some(format!("{outcome:?}, {:?} before, {:?} after", before.0, stream.credit()));
            }
        });
        law(StreamLaw::S1Conserved, wrong.is_none(), || format!("more was released than taken: {wrong:?}"))
    }

    pub(crate) fn poll(&mut self, i: usize, most: u32) -> Verdict {
        for _ in 0..most {
            let side = &mut self.sides[i];
            let Some(event) = side.session.poll_event(self.now) else { return Ok(()) };
            law(StreamLaw::S3OneEnd, !side.over, || format!("{event:?} after Closed"))?;
            match event {
                Event::App(event) => {
                    for known in self.subject.heard(&mut side.session, side.role, self.now, &event) {
                        self.meet(i, known, 16, known.tag % 7 == 0);
                    }
                    if let Some(event) = S::Protocol::as_stream_event(&event) {
                        self.told(i, event)?;
                    }
                }
                Event::PeerFinished => side.peer_finished = true,
                Event::Writable => {}
                Event::Closed(_) => {
                    side.over = true;
                    let open = side.accounts.iter().find(|(_, account)| account.closed.is_none());
                    law(StreamLaw::S3OneEnd, open.is_none(), || format!("the session ended before {open:?}"))?;
                }
            }
        }
        Ok(())
    }

    fn told(&mut self, i: usize, event: StreamEvent) -> Verdict {
        let side = &mut self.sides[i];
        let id = match event {
            StreamEvent::Opened(id)
            | StreamEvent::Accepted(id)
            | StreamEvent::Readable(id)
            | StreamEvent::Writable(id)
            | StreamEvent::Closed(id, _) => id,
            StreamEvent::CanOpen | StreamEvent::Draining => {
                side.waits_open = false;
                return Ok(());
            }
            _ => return Ok(()),
        };
        let account = side.accounts.get_mut(&id).filter(|account| account.closed.is_none());
        let Some(account) = account else {
            return law(StreamLaw::S3OneEnd, false, || format!("{event:?} of nothing, or after its end"));
        };
        match event {
            StreamEvent::Readable(_) => account.waits_read = false,
            StreamEvent::Writable(_) => account.waits_write = None,
            StreamEvent::Closed(_, closed) => {
                account.closed = Some(closed);
                (account.waits_read, account.waits_write) = (false, None);
                let name = laws::end_name(closed.end);
                *self.report.ends.entry(name).or_default() += 1;
                return laws::closed(self, i, id, closed);
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn transmit(&mut self, i: usize, most: usize) {
        let pipe = &mut self.pipes[1 - i];
        let session = &mut self.sides[i].session;
        let mut slices: [&[u8]; 8] = [&[]; 8];
        let filled = session.transmit(&mut slices);
        let mut bytes = slices[..filled].concat();
        bytes.truncate(most.min(pipe.space()));
        session.transmitted(self.now, bytes.len());
        self.carried += bytes.len() as u64;
        if !pipe.cut {
            pipe.bytes.extend(bytes);
        }
    }

    pub(crate) fn read(&mut self, i: usize, most: usize) {
        let session = &mut self.sides[i].session;
        if !session.interest().read {
            return;
        }
        let pipe = &mut self.pipes[i];
        if pipe.bytes.is_empty() {
            if pipe.fin {
                session.received_eof(self.now);
            }
            return;
        }
        let mut buf = session.recv_buf();
        let n = most.min(pipe.bytes.len()).min(buf.remaining_mut());
        let bytes: Vec<u8> = pipe.bytes.drain(..n).collect();
        buf.put_slice(&bytes);
        session.received(self.now);
        self.carried += n as u64;
    }
}
