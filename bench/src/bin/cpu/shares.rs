//! The share of a function, of its caller and of threads that mostly wait, against what the
//! workload knows of itself.
//!
//! Three threads work about 60, 30 and 10 % of the time. Each calls a leaf function from two
//! callers, which also work themselves; every function counts the turns it makes, so that the truth
//! is exact.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use profilez_bench::clock;
use profilez_bench::engine::{Engine, Sample};
use profilez_bench::random::Random;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use profilez_bench::workload::{Meter, readings, turns, wait_for_start};

/// The line.
pub(crate) const LINE: Line = Line { name: "shares", rows, child };

/// How much of the time each thread works.
const DUTIES: [f64; 3] = [0.6, 0.3, 0.1];

fn rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 3000 } else { 6000 };
    let mut rows = Vec::new();
    for hz in [100, 999] {
        let [ours, peer] = runner.pairs([Engine::Ours, Engine::Pprof], &[hz, millis]);
        let row = |what: &str, unit, figure| {
            Row::new(format!("{what}, {hz} Hz"), unit)
                .ours(ours.spread(figure))
                .peer(peer.spread(figure))
        };
        rows.extend([
            row("error of a leaf's share", "sigma", "leaf-sigma").bar(Bar::AtMost(3.0)),
            row("error of a leaf's share", "points", "leaf"),
            row("error of its caller's share", "sigma", "caller-sigma").bar(Bar::AtMost(3.0)),
            row("error of its caller's share", "points", "caller"),
        ]);
        let threads = "error of the share of a thread at work 60, 30 or 10 % of the time";
        rows.push(if hz == 999 {
            row(threads, "points", "thread").bar(Bar::AtMost(1.0))
        } else {
            row(threads, "sigma", "thread-sigma").bar(Bar::AtMost(3.0))
        });
    }
    rows
}

/// Turns that were made, all threads together.
#[derive(Default)]
struct Turns {
    leaf: AtomicU64,
    /// In the first caller and in the leaf below it.
    first_caller: AtomicU64,
    all: AtomicU64,
}

impl Turns {
    fn read(&self) -> [f64; 3] {
        [&self.leaf, &self.first_caller, &self.all]
            .map(|turns| turns.load(Ordering::Relaxed) as f64)
    }
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[hz, millis] = args else { panic!("rate, milliseconds") };
    let (made, stop) = (Turns::default(), AtomicBool::new(false));
    let meters = DUTIES.map(|_| Meter::default());
    thread::scope(|scope| {
        for (index, meter) in meters.iter().enumerate() {
            let thread = thread::Builder::new().name(format!("part-{index}"));
            let (made, stop) = (&made, &stop);
            let work = move || work(DUTIES[index], index as u64, made, meter, stop);
            thread.spawn_scoped(scope, work).expect("a thread starts");
        }
        wait_for_start(&meters);
        let sampling = engine.start(hz);
        let (turns_before, cpu_before) = (made.read(), readings(&meters));
        thread::sleep(Duration::from_millis(millis.into()));
        let (turns_after, cpu_after) = (made.read(), readings(&meters));
        let samples = sampling.finish();
        stop.store(true, Ordering::Relaxed);

        let turns: Vec<f64> = turns_after.iter().zip(turns_before).map(|(a, b)| a - b).collect();
        let cpu: Vec<f64> = cpu_after.iter().zip(cpu_before).map(|(a, b)| a - b).collect();
        judge(&samples, &turns, &cpu, hz)
    })
}

fn judge(samples: &[Sample], turns: &[f64], cpu: &[f64], hz: u32) -> Figures {
    let in_work = |sample: &&Sample| is(sample, 0, "leaf_of") || is(sample, 0, "caller_of");
    let count = |chosen: &dyn Fn(&Sample) -> bool| -> f64 {
        let chosen = samples.iter().filter(in_work).filter(|sample| chosen(sample));
        chosen.map(|sample| sample.count).sum()
    };
    let all = count(&|_| true);
    let total: f64 = cpu.iter().sum();
    // Expirations between two ticks of the kernel see the same place: they count once.
    let independent = (total * clock::ticks_per_second().min(hz.into())).min(all);
    let error = |share: f64, truth: f64| {
        let sigma = (truth * (1.0 - truth) / independent).sqrt();
        (100.0 * (share - truth).abs(), (share - truth).abs() / sigma)
    };

    let (leaf, leaf_sigma) = error(count(&|s| is(s, 0, "leaf_of")) / all, turns[0] / turns[2]);
    let below_first = |sample: &Sample| {
        is(sample, 0, "first_caller_of")
            || is(sample, 0, "leaf_of") && is(sample, 1, "first_caller_of")
    };
    let (caller, caller_sigma) = error(count(&below_first) / all, turns[1] / turns[2]);
    let threads: Vec<(f64, f64)> = cpu
        .iter()
        .enumerate()
        .map(|(index, cpu)| {
            let name = format!("part-{index}");
            error(count(&|sample| sample.thread == name) / all, cpu / total)
        })
        .collect();
    figures([
        ("leaf", leaf),
        ("leaf-sigma", leaf_sigma),
        ("caller", caller),
        ("caller-sigma", caller_sigma),
        ("thread", threads.iter().map(|error| error.0).fold(0.0, f64::max)),
        ("thread-sigma", threads.iter().map(|error| error.1).fold(0.0, f64::max)),
    ])
}

/// Whether the function so many frames above the leaf has this in its name.
fn is(sample: &Sample, above: usize, name: &str) -> bool {
    sample.functions.get(above).is_some_and(|function| function.contains(name))
}

/// Works a part of slices of about 10 milliseconds and sleeps for the rest.
fn work(duty: f64, seed: u64, made: &Turns, meter: &Meter, stop: &AtomicBool) {
    let mut random = Random::new(seed);
    while !stop.load(Ordering::Relaxed) {
        let slice = random.between(5_000, 15_000) as f64 / 1e6;
        let (begun, cpu) = (Instant::now(), clock::thread_cpu());
        while clock::thread_cpu() - cpu < duty * slice {
            // Long enough that reading the clocks between them does not count.
            for _ in 0..4 {
                first_caller_of_leaf(&mut random, made);
                second_caller_of_leaf(&mut random, made);
            }
        }
        meter.read();
        thread::sleep(Duration::from_secs_f64(slice).saturating_sub(begun.elapsed()));
    }
}

/// Two thirds of the work, of which the leaf does three quarters.
#[inline(never)]
fn first_caller_of_leaf(random: &mut Random, made: &Turns) {
    let own = random.between(3_000, 7_000);
    turns(own);
    let below = leaf_of_both(random.between(9_000, 21_000), made);
    made.first_caller.fetch_add(own + below, Ordering::Relaxed);
    made.all.fetch_add(own, Ordering::Relaxed);
}

/// One third of the work, of which the leaf does three quarters.
#[inline(never)]
fn second_caller_of_leaf(random: &mut Random, made: &Turns) {
    let own = random.between(1_500, 3_500);
    turns(own);
    leaf_of_both(random.between(4_500, 10_500), made);
    made.all.fetch_add(own, Ordering::Relaxed);
}

#[inline(never)]
fn leaf_of_both(count: u64, made: &Turns) -> u64 {
    turns(count);
    made.leaf.fetch_add(count, Ordering::Relaxed);
    made.all.fetch_add(count, Ordering::Relaxed);
    count
}
