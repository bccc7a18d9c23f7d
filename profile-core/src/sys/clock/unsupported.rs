//! The monotonic clock, in nanoseconds: as std gives it.

use std::sync::OnceLock;
use std::time::Instant;

/// Returns nanoseconds since this was first asked for.
pub(crate) fn precise() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Returns the same; std has no cheaper clock.
pub(crate) fn coarse() -> u64 {
    precise()
}

/// Returns `None`: std doesn't tell the CPU time that the process has used.
pub(crate) fn process_cpu() -> Option<std::time::Duration> {
    None
}
