//! Profiles and dumps on one screen: what was collected, where the most of it is, who waits and
//! what looks stuck.
//!
//! The answers are plain data, for programs, and [`render()`] writes them for people.

mod dumps;
mod findings;
mod render;
mod summarize;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde::Serialize;

use crate::{Format, dump, sniff};

pub use dumps::{DumpSummary, GroupRow};
pub use findings::Finding;
pub use render::render;

/// A report on several profiles and dumps. Serializes to what `report --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The profiles, in the order in which they came.
    pub profiles: Vec<ProfileSummary>,
    /// The dumps of goroutines and threads, in the order in which they came.
    pub dumps: Vec<DumpSummary>,
    /// The findings, the most urgent first.
    pub findings: Vec<Finding>,
    /// Entries that could not be read, and why.
    pub notes: Vec<Note>,
}

/// The summary of one profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileSummary {
    /// Name of the entry.
    pub name: String,
    /// The subject, told from its sample types.
    pub subject: Subject,
    /// Number of samples.
    pub samples: usize,
    /// Time that the recording took, in nanoseconds; 0 where it is not of a window.
    pub duration_nanos: i64,
    /// The sum of each sample type.
    pub totals: Vec<Total>,
    /// Rankings of the functions with the most.
    pub tables: Vec<Table>,
    /// Notes that the profile carries, and oddities of it.
    pub notes: Vec<String>,
    /// The program's function with most of the first table, whatever libraries did for it.
    #[serde(skip)]
    leader: Option<Row>,
    /// Of a heap profile the bytes between two samples on average.
    #[serde(skip)]
    heap_rate: u64,
}

/// Subjects of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Subject {
    /// Time on a CPU.
    Cpu,
    /// Allocations.
    Heap,
    /// Waiting: for what, or caused by what.
    Contention,
    /// Anything else.
    Other,
}

/// The sum of a sample type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Total {
    /// The quantity that is counted.
    #[serde(rename = "type")]
    pub sample_type: String,
    /// Unit of the value.
    pub unit: String,
    /// The sum, at the ends of `i64` where it is past them.
    pub value: i64,
}

/// A ranking.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// The quantity that is counted.
    #[serde(rename = "type")]
    pub sample_type: String,
    /// Unit of the values.
    pub unit: String,
    /// The sum over all samples.
    pub total: i64,
    /// The sum over all stacks without their signs, which percentages are of.
    pub absolute: i64,
    /// Sample type of [`Row::count`], such as `inuse_objects`; empty where nothing is counted.
    pub count_type: String,
    /// The rows, the largest first.
    pub rows: Vec<Row>,
}

/// A row of a ranking: a function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The function.
    pub name: String,
    /// The function's source file, empty where unknown.
    pub file: String,
    /// The line on which most of `cum` falls, 0 where unknown.
    pub line: i64,
    /// The amount that falls on the function itself, and on what the standard library, allocators,
    /// locks and runtimes did for it.
    pub flat: i64,
    /// `flat` in percent of [`Table::absolute`].
    pub flat_percent: f64,
    /// The amount that falls on the function and on all it called.
    pub cum: i64,
    /// `cum` in percent of [`Table::absolute`].
    pub cum_percent: f64,
    /// Number of things `flat` is the size of: blocks, or waits. 0 where nothing counts them.
    pub count: i64,
    /// The function that did most of `flat`, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
}

/// A note on an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The entry's name.
    pub name: String,
    /// The note, as one line.
    pub text: String,
}

/// Options of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportOptions {
    /// The most rows of a table.
    pub rows: usize,
    /// Charges all libraries to the program's functions that called them where true.
    pub only_mine: bool,
}

impl ReportOptions {
    /// Makes the options of tables of so many rows.
    pub fn rows(rows: usize) -> ReportOptions {
        ReportOptions { rows, only_mine: false }
    }
}

/// Reads profiles and dumps, given as names and bytes: ranks the largest functions of each profile,
/// and groups what is in each dump. An entry that is neither, or a broken one, becomes a
/// note. Of each entry only the answer is kept, so that an iterator that makes entries one by one
/// needs memory for one.
pub fn report<N: AsRef<str>, B: AsRef<[u8]>>(
    entries: impl IntoIterator<Item = (N, B)>,
    options: &ReportOptions,
) -> Report {
    let rows = options.rows;
    let mut report = Report::default();
    // Of profiles that count goroutines, in case that there is no text, which says more.
    let mut dumps = Vec::new();
    for (name, bytes) in entries {
        let (name, bytes) = (name.as_ref(), bytes.as_ref());
        if sniff(bytes) == Format::Dump {
            let dump = dump::parse_packed(bytes, &dump::Options::default());
            report.dumps.push(DumpSummary::new(name, &dump, rows));
            continue;
        }
        match crate::read_part(bytes, &crate::Filter::default()) {
            Ok(opened) => {
                let summary = summarize::summarize(name, &opened, options);
                dumps.extend(
                    summary.counts_goroutines().then(|| group(name, bytes, rows)).flatten(),
                );
                report.profiles.push(summary);
            }
            Err(error) => {
                report.notes.push(Note { name: name.to_owned(), text: error.chain() });
            }
        }
    }
    drop_repeated_tables(&mut report.profiles);
    if report.dumps.is_empty() {
        report.dumps = dumps;
    }
    report.conclude();
    report
}

/// Groups what a profile of goroutines holds: by function, nearly all of it is where they wait.
fn group(name: &str, bytes: &[u8], rows: usize) -> Option<DumpSummary> {
    let opened = crate::open(bytes).ok()?;
    let dump = dump::from_profile(&opened.profile, &dump::Options::default())?;
    Some(DumpSummary::new(name, &dump, rows))
}

/// Returns the report of one dump that was read already.
pub fn of_dump(name: &str, dump: &dump::Dump, rows: usize) -> Report {
    let dumps = vec![DumpSummary::new(name, dump, rows)];
    let mut report = Report { dumps, ..Report::default() };
    report.conclude();
    report
}

impl Report {
    /// Drops the tables that a dump makes needless, and looks for findings.
    fn conclude(&mut self) {
        // Groups say all that the table of a profile of goroutines says.
        if !self.dumps.is_empty() {
            let counted = |profile: &&mut ProfileSummary| profile.counts_goroutines();
            self.profiles.iter_mut().filter(counted).for_each(|profile| profile.tables.clear());
        }
        self.findings = findings::find_all(self);
    }
}

impl ProfileSummary {
    fn counts_goroutines(&self) -> bool {
        self.totals.iter().any(|total| total.sample_type == "goroutine")
    }
}

/// Cuts the profiles of the heap down to their main table where `heap` and `allocs` are both there:
/// they are the same data with another default.
fn drop_repeated_tables(profiles: &mut [ProfileSummary]) {
    let first = |profile: &ProfileSummary| {
        (profile.subject == Subject::Heap)
            .then(|| Some(profile.tables.first()?.sample_type.clone()))
    };
    let shown: HashSet<String> = profiles.iter().filter_map(first).flatten().collect();
    if shown.len() > 1 {
        let heaps = profiles.iter_mut().filter(|profile| profile.subject == Subject::Heap);
        heaps.for_each(|profile| profile.tables.truncate(1));
    }
}
