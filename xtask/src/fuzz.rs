//! `cargo xtask fuzz`: runs the fuzz targets, each for a while, with `cargo-fuzz`. Ordinary tests run
//! the corpus without it.
//!
//! The sanitizers that `cargo-fuzz` switches on are unstable flags of the compiler. The toolchain of
//! the workspace takes them with `RUSTC_BOOTSTRAP=1`, so what is fuzzed is built as it is released,
//! and nobody needs a second toolchain.

use std::fs;

use crate::error::{Error, Result};
use crate::process::{capture, cargo, root, run};

/// Where inputs are kept that reach something new.
const FOUND: &str = "fuzz/target/corpus";
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
    if capture(&mut cargo("fuzz --version")).is_err() {
        return Err(Error::Check(
            "this needs cargo-fuzz: run `cargo install cargo-fuzz --locked`".to_owned(),
        ));
    }
    for target in if chosen.is_empty() { known } else { chosen } {
        // What is found goes into the first folder, and the second one stays as it is committed.
        let found = format!("{FOUND}/{target}");
        let path = root().join(&found);
        fs::create_dir_all(&path).map_err(|source| Error::File { path, source })?;
        let mut fuzz = cargo(&format!(
            "fuzz run {target} {found} fuzz/corpus/{target} -- -max_total_time={seconds}"
        ));
        run(fuzz.env("RUSTC_BOOTSTRAP", "1"))?;
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
