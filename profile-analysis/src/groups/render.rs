//! Groups as text for people, in any width.

use super::stuck::minutes;
use super::{Groups, Row, Summary};
use crate::dump::Frame;
use crate::table::{NARROWEST, cut, fitting, wrapped};
use crate::units::plural;

/// The most frames of a stack that are shown.
const FRAMES: usize = 12;

/// Text in lines of at most so many characters.
pub(super) struct GroupText {
    out: String,
    width: usize,
}

impl GroupText {
    pub(super) fn new(width: usize) -> GroupText {
        GroupText { out: String::new(), width: width.max(NARROWEST) }
    }

    /// Adds a line, cut to the width.
    pub(super) fn line(&mut self, text: &str) {
        self.out.push_str(&cut(text, self.width));
        self.out.push('\n');
    }

    /// Adds a sentence, on several lines where it is too long for one.
    pub(super) fn sentence(&mut self, text: &str) {
        self.out.push_str(&wrapped(text, self.width, 6));
    }

    /// Adds the frames of a stack, of a deep one its two ends.
    pub(super) fn stack(&mut self, frames: &[String], created_by: Option<&str>) {
        let left_out = frames.len().saturating_sub(FRAMES);
        let (first, last) = if left_out > 0 {
            (FRAMES - 3, frames.len() - 3)
        } else {
            (frames.len(), frames.len())
        };
        for frame in &frames[..first] {
            self.frame("    ", frame);
        }
        if left_out > 0 {
            self.line(&format!("    … {} …", plural(left_out as u64, "more frame")));
        }
        for frame in &frames[last..] {
            self.frame("    ", frame);
        }
        if let Some(created_by) = created_by {
            self.frame("    created by ", created_by);
        }
    }

    /// Adds a frame on one line where it fits, and else without the folders of its file; of one
    /// that is still too long the end.
    fn frame(&mut self, head: &str, frame: &str) {
        let room = self.width - head.len();
        let mut text = fitting(frame, room);
        if text.starts_with('\u{2026}')
            && let Some((function, place)) = frame.rsplit_once(' ')
        {
            let file = place.rsplit(['/', '\\']).next().unwrap_or(place);
            text = fitting(&format!("{function} {file}"), room);
        }
        self.line(&format!("{head}{text}"));
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }
}

/// Writes groups as text, its lines cut to `width` characters, 40 at least; at most `most` groups.
pub fn render(groups: &Groups<'_>, width: usize, most: usize) -> String {
    let mut out = GroupText::new(width);
    let rows = groups.rows.len();
    out.line(&format!("{} in {}", plural(groups.total, "goroutine"), plural(rows as u64, "group")));
    out.line(&summary(&groups.summary));
    if groups.dump.truncated() {
        out.line("The dump breaks off: there were more.");
    }
    for warning in groups.dump.warning_texts() {
        out.sentence(&format!("Warning: {warning}"));
    }
    for row in groups.rows.iter().take(most) {
        out.line("");
        out.line(&head(row));
        if let Some(stuck) = &row.stuck {
            let severity = stuck.severity.as_ref().map_or_else(String::new, |s| format!(" [{s}]"));
            out.sentence(&format!("  STUCK?{severity} {}: {}", stuck.evidence.words(), stuck.why));
        }
        if !row.labels.is_empty() {
            out.line(&labels(row));
        }
        let frames: Vec<String> = row.frames().iter().map(place).collect();
        out.stack(&frames, row.created_by().as_ref().map(place).as_deref());
    }
    if rows > most {
        out.line("");
        out.line(&count_hidden(rows - most, "more group"));
    }
    out.into_string()
}

fn summary(summary: &Summary) -> String {
    let Summary {
        background, per_request, unknown, long_waiting, potentially_stuck, leaked, ..
    } = summary;
    let leaked = if *leaked > 0 { format!(", {leaked} leaked") } else { String::new() };
    format!(
        "{background} background, {per_request} per-request, {unknown} unknown; {long_waiting} long \
         waiting, {potentially_stuck} potentially stuck{leaked}"
    )
}

/// Returns a row's first line:
/// `40 × IO wait, 3–91 min (median 5)  per-request (go-http-handler)  ids 7 8 9…`
fn head(row: &Row<'_>) -> String {
    let state = if row.state.is_empty() { "state not known" } else { &row.state };
    let mut head = format!("{} × {state}", row.count);
    for other in &row.other_states {
        head += &format!(", {other}");
    }
    if let (Some(min), Some(median), Some(max)) =
        (row.waits.min(), row.waits.median(), row.waits.max())
    {
        head += &if min == max {
            format!(", {}", minutes(max))
        } else {
            format!(", {} to {}, median {}", minutes(min), minutes(max), minutes(median))
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

fn labels(row: &Row<'_>) -> String {
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
pub(super) fn place(frame: &Frame<'_>) -> String {
    match (frame.file.as_ref(), frame.line) {
        ("", _) => frame.function.to_string(),
        (file, line) => format!("{} {file}:{line}", frame.function),
    }
}

/// Returns the number of things that are not shown, and the option that shows them.
pub(super) fn count_hidden(count: usize, what: &str) -> String {
    format!("{}; -n 0 shows all", plural(count as u64, what))
}
