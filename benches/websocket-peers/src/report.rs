//! The tables, in Markdown.

use std::io::{self, Write, stdout};

use crate::measure::Series;

/// Times: the first series is what the ratios are to.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) series: Vec<Series>,
}

pub(crate) fn times(table: &Table) -> io::Result<()> {
    let Some(baseline) = table.series.first() else { return Ok(()) };
    let mut out = stdout().lock();
    writeln!(out, "\n### {}\n\n| | min ns | median ns | ratio |\n|---|--:|--:|--:|", table.title)?;
    for row in &table.series {
        let (min, median, ratio) = (row.min(), row.median(), row.ratio_to(baseline));
        writeln!(out, "| {} | {min:.1} | {median:.1} | {ratio:.2} |", row.name)?;
    }
    Ok(())
}

/// Instructions: a column per load.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<(&'static str, Vec<i64>)>,
}

pub(crate) fn counts(table: &Counts) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(
        out,
        "\n### {}\n\n| | {} |\n|---|{}",
        table.title,
        table.columns.join(" | "),
        "--:|".repeat(table.columns.len())
    )?;
    for (name, figures) in &table.rows {
        let figures: Vec<_> = figures.iter().map(i64::to_string).collect();
        writeln!(out, "| {name} | {} |", figures.join(" | "))?;
    }
    Ok(())
}
