//! Groups as text for people, in any width.

use super::stuck::format_minutes;
use super::{Groups, Row, Summary};
use crate::dump::Frame;
use crate::table::{NARROWEST, fit_end, fit_start, wrap_lines};
use crate::units::plural;

/// The most frames of a stack that are shown.
const FRAMES: usize = 12;

/// Text in lines of a limited number of characters.
pub(super) struct GroupText {
    out: String,
    width: usize,
}

impl GroupText {
    pub(super) fn new(width: usize) -> GroupText {
        GroupText { out: String::new(), width: width.max(NARROWEST) }
    }

    /// Adds a line, cut to the width.
    pub(super) fn add_line(&mut self, text: &str) {
        self.out.push_str(&fit_start(text, self.width));
        self.out.push('\n');
    }

    /// Adds a sentence, on several lines where it is too long for one.
    pub(super) fn add_sentence(&mut self, text: &str) {
        self.out.push_str(&wrap_lines(text, self.width, 6));
    }

    /// Adds the frames of a stack, of a deep one its two ends.
    pub(super) fn add_stack(&mut self, frames: &[String], created_by: Option<&str>) {
        let left_out = frames.len().saturating_sub(FRAMES);
        let (first, last) = if left_out > 0 {
            (FRAMES - 3, frames.len() - 3)
        } else {
            (frames.len(), frames.len())
        };
        for frame in &frames[..first] {
            self.add_frame("    ", frame);
        }
        if left_out > 0 {
            self.add_line(&format!("    … {} …", plural(left_out as u64, "more frame")));
        }
        for frame in &frames[last..] {
            self.add_frame("    ", frame);
        }
        if let Some(created_by) = created_by {
            self.add_frame("    created by ", created_by);
        }
    }

    /// Adds a frame on one line where it fits, and else without the folders of its file; of one
    /// that is still too long the end.
    fn add_frame(&mut self, head: &str, frame: &str) {
        let room = self.width - head.len();
        let mut text = fit_end(frame, room);
        if text.starts_with('\u{2026}')
            && let Some((function, place)) = frame.rsplit_once(' ')
        {
            let file = place.rsplit(['/', '\\']).next().unwrap_or(place);
            text = fit_end(&format!("{function} {file}"), room);
        }
        self.add_line(&format!("{head}{text}"));
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }
}

/// Writes groups as text, its lines cut to `width` characters, 40 at least; at most `most` groups.
pub fn render(groups: &Groups<'_>, width: usize, most: usize) -> String {
    let mut out = GroupText::new(width);
    let rows = groups.rows.len();
    out.add_line(&format!(
        "{} in {}",
        plural(groups.total, "goroutine"),
        plural(rows as u64, "group")
    ));
    out.add_line(&format_summary(&groups.summary));
    if groups.dump.truncated() {
        out.add_line("The dump breaks off: there were more.");
    }
    if !groups.dump.unwrapped().is_empty() {
        out.add_sentence(&format!("Read without {}.", groups.dump.unwrapped().join(", and ")));
    }
    for row in groups.rows.iter().take(most) {
        out.add_line("");
        out.add_line(&format_head(row));
        if let Some(stuck) = &row.stuck {
            let severity = stuck.severity.as_ref().map_or_else(String::new, |s| format!(" [{s}]"));
            out.add_sentence(&format!(
                "  STUCK?{severity} {}: {}",
                stuck.evidence.words(),
                stuck.why
            ));
        }
        if !row.labels.is_empty() {
            out.add_line(&format_labels(row));
        }
        let frames: Vec<String> = row.frames().iter().map(format_frame).collect();
        out.add_stack(&frames, row.created_by().as_ref().map(format_frame).as_deref());
    }
    if rows > most {
        out.add_line("");
        out.add_line(&count_hidden(rows - most, "more group"));
    }
    let warnings = groups.dump.warning_texts();
    if !warnings.is_empty() {
        out.add_line("");
    }
    for warning in warnings {
        out.add_sentence(&format!("Warning: {warning}"));
    }
    out.into_string()
}

fn format_summary(summary: &Summary) -> String {
    let Summary {
        background, per_request, unknown, long_waiting, potentially_stuck, leaked, ..
    } = summary;
    let leaked = if *leaked > 0 { format!(", {leaked} leaked") } else { String::new() };
    format!(
        "{background} background, {per_request} per-request, {unknown} unknown; {long_waiting} long \
         waiting, {potentially_stuck} potentially stuck{leaked}"
    )
}

/// Returns a row's first line, such as `40 × IO wait, 3 min to 1 h 31 min, median 5 min
/// per-request (go-http-handler)`.
fn format_head(row: &Row<'_>) -> String {
    let state = if row.state.is_empty() { "state not known" } else { &row.state };
    let mut head = format!("{} × {state}", row.count);
    for other in &row.other_states {
        head += &format!(", {other}");
    }
    if let (Some(min), Some(median), Some(max)) =
        (row.waits.min(), row.waits.median(), row.waits.max())
    {
        head += &if min == max {
            format!(", {}", format_minutes(max))
        } else {
            format!(
                ", {} to {}, median {}",
                format_minutes(min),
                format_minutes(max),
                format_minutes(median)
            )
        };
        if row.waits.known() < row.count {
            head += &format!(" (of {})", row.waits.known());
        }
    }
    head += &format!("  {}", row.category.name());
    if let Some(rule) = row.rule {
        head += &format!(" ({rule})");
    }
    if row.locked > 0 {
        head += &format!("  {} locked to thread", row.locked);
    }
    if let Some(label) = &row.label {
        head += &format!("  label {label}");
    }
    head
}

fn format_labels(row: &Row<'_>) -> String {
    const SHOWN: usize = 6;
    let shown = row.labels.iter().take(SHOWN);
    let shown: Vec<String> = shown
        .map(|(key, value, count)| match count {
            &count if count == row.count => format!("{key}={value}"),
            count => format!("{key}={value} ({count})"),
        })
        .collect();
    let more = row.labels.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(", {more} more") } else { String::new() };
    format!("  labels: {}{more}", shown.join(", "))
}

/// Returns `function file:line`, as in `top --json`.
pub(super) fn format_frame(frame: &Frame<'_>) -> String {
    match (frame.file.as_ref(), frame.line) {
        ("", _) => frame.function.to_string(),
        (file, line) => format!("{} {file}:{line}", frame.function),
    }
}

/// Returns the number of things that are not shown, and the option that shows them.
pub(super) fn count_hidden(count: usize, what: &str) -> String {
    format!("{}; -n 0 shows all", plural(count as u64, what))
}
