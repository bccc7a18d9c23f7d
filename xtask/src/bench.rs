//! `cargo xtask bench` and `cargo xtask stress`: build the bench workspace, which is apart from the
//! product's, and run one of its programs. What they measure and how they judge it is theirs.

use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::{self, root, run};
use crate::tools;

/// What can be measured: programs of the bench workspace.
const AREAS: &[&str] = &["cpu", "heap", "contention", "analysis", "tasks", "page"];

/// Measures an area, or all; other arguments are passed on.
pub(crate) fn areas(args: &[String]) -> Result<()> {
    let (areas, args) = chosen(args)?;
    build()?;
    if areas.contains(&"tasks") {
        build_console()?;
    }
    let mut outcome = Ok(());
    for area in areas {
        // A bar that fails in one area is no reason not to see the others.
        outcome = outcome.and(run(program(area).args(args)));
    }
    outcome
}

/// Runs the stress test, for ten minutes unless the arguments say otherwise; or, with `scrape`, a
/// scraper's rhythm for five.
pub(crate) fn stress(args: &[String]) -> Result<()> {
    if args == ["scrape"] {
        return scrape();
    }
    run(cargo("build").args(["--release", "--lib", "--bin", "stress"]))?;
    run(program("stress").args(args))
}

/// The test of the scrapers' rhythm, in the form that `ci` has no time for.
fn scrape() -> Result<()> {
    tools::install()?;
    let mut test = process::cargo("test");
    test.args(["--release", "--test", "it", "--"]);
    test.args(["scrape::a_scrapers_rhythm_is_kept_for_five_minutes", "--exact"]);
    run(test.args(["--ignored", "--nocapture"]))
}

/// The stress test's short form, as a step of `ci`.
pub(crate) fn short_stress() -> Result<()> {
    stress(&["--minutes".to_owned(), "1".to_owned()])
}

/// Areas to measure, and the arguments for them.
fn chosen(args: &[String]) -> Result<(&[&'static str], &[String])> {
    match args.split_first() {
        Some((area, rest)) if !area.starts_with('-') => {
            let index = AREAS.iter().position(|known| known == area).ok_or_else(|| {
                Error::Usage(format!(
                    "bench: no such area: {area} (there are: {})",
                    AREAS.join(", ")
                ))
            })?;
            Ok((&AREAS[index..=index], rest))
        }
        _ => Ok((AREAS, args)),
    }
}

/// No warning in any target of the bench workspace.
pub(crate) fn clippy() -> Result<()> {
    let arguments = ["--all-targets", "--all-features", "--no-deps", "--", "-D", "warnings"];
    run(cargo("clippy").args(arguments))
}

/// The bench workspace's own tests: of its tables, not of what it measures.
pub(crate) fn test() -> Result<()> {
    run(cargo("test").arg("--lib"))
}

/// What interposes libc's functions is built by itself: the rest is measured without.
fn build() -> Result<()> {
    run(cargo("build").arg("--release"))?;
    run(cargo("build").args(["--release", "--features", "intercept", "--bin", "contention"]))
}

/// The peer of area `tasks`, which needs another tokio.
fn build_console() -> Result<()> {
    let mut cargo = process::cargo("build");
    cargo.args(["--release", "--manifest-path", "bench/console/Cargo.toml", "--target-dir"]);
    cargo.arg(target().join("console")).env("RUSTFLAGS", "--cfg tokio_unstable");
    run(&mut cargo)
}

/// A command of cargo for the bench workspace.
fn cargo(command: &str) -> Command {
    let mut cargo = process::cargo(command);
    cargo.args(["--workspace", "--manifest-path", "bench/Cargo.toml", "--target-dir"]);
    cargo.arg(target());
    cargo
}

fn program(name: &str) -> Command {
    let mut program = Command::new(target().join("release").join(name));
    program.current_dir(root());
    program
}

/// The folder that the product is built in: nearly all crates that it is made of are the same here.
fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &str, areas: &[&str], passed_on: &[&str]) {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let (chosen, rest) = chosen(&args).unwrap();
        assert_eq!(chosen, areas);
        assert_eq!(rest, passed_on);
    }

    #[test]
    fn an_area_may_be_named_first() {
        check("", AREAS, &[]);
        check("--json --quick", AREAS, &["--json", "--quick"]);
        check("cpu --line cost", &["cpu"], &["--line", "cost"]);
        let error = chosen(&["gpu".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, format!("bench: no such area: gpu (there are: {})", AREAS.join(", ")));
    }
}
