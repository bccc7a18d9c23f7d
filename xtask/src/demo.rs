//! `cargo xtask demo`, and the step of `ci` that checks that a stranger's first command works.

use crate::error::{Error, Result};
use crate::process;

/// As in the README: the first thing that anybody runs.
const COMMAND: &str = "run --release -- demo";

/// How many lines of the report `check` shows.
const TAIL: usize = 15;

/// Runs the demo with these arguments passed on.
pub(crate) fn run(args: &[String]) -> Result<()> {
    process::run(process::cargo(COMMAND).args(args))
}

/// Runs the demo, which must succeed and say something.
pub(crate) fn check() -> Result<()> {
    let report = process::capture(&mut process::cargo(COMMAND))?;
    let report = report.trim_end();
    if report.trim_start().is_empty() {
        return Err(Error::Check("the demo printed nothing".to_owned()));
    }
    println!("{}", tail(report));
    Ok(())
}

fn tail(report: &str) -> String {
    let lines: Vec<&str> = report.lines().collect();
    let hidden = lines.len().saturating_sub(TAIL);
    let shown = lines[hidden..].join("\n");
    if hidden == 0 { shown } else { format!("[{hidden} lines above]\n{shown}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end_of_the_report() {
        assert_eq!(tail("a\nb"), "a\nb");
        let long: Vec<String> = (0..TAIL + 2).map(|n| n.to_string()).collect();
        assert_eq!(tail(&long.join("\n")), format!("[2 lines above]\n{}", long[2..].join("\n")));
    }
}
