//! Writing a summary for people.

use super::findings::{Finding, format_micros};
use super::{TraceSummary, findings};
use crate::table::{NARROWEST, TextColumns, wrap_lines};

/// Writes a summary as text, with `rows` rows in each table. Its lines have `width` characters at
/// most, 40 at least: what is longer goes on in the next one.
pub fn render(summary: &TraceSummary, rows: usize, width: usize) -> String {
    let width = width.max(NARROWEST);
    let mut text = String::new();
    let mut line = |content: &str| text.push_str(&wrap_lines(content, width, 2));
    let producer = match summary.producer.as_str() {
        "" => String::new(),
        producer => format!(" by {producer}"),
    };
    line(&format!(
        "trace{producer} of {}: {} events of {} threads",
        format_micros(summary.window_micros),
        summary.events,
        summary.threads
    ));
    line(&format!(
        "{} waits of threads, {} of them with what ended them; {} spans",
        summary.waits, summary.wake_ups, summary.spans
    ));
    if let Some(queue) = summary.queue {
        line(&format!(
            "queue of ready tasks: {:.1} on average, at most {}",
            queue.mean, queue.most
        ));
    }
    for warning in &summary.warnings {
        line(&format!("warning: {warning}"));
    }
    let found = findings(summary);
    if !found.is_empty() {
        text.push_str("\nfindings\n");
        text.push_str(&render_findings(&found, rows, width));
    }
    if found.len() > rows {
        text.push_str(&format!("  and {} more\n", found.len() - rows));
    }
    if !summary.busiest.is_empty() {
        let mut table = TextColumns::new(&["busy", "longest", "polls", "task"]);
        for task in summary.busiest.iter().take(rows) {
            let figures = vec![
                format_micros(task.busy_micros),
                format_micros(task.longest_micros),
                task.polls.to_string(),
            ];
            table.add_row(figures, format!("{} ({})", task.name, task.site), Vec::new());
        }
        text.push('\n');
        text.push_str(&table.render(width));
    }
    text
}

/// Writes at most `rows` findings as text, each from a new line, none of which is longer than
/// `width` characters, 40 at least.
pub fn render_findings(findings: &[Finding], rows: usize, width: usize) -> String {
    let line = |finding: &Finding| {
        wrap_lines(&format!("  {:<18}  {}", finding.what, finding.text), width.max(NARROWEST), 22)
    };
    findings.iter().take(rows).map(line).collect()
}
