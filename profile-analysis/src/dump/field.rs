//! Dumps as people have them, with the values that are right; and real dumps as each kind of log
//! passes them on, which must say what the original says.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Returns the text of an input that stands beside the repository, where it does.
fn shared(name: &str) -> Option<Vec<u8>> {
    fs::read(folder().join(name)).ok()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data")
}

fn read(bytes: &[u8]) -> Dump {
    parse(bytes)
}

/// A group, as far as a log can't change it.
type SameGroup = (u64, String, Option<u64>, Vec<String>, Option<String>, Vec<String>);

fn groups(dump: &Dump) -> Vec<SameGroup> {
    let frame = |frame: Frame<'_>| format!("{} {}:{}", frame.function, frame.file, frame.line);
    let mut groups: Vec<SameGroup> = dump
        .groups()
        .map(|group| {
            let labels = group.labels();
            let label = |(key, value, count): &(_, _, u64)| format!("{key}={value} {count}");
            (
                group.count(),
                group.state().into_owned(),
                group.waits().max(),
                group.stack().into_iter().map(frame).collect(),
                group.created_by().map(frame),
                labels.iter().map(label).collect(),
            )
        })
        .collect();
    groups.sort();
    groups
}

#[track_caller]
fn check_counts(name: &str, goroutines: u64, groups: usize) {
    let Some(bytes) = shared(&format!("field/{name}")) else { return };
    for options in [false, true].map(|strip_prefix| Options { strip_prefix, ..Options::default() })
    {
        let dump = parse_with(&bytes, &options);
        let found = (dump.goroutines(), dump.group_count(), dump.truncated());
        assert_eq!(found, (goroutines, groups, false), "{name}: {:?}", dump.warning_texts());
        let warnings = dump.warnings();
        assert!(
            warnings.is_empty() || name == "min-zero.txt",
            "{name}: {:?}",
            dump.warning_texts()
        );
    }
}

#[test]
fn inputs_have_their_right_counts() {
    check_counts("crash-plain.txt", 5, 4);
    check_counts("journald-tabs.txt", 5, 4);
    check_counts("docker-json-file.txt", 5, 4);
    check_counts("min-panic-noblank.txt", 1, 1);
    check_counts("min-8sp.txt", 1, 1);
    check_counts("min-fail.txt", 1, 1);
    check_counts("min-zero.txt", 1, 1);
    check_counts("real-gotest-timeout.txt", 6, 4);
    check_counts("real-gotest-json.txt", 6, 4);
    check_counts("lock-crowd-debug1.txt", 12, 1);
    check_counts("log.txt", 0, 0);
}

#[test]
fn inputs_have_their_right_groups() {
    let Some(plain) = shared("field/crash-plain.txt") else { return };
    let plain = groups(&read(&plain));
    let waits = plain.iter().find(|group| group.0 == 2).unwrap();
    assert_eq!((waits.1.as_str(), waits.2), ("select", Some(55145)));
    for name in ["journald-tabs.txt", "docker-json-file.txt"] {
        assert_eq!(groups(&read(&shared(&format!("field/{name}")).unwrap())), plain, "{name}");
    }
    for name in ["min-panic-noblank.txt", "min-8sp.txt", "min-fail.txt"] {
        let found = groups(&read(&shared(&format!("field/{name}")).unwrap()));
        assert_eq!(found[0].3, ["main.f /a.go:1"], "{name}");
    }
    let lock = read(&shared("field/lock-crowd-debug1.txt").unwrap());
    assert_eq!(groups(&lock)[0].1, "sync.Mutex.Lock");
    let both = read(&shared("field/debug2-then-debug1.txt").unwrap());
    assert!(both.warnings().iter().any(|warning| warning.problem == Problem::TwoForms));
}

#[test]
fn profiles_have_the_states_that_labels_say() {
    let Some(bytes) = shared("field/crdb-debug3.pb.gz") else { return };
    let profile = crate::open(&bytes).unwrap().profile;
    let dump = from_profile(&profile, &Options::default()).unwrap();
    let mut found: Vec<_> = dump
        .groups()
        .map(|group| {
            let waits = group.waits();
            (group.count(), group.state().into_owned(), waits.min(), waits.max())
        })
        .collect();
    found.sort();
    let group =
        |count, state: &str, waits: [Option<u64>; 2]| (count, state.to_owned(), waits[0], waits[1]);
    assert_eq!(
        found,
        [
            group(1, "running", [None, None]),
            group(3, "select", [Some(90), Some(90)]),
            group(5, "chan receive", [Some(7), Some(11)]),
            group(12, "sync.Mutex.Lock", [Some(3), Some(3)]),
        ]
    );
    assert!(dump.groups().all(|group| !group.ids().is_empty()));
}

/// Returns every dump of text that is at hand.
fn dumps() -> Vec<(String, String)> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dumps");
    let folders = [own, folder().join("dumps"), folder().join("field")];
    let mut dumps: Vec<(String, String)> = Vec::new();
    for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten()) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_plain = path.parent().unwrap().ends_with("dumps")
            || matches!(&*name, "crash-plain.txt" | "real-gotest-timeout.txt" | "waitgroup-go.txt");
        let is_new = dumps.iter().all(|(known, _)| *known != name);
        if is_plain
            && is_new
            && let Ok(text) = fs::read_to_string(&path)
        {
            dumps.push((name, text));
        }
    }
    assert!(dumps.len() >= 7, "{dumps:?}");
    dumps
}

type LogMutation = (&'static str, fn(usize, &str) -> String);

/// What loggers make of one line.
const LINES: &[LogMutation] = &[
    ("nothing", |_, line| line.to_owned()),
    ("CRLF", |_, line| format!("{line}\r")),
    ("syslog", |n, line| {
        format!(
            "Apr {:2} 00:{:02}:{:02} host-1 app[{}]: {line}",
            9 + n / 900,
            n / 60 % 60,
            n % 60,
            41
        )
    }),
    ("journald", |n, line| {
        format!("Apr 09 00:{:02}:{:02}.{:06} host-1 app[41]: {line}", n / 60 % 60, n % 60, n * 37)
    }),
    ("CRI", |n, line| format!("2026-10-02T11:22:33.{:09}Z stderr F {line}", n * 1237)),
    ("Docker", |n, line| {
        let time = format!("2026-10-02T11:22:33.{:09}", (n + 1) % 7 * 123_400_000);
        let time = time.trim_end_matches('0').trim_end_matches('.');
        format!("{time}Z {line}")
    }),
    ("Compose", |_, line| format!("web-1  | {line}")),
    ("coloured Compose", |_, line| format!("\x1b[36mweb-1  | \x1b[0m{line}")),
    ("klog", |n, line| {
        format!("E1002 11:22:{:02}.{:06}   41927 server.go:31] {line}", n % 60, n * 37 % 1_000_000)
    }),
    ("GitHub Actions", |n, line| format!("2026-10-02T11:22:33.{:07}Z {line}", n * 1237)),
    ("kubectl", |_, line| format!("[pod/api-7f9c/server] {line}")),
    ("a quote", |_, line| format!("> {line}")),
    ("an indentation", |_, line| format!("        {line}")),
    ("a logger", |n, line| format!("2026/10/02 11:22:{:02} [ERROR] {line}", n % 60)),
    ("json-file", |_, line| {
        let line = serde_json::to_string(&format!("{line}\n")).unwrap();
        format!("{{\"log\":{line},\"stream\":\"stderr\",\"time\":\"2026-10-02T11:22:33.12Z\"}}")
    }),
    ("fluentd", |_, line| {
        format!("{{\"stream\": \"stderr\", \"log\": {}}}", serde_json::to_string(line).unwrap())
    }),
    ("go test -json", |_, line| {
        let line = serde_json::to_string(&format!("{line}\n")).unwrap();
        format!(
            "{{\"Time\":\"2026-10-02T11:22:33Z\",\"Action\":\"output\",\"Package\":\"a/b\",\"Output\":{line}}}"
        )
    }),
    ("logrus", |_, line| {
        let line = serde_json::to_string(line).unwrap();
        format!("{{\"level\":\"error\",\"msg\":{line},\"time\":\"2026-10-02T11:22:33Z\"}}")
    }),
    ("journald -o json", |n, line| {
        let line = serde_json::to_string(line).unwrap();
        format!("{{\"__CURSOR\":\"s={n}\",\"MESSAGE\":{line},\"_PID\":\"41\"}}")
    }),
    ("CRI around logrus", |n, line| {
        let line = serde_json::to_string(line).unwrap();
        format!("2026-10-02T11:22:33.{n:09}Z stdout F {{\"level\":\"error\",\"msg\":{line}}}")
    }),
    ("json-file around Compose", |_, line| {
        let line = serde_json::to_string(&format!("web-1  | {line}\n")).unwrap();
        format!("{{\"log\":{line}}}")
    }),
];

/// What becomes of the tabs.
const TABS: &[(&str, &str)] = &[
    ("kept", "\t"),
    ("eight blanks", "        "),
    ("four blanks", "    "),
    ("rsyslog's", "#011"),
    ("escaped", "\\t"),
    ("gone", ""),
];

#[test]
fn logs_say_what_their_dump_says() {
    for (name, text) in dumps() {
        let expected = groups(&read(text.as_bytes()));
        let few = text.len() > 100_000;
        for (tabs, tab) in TABS {
            for (log, form) in LINES {
                for drops in [false, true] {
                    if few && (drops || *tab != "\t") {
                        continue;
                    }
                    let lines = text.lines().filter(|line| !(drops && line.is_empty()));
                    let logged: String = lines
                        .enumerate()
                        .map(|(n, line)| form(n, &line.replace('\t', tab)) + "\n")
                        .collect();
                    let what = format!("{name}: {log}, tabs {tabs}, drops empty lines: {drops}");
                    let dump = read(logged.as_bytes());
                    let found = groups(&dump);
                    assert!(
                        found == expected,
                        "{what}: {} of {} groups are right, {:?}\n{}",
                        found.iter().filter(|group| expected.contains(group)).count(),
                        expected.len(),
                        dump.warning_texts(),
                        &logged[..logged.len().min(1500)]
                    );
                    assert!(!dump.truncated(), "{what}: {:?}", dump.warning_texts());
                    if drops || *tab != "\t" {
                        continue;
                    }
                    let mut parser = Parser::new(&Options::default());
                    logged.as_bytes().chunks(777).for_each(|piece| parser.feed(piece));
                    assert!(groups(&parser.finish()) == expected, "{what}: in pieces");
                }
            }
        }
    }
}

type DumpMutation = (&'static str, fn(&str) -> String);

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// What becomes of a dump as a whole.
const WHOLES: &[DumpMutation] = &[
    ("one text of JSON", |dump| {
        format!(
            "{{\"level\":\"info\",\"msg\":\"x\"}}\n{{\"level\":\"error\",\"stacktrace\":{}}}\n",
            quoted(dump)
        )
    }),
    ("zap in json-file", |dump| {
        let zap = format!("{{\"level\":\"error\",\"msg\":{}}}\n", quoted(dump));
        format!("{{\"log\":{},\"stream\":\"stderr\"}}\n", quoted(&zap))
    }),
    ("CRI around zap", |dump| {
        format!("2026-10-02T11:22:33.5Z stderr F {{\"l\":\"error\",\"stack\":{}}}\n", quoted(dump))
    }),
    ("JSON on several lines", |dump| {
        format!(
            "{{\n  \"level\": \"error\",\n  \"error\": {{\n    \"stack\": {}\n  }}\n}}\n",
            quoted(dump)
        )
    }),
    ("a list of texts", |dump| {
        let lines: Vec<String> = dump.lines().map(quoted).collect();
        format!("{{\"stack\": [{}]}}\n", lines.join(", "))
    }),
    ("lists of bytes", |dump| {
        dump.lines().map(|line| format!("{{\"MESSAGE\":{:?}}}\n", line.as_bytes())).collect()
    }),
    ("a text in quotes", |dump| format!("{}\n", quoted(dump))),
    ("logrus' text", |dump| format!("time=\"2026\" level=error msg={}\n", quoted(dump))),
    ("escapes", |dump| format!("the dump: {}\n", quoted(dump).trim_matches('"'))),
    ("one line more between all", |dump| dump.lines().map(|line| format!("{line}\n\n")).collect()),
    ("an issue", |dump| format!("It crashes:\n\n```\n{}\n```\n\nThanks!\n", dump.trim_end())),
    ("go test", |dump| {
        format!("=== RUN TestX\n{}\nFAIL\tshop/cart\t0.5s\nFAIL\n", dump.trim_end())
    }),
    ("a shell", |dump| {
        format!("$ ./server\n{}\nexit status 2\nmake: *** [run] Error 1\n$ ", dump.trim_end())
    }),
    ("registers", |dump| format!("{}\n\nrax    0xca\nrbx 0x0\n", dump.trim_end())),
    ("a service", |dump| {
        let after = "2026/10/02 11:22:33 restarting (code 2)\nready\n";
        format!("2026/10/02 11:22:30 ready\n{}\n{after}", dump.trim_end())
    }),
    ("CRI in parts", |dump| {
        let cut = |line: &str| {
            let (begin, rest) =
                line.split_at(line.len().min(25) / 2 * usize::from(line.is_ascii()));
            let time = "2026-10-02T11:22:33.5Z stderr";
            format!("{time} P {begin}\n{time} F {rest}\n")
        };
        dump.lines().map(cut).collect()
    }),
    ("an indentation of all but headers", |dump| {
        let begins = |line: &str| line.is_empty() || line.starts_with("goroutine ");
        let indent =
            |line| if begins(line) { format!("{line}\n") } else { format!("    {line}\n") };
        dump.lines().map(indent).collect()
    }),
    ("tabs before all but headers", |dump| {
        let begins = |line: &str| line.is_empty() || line.starts_with("goroutine ");
        let indent = |line| if begins(line) { format!("{line}\n") } else { format!("\t{line}\n") };
        dump.lines().map(indent).collect()
    }),
    ("a log of its own", |dump| format!("2026/10/02 11:22:33 {dump}2026/10/02 11:22:34 next\n")),
];

#[test]
fn wholes_say_what_their_dump_says() {
    for (name, text) in dumps() {
        let expected = groups(&read(text.as_bytes()));
        for (form, make) in WHOLES {
            // Records have no header that a log's time could stand before.
            let is_odd = name.contains("debug1")
                && (*form == "one line more between all" || form.ends_with("all but headers"));
            if is_odd || text.starts_with("panic") && *form == "a log of its own" {
                continue;
            }
            let made = make(&text);
            let what = format!("{name}: {form}");
            let dump = read(made.as_bytes());
            assert!(
                groups(&dump) == expected && !dump.truncated(),
                "{what}: {} of {}, {:?}\n{}",
                groups(&dump).iter().filter(|group| expected.contains(group)).count(),
                expected.len(),
                dump.warning_texts(),
                made.chars().take(1500).collect::<String>()
            );
            let mut parser = Parser::new(&Options::default());
            made.as_bytes().chunks(777).for_each(|piece| parser.feed(piece));
            assert!(groups(&parser.finish()) == expected, "{what}: in pieces");
        }
    }
}
