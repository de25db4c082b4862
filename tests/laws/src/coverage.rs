//! Sometimes-assertions: what a run reached, and what it never did.

use std::collections::BTreeSet;

use duologue_core::halves::{RecvInput, SendInput};
use duologue_core::{Closed, RecvState, SendState};

use crate::call::Op;
use crate::side::View;
use crate::world::Effect;

/// What was reached at least once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Pairs of states.
    pub states: BTreeSet<(RecvState, SendState)>,
    /// Transitions of the receive half.
    pub recv: BTreeSet<(RecvState, RecvInput)>,
    /// Transitions of the send half.
    pub send: BTreeSet<(SendState, SendInput)>,
    /// Kinds of causes, by [`Cause::kind`](duologue_core::Cause::kind), time-outs with their reason.
    pub causes: BTreeSet<String>,
    /// Phases in which sessions ended.
    pub phases: BTreeSet<duologue_core::Phase>,
}

/// Every kind of cause, by its name.
const CAUSES: &[&str] = &[
    "local-close",
    "local-abort",
    "local-finished",
    "peer-finished",
    "peer-close",
    "truncated",
    "peer-reset",
    "violation",
    "limit",
    "transport",
    "misuse",
    "timeout connect",
    "timeout handshake",
    "timeout idle",
    "timeout keepalive-reply",
    "timeout write-stall",
];

const PHASES: &[duologue_core::Phase] = {
    use duologue_core::Phase;
    &[
        Phase::Connecting,
        Phase::Handshaking,
        Phase::Open,
        Phase::Goodbye,
        Phase::Flushing,
        Phase::Holding,
        Phase::ShuttingDown,
        Phase::Lingering,
        Phase::Complete,
    ]
};

impl Coverage {
    /// Adds what another run reached.
    pub fn merge(&mut self, other: &Self) {
        self.states.extend(&other.states);
        self.recv.extend(&other.recv);
        self.send.extend(&other.send);
        self.causes.extend(other.causes.iter().cloned());
        self.phases.extend(&other.phases);
    }

    /// Every transition, cause and phase that exists and was never reached.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let recv = RecvState::TRANSITIONS.iter().filter(|(from, by, _)| !self.recv.contains(&(*from, *by)));
        let send = SendState::TRANSITIONS.iter().filter(|(from, by, _)| !self.send.contains(&(*from, *by)));
        let causes = CAUSES.iter().filter(|cause| !self.causes.contains(**cause));
        let phases = PHASES.iter().filter(|phase| !self.phases.contains(phase));
        recv.map(|t| format!("receive half: {t:?}"))
            .chain(send.map(|t| format!("send half: {t:?}")))
            .chain(causes.map(|cause| format!("cause: {cause}")))
            .chain(phases.map(|phase| format!("phase: {phase:?}")))
            .collect()
    }

    pub(crate) fn note<V>(&mut self, before: &View, after: &View, op: &Op, effect: Effect, closed: Option<&Closed<V>>) {
        self.states.insert((after.recv, after.send));
        if before.recv != after.recv {
            let likely = match op {
                Op::Abort { .. } => RecvInput::Stop,
                Op::Read { .. } if effect == Effect::Eof => RecvInput::Eof,
                Op::Fault { .. } | Op::Release | Op::ReleaseUnasked => RecvInput::Fail,
                Op::Poll { .. } | Op::Handle { .. } => RecvInput::Drained,
                Op::Timeout => RecvInput::Stop,
                _ => RecvInput::Discard,
            };
            let path = path(RecvState::TRANSITIONS, before.recv, after.recv, likely);
            self.recv.extend(path);
        }
        if before.send != after.send {
            let likely =
                if before.cause.is_none() && after.cause.is_some() { SendInput::Close } else { SendInput::Finish };
            let path = path(SendState::TRANSITIONS, before.send, after.send, likely);
            self.send.extend(path);
        }
        if let Some(closed) = closed {
            self.phases.insert(closed.phase);
            let kind = closed.cause.kind();
            self.causes.insert(match &closed.cause {
                duologue_core::Cause::Timeout(reason) => format!("{kind} {reason}"),
                _ => kind.to_string(),
            });
        }
    }
}

/// The shortest way from one state to another; of several, the one that begins with the likely input.
fn path<St: Copy + PartialEq, In: Copy + PartialEq>(
    table: &[(St, In, St)],
    from: St,
    to: St,
    likely: In,
) -> Vec<(St, In)> {
    let mut ways: Vec<Vec<&(St, In, St)>> = vec![Vec::new()];
    for _ in 0..table.len() {
        let arrived = |way: &&Vec<&(St, In, St)>| way.last().is_some_and(|step| step.2 == to);
        let begins = |way: &&Vec<&(St, In, St)>| way.first().is_some_and(|step| step.1 == likely);
        let mut found = ways.iter().filter(arrived).collect::<Vec<_>>();
        found.sort_by_key(|way| !begins(way));
        if let Some(way) = found.first() {
            return way.iter().map(|step| (step.0, step.1)).collect();
        }
        ways = ways
            .iter()
            .flat_map(|way| {
                let at = way.last().map_or(from, |step| step.2);
                table.iter().filter(move |step| step.0 == at).map(|step| way.iter().copied().chain([step]).collect())
            })
            .collect();
    }
    Vec::new()
}
