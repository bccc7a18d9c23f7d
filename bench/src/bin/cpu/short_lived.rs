//! How much of the CPU time of threads that live for milliseconds only is accounted for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use profilez_bench::clock;
use profilez_bench::engine::Engine;
use profilez_bench::random::Random;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use profilez_bench::workload::turns;

/// The line.
pub(crate) const LINE: Line = Line { name: "short-lived", rows, child };

fn rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 3000 } else { 5000 };
    let mut rows = Vec::new();
    for hz in [100, 999] {
        for (least, most) in [(1, 20), (1, 2), (5, 6)] {
            let [ours, peer] =
                runner.pairs([Engine::Ours, Engine::Pprof], &[hz, millis, least, most]);
            let what = format!("CPU accounted for, threads of {least}–{most} ms, {hz} Hz");
            let row =
                Row::new(what, "").ours(ours.spread("accounted")).peer(peer.spread("accounted"));
            // More than there was would be as wrong as less.
            rows.push(if most == 20 {
                row.bar(Bar::AtLeast(0.95)).bar(Bar::AtMost(1.05))
            } else {
                row
            });
        }
    }
    rows
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[hz, millis, least, most] = args else {
        panic!("rate, milliseconds of the run, of the shortest and of the longest life")
    };
    let stop = AtomicBool::new(false);
    let sampling = engine.start(hz);
    let cpu: f64 = thread::scope(|scope| {
        let spawners: Vec<_> = (0..2)
            .map(|seed| {
                let stop = &stop;
                scope.spawn(move || spawn_and_join(seed, least, most, stop))
            })
            .collect();
        thread::sleep(Duration::from_millis(millis.into()));
        stop.store(true, Ordering::Relaxed);
        spawners.into_iter().map(|spawner| spawner.join().expect("it does not panic")).sum()
    });
    let samples = sampling.finish();
    let taken: f64 = samples
        .iter()
        .filter(|sample| sample.functions.iter().any(|name| name.contains("short_life")))
        .map(|sample| sample.count)
        .sum();
    figures([("accounted", taken / f64::from(hz) / cpu)])
}

/// One thread after the other. The CPU time that they used, by their own clocks.
fn spawn_and_join(seed: u64, least: u32, most: u32, stop: &AtomicBool) -> f64 {
    let mut random = Random::new(seed);
    let mut cpu = 0.0;
    while !stop.load(Ordering::Relaxed) {
        let micros = random.between(u64::from(least) * 1000, u64::from(most) * 1000);
        let life = thread::spawn(move || short_life(micros as f64 / 1e6));
        cpu += life.join().expect("arithmetic does not panic");
    }
    cpu
}

#[inline(never)]
fn short_life(seconds: f64) -> f64 {
    let begun = clock::thread_cpu();
    loop {
        turns(30_000);
        let used = clock::thread_cpu() - begun;
        if used >= seconds {
            return used;
        }
    }
}
