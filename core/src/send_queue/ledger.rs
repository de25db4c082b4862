//! Which message the queued bytes belong to.

use alloc::collections::VecDeque;

/// Counts messages against the bytes that carry them (law L14). Equal neighbours share one entry.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Ledger {
    /// All runs but the last.
    runs: VecDeque<Run>,
    /// The last run, which the next entry probably continues; empty if its count is 0.
    last: Run,
    /// Bytes of the front run's first message that are already transmitted.
    front_sent: usize,
    pub(crate) accepted: u64,
    pub(crate) flushed: u64,
    /// Messages of which a byte was transmitted; kept when the rest is forgotten.
    begun: u64,
    /// Accepted messages that the protocol has not written yet.
    pub(crate) held: u64,
}

#[derive(Clone, Copy, Debug, Default, Hash)]
struct Run {
    len: u32,
    count: u32,
    message: bool,
}

impl Ledger {
    /// Messages accepted and not wholly transmitted.
    pub(crate) fn unsent(&self) -> u64 {
        self.accepted - self.flushed
    }

    /// Messages of which at least one byte was transmitted: of the others the peer knows nothing.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.max(self.flushed)
    }

    #[inline]
    pub(super) fn record(&mut self, len: usize, message: bool) {
        // Limits keep the whole queue below 4 GiB.
        debug_assert!(u32::try_from(len).is_ok());
        let len = len as u32;
        if self.last.len == len && self.last.message == message && self.last.count.wrapping_sub(1) < u32::MAX - 1 {
            self.last.count += 1;
        } else {
            self.start_run(len, message);
        }
    }

    fn start_run(&mut self, len: u32, message: bool) {
        if len == 0 {
            self.flushed += u64::from(message);
            return;
        }
        if self.last.count > 0 {
            self.runs.push_back(self.last);
        }
        self.last = Run { len, count: 1, message };
    }

    /// Takes `n` bytes off and tells how many of them belonged to answers.
    #[inline]
    pub(super) fn transmitted(&mut self, n: usize) -> usize {
        let Run { len, count, message } = self.last;
        if count != 1 || n != len as usize || self.front_sent > 0 || !self.runs.is_empty() {
            return self.transmitted_runs(n);
        }
        // The one message that there was: the most frequent case.
        self.last = Run::default();
        self.flushed += u64::from(message);
        self.begun = self.flushed;
        if message { 0 } else { n }
    }

    fn transmitted_runs(&mut self, mut n: usize) -> usize {
        let mut control = 0;
        while n > 0 {
            let is_last = self.runs.is_empty();
            let run = self.runs.front_mut().unwrap_or(&mut self.last);
            let (len, count) = (run.len as usize, run.count as usize);
            if count == 0 {
                break;
            }
            let left = len * count - self.front_sent;
            let step = n.min(left);
            let done = (self.front_sent + step) / len;
            self.front_sent = (self.front_sent + step) % len;
            if run.message {
                self.flushed += done as u64;
            } else {
                control += step;
            }
            run.count -= done as u32;
            if done == count {
                match is_last {
                    true => self.last = Run::default(),
                    false => drop(self.runs.pop_front()),
                }
            }
            n -= step;
        }
        let cut = self.front_sent > 0 && self.runs.front().unwrap_or(&self.last).message;
        self.begun = self.flushed + u64::from(cut);
        control
    }

    pub(super) fn forget(&mut self) {
        self.runs = VecDeque::new();
        self.last = Run::default();
        self.front_sent = 0;
        self.held = 0;
    }
}
