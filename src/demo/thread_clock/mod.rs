//! The CPU time of the calling thread.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(super) use unix::cpu_time;

#[cfg(not(unix))]
mod unsupported;
#[cfg(not(unix))]
pub(super) use unsupported::cpu_time;
