//! The laws as functions. Each looks at a session from outside only.

use bytes::BufMut;
use duologue_core::{OnPeerFinish, SendState, TimeoutReason};

use crate::call::Op;
use crate::law::{Law, Verdict, law};
use crate::side::{Side, View};
use crate::subject::{End, Subject};
use crate::world::Effect;

/// The laws about one call: what it may change.
pub(crate) fn after_call<S: Subject>(
    side: &mut Side<S>,
    before: &View,
    after: &View,
    op: &Op,
    effect: Effect,
) -> Verdict {
    idempotent(before, after, op, effect)?;
    side.queued_since |= after.buffered.1 + side.taken > before.buffered.1;
    fin_drops_nothing(side, before, after, op)?;
    time_moves(side, before, after, op)?;
    nothing_is_postponed(side, before, after, op, effect)
}

/// The laws about every moment.
pub(crate) fn always<S: Subject>(side: &mut Side<S>, view: &View) -> Verdict {
    fin_last(side, view)?;
    bounded(side, view)?;
    quiet_end(side, view)?;
    never_inert(side, view)?;
    eof_order(side, view)?;
    faithful(side)?;
    writable(side, view)?;
    room_to_read(side, view)?;
    reads_never_wait(side, view)?;
    nothing_vanishes(side, view)
}

/// L1: a call that brings nothing new changes nothing.
fn idempotent(before: &View, after: &View, op: &Op, effect: Effect) -> Verdict {
    let held = effect != Effect::Nothing || before == after;
    law(Law::L1Idempotent, held, || format!("{op:?} brought nothing new and changed {before:?} into {after:?}"))
}

/// L1: no call leaves a session unsettled. To look at the clock with nothing due settles, and changes nothing.
pub(crate) fn settled<S: Subject>(side: &mut Side<S>, view: &View) -> Verdict {
    let again = side.session.interest();
    law(Law::L1Idempotent, again == view.interest, || format!("asked twice: {:?}, then {again:?}", view.interest))?;
    if view.due(side.told).is_some() {
        return Ok(());
    }
    side.session.handle_timeout(side.told);
    let settled = side.view();
    law(Law::L1Idempotent, settled == *view, || format!("left unsettled: {view:?} settles into {settled:?}"))
}

/// L2: the FIN waits for the last byte, and nothing is queued behind it.
fn fin_last<S: Subject>(side: &Side<S>, view: &View) -> Verdict {
    let fin_due = matches!(view.send, SendState::Holding | SendState::ShuttingDown | SendState::Finished);
    let queued = view.buffered.1;
    law(Law::L2FinLast, !fin_due || queued == 0, || format!("{:?} with {queued} bytes queued", view.send))?;
    let unsent = view.stats.accepted - view.stats.flushed;
    // After the peer's goodbye a protocol may give up what it held back for credit.
    let given_up =
        view.cause.as_ref().is_some_and(|c| c.starts_with("PeerClose")) || side.decoded.reference.closed.is_some();
    law(Law::L2FinLast, !fin_due || unsent == 0 || given_up, || {
        format!("{:?} with {unsent} messages unsent", view.send)
    })?;
    let fin = view.interest.shutdown_write;
    law(Law::L2FinLast, !(fin && view.interest.write), || "FIN and bytes are wanted at once".into())?;
    law(Law::L2FinLast, !(fin && side.fin_done), || "a second FIN is wanted".into())?;
    law(Law::L2FinLast, !side.fin_done || !view.interest.write, || "bytes are wanted after FIN".into())
}

/// L3: queues and buffers stay inside their limits.
fn bounded<S: Subject>(side: &Side<S>, view: &View) -> Verdict {
    let limits = &side.config.limits;
    let (unread, queued) = view.buffered;
    law(Law::L3Bounded, unread <= limits.recv_buffer, || format!("{unread} bytes of {} received", limits.recv_buffer))?;
    let most = limits.send_buffer + limits.control_reserve;
    law(Law::L3Bounded, queued <= most, || format!("{queued} bytes of {most} queued"))?;
    let lingers = side.lingered < limits.linger_bytes || side.lingered == 0 || side.released;
    law(Law::L3Bounded, lingers || view.interest.release.is_some(), || {
        format!("{} bytes were thrown away while lingering, {} are allowed", side.lingered, limits.linger_bytes)
    })?;
    let room = view.room;
    law(
        Law::L3Bounded,
        room <= limits.send_buffer.saturating_sub(queued.saturating_sub(limits.control_reserve)),
        || format!("{room} bytes are said to be free while {queued} are queued"),
    )
}

/// L4: a released session wants nothing, and one that wants to be released wants nothing else.
fn quiet_end<S: Subject>(side: &Side<S>, view: &View) -> Verdict {
    let i = &view.interest;
    let wants = i.read || i.write || i.shutdown_write || i.deadline.is_some();
    let ended = side.released || i.release.is_some();
    law(Law::L4QuietEnd, !(ended && wants), || format!("released, and wants {i:?}"))?;
    law(Law::L4QuietEnd, !(side.released && i.release.is_some()), || "released, and wants to be again".into())?;
    law(Law::L4QuietEnd, side.closed.is_none() || !i.event, || "an event is promised after Closed".into())?;
    law(Law::L4QuietEnd, !side.released || view.cause.is_some(), || "released without a cause".into())?;
    law(Law::L4QuietEnd, !side.released || i.event || side.closed.is_some(), || "released, and no Closed comes".into())
}

/// L5: who is alive and waits, waits for something. With the time-outs that bound every stage there is a deadline.
fn never_inert<S: Subject>(side: &Side<S>, view: &View) -> Verdict {
    let i = &view.interest;
    if side.released || i.release.is_some() || i.event {
        return Ok(());
    }
    // A full buffer that waits for a command waits for its owner.
    let owner = side.decoded.reference.awaits_command && view.buffered.0 > 0;
    // After the peer's end, under this policy, only the owner has something to say.
    let keeps = side.config.on_peer_finish == OnPeerFinish::KeepSending && view.send == SendState::Open;
    let owner_only = side.peer_finished && keeps;
    let waits = i.read || i.write || i.shutdown_write || i.deadline.is_some() || owner || owner_only;
    let connecting = !side.connected && side.config.timeouts.connect.is_none();
    // What the protocol holds back for the peer's credit waits for ever if the owner does not listen.
    let deaf = side.read_shut && view.buffered.1 == 0 && view.stats.accepted > view.stats.flushed;
    law(Law::L5NeverInert, waits || connecting || deaf, || format!("nothing is waited for: {view:?}"))?;
    let t = &side.config.timeouts;
    let stages = [t.connect, t.handshake, t.idle, t.close_handshake, t.flush, t.linger];
    let bounded = stages.iter().all(Option::is_some);
    law(Law::L5NeverInert, !bounded || i.deadline.is_some() || owner, || {
        format!("no deadline, with all time-outs set: {view:?}")
    })
}

/// L6: the end of the peer's stream is told after the end was read, and a FIN drops nothing of ours.
fn eof_order<S: Subject>(side: &Side<S>, view: &View) -> Verdict {
    let reads = view.interest.read;
    law(Law::L6EofOrder, !(side.eof_given && reads), || "reading is wanted after the peer's FIN".into())?;
    law(Law::L6EofOrder, !side.peer_finished || side.eof_given, || "PeerFinished without a FIN".into())
}

/// L6: neither reading the FIN nor telling of it drops queued output, unless the policy is to abort.
fn fin_drops_nothing<S: Subject>(side: &Side<S>, before: &View, after: &View, op: &Op) -> Verdict {
    let about_fin = side.eof_given && matches!(op, Op::Read { .. } | Op::Poll { .. });
    let limit = after.cause.as_ref().is_some_and(|c| c.starts_with("Limit"));
    let policy = side.config.on_peer_finish == OnPeerFinish::Abort || limit;
    let dropped = after.buffered.1 < before.buffered.1;
    law(Law::L6EofOrder, !about_fin || policy || !dropped, || format!("{op:?} dropped queued output: {after:?}"))
}

/// L7: after `handle_timeout` everything else is later.
fn time_moves<S: Subject>(side: &Side<S>, before: &View, after: &View, op: &Op) -> Verdict {
    let due = after.due(side.told);
    let held = !matches!(op, Op::Timeout) || due.is_none();
    law(Law::L7TimeMoves, held, || format!("{due:?} is still due after handle_timeout; before {:?}", before.interest))
}

/// L7: waiting again postpones nothing. Bytes may; asking may not.
fn nothing_is_postponed<S: Subject>(side: &Side<S>, before: &View, after: &View, op: &Op, effect: Effect) -> Verdict {
    let (Some(was), Some(is)) = (before.interest.deadline, after.interest.deadline) else { return Ok(()) };
    if was.reason != is.reason || is.at <= was.at {
        return Ok(());
    }
    let moved = effect == Effect::Done;
    // A full buffer stops the clocks that listen to the peer; they start anew when there is room.
    let resumed = before.buffered.0 == side.config.limits.recv_buffer && after.buffered.0 < before.buffered.0;
    let may = match is.reason {
        TimeoutReason::WriteStall => matches!(op, Op::Transmit { .. }) && moved,
        TimeoutReason::Idle => resumed || (moved && matches!(op, Op::Transmit { .. } | Op::Read { .. })),
        TimeoutReason::KeepaliveSend | TimeoutReason::KeepaliveReply => {
            // A heartbeat of the protocol's has the same name, and may be what is left when the session's is off.
            let other = (before.recv, before.send) != (after.recv, after.send);
            resumed || other || (moved && matches!(op, Op::Read { .. } | Op::Timeout | Op::Transmit { .. }))
        }
        // The protocol's own.
        TimeoutReason::Request | TimeoutReason::Protocol(_) => true,
        _ => false,
    };
    law(Law::L7TimeMoves, may, || format!("{op:?} postponed {was:?} to {is:?}"))
}

/// L10: what was delivered is the beginning of what the reference decoder makes of the bytes received, and all of
/// it once the peer is said to have finished.
fn faithful<S: Subject>(side: &Side<S>) -> Verdict {
    let reference = &side.decoded.reference;
    let last = match &reference.rest {
        End::Final(event) if side.eof_given => Some(event),
        _ => None,
    };
    let mut expected = reference.events.iter().map(|(_, event)| event).chain(last);
    for (i, event) in side.delivered.iter().enumerate() {
        let due = expected.next();
        law(Law::L10Faithful, due == Some(event), || format!("message {i} is {event:?}, the reference has {due:?}"))?;
    }
    // Who drains takes up nothing new.
    if !side.peer_finished || side.drained.is_some() {
        return Ok(());
    }
    let missing = expected.count();
    law(Law::L10Faithful, missing == 0, || format!("PeerFinished, with {missing} messages not delivered"))?;
    let whole = !matches!(reference.rest, End::Truncated | End::Violation) && !reference.violated;
    law(Law::L10Faithful, whole, || "PeerFinished, though the stream was cut off or broken".into())
}

/// L11: who was refused hears of the room as soon as there is some.
fn writable<S: Subject>(side: &mut Side<S>, view: &View) -> Verdict {
    let open = view.established && view.send == SendState::Open && !side.finish_called && !side.released;
    if let Some(need) = side.wants.take_if(|need| open && view.room >= *need) {
        side.due = Some(side.due.map_or(need, |earlier| earlier.min(need)));
    }
    let Some(need) = side.due.filter(|_| open) else { return Ok(()) };
    law(Law::L11Writable, view.interest.event, || {
        format!("{need} bytes were refused, then free, and nothing tells of it")
    })
}

/// L12: where reading is wanted there is room, and never more than the limit.
fn room_to_read<S: Subject>(side: &mut Side<S>, view: &View) -> Verdict {
    if !view.interest.read {
        return Ok(());
    }
    let limit = side.config.limits.recv_buffer;
    let mut buf = side.session.recv_buf();
    let (room, chunk) = (buf.remaining_mut(), buf.chunk_mut().len());
    law(Law::L12RoomToRead, room > 0 && chunk > 0, || "reading is wanted into no room".into())?;
    law(Law::L3Bounded, room + view.buffered.0 <= limit, || {
        format!("{room} bytes may be read beyond the limit {limit}")
    })
}

/// L13: reading goes on, and messages are delivered, whatever the send side does.
fn reads_never_wait<S: Subject>(side: &Side<S>, view: &View) -> Verdict {
    if !view.recv.decodes() || !side.connected || view.interest.event || side.drained.is_some() {
        return Ok(());
    }
    let due = side.decoded.reference.events.len();
    let taken = side.delivered.len();
    law(Law::L13ReadsNeverWait, taken >= due, || {
        format!("{due} messages were received and {taken} delivered, and no event is promised: {view:?}")
    })?;
    let waits = side.decoded.reference.awaits_command;
    let reads = !view.recv.reads() || waits || view.interest.read || side.released || view.interest.release.is_some();
    law(Law::L13ReadsNeverWait, reads, || format!("nothing to take, and nothing is read: {view:?}"))
}

/// L14: every accepted message is on the wire or counted as unsent; every received byte is in a delivered message or
/// counted as undelivered.
fn nothing_vanishes<S: Subject>(side: &Side<S>, view: &View) -> Verdict {
    let wire = &side.encoded.reference;
    law(Law::L14NothingVanishes, !wire.violated, || "what was written breaks the protocol".into())?;
    let (accepted, flushed) = (view.stats.accepted, view.stats.flushed);
    law(Law::L14NothingVanishes, accepted == side.accepted_count, || {
        format!("{} commands were accepted, {accepted} are counted", side.accepted_count)
    })?;
    law(Law::L14NothingVanishes, flushed == wire.messages, || {
        format!("{} messages are on the wire, {flushed} are counted as flushed", wire.messages)
    })?;
    let prefix = wire.events.iter().map(|(_, event)| event).eq(side.accepted.iter().take(wire.events.len()));
    law(Law::L14NothingVanishes, prefix, || {
        format!("the wire carries {:?}, accepted were {:?}", wire.events, side.accepted)
    })?;
    let Some(closed) = &side.closed else { return Ok(()) };
    let unsent = accepted - wire.messages;
    law(Law::L14NothingVanishes, closed.unsent == unsent, || {
        format!("{unsent} messages are not on the wire, {} are reported unsent", closed.unsent)
    })?;
    received_bytes_are_accounted(side, closed.undelivered)
}

fn received_bytes_are_accounted<S: Subject>(side: &Side<S>, undelivered: u64) -> Verdict {
    let reference = &side.decoded.reference;
    if reference.violated || matches!(reference.rest, End::Violation) || side.drained.is_some() {
        return Ok(());
    }
    let total = side.received.len();
    let consumed = usize::try_from(undelivered).ok().and_then(|n| total.checked_sub(n));
    let taken = side.delivered.len();
    let from = taken.checked_sub(1).map_or(0, |last| reference.events.get(last).map_or(total, |(end, _)| *end));
    let to = reference.events.get(taken).map_or(total, |(end, _)| *end - 1).max(from);
    let held = consumed.is_some_and(|n| (from..=to).contains(&n) && (n == total || reference.boundaries.contains(&n)));
    law(Law::L14NothingVanishes, held, || {
        format!("{undelivered} of {total} bytes are reported undelivered; {taken} messages end at {from}")
    })
}
