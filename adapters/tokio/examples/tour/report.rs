//! What is printed: progress while a case runs, then what was measured and the verdict.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::timeline::Timeline;

/// The end of one case.
pub struct Outcome {
    title: &'static str,
    lines: Vec<(Option<bool>, String)>,
    pub timeline: Timeline,
}

impl Outcome {
    pub fn new(title: &'static str) -> Self {
        Self { title, lines: Vec::new(), timeline: Timeline::new(title) }
    }

    /// Something measured that has no right or wrong.
    pub fn measured(mut self, line: impl Into<String>) -> Self {
        self.lines.push((None, line.into()));
        self
    }

    /// Something that must hold.
    pub fn check(mut self, holds: bool, line: impl Into<String>) -> Self {
        self.lines.push((Some(holds), line.into()));
        self
    }

    /// At least one thing was checked, and all that was checked holds.
    pub fn is_good(&self) -> bool {
        let mut checks = self.lines.iter().filter_map(|(check, _)| *check).peekable();
        checks.peek().is_some() && checks.all(|holds| holds)
    }

    pub fn print(&self) {
        println!("{} {}", if self.is_good() { "GOOD" } else { "BAD " }, self.title);
        for (check, line) in &self.lines {
            let mark = match check {
                Some(true) => "ok ",
                Some(false) => "NO ",
                None => "   ",
            };
            println!("  {mark} {line}");
        }
        println!();
    }
}

/// A bar with a rate while a case runs, on the terminal's error output.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new(title: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(title);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// From now on `total` steps are counted.
    pub fn start(&self, what: &'static str, total: u64) {
        let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {human_pos}/{human_len} {per_sec}");
        if let Ok(style) = style {
            self.0.set_style(style);
        }
        self.0.set_message(what);
        self.0.set_length(total);
        self.0.set_position(0);
    }

    pub fn at(&self, position: u64) {
        self.0.set_position(position);
    }

    pub fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Seconds with milliseconds.
pub fn secs(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// Bytes in the unit that fits.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A count with thousands apart.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
