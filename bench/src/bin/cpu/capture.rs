//! Samples taken over samples expected, from threads that never wait, and each thread's part.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use profilez_bench::engine::{Engine, Sample};
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use profilez_bench::workload::{self, Meter, busy, readings};

/// The line.
pub(crate) const LINE: Line = Line { name: "capture", rows, child };

fn rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 2000 } else { 3000 };
    let mut rows = Vec::new();
    for hz in [100, 999] {
        for threads in [1, 2, 4, 8] {
            let [ours, peer] = runner.pairs([Engine::Ours, Engine::Pprof], &[threads, hz, millis]);
            let busy = if threads == 1 {
                "1 busy thread".to_owned()
            } else {
                format!("{threads} busy threads")
            };
            rows.push(
                Row::new(format!("samples taken / expected, {busy}, {hz} Hz"), "")
                    .ours(ours.spread("ratio"))
                    .peer(peer.spread("ratio"))
                    .bar(Bar::Within(0.97, 1.03)),
            );
            if threads > 1 {
                let row = Row::new(format!("error of a thread's share, {busy}, {hz} Hz"), "points")
                    .ours(ours.spread("error"))
                    .peer(peer.spread("error"));
                rows.push(if hz == 999 { row.bar(Bar::AtMost(1.0)) } else { row });
            }
        }
    }
    rows
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[threads, hz, millis] = args else { panic!("threads, rate, milliseconds") };
    let meters: Vec<Meter> = (0..threads).map(|_| Meter::default()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (index, meter) in meters.iter().enumerate() {
            let thread = thread::Builder::new().name(format!("busy-{index}"));
            thread.spawn_scoped(scope, || busy(meter, &stop)).expect("a thread starts");
        }
        workload::wait_for_start(&meters);
        let sampling = engine.start(hz);
        let before = readings(&meters);
        thread::sleep(Duration::from_millis(millis.into()));
        let after = readings(&meters);
        let samples = sampling.finish();
        stop.store(true, Ordering::Relaxed);

        let cpu: Vec<f64> =
            before.iter().zip(&after).map(|(before, after)| after - before).collect();
        let total: f64 = cpu.iter().sum();
        let taken: Vec<f64> =
            (0..cpu.len()).map(|index| of_thread(&samples, &format!("busy-{index}"))).collect();
        let all: f64 = taken.iter().sum();
        let errors = taken.iter().zip(&cpu).map(|(taken, cpu)| (taken / all - cpu / total).abs());
        figures([
            ("ratio", all / (total * f64::from(hz))),
            ("error", 100.0 * errors.fold(0.0, f64::max)),
        ])
    })
}

fn of_thread(samples: &[Sample], thread: &str) -> f64 {
    samples.iter().filter(|sample| sample.thread == thread).map(|sample| sample.count).sum()
}
