//! `diff`: what has grown from one file to the next; the content decides what is compared.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;

use profilez::analysis::changes::{Changes, ChangesOptions, changes, render_changes};
use profilez::analysis::dump::{Dump, Options};
use profilez::analysis::groups::{Diff, diff, group, render_diff};
use profilez::analysis::{Format, sniff};
use serde::Serialize;

use crate::args::{DiffArgs, GroupBy};
use crate::dumps;
use crate::groups::{exit_code, options, rules};
use crate::input;
use crate::output::{self, CommandFailure, printable};
use crate::profiles;

pub(crate) fn run(args: &DiffArgs) -> Result<ExitCode, CommandFailure> {
    if input::is_stdin(&args.base) && input::is_stdin(&args.new) {
        return Err(CommandFailure::Usage("standard input can be read only once".to_owned()));
    }
    let by = args.group_key().unwrap_or(GroupBy::Exact);
    let (reading, _) = options(&args.reading, &by);
    // Dumps are read in pieces; anything else is looked at as a whole.
    if let Some(base) = dumps::stream(&args.base, &reading)? {
        let new = dumps::open(&args.new, &reading)?.dump;
        return dumps(args, &base, &new);
    }
    let mut base = BTreeMap::new();
    let mut is_bundle = false;
    let seen = profiles::each(&args.base, |name, bytes| {
        is_bundle = name != args.base;
        base.insert(name.to_owned(), bytes);
        Ok(ControlFlow::Continue(()))
    })?;
    if is_bundle {
        return bundles(args, &base, &reading, seen.truncated);
    }
    let bytes = base.into_values().next().unwrap_or_default();
    if let Some(base) = dumps::read_bytes(&bytes, &reading)? {
        let new = dumps::open(&args.new, &reading)?.dump;
        return dumps(args, &base, &new);
    }
    let (name, new) = profiles::choose(&args.new, &args.select)?;
    let changes = of_profiles(args, (&args.base, &bytes), (&name, &new))?;
    if args.json {
        output::print_json(&changes, output::JsonLayout::Pretty)?;
    } else {
        output::print(&text(args, &changes)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares two dumps, group by group.
fn dumps(args: &DiffArgs, base: &Dump, new: &Dump) -> Result<ExitCode, CommandFailure> {
    let changes = of_dumps(args, &args.group_key().map_err(CommandFailure::Usage)?, base, new)?;
    if args.json {
        output::print_json(&changes, output::JsonLayout::Pretty)?;
    } else {
        output::print(&render_diff(&changes, output::width(), args.rows))?;
    }
    Ok(ExitCode::from(exit_code(base).max(exit_code(new))))
}

fn of_dumps(
    args: &DiffArgs,
    by: &GroupBy,
    base: &Dump,
    new: &Dump,
) -> Result<Diff, CommandFailure> {
    let rules = rules(&args.reading)?;
    let (_, grouping) = options(&args.reading, by);
    Ok(diff(&group(base, &rules, &grouping), &group(new, &rules, &grouping)))
}

fn of_profiles(
    args: &DiffArgs,
    base: (&str, &[u8]),
    new: (&str, &[u8]),
) -> Result<Changes, CommandFailure> {
    let base_profile = profiles::read(base.0, base.1, &args.select)?;
    let new_profile = profiles::read(new.0, new.1, &args.select)?;
    let options = ChangesOptions {
        sample_type: args.select.sample_type.clone(),
        by: args.ranking_row().map_err(CommandFailure::Usage)?,
        cum: args.cum,
        limit: Some(args.rows),
        normalize: args.normalize,
    };
    changes(&base_profile.stacks, &new_profile.stacks, &options)
        .map_err(|error| format!("{} and {}: {}", base.0, new.0, output::chain(&error)).into())
}

fn text(args: &DiffArgs, changes: &Changes) -> Result<String, CommandFailure> {
    let by = args.ranking_row().map_err(CommandFailure::Usage)?;
    Ok(output::with_table_head(&render_changes(changes, by, output::width()), 2))
}

/// Changes in an entry of a bundle.
#[derive(Serialize)]
struct EntryChanges {
    name: String,
    #[serde(flatten)]
    changes: Changes,
}

/// Changes in a dump of a bundle.
#[derive(Serialize)]
struct DumpChanges {
    name: String,
    #[serde(flatten)]
    changes: Diff,
}

/// Changes between two bundles.
#[derive(Serialize)]
struct BundleChanges {
    format: &'static str,
    entries: Vec<EntryChanges>,
    /// The changes of dumps of goroutines and threads, group by group.
    dumps: Vec<DumpChanges>,
    /// Names of profiles and dumps that only one of them has.
    only_in_base: Vec<String>,
    only_in_new: Vec<String>,
    truncated: bool,
}

/// Compares the profiles and dumps of two bundles, entry by entry, as the second one is read.
fn bundles(
    args: &DiffArgs,
    base: &BTreeMap<String, Vec<u8>>,
    reading: &Options,
    truncated: bool,
) -> Result<ExitCode, CommandFailure> {
    let (mut entries, mut only_in_new, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    let mut dumps = Vec::new();
    // What a row is may be said in the words of profiles.
    let by = args.group_key().unwrap_or(GroupBy::Exact);
    // A dump has no sample types.
    let with_dumps = args.select.sample_type.is_none();
    let mut is_bundle = false;
    let read = profiles::each(&args.new, |name, bytes| {
        is_bundle = name != args.new;
        if is_bundle && with_dumps && sniff(&bytes) == Format::Dump {
            seen.push(name.to_owned());
            let old = base.get(name).map(|old| dumps::read_bytes(old, reading)).transpose()?;
            match (old.flatten(), dumps::read_bytes(&bytes, reading)?) {
                (Some(old), Some(new)) => {
                    let changes = of_dumps(args, &by, &old, &new)?;
                    dumps.push(DumpChanges { name: name.to_owned(), changes });
                }
                _ => only_in_new.push(name.to_owned()),
            }
        } else if is_bundle && profiles::is_profile(&bytes) {
            seen.push(name.to_owned());
            match base.get(name) {
                Some(old) => match of_profiles(args, (name, old), (name, &bytes)) {
                    Ok(changes) => entries.push(EntryChanges { name: name.to_owned(), changes }),
                    // Of several kinds of profile some don't have the type that was asked for.
                    Err(CommandFailure::Error(error)) if args.select.sample_type.is_some() => {
                        output::note(&printable(&error.to_string()));
                    }
                    Err(failure) => return Err(failure),
                },
                None => only_in_new.push(name.to_owned()),
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !is_bundle {
        let reason =
            format!("{} is a bundle and {} is not: name an entry of it", args.base, args.new);
        return Err(reason.into());
    }
    let compares =
        |bytes: &[u8]| with_dumps && sniff(bytes) == Format::Dump || profiles::is_profile(bytes);
    let missing = base.iter().filter(|(name, bytes)| compares(bytes) && !seen.contains(*name));
    let only_in_base = missing.map(|(name, _)| name.clone()).collect();
    let truncated = truncated || read.truncated;
    let all =
        BundleChanges { format: "bundle", entries, dumps, only_in_base, only_in_new, truncated };
    if args.json {
        output::print_json(&all, output::JsonLayout::Pretty)?;
    } else {
        output::print(&bundle_text(args, &all)?)?;
    }
    Ok(ExitCode::from(if truncated { output::PARTIAL } else { 0 }))
}

fn bundle_text(args: &DiffArgs, all: &BundleChanges) -> Result<String, CommandFailure> {
    let mut out = String::new();
    for EntryChanges { name, changes } in &all.entries {
        let gap = if out.is_empty() { "" } else { "\n" };
        out.push_str(&format!("{gap}{}\n{}", printable(name), text(args, changes)?));
    }
    for DumpChanges { name, changes } in &all.dumps {
        let gap = if out.is_empty() { "" } else { "\n" };
        let changes = render_diff(changes, output::width(), args.rows);
        out.push_str(&format!("{gap}{}\n{changes}", printable(name)));
    }
    for (names, which) in [(&all.only_in_base, "first"), (&all.only_in_new, "second")] {
        for name in names {
            out.push_str(&format!("{} is in the {which} bundle only\n", printable(name)));
        }
    }
    if out.is_empty() {
        out.push_str("the bundles hold no profiles and no dumps\n");
    }
    Ok(out)
}
