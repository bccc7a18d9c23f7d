//! Dumps that Go programs write in their last moments and in odd ones: deadlocks, panics within
//! panics, texts that look like goroutines, names of every shape. Judged by what the program says of
//! itself and by a count of header lines.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use profilez::analysis::dump::{self, Dump, facts};

use crate::support::go::go;

fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let go = go()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("odd");
        fs::create_dir_all(&folder).unwrap();
        let (source, program) = (folder.join("odd.go"), folder.join("odd"));
        fs::write(&source, include_str!("../data/odd.go")).unwrap();
        // With C in it the runtime looks for no deadlock.
        let output = Command::new(go)
            .args(["build", "-o"])
            .args([&program, &source])
            .envs([("GO111MODULE", "off"), ("CGO_ENABLED", "0")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(program)
    };
    PROGRAM.get_or_init(build).as_deref()
}

/// A dump, and what the program says is in it.
struct Made {
    text: Vec<u8>,
    said: BTreeMap<String, u64>,
}

fn make(mode: &str, level: &str) -> Option<Made> {
    let mut odd = Command::new(program()?);
    odd.arg(mode).env("GOTRACEBACK", level);
    let settings = "tracebacklabels=1,tracebackancestors=10,asynctimerchan=0";
    let output = run(odd.env("GODEBUG", settings), &format!("{mode} {level}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = said.lines().filter_map(|line| line.split_once('\t'));
    let said = said.map(|(what, count)| (what.to_owned(), count.parse().expect(count))).collect();
    assert!(!output.stdout.is_empty(), "{mode} {level}: {said:?}");
    Some(Made { text: output.stdout, said })
}

/// Runs a program to its end. A runtime that tears itself down may hang; then it gets another chance.
fn run(command: &mut Command, what: &str) -> Output {
    for _ in 0..3 {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut out, mut said) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let read = |from: &mut dyn Read| {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let ended = thread::scope(|scope| {
            let out = scope.spawn(move || read(&mut out));
            let said = scope.spawn(move || read(&mut said));
            let begun = Instant::now();
            let status = loop {
                match child.try_wait().unwrap() {
                    None if begun.elapsed() < Duration::from_secs(20) => {
                        thread::sleep(Duration::from_millis(10));
                    }
                    status => break status,
                }
            };
            if status.is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            let (stdout, stderr) = (out.join().unwrap(), said.join().unwrap());
            status.map(|status| Output { status, stdout, stderr })
        });
        if let Some(output) = ended {
            return output;
        }
        eprintln!("{what} hangs");
    }
    panic!("{what} hangs each time");
}

/// How many goroutines are in each state, by their first lines alone. No real one is `fake`.
fn counted(text: &[u8]) -> BTreeMap<String, u64> {
    let mut states = BTreeMap::new();
    for line in String::from_utf8_lossy(text).lines() {
        let Some(rest) = line.strip_prefix("goroutine ").filter(|line| line.ends_with(':')) else {
            continue;
        };
        let state = rest.split_once(" [").unwrap().1.split([']', ',']).next().unwrap();
        let state = [" (scan)", " (leaked)", " (durable)"]
            .iter()
            .fold(state, |state, suffix| state.strip_suffix(suffix).unwrap_or(state));
        if state != "fake" {
            *states.entry(state.to_owned()).or_default() += 1;
        }
    }
    states
}

/// Reads a dump, which must hold every goroutine and nothing odd. Of two that panic at the same time one may list
/// the other, which then shows its stack a second time.
#[track_caller]
fn check(mode: &str, level: &str) -> Option<(Dump, Made)> {
    let made = make(mode, level)?;
    let dump = dump::parse(&made.text);
    let context = || format!("{mode} {level}\n{}", String::from_utf8_lossy(&made.text));
    assert_eq!(dump.by_state(), counted(&made.text), "{}", context());
    assert_eq!(dump.goroutines(), dump.by_state().values().sum::<u64>());
    let firsts = String::from_utf8_lossy(&made.text);
    let firsts = firsts.lines().filter(|line| line.starts_with("goroutine 1 [")).count();
    let twice = (firsts > 1).then(|| format!("goroutine 1 is there {firsts} times: "));
    let warnings = dump.warning_texts();
    assert_eq!(warnings.len(), usize::from(twice.is_some()), "{warnings:?} {}", context());
    assert!(
        warnings.iter().zip(&twice).all(|(said, twice)| said.starts_with(twice)),
        "{warnings:?}"
    );
    assert!(!dump.truncated(), "{}", context());
    Some((dump, made))
}

#[test]
fn deadlocks_are_read() {
    let states = [
        ("receive", "chan receive"),
        ("nil", "chan receive (nil chan)"),
        ("nocases", "select (no cases)"),
        ("mutex", "sync.Mutex.Lock"),
        ("rlock", "sync.RWMutex.RLock"),
        ("cond", "sync.Cond.Wait"),
        ("group", "sync.WaitGroup.Wait"),
        ("locked", "chan receive"),
    ];
    for (mode, state) in states {
        let Some((dump, made)) = check(mode, "all") else { return };
        assert_eq!(dump.goroutines(), made.said["goroutines"], "{mode}");
        let main = dump.groups().find(|group| group.ids() == [1]).expect(mode);
        assert_eq!(main.state(), state);
        assert_eq!(main.locked(), u64::from(mode == "locked"));
    }
    let (dump, made) = check("goexit", "all").unwrap();
    // The main one is no more.
    assert_eq!(dump.goroutines(), made.said["goroutines"] - 1);
}

#[test]
fn no_panic_hides_or_makes_a_goroutine() {
    let alone = [
        "forged",
        "error",
        "stringer",
        "text",
        "wrapped",
        "repanic",
        "chain",
        "recovered",
        "indefer",
        "fault",
        "division",
        "bounds",
        "close",
        "unlock",
        "println",
        "exitin",
    ];
    for mode in alone {
        let Some((dump, made)) = check(mode, "all") else { return };
        assert_eq!(dump.goroutines(), made.said["goroutines"], "{mode}");
        assert_eq!(dump.by_state()["running"], 1, "{mode}");
    }
    // These end with more than they had, or with the runtime's own.
    for mode in
        ["inerror", "overflow", "overflowother", "map", "abort", "other", "two", "deep", "quitbusy"]
    {
        for level in ["all", "system", "crash", "single"] {
            let (dump, made) = check(mode, level).unwrap();
            assert!(level == "single" || dump.goroutines() >= made.said["goroutines"], "{mode}");
            let partial = level != "single" && matches!(mode, "overflowother" | "deep");
            assert!(!partial || facts(&dump).partial_stacks >= 1, "{mode} {level}");
        }
    }
}

#[test]
fn names_of_every_shape_are_told_apart() {
    let Some((dump, made)) = check("names", "all") else { return };
    assert_eq!(dump.goroutines(), made.said["goroutines"]);
    assert_eq!(dump.group_count() as u64, made.said["groups"] + 1);
    let names: Vec<_> =
        dump.groups().flat_map(|group| group.stack()).map(|frame| frame.function).collect();
    for name in [
        "main.(*pair[...]).wait",
        "main.pair[...].byValue.func1",
        "main.inner.Wait",
        "main.generic[...]",
        "main.names.func1.1.1",
        "main.newer.func1-range1-range1",
    ] {
        let found = names.iter().any(|found| found.contains(name.trim_start_matches("main.")));
        assert!(found, "{name} in {names:#?}");
    }
    assert!(names.iter().all(|name| !name.contains(['{', ' '])), "{names:#?}");
}

#[test]
fn labels_forge_nothing() {
    let Some((dump, made)) = check("labels", "all") else { return };
    assert_eq!(dump.goroutines(), made.said["goroutines"]);
    assert_eq!(facts(&dump).with_labels, made.said["labelled"]);
    let labels: Vec<_> = dump.groups().flat_map(|group| group.labels()).collect();
    for value in ["\u{fffd}\u{fffd}", "\0\x1b[31m", "ключ", "\u{2028}", "🙂", "]:", "a: b, c: d"]
    {
        assert!(labels.iter().any(|label| label.1 == value), "{value:?} in {labels:?}");
    }
    let forged = labels.iter().find(|label| label.1.starts_with("oh\r\n\ngoroutine 99 [fake]:\n"));
    assert_eq!(forged.map(|label| label.1.len()), Some(made.said["forged"] as usize));
    // In `debug=1` too.
    let Some(Made { text, said }) = make("labels1", "all") else { return };
    let dump = dump::parse(&text);
    let facts = facts(&dump);
    assert_eq!((facts.format, facts.goroutines), ("debug1", said["goroutines"]));
    assert_eq!((facts.with_labels, facts.warnings), (5, vec![]));
}

#[test]
fn other_odd_dumps_are_read() {
    let Some((dump, made)) = check("ancestors", "all") else { return };
    assert_eq!(dump.goroutines(), made.said["goroutines"]);
    let most = dump.groups().map(|group| group.ancestors().len()).max();
    assert_eq!(most, Some(7));
    let (dump, made) = check("synctest", "all").unwrap();
    assert_eq!(dump.goroutines(), made.said["goroutines"]);
    assert_eq!(dump.by_state()["sync.WaitGroup.Wait"], 1);
    let (dump, made) = check("leak", "all").unwrap();
    assert_eq!(dump.goroutines(), made.said["goroutines"]);
    let tagged = String::from_utf8_lossy(&made.text).matches(" (leaked)]:").count();
    assert_eq!(facts(&dump).leaked, tagged as u64);
    assert!(tagged >= 5, "{tagged}");
    check("timeout", "all").unwrap();
    for level in ["all", "system", "crash"] {
        let (dump, made) = check("system", level).unwrap();
        assert!(dump.goroutines() >= made.said["goroutines"], "{level}");
        assert!(dump.is_crash());
    }
    // What a program logs of itself, text and stacks mixed.
    let made = make("stacks", "all").unwrap();
    let dump = dump::parse(&made.text);
    assert_eq!((dump.goroutines(), dump.by_state()), (3, counted(&made.text)));
    assert!(!dump.truncated());
}
