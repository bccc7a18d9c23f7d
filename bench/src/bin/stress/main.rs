//! Sampling at 999 Hz while the program does everything that samplers are known to crash or hang
//! on. `stress --minutes N`; exits with 0 where nothing went wrong.
//!
//! A job does a small thing over and over and counts it; `watchdog` wants every count to rise. A
//! crash, a hang, a panic that nobody expected, a lost permit and a bad profile all end the process.

mod storms;

mod forks;
mod plugin;
mod windows;

mod watchdog;

use std::panic;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use profile_core::Collector as _;
use profile_core::collect::SampledCpu;
use profilez_bench::random::Random;

/// Something to do over and over. A turn takes seconds at most.
struct Job {
    name: &'static str,
    turn: fn(&mut Random),
}

const JOBS: &[Job] = &[
    Job { name: "work 60 calls deep", turn: storms::work },
    Job { name: "panic and catch it", turn: storms::caught_panic },
    Job { name: "panic in a thread", turn: storms::uncaught_panic },
    Job { name: "spawn threads that end", turn: storms::threads },
    Job { name: "allocate and free", turn: storms::allocations },
    Job { name: "capture backtraces", turn: storms::backtraces },
    Job { name: "load, run and unload a library", turn: plugin::load_and_unload },
    Job { name: "fork", turn: forks::fork },
    Job { name: "spawn a process", turn: forks::spawn },
    Job { name: "start and stop the sampler", turn: windows::start_and_stop },
    Job { name: "take a profile in a session", turn: windows::session },
    Job { name: "take a profile at 999 Hz for seconds", turn: windows::long },
];

/// A job at work.
struct Running {
    job: &'static Job,
    turns: AtomicU64,
}

/// The payload of a panic that is part of the test.
const EXPECTED: &str = "expected by the stress test";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (minutes, jobs) = match chosen(&args) {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!(
                "error: {error}\nusage: stress [--minutes N] [--skip PART-OF-A-JOB'S-NAME]..."
            );
            return ExitCode::from(2);
        }
    };
    plugin::path();
    // From here on the sampler knows of forks.
    drop(SampledCpu::new().start());
    fail_on_unexpected_panics();

    let running: Vec<Running> =
        jobs.into_iter().map(|job| Running { job, turns: AtomicU64::new(0) }).collect();
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    thread::scope(|scope| {
        for (seed, running) in running.iter().enumerate() {
            let stop = &stop;
            scope.spawn(move || {
                let mut random = Random::new(seed as u64);
                while !stop.load(Ordering::Relaxed) {
                    (running.job.turn)(&mut random);
                    running.turns.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The end is watched too: a job that does not return is a hang.
        let watched = scope.spawn(|| watchdog::watch(&running, &stop));
        thread::sleep(Duration::from_secs_f64(60.0 * minutes));
        stop.store(true, Ordering::Relaxed);
        watched.thread().unpark();
    });

    for Running { job, turns } in &running {
        println!("{:>9} × {}", turns.load(Ordering::Relaxed), job.name);
    }
    println!("{}", windows::summary());
    println!("no crash, no hang, no lost permit in {:.0} s", begun.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// How long, and what to do.
fn chosen(args: &[String]) -> Result<(f64, Vec<&'static Job>), String> {
    let (mut minutes, mut jobs) = (10.0, JOBS.iter().collect::<Vec<_>>());
    for pair in args.chunks(2) {
        match pair {
            [flag, value] if flag == "--minutes" => {
                minutes = value.parse().map_err(|error| format!("{value}: {error}"))?;
            }
            [flag, value] if flag == "--skip" => jobs.retain(|job| !job.name.contains(value)),
            _ => return Err(format!("what is meant by {}", pair.join(" "))),
        }
    }
    Ok((minutes, jobs))
}

/// Ends the process on a panic that is not part of the test, and keeps quiet about those that are.
fn fail_on_unexpected_panics() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() == Some(&EXPECTED) {
            return;
        }
        default(info);
        std::process::abort();
    }));
}
