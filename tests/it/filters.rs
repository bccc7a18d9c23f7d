//! Parts of a profile, by frame and by label, and frames that it wants dropped: `profilez top` against
//! `go tool pprof -top`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use profilez::core::profile::{Builder, Function, Line, Mapping};
use serde_json::Value;

use crate::support::go::{go, pprof};

/// Functions from the leaf of every stack on; the first three are of one location each, and
/// `inlined` is mixed into `caller`.
const FUNCTIONS: [&str; 8] = [
    "alloc",
    "pool::take(int)",
    "(anonymous namespace)::work(char*)",
    "inlined",
    "caller",
    "handle",
    "serve",
    "main",
];

/// A profile whose samples have the sums 1, 2, 4, 8…, so that every sum tells what it is of.
fn profile(drop: &str, keep: &str) -> Vec<u8> {
    let mut builder = Builder::new(&[("samples", "count")]);
    let filename = builder.str("/usr/bin/service");
    let mapping = Mapping {
        start: 0x1000,
        limit: 0x9000,
        filename,
        has_functions: true,
        ..Mapping::default()
    };
    let mapping = Some(builder.mapping(mapping));
    let filename = builder.str("/usr/lib/libother.so");
    let other = Mapping { start: 0x9000, limit: 0xf000, filename, ..mapping_flags() };
    let other = Some(builder.mapping(other));
    let functions: Vec<u32> = FUNCTIONS
        .iter()
        .map(|name| {
            let (name, filename) =
                (builder.str(name), builder.str(&format!("/src/{}.rs", &name[1..4])));
            builder.function(Function { name, filename, ..Function::default() })
        })
        .collect();
    let line = |function: usize| Line { function: functions[function], line: 7, column: 0 };
    let mut at = |place, lines: &[usize]| {
        let lines: Vec<Line> = lines.iter().map(|&function| line(function)).collect();
        let mapping = if lines[0].function == functions[0] { other } else { mapping };
        builder.location(mapping, place, &lines)
    };
    let (alloc, take, work) = (at(0x9100, &[0]), at(0x1200, &[1]), at(0x1300, &[2]));
    let both = at(0x1400, &[3, 4]);
    let (handle, serve, main) = (at(0x1500, &[5]), at(0x1600, &[6]), at(0x1700, &[7]));
    let stacks: [&[u32]; 7] = [
        &[alloc, take, both, handle, serve, main],
        &[alloc, work, handle, main],
        &[take, take, both, serve, main],
        &[work, alloc, work, main],
        &[both, both, handle, serve, main],
        &[main],
        &[alloc, take],
    ];
    for (index, stack) in stacks.iter().enumerate() {
        let mut labels = Vec::new();
        if index != 5 {
            labels.push(builder.number_label("bytes", 1 << (8 + index), "bytes"));
            labels.push(builder.text_label("tenant", ["acme", "umbrella", "acme-test"][index % 3]));
        }
        if index % 2 == 0 {
            labels.push(builder.text_label("route", "/api/v1"));
            labels.push(builder.number_label("latency", 1_500_000 * index as i64, "nanoseconds"));
        }
        builder.sample(stack, &[1 << index], &labels);
    }
    builder.period("cpu", "nanoseconds", 1);
    let (drop, keep) = (builder.str(drop), builder.str(keep));
    let mut profile = builder.finish();
    (profile.drop_frames, profile.keep_frames) = (drop, keep);
    profile.encode_gzip()
}

fn mapping_flags() -> Mapping {
    Mapping { has_functions: true, ..Mapping::default() }
}

/// Flat and cum of each function.
type Rows = BTreeMap<String, (i64, i64)>;

fn ours(path: &Path, options: &[&str]) -> Rows {
    let mut command = Command::new(env!("CARGO_BIN_EXE_profilez"));
    command.args(["top", "--json", "-n", "0"]).args(options).arg(path);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?}: {errors}");
    let top: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = |row: &Value| {
        let number = |name: &str| row[name].as_i64().unwrap();
        (row["name"].as_str().unwrap().to_owned(), (number("flat"), number("cum")))
    };
    top["rows"].as_array().unwrap().iter().map(row).collect()
}

fn gos(go: &Path, path: &Path, options: &[&str]) -> Rows {
    let options: Vec<String> = options.iter().map(|option| option.replace("--", "-")).collect();
    let mut arguments = vec!["-top", "-nodefraction=0", "-symbolize=none"];
    arguments.extend(options.iter().map(String::as_str));
    arguments.push(path.to_str().unwrap());
    let text = pprof(go, &arguments);
    let rows = text.lines().skip_while(|line| !line.trim_start().starts_with("flat")).skip(1);
    rows.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words[5..].join(" ").trim_end_matches(" (inline)").to_owned();
        (name, (words[0].parse().unwrap(), words[3].parse().unwrap()))
    })
    .collect()
}

#[test]
fn go_tool_pprof_finds_the_same_part() {
    let Some(go) = go() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile");
    fs::write(&path, profile("", "")).unwrap();
    for options in [
        &[][..],
        &["--focus=take"],
        &["--focus=libother"],
        &["--focus=/src/and"],
        &["--ignore=take"],
        &["--focus=work", "--ignore=serve"],
        &["--hide=inlined"],
        &["--hide=caller"],
        &["--hide=take|main"],
        &["--hide=libother"],
        &["--hide=alloc|take"],
        &["--focus=alloc", "--hide=alloc"],
        &["--tagfocus=acme"],
        &["--tagfocus=tenant:acme$"],
        &["--tagfocus=acme,route"],
        &["--tagfocus=tenant=^acme$"],
        &["--tagfocus=tenant=umbrella,test"],
        &["--tagfocus=route=acme"],
        &["--tagfocus=nowhere"],
        &["--tagfocus=bytes=1kb"],
        &["--tagfocus=bytes=1024"],
        &["--tagfocus=1kb"],
        &["--tagfocus=512b:2kb"],
        &["--tagfocus=bytes=:1kb"],
        &["--tagfocus=2kb:"],
        &["--tagfocus=latency=3ms"],
        &["--tagfocus=3ms:"],
        &["--tagfocus=latency=1us:4ms"],
        &["--tagignore=acme"],
        &["--tagignore=bytes=1kb:"],
        &["--tagfocus=route", "--tagignore=test", "--focus=take"],
    ] {
        assert_eq!(ours(&path, options), gos(&go, &path, options), "{options:?}");
    }
}

#[test]
fn go_tool_pprof_drops_the_same_frames() {
    let Some(go) = go() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (drop, keep) in [
        ("alloc", ""),
        ("alloc|pool::take", ""),
        ("pool::take\\(int\\)", ""),
        (".*work", ""),
        ("inlined", ""),
        ("caller", ""),
        ("caller|handle", "handle"),
        ("main", ""),
        ("serve|main", ""),
        (".*", ""),
        (".*", "caller|main"),
        ("lloc", ""),
        ("(", ""),
    ] {
        let path = folder.path().join("profile");
        fs::write(&path, profile(drop, keep)).unwrap();
        assert_eq!(ours(&path, &[]), gos(&go, &path, &[]), "{drop:?} but {keep:?}");
    }
}
