//! `cargo xtask ci`: which steps to run, and the headings, times and summary around them. What a
//! step does is in `steps`.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::steps::{STEPS, Step};

/// Runs the chosen steps in order, up to the first that fails.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let steps = match Request::parse(args)? {
        Request::List => {
            for step in STEPS {
                println!("{:<10} {}", step.name, step.about);
            }
            return Ok(());
        }
        Request::Run(steps) => steps,
    };

    let start = Instant::now();
    let mut times = Vec::new();
    let mut outcome = Ok(());
    for (index, step) in steps.iter().enumerate() {
        let number = index + 1;
        println!(
            "\n== {} ({number} of {}, at {}) ==",
            step.name,
            steps.len(),
            clock(start.elapsed())
        );
        let begun = Instant::now();
        outcome = (step.run)();
        times.push((step.name, begun.elapsed()));
        if outcome.is_err() {
            break;
        }
    }
    println!("\n{}", summary(&times, steps.len(), outcome.is_ok()));
    outcome
}

/// What the command line asks for.
enum Request {
    List,
    Run(Vec<&'static Step>),
}

impl Request {
    fn parse(args: &[String]) -> Result<Self> {
        let (mut only, mut skip) = (Vec::new(), Vec::new());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (flag, inline) = match arg.split_once('=') {
                Some((flag, name)) => (flag, Some(name)),
                None => (arg.as_str(), None),
            };
            let chosen = match flag {
                "--list" if inline.is_none() => return Ok(Self::List),
                "--only" => &mut only,
                "--skip" => &mut skip,
                _ => return Err(Error::Usage(format!("ci: unexpected argument: {arg}"))),
            };
            let name = inline
                .or_else(|| args.next().map(String::as_str))
                .ok_or_else(|| Error::Usage(format!("ci: {flag} needs the name of a step")))?;
            chosen.push(known(name)?);
        }
        let chosen = |step: &&Step| {
            (only.is_empty() || only.contains(&step.name)) && !skip.contains(&step.name)
        };
        let steps: Vec<&Step> = STEPS.iter().filter(chosen).collect();
        if steps.is_empty() {
            return Err(Error::Usage("ci: that leaves no step to run".to_owned()));
        }
        Ok(Self::Run(steps))
    }
}

/// The name as `STEPS` has it, or an error that lists the names there are.
fn known(name: &str) -> Result<&'static str> {
    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    names.iter().find(|known| **known == name).copied().ok_or_else(|| {
        Error::Usage(format!("ci: no such step: {name} (there are: {})", names.join(", ")))
    })
}

/// The table of steps and seconds; the last one listed is the one that failed, if any did.
fn summary(times: &[(&str, Duration)], planned: usize, ok: bool) -> String {
    let mut table = format!("{:<10} {:>8}", "step", "seconds");
    for (index, (name, time)) in times.iter().enumerate() {
        let failed = if !ok && index + 1 == times.len() { "  FAILED" } else { "" };
        table.push_str(&format!("\n{name:<10} {:>8.1}{failed}", time.as_secs_f64()));
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    table.push_str(&format!("\n{:<10} {:>8.1}", "total", total.as_secs_f64()));
    if times.len() < planned {
        table.push_str(&format!("\n{} of {planned} steps were not run", planned - times.len()));
    }
    table
}

fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &str) -> std::result::Result<Vec<&'static str>, String> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        match Request::parse(&args) {
            Ok(Request::Run(steps)) => Ok(steps.iter().map(|step| step.name).collect()),
            Ok(Request::List) => Ok(vec!["--list"]),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn flags_choose_steps_and_keep_their_order() {
        assert_eq!(names("").unwrap().len(), STEPS.len());
        assert_eq!(names("--only test --only=fmt").unwrap(), ["fmt", "test"]);
        assert_eq!(names("--only test --only fmt --skip fmt").unwrap(), ["test"]);
        assert!(!names("--skip demo").unwrap().contains(&"demo"));
        assert_eq!(names("--list").unwrap(), ["--list"]);
    }

    #[test]
    fn a_bad_command_line_says_what_is_wrong_with_it() {
        let check = |args, expected: &str| {
            let error = names(args).unwrap_err();
            assert!(error.contains(expected), "{args}: {error}");
        };
        check("--only", "--only needs the name of a step");
        check("--only tests", "no such step: tests (there are: tools, fmt");
        check("--only fmt --skip fmt", "no step to run");
        check("fmt", "unexpected argument: fmt");
        check("--list=fmt", "unexpected argument: --list=fmt");
    }

    #[test]
    fn the_summary_names_the_step_that_failed() {
        let times = [("fmt", Duration::from_millis(1250)), ("clippy", Duration::from_secs(61))];
        assert_eq!(
            summary(&times, 3, false),
            "step        seconds\n\
             fmt             1.2\n\
             clippy         61.0  FAILED\n\
             total          62.2\n\
             1 of 3 steps were not run"
        );
        assert!(!summary(&times, 2, true).contains("FAILED"));
    }
}
