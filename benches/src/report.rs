//! The tables.

use std::io::{self, Write, stdout};

use crate::decode::Comparison;
use crate::measure::Series;
use crate::size::Size;

pub(crate) fn echo(series: &[Series], connections: usize) -> io::Result<()> {
    let plural = if connections == 1 { "" } else { "s" };
    table(
        &format!("echo of 64-byte payloads, 256 in flight, {connections} connection{plural}: server CPU per message"),
        series,
    )
}

pub(crate) fn decode(comparisons: &[Comparison]) -> io::Result<()> {
    comparisons.iter().try_for_each(|comparison| table(comparison.title, &comparison.series))
}

pub(crate) fn sizes(sizes: &[Size]) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "\nidle session, without its buffers: they are in the thread's pool (aim: at most 1024 bytes)")?;
    sizes.iter().try_for_each(|size| writeln!(out, "  {:<34}{:>8} bytes", size.name, size.bytes))
}

pub(crate) fn closing_words(quick: bool) -> io::Result<()> {
    let mut out = stdout().lock();
    if quick {
        writeln!(out, "\nThis was a quick run: it shows that everything works, and its figures mean little.")
    } else {
        writeln!(out, "\nRatios are medians over the rounds, each to the first row in the same round.")
    }
}

/// The first series is the baseline.
fn table(title: &str, series: &[Series]) -> io::Result<()> {
    let Some(baseline) = series.first() else { return Ok(()) };
    let mut out = stdout().lock();
    writeln!(out, "\n{title}")?;
    writeln!(out, "  {:<20}{:>10}{:>12}{:>9}   target", "", "min ns", "median ns", "ratio")?;
    for row in series {
        let (min, median, ratio) = (row.min(), row.median(), row.ratio_to(baseline));
        let target = match row.target {
            Some(target) if ratio <= target => format!("<= {target:.1}  reached"),
            Some(target) => format!("<= {target:.1}  missed"),
            None => String::new(),
        };
        let line = format!("  {:<20}{min:>10.1}{median:>12.1}{ratio:>9.2}   {target}", row.name);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
