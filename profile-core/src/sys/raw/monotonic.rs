//! The clock of interposed functions.

use std::time::Duration;

/// Returns the time that waits are measured by, in nanoseconds, never 0. Neither allocates nor sets
/// `errno`.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) writes to a structure that lives during the call; this clock exists,
    // so that it can't fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let since = Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
    (since.as_nanos() as u64).max(1)
}
