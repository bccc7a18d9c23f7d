//! The clock of a thread's CPU time.

use std::time::Duration;

/// Returns the CPU time that the calling thread has used.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // A thread's clock starts at zero.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
