//! A `debug=2` dump as logs pass it on, with a prefix before each line or each line in JSON:
//! parsing, on one thread. Speeds are of what the log wrote.

use std::hint::black_box;

use profile_analysis::dump;
use profilez_bench::clock::process_cpu;
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};

use crate::generate::{GROUPS, goroutines};

/// The line of dumps with a prefix.
pub(crate) const PREFIXED: Line = Line { name: "prefixed", rows: prefixed_rows, child };
/// The line of dumps in JSON.
pub(crate) const JSON: Line = Line { name: "json", rows: json_rows, child };

const GOROUTINES: u64 = 40_000;
/// How often a child does it; the median counts.
const TIMES: usize = 5;

/// What a log makes of a line, given with its number.
type LogForm = fn(usize, &str, &mut String);

const FORMS: [(&str, LogForm); 6] = [
    ("journald", |n, line, out| {
        let (minute, second, micros) = (n / 60_000 % 60, n / 1000 % 60, n * 37 % 1_000_000);
        *out +=
            &format!("Apr 09 00:{minute:02}:{second:02}.{micros:06} host-1 shop[4192]: {line}\n");
    }),
    ("CRI", |n, line, out| {
        *out += &format!("2026-10-02T11:22:33.{:09}Z stderr F {line}\n", n * 1237 % 1_000_000_000);
    }),
    ("rsyslog, tabs escaped", |n, line, out| {
        let line = line.replace('\t', "#011");
        *out += &format!("Apr  9 00:{:02}:07 host-1 shop[4192]: {line}\n", n / 1000 % 60);
    }),
    ("json-file", |n, line, out| {
        let line = line.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t");
        let nanos = n * 1237 % 1_000_000_000;
        *out += &format!(
            "{{\"log\":\"{line}\\n\",\"stream\":\"stderr\",\"time\":\"2026-10-02T11:22:33.{nanos:09}Z\"}}\n"
        );
    }),
    ("go test -json", |_, line, out| {
        let line = line.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t");
        *out += &format!(
            "{{\"Time\":\"2026-11-30T14:39:06.853146507Z\",\"Action\":\"output\",\"Package\":\"example.com/shop\",\
             \"Test\":\"TestCart\",\"Output\":\"{line}\\n\"}}\n"
        );
    }),
    ("one text of JSON", |n, line, out| {
        let line = line.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t");
        let begin = if n == 0 { "{\"level\":\"error\",\"stacktrace\":\"" } else { "" };
        *out += &format!("{begin}{line}\\n");
    }),
];

fn prefixed_rows(runner: &mut Runner) -> Vec<Row> {
    (0..3).map(|form| row(runner, form)).collect()
}

fn json_rows(runner: &mut Runner) -> Vec<Row> {
    (3..6).map(|form| row(runner, form)).collect()
}

fn row(runner: &mut Runner, form: u32) -> Row {
    let [ours] = runner.pairs([Engine::Ours], &[form]);
    let (name, _) = FORMS[form as usize];
    Row::new(format!("a dump as {name} has it"), "GB/s of CPU")
        .ours(ours.spread("speed"))
        .bar(Bar::AtLeast(1.0))
}

fn child(_: Engine, args: &[u32]) -> Figures {
    let text = goroutines(GOROUTINES);
    let text = String::from_utf8(text).expect("the dump is UTF-8");
    let (_, form) = FORMS[args[0] as usize];
    let mut log = String::new();
    text.lines().enumerate().for_each(|(n, line)| form(n, line, &mut log));
    let mut speeds = Vec::new();
    for _ in 0..TIMES {
        let begun = process_cpu();
        let dump = black_box(dump::parse(log.as_bytes()));
        speeds.push(log.len() as f64 / 1e9 / (process_cpu() - begun));
        assert_eq!((dump.goroutines(), dump.group_count()), (GOROUTINES, GROUPS));
    }
    figures([("speed", Spread::of(speeds).map_or(0.0, |speeds| speeds.median))])
}
