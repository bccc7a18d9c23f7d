//! How much of the time that threads waited is in the profile, by where they waited.

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use profile_core::collect::BlockProfile;
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use profilez_bench::workload::turns;

use crate::profile::{sum, window};
use crate::sites::{self, SITES};

/// Every wait is recorded, holds of a millisecond and more.
pub(crate) const LINE: Line = Line { name: "truth", rows, child };
/// Every wait is recorded, holds of 20 µs.
pub(crate) const SHORT: Line = Line { name: "short", rows: short_rows, child: short_child };
/// Sampled at the default rate.
pub(crate) const SAMPLED: Line = Line { name: "sampled", rows: sampled_rows, child: sampled_child };

fn rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 2000 } else { 4000 };
    let [ours] = runner.pairs([Engine::Ours], &[millis, 1500]);
    let row = |&site: &&'static str| {
        Row::new(format!("estimated / true wait, holds of 1.5 ms, {site}"), "")
            .ours(ours.spread(site))
            .bar(Bar::Within(0.98, 1.02))
    };
    SITES.iter().map(row).collect()
}

fn child(_: Engine, args: &[u32]) -> Figures {
    let &[millis, hold] = args else { panic!("milliseconds of the run, microseconds of a hold") };
    let mut truth = Vec::new();
    let profile = window(&BlockProfile::new().rate(1), || {
        let (time, hold) =
            (Duration::from_millis(millis.into()), Duration::from_micros(hold.into()));
        truth = sites::run(time, hold);
    });
    let ratio = |(site, waits): (&&str, &Vec<u64>)| {
        let truth = waits.iter().sum::<u64>() as f64;
        ((*site).to_owned(), sum(&profile, 1, site) / truth)
    };
    SITES.iter().zip(&truth).map(ratio).collect()
}

fn short_rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 2000 } else { 4000 };
    let [ours] = runner.pairs([Engine::Ours], &[millis, 2]);
    vec![
        Row::new("estimated / true wait, holds of 20 µs, std Mutex, 2 threads", "")
            .ours(ours.spread("ratio"))
            .bar(Bar::AtLeast(0.95)),
    ]
}

fn short_child(_: Engine, args: &[u32]) -> Figures {
    let &[millis, threads] = args else { panic!("milliseconds of the run, threads") };
    let mut truth = 0;
    let profile = window(&BlockProfile::new().rate(1), || {
        truth = fight(Duration::from_millis(millis.into()), threads).1;
    });
    figures([("ratio", sum(&profile, 1, "lock_held_briefly") / truth as f64)])
}

/// Threads fight for a lock that each holds for 20 µs at a time, and do as much without it. How often
/// it was locked, and nanoseconds of waiting for it.
pub(crate) fn fight(time: Duration, threads: u32) -> (u64, u64) {
    let (lock, stop) = (Mutex::new(()), AtomicBool::new(false));
    thread::scope(|scope| {
        let fighting: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut sums = (0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        sums.1 += lock_held_briefly(&lock);
                        sums.0 += 1;
                        busy(Duration::from_micros(20));
                    }
                    sums
                })
            })
            .collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let sums = fighting.into_iter().map(|thread| thread.join().expect("it does not panic"));
        sums.fold((0, 0), |(locks, waited), (l, w)| (locks + l, waited + w))
    })
}

#[inline(never)]
fn lock_held_briefly(lock: &Mutex<()>) -> u64 {
    let began = Instant::now();
    let guard = lock.lock();
    let waited = began.elapsed().as_nanos() as u64;
    busy(Duration::from_micros(20));
    drop(guard);
    black_box(waited)
}

fn busy(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        turns(100);
    }
}

fn sampled_rows(runner: &mut Runner) -> Vec<Row> {
    let [ours] = runner.pairs([Engine::Ours], &[10_000, 300]);
    let row = |&site: &&'static str| {
        let what = format!("sampled at the default rate, holds of 300 µs, {site}");
        Row::new(what, "sigma").ours(ours.spread(site)).bar(Bar::Within(-3.0, 3.0))
    };
    let mut rows: Vec<Row> = SITES.iter().map(row).collect();
    // The mean of all sites over all runs: what is left of chance shows a bias.
    let mean = "the same, mean over the sites";
    rows.push(Row::new(mean, "sigma").ours(ours.spread("mean")).bar(Bar::Within(-1.3, 1.3)));
    rows
}

/// How many standard deviations the estimate is off the truth.
fn sampled_child(_: Engine, args: &[u32]) -> Figures {
    const RATE: f64 = 1e6;
    let &[millis, hold] = args else { panic!("milliseconds of the run, microseconds of a hold") };
    let mut truth = Vec::new();
    let profile = window(&BlockProfile::new(), || {
        let (time, hold) =
            (Duration::from_millis(millis.into()), Duration::from_micros(hold.into()));
        truth = sites::run(time, hold);
    });
    let sigmas = |(site, waits): (&&str, &Vec<u64>)| {
        let truth = waits.iter().sum::<u64>() as f64;
        // A wait of d below the rate r is r with the chance d/r, and else nothing.
        let variance = |&wait: &u64| (wait as f64) * (RATE - wait as f64).max(0.0);
        let sigma = waits.iter().map(variance).sum::<f64>().sqrt();
        ((*site).to_owned(), (sum(&profile, 1, site) - truth) / sigma)
    };
    let mut sigmas: Figures = SITES.iter().zip(&truth).map(sigmas).collect();
    let mean = sigmas.values().sum::<f64>() / sigmas.len() as f64;
    sigmas.insert("mean".to_owned(), mean);
    sigmas
}
