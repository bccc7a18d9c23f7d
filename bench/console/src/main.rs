//! Starting and finishing an empty task under console-subscriber, as area `tasks` measures it for others:
//! prints CPU nanoseconds of each.
//!
//! The subscriber is as it comes but for its server: nobody is connected, which is the cheapest case.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Tasks that are alive at a time, and such batches in a run.
const BATCH: usize = 100;
const RUN: u32 = 50;

fn main() {
    let batches: u32 = std::env::args().nth(2).and_then(|text| text.parse().ok()).expect("batches");
    let (layer, server) = console_subscriber::ConsoleLayer::builder()
        .retention(Duration::from_secs(1))
        .server_addr(([127, 0, 0, 1], 0))
        .build();
    tracing_subscriber::registry().with(layer).init();
    // Somebody has to take what the layer records.
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(server.serve()).expect("it serves");
    });
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let mut tasks: Vec<JoinHandle<()>> = Vec::with_capacity(BATCH);
    let mut run = || {
        let before = cpu();
        runtime.block_on(async {
            for _ in 0..RUN {
                tasks.extend((0..BATCH).map(|_| tokio::spawn(async {})));
                for task in tasks.drain(..) {
                    task.await.expect("it does not panic");
                }
            }
        });
        (cpu() - before) * 1e9 / f64::from(RUN) / BATCH as f64
    };
    run();
    let mut runs: Vec<f64> = (0..(batches / RUN).max(1)).map(|_| run()).collect();
    runs.sort_by(f64::total_cmp);
    println!("{{\"one\":{}}}", runs[runs.len() / 2]);
}

/// CPU seconds of the process: what is recorded by one thread another takes.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
