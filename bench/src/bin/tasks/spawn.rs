//! Starting and finishing an empty task, named and plain: CPU time of each, on a runtime of one thread
//! and on one of two; and under console-subscriber, in a program of its own (`bench/console`).

use profile_core::task;
use profilez_bench::clock::process_cpu;
use profilez_bench::engine::Engine;
use profilez_bench::run::{Figures, Line, Runner, figures};
use profilez_bench::spread::Spread;
use profilez_bench::table::{Bar, Row};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// The line.
pub(crate) const LINE: Line = Line { name: "spawn", rows, child };

/// Built apart, with `--cfg tokio_unstable`.
const CONSOLE: &str = "../console/release/spawn-under-console";

/// Tasks that are alive at a time.
const BATCH: usize = 100;

fn rows(runner: &mut Runner) -> Vec<Row> {
    let batches = if runner.quick { 2000 } else { 6000 };
    let [ours, plain] = runner.pairs([Engine::Ours, Engine::None], &[batches]);
    let console = if runner.quick { 200 } else { 500 };
    let [console] = runner.programs(3, [(CONSOLE, &[console][..])]);
    let row = |what: &str, figure| {
        Row::new(what, "ns").ours(ours.spread(figure)).peer(plain.spread(figure))
    };
    vec![
        row("spawn and complete an empty task, one thread", "one").bar(Bar::OfPeer(1.25)),
        row("the same on two workers, from outside", "two"),
        Row::new("named, and under console-subscriber, one thread", "ns")
            .ours(ours.spread("one"))
            .peer(console.spread("one")),
    ]
}

fn child(engine: Engine, args: &[u32]) -> Figures {
    let &[batches] = args else { panic!("how many batches") };
    let one = Builder::new_current_thread().build().expect("a runtime");
    let two = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    figures([("one", measure(&one, engine, batches)), ("two", measure(&two, engine, batches / 4))])
}

/// CPU nanoseconds of a task: of the median run of batches, which nothing disturbed.
fn measure(runtime: &Runtime, engine: Engine, batches: u32) -> f64 {
    const RUN: u32 = 50;
    let mut tasks: Vec<JoinHandle<()>> = Vec::with_capacity(BATCH);
    let run = |tasks: &mut Vec<JoinHandle<()>>| {
        let before = process_cpu();
        runtime.block_on(async {
            for _ in 0..RUN {
                tasks.extend((0..BATCH).map(|_| match engine {
                    Engine::Ours => task::spawn("empty", async {}),
                    _ => tokio::spawn(async {}),
                }));
                for task in tasks.drain(..) {
                    task.await.expect("it does not panic");
                }
            }
        });
        (process_cpu() - before) * 1e9 / f64::from(RUN) / BATCH as f64
    };
    run(&mut tasks);
    Spread::of((0..batches / RUN).map(|_| run(&mut tasks))).map_or(0.0, |spread| spread.median)
}
