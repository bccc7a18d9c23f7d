//! What stands out when all entries are looked at together.

use serde::Serialize;

use super::{ProfileSummary, Report, Row, Subject};
use crate::groups::Evidence;
use crate::table::format_place;
use crate::units::{format_percent, format_value};

/// Something that stands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind: `stuck`, `contention`, `cpu`, `memory`.
    pub kind: &'static str,
    /// The entry that shows it.
    pub entry: String,
    /// The finding, as one line.
    pub text: String,
}

/// The most findings of one kind.
const MOST: usize = 5;
/// Percentage of the total from which on a function stands out.
const LARGE: f64 = 30.0;

/// Returns the findings of a report: what is stuck, who makes others wait, what takes most.
pub(super) fn find_all(report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dump in &report.dumps {
        let stuck = dump.rows.iter().filter_map(|row| Some((row, row.stuck.as_ref()?)));
        for (row, stuck) in stuck.take(MOST) {
            let severity = stuck.severity.as_ref().map_or_else(String::new, |s| format!(" [{s}]"));
            let mut text = format!(
                "{} × {}{severity} at {}: {}",
                stuck.count,
                row.state,
                format_place(&row.function, &row.file, row.line as i64),
                stuck.why
            );
            if stuck.evidence == Evidence::CrowdAtLock
                && let Some((entry, holder)) = find_holder(&report.profiles)
            {
                text += &format!("; most waiting was caused by {} ({entry})", name_row(holder));
            }
            findings.push(Finding { kind: "stuck", entry: dump.name.clone(), text });
        }
    }
    for profile in &report.profiles {
        let (kind, what) = match profile.subject {
            Subject::Cpu => ("cpu", "of the CPU time"),
            Subject::Heap => ("memory", ""),
            Subject::Contention => ("contention", "of the waiting"),
            Subject::Other => continue,
        };
        let Some(table) = profile.tables.first() else { continue };
        let Some(row) = profile.leader.as_ref().filter(|row| row.flat_percent >= LARGE) else {
            continue;
        };
        let what = match (kind, table.sample_type.as_str()) {
            ("memory", "inuse_space") => "of the memory in use",
            ("memory", _) => "of what was allocated",
            _ => what,
        };
        let mut text = format!(
            "{} {what}, {}, is by {}",
            format_percent(row.flat, table.absolute),
            format_value(row.flat, &table.unit),
            name_row(row)
        );
        if let Some(leaf) = &row.leaf {
            text += &format!(", most of it in {leaf}");
        }
        findings.push(Finding { kind, entry: profile.name.clone(), text });
    }
    findings
}

/// Returns the function that made others wait most: the first of a mutex profile.
fn find_holder(profiles: &[ProfileSummary]) -> Option<(&str, &Row)> {
    let mutex = profiles
        .iter()
        .find(|profile| profile.subject == Subject::Contention && profile.name.contains("mutex"))?;
    Some((&mutex.name, mutex.leader.as_ref()?))
}

fn name_row(row: &Row) -> String {
    format_place(&row.name, &row.file, row.line)
}
