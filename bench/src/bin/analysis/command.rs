//! `profilez top` against `go tool pprof -top` on the profile of 17 MB, as whole processes from start
//! to end: wall time, which is kinder to Go, whose garbage collector has a thread of its own. Both
//! have to give the same rows.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};

use crate::profile::{SMALL, raw};

/// The line.
pub(crate) const LINE: Line = Line { name: "command", rows, child };

/// Rows to compare.
const ROWS: usize = 20;

fn rows(runner: &mut Runner) -> Vec<Row> {
    raw(SMALL);
    let built = Command::new("cargo")
        .args(["build", "--release", "--package", "profilez", "--bin", "profilez"])
        .current_dir(root())
        .status();
    assert!(built.is_ok_and(|status| status.success()), "profilez builds");
    let [ours, go] = runner.pairs([Engine::Ours, Engine::None], &[]);
    vec![
        Row::new("top of a profile of 17 MB, whole process, go tool pprof beside it", "s")
            .ours(ours.spread("seconds"))
            .peer(go.spread("seconds"))
            .bar(Bar::OfPeer(1.0 / 50.0)),
        Row::new("rows that are the same, of 20", "")
            .ours(ours.spread_with(&go, |ours, go| {
                (0..ROWS)
                    .filter(|row| ours[&format!("row {row}")] == go[&format!("row {row}")])
                    .count() as f64
            }))
            .bar(Bar::AtLeast(ROWS as f64)),
    ]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn child(engine: Engine, _: &[u32]) -> Figures {
    let path = raw(SMALL);
    let mut command = if engine == Engine::Ours {
        let mut command = Command::new(root().join("target/release/profilez"));
        command.args(["top", "--type", "alloc_objects", "-n", "20"]);
        command
    } else {
        // Installed by `cargo xtask tools`.
        let mut command = Command::new(root().join("target/tools/venv/bin/go"));
        command.args(["tool", "pprof", "-top", "-sample_index=alloc_objects"]);
        command.args(["-nodecount=20", "-nodefraction=0"]);
        command
    };
    let begun = Instant::now();
    let output = command.arg(&path).output().expect("it is installed");
    let seconds = begun.elapsed().as_secs_f64();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut all = figures([("seconds", seconds)]);
    // Of both the rows stand below the line of headings: flat, flat%, sum%, cum, cum%, name.
    let rows = text.lines().skip_while(|line| !line.trim_start().starts_with("flat"));
    for (number, row) in rows.skip(1).take(ROWS).enumerate() {
        let mut words = row.split_whitespace();
        let flat: f64 = words.next().and_then(|word| word.parse().ok()).expect("a number");
        let cum: f64 = words.nth(2).and_then(|word| word.parse().ok()).expect("a number");
        let name = words.nth(1).expect("a name");
        // One number for all three.
        let name = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
        all.insert(format!("row {number}"), flat * 1e6 + cum + f64::from(name % 10_007) / 1e5);
    }
    all
}
