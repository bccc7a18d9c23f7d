//! Files as people have them, with the values that are right: counted by hand, or by `go tool
//! pprof`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use profilez::core::profile::{Builder, Function, Line};
use serde_json::Value;
use tempfile::tempdir;

use crate::command::{path, run};

fn file(name: &str) -> String {
    let data: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/field");
    data.join(name).to_str().unwrap().to_owned()
}

/// Returns names and flat values of a ranking, and its total.
fn top(args: &[&str]) -> (Vec<(String, i64)>, i64) {
    let json = run(["top", "--json"].iter().chain(args).copied()).code(0).json();
    let row =
        |row: &Value| (row["name"].as_str().unwrap().to_owned(), row["flat"].as_i64().unwrap());
    let rows = json["rows"].as_array().unwrap().iter().map(row).filter(|row| row.1 != 0);
    (rows.collect(), json["total"].as_i64().unwrap())
}

#[track_caller]
fn check_top(args: &[&str], rows: &[(&str, i64)], total: i64) {
    let (found, found_total) = top(args);
    let rows: Vec<_> = rows.iter().map(|&(name, flat)| (name.to_owned(), flat)).collect();
    assert_eq!((found, found_total), (rows, total), "{args:?}");
}

#[test]
fn allocators_frames_without_a_line_are_left_out() {
    check_top(&[&file("heap-go126-debug1.txt")], &[("main.keep", 10240)], 10240);
}

#[test]
fn what_holds_something_is_shown() {
    let report = run(["report", "--json", &file("last-type-zero.pb.gz")]).code(0).json();
    let tables = report["profiles"][0]["tables"].as_array().unwrap();
    let types: Vec<_> = tables.iter().map(|table| table["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["cpu-time", "wall-time", "alloc-space"]);
    assert_eq!(tables[0]["total"], 1_000_000_000);
    assert_eq!(
        (&tables[0]["rows"][0]["name"], &tables[0]["rows"][0]["flat_percent"]),
        (&"burn".into(), &90.0.into())
    );
}

#[test]
fn samples_without_a_stack_have_a_frame() {
    let (rows, total) = top(&[&file("stackless.pb.gz")]);
    assert_eq!(total, 100);
    assert!(rows.contains(&("[no stack]".to_owned(), 30)), "{rows:?}");
    let directory = tempdir().unwrap();
    let folded = path(&directory, "out.folded");
    run(["flame", &file("stackless.pb.gz"), "-o", &folded]).code(0);
    let text = fs::read_to_string(folded).unwrap();
    assert!(text.lines().any(|line| line == "[no stack] 30"), "{text}");
}

#[test]
fn heaps_of_other_allocators_are_read() {
    let sums = |name: &str| {
        let facts = run(["inspect", "--json", &file(name)]).code(0).json();
        facts["value_sums"]
            .as_array()
            .unwrap()
            .iter()
            .map(|sum| sum.as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(sums("gp-953.heap"), [11, 538_447_872, 7, 537_395_200]);
    // Scaled up by the rate, of 512 KiB.
    assert_eq!(sums("je-leaklines.heap")[2..], [3, 3_638_090]);
    let rows = [("file_get_contents", 8192), ("App\\Repo::hydrate", 4096)];
    check_top(&[&file("gp-symbol.heap")], &rows, 12288);
}

#[test]
fn cpu_profiles_of_gperftools_are_read() {
    let file = file("gp.cpu");
    assert_eq!(top(&["--type", "samples", &file]).1, 12);
    assert_eq!(top(&[&file]).1, 120_000_000);
}

#[test]
fn names_are_demangled() {
    let (rows, _) = top(&[&file("names.pb.gz")]);
    for row in [("core::fmt::write", 50), ("mycrate::foo", 40), ("std::vector::push_back", 50)] {
        let row = (row.0.to_owned(), row.1 * 1_000_000);
        assert!(rows.contains(&row), "{row:?} in {rows:?}");
    }
}

#[test]
fn shares_of_negative_totals_are_of_absolute_values() {
    let text = run(["top", &file("neg-heap.pb.gz")]).code(0).text().to_owned();
    assert!(text.contains("58.3%") && text.contains("41.7%"), "{text}");
}

#[test]
fn what_zstd_and_lz4_have_packed_is_read() {
    let (rows, total) = top(&[&file("heap.pb.zst")]);
    assert_eq!(rows[0].0, "main.keep");
    assert!(
        (97.0..98.0).contains(&(rows[0].1 as f64 / total as f64 * 100.0)),
        "{rows:?} of {total}"
    );
    let directory = tempdir().unwrap();
    let lz4 = path(&directory, "heap.lz4");
    let mut packed = lz4_flex::frame::FrameEncoder::new(fs::File::create(&lz4).unwrap());
    packed.write_all(&fs::read(file("heap-go126-debug1.txt")).unwrap()).unwrap();
    packed.finish().unwrap();
    check_top(&[&lz4], &[("main.keep", 10240)], 10240);
}

#[test]
fn archives_of_others_are_whole() {
    let archive = file("promtool-debug.tar.gz");
    let report = run(["report", "--json", &archive]).code(0).json();
    assert_eq!((&report["truncated"], &report["warnings"]), (&false.into(), &Value::Array(vec![])));
    let groups = run(["groups", "--json", &archive]).code(0).json();
    assert_eq!(groups["total_goroutines"], 79);
    let zip = file("support-bundle.zip");
    let report = run(["report", "--json", &zip]).code(0).json();
    assert_eq!(report["profiles"][0]["name"], "pprof/server/heap.pprof");
    assert_eq!(report["dumps"][0]["name"], "pprof/server/goroutine.txt");
    let entry = format!("{zip}:pprof/server/heap.pprof");
    assert_eq!(top(&[&entry]), top(&[&zip]));
}

#[test]
fn a_folder_is_a_bundle_and_its_like_are_added_up() {
    let directory = tempdir().unwrap();
    for (server, value) in [("a", 1), ("b", 20)] {
        let mut builder = Builder::new(&[("samples", "count")]);
        builder.period("samples", "count", 1);
        let name = builder.str("f");
        let function = builder.function(Function { name, ..Function::default() });
        let place = builder.location(None, 1, &[Line { function, line: 1, column: 0 }]);
        builder.sample(&[place], &[value], &[]);
        let folder = directory.path().join(server);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("cpu.prof"), builder.finish().encode_gzip()).unwrap();
    }
    let folder = directory.path().to_str().unwrap();
    check_top(&[folder], &[("f", 21)], 21);
    check_top(&[&format!("{folder}:b/cpu.prof")], &[("f", 20)], 20);
    let [a, b] = ["a", "b"].map(|server| format!("{folder}/{server}/cpu.prof"));
    check_top(&[&a, &b], &[("f", 21)], 21);
    let facts = run(["inspect", "--json", folder]).code(0).json();
    assert_eq!(facts["entries"][1]["name"], "b/cpu.prof");
    let none = path(&directory, "none");
    fs::create_dir(&none).unwrap();
    run(["report", &none]).fails(1, &["the folder holds no files"]);
}

#[test]
fn what_is_no_profile_is_told_what_it_is() {
    let directory = tempdir().unwrap();
    for (content, expected) in [
        (&b"<!DOCTYPE html><title>Sign in</title>"[..], "an HTML page"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", "an ELF program"),
        (b"PERFILE2\0\0\0\0\0\0\0\0", "a recording of perf"),
        (b"\xfd7zXZ\0\0\x04\0\0\0\0", "data packed by xz"),
    ] {
        let name = path(&directory, "file");
        fs::write(&name, content).unwrap();
        for command in ["top", "inspect", "report", "groups"] {
            run([command, &name]).fails(1, &[expected]);
        }
    }
}

#[test]
fn small_files_that_expand_end_soon() {
    let directory = tempdir().unwrap();
    let outputs = [".svg", ".html", ".folded", ".speedscope.json"]
        .map(|ending| path(&directory, format!("out{ending}")));
    for name in ["inline_deep_small.pb.gz", "long_name_deep.pb.gz", "comments.pb.gz"] {
        let file = file(name);
        let mut commands = vec![
            vec!["top", &file],
            vec!["top", "--by", "site", "--json", &file],
            vec!["inspect", "--json", &file],
            vec!["report", &file],
            vec!["diff", "--by", "site", &file, &file],
        ];
        commands.extend(outputs.iter().map(|out| vec!["flame", &file, "--force", "-o", out]));
        for command in commands {
            let begun = Instant::now();
            let ran = run(command.iter().copied());
            assert!(matches!(ran.code, Some(0 | 1)), "{command:?}: {}", ran.stderr);
            assert!(ran.text().len() < 10 << 20, "{command:?}");
            // Without optimization, and with other tests beside it.
            assert!(begun.elapsed() < Duration::from_secs(60), "{command:?}");
        }
    }
    let refused = run(["top", &file("inline_deep_small.pb.gz")]);
    refused.fails(1, &["more than 537216", "frames in its stacks"]);
    let trace = run(["inspect", "--json", &file("f6-late-traceEvents.json.gz")]).code(0).json();
    assert_eq!(trace["format"], "trace");
}

/// Dumps as test runners, loggers and people pass them on.
#[test]
fn dumps_are_read_through_what_is_around_them() {
    let directory = tempdir().unwrap();
    let stack = "goroutine 7 [select, 2 minutes]:\nmain.f()\n\t/a.go:1 +0x1\n";
    let each = |form: fn(&str) -> String| -> String { stack.lines().map(form).collect() };
    let texts = [
        format!("{stack}FAIL\n"),
        format!("{stack}FAIL\tshop/cart\t0.1s\nFAIL\n"),
        format!("{stack}exit status 2\n"),
        format!("panic: boom\n{}", stack.replace("select, 2 minutes", "running")),
        stack.replace('\t', "        "),
        stack.replace('\t', ""),
        stack.replace("]:", "]{\"a\": \"b\"}:"),
        each(|line| format!("Apr  9 00:05:07 host-1 app[41]: {line}\n")),
        each(|line| format!("{{\"log\":{line:?},\"stream\":\"stderr\"}}\n")),
        format!("{{\"level\":\"error\",\"stacktrace\":{stack:?}}}\n"),
        format!("{}{stack}", "GET /cart?a=1;b=2 200 512\n".repeat(20_000)),
    ];
    for text in texts {
        let file = path(&directory, "dump.txt");
        fs::write(&file, &text).unwrap();
        let tail = &text[text.len().saturating_sub(300)..];
        for flags in [&[][..], &["--strip-prefix"]] {
            let groups = run([&["groups", "--json", &*file], flags].concat()).code(0).json();
            assert_eq!(groups["total_goroutines"], 1, "{tail}");
            assert_eq!(groups["groups"][0]["stack"][0], "main.f /a.go:1", "{tail}");
            let facts = run([&["inspect", "--json", &*file], flags].concat()).code(0).json();
            assert_eq!((&facts["goroutines"], &facts["truncated"]), (&1.into(), &false.into()));
            let report = run([&["report", &*file], flags].concat()).code(0).text().to_owned();
            assert!(report.contains("main.f (a.go:1)"), "{report}");
        }
    }
    // Where there is none, nobody says that there are 0 of them.
    let binary: Vec<u8> = (0..20_000_u32).map(|n| (n * n % 251) as u8).collect();
    for bytes in [&b"just a log line\nand another\n"[..], &binary, b"goroutine 7 <select>:\n"] {
        let file = path(&directory, "none");
        fs::write(&file, bytes).unwrap();
        for command in ["groups", "inspect", "report"] {
            for flags in [&[][..], &["--strip-prefix"]] {
                run([&[command, &*file], flags].concat()).code(1);
            }
        }
    }
}

/// Two forms of one moment.
#[test]
fn forms_of_a_dump_are_compared_by_their_functions() {
    let directory = tempdir().unwrap();
    let (states, counts) = (path(&directory, "states"), path(&directory, "counts"));
    let text = "goroutine 1 [running]:\nmain.main()\n\t/a.go:9 +0x1\n\n\
                goroutine 7 [select]:\nmain.f()\n\t/a.go:20 +0x1\n\
                created by main.main in goroutine 1\n\t/a.go:8 +0x2\n";
    fs::write(&states, text).unwrap();
    let records = "goroutine profile: total 2\n1 @ 0x3\n#\t0x3\tmain.f+0x1\t/a.go:20\n\n\
                   1 @ 0x1\n#\t0x1\tmain.main+0x1\t/a.go:9\n\n";
    fs::write(&counts, records).unwrap();
    let diff = run(["diff", "--json", &*states, &*counts]).code(0).json();
    assert_eq!((&diff["changes"], &diff["unchanged"]), (&Value::Array(Vec::new()), &2.into()));
    assert!(diff["note"].as_str().unwrap().contains("debug2 and debug1"), "{diff}");
    let both = path(&directory, "both");
    fs::write(&both, format!("{text}\n\n{records}")).unwrap();
    let facts = run(["inspect", "--json", &*both]).code(0).json();
    assert!(facts["warnings"][0].as_str().unwrap().contains("two forms"), "{facts}");
}
