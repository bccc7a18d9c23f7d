//! `top`: where the most is.

use std::process::ExitCode;

use profilez::analysis::top::{TopOptions, render, top};

use crate::args::TopArgs;
use crate::output::{self, Failure};
use crate::profiles;

pub(crate) fn run(args: &TopArgs) -> Result<ExitCode, Failure> {
    let (name, bytes) = profiles::choose(&args.file, &args.select)?;
    let profile = profiles::read(&name, &bytes, &args.select)?;
    let options = TopOptions {
        sample_type: args.select.sample_type.clone(),
        by: args.by,
        cum: args.cum,
        limit: Some(args.rows),
    };
    let top = top(&profile.stacks, &options)
        .map_err(|error| format!("{name}: {}", output::chain(&error)))?;
    if args.json {
        output::print_json(&top, output::Json::Pretty)?;
    } else {
        output::print(&output::headed(&render(&top, args.by, output::width()), 2))?;
    }
    Ok(ExitCode::SUCCESS)
}
