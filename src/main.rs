//! The `profilez` command: collects bundles from services, and reads what is in them.
#![forbid(unsafe_code)]

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
mod top;
mod trace;

use std::process::ExitCode;

use args::{Args, Command};
use output::Failure;

// So that the demo's heap can be profiled. A library must leave this choice to the program.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(target_os = "linux")]
profilez::jemalloc_config!();

fn main() -> ExitCode {
    let args = Args::of_this_process();
    args.color.write_global();
    let done = match args.command {
        Command::Demo(args) => demo::run(&args),
        Command::Collect(args) => collect::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Groups(args) => groups::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Flame(args) => flame::run(&args),
    };
    match done {
        Ok(code) => code,
        // Whoever reads the output has seen enough.
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Usage(reason)) => {
            output::error(&reason);
            ExitCode::from(output::USAGE)
        }
        Err(Failure::Error(error)) => {
            output::error(&output::chain(error.as_ref()));
            ExitCode::from(output::FAILED)
        }
    }
}
