//! What the command says of bundles: the facts of each entry, what has changed, and in how much memory.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use profilez::archive::BundleWriter;
use profilez::core::profile::{Builder, Function, Line};
use serde_json::{Value, json};

use crate::command::sources::header;

fn write(path: &Path, entries: &[(&str, &[u8])]) {
    let mut writer = BundleWriter::new(Vec::new(), header("shop")).unwrap();
    for (name, bytes) in entries {
        writer.append_bytes("other", &name.parse().unwrap(), bytes, Duration::ZERO).unwrap();
    }
    fs::write(path, writer.finish().unwrap()).unwrap();
}

fn profile(value: i64) -> Vec<u8> {
    let mut builder = Builder::new(&[("samples", "count")]);
    let name = builder.str("shop::work");
    let function = builder.function(Function { name, ..Function::default() });
    let place = builder.location(None, 0x1000, &[Line { function, line: 7, column: 0 }]);
    builder.sample(&[place], &[value], &[]);
    builder.period("cpu", "nanoseconds", 1);
    builder.finish().encode_gzip()
}

/// So many goroutines of each function.
fn dump(groups: &[(&str, u32)]) -> String {
    let mut text = String::new();
    for (function, count) in groups {
        for id in 0..*count {
            write!(text, "goroutine {id} [select]:\nmain.{function}()\n\t/a.go:1 +0x1\n\n")
                .unwrap();
        }
    }
    text
}

/// Runs the command, and watches the most memory it has had.
fn profilez(arguments: &[&str]) -> (Option<i32>, String, u64) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_profilez"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    // What it prints waits in the pipe, which takes it all.
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), most / 1024)
}

fn json(arguments: &[&str]) -> Value {
    let (code, text, _) = profilez(arguments);
    assert_eq!(code, Some(0), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn inspect_says_what_each_entry_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let debug1 = "goroutine profile: total 1\n1 @ 0x1\n#\t0x1\tmain.f+0x1\t/a.go:1\n\n";
    write(
        &path,
        &[
            ("cpu.prof", &profile(1)),
            ("goroutine.txt", dump(&[("f", 2)]).as_bytes()),
            ("goroutine.debug1.txt", debug1.as_bytes()),
            ("heap.heap", b"heap_v2/524288\n  t*: 1: 2 [0: 0]\n"),
            ("trace.json", b"{\"traceEvents\":[]}"),
            ("notes", b"hello"),
            ("empty", b""),
        ],
    );
    let facts = json(&["inspect", "--json", path.to_str().unwrap()]);
    let formats: Vec<&Value> =
        facts["entries"].as_array().unwrap().iter().map(|entry| &entry["format"]).collect();
    assert_eq!(
        formats,
        ["pprof", "debug2", "debug1", "heap_v2", "trace", "unknown", "unknown"],
        "{facts}"
    );
    assert_eq!(
        facts["entries"][5],
        json!({
            "name": "notes", "format": "unknown", "bytes": 5, "complete": true
        })
    );
}

#[test]
fn diff_takes_dumps_of_bundles_too() {
    let folder = tempfile::tempdir().unwrap();
    let (base, new) = (folder.path().join("base"), folder.path().join("new"));
    let before = dump(&[("same", 3), ("grows", 1), ("goes", 2)]);
    let after = dump(&[("same", 3), ("grows", 5), ("comes", 1)]);
    write(
        &base,
        &[
            ("cpu.prof", &profile(1)),
            ("goroutine.txt", before.as_bytes()),
            ("old.txt", before.as_bytes()),
        ],
    );
    write(&new, &[("cpu.prof", &profile(3)), ("goroutine.txt", after.as_bytes())]);
    let (base, new) = (base.to_str().unwrap(), new.to_str().unwrap());
    let diff = json(&["diff", "--json", base, new]);
    assert_eq!(diff["entries"][0]["rows"][0]["flat"], 2, "{diff}");
    assert_eq!((&diff["only_in_base"], &diff["only_in_new"]), (&json!(["old.txt"]), &json!([])));
    let dumps = diff["dumps"].as_array().unwrap();
    assert_eq!((dumps.len(), &dumps[0]["name"]), (1, &json!("goroutine.txt")));
    let changes: Vec<_> = dumps[0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["top_func"].as_str().unwrap(), change["delta"].as_i64().unwrap()))
        .collect();
    assert_eq!(changes, [("main.grows", 4), ("main.comes", 1), ("main.goes", -2)]);
    assert_eq!((&dumps[0]["before"], &dumps[0]["after"]), (&json!(6), &json!(9)));
    assert_eq!(dumps[0]["unchanged"], 1);

    let (_, text, _) = profilez(&["diff", base, new]);
    assert!(text.contains("goroutine.txt\n9 goroutines, 6 before (+3)"), "{text}");
    // Who asks for a sample type asks for profiles.
    let profiles = json(&["diff", "--json", "--type", "samples", base, new]);
    assert_eq!((&profiles["dumps"], &profiles["only_in_base"]), (&json!([]), &json!([])));
}

#[test]
fn a_large_bundle_is_read_entry_by_entry() {
    const ENTRY: usize = 24 << 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    // Numbers without a pattern compress to half, so that this is no bomb.
    let mut random = 1_u64;
    let mut entry = String::with_capacity(ENTRY + 200);
    while entry.len() < ENTRY {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let frame = format!("main.f({random:#x})\n\t/src/a.go:1 +{:#x}\n", random >> 40);
        write!(entry, "goroutine {} [select]:\n{frame}\n", random >> 44).unwrap();
    }
    let names: Vec<String> = (0..8).map(|number| format!("goroutine-{number}.txt")).collect();
    let entries: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), entry.as_bytes())).collect();
    write(&path, &entries);
    let path = path.to_str().unwrap();
    let (code, text, inspecting) = profilez(&["inspect", path]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("  debug2  ").count(), 8, "{text}");
    let (code, text, reporting) = profilez(&["report", path]);
    assert_eq!(code, Some(0), "{text}");
    println!("inspect {inspecting} MiB, report {reporting} MiB, the bundle 192 MiB");
    assert!((1..32).contains(&inspecting), "inspect took {inspecting} MiB");
    // An entry, and what it grew from.
    assert!((1..96).contains(&reporting), "report took {reporting} MiB");
}
