//! Where the system is not asked what it charges a process with.

use super::ProcessUsage;

/// Returns `None`: it is not known here.
pub(crate) fn usage() -> Option<ProcessUsage> {
    None
}

/// Returns `None`: it is not known here.
pub(crate) fn descriptor_limit() -> Option<u64> {
    None
}
