//! The steps of `ci`: first `tools`, which the tests with real clients need, then the quick ones,
//! so that a mistake shows early. Each can be run alone.

use crate::error::{Error, Result};
use crate::process::{capture, cargo, run};
use crate::{bench, demo, features, structure, tools};

/// One check.
pub(crate) struct Step {
    /// What `--only` and `--skip` call it.
    pub(crate) name: &'static str,
    /// What `--list` says of it.
    pub(crate) about: &'static str,
    pub(crate) run: fn() -> Result<()>,
}

/// Every step, in the order in which they run.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "tools", about: "install what the tests with real clients need", run: tools },
    Step { name: "fmt", about: "the code is formatted", run: fmt },
    Step {
        name: "manifests",
        about: "features are listed, back ends are optional",
        run: manifests,
    },
    Step {
        name: "structure",
        about: "imports run one way, unsafe code is in `raw`, names and docs are telling",
        run: structure::check,
    },
    Step { name: "clippy", about: "no warning in any target", run: clippy },
    Step { name: "test", about: "all tests with all features, doc tests included", run: test },
    Step {
        name: "features",
        about: "each feature builds alone, and what selects other code is tested",
        run: features,
    },
    Step {
        name: "static",
        about: "waits and tasks are seen in a program with libc linked into it, and with tokio's hooks",
        run: statically_linked,
    },
    Step { name: "doc", about: "the docs build without a warning", run: doc },
    Step { name: "bench", about: "each benchmark runs once and checks itself", run: benches },
    Step {
        name: "release",
        about: "names and lines are right in an optimised build",
        run: release,
    },
    Step {
        name: "stress",
        about: "a minute of sampling a program that does its worst",
        run: bench::short_stress,
    },
    Step { name: "demo", about: "the demo succeeds and prints a report", run: demo::check },
];

/// What must build without any collector back end, as arguments to cargo.
const BARE: &[&str] = &[
    "-p profile-analysis --no-default-features",
    "-p profile-archive --no-default-features",
    "-p profile-http --no-default-features --features client",
];

/// What must build without the runtime: formats, bundles and answers.
const LEAVES: &[&str] = &["profile-format", "profile-archive", "profile-analysis"];

/// The crates of the back ends: signals, or C code.
const BACK_ENDS: &[&str] =
    &["pprof", "ring", "tikv-jemalloc-ctl", "tikv-jemalloc-sys", "tikv-jemallocator"];

fn tools() -> Result<()> {
    tools::install().map(drop)
}

fn fmt() -> Result<()> {
    run(&mut cargo("fmt --all --check"))?;
    run(&mut cargo("fmt --all --check --manifest-path bench/Cargo.toml"))?;
    run(&mut cargo("fmt --all --check --manifest-path bench/console/Cargo.toml"))
}

fn manifests() -> Result<()> {
    features::check()?;
    for selection in BARE {
        let tree = capture(&mut cargo(&format!("tree -e normal --prefix none {selection}")))?;
        if let Some(name) = back_end(&tree) {
            return Err(Error::Check(format!(
                "`{selection}` must build without {name}; see `cargo tree -e normal {selection}`"
            )));
        }
    }
    for package in LEAVES {
        let tree = capture(&mut cargo(&format!("tree -e normal --prefix none -p {package}")))?;
        if names(&tree).any(|name| name == "profile-core") {
            return Err(Error::Check(format!("`{package}` must build without profile-core")));
        }
    }
    Ok(())
}

fn clippy() -> Result<()> {
    run(&mut cargo("clippy --workspace --all-targets --all-features -- -D warnings"))?;
    bench::clippy()
}

fn test() -> Result<()> {
    run(&mut cargo("test --workspace --all-features"))?;
    bench::test()
}

/// With `-p`, as a user of one crate builds it: in a build of the whole workspace, features that
/// one crate asks for are on for the others too. Clippy checks what the compiler does, and knows how
/// to refuse warnings without other flags for every crate below. What is only linted brings no
/// dependency of the tests with it.
fn features() -> Result<()> {
    for (package, flags) in features::single() {
        run(&mut cargo(&format!("clippy -p {package} {flags} -- -D warnings")))?;
    }
    for (package, flags) in features::tested() {
        run(&mut cargo(&format!("clippy -p {package} {flags} --tests -- -D warnings")))?;
        run(&mut cargo(&format!("test -p {package} {flags}")))?;
    }
    Ok(())
}

fn doc() -> Result<()> {
    let mut doc = cargo("doc --workspace --all-features --no-deps");
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs each benchmark's code once, in the build that the tests have: nothing is measured.
fn benches() -> Result<()> {
    run(cargo("test --workspace --all-features --bench").arg("*"))
}

/// The tests of names, inlined frames and lines, which depend on how a program is built: as a
/// service is, optimised and with line tables. A filter that matches nothing is no success, and
/// neither are tests that skip themselves where Go is missing, which they don't with `CI` set.
fn release() -> Result<()> {
    let output = capture(cargo("test --release --test it -- pprof").env("CI", "true"))?;
    print!("{output}");
    if passed(&output) == 0 {
        return Err(Error::Check("no test of `pprof` has run in release".to_owned()));
    }
    Ok(())
}

/// The test of interposed functions with glibc in the program itself, where the linker has to choose
/// between two definitions; and, in the same build, what is there only with `--cfg tokio_unstable`.
/// With a target named the flags are for what is tested alone, and build scripts and macros are those
/// of the other steps.
fn statically_linked() -> Result<()> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        println!("only for {TARGET}");
        return Ok(());
    }
    const TESTS: [&str; 2] = ["--test interposed", "--lib -- task::"];
    for tests in TESTS {
        let flags = "--no-default-features --features sampler,intercept,tokio";
        let mut test = cargo(&format!("test -p profile-core {flags} --target {TARGET} {tests}"));
        test.env("RUSTFLAGS", "--cfg tokio_unstable -C target-feature=+crt-static");
        let output = capture(&mut test)?;
        print!("{output}");
        if passed(&output) == 0 {
            return Err(Error::Check("no test of a static program has run".to_owned()));
        }
    }
    Ok(())
}

/// How many tests passed, by the summary lines of their harness.
fn passed(output: &str) -> usize {
    let counts = output.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    counts.filter_map(|counts| counts.split_once(" passed")?.0.parse::<usize>().ok()).sum()
}

/// The first back end in the output of `cargo tree --prefix none`: one crate a line, its name
/// first.
fn back_end(tree: &str) -> Option<&str> {
    names(tree).find(|name| BACK_ENDS.contains(name))
}

fn names(tree: &str) -> impl Iterator<Item = &str> {
    tree.lines().filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_end_is_found_by_its_whole_name() {
        let clean =
            "profile-http v0.1.0 (/src/profile-http)\npprof-like v1.0.0\nserde v1.0.0 (*)\n";
        assert_eq!(back_end(clean), None);
        assert_eq!(back_end(&format!("{clean}pprof v0.15.0\n")), Some("pprof"));
        assert_eq!(
            back_end(&format!("{clean}tikv-jemalloc-sys v0.7.0\n")),
            Some("tikv-jemalloc-sys")
        );
    }

    #[test]
    fn tests_that_passed_are_counted() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 61 filtered out";
        assert_eq!(passed(&format!("\nrunning 2 tests\n{line}; finished in 9.41s\n")), 2);
        assert_eq!(passed("test result: ok. 0 passed; 0 failed; 0 ignored"), 0);
        assert_eq!(passed(""), 0);
    }
}
