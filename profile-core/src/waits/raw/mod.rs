//! Symbols that stand in for functions of libc in the whole program: `syscall`, through which std and
//! `parking_lot` wait for locks and wake, `sched_yield`, which `parking_lot` tries first,
//! `pthread_create`, and `sigaction` beside the sampler, whose signals some handlers have no room for.
//!
//! The linker takes the first definition of a symbol it finds, and this crate's comes before libc's.
//! What the program calls is then ours, which passes everything on.

pub(crate) mod births;
#[cfg(feature = "sampler")]
mod signals;
pub(crate) mod syscall;
pub(crate) mod words;
mod yields;

use std::time::Duration;

/// The time that waits are measured by, in nanoseconds, never 0. Neither allocates nor sets `errno`.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) writes to a structure that lives during the call; this clock exists,
    // so that it can't fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let since = Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
    (since.as_nanos() as u64).max(1)
}
