//! Groups as text for people, in any width.

use super::stuck::minutes;
use super::{Groups, Row, Summary};
use crate::dump::Frame;
use crate::table::shown;

/// The most frames of a stack that are shown.
const FRAMES: usize = 12;

/// Lines of at most so many characters.
pub(super) struct Text {
    out: String,
    width: usize,
}

impl Text {
    pub(super) fn new(width: usize) -> Text {
        Text { out: String::new(), width: width.max(40) }
    }

    /// Adds a line, cut to the width. Control characters become blanks: they could make a terminal
    /// do anything.
    pub(super) fn line(&mut self, text: &str) {
        let clean = text.chars().map(shown);
        if text.chars().count() <= self.width {
            self.out.extend(clean);
        } else {
            self.out.extend(clean.take(self.width - 1));
            self.out.push('\u{2026}');
        }
        self.out.push('\n');
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
            self.frame(frame);
        }
        if left_out > 0 {
            self.line(&format!("    … {left_out} more frames …"));
        }
        for frame in &frames[last..] {
            self.frame(frame);
        }
        if let Some(created_by) = created_by {
            self.frame(&format!("created by {created_by}"));
        }
    }

    /// A frame on one line where it fits, and else without the folders of its file.
    fn frame(&mut self, frame: &str) {
        let room = self.width - 4;
        if frame.chars().count() > room
            && let Some((function, place)) = frame.rsplit_once(' ')
        {
            let file = place.rsplit(['/', '\\']).next().unwrap_or(place);
            return self.line(&format!("    {function} {file}"));
        }
        self.line(&format!("    {frame}"));
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }
}

/// Writes groups as text, its lines cut to `width` characters, 40 at least; at most `most` groups.
pub fn render(groups: &Groups<'_>, width: usize, most: usize) -> String {
    let mut out = Text::new(width);
    let rows = groups.rows.len();
    out.line(&format!("{} in {}", plural(groups.total, "goroutine"), plural(rows as u64, "group")));
    out.line(&summary(&groups.summary));
    if groups.dump.truncated() {
        out.line("The dump breaks off: there were more.");
    }
    for warning in groups.dump.warning_texts() {
        out.line(&format!("Warning: {warning}"));
    }
    for row in groups.rows.iter().take(most) {
        out.line("");
        out.line(&head(row));
        if let Some(stuck) = &row.stuck {
            let severity = stuck.severity.as_ref().map_or_else(String::new, |s| format!(" [{s}]"));
            out.line(&format!("  STUCK?{severity} {}: {}", stuck.evidence.words(), stuck.why));
        }
        if !row.labels.is_empty() {
            out.line(&labels(row));
        }
        let frames: Vec<String> = row.frames().iter().map(place).collect();
        out.stack(&frames, row.created_by().as_ref().map(place).as_deref());
    }
    if rows > most {
        out.line("");
        out.line(&format!("{} more", plural((rows - most) as u64, "group")));
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

/// `function file:line`, as in `top --json`.
pub(super) fn place(frame: &Frame<'_>) -> String {
    match (frame.file.as_ref(), frame.line) {
        ("", _) => frame.function.to_string(),
        (file, line) => format!("{} {file}:{line}", frame.function),
    }
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
