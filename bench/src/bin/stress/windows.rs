//! Windows that come and go, and what must be right of each.

use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use profile_core::collect::SampledCpu;
use profile_core::{Collector, Collectors, Gate, Plan, session};
use profilez_bench::clock;
use profilez_bench::engine::decode;
use profilez_bench::random::Random;
use profilez_bench::spread::Spread;

static LONG: Mutex<Vec<Long>> = Mutex::new(Vec::new());

/// What a long window came to. A storm of windows and libraries has no bar; a figure far from those
/// of other runs is worth a look.
struct Long {
    /// Samples over what the process's CPU time, without the engine's thread, makes expect.
    taken: f64,
    /// The engine's thread's part of the process's CPU time.
    engine: f64,
}

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
    let (process, engine) = (clock::process_cpu(), engine_cpu());
    thread::sleep(Duration::from_secs(3));
    let engine = engine_cpu() - engine;
    let process = clock::process_cpu() - process;
    let files = window.close()().expect("it finishes");
    let taken: f64 = decode(&files[0].bytes).iter().map(|sample| sample.count).sum();
    LONG.lock().expect("nobody panics with it").push(Long {
        taken: taken / ((process - engine) * f64::from(HZ)),
        engine: engine / process,
    });
    thread::sleep(Duration::from_secs(2));
}

/// CPU time of the engine's own thread, which it does not sample.
fn engine_cpu() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").expect("a process has threads").flatten();
    let nanos = tasks.filter_map(|task| {
        let read = |file| fs::read_to_string(task.path().join(file)).ok();
        read("comm")?.starts_with("profilez-cpu").then_some(())?;
        read("schedstat")?.split(' ').next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}

/// What the long windows came to.
pub(crate) fn summary() -> String {
    let windows = LONG.lock().expect("nobody panics with it");
    let taken = Spread::of(windows.iter().map(|window| window.taken));
    let engine = Spread::of(windows.iter().map(|window| window.engine));
    let Some((taken, engine)) = taken.zip(engine) else {
        return "no long window was finished".to_owned();
    };
    let text = |Spread { median, min, max }| format!("{median:.3} ({min:.3}–{max:.3})");
    format!(
        "in {} long windows: samples taken / expected {}, the engine's own thread's part of the \
         CPU {}",
        windows.len(),
        text(taken),
        text(engine)
    )
}
