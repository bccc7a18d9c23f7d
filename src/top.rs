//! `top`: where the most is.

use std::process::ExitCode;

use profilez::analysis::top::{By, TopOptions, render, top};
use profilez::format::ProfileShape;
use profilez::format::profile::Stacks;

use crate::args::TopArgs;
use crate::output::{self, CommandFailure};
use crate::profiles;

/// Profiles of allocations and of waits, which fall on functions of the standard library first.
const CALLED: [ProfileShape; 2] = [ProfileShape::HEAP, ProfileShape::CONTENTION];

pub(crate) fn run(args: &TopArgs) -> Result<ExitCode, CommandFailure> {
    let (name, bytes) = profiles::choose_sum(&args.files, &args.select)?;
    let profile = profiles::read(&name, &bytes, &args.select)?;
    let by = args.by.map_or(By::Function, By::from);
    let options = TopOptions {
        sample_type: args.select.sample_type.clone(),
        by,
        cum: args.cum,
        only_mine: args.only_mine,
        limit: Some(args.rows),
    };
    let top = top(&profile.stacks, &options)
        .map_err(|error| format!("{name}: {}", output::chain(&error)))?;
    if top.rows.is_empty() {
        note_other_types(&profile.stacks, &top.sample_type);
    }
    if args.json {
        output::print_json(&top, output::JsonLayout::Pretty)?;
    } else {
        output::print(&output::with_table_head(&render(&top, by, output::width()), 2))?;
        if args.by.is_none()
            && !args.only_mine
            && CALLED.iter().any(|shape| shape.has_type(&top.sample_type))
        {
            output::note(
                "`--by caller` charges the standard library and allocators to who called them",
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Notes which sample types hold something, where the one that was ranked holds nothing.
fn note_other_types(stacks: &Stacks<'_>, ranked: &str) {
    let profile = stacks.profile();
    let held =
        profile.sample_types.iter().enumerate().filter(|&(index, _)| stacks.total(index) != 0);
    let names: Vec<&str> = held.map(|(_, kind)| profile.str(kind.kind)).collect();
    if !names.is_empty() {
        let (ranked, names) = (output::printable(ranked), output::printable(&names.join(", ")));
        output::note(&format!("no sample has any {ranked}; `--type` takes {names}"));
    }
}
