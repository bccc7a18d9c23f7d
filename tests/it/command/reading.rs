//! `inspect` and `report`: every kind of input, whole or not.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use profilez::archive::BundleWriter;
use profilez::core::{Kind, Unavailable};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::sources::{bundle, header, profile};
use super::{Ran, path, profilez, run};

const HEAP_V2: &str = "heap_v2/524288\n  t*: 1: 2 [3: 4]\n@ 0x1 0x2\n  t*: 1: 2 [3: 4]\n";

/// Runs the command with these bytes as its standard input.
fn piped<'a>(args: impl IntoIterator<Item = &'a str>, bytes: &[u8]) -> Ran {
    let mut command: Command = profilez(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

fn write(directory: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> String {
    fs::write(directory.path().join(name), bytes).unwrap();
    path(directory, name)
}

#[track_caller]
fn has_keys(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "{key} is not in {value}");
    }
}

#[test]
fn facts_of_a_bundle() {
    let directory = tempdir().unwrap();
    let (bytes, second) = bundle("shop");
    let file = write(&directory, "x.tar.gz", &bytes);
    for facts in [
        run(["inspect", "--json", &file]).code(0).json(),
        piped(["inspect", "--json", "-"], &bytes).code(0).json(),
    ] {
        has_keys(&facts, &["format", "manifest", "entries", "truncated", "warnings"]);
        assert_eq!(facts["format"], "bundle");
        assert_eq!(facts["manifest"]["service"], "shop");
        assert_eq!(facts["truncated"], false);
        assert_eq!(facts["warnings"], json!([]));
        let bytes = profile("shop").encode_gzip().len();
        let entry =
            |name: &str| json!({"name": name, "format": "pprof", "bytes": bytes, "complete": true});
        assert_eq!(facts["entries"], json!([entry("heap.prof"), entry("cpu.prof")]));
    }
    let text = run(["inspect", &file]).code(0);
    assert!(text.text().contains("shop 1.2.3") && text.text().contains("heap.prof"));

    let cut = write(&directory, "cut", &bytes[..second]);
    let ran = run(["inspect", "--json", &cut]).code(3);
    assert_eq!(ran.json()["truncated"], true);
    assert_eq!(ran.json()["manifest"], Value::Null);
    let complete = |index: usize| ran.json()["entries"][index]["complete"].clone();
    assert_eq!((complete(0), complete(1)), (json!(true), json!(false)));
    assert!(!ran.json()["warnings"].as_array().unwrap().is_empty());
    let text = run(["inspect", &cut]).code(3);
    assert!(text.text().contains("0 bytes, cut off") && text.text().contains("truncated"));
    let report = run(["report", "--json", &cut]).code(3).json();
    assert_eq!(report["truncated"], true);
    assert_eq!(report["profiles"].as_array().unwrap().len(), 1);
    assert!(run(["report", &cut]).code(3).text().contains("not whole"));
}

#[test]
fn facts_of_a_profile() {
    let directory = tempdir().unwrap();
    let (bytes, _) = bundle("shop");
    let file = write(&directory, "x.tar.gz", &bytes);
    let raw = write(&directory, "raw", profile("shop").encode());
    // The content decides, not the name.
    let gzip = write(&directory, "gzip.tar.gz", profile("shop").encode_gzip());
    for name in [&raw, &gzip, &format!("{file}:heap.prof")] {
        let facts = run(["inspect", "--json", name]).code(0).json();
        let keys = ["format", "locations", "functions", "mappings", "distinct_stacks", "warnings"];
        has_keys(&facts, &keys);
        assert_eq!(facts["format"], "pprof");
        assert_eq!(facts["sample_types"], json!(["samples/count", "cpu/nanoseconds"]));
        assert_eq!(facts["samples"], 1);
        assert_eq!(facts["value_sums"], json!([3, 30_000_000]));
        assert_eq!(facts["period"], 10_000_000);
        assert_eq!(facts["duration_nanos"], 0);
        assert_eq!(facts["time_nanos"], 0);
        assert_eq!(facts["default_sample_type"], "");
        let text = run(["inspect", name]).code(0);
        assert!(text.text().contains("30000000 cpu/nanoseconds"), "{}", text.text());
        let report = run(["report", name]).code(0);
        assert!(report.text().contains("shop"), "{}", report.text());
        assert!(report.text().ends_with('\n'));
    }
    let facts = piped(["inspect", "--json", "-"], HEAP_V2.as_bytes()).code(0).json();
    assert_eq!(facts["format"], "heap_v2");
    assert_eq!(facts["samples"], 1);
}

#[test]
fn a_report_of_a_bundle() {
    let directory = tempdir().unwrap();
    let file = write(&directory, "x.tar.gz", bundle("shop").0);
    let text = run(["report", &file]).code(0);
    for part in ["shop 1.2.3 on host, pid 7", "heap.prof", "cpu.prof", "100.0%"] {
        assert!(text.text().contains(part), "{part} is not in {}", text.text());
    }
    let report = run(["report", "--json", "-n", "1", &file]).code(0).json();
    has_keys(&report, &["manifest", "truncated", "profiles", "notes", "warnings"]);
    assert_eq!(report["profiles"][0]["tables"][0]["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn what_can_not_be_read_is_said_on_one_line() {
    let directory = tempdir().unwrap();
    let (bytes, _) = bundle("shop");
    let gzip = profile("shop").encode_gzip();
    let file = write(&directory, "x.tar.gz", &bytes);
    let noise: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let noise = write(&directory, "noise", noise);
    let empty = write(&directory, "empty", "");
    let text = write(&directory, "text", "hello\n");
    let header = write(&directory, "header", &bytes[..10]);
    let damaged = write(&directory, "damaged", [&bytes[..10], &[0xff; 20]].concat());
    let cut = write(&directory, "cut.prof", &gzip[..gzip.len() - 20]);
    for command in ["inspect", "report"] {
        for json in [None, Some("--json")] {
            let check = |file: &str, expected: &[&str]| {
                run([command, file].into_iter().chain(json)).fails(1, expected);
            };
            check("/nowhere/x", &["/nowhere/x", "No such file"]);
            check("/nowhere/x:heap.prof", &["/nowhere/x", "No such file"]);
            check(&format!("{file}:none"), &["none", "it has heap.prof, cpu.prof, manifest.json"]);
            check(&format!("{file}:manifest.json"), &["manifest", "profilez inspect --json"]);
            check("-:heap.prof", &["standard input has no entries"]);
            check(&format!("{text}:none"), &[&text, "not a bundle"]);
            check(&empty, &[&empty, "is empty"]);
            check("-", &["standard input is empty"]);
            check(&text, &[&text, "not a profile"]);
            check(&noise, &[&noise, "profile"]);
            check(&header, &[&header, "breaks off"]);
            check(&damaged, &[&damaged, "can't be recognised", "damaged"]);
            check(&cut, &[&cut, "can't be read"]);
        }
    }
}

const DUMP: &str = "goroutine 1 [running]:\nmain.main()\n\t/a.go:1 +0x1\n";
const TRACE: &str =
    "{\"traceEvents\":[{\"ph\":\"X\",\"name\":\"a\",\"ts\":1,\"dur\":2,\"pid\":1,\"tid\":1}]}";

/// A bundle of these entries.
fn of(entries: &[(&str, &str)], unavailable: Option<Unavailable>, listed: Option<&str>) -> Vec<u8> {
    let mut writer = BundleWriter::new(Vec::new(), header("shop")).unwrap();
    for (name, text) in entries {
        let name = name.parse().unwrap();
        writer.append_bytes("other", &name, text.as_bytes(), Duration::ZERO).unwrap();
    }
    if let Some(unavailable) = unavailable {
        writer.unavailable(&unavailable);
    }
    let mut manifest = serde_json::to_value(writer.manifest()).unwrap();
    if let Some(name) = listed {
        let entry = json!({"name": name, "kind": "heap", "bytes": 1});
        manifest["entries"].as_array_mut().unwrap().push(entry);
    }
    writer.finish_with(manifest.to_string().as_bytes()).unwrap()
}

#[test]
fn a_bundle_that_lacks_what_it_lists_is_not_whole() {
    let directory = tempdir().unwrap();
    let file = write(&directory, "x.tar.gz", of(&[("goroutine.txt", DUMP)], None, Some("gone")));
    for command in ["inspect", "report"] {
        let facts = run([command, "--json", &file]).code(3).json();
        assert_eq!(facts["truncated"], true);
        assert!(run([command, &file]).code(3).text().contains("gone is missing"));
    }
    // What was read whole is none the worse for it.
    let groups = run(["groups", &file]).code(0);
    assert!(groups.stderr.contains("warning: gone is missing"), "{}", groups.stderr);
}

#[test]
fn a_dump_that_is_not_there_has_its_reason() {
    let directory = tempdir().unwrap();
    let (bytes, second) = bundle("shop");
    let cut = write(&directory, "cut", &bytes[..second]);
    let ran = run(["groups", &cut]).fails(1, &["no dump", "the bundle is not whole"]);
    assert!(ran.stderr.contains("warning: the bundle breaks off"), "{}", ran.stderr);
    let top = run(["top", &cut]).code(0);
    assert!(top.stderr.contains("warning: the bundle breaks off"), "{}", top.stderr);
    let whole = write(&directory, "whole", bytes);
    run(["groups", &whole]).fails(1, &["no dump", "it was not collected"]);
    let missing = Unavailable::new(Kind::Goroutine, "no threads here", "start some");
    let without = write(&directory, "without", of(&[], Some(missing), None));
    run(["groups", &without]).fails(1, &["it was not collected: no threads here"]);
    let text = run(["inspect", &without]).code(0);
    assert!(text.text().contains("no threads here; start some"), "{}", text.text());
}

#[test]
fn what_is_no_profile_has_a_command_of_its_own() {
    let directory = tempdir().unwrap();
    let entries = [("goroutine.txt", DUMP), ("trace.json", TRACE)];
    let file = write(&directory, "x.tar.gz", of(&entries, None, None));
    let dump = write(&directory, "dump", DUMP);
    let trace = write(&directory, "trace", TRACE);
    let out = path(&directory, "x.svg");
    for (names, command) in [
        ([dump, format!("{file}:goroutine.txt")], "profilez groups"),
        ([trace.clone(), format!("{file}:trace.json")], "profilez trace"),
    ] {
        for name in names {
            run(["top", &name]).fails(1, &[&name, command]);
            run(["flame", &name, "-o", &out]).fails(1, &[&name, command]);
        }
    }
    for name in [trace, format!("{file}:trace.json")] {
        let facts = run(["inspect", "--json", &name]).code(0).json();
        assert_eq!((&facts["format"], &facts["events"]), (&json!("trace"), &json!(1)));
        assert!(run(["inspect", &name]).code(0).text().contains("events      1\n"));
    }
    let only = write(&directory, "only", of(&[("trace.json", TRACE)], None, None));
    let text = run(["report", &only]).code(0);
    assert!(!text.text().contains("\n\n\n") && !text.text().ends_with("\n\n"), "{}", text.text());
}

#[test]
fn an_unpacked_bundle_and_one_on_standard_input_have_entries() {
    let directory = tempdir().unwrap();
    let packed = of(&[("goroutine.txt", DUMP)], None, None);
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
    let file = write(&directory, "x.tar", &plain);
    for args in [["inspect", &file], ["groups", &file], ["report", &file]] {
        run(args).code(0);
    }
    for bytes in [&packed, &plain] {
        let facts = piped(["inspect", "--json", "-:goroutine.txt"], bytes).code(0).json();
        assert_eq!(facts["goroutines"], 1);
    }
}

#[test]
fn a_dump_beyond_a_limit_is_partial() {
    let directory = tempdir().unwrap();
    let deep = "main.f()\n\t/a.go:1 +0x1\n".repeat(5000);
    let dump = format!("goroutine 1 [running]:\n{deep}");
    let file = write(&directory, "dump", &dump);
    let inside = write(&directory, "x.tar.gz", of(&[("goroutine.txt", &dump)], None, None));
    for command in ["inspect", "groups", "report"] {
        run([command, &file]).code(3);
    }
    for command in ["groups", "report"] {
        run([command, &inside]).code(3);
    }
    let labels = run(["groups", "--by", "label:tenant", &write(&directory, "small", DUMP)]).code(0);
    assert!(labels.stderr.contains("nothing has a label tenant"), "{}", labels.stderr);
}

#[test]
fn what_can_not_be_seen_in_a_name_is_shown() {
    const EVIL: &str =
        "gnp\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{ad}\u{fe0f}\u{e0041}\u{9b}evil";
    let unseen = |c: char| c != '\n' && profilez::format::is_unseen(c);
    let directory = tempdir().unwrap();
    let whole = write(&directory, "bundle", bundle(EVIL).0);
    let raw = write(&directory, "raw\u{202e}", profile(EVIL).encode());
    let dump = format!("goroutine 1 [{EVIL}]:\n{EVIL}.f()\n\t/{EVIL}.go:1 +0x1\n");
    let dump = write(&directory, "dump\u{200b}", &dump);
    let event = format!(
        r#"{{"traceEvents":[{{"name":"thread_name","ph":"M","pid":1,"tid":1,"args":{{"name":"{EVIL}"}}}},
        {{"name":"{EVIL}","cat":"{EVIL}","ph":"X","pid":1,"tid":1,"ts":1,"dur":900000}}],
        "otherData":{{"producer":"{EVIL}"}}}}"#
    );
    let trace = write(&directory, "trace\u{ad}", &event);
    let none = "nothing\u{2066}".to_owned();
    for file in [&whole, &raw, &dump, &trace, &none, &format!("{whole}:\u{feff}")] {
        for command in ["inspect", "report", "top", "groups", "trace", "diff"] {
            for more in [&[][..], &["--json"]] {
                let mut args = vec![command, file];
                args.extend((command == "diff").then_some(file.as_str()));
                args.extend(more);
                let ran = run(args.iter().copied());
                for out in [ran.text(), &ran.stderr] {
                    assert!(!out.contains(unseen), "{args:?}: {out:?}");
                }
            }
        }
    }
    // What a program reads is the same.
    let facts = run(["inspect", "--json", &whole]).json();
    assert_eq!(facts["manifest"]["service"], EVIL);
}

#[test]
fn a_hostile_name_is_shown_and_not_obeyed() {
    const EVIL: &str = "evil\x1b[2J\u{9b}2J\x07\r\nfake\u{7f}";
    let directory = tempdir().unwrap();
    let file = write(&directory, "bundle", bundle(EVIL).0);
    let raw = write(&directory, "raw\x1b[2J", profile(EVIL).encode());
    let text = write(&directory, "text\x1b[2J", "hello");
    for file in [&file, &raw, &text, &format!("{file}:a\x1b[2J")] {
        for args in [["inspect", file].as_slice(), &["report", file], &["top", file]] {
            for more in [&[][..], &["--json"], &["--color", "always"]] {
                let ran = run(args.iter().chain(more).copied());
                // The colour of the word "error" and the bold head of a table are our own.
                let stderr = ran.stderr.replace("\x1b[1m\x1b[31merror:\x1b[0m", "error:");
                let stdout = ran.text().replace("\x1b[1m", "").replace("\x1b[0m", "");
                for out in [&stdout, &stderr] {
                    let raw = |c: char| c.is_control() && c != '\n';
                    assert!(!out.contains(raw), "{args:?} {more:?}: {out:?}");
                    assert!(!out.contains("\nfake"), "{args:?} {more:?}: {out:?}");
                }
            }
        }
    }
    let facts = run(["inspect", "--json", &file]).json();
    assert_eq!(facts["manifest"]["service"], EVIL);
}
