//! The table that an area ends in: what, ours, peer, ratio, bar, and whether it holds.

use serde::{Serialize, Serializer};

use crate::spread::Spread;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    what: String,
    unit: &'static str,
    ours: Option<Spread>,
    peer: Option<Spread>,
    ratio: Option<f64>,
    #[serde(serialize_with = "bars_as_text")]
    bar: Vec<Bar>,
    verdict: Verdict,
}

/// What the median has to be.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// From the first to the second.
    Within(f64, f64),
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// No more than this part of the peer's.
    OfPeer(f64),
}

/// What became of the bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Fail,
    /// There is no bar.
    Info,
}

impl Row {
    /// A row without figures.
    pub fn new(what: impl Into<String>, unit: &'static str) -> Row {
        let verdict = Verdict::Info;
        Row {
            what: what.into(),
            unit,
            ours: None,
            peer: None,
            ratio: None,
            bar: Vec::new(),
            verdict,
        }
    }

    /// The same with our figure. `None`: a run failed.
    #[must_use]
    pub fn ours(self, ours: Option<Spread>) -> Row {
        Row { ours, ..self }.judged()
    }

    /// The same with the peer's figure.
    #[must_use]
    pub fn peer(self, peer: Option<Spread>) -> Row {
        Row { peer, ..self }.judged()
    }

    /// The same with a bar more.
    #[must_use]
    pub fn bar(mut self, bar: Bar) -> Row {
        self.bar.push(bar);
        self.judged()
    }

    /// Whether a bar does not hold.
    pub fn fails(&self) -> bool {
        self.verdict == Verdict::Fail
    }

    fn judged(mut self) -> Row {
        let (ours, peer) = (self.ours.map(|s| s.median), self.peer.map(|s| s.median));
        self.ratio = ours.zip(peer).map(|(ours, peer)| ours / peer).filter(|r| r.is_finite());
        self.verdict = if self.bar.is_empty() {
            Verdict::Info
        } else if self.bar.iter().all(|bar| bar.holds(ours, peer)) {
            Verdict::Pass
        } else {
            Verdict::Fail
        };
        self
    }
}

impl Bar {
    fn holds(self, ours: Option<f64>, peer: Option<f64>) -> bool {
        let Some(ours) = ours else { return false };
        match self {
            Bar::Within(low, high) => (low..=high).contains(&ours),
            Bar::AtMost(most) => ours <= most,
            Bar::AtLeast(least) => ours >= least,
            // A peer that did not get through is no yardstick; that shows in its own column.
            Bar::OfPeer(part) => peer.is_none_or(|peer| ours <= part * peer),
        }
    }

    fn text(self) -> String {
        match self {
            Bar::Within(low, high) => format!("{low}–{high}"),
            Bar::AtMost(most) => format!("≤ {most}"),
            Bar::AtLeast(least) => format!("≥ {least}"),
            Bar::OfPeer(part) => format!("≤ {part} × peer"),
        }
    }
}

fn text_of(bars: &[Bar]) -> String {
    bars.iter().map(|bar| bar.text()).collect::<Vec<_>>().join(", ")
}

fn bars_as_text<S: Serializer>(bars: &[Bar], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text_of(bars))
}

/// The rows as a table for people.
pub fn render(rows: &[Row]) -> String {
    let heading = ["what", "ours (min–max)", "peer (min–max)", "ratio", "bar", ""];
    let mut cells: Vec<[String; 6]> = vec![heading.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let what = if row.unit.is_empty() {
            row.what.clone()
        } else {
            format!("{}, {}", row.what, row.unit)
        };
        let ours = row.ours.map_or_else(|| "FAILED".to_owned(), figure);
        let peer = row.peer.map_or_else(|| "–".to_owned(), figure);
        let ratio = row.ratio.map_or_else(String::new, number);
        let verdict = match row.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Info => "info",
        };
        [what, ours, peer, ratio, text_of(&row.bar), verdict.to_owned()]
    }));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..heading.len()).filter_map(width).collect();
    let mut table = String::new();
    for row in &cells {
        for (cell, width) in row.iter().zip(&widths) {
            table.push_str(cell);
            table.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        table.truncate(table.trim_end().len());
        table.push('\n');
    }
    table
}

fn figure(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{} ({}–{})", number(median), number(min), number(max))
}

/// Three digits or so.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        ..0.1 => 4,
        ..10.0 => 3,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, peer: Option<f64>) -> Row {
        let spread = |value| Spread::of([value]);
        Row::new("x", "µs").ours(spread(ours)).peer(peer.and_then(spread))
    }

    #[test]
    fn a_row_fails_where_one_of_its_bars_does() {
        assert!(!row(7.0, Some(28.0)).bar(Bar::AtMost(7.0)).bar(Bar::OfPeer(0.25)).fails());
        assert!(row(7.0, Some(20.0)).bar(Bar::AtMost(7.0)).bar(Bar::OfPeer(0.25)).fails());
        assert!(row(7.1, None).bar(Bar::AtMost(7.0)).fails());
        assert!(!row(0.98, None).bar(Bar::Within(0.97, 1.03)).fails());
        assert!(row(0.94, None).bar(Bar::AtLeast(0.95)).fails());
        assert!(Row::new("x", "").bar(Bar::AtMost(1.0)).fails(), "no figure holds no bar");
        assert!(!row(1.0, None).fails());
    }

    #[test]
    fn the_table_is_in_columns() {
        let rows = [row(5.25, Some(30.0)).bar(Bar::AtMost(7.0)), row(100.0, None)];
        assert_eq!(
            render(&rows),
            "what   ours (min–max)       peer (min–max)    ratio  bar\n\
             x, µs  5.250 (5.250–5.250)  30.0 (30.0–30.0)  0.175  ≤ 7  pass\n\
             x, µs  100 (100–100)        –                             info\n"
        );
    }
}
