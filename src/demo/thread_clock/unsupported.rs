//! A clock where there is none of a thread's CPU time.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Returns the time that has gone by: there is no clock of a thread's CPU time here.
pub(crate) fn cpu_time() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGAN.elapsed()
}
