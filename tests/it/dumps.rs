//! Dumps that a real Go program writes, in every form, against what the program knows of itself and
//! against a count of header lines; and the commands that read them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use assert_cmd::cargo::cargo_bin;
use profilez::analysis::dump::{self, Dump, Options};
use profilez::analysis::groups::{GroupOptions, Row, group};
use profilez::analysis::rules::RuleSet;
use serde_json::Value;

use crate::support::go::go;

/// The Go program, built once, in a folder whose name is a trap.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let go = go()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("goroutine pool (1)");
        fs::create_dir_all(&folder).unwrap();
        let source = folder.join("states.go");
        fs::write(&source, include_str!("../data/states.go")).unwrap();
        let program = folder.join("states");
        let mut build = Command::new(go);
        build.args(["build", "-o"]).args([&program, &source]).env("GO111MODULE", "off");
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(program)
    };
    PROGRAM.get_or_init(build).as_deref()
}

/// A dump of the program, and what it says of itself.
struct Made {
    text: Vec<u8>,
    states: BTreeMap<String, u64>,
    goroutines: u64,
    groups: usize,
}

fn make(mode: &str, level: &str) -> Option<Made> {
    let mut output = Command::new(program()?);
    output.arg(mode).env("GOTRACEBACK", level);
    // On by default only for programs in a module that says so.
    let output = output.env("GODEBUG", "tracebacklabels=1").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let mut states: BTreeMap<String, u64> = said
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(state, count)| (state.to_owned(), count.parse().unwrap()))
        .collect();
    let goroutines = states.remove("goroutines").expect(&said);
    let groups = states.remove("groups").unwrap() as usize;
    Some(Made { text: output.stdout, states, goroutines, groups })
}

fn read(text: &[u8]) -> Dump {
    dump::parse(text)
}

/// Header lines, as one would count them by eye.
fn headers(text: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(text);
    let is_header =
        |line: &&str| line.starts_with("goroutine ") && line.contains('[') && line.ends_with(':');
    text.lines().filter(is_header).count() as u64
}

#[track_caller]
fn check_states(dump: &Dump, made: &Made, with_runtime: bool) {
    let found = dump.by_state();
    for (state, &count) in &made.states {
        let found_count = found.get(state).copied().unwrap_or(0);
        // The runtime's own goroutines wait too, and the main one may.
        let right = found_count == count || (with_runtime && found_count > count);
        assert!(right, "{count} {state} in {found:?}");
    }
}

#[test]
fn debug_2_is_read_to_the_last_goroutine() {
    let Some(made) = make("debug2", "all") else { return };
    let dump = read(&made.text);
    assert_eq!(dump.warning_texts(), Vec::<String>::new());
    assert!(!dump.truncated());
    assert_eq!(dump.goroutines(), made.goroutines);
    assert_eq!(dump.goroutines(), headers(&made.text));
    check_states(&dump, &made, false);
    // One group for each place where goroutines were made, and the main one.
    assert_eq!(dump.group_count(), made.groups + 1);
    let facts = dump::facts(&dump);
    assert_eq!((facts.with_labels, facts.locked_to_thread), (4, 2));
    // Deeper than Go prints.
    assert_eq!(facts.partial_stacks, 2);
    let labelled = dump.groups().find(|group| group.labelled() > 0).unwrap();
    let label = labelled.labels().into_iter().find(|label| label.0 == "we]ird \"key\"").unwrap();
    assert!(
        label.1.starts_with("}: ") && label.1.ends_with("\ngoroutine 7 [running]:"),
        "{label:?}"
    );
    for group in dump.groups().filter(|group| group.created_by().is_some()) {
        let creator = group.created_by().unwrap();
        assert!(creator.file.ends_with("/goroutine pool (1)/states.go"), "{creator:?}");
        assert!(creator.function.starts_with("main.made"), "{creator:?}");
    }
    let threads = dump::parse_on(2, &made.text, &Options::default());
    assert_eq!(threads.goroutines(), dump.goroutines());
}

#[test]
fn debug_1_and_the_profile_count_the_same() {
    let (Some(text), Some(profile)) = (make("debug1", "all"), make("proto", "all")) else { return };
    let dump = read(&text.text);
    assert_eq!(dump.warning_texts(), Vec::<String>::new());
    assert_eq!(dump.goroutines(), text.goroutines);
    let opened = profilez::analysis::open(&profile.text).unwrap();
    let dump = dump::from_profile(&opened.profile, &Options::default()).unwrap();
    assert_eq!(dump.goroutines(), profile.goroutines);
    let threads = read(&make("threadcreate", "all").unwrap().text);
    assert!(threads.goroutines() >= 3 && threads.warnings().is_empty());
}

/// What rows of user code are about: state, stack and creator, and how many. The main goroutine
/// does something else in each dump.
fn rows<'a>(rows: &'a [Row<'a>]) -> BTreeMap<String, u64> {
    let of_users = rows.iter().filter(|row| {
        let mut frames = row.frames().into_iter().map(|frame| frame.function.into_owned());
        row.created_by().is_some_and(|f| f.function.starts_with("main.made"))
            && !frames.any(|function| function == "main.main")
            // Of a stack that is too deep each form shows another part.
            && row.partial == 0
    });
    let text = |row: &Row<'_>| format!("{} {:?} {:?}", row.state, row.frames(), row.created_by());
    of_users.map(|row| (text(row), row.count)).collect()
}

#[test]
fn crashes_are_read_as_well_as_dumps() {
    let Some(plain) = make("debug2", "all") else { return };
    let plain = read(&plain.text);
    let options = GroupOptions::default();
    let expected = group(&plain, RuleSet::shipped(), &options);
    let expected = rows(&expected.rows);
    assert!(expected.len() > 15, "{expected:?}");
    for mode in ["quit", "panic", "fault", "fatal"] {
        for level in ["single", "all", "system", "crash"] {
            let made = make(mode, level).unwrap();
            let dump = read(&made.text);
            let text = String::from_utf8_lossy(&made.text);
            let context = format!("{mode} {level}: {:?}\n{text}", dump.warning_texts());
            let fake = u64::from(text.contains("\ngoroutine 99 [fake]:\n"));
            assert_eq!(dump.goroutines(), headers(&made.text) - fake, "{context}");
            assert!(!dump.truncated(), "{context}");
            assert!(dump.warnings().is_empty() || fake > 0, "{context}");
            assert!(!dump.by_state().contains_key("fake"), "{context}");
            if level == "single" && mode != "quit" {
                continue;
            }
            check_states(&dump, &made, true);
            if mode != "fatal" {
                let groups = group(&dump, RuleSet::shipped(), &options);
                let found = rows(&groups.rows);
                for row in found.iter().chain(&expected) {
                    let both = (found.get(row.0), expected.get(row.0));
                    // With `crash` every thread says once more what it runs.
                    let right = both.0 == both.1 || (level == "crash" && both.0 > both.1);
                    assert!(right, "{mode} {level}: {both:?} {}", row.0);
                }
            }
        }
    }
}

#[test]
fn what_a_small_buffer_cuts_off_is_said() {
    let Some(made) = make("small", "all") else { return };
    assert_eq!(made.text.len(), 8000);
    let dump = read(&made.text);
    let headers = headers(&made.text);
    assert!(dump.truncated() || dump.goroutines() == headers, "{:?}", dump.warning_texts());
    assert_eq!(dump.goroutines(), headers);
}

fn profilez(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(cargo_bin("profilez")).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("panicked"), "{errors}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap() + &errors)
}

fn json(arguments: &[&str]) -> (i32, Value) {
    let (code, text) = profilez(arguments);
    (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

const DUMP: &str = "goroutine 7 [IO wait, 5 minutes]:\nmain.handleRequest(0x1)\n\t/src/a.go:31 +0x1d\n\
                    created by main.main in goroutine 1\n\t/src/a.go:9 +0x1\n\n\
                    goroutine 8 [select] {tenant: acme}:\nmain.wait()\n\t/src/a.go:1 +0x1\n";

#[test]
fn commands_read_dumps_from_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = path("plain", DUMP.as_bytes());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, DUMP.as_bytes()).unwrap();
    let packed = path("packed", &encoder.finish().unwrap());
    for file in [&plain, &packed] {
        let (code, facts) = json(&["inspect", "--json", file]);
        assert_eq!(
            (code, &facts["format"], &facts["goroutines"]),
            (0, &"debug2".into(), &2.into())
        );
        assert_eq!((&facts["max_wait_minutes"], &facts["with_labels"]), (&5.into(), &1.into()));
        let (code, groups) = json(&["groups", "--json", file]);
        assert_eq!((code, &groups["total_goroutines"]), (0, &2.into()));
        assert_eq!(groups["groups"][0]["rule"], "handler-by-name");
        assert_eq!(groups["summary"]["potentially_stuck"], 1);
        let (code, text) = profilez(&["report", file]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("STUCK? main.handleRequest (a.go:31)"), "{text}");
    }
    let (code, cut) = json(&["inspect", "--json", &path("cut", &DUMP.as_bytes()[..150])]);
    assert_eq!((code, &cut["truncated"]), (3, &true.into()));

    let (_, by_label) = json(&["groups", "--json", "--by", "label:tenant", &plain]);
    let labels: Vec<_> =
        by_label["groups"].as_array().unwrap().iter().map(|g| &g["label"]).collect();
    assert_eq!(labels, [&Value::Null, &"acme".into()]);

    let rules = path(
        "rules.toml",
        b"[[rule]]\nid = \"mine\"\ncategory = \"background\"\nmatch = { any_frame = \"main.*\" }\n",
    );
    let (_, judged) = json(&["groups", "--json", "--rules", &rules, &plain]);
    assert_eq!(judged["summary"]["background"], 2);
    let (_, judged) = json(&["groups", "--json", "--rules", "original", &plain]);
    assert_eq!(judged["summary"]["unknown"], 2);
    let broken = path("broken.toml", b"[[rule]]\nid = 3\n");
    let (code, error) = profilez(&["groups", "--rules", &broken, &plain]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("broken.toml: ") && error.contains("line 2"), "{error}");

    let logged: String = DUMP.lines().map(|line| format!("12:00:01 app | {line}\n")).collect();
    let (code, stripped) =
        json(&["groups", "--json", "--strip-prefix", &path("log", logged.as_bytes())]);
    assert_eq!((code, &stripped["total_goroutines"]), (0, &2.into()));
    let log = path("log", logged.as_bytes());
    let (code, facts) = json(&["inspect", "--json", "--strip-prefix", &log]);
    assert_eq!((code, &facts["goroutines"]), (0, &2.into()));
    let (code, text) = profilez(&["report", "--strip-prefix", &log]);
    assert!(code == 0 && text.contains("STUCK? main.handleRequest"), "{text}");
    for command in ["groups", "inspect", "report"] {
        // All lines have it, so that it is found without the flag.
        let (code, text) = profilez(&[command, &log]);
        assert!(code == 0 && text.contains("12:00:01 app |"), "{text}");
        // Names that change are no prefix until somebody says so.
        let mut names = ["app-a", "app-b", "app-c"].into_iter().cycle();
        let logged = DUMP.lines().map(|line| format!("{} | {line}\n", names.next().unwrap()));
        let doubtful = path("doubtful", logged.collect::<String>().as_bytes());
        let (code, error) = profilez(&[command, &doubtful]);
        assert!(code == 1 && error.contains("which --strip-prefix takes off"), "{error}");
        let (code, text) = profilez(&[command, "--strip-prefix", &doubtful]);
        assert!(code == 0 && text.contains("app-a |"), "{text}");
        let nothing = path("nothing", b"just a log line\nand another\n");
        for flags in [&[][..], &["--strip-prefix"]] {
            let (code, error) = profilez(&[&[command, &*nothing], flags].concat());
            assert!(code == 1 && error.contains("goroutine 7 [running]:"), "{error}");
        }
    }

    let more = path(
        "more",
        DUMP.replace("acme}:", "acme}:\nmain.wait()\n\t/src/a.go:1 +0x1\n\ngoroutine 9 [select]:")
            .as_bytes(),
    );
    let (code, diff) = json(&["diff", "--json", &plain, &more]);
    assert_eq!((code, &diff["before"], &diff["after"]), (0, &2.into(), &3.into()));
    assert_eq!(
        (&diff["changes"][0]["delta"], diff["changes"].as_array().unwrap().len()),
        (&1.into(), 1)
    );
    assert_eq!(diff["changes"][0]["stuck"]["evidence"], "growing");
    let (code, error) = profilez(&["groups", &path("nothing", b"hello")]);
    assert_eq!(code, 1);
    assert!(error.contains("holds no dump of goroutines or threads"), "{error}");
}

/// Our own dump, as text and as a profile: the threads of this very process.
#[test]
fn our_own_dumps_are_read() {
    use profilez::core::{Collectors, Kind};

    let window = Collectors::new().collector(Kind::Goroutine).start().unwrap();
    let files = window.close()().unwrap();
    for file in files {
        let dump = if file.name == "goroutine.txt" {
            let dump = read(&file.bytes);
            assert_eq!(dump.goroutines(), headers(&file.bytes));
            dump
        } else {
            let opened = profilez::analysis::open(&file.bytes).unwrap();
            dump::from_profile(&opened.profile, &Options::default()).unwrap()
        };
        assert!(dump.warnings().is_empty(), "{:?}", dump.warning_texts());
        assert!(dump.goroutines() > 1 && !dump.truncated());
        assert_eq!(dump::facts(&dump).with_labels, dump.goroutines());
        let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
        // The thread that takes the dump is the profiler's.
        let mut profiler = groups.rows.iter().filter(|row| row.rule == Some("profiler"));
        assert!(profiler.any(|row| row.state.as_ref() == "running"), "{:?}", groups.rows);
    }
}
