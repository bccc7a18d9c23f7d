//! The `profilez` command: collects bundles from services, and reads what is in them.
#![forbid(unsafe_code)]

mod archives;
mod args;
mod collect;
mod demo;
mod diff;
mod dumps;
mod flame;
mod groups;
mod input;
mod inspect;
mod interrupt;
mod output;
mod profiles;
mod report;
mod shell;
mod top;
mod trace;

use std::process::ExitCode;

use args::{CliArgs, CliCommand};
use clap::CommandFactory as _;
use output::CommandFailure;

// So that the demo's heap can be profiled. A library must leave this choice to the program.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(target_os = "linux")]
profilez::jemalloc_config!();

fn main() -> ExitCode {
    let args = CliArgs::of_this_process();
    args.color.write_global();
    let done = match args.command {
        CliCommand::Demo(args) => demo::run(&args),
        CliCommand::Collect(args) => collect::run(&args),
        CliCommand::Report(args) => report::run(&args),
        CliCommand::Groups(args) => groups::run(&args),
        CliCommand::Top(args) => top::run(&args),
        CliCommand::Inspect(args) => inspect::run(&args),
        CliCommand::Trace(args) => trace::run(&args),
        CliCommand::Diff(args) => diff::run(&args),
        CliCommand::Flame(args) => flame::run(&args),
        CliCommand::Completions(args) => shell::complete(args, CliArgs::command()),
        CliCommand::Man(args) => shell::man(&args, CliArgs::command()),
    };
    match done {
        Ok(code) => code,
        // Whoever reads the output has seen enough.
        Err(CommandFailure::Closed) => ExitCode::SUCCESS,
        Err(CommandFailure::Usage(reason)) => {
            output::error(&reason);
            ExitCode::from(output::USAGE)
        }
        Err(CommandFailure::Error(error)) => {
            output::error(&output::chain(error.as_ref()));
            ExitCode::from(output::FAILED)
        }
    }
}
