//! What a test draws from its seed, or gets from a scenario.

use std::ops::RangeInclusive;

use super::World;
use crate::scenario::drawn;
use crate::schedule::{FaultSchedule, Shape};

/// Drawing.
impl World {
    /// Draws a number of the test's own from the seed: how many hosts, how long a message. A failure is shrunk by
    /// lowering it, so 0 (the least) should be the simplest. Each name is drawn for itself: another number more or
    /// less changes no other.
    pub fn draw(&mut self, name: &str, range: RangeInclusive<u64>) -> u64 {
        self.draw_for(name, 0, range)
    }

    /// Draws the number of this name for the `index`-th of several (connections, messages).
    pub fn draw_for(&mut self, name: &str, index: u32, range: RangeInclusive<u64>) -> u64 {
        let (least, most) = (*range.start(), (*range.end()).max(*range.start()));
        if self.drawn.is_none() && self.given.numbers.is_empty() {
            return drawn(self.given.seed, name, index, least, most);
        }
        let name_of = if index == 0 { name.to_string() } else { format!("{name} {index}") };
        let number = match self.given.numbers.get(&name_of) {
            Some(given) => (*given).clamp(least, most),
            None => drawn(self.given.seed, name, index, least, most),
        };
        if let Some(drawn) = &mut self.drawn {
            drawn.numbers.insert(name_of, number);
        }
        number
    }

    /// Plans the faults of the scenario, or else a random schedule of the seed's.
    pub fn draw_faults(&mut self, shape: Shape) -> FaultSchedule {
        let seed = self.given.seed;
        self.draw_faults_or(|| FaultSchedule::swarm(seed, shape))
    }

    /// Plans the faults of the scenario, or else those that `make` gives.
    pub fn draw_faults_or(&mut self, make: impl FnOnce() -> FaultSchedule) -> FaultSchedule {
        let schedule = self.given.schedule.clone().unwrap_or_else(make);
        if let Some(drawn) = &mut self.drawn {
            drawn.schedule = Some(schedule.clone());
        }
        self.faults(&schedule);
        schedule
    }
}
