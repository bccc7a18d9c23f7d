//! Forked and spawned processes: they inherit the handler, and neither the timers nor the engine.

use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use profile_core::Collector as _;
use profile_core::collect::SampledCpu;
use profilez_bench::random::Random;
use profilez_bench::workload::turns;

use crate::watchdog::{PATIENCE, show_stacks};

/// A child that works for a few milliseconds, and is refused the sampler at once: a fork leaves locks
/// of std and of the dynamic linker held for good by threads that are not there, and starting a
/// thread needs them.
pub(crate) fn fork(random: &mut Random) {
    let count = random.between(0, 3_000_000);
    // SAFETY: fork(2). The child does arithmetic and leaves by _exit(2), which runs nothing of the
    // parent's.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            turns(count);
            let refused = SampledCpu::new().start().is_err();
            // SAFETY: as above.
            unsafe { libc::_exit(i32::from(!refused)) }
        }
        pid => wait(pid),
    }
    thread::sleep(Duration::from_millis(10));
}

/// A program, started in both ways that there are.
pub(crate) fn spawn(random: &mut Random) {
    let mut command = Command::new("true");
    if random.between(0, 2) == 0 {
        use std::os::unix::process::CommandExt;
        // SAFETY: does nothing. That it is there makes std fork instead of using posix_spawn.
        unsafe { command.pre_exec(|| Ok(())) };
    }
    let status = command.status().expect("it starts");
    assert!(status.success(), "`true` ended with {status}");
}

/// Waits for a child to end well.
fn wait(pid: libc::pid_t) {
    let begun = Instant::now();
    let mut status = 0;
    // SAFETY: waitpid(2) of our own child, which writes the status.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == 0 {
        if begun.elapsed() > PATIENCE / 2 {
            eprintln!("HANG: a forked child did not end");
            show_stacks(pid as u32);
            // SAFETY: kill(2) of our own child, which nobody waited for yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            panic!("a forked child hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(status, 0, "a forked child failed");
}
