//! The monotonic clock, precise and coarse, in nanoseconds: the one that waits, polls and the trace
//! are timed by.

#[cfg(target_os = "linux")]
const COARSE: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
#[cfg(not(target_os = "linux"))]
const COARSE: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Nanoseconds since an arbitrary moment.
#[inline]
pub(crate) fn precise() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// The same clock as it stood at the kernel's last tick, 1 to 10 ms ago. A fifth of the cost.
#[inline]
pub(crate) fn coarse() -> u64 {
    read(COARSE)
}

#[inline]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = std::mem::MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: clock_gettime(2) fills the structure that it is given. It can't fail for a clock that
    // the system has, and every system that this is built for has these.
    let time = unsafe {
        libc::clock_gettime(clock, time.as_mut_ptr());
        time.assume_init()
    };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// CPU time that the process has used.
pub(crate) fn process_cpu() -> Option<std::time::Duration> {
    Some(std::time::Duration::from_nanos(read(libc::CLOCK_PROCESS_CPUTIME_ID)))
}
