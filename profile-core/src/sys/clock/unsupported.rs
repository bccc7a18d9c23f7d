//! The monotonic clock, in nanoseconds: as std gives it.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds since this was first asked for.
pub(crate) fn precise() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The same; std has no cheaper clock.
pub(crate) fn coarse() -> u64 {
    precise()
}

/// CPU time that the process has used: std doesn't tell.
pub(crate) fn process_cpu() -> Option<std::time::Duration> {
    None
}
