//! A picture of a case: what both halves of each side did, how many bytes had moved, and what happened when.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duologue_core::{Protocol, RecvState, SendState, Session, TimeoutReason};

/// Pictures are drawn from samples at least this far apart, and from every change of state.
const SAMPLE: Duration = Duration::from_millis(2);

/// Collects what happens; clones draw into the same picture.
#[derive(Clone)]
pub struct Timeline {
    start: Instant,
    picture: Arc<Mutex<Picture>>,
}

struct Picture {
    title: String,
    sides: Vec<Side>,
}

struct Side {
    name: String,
    samples: Vec<Sample>,
    marks: Vec<(Duration, String)>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    states: (RecvState, SendState),
    /// The deadline that would come first.
    timer: Option<TimeoutReason>,
    received: u64,
    transmitted: u64,
}

impl Sample {
    fn looks_like(&self, other: &Self) -> bool {
        self.states == other.states && self.timer == other.timer
    }
}

/// One side's place in the picture.
#[derive(Clone)]
pub struct Lane {
    timeline: Timeline,
    index: usize,
}

impl Timeline {
    pub fn new(title: &str) -> Self {
        let picture = Picture { title: title.to_owned(), sides: Vec::new() };
        Self { start: Instant::now(), picture: Arc::new(Mutex::new(picture)) }
    }

    pub fn lane(&self, name: impl Into<String>) -> Lane {
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        picture.sides.push(Side { name: name.into(), samples: Vec::new(), marks: Vec::new() });
        Lane { timeline: self.clone(), index: picture.sides.len() - 1 }
    }

    pub fn write(&self, folder: &Path, name: &str) -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{name}.svg"));
        let picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::write(&path, picture.draw())?;
        Ok(path)
    }
}

impl Lane {
    /// Notes the states, the next deadline and the counters.
    pub fn sample<P: Protocol>(&self, session: &Session<P>) {
        let at = self.timeline.start.elapsed();
        let (states, stats) = (session.states(), session.stats());
        let timer = session.interest().deadline.map(|deadline| deadline.reason);
        let (received, transmitted) = (stats.bytes_received, stats.bytes_transmitted);
        let sample = Sample { at, states, timer, received, transmitted };
        self.with(|side| {
            let n = side.samples.len();
            match side.samples.get_mut(n.saturating_sub(2)..) {
                // Too close to be seen apart: the later one replaces the earlier.
                Some([before, last]) if last.looks_like(&sample) && at - before.at < SAMPLE => *last = sample,
                _ => side.samples.push(sample),
            }
        });
    }

    /// Bytes transmitted up to the last sample.
    pub fn transmitted(&self) -> u64 {
        let picture = self.timeline.picture.lock().unwrap_or_else(PoisonError::into_inner);
        let last = picture.sides.get(self.index).and_then(|side| side.samples.last());
        last.map_or(0, |sample| sample.transmitted)
    }

    /// Notes that something happened.
    pub fn mark(&self, what: impl Into<String>) {
        let at = self.timeline.start.elapsed();
        self.with(|side| side.marks.push((at, what.into())));
    }

    fn with(&self, change: impl FnOnce(&mut Side)) {
        let mut picture = self.timeline.picture.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(side) = picture.sides.get_mut(self.index) {
            change(side);
        }
    }
}

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 90.0;
const BAR: f64 = 16.0;
const PLOT: f64 = 60.0;

impl Picture {
    fn draw(&self) -> String {
        let end = self.sides.iter().flat_map(|s| s.samples.iter().map(|s| s.at).chain(s.marks.iter().map(|m| m.0)));
        let end = end.max().unwrap_or(SAMPLE).max(SAMPLE);
        let x = |at: Duration| LEFT + at.as_secs_f64() / end.as_secs_f64() * (WIDTH - LEFT - 20.0);
        let mut body = String::new();
        let mut y = 44.0;
        for side in &self.sides {
            y = side.draw(&mut body, y, &x, end);
        }
        let mut out = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{h}' viewBox='0 0 {WIDTH} {h}' \
             font-family='sans-serif' font-size='11'><rect width='100%' height='100%' fill='white'/>\
             <text x='10' y='22' font-size='15'>{}</text>",
            escape(&self.title),
            h = y + 76.0,
        );
        out.push_str(&body);
        for tick in 0..=10 {
            let at = end.mul_f64(f64::from(tick) / 10.0);
            let _ = write!(
                out,
                "<line x1='{x:.1}' x2='{x:.1}' y1='{y:.1}' y2='{y2:.1}' stroke='#999'/>\
                 <text x='{x:.1}' y='{ty:.1}' text-anchor='middle'>{:.2} s</text>",
                at.as_secs_f64(),
                x = x(at),
                y2 = y + 5.0,
                ty = y + 18.0,
            );
        }
        legend(&mut out, y + 42.0);
        out.push_str("</svg>\n");
        out
    }
}

impl Side {
    /// Draws two bars of states, two curves of bytes and the marks; returns where the next side begins.
    fn draw(&self, out: &mut String, top: f64, x: &impl Fn(Duration) -> f64, end: Duration) -> f64 {
        let _ = write!(out, "<text x='10' y='{:.1}' font-weight='bold'>{}</text>", top + 10.0, escape(&self.name));
        let bars = top + 16.0;
        // A side that was noted as closed has no state after that.
        let last = self.samples.iter().map(|s| s.at).chain(self.marks.iter().map(|m| m.0)).max();
        let end = last.unwrap_or(end);
        for (row, label) in ["receive", "send", "next deadline"].into_iter().enumerate() {
            let y = bars + row as f64 * (BAR + 3.0);
            let _ = write!(out, "<text x='10' y='{:.1}'>{label}</text>", y + 12.0);
            for (i, sample) in self.samples.iter().enumerate() {
                let (name, colour) = match row {
                    0 => recv_colour(sample.states.0),
                    1 => send_colour(sample.states.1),
                    _ => timer_colour(sample.timer),
                };
                let from = x(sample.at);
                let to = x(self.samples.get(i + 1).map_or(end, |next| next.at));
                let _ = write!(
                    out,
                    "<rect x='{from:.1}' y='{y:.1}' width='{:.1}' height='{BAR}' fill='{colour}'>\
                     <title>{name}</title></rect>",
                    (to - from).max(0.5),
                );
            }
        }
        let plot = bars + 3.0 * (BAR + 3.0) + 4.0;
        let most = self.samples.iter().map(|s| s.received.max(s.transmitted)).max().unwrap_or(0).max(1);
        for (colour, pick) in [("#1f77b4", true), ("#d62728", false)] {
            let points: String = self
                .samples
                .iter()
                .map(|s| {
                    let bytes = if pick { s.received } else { s.transmitted };
                    format!("{:.1},{:.1} ", x(s.at), plot + PLOT - bytes as f64 / most as f64 * PLOT)
                })
                .collect();
            let _ = write!(out, "<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.3'/>");
        }
        let _ = write!(out, "<text x='10' y='{:.1}'>{}</text>", plot + 10.0, crate::report::size(most));
        for (i, (at, what)) in self.marks.iter().enumerate() {
            let (at, y) = (x(*at), plot + PLOT + 12.0 + (i % 3) as f64 * 12.0);
            let anchor = if at > WIDTH * 0.6 { "end" } else { "start" };
            let _ = write!(
                out,
                "<line x1='{at:.1}' x2='{at:.1}' y1='{bars:.1}' y2='{y:.1}' stroke='black' stroke-dasharray='2 2'/>\
                 <text x='{at:.1}' y='{y:.1}' text-anchor='{anchor}'>{}</text>",
                escape(what),
            );
        }
        plot + PLOT + 56.0
    }
}

fn recv_colour(state: RecvState) -> (&'static str, &'static str) {
    match state {
        RecvState::Open => ("open", "#8fd18f"),
        RecvState::Draining => ("draining", "#cfe08a"),
        RecvState::Salvaging => ("salvaging", "#f2c46d"),
        RecvState::Discarding => ("discarding", "#f0a08a"),
        RecvState::Finished => ("finished", "#a9c4e8"),
        RecvState::Closed => ("closed", "#c8c8c8"),
    }
}

fn send_colour(state: SendState) -> (&'static str, &'static str) {
    match state {
        SendState::Open => ("open", "#8fd18f"),
        SendState::Closing => ("closing", "#f2c46d"),
        SendState::Flushing => ("flushing", "#cfe08a"),
        SendState::Holding => ("holding", "#e6b8e0"),
        SendState::ShuttingDown => ("shutting down", "#f0a08a"),
        SendState::Finished => ("finished", "#a9c4e8"),
        SendState::Closed => ("closed", "#c8c8c8"),
    }
}

fn timer_colour(timer: Option<TimeoutReason>) -> (&'static str, &'static str) {
    match timer {
        None => ("no deadline", "#eeeeee"),
        Some(reason @ (TimeoutReason::Idle | TimeoutReason::KeepaliveSend)) => (reason.as_str(), "#d9e8d9"),
        Some(reason @ TimeoutReason::KeepaliveReply) => (reason.as_str(), "#e8d36a"),
        Some(reason @ TimeoutReason::WriteStall) => (reason.as_str(), "#ef8e4c"),
        Some(reason) => (reason.as_str(), "#b9a0d8"),
    }
}

fn legend(out: &mut String, mut y: f64) {
    let recv = RecvState::ALL.iter().map(|s| recv_colour(*s));
    let send = SendState::ALL.iter().map(|s| send_colour(*s));
    let timers = [TimeoutReason::Idle, TimeoutReason::KeepaliveReply, TimeoutReason::WriteStall, TimeoutReason::Linger];
    let timers = timers.into_iter().map(|reason| timer_colour(Some(reason)));
    let mut names: Vec<(&str, &str)> = recv.chain(send).chain(timers).collect();
    names.sort_unstable();
    names.dedup();
    names.push(("bytes received", "#1f77b4"));
    names.push(("bytes transmitted", "#d62728"));
    let mut x = 10.0;
    for (name, colour) in names {
        let _ = write!(
            out,
            "<rect x='{x:.0}' y='{:.0}' width='10' height='10' fill='{colour}'/><text x='{:.0}' y='{y:.0}'>{name}</text>",
            y - 9.0,
            x + 13.0,
        );
        x += 22.0 + name.len() as f64 * 5.6;
        if x > WIDTH - 100.0 {
            (x, y) = (10.0, y + 16.0);
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
