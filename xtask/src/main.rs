//! How people run everything in this repository: `cargo xtask <command>`. Each command is a file of
//! its own; what is here is only the choice between them. It runs cargo and other programs and uses
//! none of the product's crates, so that it still builds when they don't.

mod bench;
mod browser;
mod ci;
mod demo;
mod fuzz;
mod tools;

mod error;
mod features;
mod packages;
mod process;
mod services;
mod steps;
mod structure;

use std::io::Write;
use std::process::ExitCode;

use error::{Error, Result};

const HELP: &str = "\
Runs the checks and tools of this repository.

Usage: cargo xtask <command> [arguments]

Commands:
  ci [--only STEP]... [--skip STEP]... [--list]
                   run every check, in order, up to the first that fails
  bench [AREA] [--quick] [--json] [--line LINE]...
                   measure an area (cpu, heap, contention, analysis, tasks,
                   page), or all, against its bars and its peers
  stress [--minutes N]
                   sample a program that does everything samplers are known
                   to crash or hang on; 10 minutes unless told otherwise
  stress scrape    five minutes of two scrapers, bundles and
                   `go tool pprof` at once
  fuzz [TARGET]... [--seconds N]
                   run the fuzz targets, a minute each unless told otherwise;
                   needs cargo-fuzz
  demo [ARGS]...   run the demo of the `profilez` command, optimised
  tools            install what the tests with real clients need into
                   target/tools, and print the path of `go`
  help             print this text

Exit codes: 0 all right, 1 failed, 2 usage.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                Error::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((command, rest)) = args.split_first() else {
        return Err(Error::Usage(format!("no command given\n\n{HELP}")));
    };
    match command.as_str() {
        "demo" => demo::run(rest),
        "bench" | "ci" | "fuzz" | "stress" | "tools" if wants_help(rest) => print_help(),
        "bench" => bench::areas(rest),
        "ci" => ci::run(rest),
        "fuzz" => fuzz::targets(rest),
        "stress" => bench::stress(rest),
        "tools" => tools::run(rest),
        "help" | "--help" | "-h" => print_help(),
        other => Err(Error::Usage(format!("no such command: {other}\n\n{HELP}"))),
    }
}

fn wants_help(args: &[String]) -> bool {
    args.iter().any(|arg| arg == "--help" || arg == "-h")
}

/// Prints the help; a reader that has gone away is no failure.
fn print_help() -> Result<()> {
    let _ = std::io::stdout().write_all(HELP.as_bytes());
    Ok(())
}
