//! The laws, each as a function of what is seen from outside.

use duologue_core::streams::{
    CreditStyle, Multiplex, RecvStatus, StreamClosed, StreamEnd, StreamId, StreamInfo, StreamRecvState,
    StreamSendState, StreamsConfig,
};
use duologue_core::{Code, Instant, RecvState};

use super::account::{Account, Side};
use super::subject::StreamSubject;
use super::world::StreamWorld;
use super::{StreamLaw, Verdict, law};

/// The code of the resets that scripts ask for.
pub(crate) const OURS: Code = Code(3);
/// The unit of weights: a stream of weight 16 has turns of `turn_bytes`.
const UNIT_WEIGHT: u64 = 16;

fn info<S: StreamSubject>(side: &Side<S>, id: StreamId) -> Option<StreamInfo> {
    side.session.protocol().streams().inspect(id)
}

/// After every call at one side.
pub(crate) fn after_call<S: StreamSubject>(world: &mut StreamWorld<'_, S>, i: usize) -> Verdict {
    let side = &world.sides[i];
    if world.honest && world.sides[1 - i].session.cause().is_none() {
        let accused = side.session.cause().filter(|_| world.whole);
        law(StreamLaw::S0Total, accused.is_none(), || format!("two honest sides, and {accused:?}"))?;
    }
    bounded(side)?;
    reads_never_wait(side)?;
    woken(side)?;
    conserved(side)?;
    if world.honest {
        conserved_between(&world.sides[0], &world.sides[1])?;
        conserved_between(&world.sides[1], &world.sides[0])?;
    }
    let longest = fair(&mut world.sides[i])?;
    world.report.longest_wait = world.report.longest_wait.max(longest);
    Ok(())
}

/// S7: slots, counts and buffers.
fn bounded<S: StreamSubject>(side: &Side<S>) -> Verdict {
    let streams = side.session.protocol().streams();
    let config = streams.config();
    let (local, peer) = streams.open_counts();
    let counts = local <= config.max_local && peer <= config.max_peer && streams.len() <= config.slots;
    law(StreamLaw::S7Bounded, counts, || format!("{local} and {peer} open, {} slots", streams.len()))?;
    for info in streams.ids().filter_map(|id| streams.inspect(id)) {
        law(StreamLaw::S7Bounded, info.unsent <= config.send_buffer as usize, || {
            format!("{} bytes wait to be sent", info.unsent)
        })?;
        // A message is admitted whole as long as there is any credit, and so is what was sent before the window sank.
        let most = u64::from(info.recv_credit.window()) + if config.messages { u64::from(u32::MAX) } else { 0 };
        law(StreamLaw::S7Bounded, info.unread as u64 <= most, || format!("{} bytes wait to be read", info.unread))?;
    }
    let (received, queued) = side.session.buffered();
    let limits = side.session.config().limits;
    let most = limits.send_buffer + limits.control_reserve;
    law(StreamLaw::S7Bounded, received <= limits.recv_buffer && queued <= most, || {
        format!("{received} bytes received and {queued} queued")
    })
}

/// S10: as long as the session receives, it reads or has something to tell.
fn reads_never_wait<S: StreamSubject>(side: &Side<S>) -> Verdict {
    let interest = side.session.interest();
    let receives = side.session.states().0 == RecvState::Open && side.session.cause().is_none();
    law(StreamLaw::S10ReadsNeverWait, !receives || interest.read || interest.event, || {
        format!("nothing is read: {interest:?}")
    })
}

/// S6: when everything was told, nobody waits for what is there.
fn woken<S: StreamSubject>(side: &Side<S>) -> Verdict {
    let interest = side.session.interest();
    let streams = side.session.protocol().streams();
    let config = streams.config();
    for (id, account) in side.accounts.iter().filter(|(_, account)| account.closed.is_none()) {
        let Some(info) = streams.inspect(*id) else {
            return law(StreamLaw::S3OneEnd, false, || format!("{id} is gone without an end"));
        };
        if let (Some(at), None, false) = (account.deadline, info.end, side.released) {
            let due = interest.deadline.map(|deadline| deadline.at);
            law(StreamLaw::S6Woken, due.is_some_and(|due| due <= at) || interest.release.is_some(), || {
                format!("{id} ends at {at:?}, and the session wakes at {due:?}")
            })?;
        }
        if interest.event {
            continue;
        }
        law(StreamLaw::S3OneEnd, info.end.is_none(), || format!("{id} ended, and nobody is told"))?;
        law(StreamLaw::S6Woken, !account.waits_read || account.stopped || info.status == RecvStatus::Nothing, || {
            format!("{id} has {:?}, and who found nothing is not told", info.status)
        })?;
        let Some(need) = account.waits_write else { continue };
        let room = config.send_buffer as usize - info.unsent;
        let enough = room >= need.max(config.send_buffer as usize / 2) && info.unsent_pieces < config.send_pieces;
        law(StreamLaw::S6Woken, info.send == StreamSendState::Open && !enough, || {
            format!("{id} has room for {room}, state {:?}, and who needs {need} is not told", info.send)
        })?;
    }
    let (local, _) = streams.open_counts();
    let place = local < config.max_local.min(config.max_unaccepted) && streams.len() < config.slots;
    let alive = side.session.cause().is_none() && side.session.states().0 == RecvState::Open;
    let open = place && alive && !streams.is_draining();
    law(StreamLaw::S6Woken, !(side.waits_open && open) || interest.event, || {
        "there is a place for a stream, and who wanted one is not told".into()
    })
}

/// S1: on one side.
fn conserved<S: StreamSubject>(side: &Side<S>) -> Verdict {
    let streams = side.session.protocol().streams();
    let mut held = 0;
    for info in streams.ids().filter_map(|id| streams.inspect(id)) {
        let (send, recv) = (info.send_credit, info.recv_credit);
        let sums = send.granted() == send.used() + send.available()
            && recv.granted() == recv.used() + recv.available()
            && recv.available() + recv.held() + recv.returnable() == i64::from(recv.window());
        law(StreamLaw::S1Conserved, sums, || format!("{send:?}, {recv:?}"))?;
        held += recv.held();
    }
    let (send, recv) = streams.connection_credit();
    let sums = send.granted() == send.used() + send.available()
        && recv.available() + recv.held() + recv.returnable() == i64::from(recv.window());
    law(StreamLaw::S1Conserved, sums, || format!("connection: {send:?}, {recv:?}"))?;
    let ended = side.session.cause().is_some() || side.released || side.session.states().0 != RecvState::Open;
    law(StreamLaw::S1Conserved, ended || recv.held() == held, || {
        format!("the streams hold {held} bytes, the connection {}", recv.held())
    })?;
    for (id, account) in side.accounts.iter().filter(|(_, account)| account.closed.is_none()) {
        let Some(info) = streams.inspect(*id).filter(|info| info.end.is_none()) else { continue };
        let sent = info.send_credit.used() + info.unsent as i64;
        let gives_up = info.send.is_over() || info.send == StreamSendState::Finishing;
        law(StreamLaw::S1Conserved, sent == account.sent as i64 || (gives_up && sent <= account.sent as i64), || {
            format!("{id}: {} bytes were accepted, {sent} were sent or wait", account.sent)
        })?;
        let keeps = matches!(info.recv, StreamRecvState::Open | StreamRecvState::Draining | StreamRecvState::Finished);
        let came = account.taken as i64 + info.unread as i64;
        law(StreamLaw::S1Conserved, !keeps || account.stopped || info.recv_credit.used() == came, || {
            format!("{id}: {:?}, and {came} bytes were taken or wait", info.recv_credit)
        })?;
    }
    Ok(())
}

/// S1: nothing is used that was not sent, and no credit taken that was not given.
fn conserved_between<S: StreamSubject>(from: &Side<S>, to: &Side<S>) -> Verdict {
    for (tag, id) in &from.by_tag {
        let Some((other, _)) = to.of_tag(*tag) else { continue };
        let (Some(ours), Some(theirs)) = (info(from, *id), info(to, other)) else { continue };
        let (send, recv) = (ours.send_credit, theirs.recv_credit);
        law(StreamLaw::S1Conserved, recv.used() <= send.used(), || format!("{recv:?} came of {send:?}"))?;
        let style = from.session.protocol().streams().config().credit;
        law(StreamLaw::S1Conserved, style == CreditStyle::Unlimited || send.granted() <= recv.granted(), || {
            format!("credit was made up: {send:?} of {recv:?}")
        })?;
    }
    Ok(())
}

/// S5: while a stream could send, every other had at most one turn. Tells the longest wait.
fn fair<S: StreamSubject>(side: &mut Side<S>) -> Result<u64, super::StreamBroken> {
    let streams = side.session.protocol().streams();
    let config = *streams.config();
    let mut sent = Vec::new();
    let mut waiting = Vec::new();
    for (id, account) in &mut side.accounts {
        let Some(info) = streams.inspect(*id).filter(|info| info.end.is_none()) else {
            account.was_ready = false;
            continue;
        };
        let used = info.send_credit.used();
        let delta = used - core::mem::replace(&mut account.used, used);
        let ready = is_ready(&info, &config);
        let was = core::mem::replace(&mut account.was_ready, ready);
        if delta > 0 {
            sent.push((*id, delta as u64, account.weight));
        }
        if delta > 0 || !ready || !was {
            account.waited.clear();
        } else {
            waiting.push(*id);
        }
    }
    let mut longest = 0;
    for id in waiting {
        let Some(account) = side.accounts.get_mut(&id) else { continue };
        for (other, delta, weight) in &sent {
            let waited = account.waited.entry(*other).or_default();
            *waited += delta;
            longest = longest.max(*waited);
            let turn = (u64::from(config.turn_bytes) * u64::from(*weight) / UNIT_WEIGHT).max(1);
            law(StreamLaw::S5Fair, *waited <= turn, || {
                format!("{id} waited while {other} sent {waited} bytes, with turns of {turn}")
            })?;
        }
    }
    Ok(longest)
}

/// It has data and credit, and has sent before, so the peer knows it.
fn is_ready(info: &StreamInfo, config: &StreamsConfig) -> bool {
    let credit = config.credit == CreditStyle::Unlimited || info.send_credit.available() > 0;
    info.unsent > 0 && credit && info.send_credit.used() > 0
}

/// S6: what was due is over.
pub(crate) fn after_timeout<S: StreamSubject>(side: &Side<S>, now: Instant) -> Verdict {
    let streams = side.session.protocol().streams();
    for info in streams.ids().filter_map(|id| streams.inspect(id)) {
        let late = info.deadline.is_some_and(|at| at <= now);
        law(StreamLaw::S6Woken, !late, || format!("{:?} passed, and the stream goes on", info.deadline))?;
    }
    Ok(())
}

/// S8: what was taken is a prefix of what was sent.
pub(crate) fn prefix<S: StreamSubject>(world: &StreamWorld<'_, S>, i: usize, id: StreamId) -> Verdict {
    let Some(account) = world.sides[i].accounts.get(&id).filter(|_| world.honest) else { return Ok(()) };
    let Some((_, other)) = world.sides[1 - i].of_tag(account.tag) else { return Ok(()) };
    let ends = other.sent_ends.starts_with(&account.taken_ends);
    law(StreamLaw::S8Faithful, account.taken <= other.sent && ends, || {
        format!("{} bytes were taken and {} sent; ends {:?}", account.taken, other.sent, account.taken_ends)
    })
}

/// S8, S9: the peer is said to have finished.
pub(crate) fn finished<S: StreamSubject>(world: &StreamWorld<'_, S>, i: usize, id: StreamId) -> Verdict {
    let Some(account) = world.sides[i].accounts.get(&id).filter(|_| world.honest) else { return Ok(()) };
    let Some((_, other)) = world.sides[1 - i].of_tag(account.tag) else { return Ok(()) };
    // Where a finish is that of both sides, and where we stopped it, the peer finishes in answer.
    if account.stopped || (!world.subject.half_close() && account.finished) {
        return Ok(());
    }
    law(StreamLaw::S9ToldApart, other.finished, || format!("{id}: the peer is said to have finished, and did not"))?;
    let mirrored = !world.subject.half_close();
    law(StreamLaw::S8Faithful, account.taken == other.sent || mirrored, || {
        format!("{id}: finished after {} of {} bytes", account.taken, other.sent)
    })
}

/// S9: the end that is told is the one that was.
pub(crate) fn closed<S: StreamSubject>(
    world: &StreamWorld<'_, S>,
    i: usize,
    id: StreamId,
    closed: StreamClosed,
) -> Verdict {
    let side = &world.sides[i];
    let Some(account) = side.accounts.get(&id) else { return Ok(()) };
    let ended = side.session.cause().is_some() || side.session.states().0.is_over() || side.peer_finished;
    let peer = world.sides[1 - i].of_tag(account.tag).map(|(_, account)| account);
    let peer_gone = world.sides[1 - i].session.cause().is_some();
    let did = |account: &Account| account.reset || account.had_deadline || account.stopped;
    let held = match closed.end {
        StreamEnd::LocalReset(code) => account.reset || (world.subject.resets_by_itself() && code != OURS),
        StreamEnd::Deadline => account.had_deadline,
        StreamEnd::PeerReset(_) | StreamEnd::Refused => !world.honest || peer.is_none_or(did) || peer_gone,
        StreamEnd::Lost | StreamEnd::LocalClose => ended || !world.whole,
        StreamEnd::Finished => true,
    };
    law(StreamLaw::S9ToldApart, held, || format!("{id} ended by {closed:?}; here {account:?}, there {peer:?}"))
}

/// A name for reports.
pub(crate) const fn end_name(end: StreamEnd) -> &'static str {
    match end {
        StreamEnd::Finished => "finished",
        StreamEnd::LocalReset(_) => "reset by us",
        StreamEnd::PeerReset(_) => "reset by the peer",
        StreamEnd::Deadline => "deadline",
        StreamEnd::Refused => "refused",
        StreamEnd::LocalClose => "closed by us",
        StreamEnd::Lost => "lost",
    }
}
