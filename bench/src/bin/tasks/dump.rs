//! A dump of 100 000 tasks: what it costs, and what it does to the latency of a runtime under load.
//!
//! Requests come from outside at a fixed rate; a request's latency is from when it was due until its
//! task has run. [`Engine::None`] takes no dumps, with the same tasks.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use profile_core::{Collectors, Kind, task};
use profilez_bench::clock::thread_cpu;
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};
use tokio::runtime::Builder;

/// The line.
pub(crate) const LINE: Line = Line { name: "dump", rows, child };

const TASKS: u32 = 100_000;
/// Between two requests: 2000 a second.
const EVERY: Duration = Duration::from_micros(500);

fn rows(runner: &mut Runner) -> Vec<Row> {
    let seconds = if runner.quick { 3 } else { 6 };
    let [many, none] = runner.pairs([Engine::Ours, Engine::None], &[TASKS, seconds]);
    // What does not depend on the tasks: threads, and reading the program's debug information.
    let [few] = runner.pairs([Engine::Ours], &[0, seconds]);
    vec![
        Row::new("dump of 100 000 tasks, wall, beyond that of none", "ms")
            .ours(many.spread_with(&few, |many, few| many["wall"] - few["wall"]))
            .bar(Bar::AtMost(50.0)),
        Row::new("the same, CPU of its thread", "ms")
            .ours(many.spread_with(&few, |many, few| many["cpu"] - few["cpu"])),
        Row::new("p99 latency of requests, with dumps and without", "ms")
            .ours(many.spread("p99"))
            .peer(none.spread("p99")),
        Row::new("p99 latency moves by", "ms")
            .ours(many.spread_with(&none, |many, none| many["p99"] - none["p99"]))
            .bar(Bar::AtMost(1.0)),
    ]
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[tasks, seconds] = args else { panic!("how many tasks, for how many seconds") };
    let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let _watched = task::watch(runtime.handle());
    for number in 0..tasks {
        let task = task::named(["listen", "connection", "flush", "ticker"][number as usize % 4]);
        drop(task.spawn_on(std::future::pending::<()>(), runtime.handle()));
    }
    let stop = AtomicBool::new(false);
    let (latencies, dumps) = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (done, is_done) = mpsc::channel();
            let began = Instant::now();
            let mut due = began;
            while !stop.load(Ordering::Relaxed) {
                due += EVERY;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let done = done.clone();
                let request = async move {
                    // 50 µs or so.
                    black_box((0..50_000_u64).fold(1, |a, b| black_box(a ^ b)));
                    let _ = done.send(due.elapsed());
                };
                drop(task::named("request").per_request().spawn_on(request, runtime.handle()));
            }
            drop(done);
            is_done.iter().map(|latency| latency.as_secs_f64() * 1e3).collect::<Vec<_>>()
        });
        let until = Instant::now() + Duration::from_secs(seconds.into());
        let mut dumps = Vec::new();
        while Instant::now() < until {
            if engine == Engine::Ours {
                dumps.push(dump());
            }
            thread::sleep(Duration::from_millis(500));
        }
        stop.store(true, Ordering::Relaxed);
        (load.join().expect("it does not panic"), dumps)
    });
    runtime.shutdown_background();
    let median = |figures: Vec<f64>| Spread::of(figures).map_or(0.0, |spread| spread.median);
    figures([
        ("wall", median(dumps.iter().map(|(wall, _)| *wall).collect())),
        ("cpu", median(dumps.iter().map(|(_, cpu)| *cpu).collect())),
        ("p99", percentile(latencies, 0.99)),
    ])
}

/// Milliseconds of wall and of CPU time that a dump takes.
fn dump() -> (f64, f64) {
    let (cpu, wall) = (thread_cpu(), Instant::now());
    let window = Collectors::new().collector(Kind::Goroutine).start().expect("a dump");
    let files = window.close()().expect("a dump");
    black_box(files);
    (wall.elapsed().as_secs_f64() * 1e3, (thread_cpu() - cpu) * 1e3)
}

fn percentile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part) as usize]
}
