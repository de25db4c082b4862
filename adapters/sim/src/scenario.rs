//! A whole run as data: its seed, the numbers it drew, its faults. Written down, run again, shrunk.

use std::collections::BTreeMap;

use duologue_core::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schedule::FaultSchedule;

/// What a run was made from. The same scenario and the same code make the same run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The seed: of what is not said below, and of jitter and the sessions' randomness.
    pub seed: u64,
    /// Numbers that the test drew by [`World::draw`](crate::World::draw), by name. What is missing comes from the
    /// seed.
    #[serde(default)]
    pub numbers: BTreeMap<String, u64>,
    /// The faults; `None`: those that the seed gives to [`World::draw_faults`](crate::World::draw_faults).
    #[serde(default)]
    pub schedule: Option<FaultSchedule>,
}

impl Scenario {
    /// What a seed gives.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers and names: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From JSON.
    ///
    /// # Errors
    /// It is not a scenario.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The smallest scenario found that still fails, and how many runs that took, `most` at most.
    ///
    /// `fails` runs a scenario and gives back what it was in full if it failed. First faults are left out, halves,
    /// quarters, ... down to single ones; then every number is made smaller: counts, sizes and times, those that the
    /// test drew and those of the faults. Then all of it again, until nothing helps.
    pub fn shrink(&self, most: usize, mut fails: impl FnMut(&Self) -> Option<Self>) -> (Self, usize) {
        let mut search = Search { best: self.clone(), runs: 0, most, fails: &mut fails };
        loop {
            let before = search.best.clone();
            search.leave_out();
            search.lower();
            if search.best == before || search.runs >= most {
                return (search.best, search.runs);
            }
        }
    }
}

/// The number that a seed gives to a name, from `least` to `most`.
pub(crate) fn drawn(seed: u64, name: &str, index: u32, least: u64, most: u64) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mut rng = Rng::new(Rng::new(seed).next_u64() ^ hash ^ (u64::from(index) << 32));
    least.saturating_add(rng.below(most.saturating_sub(least).saturating_add(1)))
}

struct Search<'a> {
    best: Scenario,
    runs: usize,
    most: usize,
    fails: &'a mut dyn FnMut(&Scenario) -> Option<Scenario>,
}

impl Search<'_> {
    fn try_out(&mut self, trial: &Scenario) -> bool {
        if self.runs >= self.most || *trial == self.best {
            return false;
        }
        self.runs += 1;
        match (self.fails)(trial) {
            Some(full) => {
                self.best = full;
                true
            }
            None => false,
        }
    }

    fn faults(&self) -> usize {
        self.best.schedule.as_ref().map_or(0, |schedule| schedule.faults.len())
    }

    fn leave_out(&mut self) {
        let mut part = self.faults().div_ceil(2);
        while part > 0 {
            let mut from = 0;
            while from < self.faults() {
                let mut trial = self.best.clone();
                if let Some(schedule) = &mut trial.schedule {
                    let to = (from + part).min(schedule.faults.len());
                    schedule.faults.drain(from..to);
                }
                if !self.try_out(&trial) {
                    from += part;
                }
            }
            part /= 2;
        }
    }

    fn lower(&mut self) {
        let Ok(whole) = serde_json::to_value(&self.best) else { return };
        let mut places = Vec::new();
        for field in ["numbers", "schedule"] {
            numbers_in(&whole[field], &format!("/{field}"), &mut places);
        }
        for place in places {
            self.lower_one(&place);
        }
    }

    /// To zero if that still fails, else by halves; then to a round number.
    fn lower_one(&mut self, place: &str) {
        let Some(start) = self.at(place) else { return };
        if start == 0 || self.set(place, 0) {
            return;
        }
        let mut step = start / 2;
        for _ in 0..6 {
            if step == 0 {
                break;
            }
            let now = self.at(place).unwrap_or(0);
            if !self.set(place, now - step) {
                step /= 2;
            } else {
                step = step.abs().min((now - step).abs() / 2) * start.signum();
            }
        }
        let now = self.at(place).unwrap_or(0);
        let mut unit = 10;
        while now.abs() / unit >= 10 {
            unit *= 10;
        }
        while unit > 1 && !(now % unit != 0 && self.set(place, now - now % unit)) {
            unit /= 10;
        }
    }

    fn at(&self, place: &str) -> Option<i128> {
        let whole = serde_json::to_value(&self.best).ok()?;
        let value = whole.pointer(place)?;
        value.as_u64().map(i128::from).or_else(|| value.as_i64().map(i128::from))
    }

    fn set(&mut self, place: &str, number: i128) -> bool {
        let Ok(mut whole) = serde_json::to_value(&self.best) else { return false };
        let Some(value) = whole.pointer_mut(place) else { return false };
        *value = match (u64::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => return false,
        };
        serde_json::from_value(whole).is_ok_and(|trial| self.try_out(&trial))
    }
}

/// The places of all numbers, as JSON pointers.
fn numbers_in(value: &Value, place: &str, places: &mut Vec<String>) {
    match value {
        Value::Number(_) => places.push(place.to_string()),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| numbers_in(item, &format!("{place}/{i}"), places));
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                numbers_in(field, &format!("{place}/{name}"), places);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    #[test]
    fn numbers_come_from_the_seed_and_stay_in_their_range() {
        for seed in 0..500 {
            let n = drawn(seed, "messages", 3, 5, 9);
            assert!((5..=9).contains(&n));
            assert_eq!(n, drawn(seed, "messages", 3, 5, 9));
        }
        let all: Vec<_> = (5..=9).filter(|n| (0..500).any(|seed| drawn(seed, "x", 0, 5, 9) == *n)).collect();
        assert_eq!(all, [5, 6, 7, 8, 9]);
        assert_eq!(drawn(1, "x", 0, 7, 7), 7);
        let _ = drawn(1, "x", 0, 0, u64::MAX);
    }

    fn large() -> Scenario {
        let mut schedule = FaultSchedule::none();
        for host in 0..20 {
            schedule = schedule.with(98_765_432_100, Fault::ClockJump { host, nanos: -7_777_777_777 });
        }
        let numbers = [("messages".to_string(), 87), ("a/b~c".to_string(), 55)].into();
        Scenario { seed: 4, numbers, schedule: Some(schedule) }
    }

    #[test]
    fn faults_and_numbers_shrink_to_what_is_needed() {
        let fails = |s: &Scenario| {
            let faults = &s.schedule.as_ref().unwrap().faults;
            let jump = |f: &crate::TimedFault| {
                f.at >= 1_000_000_000
                    && matches!(f.fault, Fault::ClockJump { host: 13, nanos } if nanos <= -2_000_000_000)
            };
            (s.numbers["messages"] >= 12 && faults.iter().any(jump)).then(|| s.clone())
        };
        let (small, runs) = large().shrink(500, fails);
        let faults = small.schedule.unwrap().faults;
        assert_eq!((faults.len(), small.numbers["messages"], small.numbers["a/b~c"]), (1, 12, 0));
        assert!(faults[0].at <= 1_100_000_000, "{faults:?}");
        assert!(
            matches!(faults[0].fault, Fault::ClockJump { host: 13, nanos } if nanos >= -2_100_000_000),
            "{faults:?}"
        );
        assert!(runs < 250, "{runs}");
    }

    #[test]
    fn shrinking_stops_at_its_bound() {
        let mut runs = 0;
        let (_, counted) = large().shrink(17, |s| {
            runs += 1;
            Some(s.clone())
        });
        assert!(runs <= 17 && runs == counted, "{runs}");
    }

    #[test]
    fn a_scenario_survives_json() {
        assert_eq!(Scenario::from_json(&large().to_json()).unwrap(), large());
        assert_eq!(Scenario::from_json("{\"seed\":9}").unwrap(), Scenario::of(9));
        assert!(Scenario::from_json("{\"sead\":9}").is_err());
    }
}
