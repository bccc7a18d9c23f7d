//! Memory that an engine adds while it runs and keeps when it has stopped: 8 threads, 50 calls
//! deep, 999 Hz. The allocator is the system's, and nothing asks it to give memory back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use profilez_bench::engine::Engine;
use profilez_bench::memory::resident_megabytes;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use profilez_bench::workload::{Meter, deep, turns, wait_for_start};

/// The line.
pub(crate) const LINE: Line = Line { name: "memory", rows, child };

fn rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 2000 } else { 4000 };
    let engines = [Engine::Ours, Engine::Pprof];
    let [ours, peer] = runner.pairs(engines, &[millis, 0]);
    let [ours_named, peer_named] = runner.pairs(engines, &[millis, 1]);
    vec![
        Row::new("memory added while running", "MB")
            .ours(ours.spread("running"))
            .peer(peer.spread("running"))
            .bar(Bar::AtMost(16.0)),
        Row::new("memory kept after stop", "MB")
            .ours(ours.spread("after"))
            .peer(peer.spread("after"))
            .bar(Bar::AtMost(4.0)),
        Row::new("memory kept after stop and names of all functions", "MB")
            .ours(ours_named.spread("after"))
            .peer(peer_named.spread("after")),
    ]
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    const THREADS: usize = 8;
    let &[millis, named] = args else { panic!("milliseconds, whether to look names up") };
    let window = Duration::from_millis(millis.into());
    let meters: Vec<Meter> = (0..THREADS).map(|_| Meter::default()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for meter in &meters {
            scope.spawn(|| {
                deep(50, &mut || {
                    while !stop.load(Ordering::Relaxed) {
                        turns(300_000);
                        meter.read();
                    }
                });
            });
        }
        wait_for_start(&meters);
        // The first reading needs memory for itself.
        resident_megabytes();
        let before = resident_megabytes();
        let sampling = engine.start(999);
        let begun = Instant::now();
        let mut peak = before;
        while begun.elapsed() < window {
            thread::sleep(Duration::from_millis(50));
            peak = peak.max(resident_megabytes());
        }
        if named == 1 {
            drop(sampling.finish());
        } else {
            sampling.stop();
        }
        let after = resident_megabytes();
        stop.store(true, Ordering::Relaxed);
        figures([("running", peak - before), ("after", after - before)])
    })
}
