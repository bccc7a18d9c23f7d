//! `diff`: what has grown from one file to the next; the content decides what is compared.

use std::process::ExitCode;

use profilez::analysis::groups::{diff, group, render_diff};

use crate::args::DiffArgs;
use crate::dumps;
use crate::groups::{exit_code, options, rules};
use crate::output::{self, Failure};

pub(crate) fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    dumps(args)
}

/// Compares two dumps, group by group.
fn dumps(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let rules = rules(&args.judging)?;
    let (reading, grouping) = options(&args.judging);
    let base = dumps::open(&args.base, &reading)?.dump;
    let new = dumps::open(&args.new, &reading)?.dump;
    let changes = diff(&group(&base, &rules, &grouping), &group(&new, &rules, &grouping));
    if args.json {
        output::print_json(&changes, output::Json::Pretty)?;
    } else {
        output::print(&render_diff(&changes, output::width(), args.rows))?;
    }
    Ok(ExitCode::from(exit_code(&base).max(exit_code(&new))))
}
