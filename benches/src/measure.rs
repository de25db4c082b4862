//! CPU time, and what many rounds say about it.

use std::fs;
use std::hint::black_box;
use std::io::{self, ErrorKind};
use std::time::Instant;

/// Nanoseconds of CPU that all threads of a process have used, user and system.
pub(crate) fn cpu_of(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
        total += first.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "schedstat has no CPU time"))?;
    }
    Ok(total)
}

/// Nanoseconds that `work` takes per unit, as the median of `slices` calls. Each is short enough that few of them are
/// interrupted, so that wall time, which is finer than the kernel's account, is CPU time for the median.
pub(crate) fn per_unit(slices: usize, units: usize, mut work: impl FnMut() -> u64) -> f64 {
    let slice = || {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_nanos() as f64 / units as f64
    };
    median(std::iter::repeat_with(slice).take(slices).collect())
}

/// One contestant's figures, in nanoseconds, one per round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// At most so many times the baseline is what duologue aims at.
    pub(crate) target: Option<f64>,
    pub(crate) rounds: Vec<f64>,
}

impl Series {
    pub(crate) fn new(name: &'static str, target: Option<f64>) -> Self {
        Self { name, target, rounds: Vec::new() }
    }

    pub(crate) fn min(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn median(&self) -> f64 {
        median(self.rounds.clone())
    }

    /// The median over the rounds of this one's figure to the baseline's in the same round: what disturbs a whole
    /// round falls out.
    pub(crate) fn ratio_to(&self, baseline: &Self) -> f64 {
        median(self.rounds.iter().zip(&baseline.rounds).map(|(own, base)| own / base).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(value), 1) => *value,
        (Some(value), _) => (values[middle - 1] + value) / 2.0,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rounds: &[f64]) -> Series {
        Series { rounds: rounds.to_vec(), ..Series::new("x", None) }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_both() {
        assert_eq!(series(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(series(&[]).median().is_nan());
    }

    #[test]
    fn a_round_that_was_slow_for_everybody_leaves_the_ratio_alone() {
        let base = series(&[10.0, 100.0, 10.0]);
        assert_eq!(series(&[20.0, 200.0, 20.0]).ratio_to(&base), 2.0);
    }
}
