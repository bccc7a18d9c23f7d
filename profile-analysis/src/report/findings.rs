//! What stands out when all entries are looked at together.

use profile_format::profile::SampledAmount;
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
    findings.extend(report.profiles.iter().filter_map(find_leader));
    findings
}

/// Number of samples from which on something is said of them.
const LEAST_SAMPLES: f64 = 10.0;

/// Returns what takes most of a profile, where that is much and no chance.
fn find_leader(profile: &ProfileSummary) -> Option<Finding> {
    let table = profile.tables.first()?;
    let row = profile.leader.as_ref().filter(|row| row.flat_percent >= LARGE)?;
    let (kind, what) = match (profile.subject, table.sample_type.as_str()) {
        (Subject::Cpu, _) => ("cpu", "of the CPU time"),
        (Subject::Heap, "inuse_space") => ("memory", "of the memory in use"),
        (Subject::Heap, _) => ("memory", "of what was allocated"),
        (Subject::Contention, _) => ("contention", "of the waiting"),
        (Subject::Other, _) => return None,
    };
    let (percent, amount) =
        (format_percent(row.flat, table.absolute), format_value(row.flat, &table.unit));
    let name = name_row(row);
    let mut text = match (profile.subject, row.count) {
        // Nothing counts them.
        (_, 0) => format!("{percent} {what}, {amount}, is by {name}"),
        (Subject::Contention, waits) if (waits as f64) < LEAST_SAMPLES => return None,
        (Subject::Contention, waits) => {
            format!("{percent} {what}, {amount} ({waits} waits), is by {name}")
        }
        (subject, count) => {
            let samples = match (subject, u64::try_from(row.flat), u64::try_from(count)) {
                (Subject::Heap, Ok(bytes), Ok(count)) => {
                    SampledAmount::new(bytes, count, profile.heap_rate).samples
                }
                _ => count as f64,
            };
            if samples < LEAST_SAMPLES {
                return None;
            }
            let margin = margin_of_share(row.flat_percent / 100.0, samples);
            format!(
                "{percent} {what}, {amount} ({samples:.0} samples, ± {margin:.1}%), is by {name}"
            )
        }
    };
    if let Some(leaf) = &row.leaf {
        text += &format!(", most of it in {leaf}");
    }
    Some(Finding { kind, entry: profile.name.clone(), text })
}

/// Returns half the width, in percent, of the interval that holds a share 19 times out of 20, where so many
/// samples are in the share: 1.96 standard deviations of a binomial variable, and three samples where none is
/// outside.
fn margin_of_share(share: f64, samples: f64) -> f64 {
    let all = samples / share.clamp(f64::MIN_POSITIVE, 1.0);
    let deviation = (share * (1.0 - share) / all).max(0.0).sqrt();
    if share < 1.0 { 196.0 * deviation } else { 300.0 / all }
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
