//! Windows that come and go, and what must be right of each.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use profile_core::collect::SampledCpu;
use profile_core::{Collector, Collectors, Gate, Plan, session};
use profilez_bench::clock;
use profilez_bench::engine::decode;
use profilez_bench::random::Random;
use profilez_bench::spread::Spread;

/// Of each long window, samples over what the process's CPU time makes expect.
static RATIOS: Mutex<Vec<f64>> = Mutex::new(Vec::new());

/// A window of up to two milliseconds at any rate. It is finished, or left, or just dropped.
pub(crate) fn start_and_stop(random: &mut Random) {
    let window = SampledCpu::new().hz(random.between(1, 2000) as u32).start();
    let window = window.expect("nobody else uses the signal");
    thread::sleep(Duration::from_micros(random.between(0, 2000)));
    match random.between(0, 20) {
        0 => decode(&window.close()().expect("it finishes")[0].bytes).clear(),
        1..4 => drop(window),
        _ => drop(window.close()),
    }
}

/// A session, as a server runs it. The permit must be free again every time.
pub(crate) fn session(random: &mut Random) {
    let collectors = Collectors::new();
    let query = format!("profiles=cpu&duration={}ms", random.between(10, 50));
    let plan = Plan::parse(&query, &collectors.available()).expect("a plan");
    let permit = Gate::process().try_enter(plan.window()).expect("the permit was given back");
    let recording = session::start(&plan, &collectors, permit).expect("it starts");
    if random.between(0, 4) == 0 {
        return;
    }
    thread::sleep(recording.window());
    for artifact in recording.stop() {
        decode(&artifact.data.expect("it finishes"));
    }
}

/// Three seconds at 999 Hz, and two in which the engine may stop between the other jobs' windows.
pub(crate) fn long(_: &mut Random) {
    const HZ: u32 = 999;
    let window = SampledCpu::new().hz(HZ).start().expect("nobody else uses the signal");
    let before = clock::process_cpu();
    thread::sleep(Duration::from_secs(3));
    let cpu = clock::process_cpu() - before;
    let files = window.close()().expect("it finishes");
    let taken: f64 = decode(&files[0].bytes).iter().map(|sample| sample.count).sum();
    RATIOS.lock().expect("nobody panics with it").push(taken / (cpu * f64::from(HZ)));
    thread::sleep(Duration::from_secs(2));
}

/// What the long windows came to.
pub(crate) fn summary() -> String {
    let ratios = RATIOS.lock().expect("nobody panics with it");
    Spread::of(ratios.iter().copied()).map_or_else(
        || "no long window was finished".to_owned(),
        |Spread { median, min, max }| {
            format!(
                "samples taken / expected by the whole process's CPU time: {median:.3} \
                 ({min:.3}–{max:.3}) in {} windows",
                ratios.len()
            )
        },
    )
}
