//! Three windows at once, each with a rate of its own, over four busy threads. The peer allows one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::table::{Bar, Row};
use profilez_bench::workload::{Meter, busy, readings, wait_for_start};

/// The line.
pub(crate) const LINE: Line = Line { name: "subscribers", rows, child };

/// Rate, and begin and end of the window in parts of the whole: the first window ends while the
/// others go on, the fastest comes last.
const WINDOWS: [(u32, f64, f64); 3] = [(100, 0.0, 0.7), (250, 0.15, 0.85), (999, 0.3, 1.0)];

fn rows(runner: &mut Runner) -> Vec<Row> {
    let millis = if runner.quick { 3000 } else { 5000 };
    let [ours] = runner.pairs([Engine::Ours], &[millis]);
    WINDOWS
        .iter()
        .map(|&(hz, ..)| {
            Row::new(format!("samples taken / expected, {hz} Hz of three windows at once"), "")
                .ours(ours.spread(&hz.to_string()))
                .bar(Bar::Within(0.97, 1.03))
        })
        .collect()
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[millis] = args else { panic!("milliseconds") };
    let whole = Duration::from_millis(millis.into());
    let meters: Vec<Meter> = (0..4).map(|_| Meter::default()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for meter in &meters {
            scope.spawn(|| busy(meter, &stop));
        }
        wait_for_start(&meters);
        let cpu = || readings(&meters).iter().sum::<f64>();
        let windows: Vec<_> = WINDOWS
            .iter()
            .map(|&(hz, begin, end)| {
                scope.spawn(move || {
                    thread::sleep(whole.mul_f64(begin));
                    let sampling = engine.start(hz);
                    let before = cpu();
                    thread::sleep(whole.mul_f64(end - begin));
                    let used = cpu() - before;
                    let taken: f64 = sampling
                        .finish()
                        .iter()
                        .filter(|sample| sample.functions.iter().any(|name| name.contains("busy")))
                        .map(|sample| sample.count)
                        .sum();
                    taken / (used * f64::from(hz))
                })
            })
            .collect();
        let ratios: Vec<f64> =
            windows.into_iter().map(|window| window.join().expect("it finishes")).collect();
        stop.store(true, Ordering::Relaxed);
        let names = WINDOWS.map(|(hz, ..)| hz.to_string());
        figures([(&names[0], ratios[0]), (&names[1], ratios[1]), (&names[2], ratios[2])])
    })
}
