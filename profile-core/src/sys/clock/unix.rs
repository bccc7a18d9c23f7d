//! The monotonic clock, precise and coarse, in nanoseconds: the one that waits, polls and the trace
//! are timed by.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

#[cfg(target_os = "linux")]
const COARSE: ClockId = ClockId::MonotonicCoarse;
#[cfg(not(target_os = "linux"))]
const COARSE: ClockId = ClockId::Monotonic;

/// Returns nanoseconds since an arbitrary moment.
#[inline]
pub(crate) fn precise() -> u64 {
    read(ClockId::Monotonic)
}

/// Returns the same clock as it stood at the kernel's last tick, 1 to 10 ms ago. A fifth of the
/// cost.
#[inline]
pub(crate) fn coarse() -> u64 {
    read(COARSE)
}

/// Reads the CPU time that the process has used.
pub(crate) fn process_cpu() -> Option<Duration> {
    Some(Duration::from_nanos(read(ClockId::ProcessCPUTime)))
}

#[inline]
fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
