//! What runs reached: states, transitions, causes, phases.

use duologue_core::halves::{RecvInput, SendInput};
use duologue_core::{Phase, RecvState, SendState};

/// What was reached at least once: sets of bits, so that noting costs nothing.
///
/// A driver sees a session only between two calls. A call may take several transitions; of the ways between the two
/// states the shortest is noted. Transitions with the same ends count as one, whatever moved them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    recv_states: u16,
    send_states: u16,
    recv_moves: u64,
    send_moves: u64,
    phases: u16,
}

impl Coverage {
    pub(crate) fn start(states: (RecvState, SendState)) -> Self {
        Self { recv_states: 1 << states.0 as u16, send_states: 1 << states.1 as u16, ..Self::default() }
    }

    #[cold]
    pub(crate) fn moved(&mut self, from: (RecvState, SendState), to: (RecvState, SendState)) {
        let recv = ends::<_, RecvInput, { RecvState::TRANSITIONS.len() }>(RecvState::TRANSITIONS, |s| s as u32);
        let send = ends::<_, SendInput, { SendState::TRANSITIONS.len() }>(SendState::TRANSITIONS, |s| s as u32);
        let (states, moves) = way(&recv, from.0 as u32, to.0 as u32);
        self.recv_states |= states;
        self.recv_moves |= moves;
        let (states, moves) = way(&send, from.1 as u32, to.1 as u32);
        self.send_states |= states;
        self.send_moves |= moves;
    }

    pub(crate) fn ended(&mut self, phase: Phase) {
        self.phases |= 1 << phase as u16;
    }

    /// Adds what another run reached.
    pub fn merge(&mut self, other: &Self) {
        self.recv_states |= other.recv_states;
        self.send_states |= other.send_states;
        self.recv_moves |= other.recv_moves;
        self.send_moves |= other.send_moves;
        self.phases |= other.phases;
    }

    /// Every row there is, with whether it was reached.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, bool)> {
        let mut rows = Vec::new();
        for state in RecvState::ALL {
            rows.push((format!("receive state {state:?}"), self.recv_states >> *state as u16 & 1 == 1));
        }
        for state in SendState::ALL {
            rows.push((format!("send state {state:?}"), self.send_states >> *state as u16 & 1 == 1));
        }
        for (from, _, to) in RecvState::TRANSITIONS {
            let row = (format!("receive {from:?} -> {to:?}"), self.recv_moves & bit(*from as u32, *to as u32) != 0);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        for (from, _, to) in SendState::TRANSITIONS {
            let row = (format!("send {from:?} -> {to:?}"), self.send_moves & bit(*from as u32, *to as u32) != 0);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        for phase in PHASES {
            rows.push((format!("phase {phase:?}"), self.phases >> phase as u16 & 1 == 1));
        }
        rows
    }
}

const PHASES: [Phase; 9] = [
    Phase::Connecting,
    Phase::Handshaking,
    Phase::Open,
    Phase::Goodbye,
    Phase::Flushing,
    Phase::Holding,
    Phase::ShuttingDown,
    Phase::Lingering,
    Phase::Complete,
];

const fn bit(from: u32, to: u32) -> u64 {
    1 << (from * 8 + to)
}

fn ends<S: Copy, I, const N: usize>(table: &[(S, I, S)], number: impl Fn(S) -> u32) -> [(u32, u32); N] {
    std::array::from_fn(|i| (number(table[i].0), number(table[i].2)))
}

/// The states and moves of the shortest way.
fn way(table: &[(u32, u32)], from: u32, to: u32) -> (u16, u64) {
    (0..=table.len()).find_map(|length| walk(table, from, to, length)).unwrap_or((1 << to, 0))
}

fn walk(table: &[(u32, u32)], from: u32, to: u32, length: usize) -> Option<(u16, u64)> {
    if from == to {
        return Some((1 << to, 0));
    }
    let steps = table.iter().filter(|(at, _)| *at == from && length > 0);
    steps
        .filter_map(|(_, next)| walk(table, *next, to, length - 1).map(|(s, m)| (s | 1 << from, m | bit(from, *next))))
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_way_is_noted_with_what_lies_on_it() {
        let open = (RecvState::Open, SendState::Open);
        let mut coverage = Coverage::start(open);
        coverage.moved(open, (RecvState::Finished, SendState::Finished));
        let reached: Vec<_> = coverage.rows().into_iter().filter(|(_, reached)| *reached).map(|(row, _)| row).collect();
        assert!(reached.contains(&"receive Open -> Draining".to_string()), "{reached:?}");
        assert!(reached.contains(&"send ShuttingDown -> Finished".to_string()), "{reached:?}");
        assert!(!reached.contains(&"send Closing -> Flushing".to_string()), "{reached:?}");
    }
}
