//! Writing a summary for people.

use std::fmt::Write as _;

use super::findings::time;
use super::{TraceSummary, findings};
use crate::table::shown;

/// Writes a summary as text, with `rows` rows in each table and its lines cut to `width` characters, 40
/// at least.
pub fn render(summary: &TraceSummary, rows: usize, width: usize) -> String {
    let mut out = Lines { text: String::new(), width: width.max(40) };
    let producer = match summary.producer.as_str() {
        "" => String::new(),
        producer => format!(" by {producer}"),
    };
    out.line(&format!(
        "trace{producer} of {}: {} events of {} threads",
        time(summary.window_micros),
        summary.events,
        summary.threads
    ));
    out.line(&format!(
        "{} waits of threads, {} of them with what ended them; {} spans",
        summary.waits, summary.wake_ups, summary.spans
    ));
    if let Some(queue) = summary.queue {
        out.line(&format!(
            "queue of ready tasks: {:.1} on average, at most {}",
            queue.mean, queue.most
        ));
    }
    for warning in &summary.warnings {
        out.line(&format!("warning: {warning}"));
    }
    let found = findings(summary);
    if !found.is_empty() {
        out.line("");
        out.line("findings");
    }
    for finding in found.iter().take(rows) {
        out.line(&format!("  {:<18}  {}", finding.what, finding.text));
    }
    if found.len() > rows {
        out.line(&format!("  and {} more", found.len() - rows));
    }
    if !summary.busiest.is_empty() {
        out.line("");
        out.line("       busy     longest     polls  task");
    }
    for task in summary.busiest.iter().take(rows) {
        out.line(&format!(
            "{:>11} {:>11} {:>9}  {} ({})",
            time(task.busy_micros),
            time(task.longest_micros),
            task.polls,
            task.name,
            task.site
        ));
    }
    out.text
}

struct Lines {
    text: String,
    width: usize,
}

impl Lines {
    /// Writes a line, cut to the width. Control characters, which a foreign trace may hold, become blanks.
    fn line(&mut self, text: &str) {
        let clean = text.chars().map(shown);
        if text.chars().count() <= self.width {
            self.text.extend(clean);
        } else {
            self.text.extend(clean.take(self.width - 1));
            self.text.push('\u{2026}');
        }
        // Writing to a string can't fail.
        let _ = writeln!(self.text);
    }
}
