//! CPU clocks, in seconds.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

/// CPU time that the process has used.
pub fn process_cpu() -> f64 {
    seconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// CPU time that the calling thread has used.
pub fn thread_cpu() -> f64 {
    seconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// The same in nanoseconds.
pub fn thread_cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How often a second the kernel looks at CPU timers: its `CONFIG_HZ`, which is how coarse its
/// coarse clock is.
pub fn ticks_per_second() -> f64 {
    1.0 / seconds(clock_getres(ClockId::MonotonicCoarse))
}

fn seconds(time: Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
