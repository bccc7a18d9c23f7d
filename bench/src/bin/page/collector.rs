//! The statistics collector: its thread's CPU time in a process of 100 threads, and its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use profile_core::stats::{Settings, Stats};
use profilez_bench::clock::process_cpu;
use profilez_bench::engine::Engine;
use profilez_bench::memory::resident_megabytes;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};

/// The line.
pub(crate) const LINE: Line = Line { name: "collector", rows, child };

const THREADS: u32 = 100;

fn rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 2000 } else { 4000 };
    let [ours] = runner.pairs([Engine::Ours], &[millis]);
    vec![
        Row::new("the collector at its period of 10 s, 100 threads", "% of a core")
            .ours(ours.spread("percent"))
            .bar(Bar::AtMost(0.05)),
        Row::new("memory of the collector and its full ring", "MB")
            .ours(ours.spread("memory"))
            .bar(Bar::AtMost(1.0)),
    ]
}

fn child(_engine: Engine, args: &[u32]) -> Figures {
    let &[millis] = args else { panic!("milliseconds") };
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let stop = Arc::clone(&stop);
            let idle = move || {
                while !stop.load(Ordering::Relaxed) {
                    thread::park();
                }
            };
            thread::Builder::new().stack_size(128 << 10).spawn(idle).expect("a thread")
        })
        .collect();
    // Looks a thousand times as often as by default, into a ring of the default's 31 points.
    let settings = || Settings {
        period: Duration::from_millis(10),
        keep: Duration::from_millis(300),
        ..Settings::default()
    };
    thread::sleep(Duration::from_millis(200));
    resident_megabytes();
    let memory = resident_megabytes();
    let stats = Stats::start(settings()).expect("a collector");
    thread::sleep(Duration::from_millis(500));
    let memory = resident_megabytes() - memory;
    let (before, looks) = (process_cpu(), stats.history());
    thread::sleep(Duration::from_millis(millis.into()));
    let spent = process_cpu() - before;
    let after = stats.history();
    let passed = |points: &[profile_core::stats::Point]| points.last().expect("a look").taken;
    let window = passed(&after).duration_since(passed(&looks)).expect("a clock that goes on");
    let interval = after.last().and_then(|point| point.interval).expect("an interval");
    let count = window.as_secs_f64() / interval.as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.thread().unpark();
        thread.join().expect("an idle thread");
    }
    figures([("percent", 100.0 * spent / count / 10.0), ("memory", memory)])
}
