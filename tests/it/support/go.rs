//! The Go of `cargo xtask tools`, as a judge of profiles.

use std::path::{Path, PathBuf};
use std::process::Command;

use profilez::core::profile::{DecodeLimits, Profile};

/// Finds it. Without it the tests are skipped, except in CI.
pub(crate) fn go() -> Option<PathBuf> {
    let go = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/go");
    if go.exists() {
        return Some(go);
    }
    let message = "go is missing: run `cargo xtask tools`";
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{message}");
    eprintln!("skipped: {message}");
    None
}

/// Returns what `go tool pprof` prints, which must succeed.
#[track_caller]
pub(crate) fn pprof(go: &Path, arguments: &[&str]) -> String {
    let output = Command::new(go).args(["tool", "pprof"]).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pprof {arguments:?}\n{text}{errors}");
    text
}

/// Checks that `go tool pprof -top` finds the same totals in a profile as are in it, for every type.
#[track_caller]
pub(crate) fn check_totals(path: &Path, bytes: &[u8]) {
    let profile = Profile::decode(bytes, &DecodeLimits::default()).unwrap();
    let Some(go) = go() else { return };
    for (index, value_type) in profile.sample_types.iter().enumerate() {
        let total: i64 = profile.samples.iter().map(|sample| sample.values[index]).sum();
        let kind = profile.str(value_type.kind);
        let unit = if profile.str(value_type.unit) == "bytes" { "-unit=B" } else { "-unit=count" };
        let sample_index = format!("-sample_index={kind}");
        let arguments = ["-top", "-nodefraction=0", unit, &sample_index, path.to_str().unwrap()];
        let top = pprof(&go, &arguments);
        let line = top.lines().find(|line| line.starts_with("Showing nodes accounting for"));
        let line = line.unwrap_or_else(|| panic!("{kind}: {top}"));
        let said = line.split_whitespace().rev().nth(1).unwrap_or_default();
        let said = said.trim_end_matches('B');
        assert_eq!(said, total.to_string(), "{kind}: {line}");
    }
}
