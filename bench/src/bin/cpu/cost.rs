//! What a sample costs the program, delivery included, at 58 frames.
//!
//! First the engine samples one busy thread by its own timer, at a rate below the kernel's tick,
//! and its handler is timed: caches are as cold as they are in life. Then the same signals are sent
//! again in bursts, and the thread's CPU clock says what one costs with its delivery; an empty
//! handler says how much of that is the kernel's. Bursts are short enough to find room in the
//! engines' buffers, and the median burst is one that nothing disturbed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use profilez_bench::clock;
use profilez_bench::engine::Engine;
use profilez_bench::replay::{self, ToSelf};
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};
use profilez_bench::workload::{Meter, deep, turns};

/// The line.
pub(crate) const LINE: Line = Line { name: "cost", rows, child };

/// Below any kernel's tick but that of CONFIG_HZ=100.
const HZ: u32 = 200;
/// Calls that make stacks of 58 frames with those of the thread's start and of this file.
const CALLS: u32 = 46;
/// Signals of a burst.
const BURST: u32 = 200;

fn rows(runner: &mut Runner) -> Vec<Row> {
    let (millis, bursts) = if runner.quick { (1500, 60) } else { (3000, 120) };
    let engines = [Engine::Ours, Engine::Pprof, Engine::None];
    let [ours, peer, none] = runner.pairs(engines, &[millis, bursts]);
    let row = |what: &str, unit, figure| {
        Row::new(what, unit).ours(ours.spread(figure)).peer(peer.spread(figure))
    };
    vec![
        row("CPU per sample, delivery included", "µs", "sample")
            .bar(Bar::AtMost(7.0))
            .bar(Bar::OfPeer(0.25)),
        Row::new("of which delivery, by an empty handler", "µs").ours(none.spread("sample")),
        row("the handler alone, between a timer's signals, median", "µs", "handler"),
        row("frames of a stack", "", "frames"),
        row("bursts' signals that became samples", "", "taken"),
        row("CPU of the engine's own thread, one thread at 200 Hz", "ms/s", "engine"),
    ]
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[millis, bursts] = args else { panic!("milliseconds, bursts") };
    let wall = f64::from(millis) / 1e3;
    let (meter, stop) = (Meter::default(), AtomicBool::new(false));
    let (ready, is_ready) = mpsc::channel();
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut burst_costs = Vec::new();
            deep(CALLS, &mut || {
                ready.send(()).expect("the main thread waits for this");
                while !stop.load(Ordering::Relaxed) {
                    turns(30_000);
                    meter.read();
                }
                burst_costs = replay(bursts);
            });
            burst_costs
        });
        is_ready.recv().expect("the worker sends this");
        let sampling = engine.start(HZ);
        replay::wrap_handler().expect("sigaction works");
        // What starting set in motion is over by then.
        thread::sleep(Duration::from_millis(300));

        // What the process used beside its two threads.
        let others = || clock::process_cpu() - clock::thread_cpu() - meter.seconds();
        let before = others();
        thread::sleep(Duration::from_secs_f64(wall));
        let engine_thread = others() - before;
        let handler = Spread::of(replay::took().into_iter().map(f64::from));
        stop.store(true, Ordering::Relaxed);
        let burst_costs = worker.join().expect("it does not panic");

        let samples = sampling.finish();
        let in_burst: Vec<_> = samples
            .iter()
            .filter(|sample| sample.functions.iter().any(|name| name.contains("replay")))
            .collect();
        let count: f64 = in_burst.iter().map(|sample| sample.count).sum();
        let commonest = in_burst.iter().max_by(|a, b| a.count.total_cmp(&b.count));
        figures([
            ("sample", Spread::of(burst_costs).map_or(0.0, |costs| costs.median) * 1e6),
            ("handler", handler.map_or(0.0, |handler| handler.median) / 1e3),
            ("frames", commonest.map_or(0.0, |sample| sample.functions.len() as f64)),
            ("taken", count / f64::from(bursts * BURST)),
            ("engine", engine_thread / wall * 1e3),
        ])
    })
}

/// Sends bursts of what the timer sent. CPU seconds per signal, of each.
#[inline(never)]
fn replay(bursts: u32) -> Vec<f64> {
    let info = replay::commonest().unwrap_or_else(replay::unexpected);
    let to_self = ToSelf::new();
    let burst = |_| {
        // The engine has time to take the last one.
        thread::sleep(Duration::from_millis(30));
        let begun = clock::thread_cpu();
        for _ in 0..BURST {
            to_self.send(&info).expect("a thread may send itself a signal");
        }
        (clock::thread_cpu() - begun) / f64::from(BURST)
    };
    (0..bursts).map(burst).collect()
}
