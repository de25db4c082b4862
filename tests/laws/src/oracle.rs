//! L9: the first cause, worked out from the calls alone, against what the session says.

use core::time::Duration;

use duologue_core::{FaultKind, Instant, OnPeerFinish, Release, SendState, TimeoutReason};

use crate::call::Op;
use crate::law::{Law, Verdict, law};
use crate::side::{Side, View};
use crate::subject::{End, Subject};
use crate::world::Effect;

/// Checks what the call did to the cause, and that it is kept from then on.
pub(crate) fn check<S: Subject>(side: &mut Side<S>, before: &View, after: &View, op: &Op, effect: Effect) -> Verdict {
    if let Some(first) = &side.first_cause {
        let kept = after.cause.as_ref() == Some(first);
        law(Law::L9OneEnd, kept, || format!("the first cause was {first}, now it is {:?}", after.cause))?;
    }
    match (&before.cause, &after.cause) {
        (None, Some(cause)) => {
            justified(side, before, op, effect, cause)?;
            side.first_cause = Some(cause.clone());
        }
        (None, None) => overdue(side, before, after, op, effect)?,
        _ => {}
    }
    severity(side, before, after, op)?;
    one_end(side)
}

/// An abort resets, and a close that waits for nothing ends the wait for an answer.
fn severity<S: Subject>(side: &Side<S>, before: &View, after: &View, op: &Op) -> Verdict {
    let reset = after.interest.release == Some(Release::Abort) || side.released;
    law(Law::L9OneEnd, !matches!(op, Op::Abort { .. }) || reset, || format!("an abort does not reset: {after:?}"))?;
    let waits = matches!(op, Op::Close { flush: true, .. }) && after.send == SendState::Closing;
    law(Law::L8Ends, !waits, || format!("a close that waits for nothing still waits; before it {before:?}"))
}

/// Whether the cause is one that this call could bring.
fn justified<S: Subject>(side: &Side<S>, before: &View, op: &Op, effect: Effect, cause: &str) -> Verdict {
    let wire = &side.decoded.reference;
    let kind = cause.split(['(', ' ', '{']).next().unwrap_or_default();
    let held = match kind {
        "LocalClose" => {
            let asked = matches!(op, Op::Close { code, .. } if cause.contains(&format!("Code({code})")));
            asked || side.own_close.is_some_and(|code| cause.contains(&format!("{code:?}")))
        }
        "LocalAbort" => matches!(op, Op::Abort { code } if cause.contains(&format!("Code({code})"))),
        "LocalFinished" => side.eof_before_fin == Some(false) && side.fin_done,
        "PeerFinished" => side.eof_before_fin == Some(true) && (side.fin_done || aborts(side)),
        "PeerClose" => wire.closed.is_some_and(|code| cause.contains(&format!("{code:?}"))),
        "Truncated" => {
            let fault = matches!(op, Op::Fault { kind: FaultKind::Truncated, .. });
            fault || (side.eof_given && wire.rest == End::Truncated)
        }
        "PeerReset" => {
            let fault = matches!(op, Op::Fault { kind: FaultKind::Reset | FaultKind::BrokenPipe, .. });
            fault || effect == Effect::Reset
        }
        "Transport" => matches!(op, Op::Fault { .. }),
        "Timeout" => matches!(op, Op::Timeout) && timed_out(side, before, cause),
        "Violation" => wire.violated || (side.eof_given && wire.rest == End::Violation) || matches!(op, Op::Timeout),
        "Limit" => limit_reached(side, before, op, cause),
        "Misuse" => side.misused,
        _ => false,
    };
    law(Law::L9OneEnd, held, || format!("{op:?} ({effect:?}) cannot end with {cause}; before it {before:?}"))
}

fn aborts<S: Subject>(side: &Side<S>) -> bool {
    side.config.on_peer_finish == OnPeerFinish::Abort
}

/// The deadline that was told of is the one that ends it, when it came in time; and never did it come too early.
fn timed_out<S: Subject>(side: &Side<S>, before: &View, cause: &str) -> bool {
    let Some(deadline) = before.interest.deadline.filter(|d| d.at <= side.told) else { return false };
    let t = &side.config.timeouts;
    let passed = |since: Instant, wait: Option<Duration>| wait.is_none_or(|wait| since.after(wait) <= side.told);
    let early = match cause {
        "Timeout(Idle)" => !passed(side.heard.max(side.spoke), t.idle),
        // Under a rate the last byte may have bought next to nothing.
        "Timeout(WriteStall)" => t.write_rate == 0 && !passed(side.spoke, t.write_stall),
        "Timeout(KeepaliveReply)" => {
            let full = before.buffered.0 == side.config.limits.recv_buffer;
            full || !passed(side.heard, t.keepalive.map(|k| k.reply))
        }
        "Timeout(Handshake)" => before.established,
        "Timeout(Connect)" => side.connected,
        _ => false,
    };
    let same = cause == format!("Timeout({:?})", deadline.reason);
    // A probe and the end of the wait may be due at the same time, of the session's own or of a heartbeat's.
    let followed = deadline.reason == TimeoutReason::KeepaliveSend && cause == "Timeout(KeepaliveReply)";
    // Late, several may have come, and a protocol's timer may find out something else.
    let late = deadline.at < side.told || matches!(deadline.reason, TimeoutReason::Protocol(_));
    !early && (same || followed || late)
}

fn limit_reached<S: Subject>(side: &Side<S>, before: &View, op: &Op, cause: &str) -> bool {
    if cause.contains("RecvBuffer") {
        return before.buffered.0 + side.received.len() >= side.config.limits.recv_buffer;
    }
    let queued = before.buffered.1 + 64 > side.config.limits.control_reserve;
    let events = cause.contains("Events") && matches!(op, Op::Timeout);
    (cause.contains("ControlReserve") && queued) || events
}

/// Whether this call had to bring a cause and did not.
fn overdue<S: Subject>(side: &Side<S>, before: &View, after: &View, op: &Op, effect: Effect) -> Verdict {
    let must = match op {
        Op::Close { .. } | Op::Abort { .. } | Op::Fault { .. } | Op::Overreport | Op::ReleaseUnasked => true,
        Op::Timeout => matches!(
            before.due(side.told),
            Some(TimeoutReason::Connect | TimeoutReason::Handshake | TimeoutReason::Idle | TimeoutReason::WriteStall)
        ),
        _ => effect == Effect::Reset,
    };
    law(Law::L9OneEnd, !must, || format!("{op:?} brought no cause; before it {before:?}"))?;
    let wire = &side.decoded.reference;
    // Who drains looks at no further message, right or wrong.
    let looks = after.recv.decodes() && side.drained.is_none();
    let waiting = !looks || after.interest.event || side.delivered.len() < wire.events.len();
    law(Law::L9OneEnd, waiting || wire.awaits_command || !wire.violated, || {
        format!("a violation was not found: {after:?}")
    })?;
    law(Law::L9OneEnd, waiting || wire.closed.is_none(), || format!("the peer's goodbye was not heard: {after:?}"))?;
    let both = side.fin_done && side.eof_given && after.recv.is_over();
    law(Law::L9OneEnd, !both, || format!("both sides finished, and no end comes: {after:?}"))
}

fn one_end<S: Subject>(side: &Side<S>) -> Verdict {
    law(Law::L9OneEnd, !side.after_closed, || "an event came after Closed".into())?;
    let Some(closed) = &side.closed else { return Ok(()) };
    law(Law::L9OneEnd, side.released, || "Closed before the transport was released".into())?;
    let cause = format!("{:?}", closed.cause);
    let first = side.first_cause.as_ref();
    law(Law::L9OneEnd, first == Some(&cause), || format!("Closed says {cause}, the first cause was {first:?}"))?;
    let seen = closed.peer_finished == side.eof_given;
    law(Law::L9OneEnd, seen, || format!("Closed says the peer's FIN was seen: {}", closed.peer_finished))?;
    let peer_first = closed.finished_first.map(|side| side == duologue_core::Side::Peer);
    law(Law::L9OneEnd, peer_first == side.eof_before_fin, || {
        format!("Closed says {:?} finished first; the peer did: {:?}", closed.finished_first, side.eof_before_fin)
    })
}
