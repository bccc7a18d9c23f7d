//! What the sampler costs that stands in where nothing is interposed: 1000 threads that only wait.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use profile_core::Collector as _;
use profile_core::collect::SampledBlock;
use profilez_bench::clock;
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};

/// The line.
pub(crate) const LINE: Line = Line { name: "fallback", rows, child };

fn rows(runner: &mut Runner) -> Vec<Row> {
    let [ours] = runner.pairs([Engine::Ours], &[10_000, 1000]);
    vec![
        Row::new("CPU of the fallback sampler, 1000 idle threads, 10 s", "% of a core")
            .ours(ours.spread("percent"))
            .bar(Bar::AtMost(1.0)),
    ]
}

fn child(_: Engine, args: &[u32]) -> Figures {
    let &[millis, threads] = args else { panic!("milliseconds of the run, threads") };
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let idle: Vec<_> = (0..threads)
        .map(|_| {
            let shared = Arc::clone(&shared);
            let waits = move || {
                let (stop, told) = &*shared;
                let stop = stop.lock().expect("nobody panics");
                drop(told.wait_while(stop, |stop| !*stop));
            };
            thread::Builder::new().stack_size(64 << 10).spawn(waits).expect("there is room")
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let before = clock::process_cpu();
    let window = SampledBlock::new().start().expect("the collector starts");
    thread::sleep(Duration::from_millis(millis.into()));
    let pending = window.close();
    let used = clock::process_cpu() - before;
    pending().expect("the profile is finished");
    *shared.0.lock().expect("nobody panics") = true;
    shared.1.notify_all();
    idle.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
    figures([("percent", 100.0 * used * 1e3 / f64::from(millis))])
}
