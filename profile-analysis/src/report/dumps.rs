//! What a report says of a dump: how many goroutines do what, and what looks stuck.

use serde::Serialize;

use crate::dump::Dump;
use crate::groups::{GroupOptions, Stuck, Summary, group};
use crate::rules::RuleSet;

/// The summary of one dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DumpSummary {
    /// Name of the entry.
    pub name: String,
    /// Number of goroutines or threads.
    pub goroutines: u64,
    /// Number of groups.
    pub groups: usize,
    /// Counts of the goroutines by purpose, and of those that stand out.
    pub summary: Summary,
    /// True where the dump breaks off.
    pub truncated: bool,
    /// True where a limit was reached, beyond which goroutines are counted and not kept.
    pub limited: bool,
    /// The first groups: those that look stuck, then by the longest wait, then by count.
    pub rows: Vec<GroupRow>,
    /// Oddities of the dump.
    pub notes: Vec<String>,
}

/// A group on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupRow {
    /// Number of members.
    pub count: u64,
    /// The state that most members are in.
    pub state: String,
    /// The longest wait; `None` where none is known.
    pub wait_minutes: Option<u64>,
    /// Purpose of the members.
    pub category: &'static str,
    /// Id of the rule that gave the category.
    pub rule: Option<String>,
    /// The first function past the standard library.
    pub function: String,
    /// The function's source file, empty where unknown.
    pub file: String,
    /// The line, 0 where unknown.
    pub line: u64,
    /// Evidence that members are stuck.
    pub stuck: Option<Stuck>,
}

impl DumpSummary {
    /// Summarizes a dump: its first `rows` groups, by the shipped rules.
    pub fn new(name: &str, dump: &Dump, rows: usize) -> DumpSummary {
        let groups = group(dump, RuleSet::shipped(), &GroupOptions::default());
        let row = |row: &crate::groups::Row<'_>| {
            let frame = row.user_frame();
            GroupRow {
                count: row.count,
                state: row.state.to_string(),
                wait_minutes: row.waits.max(),
                category: row.category.name(),
                rule: row.rule.map(str::to_owned),
                function: frame.as_ref().map_or_else(String::new, |f| f.function.to_string()),
                file: frame.as_ref().map_or_else(String::new, |f| f.file.to_string()),
                line: frame.map_or(0, |frame| frame.line),
                stuck: row.stuck.clone(),
            }
        };
        DumpSummary {
            name: name.to_owned(),
            goroutines: groups.total,
            groups: groups.rows.len(),
            summary: groups.summary,
            truncated: dump.truncated(),
            limited: !dump.limits_reached().is_empty(),
            rows: groups.rows.iter().take(rows).map(row).collect(),
            notes: notes_on(dump),
        }
    }
}

fn notes_on(dump: &Dump) -> Vec<String> {
    let unwrapped = dump.unwrapped();
    let read =
        (!unwrapped.is_empty()).then(|| format!("read without {}", unwrapped.join(", and ")));
    dump.warning_texts().into_iter().chain(read).collect()
}
