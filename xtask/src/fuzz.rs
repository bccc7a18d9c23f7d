//! `cargo xtask fuzz`: runs the fuzz targets, each for a while, with `cargo-fuzz` and a nightly
//! toolchain. Ordinary tests run the corpus without either.

use std::fs;
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::{capture, root, run};

/// For how many seconds a target runs unless it is told otherwise.
const SECONDS: &str = "60";

/// Runs the targets that the arguments name, or all: `[TARGET]... [--seconds N]`.
pub(crate) fn targets(args: &[String]) -> Result<()> {
    let known = known()?;
    let (mut seconds, mut chosen) = (SECONDS.to_owned(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => match args.next().filter(|value| value.parse::<u32>().is_ok()) {
                Some(value) => seconds.clone_from(value),
                None => return Err(Error::Usage("fuzz: --seconds needs a number".to_owned())),
            },
            target if known.iter().any(|name| name == target) => chosen.push(target.to_owned()),
            other => {
                let there_are = known.join(", ");
                return Err(Error::Usage(format!(
                    "fuzz: no such target: {other} (there are: {there_are})"
                )));
            }
        }
    }
    if capture(Command::new("cargo").args(["fuzz", "--version"])).is_err() {
        return Err(Error::Check(
            "this needs cargo-fuzz and a nightly toolchain: `cargo install cargo-fuzz` and \
             `rustup toolchain install nightly`"
                .to_owned(),
        ));
    }
    for target in if chosen.is_empty() { known } else { chosen } {
        let mut fuzz = Command::new("cargo");
        fuzz.args(["+nightly", "fuzz", "run", &target, "--"]).current_dir(root());
        run(fuzz.arg(format!("-max_total_time={seconds}")))?;
    }
    Ok(())
}

/// The names of the targets, in order.
fn known() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|source| Error::File { path: folder, source })?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
