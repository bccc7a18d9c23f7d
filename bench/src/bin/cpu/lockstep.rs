//! The shares of loops that take the same CPU time each turn, from half a millisecond to forty, against what
//! they know of themselves: a sampler with a rhythm of its own keeps in step with one of them.
//!
//! Each loop has three parts, 60, 30 and 10 % of a turn, that end at exact times of its thread's CPU clock.
//! Loops at work all the time run two at a once, those that sleep between turns four. A loop whose shares are
//! beyond 3.5 standard deviations of independent samples is measured once more: of so many loops one or two
//! are that by chance, and the same one hardly ever twice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use profilez_bench::clock;
use profilez_bench::engine::{Engine, Sample};
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use profilez_bench::workload::turns;

/// The line.
pub(crate) const LINE: Line = Line { name: "lockstep", rows, child };

/// Loops from the shortest to the longest.
const LOOPS: u32 = 200;
const SHORTEST: u64 = 500_000;
const LONGEST: u64 = 40_000_000;
/// What one of them may be off by.
const SIGMA: f64 = 3.5;

fn rows(runner: &mut Runner) -> Vec<Row> {
    let (rates, every): (&[u32], u32) =
        if runner.quick { (&[100, 999], 5) } else { (&[99, 100, 250, 999], 1) };
    let mut rows = Vec::new();
    for &hz in rates {
        for sleeps in [0, 1] {
            // A run is a spread of loops already.
            let ours = runner.once(Engine::Ours, &[hz, sleeps, every]);
            let what =
                if sleeps == 1 { "that sleep between turns" } else { "at work all the time" };
            let row = |text: &str, figure| {
                Row::new(format!("{text}, {what}, {hz} Hz"), "").ours(ours.spread(figure))
            };
            rows.extend([
                row("loops in step: shares beyond 3.5 sigma twice", "in-step")
                    .bar(Bar::AtMost(0.0)),
                row("loops beyond 3.5 sigma once", "beyond"),
                row("worst loop's error in sigma, the better of two", "worst"),
                row("mean square of errors in sigma", "square"),
                row("samples taken / expected", "total").bar(Bar::Within(0.99, 1.01)),
            ]);
        }
    }
    rows
}

/// A loop, and what its thread has used in each of its parts.
struct Loop {
    turn: u64,
    sleeps: bool,
    used: [AtomicU64; 3],
}

impl Loop {
    fn read(&self) -> [f64; 3] {
        self.used.each_ref().map(|used| used.load(Ordering::Relaxed) as f64 / 1e9)
    }

    #[inline(never)]
    fn run(&self, stop: &AtomicBool) {
        let mut end = clock::thread_cpu_nanos();
        while !stop.load(Ordering::Relaxed) {
            end = first_part(self, end);
            end = second_part(self, end);
            end = third_part(self, end);
            if self.sleeps {
                thread::sleep(Duration::from_nanos(self.turn));
            }
        }
    }

    /// Works from one time of the thread's clock until so many tenths of a turn later.
    #[inline(always)]
    fn work(&self, part: usize, from: u64, tenths: u64) -> u64 {
        let end = from + self.turn * tenths / 10;
        let (begun, before) = (clock::thread_cpu_nanos(), self.used[part].load(Ordering::Relaxed));
        let mut now = begun;
        while now < end {
            turns(100);
            now = clock::thread_cpu_nanos();
            self.used[part].store(before + now - begun, Ordering::Relaxed);
        }
        end
    }
}

#[inline(never)]
fn first_part(of: &Loop, from: u64) -> u64 {
    of.work(0, from, 6)
}

#[inline(never)]
fn second_part(of: &Loop, from: u64) -> u64 {
    of.work(1, from, 3)
}

#[inline(never)]
fn third_part(of: &Loop, from: u64) -> u64 {
    of.work(2, from, 1)
}

/// How a loop was seen.
#[derive(Clone, Copy)]
struct Seen {
    index: u32,
    /// How far the worst part's share is off, in standard deviations of independent samples.
    sigma: f64,
    taken: f64,
    expected: f64,
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[hz, sleeps, every] = args else { panic!("rate, whether loops sleep, every how manieth") };
    let sleeps = sleeps == 1;
    let at_once = if sleeps { 4 } else { 2 };
    let all: Vec<u32> = (0..LOOPS).step_by(every as usize).collect();
    let watch_all = |indices: &[u32]| -> Vec<Seen> {
        indices.chunks(at_once).flat_map(|chunk| watch(engine, hz, sleeps, chunk)).collect()
    };
    let first = watch_all(&all);
    let beyond: Vec<Seen> = first.iter().copied().filter(|seen| seen.sigma > SIGMA).collect();
    let again = watch_all(&beyond.iter().map(|seen| seen.index).collect::<Vec<_>>());
    for (first, second) in beyond.iter().zip(&again) {
        let turn = length(first.index) as f64 / 1e6;
        eprintln!("a loop of {turn:.2} ms is off by {:.1} and {:.1}", first.sigma, second.sigma);
    }
    let better = beyond.iter().zip(&again).map(|(first, second)| first.sigma.min(second.sigma));
    let within = first.iter().map(|seen| seen.sigma).filter(|&sigma| sigma <= SIGMA);
    let sum = |value: fn(&Seen) -> f64| first.iter().map(value).sum::<f64>();
    figures([
        ("in-step", again.iter().filter(|seen| seen.sigma > SIGMA).count() as f64),
        ("beyond", beyond.len() as f64),
        ("worst", better.chain(within).fold(0.0, f64::max)),
        ("square", sum(|seen| seen.sigma * seen.sigma) / first.len() as f64),
        ("total", sum(|seen| seen.taken) / sum(|seen| seen.expected)),
    ])
}

fn length(index: u32) -> u64 {
    SHORTEST + (LONGEST - SHORTEST) * u64::from(index) / u64::from(LOOPS - 1)
}

/// Runs loops at the same time, in one window.
fn watch(engine: Engine, hz: u32, sleeps: bool, indices: &[u32]) -> Vec<Seen> {
    let loops: Vec<Loop> = indices
        .iter()
        .map(|&index| Loop { turn: length(index), sleeps, used: Default::default() })
        .collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (index, work) in indices.iter().zip(&loops) {
            let thread = thread::Builder::new().name(format!("loop-{index}"));
            let stop = &stop;
            thread.spawn_scoped(scope, move || work.run(stop)).expect("a thread starts");
        }
        while loops.iter().any(|work| work.read()[2] == 0.0) {
            thread::sleep(Duration::from_millis(1));
        }
        let sampling = engine.start(hz);
        let before: Vec<[f64; 3]> = loops.iter().map(Loop::read).collect();
        thread::sleep(Duration::from_millis(if sleeps { 1800 } else { 1200 }));
        let after: Vec<[f64; 3]> = loops.iter().map(Loop::read).collect();
        let samples = sampling.finish();
        stop.store(true, Ordering::Relaxed);
        let used = before.iter().zip(&after).map(|(before, after)| {
            [after[0] - before[0], after[1] - before[1], after[2] - before[2]]
        });
        indices.iter().zip(used).map(|(&index, used)| judge(&samples, index, used, hz)).collect()
    })
}

fn judge(samples: &[Sample], index: u32, used: [f64; 3], hz: u32) -> Seen {
    let name = format!("loop-{index}");
    let of_loop = || samples.iter().filter(|sample| sample.thread == name);
    let taken_of = |part: &str| -> f64 {
        let is_in = |sample: &&Sample| sample.functions.iter().any(|name| name.contains(part));
        of_loop().filter(is_in).map(|sample| sample.count).sum()
    };
    let taken = ["first_part", "second_part", "third_part"].map(taken_of);
    let in_parts: f64 = taken.iter().sum();
    let total: f64 = used.iter().sum();
    // Expirations between two ticks of the kernel see the same place: they count once.
    let independent = total * clock::ticks_per_second().min(hz.into());
    let sigma = |(taken, used): (&f64, &f64)| {
        let truth = used / total;
        (taken / in_parts - truth).abs() / (truth * (1.0 - truth) / independent).sqrt()
    };
    Seen {
        index,
        sigma: taken.iter().zip(&used).map(sigma).fold(0.0, f64::max),
        taken: of_loop().map(|sample| sample.count).sum(),
        expected: total * f64::from(hz),
    }
}
