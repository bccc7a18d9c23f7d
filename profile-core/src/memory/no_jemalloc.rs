//! jemalloc's statistics without jemalloc: none.

use crate::memory::MemoryStats;

pub(super) fn stats() -> Option<MemoryStats> {
    None
}
