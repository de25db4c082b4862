//! A trace as a picture: a line for each end of a connection, time downwards.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use crate::trace::{End, Entry, Happening};

const ROW: usize = 18;
const COLUMN: usize = 260;
const LEFT: usize = 150;

/// Draws a trace as an SVG sequence diagram. Rows are things that happened, in order; arrows go from where bytes, FIN
/// or RST were sent to where they arrived. At most the last `rows` things are drawn.
#[must_use]
pub fn svg(entries: &[Entry], rows: usize) -> String {
    let entries = &entries[entries.len().saturating_sub(rows)..];
    let mut columns: BTreeMap<End, usize> = entries.iter().map(|entry| (entry.end, 0)).collect();
    columns.values_mut().enumerate().for_each(|(i, x)| *x = LEFT + COLUMN / 2 + i * COLUMN);
    let (width, height) = (LEFT + columns.len() * COLUMN, (entries.len() + 3) * ROW);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (end, x) in &columns {
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{ROW}\" text-anchor=\"middle\" font-weight=\"bold\">{end}</text>");
        let _ = writeln!(out, "<line x1=\"{x}\" y1=\"24\" x2=\"{x}\" y2=\"{height}\" stroke=\"#bbb\"/>");
    }
    // Where what is on its way was sent, in order, for each direction and kind.
    let mut sent: BTreeMap<(End, u8), VecDeque<usize>> = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        let y = (i + 2) * ROW;
        let x = columns.get(&entry.end).copied().unwrap_or(LEFT);
        let (millis, rest) = (entry.at / 1_000_000, entry.at / 1_000 % 1_000);
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\" fill=\"#777\">{millis}.{rest:03} ms</text>",
            LEFT - 20
        );
        let peer = End { side: entry.end.side ^ 1, ..entry.end };
        match entry.what {
            Happening::Wrote(_) => sent.entry((entry.end, 0)).or_default().push_back(y),
            Happening::FinSent => sent.entry((entry.end, 1)).or_default().push_back(y),
            Happening::ResetSent => sent.entry((entry.end, 2)).or_default().push_back(y),
            Happening::Arrived(_) | Happening::FinArrived | Happening::ResetArrived => {
                let (kind, stroke) = match entry.what {
                    Happening::Arrived(_) => (0, "#3b7"),
                    Happening::FinArrived => (1, "#36c"),
                    _ => (2, "#c33"),
                };
                if let (Some(from), Some(px)) =
                    (sent.get_mut(&(peer, kind)).and_then(VecDeque::pop_front), columns.get(&peer))
                {
                    let _ =
                        writeln!(out, "<line x1=\"{px}\" y1=\"{from}\" x2=\"{x}\" y2=\"{y}\" stroke=\"{stroke}\"/>");
                }
            }
            _ => {}
        }
        let fill = match entry.what {
            Happening::Fault(_) | Happening::ResetSent | Happening::ResetArrived => "#c33",
            Happening::Closed(_) => "#639",
            _ => "#222",
        };
        let _ = writeln!(out, "<circle cx=\"{x}\" cy=\"{}\" r=\"3\" fill=\"{fill}\"/>", y - 4);
        let _ = writeln!(out, "<text x=\"{}\" y=\"{y}\" fill=\"{fill}\">{}</text>", x + 8, entry.what);
    }
    out.push_str("</svg>\n");
    out
}
