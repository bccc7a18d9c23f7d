//! glibc's statistics without glibc: none.

use crate::memory::MemoryStats;

pub(super) fn stats() -> Option<MemoryStats> {
    None
}
