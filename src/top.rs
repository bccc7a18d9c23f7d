//! `top`: where the most is.

use std::process::ExitCode;

use profilez::analysis::top::{By, TopOptions, render, top};
use profilez::format::ProfileShape;

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
        limit: Some(args.rows),
    };
    let top = top(&profile.stacks, &options)
        .map_err(|error| format!("{name}: {}", output::chain(&error)))?;
    if args.json {
        output::print_json(&top, output::JsonLayout::Pretty)?;
    } else {
        output::print(&output::with_table_head(&render(&top, by, output::width()), 2))?;
        if args.by.is_none() && CALLED.iter().any(|shape| shape.has_type(&top.sample_type)) {
            output::note(
                "`--by caller` charges the standard library and allocators to who called them",
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
