//! Dumps that are made to hurt: each has to be read in a second and in 64 MB, and to say what is
//! wrong with it.

use std::io::Write as _;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use profile_analysis::dump::{self, Options};
use profile_analysis::groups::{GroupOptions, goroutines_json, group};
use profile_analysis::rules::RuleSet;
use profilez_bench::engine::Engine;
use profilez_bench::memory::resident_megabytes;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};

use crate::dumps::peak_megabytes;

/// The line.
pub(crate) const LINE: Line = Line { name: "hostile", rows, child };

/// An input's name, and the input.
type Input = (&'static str, fn() -> Vec<u8>);

const INPUTS: [Input; 9] = [
    ("one line of 64 MB", || {
        b"goroutine 1 [running]:\n".iter().copied().chain(many("x", 64 << 20)).collect()
    }),
    ("a stack of 200 k frames", || {
        frames("goroutine 1 [running]:\n", 200_000, |n| format!("main.f{n}()\n\t/a.go:{n}\n"))
    }),
    ("one frame 1 M times", || {
        frames("goroutine 1 [running]:\n", 1_000_000, |_| "main.f()\n\t/a.go:1\n".to_owned())
    }),
    ("200 k goroutines that all differ", || {
        frames("", 200_000, |n| {
            format!(
                "goroutine {n} [s{n}, {n} minutes] {{k{n}: v{n}}}:\nmain.f{n}()\n\t/a.go:{n}\n\n"
            )
        })
    }),
    ("500 k goroutines with labels that differ", || {
        frames("", 500_000, |n| format!("goroutine {n} [s] {{k: v{n}}}:\nmain.f()\n\t/a.go:1\n\n"))
    }),
    ("parentheses", || {
        let line = format!("f{}\n\t/a.go:1\n", "((((((()".repeat(8000));
        frames("goroutine 1 [running]:\n", 500, |_| line.clone())
    }),
    ("quotes that don't end", || {
        let line = format!("goroutine 1 [s] {{a: \"{}\n", "\\\"".repeat(30_000));
        frames("", 500, |_| line.clone())
    }),
    ("siblings in the worst order", || {
        frames("", 300_000, |n| format!("goroutine 1 [s]:\nmain.f{}()\n\t/a.go:1\n\n", n % 5000))
    }),
    ("a gzip'd bomb of 8 GB", bomb),
];

fn many(text: &str, length: usize) -> impl Iterator<Item = u8> {
    text.bytes().cycle().take(length)
}

fn frames(start: &str, count: u32, frame: impl Fn(u32) -> String) -> Vec<u8> {
    let mut text = start.to_owned();
    (0..count).for_each(|n| text.push_str(&frame(n)));
    text.into_bytes()
}

fn bomb() -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(b"goroutine 1 [running]:\n").expect("memory takes it");
    let zeros = vec![0; 1 << 20];
    (0..8 << 10).for_each(|_| packed.write_all(&zeros).expect("memory takes it"));
    packed.finish().expect("memory takes it")
}

fn rows(runner: &mut Runner) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, (what, _)) in INPUTS.iter().enumerate() {
        let [ours] = runner.pairs([Engine::Ours], &[index as u32]);
        let row = |unit, figure: &str| {
            Row::new(format!("hostile dump: {what}"), unit).ours(ours.spread(figure))
        };
        rows.push(row("s", "seconds").bar(Bar::AtMost(1.0)));
        rows.push(row("MB", "memory").bar(Bar::AtMost(64.0)));
    }
    rows
}

fn child(_engine: Engine, args: &[u32]) -> Figures {
    let &[index] = args else { panic!("which input") };
    let text = INPUTS[index as usize].1();
    // What making it took is no matter, and the kernel forgets the peak on request.
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
    let before = resident_megabytes();
    let begun = Instant::now();
    let dump = dump::parse_packed(&text, &Options::default());
    let groups = group(&dump, RuleSet::shipped(), &GroupOptions::default());
    serde_json::to_writer(std::io::sink(), &goroutines_json(&groups, None, None))
        .expect("it is JSON");
    figures([("seconds", begun.elapsed().as_secs_f64()), ("memory", peak_megabytes() - before)])
}
