//! The end of a run: what is obeyed to the end leaves nothing behind.

use std::time::Duration;

use duologue_core::streams::{Multiplex, StreamEnd, StreamId};
use duologue_core::{CloseIntent, Code};

use super::account::Account;
use super::call::StreamOp;
use super::subject::StreamSubject;
use super::world::StreamWorld;
use super::{StreamBroken, StreamLaw, StreamReport, Verdict, law, laws};
use crate::subject::Role;

/// Rounds until two sides must have come to rest.
const ROUNDS: usize = 20_000;

impl<S: StreamSubject> StreamWorld<'_, S> {
    /// Everything that drivers and applications would do, then the end of every stream, then that of the connection.
    pub(crate) fn end(&mut self) -> Result<StreamReport, StreamBroken> {
        self.pipes.iter_mut().for_each(|pipe| (pipe.frozen, pipe.capacity) = (false, pipe.capacity.max(500)));
        if self.whole && self.honest {
            self.settle(false)?;
            self.isolated()?;
            self.wind_up()?;
        }
        self.release_all()?;
        Ok(self.report.clone())
    }

    /// Both sides obey until nothing moves; applications read all streams, or all but the deaf ones.
    fn settle(&mut self, deaf_too: bool) -> Verdict {
        for _ in 0..ROUNDS {
            let before = self.moved();
            for (i, role) in Role::BOTH.into_iter().enumerate() {
                self.at(role, StreamOp::Transmit(u32::MAX))?;
                self.at(role, StreamOp::Read(u32::MAX))?;
                self.at(role, StreamOp::Poll(64))?;
                let ids: Vec<StreamId> = self.sides[i].accounts.keys().copied().collect();
                for id in ids {
                    let account = &self.sides[i].accounts[&id];
                    if account.closed.is_none() && (deaf_too || !account.deaf) {
                        self.give_back(i, id)?;
                        self.recv(i, id, usize::MAX, true)?;
                    }
                }
                laws::after_call(self, i)?;
            }
            if self.moved() == before {
                return Ok(());
            }
        }
        law(StreamLaw::S6Woken, false, || "two sides that obey never come to rest".into())
    }

    /// What was taken and kept so far.
    fn give_back(&mut self, i: usize, id: StreamId) -> Verdict {
        let side = &mut self.sides[i];
        let Some(account) = side.accounts.get_mut(&id) else { return Ok(()) };
        let n = core::mem::take(&mut account.unreleased);
        let mut protocol = side.session.protocol_mut(self.now);
        let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return Ok(()) };
        let released = stream.release(n);
        law(StreamLaw::S1Conserved, released.is_ok(), || format!("{id}: {n} bytes were taken, and {released:?}"))
    }

    fn moved(&self) -> (u64, [u64; 2], u64, usize) {
        let taken = self.sides.iter().flat_map(|side| side.accounts.values()).map(|account| account.taken).sum();
        let ends = self.sides.iter().flat_map(|side| side.accounts.values());
        let ends = ends.filter(|account| account.closed.is_some() || account.peer_finished).count();
        let events = [0, 1].map(|i: usize| self.sides[i].session.stats().events);
        (taken, events, self.carried, ends)
    }

    /// S2: whatever deaf streams hold back, the others delivered everything.
    fn isolated(&self) -> Verdict {
        for (from, to) in [(0, 1), (1, 0)] {
            for (tag, id) in &self.sides[to].by_tag {
                let account = &self.sides[to].accounts[id];
                let Some((_, other)) = self.sides[1 - to].of_tag(*tag) else { continue };
                let undisturbed =
                    |a: &Account| !a.reset && !a.stopped && a.closed.is_none_or(|c| c.end == StreamEnd::Finished);
                // A stream that ends for both sides at once gives up what the other still had.
                let mirrored = !self.subject.half_close() && (account.finished || other.finished);
                if account.deaf || mirrored || !undisturbed(account) || !undisturbed(other) {
                    continue;
                }
                law(StreamLaw::S2Isolated, account.taken == other.sent, || {
                    format!("stream {tag} from {from}: {} of {} bytes came", account.taken, other.sent)
                })?;
            }
        }
        Ok(())
    }

    /// S11: every stream is ended in order, and everything is exchanged.
    fn wind_up(&mut self) -> Verdict {
        for _ in 0..3 {
            for side in &mut self.sides {
                for (id, account) in side.accounts.iter_mut().filter(|(_, account)| account.closed.is_none()) {
                    let mut protocol = side.session.protocol_mut(self.now);
                    let Some(mut stream) = protocol.streams_mut().get_mut(*id) else { continue };
                    stream.finish();
                    account.finished = true;
                }
            }
            self.settle(true)?;
        }
        for side in &self.sides {
            let streams = side.session.protocol().streams();
            let left = side.accounts.iter().find(|(_, account)| account.closed.is_none());
            law(StreamLaw::S3OneEnd, left.is_none(), || format!("both sides finished, and {left:?} did not end"))?;
            let quiet = streams.is_empty() && streams.open_counts() == (0, 0) && streams.is_quiescent();
            law(StreamLaw::S11QuietEnd, quiet && !streams.has_event(), || {
                format!("{} streams are left", streams.len())
            })?;
            let (_, recv) = streams.connection_credit();
            let back = recv.held() == 0 && recv.available() + recv.returnable() == i64::from(recv.window());
            law(StreamLaw::S11QuietEnd, back, || format!("credit is left behind: {recv:?}"))?;
            let interest = side.session.interest();
            law(StreamLaw::S11QuietEnd, !interest.write && !interest.event, || format!("it still wants {interest:?}"))?;
        }
        Ok(())
    }

    /// Whatever happened before: a close leads to the release, and every stream has exactly one end.
    fn release_all(&mut self) -> Verdict {
        for side in &mut self.sides {
            side.session.close(self.now, CloseIntent::Goodbye(Code(0)));
        }
        for _ in 0..400 {
            for (i, role) in Role::BOTH.into_iter().enumerate() {
                self.at(role, StreamOp::Transmit(u32::MAX))?;
                self.at(role, StreamOp::Read(u32::MAX))?;
                self.at(role, StreamOp::Poll(64))?;
                if let Some(deadline) = self.sides[i].session.interest().deadline {
                    self.now = self.now.max(deadline.at).after(Duration::from_nanos(1));
                    self.at(role, StreamOp::Timeout)?;
                }
            }
            if self.sides.iter().all(|side| side.over) {
                break;
            }
        }
        for side in &self.sides {
            law(StreamLaw::S6Woken, side.over, || format!("never over: {:?}", side.session.interest()))?;
            let left = side.accounts.iter().find(|(_, account)| account.closed.is_none());
            law(StreamLaw::S3OneEnd, left.is_none(), || format!("the session is over, and {left:?} did not end"))?;
            let streams = side.session.protocol().streams();
            law(StreamLaw::S11QuietEnd, streams.is_quiescent() && !streams.has_event(), || "something is left".into())?;
        }
        Ok(())
    }
}
