//! Writing a report for people: compact, aligned, no colours.

use std::fmt::Write;

use super::{DumpSummary, Finding, GroupRow, ProfileSummary, Report, Row, Subject, Table};
use crate::groups::Summary;
use crate::table::{NARROWEST, PlaceNames, fit_end, fit_start, format_place, wrap_lines};
use crate::units::{format_percent, format_value, plural, round_units};

/// The least room for a name at the end of a line.
const NAME: usize = 12;

/// Writes a report as text, its lines of at most `width` characters, 40 at least. Ends in a newline
/// where there is anything to say.
pub fn render(report: &Report, width: usize) -> String {
    let width = width.max(NARROWEST);
    let mut out = String::new();
    if !report.findings.is_empty() {
        write_line(&mut out, width, "What stands out");
    }
    for Finding { entry, text, .. } in &report.findings {
        out.push_str(&wrap_lines(&format!("  {entry}: {text}"), width, 4));
    }
    for profile in &report.profiles {
        if !out.is_empty() {
            out.push('\n');
        }
        write_line(&mut out, width, &format_heading(profile));
        for note in &profile.notes {
            out.push_str(&wrap_lines(&format!("  note: {}", round_units(note)), width, 4));
        }
        for table in &profile.tables {
            write_table(&mut out, width, table);
        }
    }
    for dump in &report.dumps {
        if !out.is_empty() {
            out.push('\n');
        }
        write_dump(&mut out, width, dump);
    }
    if !report.notes.is_empty() && !out.is_empty() {
        out.push('\n');
    }
    for note in &report.notes {
        out.push_str(&wrap_lines(&format!("{}: {}", note.name, note.text), width, 2));
    }
    out
}

/// Writes a dump: its counts, and a line for each of the first groups.
fn write_dump(out: &mut String, width: usize, dump: &DumpSummary) {
    let Summary { background, per_request, unknown, long_waiting, potentially_stuck, .. } =
        dump.summary;
    let groups = plural(dump.groups as u64, "group");
    write_line(out, width, &format!("{}  {} in {groups}", dump.name, dump.goroutines));
    let summary = format!(
        "  {background} background, {per_request} per-request, {unknown} unknown; {long_waiting} \
         long waiting, {potentially_stuck} potentially stuck"
    );
    write_line(out, width, &summary);
    if dump.truncated {
        write_line(out, width, "  note: it breaks off, there were more");
    }
    let head = ["count", "state", "wait", "category"].map(str::to_owned);
    let cells = |row: &GroupRow| {
        [
            row.count.to_string(),
            if row.state.is_empty() { "?".to_owned() } else { row.state.clone() },
            row.wait_minutes.map_or_else(String::new, |wait| format!("{wait} min")),
            row.category.to_owned(),
        ]
    };
    let body: Vec<_> = dump.rows.iter().map(cells).collect();
    let all = || std::iter::once(&head).chain(&body);
    let widths: Vec<usize> = (0..head.len())
        .map(|column| all().map(|cells| cells[column].chars().count()).max().unwrap_or(0))
        .collect();
    let aligned = |[count, state, wait, category]: &[String; 4]| {
        format!(
            "  {count:>0$}  {state:<1$}  {wait:>2$}  {category:<3$}",
            widths[0], widths[1], widths[2], widths[3]
        )
    };
    write_line(out, width, &format!("{}  function", aligned(&head)));
    for (row, cells) in dump.rows.iter().zip(&body) {
        let stuck = if row.stuck.is_some() { "STUCK? " } else { "" };
        let head = format!("{}  {stuck}", aligned(cells));
        let place = format_place(&row.function, &row.file, row.line as i64);
        write_named_line(out, width, &head, &row.function, &place);
    }
    for note in &dump.notes {
        out.push_str(&wrap_lines(&format!("  note: {note}"), width, 4));
    }
}

/// Returns the name, the subject, and the totals: `cpu.prof  cpu 9.98 s in 10.00 s, 212 stacks`.
fn format_heading(profile: &ProfileSummary) -> String {
    let mut text = format!("{}  ", profile.name);
    let amount = |value: i64, unit: &str, sample_type: &str| match unit {
        "count" | "" => format_count(value, sample_type),
        _ => format!("{sample_type} {}", format_value(value, unit)),
    };
    let shown = profile.totals.iter().filter(|total| {
        // Samples of a CPU profile are named below; objects go without saying beside their bytes.
        profile.subject == Subject::Other
            || total.unit != "count"
            || total.sample_type == "contentions"
    });
    let amounts: Vec<String> =
        shown.map(|total| amount(total.value, &total.unit, &total.sample_type)).collect();
    text.push_str(&amounts.join(", "));
    if profile.duration_nanos > 0 {
        let _ = write!(text, " in {}", format_value(profile.duration_nanos, "nanoseconds"));
    }
    let _ = write!(text, ", {}", plural(profile.samples as u64, "sample"));
    text
}

/// Returns the number of things that a sample type counts: `1 contention`, `17 goroutines`.
fn format_count(value: i64, sample_type: &str) -> String {
    match (value, sample_type) {
        (1, "contentions") => "1 contention".to_owned(),
        (1, _) => format!("1 {sample_type}"),
        (value, "goroutine") => format!("{value} goroutines"),
        (value, _) => format!("{value} {sample_type}"),
    }
}

fn write_table(out: &mut String, width: usize, table: &Table) {
    let counts = !table.count_type.is_empty();
    let cells = |row: &Row| {
        let mut cells = vec![
            format_value(row.flat, &table.unit),
            format_percent(row.flat, table.absolute),
            format_value(row.cum, &table.unit),
            format_percent(row.cum, table.absolute),
        ];
        if counts {
            cells.push(row.count.to_string());
        }
        cells
    };
    let mut head = vec![table.sample_type.clone(), "%".into(), "cum".into(), "%".into()];
    if counts {
        head.push(table.count_type.clone());
    }
    let body: Vec<Vec<String>> = table.rows.iter().map(cells).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = std::iter::once(&head).chain(&body).map(|cells| &cells[column]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let aligned = |cells: &[String]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text
    };
    let places =
        PlaceNames::new(table.rows.iter().map(|row| (row.name.as_str(), row.file.as_str())));
    write_line(out, width, &format!("{}  function", aligned(&head)));
    for (row, cells) in table.rows.iter().zip(&body) {
        let head = format!("{}  ", aligned(cells));
        let mut place = places.format(&row.name, &row.file, row.line);
        if let Some(leaf) = &row.leaf {
            place += &format!(" \u{2190} {leaf}");
        }
        write_named_line(out, width, &head, &row.name, &place);
    }
}

/// Writes a line, cut to a width.
fn write_line(out: &mut String, width: usize, text: &str) {
    out.push_str(&fit_start(text, width));
    out.push('\n');
}

/// Writes a line that ends in a function and its place. Of what is too long the end is kept,
/// without the place where little but that would be left.
fn write_named_line(out: &mut String, width: usize, head: &str, function: &str, place: &str) {
    let room = width.saturating_sub(head.chars().count()).max(NAME);
    let (length, all, half) = (function.chars().count(), place.chars().count(), room / 2);
    let name = if all > room && all - length > half { function } else { place };
    write_line(out, width, &format!("{head}{}", fit_end(name, room)));
}
