//! Wants every job to get on. One that does not is shown with the stacks of all threads, and ends
//! the process: a hang is to be explained from what it hangs in.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Running;

/// Longer than any turn takes, on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Watches until the jobs are told to stop, and then ends the process if they don't.
pub(crate) fn watch(running: &[Running], stop: &AtomicBool) {
    let turns = |running: &Running| running.turns.load(Ordering::Relaxed);
    let mut seen: Vec<(u64, Instant)> =
        running.iter().map(|running| (turns(running), Instant::now())).collect();
    while !stop.load(Ordering::Relaxed) {
        thread::park_timeout(Duration::from_secs(1));
        for ((turn, since), running) in seen.iter_mut().zip(running) {
            if turns(running) != *turn {
                (*turn, *since) = (turns(running), Instant::now());
            } else if since.elapsed() > PATIENCE {
                eprintln!("HANG: \"{}\" made no progress for {PATIENCE:?}", running.job.name);
                show_stacks(std::process::id());
                std::process::abort();
            }
        }
    }
    // Not joined: it lasts as long as the process, or ends it.
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        eprintln!("HANG: not all jobs ended within {PATIENCE:?}");
        show_stacks(std::process::id());
        std::process::abort();
    });
}

/// Prints every thread's stack, where there is a debugger.
pub(crate) fn show_stacks(pid: u32) {
    let mut gdb = Command::new("gdb");
    gdb.args(["-p", &pid.to_string(), "-batch", "-ex", "thread apply all bt"]);
    if let Err(error) = gdb.status() {
        eprintln!("no stacks: gdb: {error}");
    }
}
