//! `top`, `diff` and `flame`: profiles, bundles, legacy text, and `go tool pprof` as the judge.

use std::fs;
use std::path::Path;
use std::process::Command;

use profilez::core::profile::{Builder, Function, Line, Profile};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::sources::bundle;
use super::{path, run};

/// A profile of stacks given root first, with a function named after each word.
fn profile(stacks: &[(&str, i64)]) -> Profile {
    let mut builder = Builder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    for &(stack, count) in stacks {
        let places: Vec<u32> = stack
            .rsplit(' ')
            .map(|name| {
                let filename = builder.str(&format!("/src/{name}.rs"));
                let name = builder.str(name);
                let function = builder.function(Function { name, filename, ..Function::default() });
                builder.location(None, 1, &[Line { function, line: 7, column: 0 }])
            })
            .collect();
        builder.sample(&places, &[count, count * 10], &[]);
    }
    builder.period("cpu", "nanoseconds", 10);
    builder.finish()
}

const STACKS: [(&str, i64); 4] =
    [("main run run parse", 50), ("main run", 20), ("main idle", 25), ("main run parse", 5)];

fn rows(json: &Value) -> Vec<(String, i64, i64)> {
    let row = |row: &Value| {
        let number = |key: &str| row[key].as_i64().unwrap();
        (row["name"].as_str().unwrap().to_owned(), number("flat"), number("cum"))
    };
    json["rows"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn top_ranks_as_go_tool_pprof_does() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "cpu.prof");
    fs::write(&file, profile(&STACKS).encode_gzip()).unwrap();
    let json = run(["top", "--json", "--type", "samples", &file]).code(0).json();
    assert_eq!(
        (&json["type"], &json["unit"], &json["total"]),
        (&json!("samples"), &json!("count"), &json!(100))
    );
    let expected = [("parse", 55, 55), ("idle", 25, 25), ("run", 20, 75), ("main", 0, 100)];
    assert_eq!(rows(&json), expected.map(|(name, flat, cum)| (name.to_owned(), flat, cum)));
    assert_eq!(json["rows"][0]["file"], "/src/parse.rs");
    assert_eq!((&json["rows"][0]["line"], &json["rows"][0]["stack"]), (&json!(7), &json!([])));

    let go = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/go");
    if go.exists() {
        let output = Command::new(go)
            .args(["tool", "pprof", "-top", "-sample_index=samples", "-nodefraction=0", &file])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().skip_while(|line| !line.trim_start().starts_with("flat")).skip(1);
        let theirs: Vec<_> = lines
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                (words[5].to_owned(), words[0].parse().unwrap(), words[3].parse().unwrap())
            })
            .collect();
        assert_eq!(theirs, rows(&json));
    }

    let by_cum = run(["top", "--json", "--cum", "-n", "2", &file]).code(0).json();
    assert_eq!(rows(&by_cum), [("main".into(), 0, 1000), ("run".into(), 200, 750)]);
    let sites = run(["top", "--json", "--by", "site", "-n", "1", &file]).code(0).json();
    let frame = |name: &str| format!("{name} /src/{name}.rs:7");
    assert_eq!(sites["rows"][0]["stack"], json!(["parse", "run", "run", "main"].map(frame)));
    let focused = run(["top", "--json", "--focus", "parse", "--ignore", "nothing", &file]);
    assert_eq!(focused.code(0).json()["total"], 550);
    let text = run(["top", &file]).code(0);
    assert!(text.text().contains("cpu: total 1.00 \u{b5}s\n"), "{}", text.text());
    assert!(text.text().contains("parse (parse.rs:7)"), "{}", text.text());
    assert!(!text.text().contains('\x1b'));
    let bold = run(["--color", "always", "top", &file]).code(0);
    assert!(bold.text().contains("\x1b[1m"), "{}", bold.text());

    run(["top", "--type", "heap", &file]).fails(1, &["no sample type \"heap\"", "cpu/nanoseconds"]);
    run(["top", "--focus", "(", &file]).fails(2, &["no regular expression"]);
    let nothing = run(["top", "--focus", "zzz", &file]).code(0);
    assert!(nothing.stderr.contains("no stack matches"), "{}", nothing.stderr);
    let usage = run(["top", "--by", "stack", &file]).code(2);
    assert!(usage.stderr.contains("function, caller, line, file, site"), "{}", usage.stderr);
}

#[test]
fn diff_says_what_grew() {
    let directory = tempdir().unwrap();
    let (base, new) = (path(&directory, "base"), path(&directory, "new"));
    fs::write(&base, profile(&STACKS).encode_gzip()).unwrap();
    let grown = [STACKS.as_slice(), &[("main leak", 40)]].concat();
    fs::write(&new, profile(&grown).encode()).unwrap();
    let json = run(["diff", "--json", "--type", "samples", &base, &new]).code(0).json();
    assert_eq!((&json["base_total"], &json["total"]), (&json!(100), &json!(140)));
    let leak = ("leak".to_owned(), 40, 40);
    assert_eq!(rows(&json), std::slice::from_ref(&leak));
    let by_cum = run(["diff", "--json", "--cum", "--type", "samples", &base, &new]).code(0).json();
    assert_eq!(rows(&by_cum), [leak, ("main".into(), 0, 40)]);
    let sites = run(["diff", "--json", "--by", "site", &base, &new]).code(0).json();
    assert_eq!((rows(&sites).len(), &sites["rows"][0]["new_flat"]), (1, &json!(400)));
    let text = run(["diff", &base, &new]).code(0);
    assert!(text.text().contains("+400 ns"), "{}", text.text());
    let same = run(["diff", &base, &base]).code(0);
    assert!(same.text().contains("nothing has changed"), "{}", same.text());

    let (first, second) = (path(&directory, "1.tar.gz"), path(&directory, "2.tar.gz"));
    fs::write(&first, bundle("shop").0).unwrap();
    fs::write(&second, bundle("shop2").0).unwrap();
    let json = run(["diff", "--json", &first, &second]).code(0).json();
    let names: Vec<_> = json["entries"].as_array().unwrap().iter().map(|e| &e["name"]).collect();
    assert_eq!(names, ["heap.prof", "cpu.prof"]);
    run(["diff", "-", "-:cpu.prof"]).fails(2, &["only once"]);
    assert_eq!(rows(&json["entries"][0]).len(), 2, "one function is gone, one is new: {json}");
    assert!(run(["diff", &first, &second]).code(0).text().contains("cpu.prof\n"));
    run(["diff", &first, &base]).fails(1, &["is a bundle and", "is not"]);
    let entry = format!("{first}:cpu.prof");
    assert!(run(["diff", &entry, &entry]).code(0).text().contains("nothing has changed"));
}

#[test]
fn flame_draws_what_the_ending_says() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "cpu.prof");
    let evil = "</script><script>alert(1)</script>";
    let hostile = format!("main {evil}");
    let stacks = [STACKS.as_slice(), &[(&hostile, 9)]].concat();
    fs::write(&file, profile(&stacks).encode_gzip()).unwrap();
    let draw = |name: &str, more: &[&str]| {
        let out = path(&directory, name);
        run(["flame", &file, "-o", &out].into_iter().chain(more.iter().copied())).code(0);
        fs::read_to_string(out).unwrap()
    };
    let folded = draw("x.folded", &["--type", "samples"]);
    assert_eq!(
        folded,
        format!(
            "main;{evil} 9\nmain;idle 25\nmain;run 20\nmain;run;parse 5\nmain;run;run;parse 50\n"
        )
    );
    let svg = draw("x.svg", &["--inverted"]);
    assert!(svg.starts_with("<?xml") && svg.ends_with("</svg>\n") && !svg.contains("<script"));
    let html = draw("x.html", &["--base", &file]);
    assert_eq!(html.matches("<script").count(), 2, "the page's own");
    assert!(html.contains("\"compared\":true"));
    let speedscope: Value = serde_json::from_str(&draw("x.speedscope.json", &[])).unwrap();
    assert_eq!(speedscope["profiles"][0]["endValue"], 1090);
    // What is there is not overwritten unasked.
    let out = path(&directory, "x.svg");
    run(["flame", &file, "-o", &out]).fails(1, &[&out, "exists"]);
    run(["flame", &file, "-o", &out, "--force"]).code(0);
    run(["flame", &file, "-o", "x.png"]).fails(2, &[".speedscope.json"]);
}

#[test]
fn every_command_reads_legacy_text() {
    let directory = tempdir().unwrap();
    let (heap, more) = (path(&directory, "heap.txt"), path(&directory, "more.txt"));
    let text = |bytes: u64| {
        format!(
            "heap profile: 1: {bytes} [1: {bytes}] @ heap/2\n1: {bytes} [1: {bytes}] @ 0x11 0x21\n\
             #\t0x10\tmain.keep+0x1\t/src/main.go:3\n#\t0x20\tmain.main+0x1\t/src/main.go:9\n"
        )
    };
    fs::write(&heap, text(1024)).unwrap();
    fs::write(&more, text(4096)).unwrap();
    let facts = run(["inspect", "--json", &heap]).code(0).json();
    assert_eq!(
        (&facts["format"], &facts["value_sums"]),
        (&json!("legacy"), &json!([1, 1024, 1, 1024]))
    );
    let top = run(["top", "--json", &heap]).code(0).json();
    assert_eq!(rows(&top), [("main.keep".into(), 1024, 1024), ("main.main".into(), 0, 1024)]);
    for (args, expected) in [
        (&["top", &heap][..], true),
        (&["top", "--json", &heap], false),
        (&["top", "--by", "function", &heap], false),
    ] {
        let ran = run(args.iter().copied()).code(0);
        assert_eq!(ran.stderr.contains("--by caller"), expected, "{args:?} {}", ran.stderr);
    }
    let grown = run(["diff", "--json", &heap, &more]).code(0).json();
    assert_eq!(rows(&grown)[0], ("main.keep".into(), 3072, 3072));
    let out = path(&directory, "heap.folded");
    run(["flame", &heap, "-o", &out]).code(0);
    assert_eq!(fs::read_to_string(out).unwrap(), "main.main;main.keep 1024\n");
}

#[test]
fn a_bundle_gives_the_profile_that_has_the_type() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    fs::write(&file, bundle("shop").0).unwrap();
    let first = run(["top", "--json", &file]).code(0);
    assert!(first.stderr.contains("heap.prof of"), "{}", first.stderr);
    assert_eq!(first.json()["rows"][0]["name"], "shop");
    run(["top", "--type", "delay", &file])
        .fails(1, &["no sample type \"delay\"", "heap.prof, cpu.prof"]);
}
