//! A `debug=2` dump of 112 MB: parse, group and classify, on one thread and on two, and the memory
//! that takes beyond the input. Beside it a parser as one writes it in an afternoon: line by line,
//! with regular expressions and a string for each stack.

use std::collections::HashMap;
use std::fs;
use std::time::Instant;

use profile_analysis::dump::{self, Dump, Options};
use profile_analysis::groups::{GroupOptions, group};
use profile_analysis::rules::RuleSet;
use profilez_bench::clock::process_cpu;
use profilez_bench::engine::Engine;
use profilez_bench::memory::resident_megabytes;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};

use crate::generate::{GROUPS, goroutines};

/// The line.
pub(crate) const LINE: Line = Line { name: "dumps", rows, child };

const GOROUTINES: u64 = 117_000;
/// How often a child does it; the median counts.
const TIMES: usize = 7;

fn rows(runner: &mut Runner) -> Vec<Row> {
    // Nothing of ours is the yardstick.
    let [ours, naive] = runner.pairs([Engine::Ours, Engine::None], &[1]);
    let [two] = runner.pairs([Engine::Ours], &[2]);
    let [pieces] = runner.pairs([Engine::Ours], &[0]);
    let groups = GROUPS as f64;
    vec![
        Row::new("debug=2 of 112 MB, CPU of one thread", "GB/s")
            .ours(ours.spread("cpu"))
            .peer(naive.spread("cpu"))
            .bar(Bar::AtLeast(1.5)),
        Row::new("the same in pieces of 256 KiB", "GB/s").ours(pieces.spread("cpu")),
        Row::new("the same on two threads, wall time", "GB/s")
            .ours(two.spread("wall"))
            .bar(Bar::AtLeast(2.5)),
        Row::new("its groups, of which there are 40", "")
            .ours(ours.spread("groups"))
            .peer(naive.spread("groups"))
            .bar(Bar::Within(groups, groups)),
        Row::new("memory beyond the input", "MB")
            .ours(ours.spread("memory"))
            .peer(naive.spread("memory"))
            .bar(Bar::AtMost(32.0)),
        Row::new("the same on two threads", "MB").ours(two.spread("memory")).bar(Bar::AtMost(32.0)),
    ]
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[threads] = args else { panic!("how many threads") };
    let text = goroutines(GOROUTINES);
    let before = resident_megabytes();
    let (mut cpu, mut wall, mut groups) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TIMES {
        let (clock, used) = (Instant::now(), process_cpu());
        groups = match engine {
            Engine::None => naive::groups(&text),
            _ => judged(&read(&text, threads)),
        };
        cpu.push(text.len() as f64 / 1e9 / (process_cpu() - used));
        wall.push(text.len() as f64 / 1e9 / clock.elapsed().as_secs_f64());
    }
    let median = |values: Vec<f64>| Spread::of(values).expect("it was done").median;
    figures([
        ("cpu", median(cpu)),
        ("wall", median(wall)),
        ("groups", groups as f64),
        ("memory", peak_megabytes() - before),
    ])
}

fn read(text: &[u8], threads: u32) -> Dump {
    let options = Options::default();
    if threads > 0 {
        return dump::parse_on(threads as usize, text, &options);
    }
    let mut parser = dump::Parser::new(&options);
    text.chunks(256 << 10).for_each(|piece| parser.feed(piece));
    parser.finish()
}

fn judged(dump: &Dump) -> usize {
    assert_eq!(dump.goroutines(), GOROUTINES, "goroutines are lost");
    group(dump, RuleSet::shipped(), &GroupOptions::default()).rows.len()
}

/// The most memory the process has ever had.
pub(crate) fn peak_megabytes() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.expect("status has a line for the peak") / 1024.0
}

mod naive {
    use regex::Regex;

    use super::HashMap;

    /// Groups by state, functions, places and creator.
    pub(super) fn groups(text: &[u8]) -> usize {
        let text = std::str::from_utf8(text).expect("the dump is UTF-8");
        let header =
            Regex::new(r"^goroutine (\d+) \[([^,\]]+)(?:, (\d+) minutes)?[^\]]*\]:$").unwrap();
        let function =
            Regex::new(r"^(?:created by )?(.+?)(?:\([^()]*\)| in goroutine \d+)$").unwrap();
        let place = Regex::new(r"^\t(.+:\d+)(?: \+0x[0-9a-f]+)?$").unwrap();
        let mut groups: HashMap<String, u64> = HashMap::new();
        let mut key = String::new();
        for line in text.lines() {
            if line.is_empty() {
                *groups.entry(std::mem::take(&mut key)).or_default() += 1;
            } else if let Some(found) = header.captures(line) {
                key.push_str(&found[2]);
            } else if let Some(found) = place.captures(line).or_else(|| function.captures(line)) {
                key.push('\n');
                key.push_str(&found[1]);
            }
        }
        groups.len()
    }
}
