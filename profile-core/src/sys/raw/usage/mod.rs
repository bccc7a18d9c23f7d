//! What the process was charged with.

#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
mod unsupported;

use std::time::Duration;

#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(not(unix))]
pub(crate) use unsupported::*;

/// The resources that the process has used since its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessUsage {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    pub(crate) minor_faults: u64,
    pub(crate) major_faults: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
}
