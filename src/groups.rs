//! `groups`: goroutines, threads and tasks in groups, with what they are for and what looks stuck.

use std::fs;
use std::process::ExitCode;

use profilez::analysis::dump::{Dump, Options};
use profilez::analysis::groups::{By, GroupOptions, goroutines_json, group, render};
use profilez::analysis::rules::RuleSet;

use crate::args::{GroupBy, GroupsArgs, ReadingArgs};
use crate::dumps::{self, TimedDump};
use crate::output::{self, CommandFailure};

pub(crate) fn run(args: &GroupsArgs) -> Result<ExitCode, CommandFailure> {
    let rules = rules(&args.judging.reading)?;
    let (reading, grouping) = options(&args.judging.reading, &args.judging.by);
    let TimedDump { dump, timestamp, complete } = dumps::open(&args.file, &reading)?;
    let groups = group(&dump, &rules, &grouping);
    if let GroupBy::Label(key) = &args.judging.by
        && groups.rows.iter().all(|row| row.label.is_none())
    {
        output::note(&format!("nothing has a label {}", output::printable(key)));
    }
    if args.json {
        let json = goroutines_json(&groups, timestamp.as_deref(), None);
        output::print_json(&json, output::JsonLayout::Pretty)?;
    } else {
        output::print(&render(&groups, output::width(), args.rows))?;
    }
    let code = if complete { 0 } else { output::PARTIAL };
    Ok(ExitCode::from(exit_code(&dump).max(code)))
}

/// Returns [`output::PARTIAL`] where something of the dump is lost, else 0.
pub(crate) fn exit_code(dump: &Dump) -> u8 {
    if dump.truncated() || !dump.limits_reached().is_empty() { output::PARTIAL } else { 0 }
}

/// Returns the options for reading and for grouping.
pub(crate) fn options(reading: &ReadingArgs, by: &GroupBy) -> (Options, GroupOptions) {
    let mut reading = Options { strip_prefix: reading.strip_prefix, ..Options::default() };
    let by = match by.clone() {
        GroupBy::Exact => By::Exact,
        GroupBy::Function => By::Function,
        GroupBy::Top(most) => By::Top(most),
        GroupBy::Creator => By::Creator,
        GroupBy::Label(key) => {
            reading.by_label = Some(key);
            By::Label
        }
    };
    (reading, GroupOptions { by, ..GroupOptions::default() })
}

/// Returns the rules that the arguments name: the user's come before the shipped ones, and the
/// original ones stand alone.
pub(crate) fn rules(reading: &ReadingArgs) -> Result<RuleSet, CommandFailure> {
    match reading.rules.as_deref() {
        None => Ok(RuleSet::shipped().clone()),
        Some("original") => Ok(RuleSet::original().clone()),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            let rules = RuleSet::parse(&text)
                .map_err(|error| format!("{path}: {}", output::chain(&error)))?;
            Ok(rules.then(RuleSet::shipped().clone()))
        }
    }
}
